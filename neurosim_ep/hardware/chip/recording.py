"""A chip: tiles, what stands beside them, and the hardware model that prices them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from neurosim_ep.hardware.chip.area import tile_area_m2
from neurosim_ep.hardware.chip.counts import READ_PHASES, TileCounts
from neurosim_ep.hardware.chip.memory import BUFFERED, CELLS, ep_memory
from neurosim_ep.hardware.chip.noc import Mesh
from neurosim_ep.hardware.chip.placement import Placement, annealed, serpentine
from neurosim_ep.hardware.chip.projections import Projection
from neurosim_ep.hardware.chip.routes import PORT, Routes
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.quantities import BOUNDS, Bound
from neurosim_ep.hardware.model.sections import HardwareModel
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
        return np.array([*(layer.neurons for layer in self.plan.layers), 0], dtype=np.int64)

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

    @cached_property
    def memory_leakage_W(self) -> np.ndarray:
        """Static power of the memories of each layer, with one sample on the chip, float64 [layers + 1]."""
        found = np.zeros(len(self.neurons))
        for item in ep_memory(self.plan, self.model, signals=self.signals, readout=self.readout):
            if item.item != CELLS:
                memories = self.model.buffer if item.item in BUFFERED else self.model.registers
                found[item.layer] += item.bits * memories.leakage.value
        return found

    @cached_property
    def without_signals(self) -> Chip:
        """The same tiles and readout alone."""
        return replace(self, signals=())

    @cached_property
    def routes(self) -> Routes:
        """Who sends what to whom on it."""
        return Routes(self.plan, self.signals)

    @cached_property
    def serpentine(self) -> Mesh:
        """Its mesh with the tiles one after the other."""
        return Mesh(serpentine(len(self.plan.tiles)), self.routes.all)

    def at(self, bound: Bound) -> Chip:
        """The same with every number of the model at an end of its interval."""
        return self if bound == "value" else self._ends[bound]

    @cached_property
    def _ends(self) -> dict[Bound, Chip]:
        return {bound: replace(self, model=self.model.at(bound)) for bound in BOUNDS if bound != "value"}


@dataclass(frozen=True)
class Recording:
    """What was counted on a chip.

    ``latencies`` is what :func:`~neurosim_ep.hardware.bill.latency.latencies_s` has found so far.
    """

    chip: Chip
    counts: TileCounts
    routes: Routes
    mesh: Mesh
    latencies: dict[Style, dict[str, float]] = field(init=False, default_factory=dict, repr=False, compare=False)

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
        return cls.on(Chip(plan, model, tuple(signals), readout), counts)

    @classmethod
    def on(cls, chip: Chip, counts: TileCounts) -> Recording:
        """``counts`` on ``chip``, its tiles placed as the model says."""
        annealed = chip.model.noc.placement != "serpentine"
        mesh = Mesh(_annealed(chip, counts), chip.routes.all) if annealed else chip.serpentine
        return cls(chip, counts, chip.routes, mesh)

    def at(self, bound: Bound) -> Recording:
        """The same with every number of the model at an end of its interval; tiles keep their places."""
        return self if bound == "value" else self._ends[bound]

    @cached_property
    def _ends(self) -> dict[Bound, Recording]:
        return {bound: replace(self, chip=self.chip.at(bound)) for bound in BOUNDS if bound != "value"}

    def samples(self, phase: str) -> int:
        """Samples that went through a phase: all, or none where it did not take place."""
        return self.counts.samples if phase in self.counts.presentations else 0

    def sample_ticks(self, phase: str, style: Style) -> np.ndarray:
        """(sample, tick) in which each layer works, int64 [layers + 1]: those it was updated in; in event style those
        of them that an input had changed for.
        """
        tables = self.counts.needed if style is Style.EVENT else self.counts.presentations
        layers = len(self.chip.plan.layers)
        return np.append(tables.get(phase, np.zeros((0, layers), np.int64)).sum(0), 0)

    def flits(self, phase: str, style: Style) -> np.ndarray:
        """Flits sent along every route in a phase, int64 [routes]: a message fills whole flits."""
        flit = self.chip.model.noc.flit_bits.value
        sizes = -(-self.routes.message_bits(self.chip.model, style) // flit)
        return self.routes.messages(self.counts, phase, style) * sizes

    def bits(self, phase: str, style: Style) -> np.ndarray:
        """Bits sent along every route in a phase, int64 [routes]."""
        return self.routes.messages(self.counts, phase, style) * self.routes.message_bits(self.chip.model, style)


def _annealed(chip: Chip, counts: TileCounts) -> Placement:
    """Tiles placed for the bits that the event style sends between them."""
    routes, tiles = chip.routes, len(chip.plan.tiles)
    width = routes.message_bits(chip.model, Style.EVENT)
    bits = sum((routes.messages(counts, phase, Style.EVENT) * width for phase in READ_PHASES), np.zeros_like(width))
    talk = [
        (route.source, tile, int(amount))
        for route, amount in zip(routes.all, bits, strict=True)
        if route.source != PORT and amount
        for tile in route.destinations
    ] or [(0, 0, 0)]
    pairs = np.array(talk, dtype=np.int64)
    return annealed(tiles, pairs[:, :2], pairs[:, 2])
