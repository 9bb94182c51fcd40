"""Knowledge distillation: the teacher, its target store, and runs that learn from it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from new_run import reseal

from neurosim_ep.cli import main
from neurosim_ep.data.dataset import load_data
from neurosim_ep.errors import CheckpointError, DataError, NeurosimError, ScenarioError, UsageError
from neurosim_ep.progress import QuietReporter
from neurosim_ep.record.atomic import temporary_of
from neurosim_ep.record.checkpoint import load_checkpoint
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.scenario.schema import Scenario
from neurosim_ep.teacher.classifier import build_teacher
from neurosim_ep.teacher.store import INDEX_BYTES, StoreWriter
from neurosim_ep.teacher.targets import AT_ONCE, LiveTargets, target_source
from neurosim_ep.train.inspect import inspect_scenario
from neurosim_ep.train.resume import resume
from neurosim_ep.train.run import run
from neurosim_ep.train.teach import Taught, batches_of, teach
from neurosim_ep.units import format_bits

CPU = torch.device("cpu")
BASE = (
    "data.train_samples=90", "data.test_samples=40", "data.augment=flip", "network.preset=vgg7", "network.width=0.0625",
    "network.layers=[]", "network.weight_scale=0.5", "relaxation.free_steps=6", "relaxation.nudge_steps=4",
    "relaxation.tolerance=0", "training.epochs=1", "training.batch_size=32", "telemetry.stats_every=1",
    "telemetry.traffic_every=2", "telemetry.plots=false",
    "telemetry.report=false", "teacher.epochs=2", "teacher.learning_rate=0.02",
    'signals.kind=["le","kd","kdw"]', "signals.layers=[1,2,4]", "signals.learned=true", "signals.targets=hard",
)  # fmt: skip


def scenario(folder: Path, *overrides: str) -> Scenario:
    return load_scenario("smoke", [*BASE, f"signals.teacher={folder}", *overrides])


def taught(folder: Path, *overrides: str) -> Taught:
    return teach(scenario(folder, *overrides), None, "cpu", QuietReporter())


@pytest.mark.parametrize("softmax", ["layer", "position"])
@pytest.mark.parametrize("augment", ["data.augment=flip", "data.augment=crop_flip"])
def test_stored_targets_train_as_the_live_teacher_does(tmp_path: Path, softmax: str, augment: str) -> None:
    """A float32 store gives the same weights and tables, bit for bit, on the same views."""
    options = ["teacher.precision=float32", f"signals.softmax={softmax}", augment]
    if augment.endswith("crop_flip"):
        options.append("data.crop_step=8")
    taught(tmp_path / "teacher", *options)
    runs = []
    for live in ("false", "true"):
        out = tmp_path / live
        run(scenario(tmp_path / "teacher", *options, f"signals.live={live}"), out, device="cpu")
        weights = load_checkpoint(out / "checkpoints", CPU)["trainer"]
        tables = [(out / name).read_bytes() for name in ("layers.csv", "memory.csv", "tiles.csv")]
        runs.append((weights, tables))
    (stored, tables), (live_weights, live_tables) = runs
    for part in ("network", "signals"):
        for name, tensor in stored[part].items():
            assert torch.equal(tensor, live_weights[part][name]), name
    assert tables == live_tables


def test_a_teachers_answer_does_not_depend_on_its_neighbours(tmp_path: Path) -> None:
    chosen = scenario(tmp_path)
    data = load_data(chosen.data, 0)
    live = LiveTargets(build_teacher(chosen, 10, data.image_shape), {0: 0, 2: 2}, data.mean, data.std)
    images = data.train_images[: AT_ONCE + 5]
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    nothing = torch.zeros(len(images), dtype=torch.int64)
    together, shuffled = live.of(nothing, nothing, images), live.of(nothing, nothing, images[order])
    for layer in (0, 2):
        assert together[layer].shape[1:] == live.teacher.shapes[layer]
        assert torch.equal(together[layer][order], shuffled[layer])


def test_images_of_the_host_are_shown_to_a_teacher_on_a_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    chosen, mean, std = scenario(tmp_path), torch.zeros(3), torch.ones(3)
    monkeypatch.setattr("neurosim_ep.teacher.targets.weights_digest", lambda teacher: "")
    live = LiveTargets(build_teacher(chosen, 10, (3, 32, 32)).to("meta"), {0: 0}, mean, std)
    assert live.look(torch.zeros(2, 3, 32, 32, dtype=torch.uint8))[0].device.type == "meta"


@pytest.mark.parametrize(("precision", "error"), [("float16", 1e-3), ("int8", 5e-3)])
def test_short_numbers_stay_close(tmp_path: Path, precision: str, error: float) -> None:
    taught(tmp_path / "teacher", f"teacher.precision={precision}")
    chosen = scenario(tmp_path / "teacher", f"teacher.precision={precision}")
    data = load_data(chosen.data, 0)
    network = build_teacher_student(chosen)
    stored = target_source(chosen, network, data, CPU)
    live = target_source(scenario(tmp_path / "teacher", "signals.live=true"), network, data, CPU)
    assert stored is not None and live is not None and stored.teacher_digest == live.teacher_digest
    samples, views = torch.arange(20, 40), torch.zeros(20, dtype=torch.int64)
    images = data.train_images[samples].flip(-1)
    ours, theirs = stored.of(samples, views + 1, images), live.of(samples, views, images)
    for layer, wanted in theirs.items():
        assert (ours[layer] - wanted).abs().max() <= error * wanted.abs().max()
        assert wanted.abs().max() > 0


def build_teacher_student(chosen: Scenario):  # type: ignore[no-untyped-def]
    from neurosim_ep.ep.network import build_network

    return build_network(chosen.network, 10, (3, 32, 32), 0)


def test_the_bill_of_stored_targets(tmp_path: Path) -> None:
    """Bytes per sample and epoch, on the chip and off it, and what moving them costs."""
    result = taught(tmp_path / "teacher")
    features = 16 * 4 * 4 + 32  # conv3 at 4x4 and conv5 at 1x1
    assert result.bytes_per_sample == 2 * features and result.views == 2
    assert result.bytes_per_epoch == 90 * 2 * features and result.store_bytes == 2 * result.bytes_per_epoch
    with h5py.File(tmp_path / "teacher" / "targets.h5") as file:
        assert file["targets/2"].shape == (90, 2, 256) and file["targets/2"].chunks == (1, 1, 256)
        assert file["targets/2"].dtype == np.float16
        assert file.attrs["teacher_accuracy"] == result.accuracy
    finished = run(scenario(tmp_path / "teacher"), tmp_path / "run", device="cpu")
    assert "read per sample" in dict(finished.summary())["targets, off chip"]
    assert dict(finished.summary())["targets, off chip"].endswith("in 2 views")
    out = finished.out
    about = json.loads((out / "run.json").read_text())["teacher"]
    assert about["bytes_per_sample"] == 2 * features and about["bytes_per_epoch"] == 90 * 2 * features
    assert about["store_bytes"] == result.store_bytes
    rows = {row["item"]: row for row in inspect_scenario(scenario(tmp_path / "teacher")).memory}
    assert rows["stored targets"]["off chip"] == format_bits(8 * 2 * features)
    memory = pd.read_csv(out / "memory.csv")
    assert memory[memory.method == "off_chip"].bits.sum() == 8 * 2 * features
    targets = memory[(memory.method == "ep") & (memory["item"] == "targets")].set_index("name").bits
    assert targets["conv3"] == targets["conv2"] / 10 * 256
    matrices = memory[(memory.method == "ep") & (memory["item"] == "projections")].set_index("name").bits
    assert matrices["conv3"] == 0 and matrices["conv5"] > matrices["conv2"] / (10 * 8 * 8 * 8) * 32 * 32 - 1
    cost = pd.read_csv(out / "cost.csv").query("component == 'dram' and style == 'clocked' and phase == 'nudge_plus'")
    samples = 32 + 26  # of the two recorded batches
    assert set(cost.samples) == {samples}
    assert cost["count"].sum() == samples * 8 * 2 * features


def test_an_interrupted_teacher_goes_on(tmp_path: Path) -> None:
    class Stop(QuietReporter):
        def note(self, message: str) -> None:
            if message.startswith("teacher epoch 1/"):
                raise KeyboardInterrupt

    whole = taught(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        teach(scenario(tmp_path / "cut"), None, "cpu", Stop())
    assert not (tmp_path / "cut" / "targets.h5").exists()
    again = taught(tmp_path / "cut")
    assert again.accuracy == whole.accuracy
    names = ("teacher_digest", "train_digest")
    found = [json.loads((tmp_path / name / "teacher.json").read_text()) for name in ("whole", "cut")]
    assert [found[0][name] for name in names] == [found[1][name] for name in names]
    assert len(pd.read_csv(tmp_path / "cut" / "teacher.csv")) == 2


def test_a_run_with_a_teacher_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taught(tmp_path / "teacher")
    whole = run(scenario(tmp_path / "teacher", "training.epochs=2"), tmp_path / "whole", device="cpu")

    class Stop(QuietReporter):
        def batch(self, epoch: int, batch: int) -> None:
            if epoch == 2:
                raise KeyboardInterrupt

    with pytest.raises(NeurosimError, match="interrupted"):
        run(scenario(tmp_path / "teacher", "training.epochs=2"), tmp_path / "cut", device="cpu", reporter=Stop())
    (tmp_path / "teacher" / "teacher.pt").unlink()
    with h5py.File(tmp_path / "teacher" / "targets.h5", "r+") as store:
        digest = store.attrs["teacher_digest"]
        store.attrs["teacher_digest"] = "another"
    reseal(tmp_path / "teacher" / "targets.h5")
    with pytest.raises(CheckpointError, match="holds another teacher than the one this run started with"):
        resume(tmp_path / "cut", device="cpu")
    with h5py.File(tmp_path / "teacher" / "targets.h5", "r+") as store:
        store.attrs["teacher_digest"] = digest
    reseal(tmp_path / "teacher" / "targets.h5")
    monkeypatch.chdir("/")
    again = resume(tmp_path / "cut", device="cpu")
    ours, theirs = ((result.out / "layers.csv").read_bytes() for result in (again, whole))
    assert ours == theirs


def test_foreign_weights_are_mapped(tmp_path: Path) -> None:
    """A teacher trained elsewhere, under other names, gives the store its own would."""
    taught(tmp_path / "own")
    weights = load_checkpoint(tmp_path / "own", CPU, "teacher.pt")["weights"]
    renamed = {name.replace("conv1.", "features.0.").replace("out.", "head."): value for name, value in weights.items()}
    torch.save(renamed, tmp_path / "theirs.pt")
    foreign = [f"teacher.state_dict={tmp_path / 'theirs.pt'}", "teacher.epochs=10", "teacher.learning_rate=0.05"]
    mapping = 'teacher.mapping=["conv1=features.0","out=head"]'
    taught(tmp_path / "foreign", *foreign, mapping)
    with h5py.File(tmp_path / "own" / "targets.h5") as own, h5py.File(tmp_path / "foreign" / "targets.h5") as other:
        assert np.array_equal(own["targets/4"][:], other["targets/4"][:])
    with pytest.raises(CheckpointError, match=r"has no conv1\.weight for conv1\.weight; .*teacher\.mapping"):
        taught(tmp_path / "unmapped", *foreign)
    assert not (tmp_path / "unmapped").exists()


class TheirVgg(torch.nn.Module):
    """VGG-7 of a sixteenth of the width as others build it: convolutions with a bias before batch normalisation, one
    linear layer.
    """

    def __init__(self) -> None:
        super().__init__()
        modules: list[torch.nn.Module] = []
        for before, after in pairwise((3, 4, 8, 16, 32, 32)):
            modules += [torch.nn.Conv2d(before, after, 3, padding=1), torch.nn.BatchNorm2d(after), torch.nn.ReLU()]
            modules.append(torch.nn.MaxPool2d(2))
        self.features = torch.nn.Sequential(*modules)
        self.classifier = torch.nn.Linear(32, 10)
        for norm in self.features[1::4]:
            norm.running_mean.uniform_(-0.5, 0.5)
            norm.running_var.uniform_(0.5, 2)


THEIR_MAPPING = [f"{kind}{n + 1}=features.{4 * n + k}" for n in range(5) for k, kind in enumerate(("conv", "bn"))]
THEIR_MAPPING = [*THEIR_MAPPING, "out=classifier"]
THEIR_TEACHER = (
    "teacher.preset=vgg7", "teacher.hidden=[]", f"teacher.mapping={json.dumps(THEIR_MAPPING)}",
    "teacher.precision=float32", "teacher.epochs=10", "teacher.learning_rate=0.05",
)  # fmt: skip


@pytest.mark.parametrize("wrap", ["plain", "data_parallel", "checkpoint"])
def test_a_usual_vgg_shows_what_it_would_elsewhere(tmp_path: Path, wrap: str) -> None:
    """Layer by layer, with the biases that ours lack, in the colours it was trained with."""
    torch.manual_seed(0)
    theirs = TheirVgg().eval()
    weights = theirs.state_dict()
    if wrap == "data_parallel":
        weights = {f"module.{name}": value for name, value in weights.items()}
    torch.save({"net": weights, "acc": 93.2} if wrap == "checkpoint" else weights, tmp_path / "theirs.pt")
    mean, std = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    options = [*THEIR_TEACHER, f"teacher.state_dict={tmp_path / 'theirs.pt'}", "data.augment=none"]
    options += [f"teacher.mean={list(mean)}", f"teacher.std={list(std)}"]
    taught(tmp_path / "teacher", *options)
    images = load_data(scenario(tmp_path, *options).data, 0).train_images
    x = (images / 255 - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    with torch.no_grad():
        shown = {2: theirs.features[:12](x), 4: theirs.features(x)}
    with h5py.File(tmp_path / "teacher" / "targets.h5") as store:
        for layer, wanted in shown.items():
            found = torch.from_numpy(store[f"targets/{layer}"][:, 0])
            torch.testing.assert_close(found, wanted.flatten(1), rtol=1e-4, atol=1e-5)
            assert wanted.std() > 0.1
    run(scenario(tmp_path / "teacher", *options), tmp_path / "run", device="cpu")


def test_weights_without_a_place_are_refused(tmp_path: Path) -> None:
    theirs = TheirVgg()
    theirs.features.append(torch.nn.Conv2d(32, 32, 1))
    torch.save(theirs.state_dict(), tmp_path / "theirs.pt")
    options = [*THEIR_TEACHER, f"teacher.state_dict={tmp_path / 'theirs.pt'}"]
    with pytest.raises(
        CheckpointError, match=r"features\.20\.weight, features\.20\.bias have no place in this teacher"
    ):
        taught(tmp_path / "teacher", *options)
    with pytest.raises(
        CheckpointError, match=r"has no fc1\.weight .* or choose teacher\.preset, hidden and batch_norm"
    ):
        taught(tmp_path / "teacher", *[option for option in options if "hidden" not in option])
    with pytest.raises(ScenarioError, match=r"teacher\.mean = \[0\.5\]: must have a value for each of the 3 colour"):
        taught(tmp_path / "teacher", *options, "teacher.mean=[0.5]", "teacher.std=[0.2]")
    assert not (tmp_path / "teacher").exists()


def test_another_vgg_teaches_block_by_block(tmp_path: Path) -> None:
    """Four convolutions of a VGG-11's third and fourth block teach the single ones of a VGG-7."""
    result = taught(tmp_path / "teacher", "teacher.preset=vgg11", "teacher.epochs=1")
    assert result.bytes_per_sample == 2 * (256 + 32)
    chosen = scenario(tmp_path, "teacher.preset=vgg7", "network.preset=vgg11", "signals.layers=[1,2,5]")
    with pytest.raises(ScenarioError, match=r"layer 2 \(conv3\).*has no block that ends where conv3 does"):
        teach(chosen, tmp_path / "none", "cpu", QuietReporter())


