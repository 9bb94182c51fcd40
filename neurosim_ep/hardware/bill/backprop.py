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

from neurosim_ep.hardware.bill.action import UPDATE, following
from neurosim_ep.hardware.bill.cost import ENERGIES, bill
from neurosim_ep.hardware.bill.latency import latencies_s
from neurosim_ep.hardware.chip.components import Follows, Part
from neurosim_ep.hardware.chip.counts import ACCOUNTINGS, DIRECTIONS, READ_PHASES, READ_QUANTITIES, TileCounts
from neurosim_ep.hardware.chip.noc import Mesh
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.chip.routes import first_nudge
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.quantities import BOUNDS, Bound
from neurosim_ep.tiles.mapping import TilePlan

FORWARD, BACKWARD = READ_PHASES[:2]
"""The two passes stand in the free and in the first nudge phase."""


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


def backprop_bill(recording: Recording) -> pd.DataFrame:
    """Ledger of backpropagation, clocked, with the lines of the states that it keeps from pass to pass, in a buffer per
    layer.
    """
    chip, counts = recording.chip, recording.counts
    bare = chip.without_signals
    alone = recording.mesh is chip.serpentine
    mesh = bare.serpentine if alone else Mesh(recording.mesh.placement, bare.routes.all)
    alike = Recording(bare, backprop_counts(counts, chip.plan), bare.routes, mesh)
    table = bill(alike, [Style.CLOCKED])
    both_ways = (table["component"] == Part.MESSAGE) | _sums(table)  # states in one pass, errors in the other
    table.loc[both_ways, ["count", *ENERGIES.values()]] /= 2
    bits = chip.neurons[:-1] * chip.model.digital.state_bits.value
    accesses = 2 * counts.samples * bits
    units: dict[Bound, np.ndarray] = {
        bound: np.array([chip.at(bound).model.buffer_energy_J_per_bit(float(size)) for size in bits])
        for bound in BOUNDS
    }
    stored = pd.DataFrame(
        {
            "tile": -1, "layer": np.arange(len(bits)), "name": [layer.name for layer in chip.plan.layers],
            "phase": BACKWARD, "component": Part.STORED_STATE.value, "style": Style.CLOCKED.value,
            "count": accesses.astype(np.float64), "unit_energy_J": units["value"],
            **{ENERGIES[bound]: accesses * units[bound] for bound in BOUNDS}, "samples": counts.samples,
        }
    )  # fmt: skip
    return pd.concat([table, stored], ignore_index=True)


class Comparison(NamedTuple):
    """EP in one style against backpropagation, per training sample.

    ``energy_J``, of which ``ticking_J`` is proportional to the ``ticks`` of all phases and ``sending_J`` to the events;
    ``latency_s``; and the energy of backpropagation, clocked. ``low`` and ``high`` are the ends of the intervals.
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


def compare(recording: Recording, ledger: pd.DataFrame) -> list[Comparison]:
    """Who wins in each style, and what would make it a draw; ``ledger`` is the bill of ``recording``."""
    samples = recording.counts.samples
    backprop = (backprop_bill(recording)[list(ENERGIES.values())].sum() / samples).tolist()
    ticks = sum(table.max(1).sum() for table in recording.counts.presentations.values()) / samples
    by_events, by_image, by_samples = (following(what) for what in (Follows.EVENTS, Follows.IMAGE, Follows.SAMPLES))
    found = []
    for style in Style:
        lines = ledger[ledger["style"] == style]
        static = (lines["layer"] == 0) & lines["component"].isin(by_image) & ~_sums(lines)  # the image is read once
        once = lines["component"].isin(by_samples) | static
        per_tick = ~once & (lines["phase"] != UPDATE) & (style is not Style.SETTLING)
        per_event = per_tick & lines["component"].isin(by_events) & ~_sums(lines) & (style is Style.EVENT)
        ticking, sending = (float(lines[mask]["energy_J"].sum()) / samples for mask in (per_tick, per_event))
        total, low, high = (lines[list(ENERGIES.values())].sum() / samples).tolist()
        times = [sum(latencies_s(recording.at(bound), style).values()) / samples for bound in BOUNDS]
        times[1:] = min(times), max(times)
        found.append(Comparison(style.value, total, low, high, ticking, sending, ticks, *times, *backprop))
    return found


def _sums(lines: pd.DataFrame) -> pd.Series:
    """Which lines are additions of several drives of a neuron, not those of the tiles."""
    return (lines["component"] == Part.ADD) & (lines["tile"] < 0)


def _draw(missing_J: float, part_J: float, now: float) -> float | None:
    """What ``now`` would have to be for the total to change by ``missing_J``, when ``part_J`` is proportional to it."""
    wanted = part_J + missing_J
    return now * wanted / part_J if part_J > 0 and wanted > 0 else None
