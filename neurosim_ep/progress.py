"""What a run shows on stderr while it works: a bar on a terminal, else a line per epoch, or warnings only."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from neurosim_ep.units import format_time

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


class Reporter(Protocol):
    """Where a run reports to. Epochs and batches count from 1; ``close`` may be called twice."""

    def start(self, title: str, epochs: int, batches: int) -> None:
        """A run of ``epochs`` epochs of ``batches`` batches begins, or goes on."""

    def batch(self, epoch: int, batch: int) -> None:
        """``batch`` batches of ``epoch`` are done."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """An epoch is done; ``row`` is its line of epochs.csv."""

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


class QuietReporter:
    """Warnings only."""

    def start(self, title: str, epochs: int, batches: int) -> None:
        pass

    def batch(self, epoch: int, batch: int) -> None:
        pass

    def epoch(self, row: Mapping[str, Any]) -> None:
        pass

    def note(self, message: str) -> None:
        pass

    def warn(self, message: str) -> None:
        print(f"warning: {message}", file=sys.stderr, flush=True)

    def close(self) -> None:
        pass


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

    def note(self, message: str) -> None:
        print(message, file=sys.stderr, flush=True)


class RichReporter:
    """A bar over all batches below the lines of the finished epochs; NO_COLOR is respected by rich."""

    PERIOD = 3600.0  # seconds of the pace that the time left follows from: many batches, testing included

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        self._console = console
        self._progress: Progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            speed_estimate_period=self.PERIOD,
            transient=True,
        )

    def start(self, title: str, epochs: int, batches: int) -> None:
        self._epochs, self._batches = epochs, batches
        self.note(title)
        self._task = self._progress.add_task("epoch 1", total=epochs * batches)
        self._progress.start()

    def batch(self, epoch: int, batch: int) -> None:
        done = (epoch - 1) * self._batches + batch
        self._progress.update(self._task, completed=done, description=f"epoch {epoch}/{self._epochs}")

    def epoch(self, row: Mapping[str, Any]) -> None:
        self.note(epoch_line(row, self._epochs))

    def note(self, message: str) -> None:
        self._console.print(message, markup=False, highlight=False, soft_wrap=True)

    def warn(self, message: str) -> None:
        self.note(f"warning: {message}")

    def close(self) -> None:
        self._progress.stop()


def make_reporter(quiet: bool) -> Reporter:
    """The reporter that fits stderr; ``quiet`` leaves only warnings."""
    if quiet:
        return QuietReporter()
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return LineReporter()
    from rich.console import Console

    return RichReporter(Console(stderr=True))
