"""Voltage drop on the wires of a crossbar array (IR drop), in both read directions.

An array has R rows (word lines) and C columns (bit lines). Word line i and bit line j are joined by a cell of
conductance G_ij. All segments of both kinds of wires have the resistance r, those to the terminals too::

        X_0 --r--o--r--o--r--o         word line 0: far from the terminals of the bit lines
                 :     :     :
        X_1 --r--o--r--o--r--o         : is a cell between word line and bit line,
                 :     :     :           and a segment r of the bit line to the next row
        X_2 --r--o--r--o--r--o         word line R-1
                 |     |     |
                 r     r     r
                Y_0   Y_1   Y_2        bit line 0 is near the terminals of the word lines, C-1 is far

A forward read holds the terminals X_i at the input voltages and Y_j at 0 V, and senses the current that leaves at Y_j.
A transposed read holds Y_j at the input voltages and X_i at 0 V, and senses at X_i: the same network and the same
terminals. With r = 0 the currents are ``x @ G`` and ``y @ G.T``.

Two ways are exact: :func:`ir_drop_iterative` solves the network for given inputs; :func:`effective_conductance`
eliminates all inner nodes, after which every read in either direction is one matrix product. Two are estimates:
:func:`estimated_conductance` replaces the elimination by two matrix products per programming;
:func:`ir_drop_closed_form` adds two matrix products to every read. ``tests/benchmarks/ir_drop.py`` measures both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from neurosim_ep.errors import UsageError

ITERATIONS = 200


@dataclass(frozen=True)
class WireSolution:
    """Sensed currents of a batch of reads, and how well they are known.

    ``currents_A`` [..., N, sensed lines]; ``residual`` [..., N]: sum of what Kirchhoff's current law still misses at
    all nodes, over the largest sensed current of the read. It bounds the error of every current of the read, in units
    of the largest one, since no terminal can receive more than the current missed. ``converged`` bool [..., N]:
    whether it is within the tolerance; ``iterations``: steps taken.
    """

    currents_A: Tensor
    residual: Tensor
    converged: Tensor
    iterations: int


class _Lines:
    """Parallel wires of an array along dimension ``along``, each a tridiagonal matrix T + K that is solved directly.

    T is the resistance network of a wire in units of 1/r and K = r G. The wire is eliminated from its open end, where
    T has a 1 on its diagonal, to its terminal.
    """

    def __init__(self, load: Tensor, along: int, terminal_first: bool) -> None:
        self.along, count = along, load.shape[along]
        self.order = range(count - 1, -1, -1) if terminal_first else range(count)
        self.load = load.movedim(along, 0)
        self.inverse_pivots = torch.empty_like(self.load, memory_format=torch.contiguous_format)
        inverse = torch.ones_like(self.load[0])
        for number, place in enumerate(self.order):
            diagonal = self.load[place] + (1.0 if number == 0 else 2.0)
            inverse = 1 / (diagonal if number == 0 else diagonal - inverse)
            self.inverse_pivots[place] = inverse

    def solve(self, current: Tensor) -> Tensor:
        """Voltages of the wires, (T + K)^-1 current."""
        voltage = current.clone()
        places = voltage.movedim(self.along, 0)
        for before, place in zip(self.order, self.order[1:], strict=False):
            places[place].addcmul_(places[before], self.inverse_pivots[before])
        places *= self.inverse_pivots
        for before, place in zip(self.order[::-1], self.order[::-1][1:], strict=False):
            places[place].addcmul_(places[before], self.inverse_pivots[place])
        return voltage

    def times(self, voltage: Tensor) -> Tensor:
        """Currents into the wires in units of 1/r, (T + K) voltage."""
        places = voltage.movedim(self.along, 0)
        current = places * (self.load + 2)
        current[self.order[0]] -= places[self.order[0]]
        current[1:] -= places[:-1]
        current[:-1] -= places[1:]
        return current.movedim(0, self.along)


@torch.no_grad()
def ir_drop_iterative(
    G_S: Tensor,
    x_V: Tensor,
    r_ohm: float,
    *,
    transposed: bool = False,
    tolerance: float = 1e-6,
    iterations: int = ITERATIONS,
) -> WireSolution:
    """Sensed currents with the voltage drop on all wires.

    ``G_S`` [..., R, C] in siemens, ``x_V`` [..., N, driven lines] in volts or one vector [driven lines], ``r_ohm`` of
    one segment; shapes broadcast as in ``x_V @ G_S``. Word lines are eliminated exactly, which leaves symmetric
    positive equations of the bit lines; conjugate gradients solve them, preconditioned with the bit lines on grounded
    word lines. A step is thus a solve along all word lines and one along all bit lines, and no damping is needed. It
    computes in float64 whatever the dtype of ``x_V``, and holds about ten tensors of R x C x reads.

    Not converging is no error: look at ``converged`` of the result. Raises :class:`UsageError` for shapes that do not
    fit and numbers out of range.
    """
    _check_array(G_S, r_ohm)
    driven = G_S.shape[-1 if transposed else -2]
    if x_V.shape[-1:] != (driven,):
        raise UsageError(f"x_V has the shape {tuple(x_V.shape)}: its last dimension must be the {driven} driven lines")
    if x_V.ndim == 1:
        found = ir_drop_iterative(
            G_S, x_V[None], r_ohm, transposed=transposed, tolerance=tolerance, iterations=iterations
        )
        return WireSolution(
            found.currents_A.squeeze(-2), found.residual.squeeze(-1), found.converged.squeeze(-1), found.iterations
        )
    rows, columns = G_S.shape[-2:]
    batch = torch.broadcast_shapes(G_S.shape[:-2], x_V.shape[:-2])
    G = G_S.double().expand(*batch, rows, columns).reshape(-1, rows, columns)
    x = x_V.double().expand(*batch, *x_V.shape[-2:]).reshape(len(G), -1, driven)
    # [rows, columns, arrays, reads]: a step along a wire takes whole slices
    circuit = _Circuit(G.permute(1, 2, 0)[..., None], r_ohm)
    currents, residual, steps = circuit.solve(x.permute(2, 0, 1), transposed, tolerance, iterations)
    sensed = currents.permute(1, 2, 0).reshape(*batch, x_V.shape[-2], -1)
    residual = residual.reshape(*batch, x_V.shape[-2])
    return WireSolution(sensed.to(x_V.dtype), residual, residual <= tolerance, steps)


class _Circuit:
    """Nodal equations of arrays G [R, C, arrays, 1], each multiplied by r so that r = 0 is a case like any other.

    The unknowns are what the wires add to the voltages without drop, so that small drops lose no digits: with u for the
    word lines, v for the bit lines and K = r G, (T + K) u - K v = -K w and (T + K) v - K u = K w, where w is the
    voltage from word line to bit line without drop: the input x, or -x in a transposed read.
    """

    def __init__(self, G: Tensor, r_ohm: float) -> None:
        self.G, self.K = G, G * r_ohm
        self.words = _Lines(self.K, along=1, terminal_first=True)
        self.bits = _Lines(self.K, along=0, terminal_first=False)

    def solve(self, x: Tensor, transposed: bool, tolerance: float, iterations: int) -> tuple[Tensor, Tensor, int]:
        """Currents [sensed, arrays, reads], residual [arrays, reads] and steps for inputs x [driven, arrays, reads]."""
        w = -x[None] if transposed else x[:, None]
        sensed = 1 if transposed else 0
        source = self.K * w
        v, u = torch.zeros_like(source), self.words.solve(-source)
        r = source + self.K * u
        z = self.bits.solve(r)
        p, rz = z.clone(), _dot(r, z)
        step = 0
        while step < iterations and bool((self._missed(r, w + u - v, sensed) > tolerance).any()):
            step += 1
            of_p = self.words.solve(self.K * p)
            Ap = self.bits.times(p) - self.K * of_p
            alpha = _ratio(rz, _dot(p, Ap))
            v += alpha * p
            u += alpha * of_p
            r -= alpha * Ap
            z = self.bits.solve(r)
            before, rz = rz, _dot(r, z)
            p = z + _ratio(rz, before) * p
        r = source + self.K * u - self.bits.times(v)  # the recursion above may have drifted from it
        across = w + u - v
        currents = (self.G * across).sum(sensed)
        return -currents if transposed else currents, self._missed(r, across, sensed), step

    def _missed(self, r: Tensor, across: Tensor, sensed: int) -> Tensor:
        """:attr:`WireSolution.residual` of the bit lines' residual r; word lines have none."""
        largest = (self.K * across).sum(sensed).abs().amax(0)
        missed = r.abs().sum((0, 1))
        return torch.where(missed == 0, 0.0, missed / largest)


