"""CSV tables, whose columns ``columns`` has: rows appended once per epoch, or a table written whole.

A cell is empty where a quantity does not exist. Floats are written with the fewest digits that read back to
the same value. ``seconds`` is in s; ``energy_J`` in J, in layers.csv per sample (clocked), in cost.csv summed
over ``samples``; accuracies and fractions lie in [0, 1].
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_float_dtype, is_numeric_dtype

from neurosim_ep.record.atomic import write_atomic
from neurosim_ep.record.columns import TABLES
from neurosim_ep.record.growing import GrowingFile


class CsvTable(GrowingFile):
    """A CSV file that grows by the rows of one epoch at a time; its first column is ``epoch``. ``columns``: by default
    those of the table of a run directory with this name.

    Append an epoch's rows before its checkpoint is saved.
    """

    def __init__(self, path: Path, columns: Sequence[str] | None = None) -> None:
        super().__init__(path)
        self.columns = columns or tuple(TABLES[path.name])

    def add(self, rows: Iterable[Mapping[str, object]]) -> None:
        """Append ``rows``; a missing or None value is an empty cell. The header comes with the first rows."""
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        if not self.length:
            writer.writeheader()
        writer.writerows(rows)
        self.append(text.getvalue().encode())


def write_table(
    path: Path, table: pd.DataFrame | Sequence[Mapping[str, object]], columns: Sequence[str] | None = None
) -> None:
    """Write ``columns`` of ``table`` (a frame, or rows) to a CSV file, atomically; by default those that the table of
    this name has in a run directory, or all of its own.
    """
    frame = pd.DataFrame(table)
    columns = columns or list(TABLES.get(path.name, frame.columns))
    lines = [",".join(columns), *map(",".join, zip(*(_cells(frame[column]) for column in columns), strict=True)), ""]
    write_atomic(path, "\n".join(lines).encode())


def _cells(values: pd.Series) -> Iterable[str]:
    """Cells of a column of a CSV file; those of missing values are empty."""
    if is_float_dtype(values):  # the same number often stands in many rows, and its shortest text takes long to find
        places, bits = pd.factorize(values.to_numpy(np.float64).view(np.int64))
        texts = ["" if cell != cell else str(cell) for cell in bits.view(np.float64).tolist()]
        return map(texts.__getitem__, places.tolist())
    cells = values.tolist()
    if is_numeric_dtype(values):
        return map(str, cells)
    quoted = {cell: _quoted(cell) for cell in set(cells)}
    return map(quoted.__getitem__, cells)


def _quoted(cell: Any) -> str:
    text = "" if pd.isna(cell) else str(cell)
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\r\n') else text
