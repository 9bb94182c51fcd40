"""A run watched in a terminal while it goes on: its epochs as a table and as curves, from its directory alone."""

from __future__ import annotations

import csv
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurosim_ep.errors import CheckpointError
from neurosim_ep.progress import epoch_line
from neurosim_ep.record.kept import SCENARIO
from neurosim_ep.record.lock import is_locked
from neurosim_ep.record.rundir import RunDirectory
from neurosim_ep.units import format_time

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

EVERY = 1.0
"""Seconds between two looks."""
ROWS = 10
"""Epochs that are shown, the last ones."""
WIDTH, HEIGHT = 30, 6
"""Letters of a curve."""
Row = dict[str, float]


@dataclass(frozen=True)
class Look:
    """What a run directory says at a moment; ``alive``: whether a command holds it."""

    path: Path
    info: Mapping[str, Any]
    rows: Sequence[Row]
    epochs: int
    alive: bool

    @property
    def over(self) -> bool:
        """Whether nothing will change any more."""
        return self.info.get("status") != "running" or not self.alive

    @property
    def state(self) -> str:
        """How it goes, in words."""
        status, done = self.info.get("status"), f"{len(self.rows)} of {self.epochs} epochs"
        if status == "running" and not self.alive:
            return (
                f"{done}; run.json says running, but no command holds the directory: the run was killed, or runs on "
                f"another machine; go on with `neurosim-ep resume {self.path}`"
            )
        if status == "running" and self.rows:
            mean = sum(row["seconds"] for row in self.rows) / len(self.rows)
            return f"{done}, about {format_time(mean * (self.epochs - len(self.rows)))} left"
        hint = f"; go on with `neurosim-ep resume {self.path}`" if status == "interrupted" else ""
        return f"{status}, {done}{hint}"


def look(path: Path) -> Look:
    """The run directory at ``path`` as it is now. Raises :class:`CheckpointError` where it is none."""
    alive = is_locked(path)  # before the status, which changes while the lock is held
    directory = RunDirectory.open(path)
    try:
        scenario = tomllib.loads((path / SCENARIO).read_text(encoding="utf-8"))
        epochs = int(scenario["training"]["epochs"])
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise CheckpointError(f"{path / SCENARIO}: cannot be read ({problem!r}); was it edited?") from problem
    return Look(path, directory.info(), _rows(path / "epochs.csv"), epochs, alive)


def _rows(path: Path) -> list[Row]:
    """The whole lines of epochs.csv; a cell without a value is NaN."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    whole = text[: text.rfind("\n") + 1].splitlines()
    try:
        return [{name: float(cell or "nan") for name, cell in row.items()} for row in csv.DictReader(whole)]
    except (ValueError, TypeError, csv.Error) as problem:
        raise CheckpointError(f"{path}: cannot be read as a table of numbers ({problem}); was it edited?") from problem


def watch(path: Path, console: Console, sleep: Callable[[float], None] = time.sleep) -> None:
    """Show the run at ``path`` on ``console`` until it ends; one that has ended is shown once.

    On a terminal a picture that changes; elsewhere a line per epoch. Raises :class:`CheckpointError` where there is no
    run, or no longer.
    """
    found = look(path)
    if found.over:
        console.print(picture(found))
    elif console.is_terminal:
        from rich.live import Live

        with Live(picture(found), console=console, auto_refresh=False, transient=True) as live:
            while not found.over:
                sleep(EVERY)
                found = look(path)
                live.update(picture(found), refresh=True)
        console.print(picture(found))
    else:
        shown = 0
        while True:
            for row in found.rows[shown:]:
                console.print(epoch_line(row, found.epochs), markup=False, highlight=False, soft_wrap=True)
            shown = len(found.rows)
            if found.over:
                break
            sleep(EVERY)
            found = look(path)
        console.print(found.state, markup=False, highlight=False, soft_wrap=True)


COLUMNS: dict[str, tuple[str, str]] = {
    "epoch": ("epoch", ".0f"),
    "loss": ("loss", ".4f"),
    "train_accuracy": ("train", ".1%"),
    "test_accuracy": ("test", ".1%"),
    "mean_ticks": ("ticks", ".1f"),
    "not_converged": ("not converged", ".1%"),
    "seconds": ("s", ".1f"),
}


def picture(found: Look) -> RenderableType:
    """Title, verdict, the last epochs, curves and warnings."""
    from rich.columns import Columns
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for title, _ in COLUMNS.values():
        table.add_column(title, justify="right")
    for row in found.rows[-ROWS:]:
        table.add_row(*(_cell(row, name, form) for name, (_, form) in COLUMNS.items()))
    head = Text(f"{found.info.get('name')}: {found.state}", style="bold")
    curves = [
        Text(f"{title}\n" + curve([row[name] for row in found.rows if name in row], form))
        for name, title, form in (("test_accuracy", "test accuracy", ".1%"), ("loss", "loss", ".4g"))
        if len(found.rows) > 1
    ]
    warned = [Text(f"warning: {one['sentence']}", style="yellow") for one in found.info.get("warnings") or []]
    learning = found.info.get("learning")
    verdict = [Text(str(learning.get("verdict")))] if isinstance(learning, Mapping) and found.over else []
    return Group(head, *verdict, *([table] if found.rows else []), Columns(curves, padding=(1, 4)), *warned)


def _cell(row: Row, name: str, form: str) -> str:
    value = row.get(name, float("nan"))
    return format(value, form) if value == value else ""


DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Dots of a letter of Braille, row by row."""


def curve(values: Sequence[float], form: str) -> str:
    """``values`` from left to right as a curve of :data:`HEIGHT` lines of :data:`WIDTH` letters, with its ends beside
    it.
    """
    known = [value for value in values if value == value and abs(value) != float("inf")]
    if not known:
        return ""
    low, high = min(known), max(known)
    across, down = 2 * WIDTH, 4 * HEIGHT
    letters = [[0] * WIDTH for _ in range(HEIGHT)]
    before = None
    for x in range(across):
        value = _between(known, x / (across - 1))
        y = round((high - value) / (high - low) * (down - 1)) if high > low else down // 2
        first, last = sorted((y, y if before is None else before))
        for dot in range(first, last + 1):
            letters[dot // 4][x // 2] |= DOTS[dot % 4][x % 2]
        before = y
    names = {0: format(high, form), HEIGHT - 1: format(low, form)} if high > low else {HEIGHT // 2: format(low, form)}
    width = max(map(len, names.values()))
    lines = ("".join(chr(0x2800 + letter) for letter in line) for line in letters)
    return "\n".join(f"{names.get(number, ''):>{width}} {line}" for number, line in enumerate(lines))


def _between(values: Sequence[float], share: float) -> float:
    """The value at a share of the way through ``values``, on the straight line between its neighbours."""
    place = share * (len(values) - 1)
    left = min(int(place), len(values) - 2) if len(values) > 1 else 0
    right = min(left + 1, len(values) - 1)
    return values[left] + (place - left) * (values[right] - values[left])
