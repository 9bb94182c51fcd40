"""Bad scenarios, data, checkpoints and run directories, given to the command line.

Each is told in one message, exits with 2, shows no traceback, and leaves every file as it was.
"""

from __future__ import annotations

import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import h5py
import pytest
import torch
from bad_data import BROKEN_CIFAR, BROKEN_IDX, Malicious, broken_cifar, broken_idx
from bad_scenarios import BAD_FILES, BAD_OVERRIDES
from data_files import idx_files
from tiny_run import IDX_SCENARIO, contents

from neurosim_ep.cli import main
from neurosim_ep.errors import RunInterrupted
from neurosim_ep.progress import QuietReporter
from neurosim_ep.resources import shipped_files
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.train.run import run

CHECKPOINT = "checkpoints/last.pt"

Change = Callable[[Path], Any]
Refusal = Callable[..., str]


class StopInSecondEpoch(QuietReporter):
    def batch(self, epoch: int, batch: int) -> None:
        if epoch == 2:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``data``, ``tiny.toml`` and ``run``, a run of it that was stopped in its second epoch."""
    folder = tmp_path_factory.mktemp("interrupted")
    scenario = folder / "tiny.toml"
    idx_files(folder / "data")
    scenario.write_text(IDX_SCENARIO.replace("[data]", f"[data]\nroot = '{folder / 'data'}'"))
    with pytest.raises(RunInterrupted, match="neurosim-ep resume"):
        run(load_scenario(scenario), folder / "run", device="cpu", reporter=StopInSecondEpoch())
    return folder


@pytest.fixture
def place(interrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the ``interrupted`` folder to break things in, the working directory of the test.

    Its scenarios name the data of the original.
    """
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(interrupted, tmp_path, dirs_exist_ok=True))


@pytest.fixture
def refuse(place: Path, capsys: pytest.CaptureFixture[str]) -> Refusal:
    """Calls a command that must be refused and leave everything as it was; returns what is said about it."""

    def call(*arguments: str) -> str:
        before = contents(place)
        assert main(arguments) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "Traceback" not in captured.err
        _, message = re.split(r"^[Ee]rror: ", captured.err, flags=re.MULTILINE)
        assert contents(place) == before
        return message

    return call


def replace(name: str, old: str, new: str) -> Change:
    def change(run_dir: Path) -> None:
        text = (run_dir / name).read_text()
        assert old in text
        (run_dir / name).write_text(text.replace(old, new, 1))

    return change


def write(name: str, content: bytes) -> Change:
    return lambda run_dir: (run_dir / name).write_bytes(content)


def remove(name: str) -> Change:
    return lambda run_dir: (run_dir / name).unlink()


def halve(name: str) -> Change:
    return lambda run_dir: os.truncate(run_dir / name, (run_dir / name).stat().st_size // 2)


def save(state: object) -> Change:
    return lambda run_dir: torch.save(state, run_dir / CHECKPOINT)


def update(**fields: object) -> Change:
    def change(run_dir: Path) -> None:
        torch.save({**torch.load(run_dir / CHECKPOINT, weights_only=True), **fields}, run_dir / CHECKPOINT)

    return change


def flip(name: str) -> Change:
    def change(run_dir: Path) -> None:
        content = bytearray((run_dir / name).read_bytes())
        content[len(content) // 2] ^= 1
        (run_dir / name).write_bytes(content)

    return change


def other_traffic(run_dir: Path) -> None:
    with h5py.File(run_dir / "traffic.h5", "r+") as file:
        file["phases/free/clocked/forward/reads"][0, 0] += 1


def foreign_zip(run_dir: Path) -> None:
    with ZipFile(run_dir / CHECKPOINT, "w") as archive:
        archive.writestr("readme.txt", "no checkpoint")


def become_a_file(run_dir: Path) -> None:
    shutil.rmtree(run_dir)
    run_dir.write_text("no directory")


def become_empty(run_dir: Path) -> None:
    shutil.rmtree(run_dir)
    run_dir.mkdir()


def other_images(run_dir: Path) -> None:
    data = run_dir.parent / "data"
    images = data / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:-1] + b"\x01")
    use_data(run_dir, data)


