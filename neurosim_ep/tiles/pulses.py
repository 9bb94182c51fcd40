"""Outer products written by coinciding pulse trains on rows and columns.

A weight change ``rate · x_i d_j`` (in units of the device) takes ``rate x_i d_j / dw_min`` pulses up. Every row carries
a train of ``BL`` slots in which a pulse stands with a probability proportional to x_i, every column one with d_j; a
cell sees a pulse where both have one. Trains are as short as the largest factors allow (*update management*, as in
IBM's aihwkit): with ``K = rate max|x| max|d| / dw_min`` there are ``BL = min(⌈K⌉, desired)`` slots, the probabilities
are scaled so that the largest ones are equal, ``√(K / BL)``; where K exceeds ``desired`` the largest x has a pulse in
every slot, and so have all d above ``desired / K`` of the largest, which are clipped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from neurosim_ep.errors import DivergenceError
from neurosim_ep.scenario.schema import DeviceSection

PRODUCTS_AT_ONCE = 2**22
DRAWS_AT_ONCE = 2**18
LOWER = "lower training.learning_rate, network.weight_scale or relaxation.beta, or set training.update_limit"


@dataclass(frozen=True)
class Trains:
    """Pulses of N outer products, all of one sample and term: ``slots`` (N,), and the signed probabilities of a pulse
    in a slot on rows (N, rows) and columns (N, columns).
    """

    slots: Tensor
    rows: Tensor
    columns: Tensor


def make_trains(x: Tensor, d: Tensor, rate: Tensor | float, dw_min: float, section: DeviceSection) -> Trains:
    """Trains that write ``rate · xᵀ d`` for rows x (N, rows) and columns d (N, columns)."""
    per_pulse = torch.as_tensor(rate, dtype=x.dtype, device=x.device) / dw_min
    if not section.update_management:
        each = (per_pulse / section.desired_bl).sqrt()
        slots = x.new_full((len(x),), section.desired_bl)
        return Trains(slots, (x * each).clamp_(-1, 1), (d * each).clamp_(-1, 1))
    x_most, d_most = (value.abs().amax(1) for value in (x, d))
    wanted = per_pulse * x_most * d_most
    slots = wanted.ceil().clamp_(max=section.desired_bl)
    filled = wanted / slots
    largest = filled.clamp(max=1).sqrt()
    on_rows = torch.where(slots > 0, largest / x_most, 0.0)
    on_columns = torch.where(slots > 0, filled / largest / d_most, 0.0)
    return Trains(slots, x * on_rows[:, None], (d * on_columns[:, None]).clamp_(-1, 1))


class Extent(NamedTuple):
    """What the host must know of trains: their slots, at most, and whether any line pulls its cells down."""

    slots: int
    signed: bool


def extents(trains: Sequence[Trains]) -> list[Extent]:
    """Those of all ``trains``, each of at least one outer product, in one question to the device.

    Raises :class:`DivergenceError` where they are not of finite numbers.
    """
    signed = [(one.rows < 0).any() | (one.columns < 0).any() for one in trains]
    unfinite = [0 * (one.rows.sum() + one.columns.sum()) for one in trains]  # not a number where one of them is none
    slots = torch.stack([one.slots.max() + nothing for one, nothing in zip(trains, unfinite, strict=True)])
    found = torch.stack([slots, torch.stack(signed).to(slots.dtype)], 1).tolist()
    if not all(math.isfinite(most) for most, _ in found):
        raise DivergenceError(f"diverged: states or errors that are to be written are not finite; {LOWER}")
    return [Extent(int(most), bool(some)) for most, some in found]


def coincidences(
    trains: Trains, section: DeviceSection, random: torch.Generator, extent: Extent | None = None
) -> tuple[Tensor, Tensor]:
    """Pulses up and down that each cell sees, whole numbers (rows, columns), summed over the N outer products.

    ``extent``: that of the trains, where it is known.
    """
    if not len(trains.slots):
        none = trains.rows.new_zeros(trains.rows.shape[1], trains.columns.shape[1])
        return none, none.clone()
    if section.pulse_trains == "deterministic":
        return _rounded(trains)
    return _drawn(trains, extent or extents([trains])[0], random)


def _drawn(trains: Trains, extent: Extent, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Every slot of every train drawn by itself, so that cells of a row or column see the same pulses."""
    on_rows, on_columns = trains.rows.abs(), trains.columns.abs()
    row_signs, column_signs = trains.rows.sign(), trains.columns.sign()
    seen = on_rows.new_zeros(on_rows.shape[1], on_columns.shape[1])
    net = torch.zeros_like(seen) if extent.signed else seen
    at_once = max(1, DRAWS_AT_ONCE // (on_rows.numel() + on_columns.numel()))
    for slots in torch.arange(extent.slots, device=seen.device).split(at_once):
        going = (trains.slots > slots[:, None]).to(seen.dtype).unsqueeze(2)
        rows, columns = (_drawn_below(value, len(slots), random) for value in (on_rows, on_columns))
        rows.mul_(going)
        seen.addmm_(rows.flatten(0, 1).T, columns.flatten(0, 1))
        if extent.signed:
            net.addmm_(rows.mul_(row_signs).flatten(0, 1).T, columns.mul_(column_signs).flatten(0, 1))
    return ((seen + net) / 2, (seen - net) / 2) if extent.signed else (seen, torch.zeros_like(seen))


def _drawn_below(probability: Tensor, slots: int, random: torch.Generator) -> Tensor:
    """1 with the given probability (N, lines), else 0, for each slot: (slots, N, lines)."""
    drawn = torch.rand(
        (slots, *probability.shape), generator=random, device=probability.device, dtype=probability.dtype
    )
    return drawn.lt_(probability)


def _rounded(trains: Trains) -> tuple[Tensor, Tensor]:
    """The expected number of coincidences of each outer product, rounded."""
    rows, columns = trains.rows, trains.columns
    up, down = (rows.new_zeros(rows.shape[1], columns.shape[1]) for _ in range(2))
    at_once = max(1, PRODUCTS_AT_ONCE // up.numel())
    for some in torch.arange(len(rows), device=rows.device).split(at_once):
        expected = torch.einsum("n,ni,nj->nij", trains.slots[some], rows[some], columns[some]).round_()
        up += expected.clamp(min=0).sum(0)
        down += expected.clamp_(max=0).sum(0).neg_()
    return up, down
