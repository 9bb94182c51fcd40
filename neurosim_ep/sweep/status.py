"""What became of the points of a sweep, read from their directories alone."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neurosim_ep.errors import SweepError
from neurosim_ep.record.atomic import write_atomic
from neurosim_ep.record.columns import POINTS
from neurosim_ep.resources import read_json, read_text
from neurosim_ep.sweep.axes import toml_text
from neurosim_ep.sweep.directory import TABLE, SweepDirectory, is_held
from neurosim_ep.sweep.points import Point

METRICS = ("loss", "train_accuracy", "test_accuracy", "best_test_accuracy", "mean_ticks", "not_converged")
ENDED, OVER = ("failed", "diverged"), ("done", "failed", "diverged")
BUG = "this is a bug in neurosim-ep"


@dataclass
class Progress:
    """The rows of points.csv; those of points that are done are read once."""

    sweep: SweepDirectory
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)

    def refresh(self, points: Sequence[Point] | None = None) -> None:
        """Look at ``points``, or at all, and write points.csv."""
        for point in self.sweep.points if points is None else points:
            if self.rows.get(point.name, {}).get("status") != "done":
                self.rows[point.name] = point_row(self.sweep, point)
        text = io.StringIO()
        writer = csv.DictWriter(text, ("point", *self.sweep.keys, *list(POINTS)[1:]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows[point.name] for point in self.sweep.points)
        path = self.sweep.path / TABLE
        temporary = path.with_name(f".{TABLE}.{os.getpid()}.tmp")  # of this command: `plot` may write it, too
        write_atomic(path, text.getvalue().encode(), temporary)

    def status(self, point: Point) -> str:
        return str(self.rows[point.name]["status"])

    def counts(self) -> str:
        """``12 points: 3 done, 1 failed, 8 waiting``."""
        found = [row["status"] for row in self.rows.values()]
        parts = ", ".join(f"{found.count(status)} {status}" for status in dict.fromkeys(sorted(found)))
        return f"{len(found)} points: {parts}"


def point_row(sweep: SweepDirectory, point: Point) -> dict[str, Any]:
    """The row of ``point`` in points.csv; what is not known is left out."""
    folder = sweep.run(point)
    settings = {key: value if isinstance(value, str) else toml_text(value) for key, value in point.settings.items()}
    info = _json(folder / "run.json")
    status = _status(sweep, point, info)
    row = {"point": point.name, **settings, "status": status, **_cost(folder)}
    if status in ENDED:
        row["reason"] = reason(sweep.log(point))
    row |= _numbers(info.get("metrics"), METRICS) | _numbers(info, ("seconds",))
    if info:
        row["epochs"] = epochs_done(folder)
    return row


def _numbers(table: object, keys: Sequence[str]) -> dict[str, float]:
    """Those of ``keys`` that have a number in ``table``."""
    found = {key: table.get(key) for key in keys} if isinstance(table, dict) else {}
    return {key: value for key, value in found.items() if isinstance(value, int | float)}


def _status(sweep: SweepDirectory, point: Point, info: Mapping[str, Any]) -> str:
    """waiting, running, interrupted, done, diverged or failed."""
    noted = info.get("status")
    if noted == "done" or (sweep.kind == "estimate" and (sweep.run(point) / "comparison.csv").exists()):
        return "done"
    if is_held(sweep.log(point)):
        return "running"
    if noted in ENDED:
        return str(noted)
    if info:
        return "interrupted"
    return "failed" if reason(sweep.log(point)) else "waiting"


def reason(log: Path) -> str:
    """The error that the last command of a point ended with, on one line; empty where it was killed or is alive."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    for at in range(len(lines) - 1, -1, -1):
        if lines[at].startswith(BUG):
            return lines[at - 1] if at else BUG
        if lines[at].startswith("error: "):
            if lines[at].startswith("error: interrupted"):
                return ""
            return "; ".join(line.strip() for line in [lines[at].removeprefix("error: "), *lines[at + 1 :]])
    return ""


def epochs_done(folder: Path) -> int:
    """Rows of epochs.csv."""
    try:
        return max(0, (folder / "epochs.csv").read_bytes().count(b"\n") - 1)
    except FileNotFoundError:
        return 0


def _cost(folder: Path) -> dict[str, float]:
    """Per training sample: energies, latencies, and EP's energy against backpropagation's; the area of the chip."""
    found: dict[str, float] = {}
    for style, energy_J, latency_s, backprop_J in _csv(
        folder / "comparison.csv", ("style", "energy_J", "latency_s", "backprop_J")
    ):
        found |= {f"energy_{style}_J": energy_J, f"latency_{style}_s": latency_s, "backprop_J": backprop_J}
        if backprop_J:
            found[f"ep_per_backprop_{style}"] = energy_J / backprop_J
    if area := [area_m2 for _, area_m2 in _csv(folder / "area.csv", ("component", "area_m2"))]:
        found["area_m2"] = sum(area)
    return {key: value for key, value in found.items() if key in POINTS}


def _csv(path: Path, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """These ``columns`` of the rows, text first, the others numbers; no rows where there is no such file."""
    if not path.exists():
        return []
    text = read_text(path, SweepError)
    try:
        rows = [[row[column] for column in columns] for row in csv.DictReader(io.StringIO(text))]
        return [(str(first), *map(float, others)) for first, *others in rows]
    except (csv.Error, KeyError, TypeError, ValueError) as problem:
        raise SweepError(
            f"{path}: damaged or edited ({problem!r}); restore it from a copy, or remove {path.parent} for the "
            "point to be computed again"
        ) from problem


def _json(path: Path) -> dict[str, Any]:
    """What a run says of itself; nothing where it has not begun, or says what cannot be read."""
    try:
        return read_json(path, SweepError)
    except SweepError:
        return {}
