"""A small chip for tests of the cost model: connections of every kind, and counts related as real ones are."""

from __future__ import annotations

import numpy as np
from synthetic_run import sends_of

from neurosim_ep.ep.network import Network
from neurosim_ep.hardware.chip.counts import TileCounts
from neurosim_ep.hardware.chip.projections import Projection
from neurosim_ep.telemetry.counters import TileCounter
from neurosim_ep.tiles.mapping import ArrayGeometry, ConnectionGeometry, TilePlan, plan_tiles

CONV = ConnectionGeometry("conv1", "conv", (3, 8, 8), (70, 8, 8), (70, 4, 4), (3, 3), 1, "max")
AVG = ConnectionGeometry("conv2", "conv", (70, 4, 4), (20, 4, 4), (20, 2, 2), (3, 3), 1, "avg")
LINEAR = ConnectionGeometry("fc1", "linear", (20, 2, 2), (10,), (10,))
GEOMETRIES = [CONV, AVG, LINEAR]
READOUT = Projection(2, 10, 5, learned=True)
SIGNALS = [Projection(1, 80, 5)]
TICKS = {"free": 7, "nudge_plus": 3, "nudge_minus": 3}


def random_counts(plan: TilePlan, samples: int = 4, seed: int = 1) -> TileCounts:
    """Arbitrary reads, lines, updates and events of a batch in which every layer works in every tick."""
    rng = np.random.default_rng(seed)
    counts = TileCounts.zeros(len(plan.tiles))
    reads, lines = rng.integers(1, 50, (2, *counts.traffic[:, :, :, 0].shape))
    sensed = np.stack([plan.columns, plan.rows])
    pulses = plan.array.input_pulses
    counts.traffic[:] = np.stack([reads, lines, reads * sensed * plan.array.slices, lines * pulses], axis=3)
    counts.update[:] = rng.integers(0, 100, counts.update.shape)
    layers = len(plan.layers)
    for phase, ticks in TICKS.items():
        counts.events[phase] = rng.integers(0, 100, (ticks, layers))
        counts.sends[phase] = sends_of(plan, counts.events[phase])
        fan = [len(sender.destinations) for sender in plan.senders]
        layer = [sender.layer for sender in plan.senders]
        counts.messages[phase] = np.zeros((ticks, layers), np.int64)
        np.add.at(counts.messages[phase].T, layer, (counts.sends[phase] * fan).T)
        counts.presentations[phase] = np.full((ticks, layers), samples)
        counts.needed[phase] = rng.integers(0, samples + 1, (ticks, layers))
    counts.samples, counts.batches = samples, 1
    return counts


def idle_counts(plan: TilePlan, samples: int = 4) -> TileCounts:
    """A batch in which time passes and nothing happens."""
    counts = random_counts(plan, samples)
    for table in (counts.traffic, counts.update, *counts.events.values(), *counts.messages.values()):
        table[:] = 0
    for table in (*counts.sends.values(), *counts.needed.values()):
        table[:] = 0
    return counts


def counter_of(network: Network) -> TileCounter:
    geometries = [ConnectionGeometry.from_connection(connection) for connection in network.connections]
    return TileCounter(plan_tiles(geometries, ArrayGeometry(rows=16, columns=8)), "cpu")
