"""Checkpoints within an epoch: a run goes on from the last of them as if nothing had stopped it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from tiny_run import InterruptingReporter, outcome

from neurosim_ep.errors import CheckpointError, RunInterrupted
from neurosim_ep.progress import Reporter
from neurosim_ep.record.checkpoint import save_checkpoint
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.scenario.schema import Scenario
from neurosim_ep.telemetry import health
from neurosim_ep.train import within
from neurosim_ep.train.resume import resume
from neurosim_ep.train.run import run

SMALL = (
    "data.train_samples=50", "data.test_samples=20", "training.epochs=3", "training.batch_size=10",
    "relaxation.free_steps=4", "relaxation.nudge_steps=4", "relaxation.tolerance=0.01", "telemetry.stats_every=2",
    "telemetry.traffic_every=2", "telemetry.plots=false", "telemetry.report=false", "data.augment=crop_flip",
    "network.layers=[{ kind = 'conv', size = 3, pool = 'max' }, { kind = 'linear', size = 6 }]", "signals.layers=[0]",
)  # fmt: skip
PLAIN = ("signals.kind=none", "signals.layers=[]", "signals.learned=false")
CONVERTERS = (
    "hardware.converters.dac_bits=8", "hardware.converters.adc_bits=4", "hardware.converters.calibrate_every=3",
)  # fmt: skip
NOISY = (*CONVERTERS, "hardware.cells.read_noise=0.02", "hardware.cells.variation=0.05")
CASES: Mapping[str, tuple[str, ...]] = {
    "schedule": ("training.momentum=0.9", "training.schedule=cosine", "training.warmup=0.5", "telemetry.stats_every=1"),
    "uniform": (*PLAIN, "relaxation.state_init=uniform", "scheduler.policy=alternating"),
    "memory": ("relaxation.warm_start=memory",),
    "hdf5": ("relaxation.warm_start=hdf5", "telemetry.traffic_every=0"),
    "noise": NOISY,
    "pulses": (*NOISY, "hardware.device.preset=EcRam", "hardware.device.update=two_pass"),
    "difference": (*NOISY, "hardware.device.preset=EcRam", "hardware.device.update=difference"),
    "bptt": (*PLAIN, "plasticity.rule=bptt", "telemetry.traffic_every=0"),
    "dying": ("network.weight_scale=0.01", "telemetry.stats_every=1"),
}
"""What beside :data:`SMALL`: all that a batch can hand to the next."""


class Heard(Reporter):
    """What a run says."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def scenario(*overrides: str) -> Scenario:
    return load_scenario("smoke", [*SMALL, *overrides])


