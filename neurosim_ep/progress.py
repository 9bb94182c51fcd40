"""What a run shows while it works: on stderr a bar on a terminal, else a line per epoch, or warnings only; in a
notebook a bar below the cell.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from neurosim_ep.units import format_time

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


Means = Callable[[], "tuple[float, float] | None"]
"""Loss and accuracy of the training samples of this epoch so far, None before the first; asking may wait for the
device."""
ASKED_EVERY = 0.5
"""Seconds between two times that a bar asks for them."""


class Reporter:
    """Where a run reports to, which shows nothing here. Epochs and batches count from 1; ``close`` may come twice."""

    def start(self, title: str, epochs: int, batches: int) -> None:
        """A run of ``epochs`` epochs of ``batches`` batches begins, or goes on."""

    def follow(self, means: Means) -> None:
        """An epoch begins, whose ``means`` may be asked for."""

    def batch(self, epoch: int, batch: int) -> None:
        """``batch`` batches of ``epoch`` are done."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """An epoch is done; ``row`` is its line of epochs.csv."""

    def stage(self, message: str) -> None:
        """What is being done now, after the last batch."""

    def note(self, message: str) -> None:
        """Something worth knowing."""

    def warn(self, message: str) -> None:
        """Something that may spoil the result."""

    def close(self) -> None:
        """Leave the terminal as it was."""


def epoch_line(row: Mapping[str, Any], epochs: int) -> str:
    """One epoch in one line: ``epoch  3/10  loss 1.234  train 45.1 %  test 40.2 %  ...``."""
    number = f"{row['epoch']:.0f}".rjust(len(str(epochs)))
    return (
        f"epoch {number}/{epochs}  loss {row['loss']:.4f}  train {row['train_accuracy']:.1%}  "
        f"test {row['test_accuracy']:.1%}  ticks {row['mean_ticks']:.1f}  "
        f"not converged {row['not_converged']:.1%}  {row['seconds']:.1f} s"
    )


class QuietReporter(Reporter):
    """Warnings only."""

    def warn(self, message: str) -> None:
        print(f"warning: {message}", file=sys.stderr, flush=True)


class LineReporter(QuietReporter):
    """A line per epoch, for logs and pipes, with the time that is left; long epochs say it on the way, too.

    ``clock`` gives seconds.
    """

    FIRST = 20.0  # seconds after which the time left is first said
    EVERY, SHARE = 60.0, 0.1  # seconds, and part of an epoch, between two lines of the same epoch

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock

    def start(self, title: str, epochs: int, batches: int) -> None:
        self._epochs, self._batches = epochs, batches
        self._began = self._clock()
        self._before: int | None = None
        self._due = self._began + self.FIRST, 0
        self.note(title)

    def batch(self, epoch: int, batch: int) -> None:
        done = (epoch - 1) * self._batches + batch
        if self._before is None:  # what an earlier command has done was not done in this time
            self._before = done - 1
        moment, place = self._due
        if self._clock() < moment or done < place or batch == self._batches:
            return
        self._due = self._next(done)
        self.note(f"epoch {epoch}/{self._epochs}  batch {batch}/{self._batches}  {self._left(done)}")

    def epoch(self, row: Mapping[str, Any]) -> None:
        done = int(row["epoch"]) * self._batches
        left = f"  {self._left(done)}" if done < self._epochs * self._batches else ""
        self._due = self._next(done)
        self.note(epoch_line(row, self._epochs) + left)

    def _next(self, done: int) -> tuple[float, int]:
        """When, and after how many batches, the time left is said again."""
        return self._clock() + self.EVERY, done + math.ceil(self.SHARE * self._batches)

    def _left(self, done: int) -> str:
        """The time that is left after ``done`` batches at the mean pace so far, testing included."""
        pace = (self._clock() - self._began) / (done - (self._before or 0))
        return f"{format_time(pace * (self._epochs * self._batches - done))} left"

    def stage(self, message: str) -> None:
        self.note(message)

    def note(self, message: str) -> None:
        print(message, file=sys.stderr, flush=True)


class Asking:
    """Asks for the means of an epoch now and then. ``clock`` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._due, self.text = clock, 0.0, ""
        self._means: Means = lambda: None

    def follow(self, means: Means) -> None:
        """The next epoch's."""
        self._means, self.text = means, ""

    def due(self) -> bool:
        """Ask where it is time to; whether it was, and :attr:`text` is fresh."""
        if self._clock() < self._due:
            return False
        found = self._means()
        self.text = "" if found is None else f"loss {found[0]:.4f}  train {found[1]:.1%}"
        self._due = self._clock() + ASKED_EVERY
        return True


