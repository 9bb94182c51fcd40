"""Progress: a line per epoch off a terminal, a bar on one, warnings only when quiet."""

from __future__ import annotations

import io
import sys

import pytest

from neurosim_ep.progress import LineReporter, QuietReporter, Reporter, RichReporter, make_reporter

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
    reporter.batch(2, 5)
    reporter.epoch(ROW)
    reporter.note("see [here]")
    reporter.warn("a layer died")
    reporter.close()
    reporter.close()


def test_lines(capsys: pytest.CaptureFixture[str]) -> None:
    use(LineReporter())
    expected = f"mine: 10 epochs\n{LINE}\nsee [here]\nwarning: a layer died\n"
    assert capsys.readouterr() == ("", expected)


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