def other_images(folder: Path) -> Scenario:
    return scenario(folder, "data.train_samples=80")


def other_views(folder: Path) -> Scenario:
    return scenario(folder, "data.augment=none")


def other_colours(folder: Path) -> Scenario:
    return scenario(folder, "data.normalise=false")


def other_numbers(folder: Path) -> Scenario:
    return scenario(folder, "teacher.precision=int8")


def other_layers(folder: Path) -> Scenario:
    return scenario(folder, "signals.layers=[1,3,4]")


def other_network(folder: Path) -> Scenario:
    return scenario(folder, "network.width=0.125")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (other_images, "data_digest = .*: holds targets of other images"),
        (other_views, "augment = flip: holds targets of other views"),
        (other_colours, "mean = .*: holds targets of other colours"),
        (other_numbers, "holds float16 numbers, but teacher.precision is int8"),
        (other_layers, "has targets of layers 2, 4, not of layer 3"),
        (other_network, "targets of layer 2 have the shape"),
    ],
)
def test_a_store_of_something_else_is_refused(tmp_path: Path, make: Callable[[Path], Scenario], message: str) -> None:
    taught(tmp_path / "teacher", "teacher.epochs=1")
    with pytest.raises(DataError, match=message):
        run(make(tmp_path / "teacher"), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_without_a_teacher_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no target store there; write one with `neurosim-ep teach`"):
        run(scenario(tmp_path / "teacher"), tmp_path / "run", device="cpu")
    with pytest.raises(CheckpointError, match="holds no teacher"):
        run(scenario(tmp_path / "teacher", "signals.live=true"), tmp_path / "run", device="cpu")
    (tmp_path / "teacher").mkdir()
    store = tmp_path / "teacher" / "targets.h5"
    store.write_bytes(b"no HDF5")
    with pytest.raises(DataError, match=r"has no digest at its end: cut short, or of an earlier version; write"):
        run(scenario(tmp_path / "teacher"), tmp_path / "run", device="cpu")
    reseal(store)
    with pytest.raises(DataError, match="cannot be read as a target store"):
        run(scenario(tmp_path / "teacher"), tmp_path / "run", device="cpu")
    with pytest.raises(UsageError, match="is not an empty folder and holds no teacher"):
        taught(tmp_path / "teacher")
    with pytest.raises(UsageError, match="no layer of this scenario needs a teacher"):
        teach(load_scenario("smoke"), tmp_path / "le", "cpu", QuietReporter())
    assert not (tmp_path / "le").exists()


def test_activations_that_do_not_fit_leave_no_store(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="activations of the teacher do not fit float16"):
        taught(tmp_path / "teacher", "teacher.learning_rate=1e6", "teacher.batch_norm=false")
    assert not (tmp_path / "teacher" / "targets.h5").exists()


def test_a_folder_keeps_the_teacher_it_has(tmp_path: Path) -> None:
    taught(tmp_path / "teacher", "teacher.epochs=1")
    with pytest.raises(UsageError, match=r"holds a teacher of another scenario \(teacher differ"):
        taught(tmp_path / "teacher", "teacher.epochs=3")
    with pytest.raises(UsageError, match=r"\(data and taught differ"):
        taught(tmp_path / "teacher", "teacher.epochs=1", "data.augment=none", "signals.layers=[1,2,3]")


def test_a_teacher_serves_every_scenario_it_does_not_depend_on(tmp_path: Path) -> None:
    first = taught(tmp_path / "teacher", "teacher.epochs=1")
    others = ("relaxation.beta=0.3", "data.test_samples=20", "network.activation=relu", "training.batch_size=8")
    weights = (tmp_path / "teacher" / "training.pt").read_bytes()
    taught(tmp_path / "teacher", "teacher.epochs=1", *others)
    assert (tmp_path / "teacher" / "training.pt").read_bytes() == weights
    run(scenario(tmp_path / "teacher", "teacher.epochs=1", *others), tmp_path / "run", device="cpu")
    assert first.folder == tmp_path / "teacher"


def test_where_a_teacher_was_put_is_said(tmp_path: Path) -> None:
    class Listen(QuietReporter):
        said: ClassVar[list[str]] = []

        def note(self, message: str) -> None:
            self.said.append(message)

    teach(scenario(tmp_path / "a", "teacher.epochs=1"), tmp_path / "b", "cpu", Listen())
    assert Listen.said[-1] == f"runs find this teacher with --set signals.teacher={tmp_path / 'b'}"


@given(st.integers(1, 200), st.integers(2, 64))
def test_no_batch_of_a_teacher_is_one_sample(samples: int, size: int) -> None:
    order = torch.arange(samples)
    batches = batches_of(order, size)
    assert torch.equal(torch.cat(batches), order)
    assert samples == 1 or min(len(batch) for batch in batches) > 1
    assert max(len(batch) for batch in batches) <= size + 1


def test_a_store_that_cannot_be_written_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(StoreWriter, "put", full)
    with pytest.raises(UsageError, match=r"targets\.h5: cannot be written \(No space left on device\)"):
        taught(tmp_path / "teacher", "teacher.epochs=1")
    assert not list((tmp_path / "teacher").glob("*targets*"))


def test_what_a_killed_command_left_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is removed before the free space is measured, and the space asked for is what the file takes."""
    left = temporary_of(tmp_path / "teacher" / "targets.h5")
    asked: list[bool] = []

    def measure(path: Path) -> object:
        asked.append(left.exists())
        return SimpleNamespace(free=1000)

    monkeypatch.setattr(shutil, "disk_usage", measure)
    with pytest.raises(UsageError, match=r"need .* but only 1000\.00 B are free"):
        taught(tmp_path / "teacher", "teacher.epochs=1")
    left.write_bytes(b"half a store")
    with pytest.raises(UsageError, match="need"):
        taught(tmp_path / "teacher", "teacher.epochs=1")
    assert asked == [False, False] and not left.exists()
    monkeypatch.undo()
    result = taught(tmp_path / "teacher", "teacher.epochs=1")
    chunks = 90 * 2 * 2
    size = (tmp_path / "teacher" / "targets.h5").stat().st_size
    assert result.store_bytes < size < result.store_bytes + chunks * INDEX_BYTES + 10_000


def test_a_store_of_another_or_a_newer_teacher_is_refused(tmp_path: Path) -> None:
    taught(tmp_path / "teacher", "teacher.epochs=1")
    with pytest.raises(
        DataError, match=r"another teacher: teacher\.epochs was 1 there, and is 77 here; set it to what"
    ):
        run(scenario(tmp_path / "teacher", "teacher.epochs=77"), tmp_path / "run", device="cpu")
    taught(tmp_path / "other", "teacher.epochs=1", "teacher.learning_rate=0.1")
    shutil.copy(tmp_path / "other" / "teacher.pt", tmp_path / "teacher" / "teacher.pt")
    with pytest.raises(DataError, match=r"targets\.h5 was not written by the teacher beside it \(teacher\.pt\)"):
        run(scenario(tmp_path / "teacher", "teacher.epochs=1"), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_damaged_targets_are_noticed(tmp_path: Path) -> None:
    taught(tmp_path / "teacher", "teacher.epochs=1")
    path = tmp_path / "teacher" / "targets.h5"
    with h5py.File(path) as store:
        place = store["targets/4"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"targets\.h5: damaged: its bytes .*; write it again with `neurosim-ep teach`"):
        run(scenario(tmp_path / "teacher", "teacher.epochs=1"), tmp_path / "run", device="cpu")


def test_a_teacher_near_chance_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taught(tmp_path / "teacher", "teacher.epochs=1", "teacher.learning_rate=0")
    assert "of the test images, which is close to chance" in capsys.readouterr().err


def test_updates_are_checked_with_the_store_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a chip has is enough for `gdu`: with a float32 store the figures are those with the teacher at hand."""
    options = ["teacher.epochs=1", "teacher.precision=float32"]
    taught(tmp_path / "teacher", *options)
    run(scenario(tmp_path / "teacher", *options), tmp_path / "run", device="cpu")
    words = ["--samples", "10", "--device", "cpu"]
    assert main(["gdu", str(tmp_path / "run"), *words, "--out", str(tmp_path / "asked")]) == 0
    (tmp_path / "teacher" / "teacher.pt").unlink()
    assert main(["gdu", str(tmp_path / "run"), *words, "--out", str(tmp_path / "read")]) == 0
    asked, read = ((tmp_path / name / "gdu_layers.csv").read_bytes() for name in ("asked", "read"))
    assert asked == read
    capsys.readouterr()
    assert main(["diagnose", str(tmp_path / "run"), *words]) == 2
    assert "only what it showed for training images is stored" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["gdu", "diagnose"])