@torch.no_grad()
def effective_conductance(G_S: Tensor, r_ohm: float) -> Tensor:
    """Matrix E [..., R, C] in siemens of the array seen from its terminals, without iteration.

    Forward currents are ``x @ E``. The network is reciprocal, so transposed currents are ``y @ E.T``. All inner nodes
    are eliminated, row after row, in float64; at 128 x 128 cells that takes as long as some tens of reads of a batch
    with :func:`ir_drop_iterative`, and serves all reads until a cell is programmed. Shapes and errors as there.
    """
    _check_array(G_S, r_ohm)
    if r_ohm == 0:
        return G_S.clone()
    K = G_S.double() * r_ohm
    rows, columns = K.shape[-2:]
    eye = torch.eye(columns, dtype=K.dtype, device=K.device)
    wire = 2 * eye - torch.diag(torch.ones_like(eye[0, 1:]), 1) - torch.diag(torch.ones_like(eye[0, 1:]), -1)
    wire[-1, -1] -= 1  # open end
    passed = K.new_zeros(*K.shape[:-2], columns, 0)  # voltages of the bit lines in the last row for x of each row
    below = K.new_zeros(*K.shape[:-2], columns, columns)  # their response to currents
    for row in range(rows):
        load = K[..., row, :]
        word = load[..., None] * torch.linalg.inv(wire + torch.diag_embed(load))
        schur = torch.diag_embed(load) - word * load[..., None, :] + (1 if row == 0 else 2) * eye - below
        below = torch.linalg.inv(schur)
        passed = below @ torch.cat([passed, word[..., :1]], -1)
    return (passed.mT / r_ohm).to(G_S.dtype)


