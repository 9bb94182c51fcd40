"""A chip: tiles, what stands beside them, and the hardware model that prices them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from neurosim_ep.hardware.chip.area import area_items
from neurosim_ep.hardware.chip.backward import PassRoutes
from neurosim_ep.hardware.chip.counts import DIRECTIONS, TileCounts
from neurosim_ep.hardware.chip.inputs import input_buffer_bits
from neurosim_ep.hardware.chip.levels import Levels
from neurosim_ep.hardware.chip.memory import MemoryItem, bptt_memory, ep_memory
from neurosim_ep.hardware.chip.noc import Mesh
from neurosim_ep.hardware.chip.packets import Packed, packed
from neurosim_ep.hardware.chip.phases import READ_PHASES
from neurosim_ep.hardware.chip.placement import Placement, annealed, serpentine
from neurosim_ep.hardware.chip.projections import Projection
from neurosim_ep.hardware.chip.routes import PORT, Routes
from neurosim_ep.hardware.chip.static import StaticPower, static_power
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.chip.transfers import Carried, Transfers
from neurosim_ep.hardware.model.network import LevelSection
from neurosim_ep.hardware.model.quantities import BOUNDS, Bound
from neurosim_ep.hardware.model.sections import HardwareModel
from neurosim_ep.hardware.model.terms import Term, lift, of_chip
from neurosim_ep.tiles.mapping import TilePlan


@dataclass(frozen=True)
class Chip:
    """Tiles of ``plan`` with the digital matrices of ``signals`` and ``readout`` beside them, priced by ``model``.

    ``backprop``: it trains by backpropagation: it has the memories of that, states go up in the first pass, and errors,
    which have a sign whatever states have, down in the second.
    """

    plan: TilePlan
    model: HardwareModel
    signals: tuple[Projection, ...] = ()
    readout: Projection | None = None
    backprop: bool = False

    @cached_property
    def neurons(self) -> np.ndarray:
        """Neurons of each layer, and 0 for the readout, int64 [layers + 1]."""
        return np.array([*(layer.neurons for layer in self.plan.layers), 0], dtype=np.int64)

    @cached_property
    def levels(self) -> Levels:
        """Which tiles make cores and clusters."""
        return Levels.of(len(self.plan.tiles), self.model)

    @cached_property
    def memory(self) -> list[MemoryItem]:
        """What it keeps for one sample."""
        return bptt_memory(self, "backprop", 1) if self.backprop else ep_memory(self)

    def area_m2(self, copies: np.ndarray | None = None) -> float:
        """Area of the chip, tiles being there ``copies`` times."""
        return sum(item.area_m2 for item in area_items(self, self.memory, copies))

    @cached_property
    def pitches_m(self) -> tuple[float, float, float]:
        """Sides of a mean tile, core and cluster, with everything that stands beside them."""
        inside = self.area_m2() - (self.model.port.area.value if self.model.port else 0.0)
        levels = self.levels
        return tuple(math.sqrt(inside / parts) for parts in (levels.tiles, levels.cores, levels.nodes))  # type: ignore[return-value]

    @cached_property
    def sides(self) -> tuple[Term, Term, Term]:
        """:attr:`pitches_m` as terms."""
        inside = "square root of the area of the chip, its links to the outside apart, over how many there are"
        tile_m, core_m, node_m = self.pitches_m
        return (
            of_chip("side of a tile", tile_m, inside, "m"),
            of_chip("side of a core", core_m, inside, "m"),
            of_chip("length of a link", node_m, inside, "m"),
        )

    @property
    def hop_energy(self) -> Term:
        """One bit across one router of the mesh and the link to the next [J/bit]."""
        return self.model.term("noc.router_energy") + self.model.term("noc.link_energy") * self.sides[2]

    @property
    def transfer_energies(self) -> tuple[Term, Term]:
        """One bit over the network of a core, and over that of a cluster [J/bit]."""
        tile, core, node = self.sides
        term, levels = self.model.term, self.levels

        def energy(name: str, level: LevelSection | None, parts: int, part: Term, side: Term) -> Term:
            if level is None:
                return lift(0.0)
            if level.transfer_energy is not None:
                return term(f"{name}.transfer_energy")
            wires = of_chip(f"parts of a {name}", parts) * part if level.network == "bus" else side
            return term("noc.link_energy") * wires

        return (
            energy("core", self.model.core, levels.per_core, tile, core),
            energy("cluster", self.model.cluster, levels.per_cluster, core, node),
        )

    @cached_property
    def accumulator_bits(self) -> np.ndarray:
        """Size of the update accumulator of each tile, or of its core, int64 [tiles]."""
        own = self.plan.rows * self.plan.outputs * self.model.digital.accumulator_bits.value
        return self.levels.summed(own, shared=self.model.shared("accumulators")).astype(np.int64)

    @property
    def projecting_layers(self) -> list[int]:
        """The layer of the multiply-add units of each signal, and, last, of the readout: the layer N."""
        return [signal.layer for signal in self.signals] + ([len(self.plan.layers)] if self.readout is not None else [])

    @cached_property
    def neurons_beside(self) -> np.ndarray:
        """Neurons of each layer that live beside each tile, int64 [tiles, layers]."""
        found = np.zeros((len(self.plan.tiles), len(self.plan.layers)), np.int64)
        for number, layer in enumerate(self.plan.layers):
            homes = self.plan.home_tiles(number)  # one per channel, which all have as many neurons
            np.add.at(found[:, number], homes, layer.neurons // len(homes))
        return found

    @cached_property
    def input_buffer_bits(self) -> np.ndarray:
        """Size of the input buffer of each tile, or of its core, int64 [tiles]."""
        return input_buffer_bits(self)

    def static_power(self, copies: np.ndarray | None = None) -> StaticPower:
        """What it draws while nothing happens, tiles being there ``copies`` times."""
        return self._static_power if copies is None else static_power(self, self.memory, copies)

    @cached_property
    def _static_power(self) -> StaticPower:
        return static_power(self, self.memory)

    @cached_property
    def passes(self) -> np.ndarray:
        """Passes that one read of each tile takes, int64 [direction, tiles]; see :attr:`TilePlan.passes`."""
        if not self.backprop:
            return self.plan.passes
        errors = np.full(len(self.plan.tiles), self.plan.array.sign_passes)
        return np.stack([self.plan.passes[DIRECTIONS.index("forward")], errors])

    @cached_property
    def for_backprop(self) -> Chip:
        """The same tiles and readout, made for backpropagation."""
        return replace(self, signals=(), backprop=True)

    @cached_property
    def routes(self) -> Routes:
        """Who sends what to whom on it."""
        return (PassRoutes if self.backprop else Routes)(self.plan, self.levels, self.signals)

    @cached_property
    def serpentine(self) -> Mesh:
        """Its mesh with the clusters one after the other."""
        return Mesh(serpentine(self.levels.nodes).of(self.levels.node_of), self.routes.all)

    @cached_property
    def transfers(self) -> Transfers:
        """What crosses the networks inside its cores and clusters."""
        return Transfers(self.routes, self.model)

    def at(self, bound: Bound) -> Chip:
        """The same with every number of the model at an end of its interval."""
        return self if bound == "value" else self._ends[bound]

    @cached_property
    def _ends(self) -> dict[Bound, Chip]:
        return {bound: self.priced(self.model.at(bound)) for bound in BOUNDS if bound != "value"}

    def priced(self, model: HardwareModel) -> Chip:
        """The same with other numbers, not of what it consists of: its routes and memories are kept."""
        found = replace(self, model=model)
        kept = (
            "routes", "serpentine", "transfers", "memory", "accumulator_bits", "input_buffer_bits", "neurons_beside",
            "passes", "neurons", "levels",
        )  # fmt: skip
        found.__dict__.update({name: getattr(self, name) for name in kept})
        return found


@dataclass(frozen=True)
class Recording:
    """What was counted on a chip.

    ``latencies`` is what :func:`~neurosim_ep.hardware.bill.latency.latencies_s` has found so far, ``carried`` what
    :func:`~neurosim_ep.hardware.bill.network.carried_bits` has.
    """

    chip: Chip
    counts: TileCounts
    routes: Routes
    mesh: Mesh
    latencies: dict[Style, dict[str, float]] = field(init=False, default_factory=dict, repr=False, compare=False)
    carried: dict[tuple[str, Style], Carried] = field(init=False, default_factory=dict, repr=False, compare=False)
    _sent: dict[tuple[str, Style], Packed] = field(init=False, default_factory=dict, repr=False, compare=False)

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
        mesh = Mesh(_annealed(chip, counts).of(chip.levels.node_of), chip.routes.all) if annealed else chip.serpentine
        return cls(chip, counts, chip.routes, mesh)

    def at(self, bound: Bound) -> Recording:
        """The same with every number of the model at an end of its interval; tiles keep their places."""
        return self if bound == "value" else self._ends[bound]

    @cached_property
    def _ends(self) -> dict[Bound, Recording]:
        return {bound: self.priced(self.chip.at(bound)) for bound in BOUNDS if bound != "value"}

    def priced(self, chip: Chip) -> Recording:
        """The same on ``chip``, :meth:`Chip.priced` otherwise; what is sent has neither cost nor interval."""
        found = replace(self, chip=chip)
        found.__dict__.update(_sent=self._sent, carried=self.carried)
        return found

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

    def sent(self, phase: str, style: Style) -> Packed:
        """What goes along every route in a phase."""
        if (phase, style) not in self._sent:
            routes, model = self.routes, self.chip.model
            messages = routes.messages(self.counts, phase, style)
            width = routes.message_bits(model, style)
            self._sent[phase, style] = packed(messages, routes.bursts(style), width, model.noc)
        return self._sent[phase, style]

    def bits(self, phase: str, style: Style) -> np.ndarray:
        """Bits sent along every route in a phase, with headers, int64 [routes]."""
        return self.sent(phase, style).bits


def _annealed(chip: Chip, counts: TileCounts) -> Placement:
    """Clusters placed for the bits that the event style sends between them."""
    routes, node = chip.routes, chip.levels.node_of
    width = routes.message_bits(chip.model, Style.EVENT)
    bits = sum((routes.messages(counts, phase, Style.EVENT) * width for phase in READ_PHASES), np.zeros_like(width))
    talk = [
        (node[route.source], node[tile], int(amount))
        for route, amount in zip(routes.all, bits, strict=True)
        if route.source != PORT and amount
        for tile in route.destinations
    ] or [(0, 0, 0)]
    pairs = np.array(talk, dtype=np.int64)
    return annealed(chip.levels.nodes, pairs[:, :2], pairs[:, 2])