def test_a_run_with_a_teacher_is_examined_with_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    taught(tmp_path / "teacher", "teacher.epochs=1")
    run(scenario(tmp_path / "teacher", "teacher.epochs=1"), tmp_path / "run", device="cpu")
    words = [command, str(tmp_path / "run"), "--samples", "10", "--device", "cpu"]
    words += ["--out", str(tmp_path / "gdu")] if command == "gdu" else []
    assert main(words) == 0
    (tmp_path / "teacher").rename(tmp_path / "kept")
    taught(tmp_path / "teacher", "teacher.epochs=1", "scenario.seed=1")
    capsys.readouterr()
    words = [*words[:-1], str(tmp_path / "gdu2")] if command == "gdu" else words
    assert main(words) == 2
    assert "holds another teacher than the one this run started with" in capsys.readouterr().err


SIX = ",".join(['{kind="conv",size=4,pool="max"}'] * 5 + ['{kind="conv",size=4}'])


@pytest.mark.parametrize("samples", [20, 1])
def test_batches_of_one_on_a_map_of_one_pixel_are_refused(tmp_path: Path, samples: int) -> None:
    """The last of six layers sees 32 / 2^5 = 1 pixel: batch normalisation has nothing to normalise over."""
    sets = (
        f"network.layers=[{SIX}]", "network.preset=custom", "signals.kind=kd", "signals.layers=[0]",
        "signals.learned=false", f"data.train_samples={samples}", "data.test_samples=10", "teacher.epochs=1",
    )  # fmt: skip
    said = "teacher.batch_size = 1: conv6" if samples > 1 else "data.train_samples = 1: conv6"
    with pytest.raises(ScenarioError, match=rf"{said} of the teacher has maps of 1x1, whose batch normalisation"):
        taught(tmp_path / "one", *sets, "teacher.batch_size=1")
    assert not (tmp_path / "one").exists()
    taught(tmp_path / "two", *sets, "teacher.batch_size=1", "teacher.batch_norm=false")
    if samples > 1:
        taught(tmp_path / "three", *sets, "teacher.batch_size=2")
