"""The tile plan: every cell of every connection matrix lies in exactly one tile."""

from __future__ import annotations

import math

import numpy as np
import pytest

from neurosim_ep.tiles.mapping import ArrayGeometry, ConnectionGeometry, plan_tiles

CONV = ConnectionGeometry("conv1", "conv", (5, 6, 6), (7, 6, 6), (7, 3, 3), (3, 3), 1, "max")
LINEAR = ConnectionGeometry("fc1", "linear", (7, 3, 3), (10,), (10,))
HEAD = ConnectionGeometry("fc2", "linear", (10,), (3,), (3,))


def test_remainder_tiles_are_smaller_and_nothing_is_dropped() -> None:
    plan = plan_tiles([CONV, LINEAR], ArrayGeometry(rows=16, columns=8, cells_per_weight=2))
    assert plan.grid(0) == (3, 2)  # 45 rows of 16, 14 columns of 8
    shapes = [(t.row_block, t.col_block, t.rows, t.columns) for t in plan.tiles if t.layer == 0]
    assert shapes == [
        (0, 0, 16, 8),
        (0, 1, 16, 6),
        (1, 0, 16, 8),
        (1, 1, 16, 6),
        (2, 0, 13, 8),
        (2, 1, 13, 6),
    ]
    assert [tile.index for tile in plan.tiles] == list(range(len(plan.tiles)))
    for layer, geometry in enumerate((CONV, LINEAR)):
        tiles = plan.tiles[plan.tile_range(layer)]
        assert {tile.layer for tile in tiles} == {layer}
        assert sum(tile.rows * tile.columns for tile in tiles) == 2 * geometry.weights


def test_utilisation_and_reuse() -> None:
    plan = plan_tiles([CONV, HEAD], ArrayGeometry(rows=16, columns=8))
    corner = plan.tiles[5]
    assert corner.utilisation == pytest.approx(13 * 6 / 128)
    assert corner.reuse == 36
    assert plan.tiles[-1].reuse == 1


def test_a_split_differential_pair_lies_in_two_column_blocks() -> None:
    plan = plan_tiles([HEAD], ArrayGeometry(rows=16, columns=3, cells_per_weight=2))
    assert plan.column_blocks(0).tolist() == [[0, 0], [0, 1], [1, 1]]


def test_rows_have_c_in_fastest() -> None:
    plan = plan_tiles([CONV], ArrayGeometry(rows=4, columns=8))
    blocks = plan.row_blocks(0)
    for i, j, c in np.ndindex(3, 3, 5):
        assert blocks[i, j, c] == ((i * 3 + j) * 5 + c) // 4


def test_linear_rows_follow_the_flattened_input() -> None:
    plan = plan_tiles([LINEAR], ArrayGeometry(rows=10, columns=64))
    expected = np.arange(63).reshape(7, 3, 3) // 10
    assert (plan.row_blocks(0).reshape(7, 3, 3) == expected).all()


@pytest.mark.parametrize("columns", [3, 8, 64])
def test_destinations_equal_a_loop_over_tiles(columns: int) -> None:
    array = ArrayGeometry(rows=4, columns=columns, cells_per_weight=2)
    plan = plan_tiles([CONV, LINEAR, HEAD], array)
    for layer, shape in enumerate([(7, 3, 3), (10,), (3,)]):
        found = plan.event_destinations(layer)
        assert found.shape == shape
        for neuron in np.ndindex(*shape):
            reached = set()
            if layer < 2:
                row = np.ravel_multi_index(neuron, shape)
                first = [4 * t.row_block for t in plan.tiles]
                reached |= {t.index for t in plan.tiles if t.layer == layer + 1 and 0 <= row - first[t.index] < 4}
            if layer > 0:
                for column in (2 * neuron[0], 2 * neuron[0] + 1):
                    reached |= {t.index for t in plan.tiles if t.layer == layer and t.col_block == column // columns}
            assert found[neuron] == len(reached)


def test_conv_input_reaches_every_block_that_holds_its_channel() -> None:
    plan = plan_tiles([CONV], ArrayGeometry(rows=16, columns=8))
    found = plan.input_destinations(0)
    for channel in range(5):
        blocks = {(tap * 5 + channel) // 16 for tap in range(9)}
        assert (found[channel] == 2 * len(blocks)).all()


def test_frame_lists_the_plan() -> None:
    plan = plan_tiles([CONV, HEAD], ArrayGeometry(rows=16, columns=8))
    frame = plan.to_frame()
    assert list(frame.columns) == [
        "tile", "layer", "name", "row_block", "col_block", "rows", "columns", "utilisation", "reuse",
    ]  # fmt: skip
    assert len(frame) == len(plan.tiles) == 6 + 1
    cells = (frame["rows"] * frame["columns"]).sum()
    assert cells == 2 * (CONV.weights + HEAD.weights)
    assert math.isclose(frame.utilisation.sum() * 128, cells)
