"""Connections as matrices, matrices cut into crossbar tiles.

The matrix of a connection has one row per synapse input and ``cells_per_weight`` adjacent columns per output
channel. Rows of a convolution are ordered (kh, kw, c_in) with c_in fastest; rows of a linear layer are its
input features, a (C, H, W) input flattened in that order. Inputs drive rows (word lines) in a forward read;
routed post states drive columns in a transposed read. Biases are digital. Bit slices of a weight lie in
``slices`` arrays of the same shape that make up one tile, so that a transposed read needs a single pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class ArrayGeometry:
    """Shape of one crossbar array and of the code that enters it (all dimensionless).

    ``rows`` x ``columns`` cells; ``cells_per_weight`` columns per weight (2 = differential pair); ``slices``
    arrays per tile; ``input_pulses`` pulses that carry one input value; ``levels`` programming pulses that
    span the weight range; ``columns_per_conversion``: 2 where the currents of a pair are subtracted before conversion;
    ``sign_passes``: 2 where lines carry no sign, so that values of either sign enter in two passes.
    """

    rows: int
    columns: int
    cells_per_weight: int = 2
    slices: int = 1
    input_pulses: int = 1
    levels: int = 128
    columns_per_conversion: int = 1
    sign_passes: int = 1


@dataclass(frozen=True)
class ConnectionGeometry:
    """Shapes of one connection, per sample: (C, H, W) or (features,).

    ``kernel`` is (kh, kw), (1, 1) for a linear layer; ``pool`` is None, "max" or "avg" (2x2, stride 2); ``signed``:
    whether what drives its rows, and what drives its columns, can be negative.
    """

    name: str
    kind: str
    in_shape: tuple[int, ...]
    pre_pool_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    kernel: tuple[int, int] = (1, 1)
    padding: int = 0
    pool: str | None = None
    signed: tuple[bool, bool] = (False, False)

    @classmethod
    def from_connection(cls, connection: Any) -> ConnectionGeometry:
        """Geometry of a network connection, read from its attributes."""
        is_conv = connection.kind == "conv"
        return cls(
            name=connection.name,
            kind=connection.kind,
            in_shape=tuple(connection.in_shape),
            pre_pool_shape=tuple(connection.pre_pool_shape),
            out_shape=tuple(connection.out_shape),
            kernel=(connection.weight.shape[2], connection.weight.shape[3]) if is_conv else (1, 1),
            padding=connection.padding,
            pool=connection.pool,
            signed=connection.signed,
        )

    @property
    def fan_in(self) -> int:
        """Rows of the matrix: kh kw c_in, or the input features of a linear layer."""
        inputs = self.in_shape[0] if self.kind == "conv" else math.prod(self.in_shape)
        return self.kernel[0] * self.kernel[1] * inputs

    @property
    def channels(self) -> int:
        """Output channels (conv) or output neurons (linear)."""
        return self.pre_pool_shape[0]

    @property
    def positions(self) -> int:
        """Pre-pool output positions p: how often one sample and tick uses each tile."""
        return math.prod(self.pre_pool_shape[1:])

    @property
    def neurons(self) -> int:
        """Neurons of the state layer the connection drives."""
        return math.prod(self.out_shape)

    @property
    def weights(self) -> int:
        """Synapses, bias excluded."""
        return self.fan_in * self.channels


@dataclass(frozen=True)
class Tile:
    """One tile: block (row_block, col_block) of a connection matrix, with its used rows and columns."""

    index: int
    layer: int
    name: str
    row_block: int
    col_block: int
    rows: int
    columns: int
    utilisation: float
    reuse: int


@dataclass(frozen=True)
class Sender:
    """Neurons of state layer ``layer`` that share everything about their messages: ``home``, the tile beside which
    their sums are gathered and their states kept, and ``destinations``, the tiles that an event of theirs must reach.
    """

    layer: int
    home: int
    destinations: tuple[int, ...]
    neurons: int


@dataclass(frozen=True)
class TilePlan:
    """All tiles of a network, ordered by (layer, row_block, col_block)."""

    array: ArrayGeometry
    geometries: tuple[ConnectionGeometry, ...]
    tiles: tuple[Tile, ...]

    def grid(self, layer: int) -> tuple[int, int]:
        """Row blocks and column blocks of a connection."""
        geometry = self.geometries[layer]
        columns = geometry.channels * self.array.cells_per_weight
        return -(-geometry.fan_in // self.array.rows), -(-columns // self.array.columns)

    def tile_range(self, layer: int) -> slice:
        """Tile indices of a connection; reshaped to :meth:`grid` they are [row_block, col_block]."""
        start = self._starts[layer]
        return slice(start, start + math.prod(self.grid(layer)))

    @cached_property
    def _starts(self) -> list[int]:
        sizes = [math.prod(self.grid(layer)) for layer in range(len(self.geometries))]
        return [0, *np.cumsum(sizes).tolist()]

    @cached_property
    def layer_of_tile(self) -> np.ndarray:
        """Connection index of each tile, int64 [tiles]."""
        return np.array([tile.layer for tile in self.tiles], dtype=np.int64)

    @cached_property
    def rows(self) -> np.ndarray:
        """Used rows of each tile, int64 [tiles]."""
        return np.array([tile.rows for tile in self.tiles], dtype=np.int64)

    @cached_property
    def columns(self) -> np.ndarray:
        """Used physical columns of each tile, int64 [tiles]."""
        return np.array([tile.columns for tile in self.tiles], dtype=np.int64)

    @cached_property
    def sensed(self) -> np.ndarray:
        """Results that one pass of a read of each tile converts, per slice, int64 [direction, tiles]: forward,
        transposed.
        """
        return np.stack([-(-self.columns // self.array.columns_per_conversion), self.rows])

    @cached_property
    def passes(self) -> np.ndarray:
        """Passes that one read of each tile takes, int64 [direction, tiles]: ``sign_passes`` of the array where what
        drives its lines has a sign.
        """
        signed = np.array([geometry.signed for geometry in self.geometries], dtype=bool)[self.layer_of_tile]
        return np.where(signed.T, self.array.sign_passes, 1)

    @cached_property
    def conversions(self) -> np.ndarray:
        """Results that one read of each tile converts, in all slices and passes, int64 [direction, tiles]."""
        return self.sensed * self.array.slices * self.passes

    @cached_property
    def outputs(self) -> np.ndarray:
        """Output channels of each tile, int64 [tiles]; a channel belongs to the tile of its first column."""
        sizes = []
        for layer in range(len(self.geometries)):
            row_blocks, col_blocks = self.grid(layer)
            first_columns = np.bincount(self.column_blocks(layer)[:, 0], minlength=col_blocks)
            sizes.append(np.tile(first_columns, row_blocks))
        return np.concatenate(sizes)

    def row_blocks(self, layer: int) -> np.ndarray:
        """Row block of every row, int64 [kh, kw, inputs]: inputs are channels, or linear features."""
        geometry = self.geometries[layer]
        rows = np.arange(geometry.fan_in, dtype=np.int64)
        return (rows // self.array.rows).reshape(*geometry.kernel, -1)

    def column_blocks(self, layer: int) -> np.ndarray:
        """Column block of every cell of every output channel, int64 [channels, cells_per_weight]."""
        columns = np.arange(self.geometries[layer].channels * self.array.cells_per_weight, dtype=np.int64)
        return (columns // self.array.columns).reshape(-1, self.array.cells_per_weight)

    def input_destinations(self, layer: int) -> np.ndarray:
        """Tiles of connection ``layer`` that hold a row of each of its inputs, int64 [*in_shape]."""
        inputs = _distinct(self.row_blocks(layer).reshape(math.prod(self.geometries[layer].kernel), -1))
        return self._spread(inputs * self.grid(layer)[1], self.geometries[layer].in_shape)

    def event_destinations(self, layer: int) -> np.ndarray:
        """Tiles an event of each neuron of state layer ``layer`` must reach, int64 [*out_shape].

        Those of the next connection that hold one of its rows, and, except in layer 0 whose input needs no
        feedback, those of its own connection that hold one of its columns.
        """
        shape = self.geometries[layer].out_shape
        tiles = np.zeros(shape, np.int64)
        if layer + 1 < len(self.geometries):
            tiles += self.input_destinations(layer + 1)
        if layer > 0:
            tiles += self._spread(_distinct(self.column_blocks(layer).T) * self.grid(layer)[0], shape)
        return tiles

    def home_tiles(self, layer: int) -> np.ndarray:
        """Tile beside which the sums of each output channel are gathered: that of its first column in row block 0,
        int64 [channels].
        """
        return self.tile_range(layer).start + self.column_blocks(layer)[:, 0]

    @cached_property
    def senders(self) -> tuple[Sender, ...]:
        """All groups of neurons whose messages go the same way, layer after layer."""
        return tuple(sender for group in self._sender_groups for sender in group[0])

    def sender_of(self, layer: int) -> np.ndarray:
        """Place in :attr:`senders` of every neuron of a state layer, int64 [*out_shape]."""
        before = sum(len(group[0]) for group in self._sender_groups[:layer])
        return before + self._sender_groups[layer][1]

    @cached_property
    def _sender_groups(self) -> list[tuple[list[Sender], np.ndarray]]:
        return [self._senders_of_layer(layer) for layer in range(len(self.geometries))]

    def _senders_of_layer(self, layer: int) -> tuple[list[Sender], np.ndarray]:
        """Senders of a state layer, and the one of each neuron."""
        shape, homes = self.geometries[layer].out_shape, self.home_tiles(layer)
        own = self.column_blocks(layer) if layer > 0 else homes[:, None] * 0 - 1
        above = np.full((len(homes), 1), -1)
        if layer + 1 < len(self.geometries):
            following = self.geometries[layer + 1]
            above = np.sort(self.row_blocks(layer + 1).reshape(math.prod(following.kernel), -1).T, axis=1)
        if len(above) != len(homes):  # a linear layer has a row of its own for every neuron
            per_channel = len(above) // len(homes)
            homes, own = homes.repeat(per_channel), own.repeat(per_channel, 0)
        kinds, number = np.unique(np.column_stack([homes, own, above]), axis=0, return_inverse=True)
        number = self._spread(number.reshape(-1), shape)
        neurons = np.bincount(number.ravel(), minlength=len(kinds))
        senders = [
            Sender(
                layer,
                int(kind[0]),
                self._tiles_reached(layer, kind[1 : 1 + own.shape[1]], kind[1 + own.shape[1] :]),
                int(count),
            )
            for kind, count in zip(kinds, neurons, strict=True)
        ]
        return senders, number

    def _tiles_reached(self, layer: int, own_columns: np.ndarray, rows_above: np.ndarray) -> tuple[int, ...]:
        """Tiles in the column blocks ``own_columns`` of connection ``layer`` and the row blocks ``rows_above`` of the
        next one; -1: none.
        """
        tiles: set[int] = set()
        for connection, blocks, axis in ((layer, own_columns, 1), (layer + 1, rows_above, 0)):
            wanted = sorted({int(block) for block in blocks} - {-1})
            if wanted:
                span = self.tile_range(connection)
                numbers = np.arange(span.start, span.stop).reshape(self.grid(connection))
                tiles.update(numbers.take(wanted, axis=axis).ravel().tolist())
        return tuple(sorted(tiles))

    @staticmethod
    def _spread(per_channel: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Values per channel over (C, H, W); values per neuron are only reshaped."""
        if len(per_channel) == math.prod(shape):
            return per_channel.reshape(shape)
        return np.broadcast_to(per_channel[:, None, None], shape)

    def to_frame(self) -> pd.DataFrame:
        """One row per tile: tile, layer, name, row_block, col_block, rows, columns, utilisation, reuse."""
        frame = pd.DataFrame(self.tiles)
        return frame.rename(columns={"index": "tile"})


