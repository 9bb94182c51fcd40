"""Runs that the machine lets down: one sentence, exit code 2, a status that is true, and nothing lost."""

from __future__ import annotations

import errno
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from tiny_run import outcome

from neurosim_ep.cli import main
from neurosim_ep.errors import CheckpointError, MachineError, RunInterrupted, UsageError
from neurosim_ep.progress import QuietReporter
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.train import trainer
from neurosim_ep.train.resume import resume
from neurosim_ep.train.run import run

SMALL = (
    "data.train_samples=20", "data.test_samples=10", "training.epochs=3", "relaxation.free_steps=2",
    "relaxation.nudge_steps=2", "training.batch_size=10", "telemetry.plots=false", "telemetry.report=false",
)  # fmt: skip


class Meddling(QuietReporter):
    """Does something to a run in its second epoch."""

    def __init__(self, deed: Callable[[], object]) -> None:
        self.deed = deed

    def batch(self, epoch: int, batch: int) -> None:
        if (epoch, batch) == (2, 1):
            self.deed()


def status(out: Path) -> str:
    return str(json.loads((out / "run.json").read_text())["status"])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to."""
    return run(load_scenario("smoke", SMALL), tmp_path_factory.mktemp("whole") / "out").out


@pytest.mark.parametrize(
    ("calls", "number"), [*zip(range(0, 12, 2), 2 * [errno.ENOSPC, errno.EIO, errno.EDQUOT], strict=True)]
)
def test_a_disk_that_fills_up_loses_no_finished_epoch(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, number: int, calls: int
) -> None:
    """Whichever file of an epoch it is that no longer fits."""
    out, left = tmp_path / "out", [calls]

    def fill() -> None:
        def full(descriptor: int) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(number, "No space left on device")

        monkeypatch.setattr("os.fsync", full)

    with pytest.raises(MachineError, match=r"No space left.*finished epochs are saved, go on with: neurosim-ep resume"):
        run(load_scenario("smoke", SMALL), out, reporter=Meddling(fill))
    assert status(out) == "failed"
    assert "failed" in (out / "run.log").read_text()
    assert not list(out.rglob("*.tmp"))
    monkeypatch.undo()
    assert resume(out).status == "done"
    assert outcome(out) == outcome(whole)


@pytest.mark.parametrize("calls", [0, 3])
@pytest.mark.parametrize("problem", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_run_that_could_not_begin_is_not_said_to_be_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: BaseException, calls: int
) -> None:
    left = [calls]

    def full(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise problem

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises((MachineError, RunInterrupted), match=r"; nothing of the run is kept$"):
        run(load_scenario("smoke", SMALL), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_states_of_samples_are_not_begun_where_there_is_no_room_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HDF5 would bring the process down when it runs out of room."""
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=2**18 + 10_000))
    with pytest.raises(MachineError, match="checkpoints: No space left on device; make room on the disk"):
        run(load_scenario("smoke", [*SMALL, "relaxation.warm_start=hdf5"]), tmp_path / "out")
    assert status(tmp_path / "out") == "failed"


@pytest.mark.parametrize(
    "problem", [MemoryError("Unable to allocate 9 TiB"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_memory_that_runs_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: Exception) -> None:
    def greedy(self: trainer.Trainer) -> None:
        raise problem

    monkeypatch.setattr(trainer.Trainer, "evaluate", greedy)
    with pytest.raises(MachineError, match=r"not enough memory \(.*\); make network, batch or data smaller"):
        run(load_scenario("smoke", SMALL), tmp_path / "out")
    assert status(tmp_path / "out") == "failed"


@pytest.mark.parametrize("name", ["epochs.csv", "layers.csv", "residual.csv", "traffic.h5"])
@pytest.mark.parametrize("deed", ["delete", "lengthen"])
def test_a_table_that_is_changed_meanwhile_is_not_done(tmp_path: Path, name: str, deed: str) -> None:
    path = tmp_path / "out" / name

    def meddle() -> None:
        if deed == "delete":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes() + b"mine")

    with pytest.raises(CheckpointError, match=rf"{name}: was (moved or deleted|changed) while a command wrote to it"):
        run(load_scenario("smoke", SMALL), tmp_path / "out", reporter=Meddling(meddle))
    assert status(tmp_path / "out") == "failed"


def test_a_table_that_is_deleted_after_the_last_epoch_is_not_done_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "neurosim_ep.analysis.files.write", lambda files: (files[0][0].parents[1] / "epochs.csv").unlink() or []
    )
    with pytest.raises(CheckpointError, match="was moved or deleted"):
        run(load_scenario("smoke", [*SMALL, "telemetry.plots=true"]), tmp_path / "out")
    assert status(tmp_path / "out") == "failed"


