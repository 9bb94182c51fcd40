"""Progress: a line per epoch off a terminal, a bar on one, warnings only when quiet."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from neurosim_ep.progress import (
    LineReporter,
    NotebookReporter,
    QuietReporter,
    Reporter,
    RichReporter,
    default_reporter,
    make_reporter,
)

ROW = {
    "epoch": 2, "loss": 1.23456, "train_accuracy": 0.456, "test_accuracy": 0.4, "alpha": 1.0,
    "learning_rate": 0.01, "mean_ticks": 87.25, "not_converged": 0.012, "seconds": 12.34,
}  # fmt: skip
LINE = "epoch  2/10  loss 1.2346  train 45.6%  test 40.0%  ticks 87.2  not converged 1.2%  12.3 s"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def use(reporter: Reporter) -> None:
    reporter.start("mine: 10 epochs", epochs=10, batches=5)
    reporter.follow(lambda: (1.5, 0.25))
    reporter.batch(2, 4)
    reporter.batch(2, 5)
    reporter.epoch(ROW)
    reporter.note("see [here]")
    reporter.warn("a layer died")
    reporter.close()
    reporter.close()


class Clock:
    """Stands still until told."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_lines(capsys: pytest.CaptureFixture[str]) -> None:
    use(LineReporter(Clock()))
    expected = f"mine: 10 epochs\n{LINE}  0 s left\nsee [here]\nwarning: a layer died\n"
    assert capsys.readouterr() == ("", expected)


def lines_of(capsys: pytest.CaptureFixture[str], epochs: int, batches: int, first: int, seconds: float) -> list[str]:
    """What is said by a run of ``epochs`` epochs that goes on after ``first``, a batch in ``seconds``."""
    clock = Clock()
    reporter = LineReporter(clock)
    reporter.start("mine", epochs, batches)
    for epoch in range(first + 1, epochs + 1):
        for batch in range(1, batches + 1):
            clock.now += seconds
            reporter.batch(epoch, batch)
        reporter.epoch(ROW | {"epoch": epoch})
    return capsys.readouterr().err.splitlines()[1:]


def test_the_time_left_ends_every_line_but_the_last(capsys: pytest.CaptureFixture[str]) -> None:
    one, two, three = lines_of(capsys, epochs=3, batches=10, first=0, seconds=1.0)
    assert one.endswith("12.3 s  20 s left")
    assert two.endswith("12.3 s  10 s left")
    assert three.endswith("12.3 s")


def test_a_resumed_run_goes_by_its_own_pace(capsys: pytest.CaptureFixture[str]) -> None:
    three, _ = lines_of(capsys, epochs=4, batches=10, first=2, seconds=1.0)
    assert three.endswith("10 s left")


def test_long_epochs_say_the_time_left_on_the_way(capsys: pytest.CaptureFixture[str]) -> None:
    """First after 20 s, then a minute and a tenth of the epoch apart."""
    lines = lines_of(capsys, epochs=2, batches=50, first=0, seconds=8.0)
    assert lines[:3] == [
        "epoch 1/2  batch 3/50  12 min 56 s left",
        "epoch 1/2  batch 11/50  11 min 52 s left",
        "epoch 1/2  batch 19/50  10 min 48 s left",
    ]
    slow = lines_of(capsys, epochs=1, batches=50, first=0, seconds=100.0)
    assert [line.split("  ")[1] for line in slow[:3]] == ["batch 1/50", "batch 6/50", "batch 11/50"]
    assert len(slow) == 11


def test_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    use(QuietReporter())
    assert capsys.readouterr() == ("", "warning: a layer died\n")


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    reporter = make_reporter(quiet=False)
    assert isinstance(reporter, RichReporter)
    use(reporter)
    text = terminal.getvalue()
    for line in ("mine: 10 epochs", LINE, "see [here]", "warning: a layer died"):
        assert line in text
    assert "epoch 2/10" in text
    assert "loss 1.5000  train 25.0%" in text
    assert "left" in text
    assert reporter._progress.speed_estimate_period > 600  # batches of a large network take longer than rich's 30 s
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("no_color", [False, True])
def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch, no_color: bool) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    use(make_reporter(quiet=False))
    coloured = "\x1b[3" in terminal.getvalue()
    assert coloured != no_color


