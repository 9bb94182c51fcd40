"""What reading the tiles costs, and how long it takes, in the clocked and the event style, where every result is
converted.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from neurosim_ep.hardware.bill.action import Action
from neurosim_ep.hardware.chip.components import Part
from neurosim_ep.hardware.chip.counts import DIRECTIONS
from neurosim_ep.hardware.chip.inputs import fetched_bits
from neurosim_ep.hardware.chip.recording import Chip, Recording
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.terms import Term, counted, of_chip


def read_actions(recording: Recording, phase: str, style: Style) -> Iterator[Action]:
    """Cells, lines, drivers, sample-and-holds, converters, adders and the registers of lines and drives of a read
    phase, tile by tile.

    Slices in arrays of their own have drivers of their own. Those that lie side by side share them in a forward read,
    and are driven once each in a transposed one, as a line has one significance at a time. Where values of either sign
    take two passes, each line is driven in one of them, and all results are converted in both and subtracted.
    """
    counts, plan, model = recording.counts, recording.chip.plan, recording.chip.model
    rows, columns, row_pulses, column_pulses = (
        counted(f"{name} {sides}", counts.of(phase, style.accounting, way, quantity))
        for name, quantity in (("active", "active_lines"), ("pulses on", "dac_conversions"))
        for sides, way in zip(("rows", "columns"), DIRECTIONS, strict=True)
    )
    array, term = model.array, model.term
    slices = term("array.slices")
    act = partial(Action, phase, per_tile=True)
    met = rows * of_chip("columns of a tile", plan.columns) + columns * of_chip("rows of a tile", plan.rows)
    crossings = met * slices * term("array.input_pulses")
    yield act(Part.CELL_READ, crossings, model.cell_read_energy())
    yield act(Part.LINE, crossings, model.line_energy())
    driven = row_pulses * slices if array.slice_reads == "arrays" else row_pulses
    yield act(Part.DAC, driven + column_pulses * slices, model.driver_energy())
    conversions = converted(recording, phase, style) * model.conversions_per_result()
    yield act(Part.SAMPLE_HOLD, conversions, term("sample_hold.sample_energy"))
    yield act(Part.ADC, conversions, model.conversion_energy())
    yield act(Part.ADD, conversions, term("digital.add_energy"))
    register, fetched = term("registers.access_energy"), fetched_bits(recording, phase, style)
    yield act(Part.LINE_REGISTER, fetched * 2, register)
    sums = _results(recording, phase, style, "lines", plan.sensed)
    yield act(Part.DRIVE_REGISTER, sums * 2 * term("digital.partial_bits"), register)


def line_groups(chip: Chip) -> np.ndarray:
    """Groups of lines that a read drives one after the other, int64 [direction, tiles]; see ``array.rows_per_read``."""
    lines, at_once = np.stack([chip.plan.rows, chip.plan.columns]), chip.model.array.rows_per_read
    return np.ones_like(lines) if at_once is None else -(-lines // at_once.value)


def driven_groups(recording: Recording, phase: str, style: Style) -> np.ndarray:
    """Groups of lines driven in all reads of a phase, int64 [direction, tiles]: all of every read, or in event style as
    many as there are active lines at most.
    """
    counts, groups = recording.counts, line_groups(recording.chip)
    reads, lines = (
        np.stack([counts.of(phase, style.accounting, way, quantity) for way in DIRECTIONS])
        for quantity in ("reads", "active_lines")
    )
    return np.minimum(reads * groups, np.maximum(lines, reads)) if style is Style.EVENT else reads * groups


def converted(recording: Recording, phase: str, style: Style) -> Term:
    """Results converted in a phase by each tile, all slices and passes, int64 [tiles]."""
    chip = recording.chip
    per_group = chip.plan.sensed * chip.plan.sensed_slices * chip.passes
    return _results(recording, phase, style, "results", per_group)


def _results(recording: Recording, phase: str, style: Style, what: str, per_group: np.ndarray) -> Term:
    """All of ``what`` each driven group of lines gives, ``per_group`` [direction, tiles] of them, int64 [tiles]."""
    whole = recording.chip.model.array.rows_per_read is None
    forward, transposed = (
        counted(f"{way} reads" if whole else f"groups of lines driven in {way} reads", groups)
        * of_chip(f"{what} of a {way} read" if whole else f"{what} of a group in a {way} read", each)
        for way, groups, each in zip(DIRECTIONS, driven_groups(recording, phase, style), per_group, strict=True)
    )
    return forward + transposed


def read_time_s(chip: Chip, direction: str) -> np.ndarray:
    """Time of one pass of a read of each tile, float64 [tiles].

    ``pulses t_read + n t_conversion``, ``n = ⌈results / ADCs⌉``: all lines are driven at once, the ADCs of a tile share
    its sensed lines (columns in a forward read, rows in a transposed one). Converted after each pulse: ``pulses
    max(t_read, n t_conversion)``, as one pulse is converted while the next is driven. Slices that lie side by side are
    driven one after the other in a transposed read, and so are groups of lines that may not be active at once.
    """
    plan, model, way = chip.plan, chip.model, DIRECTIONS.index(direction)
    pulses, pulse_s = model.array.input_pulses.value, model.cell.read_time.value
    passes = model.array.slices.value if direction == "transposed" and model.array.slice_reads == "passes" else 1
    results = plan.sensed[way] * plan.sensed_slices[way] / passes
    converted_s = np.ceil(results / model.converters_per_tile()) * model.adc.time_s
    turns = passes * line_groups(chip)[way]
    if model.array.conversions == "per_pulse":
        return turns * pulses * np.maximum(pulse_s, converted_s)
    return turns * (pulses * pulse_s + converted_s)


def busy_s(recording: Recording, phase: str, style: Style) -> np.ndarray:
    """Time that each tile is read in a phase, by the groups of lines that are driven, float64 [direction, tiles]."""
    chip = recording.chip
    group_s = np.stack([read_time_s(chip, way) for way in DIRECTIONS]) / line_groups(chip)
    return driven_groups(recording, phase, style) * chip.passes * group_s
