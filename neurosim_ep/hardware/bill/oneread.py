"""One read of one whole array: the figure in which macros are published, from the same counts and prices as a bill."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neurosim_ep.hardware.bill.reads import read_actions, read_time_s
from neurosim_ep.hardware.chip.counts import ACCOUNTINGS, DIRECTIONS, TileCounts
from neurosim_ep.hardware.chip.phases import READ_PHASES
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.sections import HardwareModel
from neurosim_ep.tiles.mapping import ConnectionGeometry, TilePlan, plan_tiles

PHASE = READ_PHASES[0]


class OneRead(NamedTuple):
    """A forward read of a full array: ``multiply_adds``, energy by component of the bill, and time."""

    multiply_adds: int
    energy_J: dict[str, float]
    time_s: float

    @property
    def total_J(self) -> float:
        """Energy of all components."""
        return sum(self.energy_J.values())

    @property
    def operations_per_J(self) -> float:
        """Multiplications and additions per joule, two per multiply-add; 1e12 of them are 1 TOPS/W."""
        return 2 * self.multiply_adds / self.total_J

    @property
    def operations_per_s(self) -> float:
        """Multiplications and additions per second of one array, two per multiply-add."""
        return 2 * self.multiply_adds / self.time_s


def one_read(model: HardwareModel) -> OneRead:
    """What a forward read of one array of ``model`` costs when all its rows are driven and all its weights used."""
    recording = one_read_recording(model)
    actions = read_actions(recording, PHASE, Style.CLOCKED)
    energies = {action.component.value: float(action.energy_J.sum()) for action in actions}
    weights = recording.chip.plan.geometries[0].weights
    return OneRead(weights, energies, float(read_time_s(recording.chip, DIRECTIONS[0])[0]))


def one_read_recording(model: HardwareModel) -> Recording:
    """One sample that drives every row of a linear connection as large as an array of ``model``, once, forward."""
    array = model.array_geometry()
    outputs = array.columns // array.cells_per_weight
    plan = plan_tiles([ConnectionGeometry("array", "linear", (array.rows,), (outputs,), (outputs,))], array)
    return Recording.of(_one_read_counts(plan), plan, model)


def _one_read_counts(plan: TilePlan) -> TileCounts:
    counts = TileCounts.zeros(1)
    (tile,) = plan.tiles
    conversions, pulses = tile.columns * plan.array.slices, tile.rows * plan.array.input_pulses
    where = (READ_PHASES.index(PHASE), ACCOUNTINGS.index("clocked"), DIRECTIONS.index("forward"))
    counts.traffic[where] = np.array([1, tile.rows, conversions, pulses])[:, None]
    counts.presentations[PHASE] = counts.needed[PHASE] = np.ones((1, 1), np.int64)
    counts.events[PHASE] = counts.messages[PHASE] = np.zeros((1, 1), np.int64)
    counts.sends[PHASE] = np.zeros((1, len(plan.senders)), np.int64)
    counts.samples = counts.batches = 1
    return counts
