"""Static power times time, and what keeps dynamic memories."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from neurosim_ep.hardware.bill.action import Action
from neurosim_ep.hardware.bill.latency import latencies_s
from neurosim_ep.hardware.bill.reads import busy_s
from neurosim_ep.hardware.bill.settling import copies_in
from neurosim_ep.hardware.chip.components import Part
from neurosim_ep.hardware.chip.phases import UPDATE
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.terms import Term, counted, of_chip


def leakage_actions(recording: Recording, style: Style) -> Iterator[Action]:
    """Seconds of each phase at the static power of tiles, in which those of a tile that waits count by
    ``leakage.idle_share``, and of what stands beside them: memories, those with one sample on the chip, routers, what
    cores and clusters share, links to the outside.
    """
    chip = recording.chip
    copies = copies_in(chip, style)
    power = chip.static_power(copies)
    tiles, layers = np.ones(len(chip.plan.tiles)), np.ones(len(chip.neurons))
    for phase, latency_s in latencies_s(recording, style).items():
        seconds = _powered(recording, phase, style, latency_s)
        number = of_chip("tiles", tiles) if copies is None else of_chip("copies of a tile", copies)
        yield Action(phase, Part.LEAKAGE, number * seconds, power.tile, per_tile=True)
        beside = of_chip("layers", layers) * counted(TIME, latency_s, unit="s")
        yield Action(phase, Part.LEAKAGE, beside, power.beside, per_tile=False)
        dynamic = of_chip("layers with dynamic memories", layers * (power.refresh.value > 0))
        yield Action(phase, Part.REFRESH, dynamic * counted(TIME, latency_s, unit="s"), power.refresh, per_tile=False)


def _powered(recording: Recording, phase: str, style: Style, latency_s: float) -> Term:
    """Seconds at full static power that each tile spends in a phase, float64 [tiles] or one for all; in the update and
    in the settling style all are at work throughout.
    """
    model, time = recording.chip.model, counted(TIME, latency_s, unit="s")
    if model.leakage.idle_share.value == 1 or phase == UPDATE or style is Style.SETTLING:
        return time
    busy = counted(
        "seconds in which a tile is read", np.minimum(busy_s(recording, phase, style).sum(0), latency_s), unit="s"
    )
    return busy + model.term("leakage.idle_share") * (time - busy)


TIME = "seconds of the phase"
