"""Small tile arrays for tests, and their reads written out as products with dense matrices."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from neurosim_ep.ep.edges import Connection
from neurosim_ep.scenario.schema import CellsSection, ConvertersSection, HardwareSection
from neurosim_ep.scenario.topology import LayerPlan
from neurosim_ep.tiles.cells import Cells
from neurosim_ep.tiles.conductance import Encoding
from neurosim_ep.tiles.converters import Drivers
from neurosim_ep.tiles.crossbar import FORWARD, Circuit, TileArray
from neurosim_ep.tiles.mapping import ArrayGeometry, ConnectionGeometry
from neurosim_ep.tiles.statistics import load_cells

IMAGES: dict[str, Any] = {"signed": True, "bound": None}
"""Options of the drivers of rows that an image drives."""
CIRCUIT = Circuit(on_S=1e-4, wire_ohm=2.0)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def connection(
    plan: LayerPlan, in_shape: tuple[int, ...], seed: int = 0, dtype: torch.dtype = torch.float64
) -> Connection:
    """A connection with random weights and biases."""
    made = Connection("layer", plan, in_shape)
    for tensor in (made.weight, made.bias):
        tensor.copy_(torch.rand(tensor.shape, generator=seeded(seed)) * 2 - 1)
    return made.to(dtype)


def fully_connected(inputs: int, outputs: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Connection:
    return connection(LayerPlan("linear", outputs), (inputs,), seed, dtype)


def tile_array(
    made: Connection,
    rows: int = 128,
    columns: int = 128,
    *,
    cells_per_weight: int = 2,
    slices: int = 1,
    levels: int = 0,
    off: float = 0.0,
    driven: tuple[dict[str, Any], dict[str, Any]] = ({}, {}),
    seed: int = 0,
    cells: dict[str, Any] | None = None,
    **converters: Any,
) -> TileArray:
    """Tiles that hold the weights of ``made``; ``levels`` are those of a cell, ``driven`` options of the drivers of
    rows and columns.
    """
    section = HardwareSection(converters=ConvertersSection(**converters), cells=CellsSection(**(cells or {})))
    geometry = ConnectionGeometry.from_connection(made)
    statistics = None if section.cells.statistics == "none" else load_cells(section.cells.statistics)
    held = Cells(
        Encoding(cells_per_weight, off, slices, levels or section.cells.levels),
        section.cells, statistics, (geometry.fan_in, geometry.channels), seeded(seed),
    )  # fmt: skip
    array = ArrayGeometry(rows, columns, cells_per_weight, slices)
    on_rows, on_columns = (Drivers(section.converters, **options) for options in driven)
    tiles = TileArray(geometry, array, section, CIRCUIT, held, (on_rows, on_columns))
    tiles.scale = float(made.weight.abs().max())
    tiles.random = seeded(seed + 1)
    tiles.hold(tiles.normalised(made.weight.detach()), tiles.random)
    return tiles


def dense(made: Connection) -> Tensor:
    """Normalised weights (rows, columns), rows of a convolution ordered (kh, kw, c_in)."""
    weight = made.weight.detach() / made.weight.detach().abs().max()
    return weight.permute(2, 3, 1, 0).flatten(0, 2) if weight.dim() == 4 else weight.T


def windows(made: Connection, pre: Tensor) -> Tensor:
    """What stands on the rows (B, positions, rows) for inputs (B, *in_shape)."""
    if made.kind == "linear":
        return pre.flatten(1).unsqueeze(1)
    kernel = made.weight.shape[2]
    columns = F.unfold(pre, kernel, padding=made.padding, stride=made.stride)
    return columns.unflatten(1, (-1, kernel**2)).permute(0, 3, 2, 1).flatten(2)


def drives(made: Connection, values: Tensor) -> Tensor:
    """Results (B, positions, columns) as (B, *pre_pool_shape)."""
    return values.transpose(1, 2).reshape(len(values), *made.pre_pool_shape)


def states(made: Connection, samples: int, seed: int = 0, side: str = "pre") -> Tensor:
    """Random states in [0, 1], some of them 0, on the inputs or, routed, on the outputs."""
    shape = made.in_shape if side == "pre" else made.pre_pool_shape
    drawn = torch.rand(samples, *shape, generator=seeded(seed + 100), dtype=made.weight.dtype)
    return (drawn * 1.5 - 0.5).clamp(min=0)


def relative(found: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest expected value."""
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())


MADE = fully_connected(11, 7)
ROWS, COLUMNS = 4, 6  # three blocks of rows, three of columns, with remainders


def blocks(made: Connection, direction: str) -> list[slice]:
    size, lines = (ROWS, len(dense(made))) if direction == FORWARD else (COLUMNS // 2, dense(made).shape[1])
    return [slice(start, min(start + size, lines)) for start in range(0, lines, size)]


def results(made: Connection, direction: str, put: Tensor) -> list[Tensor]:
    """What every block gives for ``put`` (..., driven lines) on all lines."""
    matrix = dense(made) if direction == FORWARD else dense(made).T
    return [put[..., lines] @ matrix[lines] for lines in blocks(made, direction)]


def read(tiles: TileArray, direction: str, value: Tensor) -> Tensor:
    return tiles.forward(value) if direction == FORWARD else tiles.feedback(value)
