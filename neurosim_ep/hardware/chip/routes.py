"""Who sends what to whom on the chip: the routes of a tile plan, and how much recorded batches send along each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neurosim_ep.hardware.chip.components import Component, Part
from neurosim_ep.hardware.chip.counts import READ_PHASES, TileCounts
from neurosim_ep.hardware.chip.projections import Projection
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.sections import HardwareModel
from neurosim_ep.tiles.mapping import Tile, TilePlan

PORT = -1
"""Stands for the chip's port to the outside where a tile is expected."""


@dataclass(frozen=True)
class Route:
    """From tile ``source`` to each of ``destinations``, for the ``component`` of the ledger that ``layer`` pays for.

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
    """All routes of ``plan``: states to the tiles they drive, partial sums to where they are gathered, the static input
    and the stored targets of ``signals`` from the port to where they are used.
    """

    plan: TilePlan
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
        """Results of forward reads go to the tiles beside which the channels of their columns live: for the first
        connection into a layer that of row block 0 in their column block.
        """
        plan = self.plan
        first_columns = [plan.column_blocks(connection)[:, 0] for connection in range(len(plan.geometries))]
        return [
            route
            for tile in plan.tiles
            for route in _sums(tile, plan.home_tiles(tile.layer)[first_columns[tile.connection] == tile.col_block])
        ]

    @cached_property
    def _transposed_sums(self) -> list[Route]:
        """Results of transposed reads go to the tiles beside which the neurons of their rows live."""
        plan, routes = self.plan, []
        for connection, geometry in enumerate(plan.geometries[1:], 1):
            blocks, homes = plan.row_blocks(connection), plan.home_tiles(geometry.ends[0])
            homes = np.broadcast_to(homes.repeat(blocks.shape[-1] // len(homes)), blocks.shape)
            homes_of_block = [homes[blocks == block] for block in range(plan.grid(connection)[0])]
            for tile in plan.tiles[plan.tile_range(connection)]:
                routes += _sums(tile, homes_of_block[tile.row_block])
        return routes

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
        settling, all states at the end of a nudge phase; results of reads (none when settling); inputs and targets once
        per sample.
        """
        sums = np.zeros(2 * len(self.plan.tiles), np.int64)
        if style is not Style.SETTLING:
            sums = np.concatenate(
                [counts.of(phase, style.accounting, way, "reads") for way in ("forward", "transposed")]
            )
        forward, transposed = np.split(sums, 2)
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
        neurons = _shares(self._states)
        if phase not in counts.presentations:
            return np.zeros_like(neurons)
        if style is Style.EVENT:
            return counts.sends[phase].sum(0)
        if style is Style.CLOCKED:
            layers = [route.layer for route in self._states]
            return counts.presentations[phase].sum(0)[layers] * neurons
        return counts.samples * neurons * (phase != "free")

    def message_bits(self, model: HardwareModel, style: Style) -> np.ndarray:
        """Bits of one message along every route, int64 [routes]: an event carries the address of its neuron."""
        state, partial = model.digital.state_bits.value, model.digital.partial_bits.value
        address = [(layer.neurons - 1).bit_length() for layer in self.plan.layers]
        states = [state + (address[route.layer] if style is Style.EVENT else 0) for route in self._states]
        sums = [partial] * (len(self._forward_sums) + len(self._transposed_sums))
        return np.array(
            [*states, *sums, *[state] * len(self._inputs), *(route.share for route in self._targets)], dtype=np.int64
        )


def first_nudge(counts: TileCounts) -> str | None:
    """The nudge phase before which targets are sent to their layers; None where nothing was nudged."""
    return next((phase for phase in READ_PHASES[1:] if phase in counts.presentations), None)


def _sums(tile: Tile, homes: np.ndarray) -> list[Route]:
    """Results of a read of ``tile``, one for each line with the home in ``homes``, to these homes."""
    return [
        Route(Part.PARTIAL_SUM, tile.layer, tile.index, (int(home),), int(share))
        for home, share in zip(*np.unique(homes, return_counts=True), strict=True)
    ]


def _shares(routes: Sequence[Route]) -> np.ndarray:
    return np.array([route.share for route in routes], dtype=np.int64)
