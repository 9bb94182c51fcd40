"""Runs or estimates that differ in some keys, as one table: from run directories, or from the points.csv of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from neurosim_ep.analysis.load import NothingToDraw, Run, open_run, read_table
from neurosim_ep.errors import CheckpointError, UsageError, nearest
from neurosim_ep.strict import flat

SEED = "scenario.seed"
TABLE, DOCUMENT = "points.csv", "sweep.json"
STYLES = ("clocked", "event", "settling")
ACCURACY = "test_accuracy"
QUANTITIES = {
    "energy_{style}_J": ("energy per image", "J"),
    "latency_{style}_s": ("latency per image", "s"),
    "ep_per_backprop_{style}": ("energy of EP / backprop", ""),
}
"""Columns, for each style, with what they are and their unit."""
SYMBOLS = {
    "hardware.converters.adc_bits": "ADC bits",
    "hardware.converters.dac_bits": "DAC bits",
    "relaxation.beta": "β",
    "relaxation.feedback": "γ",
    "relaxation.free_steps": "T",
    "relaxation.nudge_feedback": "κ",
    "relaxation.nudge_steps": "K",
    "scheduler.threshold": "θ",
}
"""The symbols of keys, for legends and beside points."""
UNLIMITED = {"hardware.converters.adc_bits", "hardware.converters.dac_bits", "hardware.cells.levels"}
"""Keys whose 0 stands for any value: the ideal, at the right end."""
IDEAL = "ideal"
MOST_CURVES = 12
Curves = dict[str, dict[Any, list[float]]]


@dataclass(frozen=True)
class Points:
    """A row of ``frame`` per run or estimate; ``keys``: dotted keys of the scenario that vary, seeds aside."""

    name: str
    frame: pd.DataFrame
    keys: list[str]
    classes: int | None = None

    def key(self, asked: str) -> str:
        """The key that ``asked`` names, whole or by its end. Raises :class:`UsageError` where none or several do."""
        found = [key for key in self.keys if key == asked or key.endswith(f".{asked}")]
        if len(found) != 1:
            raise UsageError(f"--x {asked}: must be a key that varies here; {nearest(asked, self.keys)}")
        return found[0]

    def has(self, column: str) -> bool:
        """Whether any row has a value of ``column``."""
        return column in self.frame and bool(self.frame[column].notna().any())

    def others(self, x: str) -> list[str]:
        """The keys that vary while ``x`` stays the same."""
        return [key for key in self.keys if key != x and self.frame.groupby(x)[key].nunique(dropna=False).max() > 1]

    def curves(self, x: str, column: str) -> Curves:
        """Values of ``column``, those of all seeds, by curve and value of ``x``: a curve for each choice of the other
        keys, or all points as one, called "", where they are :meth:`loose`.
        """
        others = [] if self.loose(x) else self.others(x)
        found: Curves = {}
        for row in self.frame[self.frame[column].notna()].to_dict("records"):
            label = ", ".join(setting(key, row[key]) for key in others)
            found.setdefault(label, {}).setdefault(row[x], []).append(float(row[column]))
        return found

    def loose(self, x: str) -> bool:
        """Whether the other keys have too many choices for a curve each, or a point alone on each, as draws have."""
        others = self.others(x)
        if not others:
            return False
        lengths = self.frame.groupby(others, dropna=False)[x].nunique()
        return len(lengths) > MOST_CURVES or int(lengths.max()) == 1

    def means(self) -> pd.DataFrame:
        """Means over the seeds of points that are done: a row for each choice of the keys, in the order in which they
        came.
        """
        numbers = [name for name in self.frame.columns if name not in self.keys and name.endswith(MEASURED)]
        return (
            self.frame[self.frame["status"] == "done"]
            .groupby(self.keys, sort=False, dropna=False)[numbers]
            .mean()
            .reset_index()
        )


MEASURED = (ACCURACY, *(column.format(style=style) for column in QUANTITIES for style in STYLES))


def spelled(value: object) -> str:
    """A value of a key, as short as it can be told."""
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)
    return Path(text).stem if "/" in text else text


def spelled_of(key: str, value: object) -> str:
    """:func:`spelled`, or that it is the ideal of its ``key``."""
    return IDEAL if key in UNLIMITED and value == 0 else spelled(value)


def setting(key: str, value: object) -> str:
    """A key and its value, as short as it can be told."""
    return f"{SYMBOLS.get(key, key.rpartition('.')[2])} = {spelled_of(key, value)}"


def is_sweep(path: Path) -> bool:
    """Whether ``path`` is a sweep directory."""
    return (path / DOCUMENT).is_file()


def points_of_sweep(path: Path) -> Points:
    """The points of the sweep directory ``path``. Raises :class:`NothingToDraw` where none has a result."""
    if not (path / TABLE).exists():
        raise NothingToDraw(f"{path / TABLE} does not exist; it is written when the sweep begins")
    frame = read_table(path / TABLE, ("point", "status"))
    names = list(frame.columns)
    varied = [key for key in names[1 : names.index("status")] if frame[key].nunique(dropna=False) > 1]
    keys = [key for key in varied if key != SEED] or [SEED]
    classes = None
    for name in frame["point"]:
        with suppress(CheckpointError):
            classes = open_run(path / "runs" / name).classes
            break
    found = Points(path.resolve().name, frame, keys, classes)
    if not any(map(found.has, MEASURED)):
        raise NothingToDraw(f"{path / TABLE} has no result yet; the first comes at the end of an epoch")
    return found


def points_of_runs(runs: Sequence[Run], keys: Sequence[str]) -> Points:
    """``runs`` as points that differ in ``keys``. Raises :class:`NothingToDraw` for a run that recorded no traffic."""
    rows = []
    for run in runs:
        cost = run.table("comparison.csv", ("style", "energy_J", "latency_s", "backprop_J")).set_index("style")
        row = {**dict(flat(run.scenario)), ACCURACY: run.info.get("metrics", {}).get(ACCURACY)}
        for style in cost.index:
            energy_J, backprop_J = float(cost["energy_J"][style]), float(cost["backprop_J"][style])
            row |= {f"energy_{style}_J": energy_J, f"latency_{style}_s": float(cost["latency_s"][style])}
            row[f"ep_per_backprop_{style}"] = energy_J / backprop_J if backprop_J else None
        rows.append(row)
    classes = {run.classes for run in runs}
    name = ", ".join(dict.fromkeys(run.label for run in runs))
    return Points(name, pd.DataFrame(rows), list(keys), classes.pop() if len(classes) == 1 else None)
