"""Connections as matrices, matrices cut into crossbar tiles.

The matrix of a connection has one row per synapse input and ``cells_per_weight`` adjacent columns per output
channel. Rows of a convolution are ordered (kh, kw, c_in) with c_in fastest; rows of a linear layer are its
input features, a (C, H, W) input flattened in that order. Inputs drive rows (word lines) in a forward read;
routed post states drive columns in a transposed read. Biases are digital. Bit slices of a weight lie in
``slices`` arrays of the same shape that make up one tile, so that a transposed read needs a single pass.

Connections are counted apart from the layers that they drive: a layer may have several. An identity, which passes
states on as they are, has no matrix and no tiles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from neurosim_ep.errors import ScenarioError
from neurosim_ep.scenario.topology import IMAGE
from neurosim_ep.tiles.messages import Sender, senders_of_layer, spread


@dataclass(frozen=True)
class ArrayGeometry:
    """Shape of one crossbar array and of the code that enters it (all dimensionless).

    ``rows`` x ``columns`` cells; ``cells_per_weight`` columns per weight (2 = differential pair); ``slices``
    arrays per tile; ``input_pulses`` pulses that carry one input value; ``levels`` programming pulses that
    span the weight range; ``columns_per_conversion``, ``slices_per_conversion``: cells and slices of a weight whose
    currents are merged before conversion in a forward read; ``sign_passes``: 2 where lines carry no sign, so that
    values of either sign enter in two passes.
    """

    rows: int
    columns: int
    cells_per_weight: int = 2
    slices: int = 1
    input_pulses: int = 1
    levels: int = 128
    columns_per_conversion: int = 1
    slices_per_conversion: int = 1
    sign_passes: int = 1


@dataclass(frozen=True)
class ConnectionGeometry:
    """Shapes of one edge, per sample: (C, H, W) or (features,); ``kind`` is "conv", "linear" or "identity".

    ``kernel`` is (kh, kw), (1, 1) for a linear layer; ``pool`` is None, "max" or "avg" (2x2, stride 2); ``signed``:
    whether what drives its rows, and what drives its columns, can be negative; ``source`` and ``target``: the layers
    it leads from, -1 being the image, and to; None: those of a chain, which a tile plan fills in.
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
    stride: int = 1
    source: int | None = None
    target: int | None = None

    @classmethod
    def from_connection(cls, connection: Any) -> ConnectionGeometry:
        """Geometry of an edge of a network, with weights or without, read from its attributes."""
        is_conv = connection.kind == "conv"
        return cls(
            name=connection.name,
            kind=connection.kind,
            in_shape=tuple(connection.in_shape),
            pre_pool_shape=tuple(connection.pre_pool_shape),
            out_shape=tuple(connection.out_shape),
            kernel=(connection.weight.shape[2], connection.weight.shape[3]) if is_conv else (1, 1),
            padding=connection.padding if is_conv else 0,
            pool=connection.pool,
            signed=connection.signed,
            stride=connection.stride if is_conv else 1,
            source=connection.source,
            target=connection.target,
        )

    @property
    def ends(self) -> tuple[int, int]:
        """The layers it leads from and to, in a plan."""
        assert self.source is not None and self.target is not None
        return self.source, self.target

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
    """One tile: block (row_block, col_block) of the matrix of connection number ``connection``, which drives ``layer``,
    with its used rows and columns.
    """

    index: int
    layer: int
    name: str
    row_block: int
    col_block: int
    rows: int
    columns: int
    utilisation: float
    reuse: int
    connection: int


