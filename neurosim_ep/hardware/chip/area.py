"""Silicon area, component by component."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from neurosim_ep.hardware.chip.memory import ACCUMULATORS, BUFFERED, CELLS, ep_memory
from neurosim_ep.hardware.chip.projections import Projection
from neurosim_ep.hardware.model.sections import HardwareModel
from neurosim_ep.tiles.mapping import TilePlan


class AreaItem(NamedTuple):
    """``units`` of a component of what drives a layer (readout: layer N) and their area."""

    layer: int
    name: str
    component: str
    units: int
    area_m2: float


def tile_area_m2(model: HardwareModel) -> dict[str, float]:
    """Area of one tile by component, whole arrays as made, whatever of them is used.

    - array: ``rows x columns x slices`` cells;
    - driver: one per row and column of every array, as both read directions drive; sample_hold: one per line of the
      longer side, or of both sides where the periphery is duplicated; adc and add: ``per_tile``, or twice that;
    - neuron: ``neuron_units`` with a comparator for pooling each; multiply_add: ``multiply_add_units`` of the update
      accumulator, where there is one; router: one.
    """
    array, digital = model.array, model.digital
    rows, columns, slices = array.rows.value, array.columns.value, array.slices.value
    duplicated = array.periphery == "duplicated"
    converters = model.adc.per_tile.value * (2 if duplicated else 1)
    lines = (rows + columns) * slices if array.slice_reads == "arrays" else rows + columns * slices
    sensed = (rows + columns) if duplicated else max(rows, columns)
    return {
        "array": rows * columns * slices * model.cell.area.value,
        "driver": lines * model.dac.area.value,
        "sample_hold": sensed * slices * model.sample_hold.area.value,
        "adc": converters * model.adc_cost().area_m2,
        "add": converters * digital.add_area.value,
        "neuron": digital.neuron_units.value * (digital.neuron_area.value + digital.compare_area.value),
        "multiply_add": 0.0 if model.write.parallel else multiply_add_m2(model),
        "router": model.noc.router_area.value,
    }


def multiply_add_m2(model: HardwareModel) -> float:
    """Area of the multiply-add units of one accumulator, readout or signal."""
    return model.digital.multiply_add_units.value * model.digital.multiply_add_area.value


def area_table(
    plan: TilePlan,
    model: HardwareModel,
    *,
    signals: Sequence[Projection] = (),
    readout: Projection | None = None,
    copies: np.ndarray | None = None,
) -> pd.DataFrame:
    """Area of the chip, one row per :class:`AreaItem`: tiles, multiply-add units of every readout and signal, and the
    memories that EP needs for one sample, small ones as registers, large ones as buffers (accumulators: one per tile).

    ``copies`` (int64 [tiles]): how often each tile is there, as in the settling style; default once.
    """
    copies = np.ones(len(plan.tiles), np.int64) if copies is None else copies
    names = [*(layer.name for layer in plan.layers), "readout"]
    items = []
    for number, edge in enumerate(plan.geometries):
        tiles = int(copies[plan.tile_range(number)].sum())
        items += [
            AreaItem(edge.ends[1], edge.name, part, tiles, tiles * area) for part, area in tile_area_m2(model).items()
        ]
    units = [signal.layer for signal in signals] + ([len(plan.layers)] if readout is not None else [])
    count = model.digital.multiply_add_units.value
    items += [AreaItem(layer, names[layer], "multiply_add", count, multiply_add_m2(model)) for layer in units]
    accumulators = (math.prod(plan.grid(number)) for number in range(len(plan.geometries)))
    for item in ep_memory(plan, model, signals=signals, readout=readout):
        if item.item in BUFFERED:
            pieces = next(accumulators) if item.item == ACCUMULATORS else 1
            area_m2 = pieces * model.buffer_area_m2(item.bits / pieces)
            items.append(AreaItem(item.layer, item.name, "buffer", pieces, area_m2))
        elif item.item != CELLS:
            items.append(AreaItem(item.layer, item.name, "register", item.bits, item.bits * model.registers.area.value))
    return pd.DataFrame(items)