@torch.no_grad()
def estimated_conductance(G_S: Tensor, r_ohm: float) -> Tensor:
    """Estimate of :func:`effective_conductance` from two matrix products, [..., R, C] in siemens.

    Cell (i, j) shares min(d_i, d_k) segments of its bit line with cell k and min(e_j, e_l) of its word line with cell
    l, d and e counted from the terminals. To first order in r G, these shared segments act as resistances in series
    with the cell: E_ij = G_ij / (1 + r (sum_k min(d_i, d_k) G_kj + sum_l min(e_j, e_l) G_il)). Derived here; the
    quotient, in place of its first-order expansion, keeps every E_ij between 0 and G_ij.
    """
    _check_array(G_S, r_ohm)
    rows, columns = G_S.shape[-2:]
    d = torch.arange(rows, 0, -1, dtype=G_S.dtype, device=G_S.device)
    e = torch.arange(1, columns + 1, dtype=G_S.dtype, device=G_S.device)
    bits = torch.minimum(d[:, None], d) @ G_S
    words = G_S @ torch.minimum(e[:, None], e)
    return G_S / (1 + r_ohm * (bits + words))


def ir_drop_closed_form(W: Tensor, x: Tensor, segment_ratio: float, *, transposed: bool = False) -> Tensor:
    """Estimate of ``x @ W``, or ``x @ W.T`` if ``transposed``, with the drop on the sensed lines.

    ``W`` [..., R, C] = G / G_max as the array lies in the sketch above, differences of cell pairs included; ``x``
    [..., N, driven lines] in units of the largest voltage; ``segment_ratio`` = r G_max. See
    :func:`closed_form_correction`.
    """
    across = W.mT if transposed else W
    length = across.shape[-2]
    weights = position_weights(length, far_first=not transposed, like=x)
    return closed_form_correction(
        x @ across, x.abs() @ across.abs(), (x * weights) @ across, length=length, segment_ratio=segment_ratio
    )


def position_weights(length: int, far_first: bool, like: Tensor) -> Tensor:
    """How much of the full drop each cell of a sensed line sees, [length]: 1 - (1 - k/n)^2, k segments from the
    terminal, for equal currents in all n cells.

    ``far_first``: cell 0 is the farthest from the terminal, as the rows in a forward read; otherwise the nearest, as
    the columns in a transposed read. ``like`` gives dtype and device.
    """
    segments = torch.arange(1, length + 1, dtype=like.dtype, device=like.device)
    weights = 1 - (1 - segments / length) ** 2
    return weights.flip(0) if far_first else weights


def closed_form_correction(y: Tensor, absolute: Tensor, weighted: Tensor, length: int, segment_ratio: float) -> Tensor:
    """Products ``y`` less the estimated voltage drop: y - c * weighted, with a = n r G_max absolute and
    c = 0.05 a^3 - 0.2 a^2 + 0.5 a (the cheap formula of IBM's aihwkit).

    All [..., sensed lines] in units of G_max and the largest input: ``y`` = W x, ``absolute`` = abs(W) abs(x),
    ``weighted`` = W (x * :func:`position_weights`); ``length`` n cells on a sensed line; ``segment_ratio`` = r G_max.
    It is made for inputs that are pulses of equal height and lengths x, leaves out the drop on the driven lines, and
    means nothing where a is beyond about 1.
    """
    a = length * segment_ratio * absolute
    return y - a * (a * (0.05 * a - 0.2) + 0.5) * weighted


def _check_array(G_S: Tensor, r_ohm: float) -> None:
    if G_S.ndim < 2 or 0 in G_S.shape[-2:]:
        raise UsageError(f"G_S has the shape {tuple(G_S.shape)}: needs rows and columns as its last dimensions")
    if not (math.isfinite(r_ohm) and r_ohm >= 0):
        raise UsageError(f"r_ohm = {r_ohm}: a wire segment has a finite resistance of at least 0 ohm")
    if not bool((torch.isfinite(G_S) & (G_S >= 0)).all()):
        raise UsageError("G_S: conductances must be finite and at least 0 S; read cells of a pair on their own lines")


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner products over the nodes of each read, [arrays, reads]."""
    return (a * b).sum((0, 1))


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    """above / below, 0 where a read has nothing left to solve."""
    return torch.where(below > 0, above / below, 0.0)
