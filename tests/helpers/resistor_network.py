"""The wires and cells of an array as one resistor network, solved directly: an oracle for ``tiles/wires.py``."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import splu


def solve_direct(
    G_S: np.ndarray, x_V: np.ndarray, r_ohm: float, transposed: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Currents in amperes out of the sensed and into the driven terminals for voltages x_V [N, driven lines].

    Node (i, j) of the word lines is i C + j, of the bit lines R C + i C + j; the terminals of the rows, then of the
    columns, come last.
    """
    rows, columns = G_S.shape
    cells = rows * columns
    word = np.arange(cells).reshape(rows, columns)
    bit = word + cells
    row_ends, column_ends = 2 * cells + np.arange(rows), 2 * cells + rows + np.arange(columns)
    resistors = [
        (word, bit, G_S),
        (word[:, :-1], word[:, 1:], 1 / r_ohm),
        (bit[:-1], bit[1:], 1 / r_ohm),
        (row_ends, word[:, 0], 1 / r_ohm),
        (column_ends, bit[-1], 1 / r_ohm),
    ]
    one = np.concatenate([np.ravel(a) for a, _, _ in resistors])
    other = np.concatenate([np.ravel(b) for _, b, _ in resistors])
    g = np.concatenate([np.broadcast_to(g, a.shape).ravel() for a, _, g in resistors])
    nodes = 2 * cells + rows + columns
    values = np.concatenate([g, g, -g, -g])
    places = np.concatenate([one, other, one, other]), np.concatenate([one, other, other, one])
    laplacian = coo_matrix((values, places), shape=(nodes, nodes)).tocsr()
    ends = np.zeros((rows + columns, len(x_V)))
    ends[slice(rows, None) if transposed else slice(rows)] = x_V.T
    inner, outer = laplacian[: 2 * cells], laplacian[2 * cells :]
    voltages = splu(inner[:, : 2 * cells].tocsc()).solve(-(inner[:, 2 * cells :] @ ends))
    into = (outer[:, : 2 * cells] @ voltages + outer[:, 2 * cells :] @ ends).T
    of_rows, of_columns = into[:, :rows], into[:, rows:]
    return (-of_rows, of_columns) if transposed else (-of_columns, of_rows)