@pytest.mark.parametrize(
    ("tty", "term", "quiet"), [(False, "xterm", False), (True, "dumb", False), (True, "xterm", True)]
)
def test_no_bar_where_it_does_not_fit(monkeypatch: pytest.MonkeyPatch, tty: bool, term: str, quiet: bool) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal() if tty else io.StringIO())
    monkeypatch.setenv("TERM", term)
    assert type(make_reporter(quiet)) is (QuietReporter if quiet else LineReporter)


def test_a_bar_says_what_is_done_after_the_last_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not stand at 100 % with no time left while the last epoch is tested and pictures are drawn."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "150")
    reporter = make_reporter(quiet=False)
    reporter.start("mine", epochs=1, batches=2)
    reporter.follow(lambda: (1.5, 0.25))
    reporter.batch(1, 1)
    reporter.batch(1, 2)
    assert "epoch 1/1, testing" in terminal.getvalue()
    reporter.stage("drawing the pictures")
    reporter.close()
    text = terminal.getvalue()
    assert "drawing the pictures" in text.rpartition("testing")[2]
    assert "100%" not in text


def test_means_are_asked_for_now_and_then() -> None:
    """On a GPU each question waits for all that was to be computed."""
    from rich.console import Console

    clock, asked = Clock(), []

    def means() -> tuple[float, float]:
        asked.append(clock.now)
        return 2.0, 0.5

    reporter = RichReporter(Console(file=io.StringIO()), clock)
    reporter.start("mine", epochs=2, batches=100)
    reporter.follow(means)
    for batch in range(1, 100):
        clock.now += 0.1
        reporter.batch(1, batch)
    reporter.close()
    assert len(asked) == 20


class Handle:
    """What IPython's display returns: ``shown`` has all that was shown in its place."""

    def __init__(self, page: str) -> None:
        self.shown = [page]

    def update(self, page: str) -> None:
        self.shown.append(page)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], list[Handle]]:
    """Puts this process into a shell of IPython that has a kernel, or none; returns what is displayed."""

    def enter(kernel: Any) -> list[Handle]:
        displayed: list[Handle] = []

        def display(page: str, display_id: bool) -> Handle:
            displayed.append(Handle(page))
            return displayed[-1]

        ipython, module = ModuleType("IPython"), ModuleType("IPython.display")
        ipython.get_ipython = lambda: SimpleNamespace(kernel=kernel)  # type: ignore[attr-defined]
        module.display, module.HTML = display, str  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "IPython", ipython)
        monkeypatch.setitem(sys.modules, "IPython.display", module)
        return displayed

    return enter


def test_a_bar_in_a_notebook(notebook: Callable[[Any], list[Handle]], capsys: pytest.CaptureFixture[str]) -> None:
    displayed = notebook(object())
    reporter = default_reporter()
    assert isinstance(reporter, NotebookReporter)
    use(reporter)
    (handle,) = displayed
    assert '<progress style="width: 20em" value="9" max="50"></progress> epoch 2/10, batch 4/5' in handle.shown[1]
    assert "loss 1.5000  train 25.0%" in handle.shown[1]
    assert "testing" in handle.shown[2]
    assert "<progress" not in handle.shown[-1] and "mine: 10 epochs" in handle.shown[-1]
    assert LINE in handle.shown[-1] and "see [here]" in handle.shown[-1]
    assert capsys.readouterr().err == "warning: a layer died\n"


def test_a_prompt_and_a_script_stay_silent(notebook: Callable[[Any], list[Handle]]) -> None:
    assert type(default_reporter()) is QuietReporter
    notebook(None)
    assert type(default_reporter()) is QuietReporter