def plan_tiles(geometries: Sequence[ConnectionGeometry], array: ArrayGeometry) -> TilePlan:
    """Cut every connection matrix into tiles of ``array``; the last block of a row or column is smaller."""
    tiles: list[Tile] = []
    for layer, geometry in enumerate(geometries):
        columns = geometry.channels * array.cells_per_weight
        for row_block, first_row in enumerate(range(0, geometry.fan_in, array.rows)):
            for col_block, first_column in enumerate(range(0, columns, array.columns)):
                used_rows = min(array.rows, geometry.fan_in - first_row)
                used_columns = min(array.columns, columns - first_column)
                tiles.append(
                    Tile(
                        index=len(tiles),
                        layer=layer,
                        name=geometry.name,
                        row_block=row_block,
                        col_block=col_block,
                        rows=used_rows,
                        columns=used_columns,
                        utilisation=used_rows * used_columns / (array.rows * array.columns),
                        reuse=geometry.positions,
                    )
                )
    return TilePlan(array, tuple(geometries), tuple(tiles))


def _distinct(blocks: np.ndarray) -> np.ndarray:
    """Number of different values in each column of a 2-D array."""
    ordered = np.sort(blocks, axis=0)
    return 1 + (np.diff(ordered, axis=0) != 0).sum(axis=0)