def use_data(run_dir: Path, root: Path) -> None:
    scenario = run_dir / "scenario.toml"
    scenario.write_text(re.sub(r"root = .*", f"root = '{root}'", scenario.read_text()))


# What is done to an interrupted run, and what `resume` says about it.
BROKEN_RUNS: dict[str, tuple[Change, str]] = {
    "no directory": (shutil.rmtree, "no such run directory"),
    "a file": (become_a_file, "no such run directory"),
    "an empty folder": (become_empty, "is not a run directory (no run.json)"),
    "run.json cut short": (halve("run.json"), "run.json: cannot be read as JSON"),
    "run.json not text": (write("run.json", b"\xff"), "run.json: is not UTF-8 text"),
    "run.json without end": (write("run.json", b"[" * 100_000), "run.json: cannot be read as JSON"),
    "run.json a list": (write("run.json", b"[]"), "run.json: must be a JSON object, not a list"),
    "run.json incomplete": (
        replace("run.json", '"data"', '"date"'),
        "lacks what a run writes there ('data')",
    ),
    "newer schema": (replace("run.json", '"schema_version": 1', '"schema_version": 2'), "schema_version = 2: this"),
    "no scenario": (remove("scenario.toml"), "has no scenario.toml; restore it from a copy, or start the run again"),
    "scenario not TOML": (write("scenario.toml", b"[network"), "scenario.toml: line 1 is not valid TOML"),
    "scenario of other keys": (replace("scenario.toml", "image_size", "image_sise"), "did you mean data.image_size?"),
    "wider network": (
        replace("scenario.toml", "size = 4", "size = 5"),
        "scenario.toml: is not what the run was last saved with: network.layers = [{",
    ),
    "deeper network": (
        replace("scenario.toml", "layers = [\n", 'layers = [\n{ kind = "conv", size = 4 },\n'),
        "scenario.toml: is not what the run was last saved with: network.layers = [{",
    ),
    "other signals": (
        replace("scenario.toml", "    0,\n", "    1,\n"),
        "signals.layers = [1], which was [0]; put",
    ),
    "no checkpoint": (remove(CHECKPOINT), "last.pt: no checkpoint there"),
    "empty checkpoint": (write(CHECKPOINT, b""), "last.pt: damaged or cut short"),
    "checkpoint cut short": (halve(CHECKPOINT), "last.pt: damaged or cut short"),
    "checkpoint with a flipped bit": (flip(CHECKPOINT), "last.pt: damaged: its bytes are not those"),
    "checkpoint of text": (write(CHECKPOINT, b"<html>404 not found</html>"), "last.pt: damaged or cut short"),
    "checkpoint a foreign archive": (foreign_zip, "holds something else than tensors and plain values"),
    "checkpoint with code": (save({"format": 1, "trainer": Malicious()}), "(UnpicklingError), which is never loaded"),
    "checkpoint a bare pickle with code": (write(CHECKPOINT, pickle.dumps(Malicious())), "last.pt: damaged or cut"),
    "checkpoint a tensor": (save(torch.zeros(2)), "format = Tensor: this version reads format 1 only"),
    "checkpoint of another format": (update(format=2), "format = 2: this version reads format 1 only"),
    "checkpoint without weights": (save({"format": 1, "epoch": 0}), "does not fit scenario.toml ('trainer')"),
    "checkpoint with a number for weights": (update(trainer=3), "does not fit scenario.toml ('int' object"),
    "checkpoint with a number for counts": (update(tables={"traffic": 3}), "does not fit scenario.toml ('int' object"),
    "checkpoint of other tiles": (update(tables={"traffic": torch.zeros(1)}), "(counts of 1 tiles, not"),
    "other columns": (replace("epochs.csv", "loss", "cost"), "epochs.csv: damaged or edited: not what"),
    "epoch not a number": (
        replace("layers.csv", "\n1,", "\none,"),
        "layers.csv: damaged or edited: not what",
    ),
    "table not text": (write("layers.csv", b"\xff\n"), "layers.csv: damaged or edited: not what"),
    "traffic not HDF5": (write("traffic.h5", b"no"), "traffic.h5: cannot be read as recorded traffic"),
    "more epochs by hand": (
        replace("scenario.toml", "epochs = 2", "epochs = 20"),
        "training.epochs = 20, which was 2; put back what it was, or change it for the epochs to come with "
        "`neurosim-ep resume",
    ),
    "another rate": (replace("scenario.toml", "learning_rate = ", "learning_rate = 1"), "learning_rate = 1"),
    "hardware changed": (replace("hardware.toml", "value = 1", "value = 2"), "hardware.toml: damaged or edited"),
    "no epochs": (remove("epochs.csv"), "epochs.csv: missing: not what the run's checkpoint knows of; restore"),
    "no layers": (remove("layers.csv"), "layers.csv: missing"),
    "layers cut short": (halve("layers.csv"), "layers.csv: damaged or edited"),
    "no traffic": (remove("traffic.h5"), "traffic.h5: missing"),
    "traffic cut short": (halve("traffic.h5"), "traffic.h5: cannot be read as recorded traffic"),
    "traffic with a flipped bit": (flip("traffic.h5"), "traffic.h5: damaged: its bytes are not those"),
    "traffic of another run": (other_traffic, "traffic.h5: holds other counts than the run's checkpoint knows of"),
    "other images": (other_images, "not the images this run started with"),
    "no images": (lambda run_dir: use_data(run_dir, run_dir / "gone"), "no such file or directory; it must hold"),
}

