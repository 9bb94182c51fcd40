"""EP beside backpropagation, style by style: what either takes, and between which ends their ratio lies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from neurosim_ep.hardware.bill.action import following
from neurosim_ep.hardware.bill.backprop import backprop_bill, for_backprop
from neurosim_ep.hardware.bill.cost import ENERGIES
from neurosim_ep.hardware.bill.latency import latencies_s
from neurosim_ep.hardware.bill.sensitivity import Sensitivity
from neurosim_ep.hardware.bill.settling import copies_in
from neurosim_ep.hardware.chip.components import Follows, Part
from neurosim_ep.hardware.chip.phases import UPDATE
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.quantities import BOUNDS


class Comparison(NamedTuple):
    """EP in one style against backpropagation, per training sample.

    ``energy_J``, of which ``ticking_J`` is proportional to the ``ticks`` of all phases and ``sending_J`` to the events;
    ``least_ticks``: those in which every phase updates every layer once; ``latency_s``; energy and time of
    backpropagation, clocked; ``area_m2`` of either chip. ``low`` and ``high`` are the ends of the intervals;
    ``ratio_low``, ``ratio_high``: the widest ends of the ratio, of :func:`ratio_ends` and of
    :class:`~neurosim_ep.hardware.bill.sensitivity.Sensitivity`, nan where they were not looked for.
    """

    style: str
    energy_J: float
    energy_low_J: float
    energy_high_J: float
    ticking_J: float
    sending_J: float
    ticks: float
    least_ticks: int
    latency_s: float
    latency_low_s: float
    latency_high_s: float
    backprop_J: float
    backprop_low_J: float
    backprop_high_J: float
    backprop_latency_s: float
    area_m2: float
    backprop_area_m2: float
    ratio_low: float
    ratio_high: float

    @property
    def ratio(self) -> float:
        """EP's energy over that of backpropagation."""
        return self.energy_J / self.backprop_J if self.backprop_J else math.nan

    @property
    def break_even_ticks(self) -> float | None:
        """Ticks at which both cost the same, everything else unchanged; None where no number of them does in which
        every phase updates every layer.
        """
        found = _draw(self.backprop_J - self.energy_J, self.ticking_J, self.ticks)
        return None if found is None or found < self.least_ticks else found

    @property
    def break_even_events(self) -> float | None:
        """Events, as a share of those recorded, at which both cost the same; None where no number of them does."""
        return _draw(self.backprop_J - self.energy_J, self.sending_J, 1.0)


def compare(
    recording: Recording, bill: pd.DataFrame, moved: Mapping[Style, Sensitivity] | None = None
) -> list[Comparison]:
    """Who wins in each style, and what would make it a draw; ``bill`` is that of ``recording``, ``moved`` its
    :func:`~neurosim_ep.hardware.bill.sensitivity.sensitivities`. As they take several times as long as the rest, they
    can be left out: then the ends of the ratio are left open.
    """
    samples, other = recording.counts.samples, for_backprop(recording)
    theirs = backprop_bill(other)
    backprop = (theirs[list(ENERGIES.values())].sum() / samples).tolist()
    backprop.append(sum(latencies_s(other, Style.CLOCKED).values()) / samples)
    phases = recording.counts.presentations.values()
    ticks, least = sum(table.max(1).sum() for table in phases) / samples, sum(map(_all_updated, phases))
    by_events, by_image, by_samples = (following(what) for what in (Follows.EVENTS, Follows.IMAGE, Follows.SAMPLES))
    found = []
    for style in Style:
        lines = bill[bill["style"] == style]
        static = (lines["layer"] == 0) & lines["component"].isin(by_image) & ~_sums(lines)  # the image is read once
        once = lines["component"].isin(by_samples) | static
        per_tick = ~once & (lines["phase"] != UPDATE) & (style is not Style.SETTLING)
        per_event = per_tick & lines["component"].isin(by_events) & ~_sums(lines) & (style is Style.EVENT)
        ticking, sending = (float(lines[mask]["energy_J"].sum()) / samples for mask in (per_tick, per_event))
        total, low, high = (lines[list(ENERGIES.values())].sum() / samples).tolist()
        times = [sum(latencies_s(recording.at(bound), style).values()) / samples for bound in BOUNDS]
        times[1:] = min(times), max(times)
        areas = [recording.chip.area_m2(copies_in(recording.chip, style)), other.chip.area_m2()]
        ends = _widest(lines, theirs, moved[style]) if moved else (math.nan, math.nan)
        figures = [total, low, high, ticking, sending, ticks, least, *times, *backprop, *areas, *ends]
        found.append(Comparison(style.value, *figures))
    return found


def _all_updated(updates: np.ndarray) -> int:
    """Ticks until every layer was updated once, of a table [tick, layer]: one; two where layers alternate; as many as
    there are layers where a tick of a sweep updates one; all of a phase that ends before.
    """
    reached = (updates.cumsum(0) > 0).all(1)
    return int(reached.argmax()) + 1 if reached.any() else len(updates)


def _widest(lines: pd.DataFrame, theirs: pd.DataFrame, moved: Sensitivity) -> tuple[float, float]:
    """The ends of the ratio of two bills, whichever of the two kinds of intervals lead further."""
    low, high = ratio_ends(lines, theirs)
    return min(low, moved.ratio_low), max(high, moved.ratio_high)


def ratio_ends(lines: pd.DataFrame, theirs: pd.DataFrame) -> tuple[float, float]:
    """Least and largest ratio of the energies of two bills when every component lies anywhere in its interval, in both
    at the same end: what is uncertain of a converter is so for either.

    The ends of ``Σ a / Σ b`` are found by Dinkelbach's iteration: with a ratio r, every component takes the end at
    which ``a − r b`` is least, or largest, until r stays.
    """
    columns = list(ENERGIES.values())
    parts = [table.groupby("component")[columns].sum() for table in (lines, theirs)]
    names = parts[0].index.union(parts[1].index)
    ours, its = (part.reindex(names, fill_value=0.0).to_numpy() for part in parts)
    if not its[:, 0].any():
        return math.nan, math.nan
    every, ends = np.arange(len(names)), []
    for sign in (1, -1):
        ratio = float(ours[:, 0].sum() / its[:, 0].sum())
        for _ in range(MOST_STEPS):
            pick = (sign * (ours - ratio * its)).argmin(1)
            last, ratio = ratio, float(ours[every, pick].sum() / its[every, pick].sum())
            if ratio == last:
                break
        ends.append(ratio)
    return ends[0], ends[1]


MOST_STEPS = 50
"""Of the iteration, which takes a few."""


def _sums(lines: pd.DataFrame) -> pd.Series:
    """Which lines are additions of several drives of a neuron, not those of the tiles."""
    return (lines["component"] == Part.ADD) & (lines["tile"] < 0)


def _draw(missing_J: float, part_J: float, now: float) -> float | None:
    """What ``now`` would have to be for the total to change by ``missing_J``, when ``part_J`` is proportional to it."""
    wanted = part_J + missing_J
    return now * wanted / part_J if part_J > 0 and wanted > 0 else None
