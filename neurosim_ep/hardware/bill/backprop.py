"""The honest comparison: the same network trained by backpropagation on the same tiles.

Per sample: one forward read of every connection at every position, one transposed read of every connection but the
first, one outer product per connection and position, and the states of all layers kept from the forward to the
backward pass. EP reads every array in up to T + 2K ticks and adds two outer products, but keeps nothing over time.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from neurosim_ep.hardware.bill.cost import bill
from neurosim_ep.hardware.chip.backward import BACKWARD, FORWARD
from neurosim_ep.hardware.chip.counts import ACCOUNTINGS, DIRECTIONS, READ_QUANTITIES, TileCounts
from neurosim_ep.hardware.chip.noc import Mesh
from neurosim_ep.hardware.chip.phases import READ_PHASES
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.chip.routes import first_nudge
from neurosim_ep.hardware.chip.styles import Style
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
    """Bill of a recording :func:`for_backprop`, clocked."""
    return bill(recording, [Style.CLOCKED])
