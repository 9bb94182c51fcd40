"""Outer products written by coinciding pulse trains on rows and columns.

A weight change ``rate · x_i d_j`` (in units of the device) takes ``rate x_i d_j / dw_min`` pulses up. Every row carries
a train of ``BL`` slots in which a pulse stands with a probability proportional to x_i, every column one with d_j; a
cell sees a pulse where both have one. Trains are as short as the largest factors allow (*update management*, as in
IBM's aihwkit): with ``K = rate max|x| max|d| / dw_min`` there are ``BL = min(⌈K⌉, desired)`` slots, the probabilities
are scaled so that the largest ones are equal, ``√(K / BL)``; where K exceeds ``desired`` the largest x has a pulse in
every slot, and so have all d above ``desired / K`` of the largest, which are clipped.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neurosim_ep.scenario.schema import DeviceSection

PRODUCTS_AT_ONCE = 2**22


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


def coincidences(trains: Trains, section: DeviceSection, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pulses up and down that each cell sees, whole numbers (rows, columns), summed over the N outer products."""
    if section.pulse_trains == "deterministic":
        return _rounded(trains)
    return _drawn(trains, random)


def _drawn(trains: Trains, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Every slot of every train drawn by itself, so that cells of a row or column see the same pulses."""
    rows, columns = trains.rows, trains.columns
    any_sign = bool((rows < 0).any()) or bool((columns < 0).any())
    seen = rows.new_zeros(rows.shape[1], columns.shape[1])
    net = torch.zeros_like(seen) if any_sign else seen
    for slot in range(int(trains.slots.max()) if len(trains.slots) else 0):
        going = (trains.slots > slot).to(rows.dtype)[:, None]
        on_rows, on_columns = (_pulses(value, random) for value in (rows * going, columns))
        seen.addmm_(on_rows.abs().T, on_columns.abs())
        if any_sign:
            net.addmm_(on_rows.T, on_columns)
    return ((seen + net) / 2, (seen - net) / 2) if any_sign else (seen, torch.zeros_like(seen))


def _pulses(probability: Tensor, random: torch.Generator) -> Tensor:
    """A signed pulse, or none, for each signed probability."""
    drawn = torch.rand(probability.shape, generator=random, device=probability.device)
    return (drawn < probability.abs()).to(probability.dtype) * probability.sign()


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
