"""Measured potentiation and depression of devices, read from CSV.

Columns, each row a reading after a pulse:

    pulse                          number of the pulse, counted through a cycle, or anew in each direction
    direction                      up or down: what that pulse was
    conductance_S or weight        what was read after it
    cycle, device                  optional; readings of different ones do not follow each other

Rows of one device and cycle stand in the order of time. Its first row is where it starts: that pulse moves nothing.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from neurosim_ep.errors import DataError

NEEDED = ("pulse", "direction")
VALUES = ("conductance_S", "weight")
OPTIONAL = ("cycle", "device")
DIRECTIONS = {"up": True, "down": False}


@dataclass(frozen=True)
class Sweep:
    """Pulses of one direction in a row: ``pulses`` since the start, from 0, and the weight ``w`` after them."""

    device: str
    cycle: str
    raising: bool
    pulses: np.ndarray
    w: np.ndarray


@dataclass(frozen=True)
class Measurements:
    """Sweeps with weights between -1 and 1; ``range_S`` are the conductances these stand for, None where the data are
    weights.
    """

    sweeps: tuple[Sweep, ...]
    range_S: tuple[float, float] | None

    @property
    def devices(self) -> list[str]:
        return list(dict.fromkeys(sweep.device for sweep in self.sweeps))

    @property
    def readings(self) -> int:
        """Readings that follow a pulse."""
        return sum(len(sweep.w) - 1 for sweep in self.sweeps)


@dataclass(frozen=True)
class _Row:
    line: int
    device: str
    cycle: str
    pulse: int
    raising: bool
    value: float


def read_measurements(path: Path) -> Measurements:
    """The readings of a CSV file. Raises :class:`DataError` that names line, column, value and rule."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            value = _value_column(path, list(reader.fieldnames or []))
            rows = [_row(path, number, entries, value) for number, entries in enumerate(reader, 2)]
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: is not CSV text in UTF-8 ({error}); export it as such") from error
    values = np.array([row.value for row in rows])
    if len(rows) < 4 or values.min() == values.max():
        raise DataError(f"{path}: {len(rows)} readings; at least 4 that differ are needed")
    low, high = float(values.min()), float(values.max())
    if value == "weight":
        largest = max(abs(low), abs(high))
        if largest > 1:
            raise DataError(
                f"{path}: weight: lies between {low:g} and {high:g}; divide by {largest:g}, so that 1 is most"
            )
        low, high = -1.0, 1.0
    rows.sort(key=lambda row: (row.device, row.cycle))  # stable: time order stays
    sweeps = [
        sweep
        for _, group in groupby(rows, key=lambda row: (row.device, row.cycle))
        for sweep in _sweeps(path, list(group), low, high)
    ]
    for name, raising in DIRECTIONS.items():
        if sum(len(sweep.w) - 1 for sweep in sweeps if sweep.raising == raising) < 2:
            raise DataError(
                f'{path}: fewer than 2 readings with direction "{name}" that follow another; both are needed'
            )
    return Measurements(tuple(sweeps), (low, high) if value == "conductance_S" else None)


def _value_column(path: Path, names: list[str]) -> str:
    known = (*NEEDED, *VALUES, *OPTIONAL)
    found = [name for name in VALUES if name in names]
    missing = [name for name in NEEDED if name not in names]
    if missing or len(found) != 1:
        raise DataError(
            f"{path}: columns {', '.join(names) or '(none)'}: "
            "pulse, direction and either conductance_S or weight are needed"
        )
    for name in names:
        if name not in known:
            raise DataError(f'{path}: unknown column "{name}"; known: {", ".join(known)}')
    return found[0]


def _row(path: Path, line: int, entries: dict[str, str], value: str) -> _Row:
    def refuse(column: str, rule: str) -> DataError:
        return DataError(f'{path}: line {line}: {column} = "{entries.get(column)}": {rule}')

    direction = (entries["direction"] or "").strip()
    if direction not in DIRECTIONS:
        raise refuse("direction", "must be up or down")
    try:
        pulse = int(entries["pulse"])
    except (TypeError, ValueError):
        raise refuse("pulse", "must be a whole number") from None
    try:
        number = float(entries[value])
    except (TypeError, ValueError):
        raise refuse(value, "must be a number") from None
    if not np.isfinite(number) or (value == "conductance_S" and number < 0):
        raise refuse(value, "must be finite" + (" and not negative" if value == "conductance_S" else ""))
    device, cycle = ((entries.get(name) or "").strip() for name in ("device", "cycle"))
    return _Row(line, device, cycle, pulse, DIRECTIONS[direction], number)


def _sweeps(path: Path, rows: list[_Row], low: float, high: float) -> Iterator[Sweep]:
    """Sweeps of one device and cycle; each starts at the last reading of the one before."""
    before = rows[0]
    for raising, group in groupby(rows[1:], key=lambda row: row.raising):
        pulses, values = [0], [before.value]
        for row in group:
            taken = row.pulse - before.pulse
            if taken < 1 and row.raising != before.raising:
                taken = row.pulse  # counted anew in this direction
            if taken < 1:
                raise DataError(
                    f'{path}: line {row.line}: pulse = "{row.pulse}": must be above the one before ({before.pulse}); '
                    "give each device and cycle its own value in the columns device and cycle"
                )
            pulses.append(pulses[-1] + taken)
            values.append(row.value)
            before = row
        weights = 2 * (np.array(values) - low) / (high - low) - 1
        yield Sweep(rows[0].device, rows[0].cycle, raising, np.array(pulses, float), weights)
