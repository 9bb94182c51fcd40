"""How long the phases of the recorded batches take on the chip, one sample after the other."""

from __future__ import annotations

import numpy as np

from neurosim_ep.hardware.counts import DIRECTIONS, READ_PHASES, TileCounts
from neurosim_ep.hardware.model import HardwareModel
from neurosim_ep.tiles.mapping import TilePlan


def read_time_s(plan: TilePlan, model: HardwareModel, direction: str) -> np.ndarray:
    """Time of one read of each tile, float64 [tiles].

    ``pulses t_read + ⌈sensed lines x slices / ADCs⌉ t_conversion``: all lines are driven at once, the ADCs
    of a tile share its sensed lines (columns in a forward read, rows in a transposed one).
    """
    sensed = plan.columns if direction == "forward" else plan.rows
    conversions = np.ceil(sensed * model.array.slices.value / model.adc.per_tile.value)
    drive_s = model.array.input_pulses.value * model.cell.read_time.value
    return drive_s + conversions * model.adc.conversion_time.value


def phase_latency_s(counts: TileCounts, plan: TilePlan, model: HardwareModel, accounting: str) -> dict[str, float]:
    """Seconds of each read phase, and of "update", summed over the recorded samples.

    A phase lasts as long as the reads of its slowest tile: tiles work at the same time, positions and
    directions of one tile in turn. Digital work hides behind the reads. Programming takes one pulse at a
    time in each tile. In event accounting this is a lower bound: the slowest tile may change between ticks.
    """
    latencies = {}
    for phase in READ_PHASES:
        busy_s = sum(
            counts.of(phase, accounting, direction, "reads") * read_time_s(plan, model, direction)
            for direction in DIRECTIONS
        )
        latencies[phase] = float(np.max(busy_s))
    pulses = counts.updates("pulses_up") + counts.updates("pulses_down")
    latencies["update"] = float(pulses.max() * model.cell.write_time.value)
    return latencies