# Those of tables and counts, which a diagnosis does not read.
BROKEN_TABLES = {
    "checkpoint with a number for counts", "checkpoint of other tiles", "other columns", "epoch not a number",
    "table not text", "traffic not HDF5", "no epochs", "no layers", "layers cut short", "no traffic",
    "traffic cut short", "traffic with a flipped bit", "traffic of another run",
}  # fmt: skip

# The same for `plot`.
BROKEN_PICTURES: dict[str, tuple[Change, str]] = {
    "no directory": (shutil.rmtree, "no such run directory"),
    "a file": (become_a_file, "no such run directory"),
    "an empty folder": (become_empty, "is not a run directory (no run.json)"),
    "run.json cut short": (halve("run.json"), "run.json: cannot be read as JSON"),
    "newer schema": (replace("run.json", '"schema_version": 1', '"schema_version": 2'), "schema_version = 2: this"),
    "no scenario": (remove("scenario.toml"), "scenario.toml: cannot be read as TOML"),
    "scenario without end": (write("scenario.toml", b"a = " + 900 * b"["), "scenario.toml: cannot be read as TOML"),
    "table without its columns": (replace("layers.csv", "mean_abs_state", "x"), "lacks the columns mean_abs_state"),
    "text for a number": (replace("layers.csv", "conv1,", "conv1,x"), "holds text in the columns mean_abs_state"),
    "table not text": (write("layers.csv", b"\xff\n"), "layers.csv: cannot be read as a CSV table"),
}

