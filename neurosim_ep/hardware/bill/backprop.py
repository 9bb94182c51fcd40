"""The honest comparison: the same network trained by backpropagation on the same tiles.

Per sample: one forward read of every connection at every position, one transposed read of every connection but the
first, one outer product per connection and position, and the states of all layers kept from the forward to the
backward pass. EP reads every array in up to T + 2K ticks and adds two outer products, but keeps nothing over time.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas as pd

from neurosim_ep.hardware.bill.action import following
from neurosim_ep.hardware.bill.cost import ENERGIES, bill
from neurosim_ep.hardware.bill.latency import latencies_s
from neurosim_ep.hardware.chip.backward import BACKWARD, FORWARD
from neurosim_ep.hardware.chip.components import Follows, Part
from neurosim_ep.hardware.chip.counts import ACCOUNTINGS, DIRECTIONS, READ_QUANTITIES, TileCounts
from neurosim_ep.hardware.chip.noc import Mesh
from neurosim_ep.hardware.chip.phases import READ_PHASES, UPDATE
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.chip.routes import first_nudge
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.quantities import BOUNDS
from neurosim_ep.tiles.mapping import TilePlan


def backprop_counts(counts: TileCounts, plan: TilePlan) -> TileCounts:
    """What tiles would do for the same samples: lines are driven as densely as EP's in its clocked free phase
    (forward) and first nudge phase (transposed), cells take the same programming pulses.
    """
    found = TileCounts.zeros(len(plan.tiles))
    layers, backward = len(plan.layers), first_nudge(counts) or FORWARD
    reuse = np.array([tile.reuse for tile in plan.tiles])
    clocked = ACCOUNTINGS.index("clocked")
    for phase, way, alike in ((FORWARD, "forward", FORWARD), (BACKWARD, "transposed", backward)):
        done = {quantity: counts.of(alike, "clocked", way, quantity) for quantity in READ_QUANTITIES}
        if phase == BACKWARD:  # errors have a sign, whatever states have
            passes = plan.passes[DIRECTIONS.index(way)]
            done["adc_conversions"] = done["adc_conversions"] // passes * plan.array.sign_passes
        reads = counts.samples * reuse * ((plan.layer_of_tile > 0) | (phase == FORWARD))
        share = reads / np.maximum(done["reads"], 1)
        found.traffic[READ_PHASES.index(phase), clocked, DIRECTIONS.index(way)] = [
            np.rint(done[quantity] * share) for quantity in READ_QUANTITIES
        ]
        shape = (layers, layers)  # one layer after the other
        found.presentations[phase] = counts.samples * np.eye(layers, dtype=np.int64)
        found.needed[phase] = found.presentations[phase].copy()
        found.events[phase], found.messages[phase] = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        found.sends[phase] = np.zeros((layers, len(plan.senders)), np.int64)
    found.update[:] = counts.update
    found.update[0] //= counts.terms
    found.terms = 1
    found.samples, found.batches = counts.samples, counts.batches
    return found


def for_backprop(recording: Recording) -> Recording:
    """The samples of ``recording`` trained by backpropagation, on the same tiles with the memories of that."""
    chip = recording.chip.for_backprop
    mesh = chip.serpentine
    if recording.mesh is not recording.chip.serpentine:
        mesh = Mesh(recording.mesh.placement, chip.routes.all)
    return Recording(chip, backprop_counts(recording.counts, chip.plan), chip.routes, mesh)


def backprop_bill(recording: Recording) -> pd.DataFrame:
    """Ledger of a recording :func:`for_backprop`, clocked."""
    return bill(recording, [Style.CLOCKED])


class Comparison(NamedTuple):
    """EP in one style against backpropagation, per training sample.

    ``energy_J``, of which ``ticking_J`` is proportional to the ``ticks`` of all phases and ``sending_J`` to the events;
    ``latency_s``; energy and time of backpropagation, clocked. ``low`` and ``high`` are the ends of the intervals;
    ``ratio_low``, ``ratio_high``: see :func:`ratio_ends`.
    """

    style: str
    energy_J: float
    energy_low_J: float
    energy_high_J: float
    ticking_J: float
    sending_J: float
    ticks: float
    latency_s: float
    latency_low_s: float
    latency_high_s: float
    backprop_J: float
    backprop_low_J: float
    backprop_high_J: float
    backprop_latency_s: float
    ratio_low: float
    ratio_high: float

    @property
    def ratio(self) -> float:
        """EP's energy over that of backpropagation."""
        return self.energy_J / self.backprop_J if self.backprop_J else math.nan

    @property
    def break_even_ticks(self) -> float | None:
        """Ticks at which both cost the same, everything else unchanged; None where no number of them does."""
        return _draw(self.backprop_J - self.energy_J, self.ticking_J, self.ticks)

    @property
    def break_even_events(self) -> float | None:
        """Events, as a share of those recorded, at which both cost the same; None where no number of them does."""
        return _draw(self.backprop_J - self.energy_J, self.sending_J, 1.0)


def compare(recording: Recording, bill: pd.DataFrame) -> list[Comparison]:
    """Who wins in each style, and what would make it a draw; ``bill`` is that of ``recording``."""
    samples, other = recording.counts.samples, for_backprop(recording)
    theirs = backprop_bill(other)
    backprop = (theirs[list(ENERGIES.values())].sum() / samples).tolist()
    backprop.append(sum(latencies_s(other, Style.CLOCKED).values()) / samples)
    ticks = sum(table.max(1).sum() for table in recording.counts.presentations.values()) / samples
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
        figures = [total, low, high, ticking, sending, ticks, *times, *backprop, *ratio_ends(lines, theirs)]
        found.append(Comparison(style.value, *figures))
    return found


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
