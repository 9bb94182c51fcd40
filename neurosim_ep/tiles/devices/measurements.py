"""Measured potentiation and depression of devices, read from CSV.

Columns, each row a reading after a pulse:

    pulse                          number of the pulse, counted through a cycle, or anew for each sweep
    direction                      up or down: what that pulse was
    conductance_S or weight        what was read after it; conductance_mS, _uS, _nS and _pS are converted
    cycle, device                  optional; readings of different ones do not follow each other

Rows of one device and cycle stand in the order of time. Its first row is where it starts: that pulse moves nothing; so
is a row whose number is below the one before, as the pulses are counted anew from there on. Columns are separated by
commas, or by semicolons or tabs, in which case numbers may have a decimal comma.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np

from neurosim_ep import resources
from neurosim_ep.errors import DataError

NEEDED = ("pulse", "direction")
OPTIONAL = ("cycle", "device")
DIRECTIONS = {"up": True, "down": False}
CONDUCTANCE = re.compile(r"conductance[ _]*[\[(]?([munpk\u00b5\u03bc]?)S[\])]?")
PREFIXES = {"k": 1e3, "": 1.0, "m": 1e-3, "u": 1e-6, "\u00b5": 1e-6, "\u03bc": 1e-6, "n": 1e-9, "p": 1e-12}
PLAUSIBLE_S = (1e-14, 0.1)
"""The largest conductance of a memory device lies between these."""
MOST_PULSES = 10**9


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
        """Of all sweeps, the first of each included, which no pulse precedes."""
        return sum(len(sweep.w) for sweep in self.sweeps)


@dataclass(frozen=True)
class _Row:
    line: int
    device: str
    cycle: str
    pulse: int
    raising: bool
    value: float


@dataclass(frozen=True)
class _Table:
    """Lines of a CSV file, each with its number and as many fields as there are ``names``."""

    path: Path
    separator: str
    names: list[str]
    lines: list[tuple[int, list[str]]]

    def column(self, name: str) -> list[str]:
        return [fields[self.names.index(name)] for _, fields in self.lines]


def read_measurements(path: Path) -> Measurements:
    """The readings of a CSV file. Raises :class:`DataError` that names line, column, value and rule."""
    table = _read_table(path)
    value, unit_S = _value_column(table)
    rows = [_row(table, line, fields, value, unit_S) for line, fields in table.lines]
    values = np.array([row.value for row in rows])
    if len(rows) < 4 or values.min() == values.max():
        raise DataError(f"{path}: {len(rows)} readings; at least 4 that differ are needed")
    low, high = float(values.min()), float(values.max())
    if unit_S is None:
        largest = max(abs(low), abs(high))
        if largest > 1:
            raise DataError(
                f"{path}: weight: lies between {low:g} and {high:g}; divide by {largest:g}, so that 1 is most"
            )
        low, high = -1.0, 1.0
    elif not PLAUSIBLE_S[0] <= high <= PLAUSIBLE_S[1]:
        raise DataError(
            f"{path}: {value}: the largest is {high:g} S, and memory devices have {PLAUSIBLE_S[0]:g} to "
            f"{PLAUSIBLE_S[1]:g} S; say the unit of the numbers in the header, as conductance_nS"
        )
    rows.sort(key=lambda row: (row.device, row.cycle))  # stable: time order stays
    sweeps = [
        sweep
        for _, group in groupby(rows, key=lambda row: (row.device, row.cycle))
        for part in _counted_through(path, list(group))
        for sweep in _sweeps(part, low, high)
    ]
    for name, raising in DIRECTIONS.items():
        if sum(len(sweep.w) - 1 for sweep in sweeps if sweep.raising == raising) < 2:
            raise DataError(
                f'{path}: fewer than 2 readings with direction "{name}" that follow another; both are needed'
            )
    return Measurements(tuple(sweeps), None if unit_S is None else (low, high))


def _read_table(path: Path) -> _Table:
    text = resources.read_text(path, DataError)
    header = text.partition("\n")[0]
    separator = next((one for one in ";\t" if one in header), ",")
    reader = csv.reader(text.split("\n"), delimiter=separator)
    try:
        names = [name.strip() for name in next(reader, [])]
        lines = [(reader.line_num, fields) for fields in reader if fields]
    except csv.Error as error:
        raise DataError(f"{path}: is not CSV text ({error}); export it as such") from error
    for line, fields in lines:
        if len(fields) != len(names):
            comma = "; decimal commas? write points, or separate the columns by semicolons"
            raise DataError(
                f"{path}: line {line}: has {len(fields)} fields, the header {len(names)}"
                + (comma if separator == "," and len(fields) > len(names) else "")
            )
    return _Table(path, separator, names, lines)


def _value_column(table: _Table) -> tuple[str, float | None]:
    """The column of what was read, and the unit of conductances in S; None: they are weights."""
    path, names = table.path, table.names
    units = {name: PREFIXES[match[1]] for name in names if (match := CONDUCTANCE.fullmatch(name))}
    found = [*units, *(name for name in names if name == "weight")]
    if len(set(names)) < len(names):
        raise DataError(f"{path}: columns {', '.join(names)}: one is there twice; remove it")
    if len(found) != 1 or not set(NEEDED) <= set(names):
        raise DataError(
            f"{path}: columns {', '.join(names) or '(none)'}: "
            "pulse, direction and either conductance_S (or _mS, _uS, _nS, _pS) or weight are needed"
        )
    for name in names:
        if name not in (*NEEDED, *found, *OPTIONAL):
            raise DataError(f'{path}: unknown column "{name}"; known: {", ".join((*NEEDED, *found, *OPTIONAL))}')
    marks = {mark for text in table.column(found[0]) for mark in ",." if mark in text}
    if table.separator != "," and len(marks) == 2:
        raise DataError(
            f"{path}: {found[0]}: some numbers have a point and some a comma; write all of them with points"
        )
    return found[0], units.get(found[0])


def _row(table: _Table, line: int, fields: Sequence[str], value: str, unit_S: float | None) -> _Row:
    entries = dict(zip(table.names, (field.strip() for field in fields), strict=True))

    def refuse(column: str, rule: str) -> DataError:
        return DataError(f'{table.path}: line {line}: {column} = "{entries[column]}": {rule}')

    if entries["direction"] not in DIRECTIONS:
        raise refuse("direction", "must be up or down")
    try:
        pulse = int(entries["pulse"])
    except ValueError:
        pulse = -1
    if not 0 <= pulse <= MOST_PULSES:
        raise refuse("pulse", f"must be a whole number from 0 to {MOST_PULSES:.0e}")
    try:
        number = float(entries[value] if table.separator == "," else entries[value].replace(",", "."))
    except ValueError:
        raise refuse(value, "must be a number") from None
    if not np.isfinite(number) or (unit_S is not None and number < 0):
        raise refuse(value, "must be finite" + (" and not negative" if unit_S is not None else ""))
    device, cycle = (entries.get(name, "") for name in ("device", "cycle"))
    return _Row(line, device, cycle, pulse, DIRECTIONS[entries["direction"]], number * (unit_S or 1.0))


def _counted_through(path: Path, rows: list[_Row]) -> Iterator[list[_Row]]:
    """``rows`` of one device and cycle, parted where the pulses are counted anew."""
    begun = 0
    for place, (before, row) in enumerate(pairwise(rows), 1):
        if row.pulse == before.pulse and row.raising == before.raising:
            raise DataError(
                f'{path}: line {row.line}: pulse = "{row.pulse}": must be above the one before ({before.pulse}); '
                "give each device and cycle its own value in the columns device and cycle"
            )
        if row.pulse <= before.pulse:
            yield rows[begun:place]
            begun = place
    yield rows[begun:]


def _sweeps(rows: list[_Row], low: float, high: float) -> Iterator[Sweep]:
    """Sweeps of pulses that are counted through; each starts at the last reading of the one before."""
    before = rows[0]
    for raising, group in groupby(rows[1:], key=lambda row: row.raising):
        taken = [before, *group]
        before = taken[-1]
        pulses = np.array([row.pulse - taken[0].pulse for row in taken], float)
        weights = 2 * (np.array([row.value for row in taken]) - low) / (high - low) - 1
        yield Sweep(rows[0].device, rows[0].cycle, raising, pulses, weights)
