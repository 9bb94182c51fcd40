"""A run is watched until it ends, and nobody waits for one that was killed."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from new_run import new_run
from rich.console import Console

from neurosim_ep.cli import main
from neurosim_ep.errors import CheckpointError
from neurosim_ep.record.lock import LOCK, is_locked, locked
from neurosim_ep.record.logs import CsvTable
from neurosim_ep.report.watch import HEIGHT, WIDTH, curve, watch


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A run of four epochs that has begun."""
    found = new_run(tmp_path / "run", "watched").path
    (found / "scenario.toml").write_text("[training]\nepochs = 4\n")
    (found / LOCK).touch()
    return found


def add(path: Path, epoch: int) -> None:
    table = CsvTable(path / "epochs.csv")
    table.length = (path / "epochs.csv").stat().st_size if epoch > 1 else 0
    table.add(
        [
            {
                "epoch": epoch, "loss": 2 / epoch, "train_accuracy": 0.2 * epoch, "test_accuracy": 0.1 * epoch,
                "mean_ticks": 8.0, "not_converged": 0.25, "seconds": 90.0,
            }
        ]
    )  # fmt: skip


def end(path: Path, status: str, **more: object) -> None:
    info = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps({**info, "status": status, **more}))


def seen(path: Path, sleep: Callable[[float], None] | None = None, *, terminal: bool = False) -> str:
    """What is shown; ``sleep`` is what happens between two looks, at most one of them unless it is given."""
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120, color_system=None)
    watch(path, console, sleep or (lambda seconds: pytest.fail("nothing to wait for")))
    return console.file.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_a_run_is_followed_to_its_end(path: Path, terminal: bool) -> None:
    add(path, 1)
    steps = iter([lambda: add(path, 2), lambda: add(path, 3), lambda: (add(path, 4), end(path, "done"))])
    with locked(path):
        text = seen(path, lambda seconds: next(steps)(), terminal=terminal)
    assert next(steps, None) is None
    if terminal:
        assert "watched: done, 4 of 4 epochs" in text and "test accuracy" in text
    else:
        lines = text.splitlines()
        assert [line.split()[1] for line in lines[:-1]] == ["1/4", "2/4", "3/4", "4/4"]
        assert lines[-1] == "done, 4 of 4 epochs"


def test_a_finished_run_is_shown_once(path: Path) -> None:
    add(path, 1)
    add(path, 2)
    end(path, "interrupted", warnings=[{"sentence": "layer conv1 is dead"}], learning={"verdict": "healthy: 20.0%"})
    text = seen(path)
    assert f"interrupted, 2 of 4 epochs; go on with `neurosim-ep resume {path}`" in text.replace("\n", "")
    assert "20.0%" in text and "2.0000" in text and text.count("layer conv1 is dead") == 1
    assert "healthy: 20.0%\n" in text.replace(" \n", "\n")


def test_a_run_that_nobody_holds_is_said_to_be_dead(path: Path) -> None:
    add(path, 1)
    assert "no command holds the directory: the run was killed" in seen(path).replace("\n", " ")
    assert not is_locked(path)
    with locked(path):
        assert is_locked(path)


def test_time_left_and_half_a_line(path: Path) -> None:
    add(path, 1)
    with (path / "epochs.csv").open("a") as file:
        file.write("2,1.0,0.")
    with locked(path):
        text = seen(path, lambda seconds: end(path, "failed"), terminal=True)
    assert "1 of 4 epochs, about 4 min 30 s left" in text and "failed, 1 of 4 epochs" in text


def test_no_run_and_broken_tables_are_refused(path: Path, tmp_path: Path) -> None:
    assert main(["watch", str(tmp_path)]) == 2
    (path / "epochs.csv").write_text("epoch,loss\n1,much\n")
    with pytest.raises(CheckpointError, match=r"epochs\.csv: cannot be read"):
        seen(path)
    (path / "scenario.toml").write_text("[training]\n")
    with pytest.raises(CheckpointError, match="was it edited"):
        seen(path)


def test_curves_go_from_corner_to_corner() -> None:
    lines = [line.split(" ", 1) for line in curve([0.0, 1.0], ".0%").splitlines()]
    rows = [line.rpartition(" ")[2] for line in curve([0.0, 1.0], ".0%").splitlines()]
    assert len(rows) == HEIGHT and {len(row) for row in rows} == {WIDTH}
    assert rows[-1][0] != "⠀" and rows[0][-1] != "⠀" and rows[0][0] == rows[-1][-1] == "⠀"
    assert lines[0][0] == "100%" and curve([2.0, 2.0], ".1f").split()[0] != "" and curve([float("nan")], ".1f") == ""