def test_a_directory_that_is_moved_says_so_where_it_is_now(tmp_path: Path, whole: Path) -> None:
    out, moved = tmp_path / "out", tmp_path / "moved"
    with pytest.raises((MachineError, CheckpointError), match="moved or deleted") as told:
        run(load_scenario("smoke", SMALL), out, reporter=Meddling(lambda: out.rename(moved)))
    assert not isinstance(told.value, MachineError) or f"neurosim-ep resume {moved}" in str(told.value)
    assert status(moved) == "failed"
    assert resume(moved).status == "done"
    assert outcome(moved) == outcome(whole)


def test_a_directory_that_is_deleted_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    with pytest.raises((MachineError, CheckpointError), match="moved or deleted"):
        run(load_scenario("smoke", SMALL), out, reporter=Meddling(lambda: shutil.rmtree(out)))
    assert not out.exists()


def test_what_the_machine_refuses_any_command_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Here a folder that cannot be read, and a name that no file can have."""

    def refused(*args: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path))

    monkeypatch.setattr("neurosim_ep.analysis.plot.plot_runs", refused)
    assert main(["plot", str(tmp_path)]) == 2
    assert (
        capsys.readouterr().err == f"error: {tmp_path}: Permission denied; it needs permissions that this user lacks\n"
    )
    assert main(["check", 5000 * "x"]) == 2
    assert re.fullmatch(r"error: x+: File name too long; choose a shorter name\n", capsys.readouterr().err)


def interrupt() -> None:
    raise KeyboardInterrupt


def test_more_epochs_are_asked_for_and_kept_in_run_json(tmp_path: Path, whole: Path) -> None:
    """Of a run that was interrupted, and of one that was done; it becomes the longer run, bit for bit."""
    short = tmp_path / "short"
    run(load_scenario("smoke", [*SMALL, "training.epochs=1"]), short)
    with pytest.raises(UsageError, match=r"training\.epochs = 1: 1 epochs are finished; set more of them to go on"):
        resume(short, overrides=["training.epochs=1"])
    with pytest.raises(RunInterrupted):
        resume(short, overrides=["training.epochs=2"], reporter=Meddling(interrupt))
    assert main(["resume", str(short), "--set", "training.epochs=3", "--quiet"]) == 0
    info = json.loads((short / "run.json").read_text())
    assert [(change["epoch"], change["set"]) for change in info["changes"]] == [
        (1, ["training.epochs=2"]), (1, ["training.epochs=3"]),
    ]  # fmt: skip
    assert load_scenario(short / "scenario.toml").training.epochs == 3
    assert outcome(short) == outcome(whole)


def test_a_hand_edit_can_be_meant(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(RunInterrupted):
        run(load_scenario("smoke", SMALL), out, reporter=Meddling(interrupt))
    scenario = out / "scenario.toml"
    scenario.write_text(scenario.read_text().replace("epochs = 3", "epochs = 4"))
    with pytest.raises(CheckpointError, match=r"training\.epochs = 4, which was 3.*resume .* --set training.epochs=4"):
        resume(out)
    assert resume(out, overrides=["training.epochs=4"]).epochs == 4
    assert len(pd.read_csv(out / "epochs.csv")) == 4


def test_tables_that_follow_from_the_counts_are_rebuilt(tmp_path: Path, whole: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(RunInterrupted):
        run(load_scenario("smoke", SMALL), out, reporter=Meddling(interrupt))
    for name in ("tiles.csv", "pulses.csv", "cost.csv", "comparison.csv", "memory.csv", "area.csv"):
        (out / name).write_text("damaged")
    resume(out)
    assert outcome(out) == outcome(whole)


def test_a_run_of_an_earlier_version_is_not_gone_on_with_in_silence(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(RunInterrupted):
        run(load_scenario("smoke", SMALL), out, reporter=Meddling(interrupt))
    path = out / "checkpoints/last.pt"
    state = torch.load(path, weights_only=True)
    del state["kept"]
    torch.save(state, path)
    with pytest.raises(CheckpointError, match="saved by an earlier version, which kept no digests"):
        resume(out)
    assert main(["plot", str(out)]) == 0