class RichReporter(Reporter):
    """A bar over all batches, with loss and accuracy so far, below the lines of the finished epochs; what comes after
    the last batch is said in its place. NO_COLOR is respected by rich.
    """

    PERIOD = 3600.0  # seconds of the pace that the time left follows from: many batches, testing included

    def __init__(self, console: Console, clock: Callable[[], float] = time.perf_counter) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        self._console, self._asking = console, Asking(clock)
        self._progress: Progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("left"),
            TextColumn("{task.fields[means]}"),
            console=console,
            speed_estimate_period=self.PERIOD,
            transient=True,
        )

    def start(self, title: str, epochs: int, batches: int) -> None:
        self._epochs, self._batches = epochs, batches
        self.note(title)
        self._task = self._progress.add_task("epoch 1", total=epochs * batches, means="")
        self._progress.start()

    def follow(self, means: Means) -> None:
        self._asking.follow(means)

    def batch(self, epoch: int, batch: int) -> None:
        done, name = (epoch - 1) * self._batches + batch, f"epoch {epoch}/{self._epochs}"
        if batch == self._batches:
            name += ", testing"
        if done == self._epochs * self._batches:
            self.stage(name)
            return
        self._asking.due()
        self._progress.update(self._task, completed=done, description=name, means=self._asking.text)

    def epoch(self, row: Mapping[str, Any]) -> None:
        self.note(epoch_line(row, self._epochs))

    def stage(self, message: str) -> None:
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._progress.stop()
        columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
        self._progress = Progress(*columns, console=self._console, transient=True)
        self._progress.add_task(message, total=None)
        self._progress.start()

    def note(self, message: str) -> None:
        self._console.print(message, markup=False, highlight=False, soft_wrap=True)

    def warn(self, message: str) -> None:
        self.note(f"warning: {message}")

    def close(self) -> None:
        self._progress.stop()


class NotebookReporter(QuietReporter):
    """A bar below the cell of a notebook, with loss and accuracy so far and the last finished epochs; warnings on
    stderr, which notebooks mark.
    """

    LINES = 12

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._asking, self._lines, self._handle = Asking(clock), list[str](), None

    def start(self, title: str, epochs: int, batches: int) -> None:
        self._title, self._epochs, self._batches = title, epochs, batches
        self._show("", 0)

    def follow(self, means: Means) -> None:
        self._asking.follow(means)

    def batch(self, epoch: int, batch: int) -> None:
        if batch == self._batches or self._asking.due():
            done = (epoch - 1) * self._batches + batch
            testing = ", testing" if batch == self._batches else f", batch {batch}/{self._batches}"
            self._show(f"epoch {epoch}/{self._epochs}{testing}  {self._asking.text}", done)

    def epoch(self, row: Mapping[str, Any]) -> None:
        self.note(epoch_line(row, self._epochs))

    def stage(self, message: str) -> None:
        self._show(message, None)

    def note(self, message: str) -> None:
        self._lines = [*self._lines, message][-self.LINES :]

    def close(self) -> None:
        if self._handle is not None:
            self._handle.update(_html(f"<b>{escape(self._title)}</b>", self._lines))

    def _show(self, message: str, done: int | None) -> None:
        """``message`` beside a bar of ``done`` batches, or of work that nobody can measure (None)."""
        value = "" if done is None else f' value="{done}" max="{self._epochs * self._batches}"'
        bar = f'<progress style="width: 20em"{value}></progress> {escape(message)}'
        page = _html(f"<b>{escape(self._title)}</b><br>{bar}", self._lines)
        if self._handle is None:
            from IPython.display import display

            self._handle = display(page, display_id=True)
        else:
            self._handle.update(page)


def _html(head: str, lines: list[str]) -> Any:
    from IPython.display import HTML

    return HTML(head + "".join(f"<pre style='margin: 0'>{escape(line)}</pre>" for line in lines))


def default_reporter() -> Reporter:
    """For runs from Python: a bar in a notebook, warnings alone elsewhere."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return QuietReporter() if getattr(shell, "kernel", None) is None else NotebookReporter()


def make_reporter(quiet: bool) -> Reporter:
    """The reporter that fits stderr; ``quiet`` leaves only warnings."""
    if quiet:
        return QuietReporter()
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return LineReporter()
    from rich.console import Console

    return RichReporter(Console(stderr=True))
