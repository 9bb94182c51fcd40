"""Silicon area, component by component."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from neurosim_ep.hardware.chip.levels import instances
from neurosim_ep.hardware.chip.memory import ACCUMULATORS, BUFFERED, CELLS, INPUTS, MemoryItem
from neurosim_ep.hardware.model.sections import HardwareModel
from neurosim_ep.hardware.model.terms import Term, lift, of_chip

if TYPE_CHECKING:
    from neurosim_ep.hardware.chip.recording import Chip

SHARED_PARTS = {
    "driver": "drivers", "adc": "converters", "add": "converters", "neuron": "neurons", "multiply_add": "multiply_adds",
}  # fmt: skip
"""Parts of a tile that the tiles of a core may share, by the word for them in ``core.shares``."""


class AreaItem(NamedTuple):
    """``units`` of a component of what drives a layer (readout: layer N) and their area."""

    layer: int
    name: str
    component: str
    units: int
    area_m2: float


def tile_areas(model: HardwareModel) -> dict[str, Term]:
    """Area of one tile by component [m^2], whole arrays as made, whatever of them is used, memories and network apart.

    - array: ``rows x columns x slices`` cells;
    - driver: one per row and column of every array, as both read directions drive, slices lying in arrays of their own
      or side by side in one; sample_hold: one per line of the longer side, or of both where the periphery is
      duplicated; adc and add: those of a tile, or twice that;
    - neuron: ``neuron_units`` with a comparator for pooling each; multiply_add: ``multiply_add_units`` of the update
      accumulator, where there is one.
    """
    array, term = model.array, model.term
    rows, columns, slices = term("array.rows"), term("array.columns"), term("array.slices")
    duplicated = array.periphery == "duplicated"
    converters = of_chip("converters of a tile", model.converters_per_tile() * (2 if duplicated else 1))
    across, arrays = (columns, slices) if array.slice_reads == "arrays" else (columns * slices, 1)
    lines = (rows + across) * arrays
    sensed = lines if duplicated else (rows if np.all(rows.value >= across.value) else across) * arrays
    found = {
        "array": rows * columns * slices * term("cell.area"),
        "driver": lines * term("dac.area") * model.widening(),
        "sample_hold": sensed * term("sample_hold.area"),
        "adc": converters * model.converter_area(),
        "add": converters * term("digital.add_area"),
        "neuron": term("digital.neuron_units") * (term("digital.neuron_area") + term("digital.compare_area")),
        "multiply_add": lift(0.0) if model.write.parallel else multiply_add_area(model),
    }
    return {part: area.named(f"{part} area", "m^2") for part, area in found.items()}


def own_and_shared(model: HardwareModel) -> tuple[dict[str, Term], dict[str, Term]]:
    """The parts of :func:`tile_areas` that every tile has, and those that a core has once."""
    own: dict[str, Term] = {}
    once: dict[str, Term] = {}
    for part, area in tile_areas(model).items():
        (once if model.shared(SHARED_PARTS.get(part, "")) else own)[part] = area
    return own, once


def multiply_add_area(model: HardwareModel) -> Term:
    """Area of the multiply-add units of one accumulator, readout or signal [m^2]."""
    return model.term("digital.multiply_add_units") * model.term("digital.multiply_add_area")


def area_table(chip: Chip, copies: np.ndarray | None = None) -> pd.DataFrame:
    """Area of the chip with its memory for one sample, one row per :class:`AreaItem` of :func:`area_items`."""
    return pd.DataFrame(area_items(chip, chip.memory, copies))


def area_items(chip: Chip, memory: Sequence[MemoryItem], copies: np.ndarray | None = None) -> list[AreaItem]:
    """Tiles, what cores and clusters have, multiply-add units of every readout and signal, ``memory``, small items as
    registers, large ones as buffers (accumulators and inputs: one per tile, or core), and the links to the outside.

    ``copies`` (int64 [tiles]): how often each tile is there, as in the settling style; default once.
    """
    model, names = chip.model, [*(layer.name for layer in chip.plan.layers), "readout"]
    count = model.digital.multiply_add_units.value
    items = [
        AreaItem(layer, names[layer], "multiply_add", count, float(multiply_add_area(model).value))
        for layer in chip.projecting_layers
    ]
    items += _level_items(chip, copies)
    items += _memory_items(chip, memory)
    if model.port is not None:
        items.append(AreaItem(0, names[0], "port", 1, model.port.area.value))
    return items


def _level_items(chip: Chip, copies: np.ndarray | None) -> list[AreaItem]:
    """Tiles, cores and clusters with their routers, where their first tile is."""
    plan, levels, model = chip.plan, chip.levels, chip.model
    own, once = ({part: float(area.value) for part, area in areas.items()} for areas in own_and_shared(model))
    if model.core is not None:
        once["core"] = model.core.area.value
    node = {"router": model.noc.router_area.value}
    if model.cluster is not None:
        node["cluster"] = model.cluster.area.value
    per_node = levels.per_core * levels.per_cluster
    return [
        AreaItem(edge.ends[1], edge.name, part, int(number), int(number) * area)
        for members, parts in ((1, own), (levels.per_core, once), (per_node, node))
        for edge, number in zip(plan.geometries, instances(plan, members, copies), strict=True)
        for part, area in parts.items()
    ]


def _memory_items(chip: Chip, memory: Sequence[MemoryItem]) -> list[AreaItem]:
    model, per_core = chip.model, chip.levels.per_core
    pieces = {
        item: iter(instances(chip.plan, per_core if model.shared(word) else 1))
        for item, word in ((ACCUMULATORS, "accumulators"), (INPUTS, "inputs"))
    }
    items = []
    for item in memory:
        if item.item in BUFFERED:
            number = max(int(next(pieces[item.item])), 1) if item.item in pieces else 1
            area_m2 = number * model.buffer_area_m2(item.bits / number)
            items.append(AreaItem(item.layer, item.name, "buffer", number, area_m2))
        elif item.item != CELLS:
            items.append(AreaItem(item.layer, item.name, "register", item.bits, item.bits * model.registers.area.value))
    return items
