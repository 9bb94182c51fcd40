"""Every kind of file that is read, changed at random: it is read, or refused in one sentence."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from data_files import cifar10_binary, cifar10_python, cifar100_python, folder_images, idx_files, load, pack
from new_run import reseal, unseal
from pytest import MonkeyPatch
from tiny_run import InterruptingReporter

from neurosim_ep.analysis.load import NothingToDraw, open_run
from neurosim_ep.errors import NeurosimError, RunInterrupted, explained
from neurosim_ep.experiment.opening import Experiment
from neurosim_ep.hardware.bill.modelcheck import check_rows, doubts
from neurosim_ep.hardware.model.describe import new_model
from neurosim_ep.hardware.model.file import read_model
from neurosim_ep.ranks import ALONE
from neurosim_ep.record.checkpoint import load_checkpoint
from neurosim_ep.record.traffic import read_traffic
from neurosim_ep.resources import shipped_files
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.scenario.schema import TeacherSection
from neurosim_ep.sweep import slurm
from neurosim_ep.sweep.command import open_sweep
from neurosim_ep.sweep.directory import SweepDirectory
from neurosim_ep.sweep.points import plan_sweep
from neurosim_ep.sweep.status import Progress
from neurosim_ep.teacher.classifier import build_teacher
from neurosim_ep.teacher.pretrained import read_pretrained
from neurosim_ep.teacher.store import StoreKey, TargetStore, write_store
from neurosim_ep.tiles.devices.file import load_device
from neurosim_ep.tiles.devices.measurements import read_measurements
from neurosim_ep.tiles.statistics import load_cells
from neurosim_ep.train import within
from neurosim_ep.train.resume import _report
from neurosim_ep.train.run import run
from neurosim_ep.train.trainer import Trainer
from neurosim_ep.train.underway import understood

SMALL = (
    "data.train_samples=12", "data.test_samples=6", "training.epochs=1", "relaxation.free_steps=2",
    "relaxation.nudge_steps=2", "training.batch_size=6", "telemetry.plots=false",
    "telemetry.report=false", "telemetry.traffic_every=1",
)  # fmt: skip
CPU = torch.device("cpu")
SPLICES = [
    b"\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff\xff\xff\xff\xff", b"-1", b"1e999", b"nan", b"99999999999999999999",
    b"\n", b"[[[[[[[[", b'"', b"\x80\x04", b"\xf0\x9f", b"null", b"{}", b"9" * 5000, b"~nouser/x", b"../../",
]  # fmt: skip
SWEEP = """[sweep]
base = "smoke"
kind = "estimate"
constraints = ["relaxation.beta * 2 < relaxation.free_steps or data.classes in [10, 20]"]
[grid]
relaxation.beta = [0.1, 0.2]
[random]
draws = 2
[random.axes]
training.learning_rate = { low = 0.01, high = 1.0, scale = "log" }
relaxation.free_steps = { low = 4, high = 8 }
[slurm]
options = ["--time=1:00:00"]
"""
ESTIMATED = {
    "comparison.csv": "style,energy_J,latency_s,backprop_J\nclocked,1e-5,1e-3,2e-6\nevent,1e-5,1e-3,2e-6\n",
    "area.csv": "layer,name,component,units,area_m2\n0,conv1,multiply_add,16,1.8e-08\n1,conv2,adc,4,2e-08\n",
}
"""What an estimate leaves, as far as a sweep reads it."""


@dataclass(frozen=True)
class Kind:
    """A kind of file: where one lies that is right, in a folder that ``read`` reads as a whole."""

    folder: Path
    file: str
    read: Callable[[Path], object]


def kinds(base: Path) -> dict[str, Kind]:
    """All of them, made below ``base``."""
    out = run(load_scenario("smoke", SMALL), base / "run", device="cpu").out
    old = base / "old"
    shutil.copytree(out, old)
    for name in ("checkpoints/last.pt", "traffic.h5"):
        unseal(old / name)
    found = {
        "checkpoint": Kind(out, "checkpoints/last.pt", lambda folder: load_checkpoint(folder / "checkpoints", CPU)),
        "checkpoint of an earlier version": Kind(
            old, "checkpoints/last.pt", lambda folder: load_checkpoint(folder / "checkpoints", CPU)
        ),
        "traffic": Kind(out, "traffic.h5", lambda folder: read_traffic(folder / "traffic.h5")),
        "traffic of an earlier version": Kind(old, "traffic.h5", lambda folder: read_traffic(folder / "traffic.h5")),
        "run.json": Kind(out, "run.json", _run_json),
        "scenario of a run": Kind(out, "scenario.toml", lambda folder: Experiment.open(folder, device="cpu").epoch),
        "hardware of a run": Kind(out, "hardware.toml", lambda folder: Experiment.open(folder, device="cpu").epoch),
        "table": Kind(out, "layers.csv", lambda folder: open_run(folder).table("layers.csv", ("epoch", "mean_abs_dW"))),
    }
    found["checkpoint with a digest of its own"] = Kind(out, "checkpoints/last.pt", _meant)
    return found | _within(base / "within") | _settings(base) | _images(base) | _others(base) | _sweeps(base)


def _within(out: Path) -> dict[str, Kind]:
    """Checkpoints within an epoch of the run ``out``, and with a digest that is right."""
    with MonkeyPatch.context() as patch:
        patch.setattr(within, "EVERY_S", 0.0)
        with suppress(RunInterrupted):
            scenario = load_scenario("smoke", [*SMALL, "hardware.converters.adc_bits=8"])
            run(scenario, out, device="cpu", reporter=InterruptingReporter((1, 2)))
    trainer = Trainer(Experiment.open(out, device="cpu"))

    def read(folder: Path) -> object:
        found = within.read_within(folder / "checkpoints", 0, ALONE, CPU, print)
        if found is not None:
            with understood("within.pt"):
                trainer._underway(found.epoch).load_state_dict(found.place.state or {})
        return found

    def meant(folder: Path) -> object:
        reseal(folder / "checkpoints/within.pt")
        return read(folder)

    file = "checkpoints/within.pt"
    return {
        "checkpoint within an epoch": Kind(out, file, read),
        "checkpoint within an epoch with a digest of its own": Kind(out, file, meant),
    }


def _run_json(folder: Path) -> object:
    """What pictures and a finished run take from it."""
    return open_run(folder).classes, _report(Experiment.open(folder, device="cpu")).summary()


def _meant(folder: Path) -> object:
    """The checkpoint with a digest that is right, as somebody would give it who means its changes."""
    reseal(folder / "checkpoints/last.pt")
    return load_checkpoint(folder / "checkpoints", CPU)


def _settings(base: Path) -> dict[str, Kind]:
    """TOML files of all sorts."""
    readers: dict[str, tuple[Path, Callable[[Path], object]]] = {
        "scenario": (shipped_files("scenarios")["smoke"], load_scenario),
        "hardware model": (shipped_files("hwmodels")["ideal"], lambda path: read_model(str(path))),
        "device": (shipped_files("hwmodels/devices")["EcRam"], lambda path: load_device(str(path))),
        "cells": (next(iter(shipped_files("hwmodels/cells").values())), lambda path: load_cells(str(path))),
        "converters": (
            shipped_files("hwmodels/converters")["eight_bit"],
            lambda path: load_scenario("smoke", [f"hardware.converters.preset={path}"]),
        ),
    }
    (base / "new.toml").write_text(new_model("mine"))
    readers["hardware model of one's own"] = (base / "new.toml", _checked)
    found = {}
    for name, (path, read) in readers.items():
        folder = base / name.replace(" ", "_")
        folder.mkdir()
        shutil.copy(path, folder / "file.toml")
        found[name] = Kind(folder, "file.toml", lambda place, read=read: read(place / "file.toml"))  # type: ignore[misc]
    return found


def _checked(path: Path) -> object:
    """What `hw check` says of it."""
    file = read_model(str(path))
    return check_rows(file), doubts(file)


def _sweeps(base: Path) -> dict[str, Kind]:
    """A sweep file, and the directory of a sweep of estimates of which one is there."""
    folder, out = base / "sweeps", base / "sweep"
    folder.mkdir()
    (folder / "file.toml").write_text(SWEEP)
    sweep = open_sweep(str(folder / "file.toml"), out, print)
    run = sweep.run(sweep.points[0])
    run.mkdir()
    for name, text in ESTIMATED.items():
        (run / name).write_text(text)
    (out / "slurm.json").write_text('{"jobs": ["17"]}')

    def opened(place: Path) -> object:
        Progress(found := SweepDirectory.open(place)).refresh()
        return found.slurm, found.estimate, slurm.submitted(found)

    inside = {
        "sweep.json": "sweep.json", "sweep.toml of a sweep": "sweep.toml", "jobs of a sweep": "slurm.json",
        "comparison of a point": f"runs/{run.name}/comparison.csv", "area of a point": f"runs/{run.name}/area.csv",
    }  # fmt: skip
    found = {name: Kind(out, path, opened) for name, path in inside.items()}
    return found | {"sweep": Kind(folder, "file.toml", lambda place: plan_sweep(place / "file.toml"))}


def _images(base: Path) -> dict[str, Kind]:
    places = {name: base / name for name in ("python", "binary", "hundred", "packed", "idx", "images")}
    for place in places.values():
        place.mkdir()
    cifar10_binary(places["binary"])
    cifar10_python(places["python"])
    cifar100_python(places["hundred"])
    pack(cifar10_python(places["packed"]), places["packed"] / "cifar-10-python.tar.gz")
    idx_files(places["idx"])
    folder_images(places["images"])
    return {
        "CIFAR pickle": Kind(places["python"], "cifar-10-batches-py/data_batch_2", lambda root: load("cifar10", root)),
        "CIFAR names": Kind(places["python"], "cifar-10-batches-py/batches.meta", lambda root: load("cifar10", root)),
        "CIFAR-100 pickle": Kind(places["hundred"], "cifar-100-python/train", lambda root: load("cifar100", root)),
        "CIFAR binary": Kind(
            places["binary"], "cifar-10-batches-bin/test_batch.bin", lambda root: load("cifar10", root)
        ),
        "CIFAR archive": Kind(places["packed"], "cifar-10-python.tar.gz", lambda root: load("cifar10", root)),
        "IDX": Kind(places["idx"], "train-images-idx3-ubyte", lambda root: load("idx", root)),
        "IDX, packed": Kind(places["idx"], "t10k-images-idx3-ubyte.gz", lambda root: load("idx", root)),
        "PNG": Kind(places["images"], "train/red/0.png", lambda root: load("folder", root)),
        "JPEG": Kind(places["images"], "train/blue/b.JPG", lambda root: load("folder", root)),
        "BMP": Kind(places["images"], "test/blue/a.bmp", lambda root: load("folder", root)),
    }


def _others(base: Path) -> dict[str, Kind]:
    folder = base / "others"
    folder.mkdir()
    rows = "".join(f"{n},{'up' if n < 9 else 'down'},{1e-5 * min(1 + n, 18 - n)}\n" for n in range(18))
    (folder / "pulses.csv").write_text("pulse,direction,conductance_S\n" + rows)
    scenario = load_scenario("smoke", ["signals.kind=kd", "signals.layers=[1]", "signals.learned=false"])
    teacher = build_teacher(scenario, 10, (3, 32, 32))
    torch.save(teacher.state_dict(), folder / "weights.pt")

    def pretrained(place: Path) -> object:
        section = scenario.teacher.model_copy(update={"state_dict": str(place / "weights.pt")})
        return read_pretrained(section, teacher, CPU)

    return {
        "measured pulses": Kind(folder, "pulses.csv", lambda place: read_measurements(place / "pulses.csv")),
        "weights from elsewhere": Kind(folder, "weights.pt", pretrained),
        "target store": target_store(base / "store"),
    }


def target_store(folder: Path) -> Kind:
    """Targets of one layer for three samples."""
    folder.mkdir()
    key, section = StoreKey("digest", "none", 1, (0.0,), (1.0,)), TeacherSection()
    shapes = {1: ("fc", (5,))}
    with write_store(
        folder / "targets.h5", key, shapes, samples=3, views=1, section=section,
        teacher={"teacher_digest": "x", "teacher_accuracy": 1.0},
    ) as store:  # fmt: skip
        store.put(0, 0, {1: torch.randn(3, 5)})

    def read(place: Path) -> object:
        shape = {"samples": 3, "views": 1, "section": section, "device": torch.device("cpu")}
        store = TargetStore(place / "targets.h5", key, {1: (5,)}, **shape)
        return store.of(torch.arange(3), torch.zeros(3, dtype=torch.int64), torch.empty(0))

    return Kind(folder, "targets.h5", read)


def changed(content: bytes, rng: random.Random) -> bytes:
    """``content`` with one to four random changes."""
    found = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        place = rng.randrange(len(found) + 1) if rng.random() < 0.7 else rng.randrange(min(len(found), 300) + 1)
        length = rng.choice([1, 2, 4, 8, 64, len(found) // 4])
        match rng.randrange(8):
            case 0 | 1 if found:
                found[place % len(found)] ^= 1 << rng.randrange(8)
            case 2:
                found[place : place + length] = rng.randbytes(length)
            case 3:
                del found[place:]
            case 4:
                del found[place : place + length]
            case 5:
                found[place:place] = found[place : place + length]
            case 6:
                found[place : place + length] = bytes(length)
            case _:
                splice = rng.choice(SPLICES)
                found[place : place + (len(splice) if rng.random() < 0.5 else 0)] = splice
    return bytes(found)


def tried(kind: Kind, seed: int, work: Path) -> str:
    """ "read" or "refused", of a copy of the file with changes of this ``seed``; raises what anything else raises."""
    path = work / kind.file
    right = (kind.folder / kind.file).read_bytes()
    path.write_bytes(changed(right, random.Random(seed)))
    try:
        kind.read(work)
    except (NeurosimError, NothingToDraw) as problem:
        assert str(problem).strip()
        return "refused"
    except (OSError, MemoryError, RuntimeError, UnicodeEncodeError) as problem:
        if explained(problem) is None:
            raise
        return "refused"
    finally:
        path.write_bytes(right)
    return "read"
