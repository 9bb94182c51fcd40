"""What a tile holds of states and sums: input buffer and registers, and how often lines take states from there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neurosim_ep.hardware.chip.counts import DIRECTIONS
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.sections import HardwareModel
from neurosim_ep.hardware.model.terms import Term, counted, of_chip
from neurosim_ep.tiles.mapping import Tile, TilePlan

if TYPE_CHECKING:
    from neurosim_ep.hardware.chip.recording import Chip, Recording


def input_buffer_bits(chip: Chip) -> np.ndarray:
    """Size of the input buffer that each tile reads from, int64 [tiles]: its own, or the one of its core.

    A tile holds, of the channels in its rows, as many rows of the map as its taps span (of a linear connection all its
    inputs), and for transposed reads the states of its columns at one position. A shared buffer holds what several
    tiles take from the same rows or columns once, or is as large as the model says.
    """
    plan, model, levels = chip.plan, chip.model, chip.levels
    bits = model.digital.state_bits.value
    forward = np.array([_held_inputs(plan, tile) for tile in plan.tiles], dtype=np.int64) * bits
    transposed = plan.outputs * (plan.layer_of_tile > 0) * bits
    if not model.shared("inputs"):
        return np.maximum(forward + transposed, 1)
    assert model.core is not None
    if model.core.buffer_bits is not None:
        return np.full(len(plan.tiles), model.core.buffer_bits.value, np.int64)
    sizes = np.zeros(levels.cores, np.int64)
    for held, block in ((forward, "row_block"), (transposed, "col_block")):
        places = np.array([(levels.core_of[t.index], t.connection, getattr(t, block)) for t in plan.tiles])
        _, first = np.unique(places, axis=0, return_index=True)
        np.add.at(sizes, levels.core_of[first], held[first])
    return np.maximum(sizes, 1)[levels.core_of]


def line_register_bits(model: HardwareModel) -> int:
    """Registers beside the driven lines of an array as made: a state for every row, and for every weight of a row."""
    return (model.array.rows.value + _weights(model)) * model.digital.state_bits.value


def result_register_bits(model: HardwareModel) -> int:
    """Registers beside the sensed lines of an array as made: a sum for every weight of a row or for every row, as it is
    read one way at a time; a duplicated periphery has both.
    """
    join = sum if model.array.periphery == "duplicated" else max
    return join((model.array.rows.value, _weights(model))) * model.digital.partial_bits.value


def _weights(model: HardwareModel) -> int:
    return model.array.columns.value // model.array.cells_per_weight.value


def _held_inputs(plan: TilePlan, tile: Tile) -> int:
    geometry = plan.geometries[tile.connection]
    if geometry.kind != "conv":
        return tile.rows
    channels, width = geometry.in_shape[0], geometry.in_shape[2]
    taps = -(-tile.rows // channels)
    return min(channels, tile.rows) * min(geometry.kernel[0], -(-taps // geometry.kernel[1])) * width


def fetched_bits(recording: Recording, phase: str, style: Style) -> Term:
    """Bits that the lines of each tile take from its input buffer in a phase, float64 [tiles]: at every read the states
    of all its rows, or channels, in event style those that have changed. The cells of a weight are driven by one state.
    """
    plan, term = recording.chip.plan, recording.chip.model.term
    quantity = "active_lines" if style is Style.EVENT else "reads"
    forward, transposed = (recording.counts.of(phase, style.accounting, way, quantity) for way in DIRECTIONS)
    if style is Style.EVENT:
        columns = counted("active columns", transposed) / term("array.cells_per_weight")
        states = counted("active rows", forward) + columns
    else:
        channels = counted("transposed reads", transposed) * of_chip("channels of a tile", plan.outputs)
        states = counted("forward reads", forward) * of_chip("rows of a tile", plan.rows) + channels
    return states * term("digital.state_bits")
