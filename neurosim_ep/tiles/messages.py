"""Which tiles the events of which neurons must reach."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from neurosim_ep.scenario.topology import IMAGE

if TYPE_CHECKING:
    from neurosim_ep.tiles.mapping import TilePlan


@dataclass(frozen=True)
class Sender:
    """Neurons of state layer ``layer`` that share everything about their messages: ``home``, the tile beside which
    their sums are gathered and their states kept, and ``destinations``, the tiles that an event of theirs must reach.
    """

    layer: int
    home: int
    destinations: tuple[int, ...]
    neurons: int


def senders_of_layer(plan: TilePlan, layer: int) -> tuple[list[Sender], np.ndarray]:
    """Senders of a layer, and the number of that of each neuron, int64 [*shape]: neurons whose homes, columns, rows and
    counterparts lie in the same tiles.
    """
    driving = [number for number in plan.incoming(layer) if plan.geometries[number].source != IMAGE]
    lines = [
        *((plan.column_blocks(number), _tiles(plan, number).T) for number in driving),
        *((plan.driven_blocks(number), _tiles(plan, number)) for number in plan.outgoing(layer)),
        *_counterparts(plan, layer),
    ]
    homes, shape = plan.home_tiles(layer)[:, None], plan.layers[layer].shape
    size = max(len(places) for places, _ in [(homes, homes), *lines])  # channels, or, where these are parted, neurons
    columns = [places.repeat(size // len(places), 0) for places, _ in [(homes, homes), *lines]]
    kinds, number = np.unique(np.column_stack(columns), axis=0, return_inverse=True)
    number = spread(number.reshape(-1), shape)
    ends = np.cumsum([part.shape[1] for part in columns])[:-1]
    senders = [
        Sender(layer, int(kind[0]), _reached(np.split(kind, ends)[1:], [tiles for _, tiles in lines]), int(count))
        for kind, count in zip(kinds, np.bincount(number.ravel(), minlength=len(kinds)), strict=True)
    ]
    return senders, number


def _tiles(plan: TilePlan, connection: int) -> np.ndarray:
    """Tiles of a connection, int64 [row_block, col_block]."""
    span = plan.tile_range(connection)
    return np.arange(span.start, span.stop).reshape(plan.grid(connection))


def _counterparts(plan: TilePlan, layer: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """For every identity at a layer, up and down, the tile beside which the counterpart of each channel lives,
    [channels, 1], as its place among all tiles, [tiles, 1].
    """
    ends = [identity.ends for identity in plan.identities]
    others = [target for source, target in ends if source == layer] + [
        source for source, target in ends if target == layer
    ]
    return [(plan.home_tiles(other)[:, None], np.arange(len(plan.tiles))[:, None]) for other in others]


def _reached(kind: list[np.ndarray], tiles: list[np.ndarray]) -> tuple[int, ...]:
    """All of the ``tiles`` [place, ...] at the places of a ``kind``; -1: none."""
    found: set[int] = set()
    for places, numbers in zip(kind, tiles, strict=True):
        found.update(numbers[np.unique(places[places >= 0])].ravel().tolist())
    return tuple(sorted(found))


def spread(per_channel: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Values per channel over (C, H, W); values per neuron are only reshaped."""
    if len(per_channel) == math.prod(shape):
        return per_channel.reshape(shape)
    return np.broadcast_to(per_channel[:, None, None], shape)
