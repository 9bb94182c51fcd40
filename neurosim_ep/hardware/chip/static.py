"""Static power: what the chip draws while nothing happens, by where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from neurosim_ep.hardware.chip.area import multiply_add_m2, own_and_shared_m2
from neurosim_ep.hardware.chip.levels import Levels, instances
from neurosim_ep.hardware.chip.memory import BUFFERED, CELLS, MemoryItem
from neurosim_ep.hardware.chip.projections import Projection
from neurosim_ep.hardware.model.sections import HardwareModel
from neurosim_ep.tiles.mapping import TilePlan


class StaticPower(NamedTuple):
    """Power of one tile; float64 [layers + 1]: of what stands beside the tiles of each layer, and to refresh its
    dynamic memories [W].
    """

    tile_W: float
    beside_W: np.ndarray
    refresh_W: np.ndarray

    def chip_W(self, tiles: int) -> float:
        """Power of all with ``tiles`` tiles at work."""
        return tiles * self.tile_W + float(self.beside_W.sum() + self.refresh_W.sum())


def static_power(
    plan: TilePlan,
    model: HardwareModel,
    memory: Sequence[MemoryItem],
    projections: Sequence[Projection] = (),
    copies: np.ndarray | None = None,
) -> StaticPower:
    """Static power with ``memory`` on the chip and the multiply-add units of ``projections``; ``copies``: see
    :func:`~neurosim_ep.hardware.chip.area.area_items`.
    """
    density, array = model.leakage.density.value, model.array
    own, once = own_and_shared_m2(model)
    logic_m2 = sum(area for part, area in own.items() if part != "array")
    cells = array.rows.value * array.columns.value * array.slices.value
    tile_W = model.leakage.tile.value + density * logic_m2 + cells * model.cell.leakage.value
    beside, refresh = np.zeros(len(plan.layers) + 1), np.zeros(len(plan.layers) + 1)
    levels = Levels.of(len(plan.tiles), model)
    core_W = density * sum(once.values()) + (model.core.static_W(density) if model.core else 0.0)
    node_W = model.noc.router_leakage.value + (model.cluster.static_W(density) if model.cluster else 0.0)
    layer = [edge.ends[1] for edge in plan.geometries]
    for members, power_W in ((levels.per_core, core_W), (levels.per_core * levels.per_cluster, node_W)):
        np.add.at(beside, layer, instances(plan, members, copies) * power_W)
    for item in memory:
        if item.item != CELLS:
            memories = model.buffer if item.item in BUFFERED else model.registers
            beside[item.layer] += item.bits * memories.leakage.value
            refresh[item.layer] += item.bits * model.buffer.refresh.value * (item.item in BUFFERED)
    for projection in projections:
        beside[projection.layer] += density * multiply_add_m2(model)
    if model.port is not None:
        beside[0] += model.port.power.value
    return StaticPower(tile_W, beside, refresh)
