"""A chip: tiles, what stands beside them, and the hardware model that prices them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from neurosim_ep.hardware.area import tile_area_m2
from neurosim_ep.hardware.counts import READ_PHASES, TileCounts
from neurosim_ep.hardware.model import HardwareModel
from neurosim_ep.hardware.noc import Mesh
from neurosim_ep.hardware.placement import Placement, annealed, serpentine
from neurosim_ep.hardware.projections import Projection
from neurosim_ep.hardware.quantities import Bound
from neurosim_ep.hardware.routes import PORT, Routes
from neurosim_ep.hardware.styles import Style
from neurosim_ep.tiles.mapping import TilePlan


@dataclass(frozen=True)
class Chip:
    """Tiles of ``plan`` with the digital matrices of ``signals`` and ``readout`` beside them, priced by ``model``."""

    plan: TilePlan
    model: HardwareModel
    signals: tuple[Projection, ...] = ()
    readout: Projection | None = None

    @cached_property
    def neurons(self) -> np.ndarray:
        """Neurons of each layer, and 0 for the readout, int64 [layers + 1]."""
        return np.array([*(geometry.neurons for geometry in self.plan.geometries), 0], dtype=np.int64)

    @cached_property
    def pitch_m(self) -> float:
        """Side of a tile, and length of a link of the mesh."""
        return math.sqrt(sum(tile_area_m2(self.model).values()))

    @property
    def hop_energy_J(self) -> float:
        """One bit across one router and one link."""
        return self.model.noc.router_energy.value + self.model.noc.link_energy.value * self.pitch_m

    @cached_property
    def accumulator_bits(self) -> np.ndarray:
        """Size of the update accumulator of each tile, int64 [tiles]."""
        return self.plan.rows * self.plan.outputs * self.model.digital.accumulator_bits.value


@dataclass(frozen=True)
class Recording:
    """What was counted on a chip."""

    chip: Chip
    counts: TileCounts
    routes: Routes
    mesh: Mesh

    @classmethod
    def of(
        cls,
        counts: TileCounts,
        plan: TilePlan,
        model: HardwareModel,
        signals: Sequence[Projection] = (),
        readout: Projection | None = None,
    ) -> Recording:
        """``counts`` on the chip of ``plan`` and ``model``, its tiles placed as the model says."""
        routes = Routes(plan, tuple(signals))
        place = _placed(routes, counts, model)
        return cls(Chip(plan, model, tuple(signals), readout), counts, routes, Mesh(place, routes.all))

    def at(self, bound: Bound) -> Recording:
        """The same with every number of the model at an end of its interval; tiles keep their places."""
        return replace(self, chip=replace(self.chip, model=self.chip.model.at(bound)))

    def samples(self, phase: str) -> int:
        """Samples that went through a phase: all, or none where it did not take place."""
        return self.counts.samples if phase in self.counts.presentations else 0

    def sample_ticks(self, phase: str, style: Style) -> np.ndarray:
        """(sample, tick) in which each layer works, int64 [layers + 1]: those it was updated in; in event style those
        of them that an input had changed for.
        """
        tables = self.counts.needed if style is Style.EVENT else self.counts.presentations
        layers = len(self.chip.plan.geometries)
        return np.append(tables.get(phase, np.zeros((0, layers), np.int64)).sum(0), 0)

    def flits(self, phase: str, style: Style) -> np.ndarray:
        """Flits sent along every route in a phase, int64 [routes]: a message fills whole flits."""
        flit = self.chip.model.noc.flit_bits.value
        sizes = -(-self.routes.message_bits(self.chip.model, style) // flit)
        return self.routes.messages(self.counts, phase, style) * sizes

    def bits(self, phase: str, style: Style) -> np.ndarray:
        """Bits sent along every route in a phase, int64 [routes]."""
        return self.routes.messages(self.counts, phase, style) * self.routes.message_bits(self.chip.model, style)


def _placed(routes: Routes, counts: TileCounts, model: HardwareModel) -> Placement:
    """Tiles in a serpentine, or annealed for the bits that the event style sends between them."""
    tiles = len(routes.plan.tiles)
    if model.noc.placement == "serpentine":
        return serpentine(tiles)
    width = routes.message_bits(model, Style.EVENT)
    bits = sum((routes.messages(counts, phase, Style.EVENT) * width for phase in READ_PHASES), np.zeros_like(width))
    talk = [
        (route.source, tile, int(amount))
        for route, amount in zip(routes.all, bits, strict=True)
        if route.source != PORT and amount
        for tile in route.destinations
    ] or [(0, 0, 0)]
    pairs = np.array(talk, dtype=np.int64)
    return annealed(tiles, pairs[:, :2], pairs[:, 2])