# Values that are valid one by one, and what is said about them together.
BAD_TOGETHER: dict[str, tuple[str, str]] = {
    "signal layer beyond the network": (
        "signals.layers=[0, 2]",
        "layer 2 does not exist; this network has layers 0 to 1",
    ),
    "activations for other layers": ('network.activation=["relu"]', "has 1 name for 2 layers; give one name for all"),
    "rates for other layers": ("training.learning_rate=[1, 1, 1]", "has 3 rates for 2 layers; give one rate for all"),
    "too many weights": (
        'network.layers=[{kind = "linear", size = 1_000}, {kind = "linear", size = 1_000_000}]',
        "network: layer fc2 would have 1,001,000,000 parameters, more than 268,435,456; make it or the layer below",
    ),
    "too many outputs": (
        'network.layers=[{kind = "conv", size = 400_000}]',
        "network: layer conv1 would have 313,600,000 outputs, more than 268,435,456; make it or the layer below",
    ),
    "too large a readout": (
        'network.layers=[{kind = "conv", size = 300_000}]',
        "network: the readout would have 940,800,004 parameters, more than 268,435,456; make it or the layer below",
    ),
    "too large a signal": (
        'network.layers=[{kind = "conv", size = 300_000}, {kind = "conv", size = 1}]',
        "network: the signal of conv1 would have 940,800,000 parameters, more than 268,435,456; make it or the layer",
    ),
    "images pooled away": (
        "network.layers=[" + 5 * '{kind = "conv", size = 2, pool = "max"}, ' + "]",
        "layer conv5 would have shape (2, 0, 0) on inputs of (2, 1, 1); use larger images, fewer pooled layers",
    ),
    "kernel larger than its input": (
        "network.layers=[" + 3 * '{kind = "conv", size = 2, kernel = 15}, ' + "]",
        "layer conv3 would have shape (2, -8, -8) on inputs of (2, 4, 4)",
    ),
    "more images than there are": ("data.train_samples=13", "data.train_samples = 13: only 12 images exist"),
    "images of another kind": ("data.kind=folder", "no such folder; data.root must hold one folder per class"),
    "hardware model, near": (
        "hardware.model=rram_32",
        'hardware.model = "rram_32": no such file and no shipped name of hwmodels; did you mean rram_32nm, ',
    ),
    "hardware model, far": (
        "hardware.model=zzz",
        'hardware.model = "zzz": no such file and no shipped name of hwmodels; shipped names: ',
    ),
}

# What is done to a shipped hardware model, and what is said about it.
BAD_HARDWARE: dict[str, tuple[str, str, str]] = {
    "not TOML": ("[model]", "[model", "is not valid TOML"),
    "unknown section": ("[cell]", "[sell]", "sell: unknown key; did you mean cell?"),
    "unknown key": (
        "read_voltage =",
        "read_voltage_V =",
        "cell.read_voltage_V: unknown key; did you mean",
    ),
    "other unit": ('unit = "V"', 'unit = "mV"', 'cell.read_voltage.unit = "mV": must be "V"'),
    "fraction of a row": (
        "value = 128,",
        "value = 128.5,",
        "array.rows.value = 128.5: must be a whole number",
    ),
    "unknown kind": ('kind = "model"', 'kind = "guess"', 'kind = "guess": must be "measured", "model" or "assumed"'),
}

# What `gdu` is asked for beside the run, and what is said about it.
BAD_CHECKS: dict[str, tuple[tuple[str, ...], str]] = {
    "more images than there are": (("run", "--samples", "13"), "--samples 13: there are only 12 training images"),
    "more nudge than free ticks": (
        ("tiny.toml", "--set", "relaxation.nudge_steps=4"),
        "relaxation.nudge_steps = 4: must not exceed relaxation.free_steps (3)",
    ),
    "another network": (
        ("run", "--set", 'network.layers=[{kind = "linear", size = 8}]'),
        "the checkpoint does not fit the scenario (Error(s) in loading",
    ),
    "a folder that is no run": (("data",), "data: is not a run directory (no run.json)"),
    "no such target": (("runs/gone",), "runs/gone: no such file and no shipped name of scenarios"),
    "an output that is there": (("run", "--out", "data"), "data: is not an empty folder; choose another --out"),
    "an output below a file": (("run", "--out", "tiny.toml/x"), "tiny.toml/x: cannot be made (Not a directory)"),
}

# What `--out` names, and what is said about it.
BAD_OUTS: dict[str, tuple[str, str]] = {
    "a run": ("run", "already holds a run; choose another --out or use `neurosim-ep resume"),
    "a folder with files": ("data", "is not empty and holds no run"),
    "a file": ("tiny.toml", "exists and is not a directory"),
    "below a file": ("tiny.toml/run", "cannot be made (Not a directory); choose a writable place with --out"),
    "a name too long": (300 * "x", "cannot be made (File name too long)"),
}


