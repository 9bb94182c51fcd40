"""Static power: what the chip draws while nothing happens, by where it stands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from neurosim_ep.hardware.chip.area import multiply_add_area, own_and_shared
from neurosim_ep.hardware.chip.levels import instances
from neurosim_ep.hardware.chip.memory import BUFFERED, CELLS, MemoryItem
from neurosim_ep.hardware.model.terms import Term, of_chip, total

if TYPE_CHECKING:
    from neurosim_ep.hardware.chip.recording import Chip


class StaticPower(NamedTuple):
    """Power of one tile; of what stands beside the tiles of each layer, and to refresh its dynamic memories, one per
    layer and the readout [W].
    """

    tile: Term
    beside: Term
    refresh: Term

    @property
    def tile_W(self) -> float:
        """Power of one tile."""
        return float(self.tile.value)

    def chip_W(self, tiles: int) -> float:
        """Power of all with ``tiles`` tiles at work."""
        return tiles * self.tile_W + float(np.sum(self.beside.value) + np.sum(self.refresh.value))


def static_power(chip: Chip, memory: Sequence[MemoryItem], copies: np.ndarray | None = None) -> StaticPower:
    """Static power with ``memory`` on the chip; ``copies``: see :func:`~neurosim_ep.hardware.chip.area.area_items`."""
    model, term, width = chip.model, chip.model.term, len(chip.neurons)
    density = term("leakage.density")
    own, once = own_and_shared(model)
    logic = total(area for part, area in own.items() if part != "array").named("area beside the cells", "m^2")
    cells = term("array.rows") * term("array.columns") * term("array.slices")
    tile = total([term("leakage.tile"), density * logic, cells * term("cell.leakage")])
    bits = {kept: np.zeros(width) for kept in ("buffer", "registers")}
    for item in memory:
        if item.item != CELLS:
            bits["buffer" if item.item in BUFFERED else "registers"][item.layer] += item.bits
    buffered = of_chip("bits in buffers", bits["buffer"])
    parts = [
        *_of_levels(chip, once.values(), copies),
        of_chip("bits in registers", bits["registers"]) * term("registers.leakage"),
        buffered * term("buffer.leakage"),
    ]
    if chip.projecting_layers:
        units = np.bincount(chip.projecting_layers, minlength=width)
        parts.append(of_chip("readouts and signals", units) * density * multiply_add_area(model))
    if model.port is not None:
        parts.append(of_chip("links to the outside", np.eye(1, width)[0]) * term("port.power"))
    return StaticPower(tile, total(parts), buffered * term("buffer.refresh"))


def _of_levels(chip: Chip, once: Iterable[Term], copies: np.ndarray | None) -> Iterable[Term]:
    """Static power of cores, with what they share, and of clusters with their routers, by layer [W]."""
    model, levels = chip.model, chip.levels
    shared = total(once).named("shared area of a core", "m^2")
    core = total([model.term("leakage.density") * shared, model.static_power_of("core")])
    node = total([model.term("noc.router_leakage"), model.static_power_of("cluster")])
    layer = [edge.ends[1] for edge in chip.plan.geometries]
    for name, members, power in (
        ("cores", levels.per_core, core),
        ("routers", levels.per_core * levels.per_cluster, node),
    ):
        number = np.zeros_like(chip.neurons)
        np.add.at(number, layer, instances(chip.plan, members, copies))
        if np.any(power.value):
            yield of_chip(name, number) * power
