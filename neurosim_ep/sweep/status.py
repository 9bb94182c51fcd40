"""What became of the points of a sweep, read from their directories alone."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neurosim_ep.record.atomic import write_atomic
from neurosim_ep.sweep.axes import toml_text
from neurosim_ep.sweep.directory import TABLE, SweepDirectory, is_held
from neurosim_ep.sweep.points import Point

METRICS = ("loss", "train_accuracy", "test_accuracy", "best_test_accuracy", "mean_ticks", "not_converged")
STYLES = ("clocked", "event", "settling")
COSTS = (
    *(f"{quantity}_{style}_{unit}" for quantity, unit in (("energy", "J"), ("latency", "s")) for style in STYLES),
    "backprop_J", *(f"ep_per_backprop_{style}" for style in STYLES), "area_m2",
)  # fmt: skip
COLUMNS = ("status", "epochs", *METRICS, *COSTS, "seconds", "reason")
"""Columns of points.csv after the point's name and settings."""
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
        writer = csv.DictWriter(text, ("point", *self.sweep.keys, *COLUMNS), lineterminator="\n")
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
    metrics = info.get("metrics") or {}
    row |= {key: metrics[key] for key in METRICS if metrics.get(key) is not None}
    if info:
        row |= {"epochs": epochs_done(folder), "seconds": info.get("seconds")}
    return row


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
    for line in _csv(folder / "comparison.csv"):
        style, backprop_J = line["style"], float(line["backprop_J"])
        found |= {f"energy_{style}_J": float(line["energy_J"]), f"latency_{style}_s": float(line["latency_s"])}
        found["backprop_J"] = backprop_J
        if backprop_J:
            found[f"ep_per_backprop_{style}"] = found[f"energy_{style}_J"] / backprop_J
    if area := [float(line["area_m2"]) for line in _csv(folder / "area.csv")]:
        found["area_m2"] = sum(area)
    return found


def _csv(path: Path) -> Iterator[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            yield from csv.DictReader(file)
    except FileNotFoundError:
        return


def _json(path: Path) -> dict[str, Any]:
    """What a run says of itself; nothing where it has not begun, or says what cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError):
        return {}
    return found if isinstance(found, dict) else {}