@pytest.mark.parametrize(("change", "said"), BROKEN_RUNS.values(), ids=BROKEN_RUNS)
def test_broken_runs_are_not_resumed(place: Path, refuse: Refusal, change: Change, said: str) -> None:
    change(place / "run")
    message = refuse("resume", str(place / "run"), "--device", "cpu")
    assert said in message
    assert str(place) in message


@pytest.fixture(scope="module")
def finished(interrupted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``interrupted`` run when it was gone on with."""
    folder = Path(shutil.copytree(interrupted, tmp_path_factory.mktemp("finished"), dirs_exist_ok=True))
    assert main(["resume", str(folder / "run"), "--device", "cpu", "--quiet"]) == 0
    return folder


@pytest.mark.parametrize("case", sorted(case for case in BROKEN_TABLES if not case.startswith("checkpoint")))
def test_broken_runs_are_not_said_to_be_complete(place: Path, finished: Path, refuse: Refusal, case: str) -> None:
    shutil.rmtree(place / "run")
    shutil.copytree(finished / "run", place / "run")
    change, said = BROKEN_RUNS[case]
    change(place / "run")
    assert said in refuse("resume", str(place / "run"), "--device", "cpu")


@pytest.mark.parametrize("case", sorted(BROKEN_RUNS.keys() - BROKEN_TABLES))
def test_broken_runs_are_not_diagnosed(place: Path, refuse: Refusal, case: str) -> None:
    change, said = BROKEN_RUNS[case]
    change(place / "run")
    message = refuse("diagnose", str(place / "run"), "--samples", "4", "--device", "cpu")
    assert said in message
    assert str(place) in message


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--samples", "9"), "samples = 9: this run has 8 test images; ask for at most that many"),
        (("--samples", "1"), "1 is not in the range x>=2"),
        (("--device", "cuda:99"), "this machine offers"),
        (("--out", "data"), "data: holds something else than a diagnosis; choose another --out, or move it away"),
        (("--out", "tiny.toml"), "tiny.toml: holds something else than a diagnosis"),
        (("--samples", "4", "--out", "tiny.toml/x"), "cannot be written (Not a directory); choose a writable place"),
    ],
)
def test_diagnoses_that_cannot_be_made(refuse: Refusal, options: tuple[str, ...], said: str) -> None:
    assert said in refuse("diagnose", "run", *options)


@pytest.mark.parametrize(("change", "said"), BROKEN_PICTURES.values(), ids=BROKEN_PICTURES)
def test_broken_runs_are_not_drawn(place: Path, refuse: Refusal, change: Change, said: str) -> None:
    change(place / "run")
    assert said in refuse("plot", "run")


@pytest.mark.parametrize(("arguments", "said"), BAD_CHECKS.values(), ids=BAD_CHECKS)
def test_checks_that_cannot_be_made(refuse: Refusal, arguments: tuple[str, ...], said: str) -> None:
    assert said in refuse("gdu", *arguments, "--device", "cpu")


@pytest.mark.parametrize(
    "case", ["no scenario", "scenario not TOML", "no checkpoint", "checkpoint with code", "other images"]
)
def test_broken_runs_are_not_checked(place: Path, refuse: Refusal, case: str) -> None:
    change, said = BROKEN_RUNS[case]
    change(place / "run")
    assert said in refuse("gdu", "run", "--device", "cpu")


def test_pictures_are_not_written_over_a_file(refuse: Refusal) -> None:
    message = refuse("plot", "run", "--out", "tiny.toml")
    assert message.startswith("tiny.toml: pictures cannot be written there (File exists); choose another --out")


def test_the_largest_values_diverge_at_worst(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rates = [f"training.{key}=1e6" for key in ("learning_rate", "readout_learning_rate", "projection_learning_rate")]
    others = [
        "training.weight_decay=1e6", "training.batch_size=1_000_000", "network.weight_scale=1e6", "relaxation.beta=1e6",
        "signals.alpha=1e6", "signals.temperature=1e3", "signals.temperature_exponent=10", "signals.learned=true",
    ]  # fmt: skip
    sets = [word for override in (*rates, *others, "network.activation=relu") for word in ("--set", override)]
    assert main(["run", "tiny.toml", "--no-plots", "--device", "cpu", *sets]) == 3
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize(("override", "said"), BAD_TOGETHER.values(), ids=BAD_TOGETHER)
def test_scenarios_that_do_not_fit_together(refuse: Refusal, command: str, override: str, said: str) -> None:
    assert said in refuse(command, "tiny.toml", "--set", override)


@pytest.mark.parametrize(("old", "new", "said"), BAD_HARDWARE.values(), ids=BAD_HARDWARE)
def test_broken_hardware_models(place: Path, refuse: Refusal, old: str, new: str, said: str) -> None:
    shutil.copy(shipped_files("hwmodels")["rram_32nm"], "chip.toml")
    replace("chip.toml", old, new)(place)
    message = refuse("run", "tiny.toml", "--set", "hardware.model=chip.toml")
    assert message.startswith("chip.toml: ")
    assert said in message


@pytest.mark.parametrize(("out", "said"), BAD_OUTS.values(), ids=BAD_OUTS)
def test_places_where_no_run_can_be(refuse: Refusal, out: str, said: str) -> None:
    assert refuse("run", "tiny.toml", "--out", out).startswith(f"{out}: {said}")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_cannot_be_written(place: Path, refuse: Refusal) -> None:
    (place / "data").chmod(0o500)
    assert "cannot be made (Permission denied)" in refuse("run", "tiny.toml", "--out", "data/run")


@pytest.mark.parametrize(("command", "target"), [("run", "tiny.toml"), ("resume", "run")])
@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("cuda", "device = 'cuda': this machine offers 0 CUDA devices"),
        ("cuda:1", "device = 'cuda:1': this machine offers 0 CUDA devices"),
        ("gpu", "Invalid value for '--device': \"gpu\" is not one of auto, cpu, cuda, cuda:N"),
    ],
)
def test_devices_this_machine_lacks(
    refuse: Refusal, monkeypatch: pytest.MonkeyPatch, command: str, target: str, device: str, said: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert said in refuse(command, target, "--device", device)


@pytest.mark.parametrize("text", [text for text, _ in BAD_FILES.values()], ids=BAD_FILES)
def test_bad_scenario_files(refuse: Refusal, text: str) -> None:
    Path("bad.toml").write_text(text)
    assert refuse("run", "bad.toml").startswith("bad.toml: 1 problem\n")


@pytest.mark.parametrize("override", [override for override, _ in BAD_OVERRIDES.values()], ids=BAD_OVERRIDES)
def test_bad_overrides(refuse: Refusal, override: str) -> None:
    assert refuse("run", "tiny.toml", "--set", override).startswith("tiny.toml: 1 problem\n")


@pytest.mark.parametrize(("case", "said"), BROKEN_CIFAR.items(), ids=BROKEN_CIFAR)
def test_broken_cifar_files(place: Path, refuse: Refusal, case: str, said: str) -> None:
    broken_cifar(case, place / "cifar")
    assert re.search(said, refuse("run", "tiny.toml", "--set", "data.kind=cifar10", "--set", "data.root=cifar"))


@pytest.mark.parametrize(("name", "content", "said"), BROKEN_IDX)
def test_broken_idx_files(place: Path, refuse: Refusal, name: str, content: bytes | None, said: str) -> None:
    broken_idx(place / "digits", name, content)
    assert re.search(said, refuse("run", "tiny.toml", "--set", "data.root=digits"))


def test_the_suite_covers_many_kinds_of_bad_input() -> None:
    kinds = [
        BROKEN_RUNS, BROKEN_PICTURES, BAD_TOGETHER, BAD_HARDWARE, BAD_OUTS, BAD_FILES, BAD_OVERRIDES, BROKEN_CIFAR,
        BROKEN_IDX, BAD_CHECKS,
    ]  # fmt: skip
    assert sum(map(len, kinds)) > 120
