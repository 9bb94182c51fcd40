"""What reading the tiles costs, and how long it takes, in the clocked and the event style, where every result is
converted.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from neurosim_ep.hardware.bill.action import Action
from neurosim_ep.hardware.chip.components import Component, Part
from neurosim_ep.hardware.chip.counts import DIRECTIONS
from neurosim_ep.hardware.chip.recording import Chip, Recording
from neurosim_ep.hardware.chip.styles import Style


def read_actions(recording: Recording, phase: str, style: Style) -> Iterator[Action]:
    """Cells, drivers, sample-and-holds, converters and adders of a read phase, tile by tile.

    Slices in arrays of their own have drivers of their own. Those that lie side by side share them in a forward read,
    and are driven once each in a transposed one, as a line has one significance at a time. Where values of either sign
    take two passes, each line is driven in one of them, and all results are converted in both and subtracted.
    """
    counts, plan, model = recording.counts, recording.chip.plan, recording.chip.model
    forward, transposed = (
        {quantity: counts.of(phase, style.accounting, way, quantity) for quantity in QUANTITIES} for way in DIRECTIONS
    )
    slices = model.array.slices.value
    cells = forward["active_lines"] * plan.columns + transposed["active_lines"] * plan.rows
    results = forward["adc_conversions"] + transposed["adc_conversions"]
    conversions = results * model.conversions_per_result()

    def act(component: Component, per_tile: np.ndarray, unit_energy_J: float) -> Action:
        return Action(phase, component, per_tile, unit_energy_J, per_tile=True)

    yield act(Part.CELL_READ, cells * slices * model.array.input_pulses.value, model.cell_read_energy_J())
    drives = slices if model.array.slice_reads == "arrays" else 1
    driven = drives * forward["dac_conversions"] + slices * transposed["dac_conversions"]
    yield act(Part.DAC, driven, model.dac.pulse_energy.value)
    yield act(Part.SAMPLE_HOLD, conversions, model.sample_hold.sample_energy.value)
    yield act(Part.ADC, conversions, model.adc_cost().energy_J)
    yield act(Part.ADD, conversions, model.digital.add_energy.value)


QUANTITIES = ("active_lines", "adc_conversions", "dac_conversions")


def read_time_s(chip: Chip, direction: str) -> np.ndarray:
    """Time of one pass of a read of each tile, float64 [tiles].

    ``pulses t_read + n t_conversion``, ``n = ⌈sensed lines x slices / ADCs⌉``: all lines are driven at once, the ADCs
    of a tile share its sensed lines (columns in a forward read, rows in a transposed one). Converted after each pulse:
    ``pulses max(t_read, n t_conversion)``, as one pulse is converted while the next is driven. Slices that lie side by
    side are driven one after the other in a transposed read.
    """
    plan, model = chip.plan, chip.model
    sensed = plan.sensed[DIRECTIONS.index(direction)]
    slices, pulses, pulse_s = model.array.slices.value, model.array.input_pulses.value, model.cell.read_time.value
    passes = slices if direction == "transposed" and model.array.slice_reads == "passes" else 1
    converted_s = np.ceil(sensed * slices / passes / model.adc.per_tile.value) * model.adc.time_s
    if model.array.conversions == "per_pulse":
        return passes * pulses * np.maximum(pulse_s, converted_s)
    return passes * (pulses * pulse_s + converted_s)
