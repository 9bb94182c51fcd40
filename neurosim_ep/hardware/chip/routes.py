"""Who sends what to whom on the chip: the routes of a tile plan, and how much recorded batches send along each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neurosim_ep.hardware.chip.components import Component, Part
from neurosim_ep.hardware.chip.counts import DIRECTIONS, TileCounts
from neurosim_ep.hardware.chip.levels import Levels
from neurosim_ep.hardware.chip.phases import READ_PHASES
from neurosim_ep.hardware.chip.projections import Projection
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.chip.sums import forward_groups, steps_to, transposed_groups
from neurosim_ep.hardware.model.sections import HardwareModel
from neurosim_ep.tiles.mapping import TilePlan

PORT = -1
"""Stands for the chip's port to the outside where a tile is expected."""


@dataclass(frozen=True)
class Route:
    """From tile ``source`` to each of ``destinations``, for the ``component`` of the bill that ``layer`` pays for.

    ``share``: what is sent at a time: neurons of a sender (message), results of a read (partial_sum), inputs (input),
    or bits of a sample (target).
    """

    component: Component
    layer: int
    source: int
    destinations: tuple[int, ...]
    share: int


@dataclass(frozen=True)
class Routes:
    """All routes of ``plan`` on a chip with ``levels``: states to the tiles they drive, partial sums to where they are
    added up, the static input and the stored targets of ``signals`` from the port to where they are used.
    """

    plan: TilePlan
    levels: Levels
    signals: tuple[Projection, ...] = ()

    @cached_property
    def all(self) -> tuple[Route, ...]:
        """States first, then partial sums of forward and of transposed reads, input, targets."""
        return (*self._states, *self._forward_sums, *self._transposed_sums, *self._inputs, *self._targets)

    @cached_property
    def _states(self) -> list[Route]:
        return [
            Route(Part.MESSAGE, sender.layer, sender.home, sender.destinations, sender.neurons)
            for sender in self.plan.senders
        ]

    @cached_property
    def _forward_sums(self) -> list[Route]:
        return self._sums(forward_groups(self.plan))

    @cached_property
    def _transposed_sums(self) -> list[Route]:
        return self._sums(transposed_groups(self.plan))

    def _sums(self, groups: Iterable[tuple[np.ndarray, int, int]]) -> list[Route]:
        tiles, levels = self.plan.tiles, self.levels
        return [
            Route(Part.PARTIAL_SUM, tiles[source].layer, source, (target,), share)
            for sources, home, share in groups
            for source, target in steps_to(home, sources.tolist(), levels)
        ]

    @cached_property
    def _inputs(self) -> list[Route]:
        plan = self.plan
        blocks = plan.driven_blocks(0)
        tiles = np.arange(len(plan.tiles))[plan.tile_range(0)].reshape(plan.grid(0))
        positions = math.prod(plan.geometries[0].in_shape) // len(blocks)
        kinds, alike = np.unique(blocks, axis=0, return_counts=True)
        return [
            Route(
                Part.INPUT, 0, PORT, tuple(tiles[np.unique(kind[kind >= 0])].ravel().tolist()), int(count) * positions
            )
            for kind, count in zip(kinds, alike, strict=True)
            if kind[-1] >= 0
        ]

    @cached_property
    def _targets(self) -> list[Route]:
        routes = []
        for signal in self.signals:
            if signal.off_chip_bits:
                homes, channels = np.unique(self.plan.home_tiles(signal.layer), return_counts=True)
                bits = signal.off_chip_bits * channels // channels.sum()
                bits[0] += signal.off_chip_bits - bits.sum()
                routes += [
                    Route(Part.TARGET, signal.layer, PORT, (int(home),), int(share))
                    for home, share in zip(homes, bits, strict=True)
                ]
        return routes

    def messages(self, counts: TileCounts, phase: str, style: Style) -> np.ndarray:
        """Messages along every route in a phase, int64 [routes]: events, or, clocked, all states in every tick, or,
        settling, all states at the end of a nudge phase; results of reads (none when settling), each tile sending one
        sum for each of its reads, with what it got from others; inputs and targets once per sample.
        """
        forward, transposed = (
            counts.of(phase, style.accounting, way, "reads") * (style is not Style.SETTLING) for way in DIRECTIONS
        )
        return np.concatenate(
            [
                self._state_messages(counts, phase, style),
                forward[[route.source for route in self._forward_sums]] * _shares(self._forward_sums),
                transposed[[route.source for route in self._transposed_sums]] * _shares(self._transposed_sums),
                counts.samples * (phase == "free") * _shares(self._inputs),
                np.full(len(self._targets), counts.samples * (phase == first_nudge(counts)), np.int64),
            ]
        )

    def _state_messages(self, counts: TileCounts, phase: str, style: Style) -> np.ndarray:
        neurons = self._state_shares
        if phase not in counts.presentations:
            return np.zeros_like(neurons)
        if style is Style.EVENT:
            return counts.sends[phase].sum(0)
        if style is Style.CLOCKED:
            layers = [route.layer for route in self._states]
            return counts.presentations[phase].sum(0)[layers] * neurons
        return counts.samples * neurons * (phase != "free")

    def bursts(self, style: Style) -> np.ndarray:
        """Messages that are sent together and packed into packets, int64 [routes]: all neurons of a sender in a tick,
        or single events; all results of a read; all inputs.
        """
        states = np.ones_like(self._state_shares) if style is Style.EVENT else self._state_shares
        sums = _shares([*self._forward_sums, *self._transposed_sums, *self._inputs])
        return np.maximum(np.concatenate([states, sums, np.ones(len(self._targets), np.int64)]), 1)

    @cached_property
    def layer(self) -> np.ndarray:
        """Layer that pays for each route, int64 [routes]."""
        return np.array([route.layer for route in self.all], dtype=np.int64)

    @cached_property
    def component(self) -> np.ndarray:
        """Component of the bill of each route, [routes]."""
        return np.array([route.component for route in self.all], dtype=object)

    def arrivals(self, *, shared: bool) -> tuple[np.ndarray, np.ndarray]:
        """Route and tile of every delivery of states and inputs into an input buffer, int64 [deliveries] each; where
        the tiles of a core have ``shared`` one, the first of those that a route leads to.
        """
        return self._shared_arrivals if shared else self._own_arrivals

    @cached_property
    def _own_arrivals(self) -> tuple[np.ndarray, np.ndarray]:
        rows = [
            (number, tile)
            for number, route in enumerate(self.all)
            if route.component in (Part.MESSAGE, Part.INPUT)
            for tile in route.destinations
        ]
        route, tile = np.array(rows, dtype=np.int64).reshape(-1, 2).T
        return route, tile

    @cached_property
    def _shared_arrivals(self) -> tuple[np.ndarray, np.ndarray]:
        route, tile = self._own_arrivals
        _, first = np.unique(np.stack([route, self.levels.core_of[tile]]), axis=1, return_index=True)
        return route[first], tile[first]

    @cached_property
    def _state_shares(self) -> np.ndarray:
        return _shares(self._states)

    @cached_property
    def _address_bits(self) -> np.ndarray:
        address = [(layer.neurons - 1).bit_length() for layer in self.plan.layers]
        return np.array([address[route.layer] for route in self._states], dtype=np.int64)

    def message_bits(self, model: HardwareModel, style: Style) -> np.ndarray:
        """Bits of one message along every route, int64 [routes]: an event carries the address of its neuron."""
        state, partial = model.digital.state_bits.value, model.digital.partial_bits.value
        states = (state + (self._address_bits if style is Style.EVENT else 0 * self._address_bits)).tolist()
        sums = [partial] * (len(self._forward_sums) + len(self._transposed_sums))
        return np.array(
            [*states, *sums, *[state] * len(self._inputs), *(route.share for route in self._targets)], dtype=np.int64
        )


def first_nudge(counts: TileCounts) -> str | None:
    """The nudge phase before which targets are sent to their layers; None where nothing was nudged."""
    return next((phase for phase in READ_PHASES[1:] if phase in counts.presentations), None)


def _shares(routes: Sequence[Route]) -> np.ndarray:
    return np.array([route.share for route in routes], dtype=np.int64)
