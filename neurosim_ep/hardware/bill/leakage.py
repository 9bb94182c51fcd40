"""Static power times time, and what keeps dynamic memories."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from neurosim_ep.hardware.bill.action import UPDATE, Action
from neurosim_ep.hardware.bill.latency import latencies_s
from neurosim_ep.hardware.bill.reads import busy_s
from neurosim_ep.hardware.bill.settling import tile_copies
from neurosim_ep.hardware.chip.components import Part
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.chip.styles import Style


def leakage_actions(recording: Recording, style: Style) -> Iterator[Action]:
    """Seconds of each phase at the static power of tiles, in which those of a tile that waits count by
    ``leakage.idle_share``, and of what stands beside them: memories, those with one sample on the chip, routers, what
    cores and clusters share, links to the outside.
    """
    chip = recording.chip
    copies = tile_copies(chip) if style is Style.SETTLING else None
    power = chip.static_power(copies)
    for phase, latency_s in latencies_s(recording, style).items():
        seconds = _powered_s(recording, phase, style, latency_s) * (1 if copies is None else copies)
        yield Action(phase, Part.LEAKAGE, seconds, power.tile_W, per_tile=True)
        beside = np.full(len(power.beside_W), latency_s)
        yield Action(phase, Part.LEAKAGE, beside, power.beside_W, per_tile=False)
        yield Action(phase, Part.REFRESH, latency_s * (power.refresh_W > 0), power.refresh_W, per_tile=False)


def _powered_s(recording: Recording, phase: str, style: Style, latency_s: float) -> np.ndarray:
    """Seconds at full static power that each tile spends in a phase, float64 [tiles]; in the update and in the settling
    style all are at work throughout.
    """
    tiles = len(recording.chip.plan.tiles)
    idle = recording.chip.model.leakage.idle_share.value
    if idle == 1 or phase == UPDATE or style is Style.SETTLING:
        return np.full(tiles, latency_s)
    busy = np.minimum(busy_s(recording, phase, style).sum(0), latency_s)
    return busy + idle * (latency_s - busy)
