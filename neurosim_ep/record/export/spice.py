"""Netlists for circuit simulators: one crossbar array with its wires, every driver a source, every sensed line a source
of 0 V whose current is the result.

The circuit is that of :mod:`neurosim_ep.tiles.wires`: plain resistors, voltage sources and ``.op``, which any SPICE
reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np


def write_netlist(
    path: Path, title: str, G_S: np.ndarray, driven_V: np.ndarray, r_ohm: float, transposed: bool
) -> None:
    """The array of conductances ``G_S`` [rows, columns], word lines at ``driven_V`` [rows], or, ``transposed``, bit
    lines at ``driven_V`` [columns], and a resistance of ``r_ohm`` from each cell to the next and to the terminals.
    """
    with path.open("w", encoding="ascii") as file:
        for line in (f"* {title}", *NODES, *_sources(G_S.shape, driven_V, transposed)):
            file.write(line + "\n")
        for line in (*_cells(G_S, r_ohm), *_wires(G_S.shape, r_ohm), ".op", ".end"):
            file.write(line + "\n")


NODES = (
    "* x<i>: terminal of word line i, y<j>: terminal of bit line j; w<i>_<j>, b<i>_<j>: these lines at cell (i, j)",
    "* word lines have their terminal at column 0, bit lines at the last row; cells that do not conduct are left out",
    "* VX<i>, VY<j>: drivers, or sensed lines, at 0 V, whose source current is the result",
)


def _sources(shape: tuple[int, ...], driven_V: np.ndarray, transposed: bool) -> Iterator[str]:
    rows, columns = shape
    held = (np.zeros(rows), driven_V) if transposed else (driven_V, np.zeros(columns))
    for side, voltages in zip("xy", held, strict=True):
        for line, voltage in enumerate(voltages):
            yield f"V{side.upper()}{line} {side}{line} 0 DC {float(voltage)!r}"


def _cells(G_S: np.ndarray, r_ohm: float) -> Iterator[str]:
    for row, cells in enumerate(G_S):
        for column, conductance in enumerate(cells):
            if conductance > 0:
                ends = f"{_word(row, column, r_ohm)} {_bit(row, column, r_ohm)}"
                yield f"RC{row}_{column} {ends} {float(1 / np.float64(conductance))!r}"


def _wires(shape: tuple[int, ...], r_ohm: float) -> Iterator[str]:
    if r_ohm == 0:
        return
    rows, columns = shape
    for row in range(rows):
        for column in range(columns):
            before = f"w{row}_{column - 1}" if column else f"x{row}"
            after = f"b{row + 1}_{column}" if row < rows - 1 else f"y{column}"
            yield f"RW{row}_{column} {before} w{row}_{column} {r_ohm!r}"
            yield f"RB{row}_{column} b{row}_{column} {after} {r_ohm!r}"


def _word(row: int, column: int, r_ohm: float) -> str:
    return f"w{row}_{column}" if r_ohm else f"x{row}"


def _bit(row: int, column: int, r_ohm: float) -> str:
    return f"b{row}_{column}" if r_ohm else f"y{column}"
