"""The definitions of reads, lines and updates of tiles, one line at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from neurosim_ep.tiles.mapping import TilePlan

BATCH = 2


def sparse(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(BATCH, *shape) * (torch.rand(BATCH, *shape) < 0.3)


def mask(shape: tuple[int, ...]) -> Tensor:
    """0 and 1 at random."""
    return (torch.rand(BATCH, *shape) < 0.3).float()


def route(connection: SimpleNamespace, post: Tensor, z: Tensor) -> Tensor:
    """P^-1 of a post state: zeros off the argmax of z, or spread evenly."""
    if connection.pool is None:
        return post
    height, width = connection.pre_pool_shape[1:]
    if connection.pool == "avg":
        routed = F.interpolate(post, scale_factor=2, mode="nearest") / 4
    else:
        _, indices = F.max_pool2d(z, 2, return_indices=True)
        return F.max_unpool2d(post, indices, 2, output_size=(height, width))
    return F.pad(routed, (0, width - routed.shape[-1], 0, height - routed.shape[-2]))


def row_vectors(connection: SimpleNamespace, value: np.ndarray) -> Iterator[tuple[tuple, list[float]]]:
    """(position, im2col vector in row order) of one sample, written out index by index."""
    if connection.kind == "linear":
        yield (), [value[i] for i in np.ndindex(*value.shape)]
        return
    channels, height, width = value.shape
    kernel, pad, step = connection.weight.shape[2], connection.padding, connection.stride
    for y, x in np.ndindex(*connection.pre_pool_shape[1:]):
        vector = []
        for i, j, c in np.ndindex(kernel, kernel, channels):
            row, column = step * y + i - pad, step * x + j - pad
            inside = 0 <= row < height and 0 <= column < width
            vector.append(value[c, row, column] if inside else 0.0)
        yield (y, x), vector


def column_vectors(routed: np.ndarray, cells: int) -> Iterator[tuple[tuple, list[float]]]:
    """(position, what drives the physical columns) of one sample."""
    for position in np.ndindex(*routed.shape[1:]):
        yield position, [routed[(c, *position)] for c in range(routed.shape[0]) for _ in range(cells)]


class BruteForce:
    """The definitions of reads and lines, one line at a time, with tiles found by division."""

    def __init__(self, plan: TilePlan) -> None:
        self.plan, self.array = plan, plan.array
        self.counts: dict[tuple, int] = defaultdict(int)
        self.adds: dict[int, int] = defaultdict(int)

    def tile(self, layer: int, row: int, column: int) -> int:
        found = [
            t.index
            for t in self.plan.tiles
            if (t.connection, t.row_block, t.col_block) == (layer, row // self.array.rows, column // self.array.columns)
        ]
        return found[0]

    def tiles(self, layer: int) -> list:
        return [tile for tile in self.plan.tiles if tile.connection == layer]

    def read(self, layer: int, phase: str, direction: str, accounting: str, vectors: list) -> None:
        """Values of either sign are driven apart where the lines carry no sign: all results are converted twice."""
        forward = direction == "forward"
        apart = self.array.sign_passes == 2 and self.plan.geometries[layer].signed[0 if forward else 1]
        for _, vector in vectors:
            parts = [[max(v, 0) for v in vector], [min(v, 0) for v in vector]] if apart else [vector]
            for tile in self.tiles(layer):
                block, size = (tile.row_block, self.array.rows) if forward else (tile.col_block, self.array.columns)
                active = sum(v != 0 and line // size == block for part in parts for line, v in enumerate(part))
                read = 1 if accounting == "clocked" or active else 0
                sensed = tile.columns if forward else tile.rows
                key = (phase, accounting, direction)
                self.counts[(*key, "reads", tile.index)] += read
                self.counts[(*key, "active_lines", tile.index)] += active
                self.counts[(*key, "adc_conversions", tile.index)] += len(parts) * read * sensed * self.array.slices
                self.counts[(*key, "dac_conversions", tile.index)] += active * self.array.input_pulses

    def update(self, layer: int, rows: list, columns: list) -> None:
        for (_, row_values), (_, column_values) in zip(rows, columns, strict=True):
            for row, u in enumerate(row_values):
                for column in range(0, len(column_values), self.array.cells_per_weight):
                    if u != 0 and column_values[column] != 0:
                        self.adds[self.tile(layer, row, column)] += 1