class StateLayer(NamedTuple):
    """A layer of neurons, named after the first connection that drives it; ``shape`` of one sample."""

    name: str
    shape: tuple[int, ...]

    @property
    def neurons(self) -> int:
        """Neurons of the layer."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class TilePlan:
    """All tiles of a network, ordered by (connection, row_block, col_block).

    ``geometries`` are those of the connections, in the order of the layers they drive; ``identities`` those of the
    edges without weights.
    """

    array: ArrayGeometry
    geometries: tuple[ConnectionGeometry, ...]
    tiles: tuple[Tile, ...]
    identities: tuple[ConnectionGeometry, ...] = ()

    @property
    def edges(self) -> tuple[ConnectionGeometry, ...]:
        """Connections, then identities."""
        return self.geometries + self.identities

    @cached_property
    def layers(self) -> tuple[StateLayer, ...]:
        """The layers of neurons."""
        first: dict[int, ConnectionGeometry] = {}
        for geometry in self.geometries:
            first.setdefault(geometry.ends[1], geometry)
        return tuple(StateLayer(first[layer].name, first[layer].out_shape) for layer in range(len(first)))

    def incoming(self, layer: int) -> list[int]:
        """The connections that drive a layer."""
        return [number for number, geometry in enumerate(self.geometries) if geometry.target == layer]

    def outgoing(self, layer: int) -> list[int]:
        """The connections that a layer drives."""
        return [number for number, geometry in enumerate(self.geometries) if geometry.source == layer]

    def grid(self, connection: int) -> tuple[int, int]:
        """Row blocks and column blocks of a connection."""
        geometry = self.geometries[connection]
        columns = geometry.channels * self.array.cells_per_weight
        return -(-geometry.fan_in // self.array.rows), -(-columns // self.array.columns)

    def tile_range(self, connection: int) -> slice:
        """Tile indices of a connection; reshaped to :meth:`grid` they are [row_block, col_block]."""
        return slice(*self.starts[connection : connection + 2])

    @cached_property
    def starts(self) -> list[int]:
        """First tile of every connection, and after them the number of tiles."""
        sizes = [math.prod(self.grid(connection)) for connection in range(len(self.geometries))]
        return [0, *np.cumsum(sizes).tolist()]

    @cached_property
    def layer_of_tile(self) -> np.ndarray:
        """Layer that each tile drives, int64 [tiles]; layer 0 is driven by the image alone."""
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

    @property
    def sensed_slices(self) -> np.ndarray:
        """Slices whose results are converted apart, int64 [direction, 1]."""
        array = self.array
        return np.array([[array.slices // array.slices_per_conversion], [array.slices]], dtype=np.int64)

    @cached_property
    def passes(self) -> np.ndarray:
        """Passes that one read of each tile takes, int64 [direction, tiles]: ``sign_passes`` of the array where what
        drives its lines has a sign.
        """
        signed = np.array([self.geometries[tile.connection].signed for tile in self.tiles], dtype=bool)
        return np.where(signed.T, self.array.sign_passes, 1)

    @cached_property
    def conversions(self) -> np.ndarray:
        """Results that one read of each tile converts, in all slices and passes, int64 [direction, tiles]."""
        return self.sensed * self.sensed_slices * self.passes

    @cached_property
    def outputs(self) -> np.ndarray:
        """Output channels of each tile, int64 [tiles]; a channel belongs to the tile of its first column."""
        sizes = []
        for connection in range(len(self.geometries)):
            row_blocks, col_blocks = self.grid(connection)
            first_columns = np.bincount(self.column_blocks(connection)[:, 0], minlength=col_blocks)
            sizes.append(np.tile(first_columns, row_blocks))
        return np.concatenate(sizes)

    def row_blocks(self, connection: int) -> np.ndarray:
        """Row block of every row, int64 [kh, kw, inputs]: inputs are channels, or linear features."""
        geometry = self.geometries[connection]
        rows = np.arange(geometry.fan_in, dtype=np.int64)
        return (rows // self.array.rows).reshape(*geometry.kernel, -1)

    def column_blocks(self, connection: int) -> np.ndarray:
        """Column block of every cell of every output channel, int64 [channels, cells_per_weight]."""
        columns = np.arange(self.geometries[connection].channels * self.array.cells_per_weight, dtype=np.int64)
        return (columns // self.array.columns).reshape(-1, self.array.cells_per_weight)

    def driven_blocks(self, connection: int) -> np.ndarray:
        """Row blocks of the rows that each channel, or linear feature, drives somewhere, in ascending order, int64
        [channels, taps]. Under a stride these depend on the place of an input: [inputs, taps], -1 for a tap at which
        no position reads it. Borders are not looked at.
        """
        geometry, blocks = self.geometries[connection], self.row_blocks(connection)
        if geometry.stride > 1:
            down, right = (
                (np.arange(side) + geometry.padding - np.arange(taps)[:, None]) % geometry.stride == 0
                for side, taps in zip(geometry.in_shape[1:], geometry.kernel, strict=True)
            )
            read = down[:, None, None, :, None] & right[None, :, None, None, :]
            blocks = np.where(read, blocks[..., None, None], -1)
        return np.sort(blocks.reshape(math.prod(geometry.kernel), -1).T, axis=1)

    def input_destinations(self, connection: int) -> np.ndarray:
        """Tiles of a connection that hold a row of each of its inputs, int64 [*in_shape]."""
        blocks = self.driven_blocks(connection)
        distinct = (blocks[:, 0] >= 0) + (np.diff(blocks, axis=1) != 0).sum(axis=1)
        return spread(distinct * self.grid(connection)[1], self.geometries[connection].in_shape)

    def event_destinations(self, layer: int) -> np.ndarray:
        """Tiles an event of each neuron of a layer must reach, int64 [*shape].

        Those of every connection it drives that hold one of its rows; except in layer 0, whose input needs no feedback,
        those of every connection that drives it that hold one of its columns; and for every identity the tile beside
        which its counterpart lives.
        """
        reached = np.array([len(sender.destinations) for sender in self.senders], dtype=np.int64)
        return reached[self.sender_of(layer)]

    def home_tiles(self, layer: int) -> np.ndarray:
        """Tile beside which the sums of each channel of a layer are gathered: that of its first column in row block 0
        of the first connection that drives it, int64 [channels].
        """
        first = self.incoming(layer)[0]
        return self.tile_range(first).start + self.column_blocks(first)[:, 0]

    @cached_property
    def senders(self) -> tuple[Sender, ...]:
        """All groups of neurons whose messages go the same way, layer after layer."""
        return tuple(sender for group in self._sender_groups for sender in group[0])

    def sender_of(self, layer: int) -> np.ndarray:
        """Place in :attr:`senders` of every neuron of a layer, int64 [*shape]."""
        before = sum(len(group[0]) for group in self._sender_groups[:layer])
        return before + self._sender_groups[layer][1]

    @cached_property
    def _sender_groups(self) -> list[tuple[list[Sender], np.ndarray]]:
        return [senders_of_layer(self, layer) for layer in range(len(self.layers))]

    def to_frame(self) -> pd.DataFrame:
        """One row per tile: tile, layer, name, row_block, col_block, rows, columns, utilisation, reuse."""
        frame = pd.DataFrame(self.tiles).drop(columns="connection")
        return frame.rename(columns={"index": "tile"})


def plan_tiles(
    geometries: Sequence[ConnectionGeometry], array: ArrayGeometry, identities: Sequence[ConnectionGeometry] = ()
) -> TilePlan:
    """Cut every connection matrix into tiles of ``array``; the last block of a row or column is smaller.

    Raises :class:`ScenarioError` where no chip is made for the edges: connections out of order, layers without a
    connection of their own, another edge from the image than the first, sums of different shapes.
    """
    placed = tuple(
        geometry if geometry.target is not None else replace(geometry, source=number - 1, target=number)
        for number, geometry in enumerate(geometries)
    )
    tiles: list[Tile] = []
    for connection, geometry in enumerate(placed):
        columns = geometry.channels * array.cells_per_weight
        for row_block, first_row in enumerate(range(0, geometry.fan_in, array.rows)):
            for col_block, first_column in enumerate(range(0, columns, array.columns)):
                used_rows = min(array.rows, geometry.fan_in - first_row)
                used_columns = min(array.columns, columns - first_column)
                tiles.append(
                    Tile(
                        index=len(tiles),
                        layer=geometry.ends[1],
                        name=geometry.name,
                        row_block=row_block,
                        col_block=col_block,
                        rows=used_rows,
                        columns=used_columns,
                        utilisation=used_rows * used_columns / (array.rows * array.columns),
                        reuse=geometry.positions,
                        connection=connection,
                    )
                )
    plan = TilePlan(array, placed, tuple(tiles), tuple(identities))
    _refuse_unplaceable(plan)
    return plan


def _refuse_unplaceable(plan: TilePlan) -> None:
    """Raises :class:`ScenarioError` for edges that tiles, routes and bill have no place for."""
    targets = [geometry.ends[1] for geometry in plan.geometries]
    if targets != sorted(targets) or set(targets) != set(range(max(targets) + 1)):
        raise ScenarioError(
            f"network: the connections drive the layers {targets}; the states of a layer live beside the tiles of the "
            "first connection that drives it, so each needs one, in the order of the layers"
        )
    for number, edge in enumerate(plan.edges):
        source, target = edge.ends
        if not IMAGE <= source < target < len(plan.layers) or (source == IMAGE) != (number == 0):
            raise ScenarioError(
                f"network: {edge.name} leads from layer {source} to layer {target}; on a chip the first connection, "
                "and no other edge, reads the image (-1), and edges lead from lower to higher layers"
            )
        shape = plan.layers[target].shape
        if edge.out_shape != shape:
            raise ScenarioError(
                f"network: {edge.name} gives layer {plan.layers[target].name} the shape {edge.out_shape}, not {shape}; "
                "drives that are added need the same"
            )
        if edge.kind == "identity" and edge.in_shape != plan.layers[source].shape:
            raise ScenarioError(
                f"network: the identity {edge.name} takes {edge.in_shape}, but layer {plan.layers[source].name} is "
                f"{plan.layers[source].shape}; they must be the same"
            )
