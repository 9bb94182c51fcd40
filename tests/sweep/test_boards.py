"""What a sweep shows while it works."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from new_run import new_run
from rich.console import Console
from rich.live import Live

from neurosim_ep.sweep.boards import LineBoard, LiveBoard, board
from neurosim_ep.sweep.command import open_sweep
from neurosim_ep.sweep.status import Progress


@pytest.fixture
def progress(tmp_path: Path) -> Progress:
    source = tmp_path / "two.toml"
    source.write_text('[sweep]\nbase = "smoke"\n[grid]\nrelaxation.beta = [0.1, 0.2, 0.3]\n')
    sweep = open_sweep(str(source), tmp_path / "out", print)
    for number, status in ((0, "done"), (1, "running")):
        run = new_run(sweep.run(sweep.points[number]), "smoke")
        metrics = {"test_accuracy": 0.5, "best_test_accuracy": 0.6, "loss": 1.0}
        run.update_run_json(status=status, metrics=metrics, seconds=61.0)
        (run.path / "epochs.csv").write_text("epoch\n1\n2\n")
    found = Progress(sweep)
    found.refresh()
    return found


def test_lines(progress: Progress, capsys: pytest.CaptureFixture[str]) -> None:
    with board(progress) as shown:
        assert isinstance(shown, LineBoard)
        shown.changed(progress.rows["1_beta=0.1"])
        shown.changed(progress.rows["2_beta=0.2"], "killed by SIGKILL")
        shown.look([])
    assert capsys.readouterr().err.splitlines() == [
        "[1/3]  done  1_beta=0.1  test 50.0%  1 min 1 s",
        "[1/3]  interrupted  2_beta=0.2  killed by SIGKILL  test 50.0%",
    ]


def test_a_table_on_a_terminal(progress: Progress) -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=90)
    with Live(console=console, auto_refresh=False) as live:
        shown = LiveBoard(progress, live)
        shown.changed({**progress.rows["1_beta=0.1"]})
        shown.changed({**progress.rows["3_beta=0.3"], "status": "failed", "reason": "no images"})
        shown.look(progress.sweep.points[1:2])
    lines = [line.rstrip() for line in stream.getvalue().replace("\x1b", "\n").splitlines()]
    text = "\n".join(lines)
    assert "3 points: 1 done, 1 interrupted, 1 waiting" in text
    for part in ("1_beta=0.1", "test 50.0%  1 min 1 s", "no images", "2_beta=0.2"):
        assert part in text
