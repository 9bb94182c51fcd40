"""What a sweep shows on stderr while it works: a table on a terminal, else a line for every change."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from neurosim_ep.sweep.points import Point
from neurosim_ep.sweep.status import OVER, Progress, point_row
from neurosim_ep.units import format_si, format_time

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live


def outcome(row: Mapping[str, Any]) -> str:
    """What is known of a point, in words: accuracy, energy, seconds, or why it failed."""
    parts = []
    if (accuracy := row.get("test_accuracy")) is not None:
        parts.append(f"test {accuracy:.1%}")
    if (energy_J := row.get("energy_clocked_J")) is not None:
        parts.append(f"{format_si(energy_J, 'J')} clocked")
    if row["status"] == "done" and (seconds := row.get("seconds")) is not None:
        parts.append(format_time(seconds))
    return row.get("reason") or "  ".join(parts)


class LineBoard:
    """A line for every point that begins or ends."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def changed(self, row: Mapping[str, Any], note: str = "") -> None:
        """The status of a point is another; ``row`` is its line of points.csv."""
        statuses = [other["status"] for other in self._progress.rows.values()]
        over = sum(status in OVER for status in statuses)
        parts = (f"[{over}/{len(statuses)}]", row["status"], row["point"], note, outcome(row))
        print("  ".join(filter(None, parts)), file=sys.stderr, flush=True)

    def look(self, running: Sequence[Point]) -> None:
        """So much time has passed that running points may have come further."""


class LiveBoard:
    """A table of what runs and what ended last."""

    EVERY = 1.0  # seconds between two looks into run directories
    ENDED = 8  # rows of points that have ended

    def __init__(self, progress: Progress, live: Live) -> None:
        self._progress, self._live = progress, live
        self._began = self._seen = time.monotonic()
        self._ended: list[Mapping[str, Any]] = []
        self._running: list[Mapping[str, Any]] = []

    def changed(self, row: Mapping[str, Any], note: str = "") -> None:
        if row["status"] != "running":
            self._ended = [*self._ended, {**row, "note": note}][-self.ENDED :]
        self._seen = 0.0

    def look(self, running: Sequence[Point]) -> None:
        if time.monotonic() < self._seen + self.EVERY:
            return
        self._seen = time.monotonic()
        sweep = self._progress.sweep
        self._running = [point_row(sweep, point) for point in running]
        self._live.update(self._table(), refresh=True)

    def _table(self) -> RenderableType:
        from rich.table import Table

        table = Table(box=None, pad_edge=False, title=self._title(), title_justify="left")
        for name in ("point", "status", "epochs", ""):
            table.add_column(name, overflow="ellipsis", no_wrap=True, justify="right" if name == "epochs" else "left")
        for row in [*self._ended, *self._running]:
            table.add_row(row["point"], row["status"], str(row.get("epochs", "")), row.get("note") or outcome(row))
        return table

    def _title(self) -> str:
        return f"{self._progress.counts()}; {format_time(time.monotonic() - self._began)}"


@contextmanager
def board(progress: Progress) -> Iterator[LineBoard | LiveBoard]:
    """The board that fits stderr."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield LineBoard(progress)
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:
        yield LiveBoard(progress, live)