@pytest.fixture(autouse=True)
def after_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(within, "EVERY_S", 0.0)
    monkeypatch.setattr(within, "PAUSE", 0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was left alone and saved nothing on the way."""
    return run(scenario(), tmp_path_factory.mktemp("whole") / "out", device="cpu").out


def stopped(out: Path, *overrides: str) -> Path:
    """A run that was stopped after the second batch of its second epoch, of which the first is saved."""
    with pytest.raises(RunInterrupted, match="finished epochs and part of the next are saved, go on with"):
        run(scenario(*overrides), out, device="cpu", reporter=InterruptingReporter((2, 2)))
    return out


def went_on(out: Path) -> tuple[list[str], list[str]]:
    """Let the run go on to its end; what it said, and where each of its commands began."""
    heard = Heard()
    assert resume(out, device="cpu", reporter=heard).status == "done"
    log = (out / "run.log").read_text().splitlines()
    starts = [line.split("start at ")[1].split(" on cpu")[0] for line in log if "start at" in line]
    return heard.notes, starts


@pytest.mark.parametrize("case", CASES)
def test_a_run_goes_on_within_an_epoch_bit_for_bit(tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After two interruptions of one epoch."""
    monkeypatch.setattr(health, "WINDOW", 1)
    with monkeypatch.context() as patch:
        patch.setattr(within, "EVERY_S", 300.0)
        alone = run(scenario(*CASES[case]), tmp_path / "alone", device="cpu").out
    out = stopped(tmp_path / "out", *CASES[case])
    with pytest.raises(RunInterrupted):
        resume(out, device="cpu", reporter=InterruptingReporter((2, 4)))
    notes, starts = went_on(out)
    assert "going on in epoch 2 after 3 of 5 batches" in notes
    assert starts == ["epoch 1 of 3", "epoch 2 of 3 after 1 of 5 batches", "epoch 2 of 3 after 3 of 5 batches"]
    assert outcome(out) == outcome(alone)
    mine, theirs = (json.loads((path / "run.json").read_text()) for path in (out, alone))
    for key in ("metrics", "warnings", "verdict", "learning"):
        assert mine[key] == theirs[key], key
    said, expected = (
        {line.split(" ", 1)[1] for line in (one / "run.log").read_text().splitlines() if "warning: " in line}
        for one in (out, alone)
    )
    assert said == expected and (said or case != "dying")
    left, expected = ({path.name for path in (one / "checkpoints").iterdir()} for one in (out, alone))
    assert left == expected


def test_what_is_within_an_epoch_that_was_finished_since_is_passed_over(tmp_path: Path, whole: Path) -> None:
    out = stopped(tmp_path / "out")
    old = (out / "checkpoints/within.pt").read_bytes()
    with pytest.raises(RunInterrupted):
        resume(out, device="cpu", reporter=InterruptingReporter((3, 1)))
    assert not (out / "checkpoints/within.pt").exists()
    (out / "checkpoints/within.pt").write_bytes(old)
    notes, starts = went_on(out)
    assert not any("going on" in note or "again" in note for note in notes)
    assert starts[2:] == ["epoch 3 of 3"]
    assert outcome(out) == outcome(whole)


def test_changes_hold_for_whole_epochs(tmp_path: Path) -> None:
    out = stopped(tmp_path / "out")
    heard = Heard()
    resume(out, device="cpu", reporter=heard, overrides=["training.momentum=0.5"])
    assert "epoch 2 begins again with its first batch, as changes hold for whole epochs" in heard.notes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(within, "EVERY_S", 300.0)
        with pytest.raises(RunInterrupted, match="finished epochs are saved"):
            run(scenario(), tmp_path / "other", device="cpu", reporter=InterruptingReporter((2, 2)))
    resume(tmp_path / "other", device="cpu", overrides=["training.momentum=0.5"])
    assert outcome(out) == outcome(tmp_path / "other")


@pytest.mark.parametrize(("key", "value"), [("device", "cuda"), ("parts", [b"1", b"2"])])
def test_what_others_had_done_is_done_again(tmp_path: Path, key: str, value: Any) -> None:
    """A GPU, or two processes, whose random numbers are their own; states of samples that they left go with it."""
    out = stopped(tmp_path / "out", "relaxation.warm_start=hdf5", "telemetry.traffic_every=0")
    path = out / "checkpoints/within.pt"
    state = torch.load(path, weights_only=True)
    save_checkpoint(path.parent, {**state, key: value}, path.name)
    notes, starts = went_on(out)
    who = {"device": "1 process on cuda", "parts": "2 processes on cpu"}[key]
    assert f"epoch 2 begins again with its first batch, which {who} had done" in notes
    assert starts == ["epoch 1 of 3", "epoch 2 of 3"]
    assert not path.exists()


def test_damage_is_refused_with_a_way_on(tmp_path: Path, whole: Path) -> None:
    out = stopped(tmp_path / "out")
    path = out / "checkpoints/within.pt"
    content = path.read_bytes()
    path.write_bytes(content[:1000] + bytes([content[1000] ^ 1]) + content[1001:])
    with pytest.raises(CheckpointError, match=r"within\.pt: .*remove within\.pt to go on after the last finished"):
        resume(out, device="cpu")
    path.unlink()
    assert went_on(out)[1] == ["epoch 1 of 3", "epoch 2 of 3"]
    assert outcome(out) == outcome(whole)


@pytest.mark.parametrize("kind", ["memory", "hdf5"])
@pytest.mark.parametrize("damage", ["states", "file", "gone"])
def test_damaged_states_of_the_epoch_are_refused_with_a_way_on(tmp_path: Path, kind: str, damage: str) -> None:
    out = stopped(tmp_path / "out", f"relaxation.warm_start={kind}", "telemetry.traffic_every=0")
    path = out / "checkpoints/warm-2.h5"
    if damage == "states":
        with h5py.File(path, "r+") as file:
            known = file["layer0"][:]
            file["layer0"][:] = np.where(known != 0, known + 1, known)
    elif damage == "file":
        path.write_bytes(b"not HDF5")
    else:
        path.unlink()
    with pytest.raises(CheckpointError, match=r"warm-2\.h5: .*; remove within\.pt to go on after the last finished"):
        resume(out, device="cpu")
    (out / "checkpoints/within.pt").unlink()
    assert went_on(out)[1][-1] == "epoch 2 of 3"


def test_writing_takes_a_small_part_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None is written for 50 times as long as the last has taken."""
    now, written = [0.0], list[float]()

    class Later(Reporter):
        def batch(self, epoch: int, batch: int) -> None:
            now[0] += 10.0

    def save(folder: Path, state: Mapping[str, Any], name: str = "last.pt") -> None:
        save_checkpoint(folder, dict(state), name)
        if name == "within.pt":
            written.append(now[0])
            now[0] += 2.0

    monkeypatch.setattr(within, "EVERY_S", 20.0)
    monkeypatch.setattr(within, "PAUSE", 50)
    monkeypatch.setattr(within, "save_checkpoint", save)
    monkeypatch.setattr(within.time, "perf_counter", lambda: now[0])
    run(scenario("training.epochs=1", "training.batch_size=2"), tmp_path / "out", device="cpu", reporter=Later())
    assert written == [20.0, 122.0, 224.0]


def test_what_changes_no_number_keeps_what_is_done(tmp_path: Path, whole: Path) -> None:
    out = stopped(tmp_path / "out")
    heard = Heard()
    resume(out, device="cpu", reporter=heard, overrides=["telemetry.plots=false", "telemetry.report=false"])
    assert "going on in epoch 2 after 1 of 5 batches" in heard.notes
    assert outcome(out) == outcome(whole)


@pytest.mark.parametrize(("key", "value"), [("epoch", 2), ("done", 99), ("parts", [b"junk"])])
def test_what_this_version_does_not_leave_is_refused_with_a_way_on(tmp_path: Path, key: str, value: Any) -> None:
    out = stopped(tmp_path / "out", "telemetry.traffic_every=0")
    path = out / "checkpoints/within.pt"
    save_checkpoint(path.parent, {**torch.load(path, weights_only=True), key: value}, path.name)
    with pytest.raises(CheckpointError, match=r"within\.pt: not what this version leaves there .*; remove within\.pt"):
        resume(out, device="cpu")


def test_half_a_checkpoint_is_cleared_away(tmp_path: Path) -> None:
    out = stopped(tmp_path / "out", "telemetry.traffic_every=0")
    (out / "checkpoints/.within.pt.tmp").write_bytes(b"half")
    went_on(out)
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["last.pt"]
