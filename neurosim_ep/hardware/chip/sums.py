"""Where partial sums are added up: first among the tiles of a core, then among the cores of a cluster, then over the
mesh, from each level on in a binary tree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from neurosim_ep.hardware.chip.levels import Levels
from neurosim_ep.tiles.mapping import TilePlan


def forward_groups(plan: TilePlan) -> Iterator[tuple[np.ndarray, int, int]]:
    """Tiles, home and number of results that are added up after forward reads: those of a column block go to the tiles
    beside which its channels live, for the first connection into a layer that of row block 0.
    """
    for connection, geometry in enumerate(plan.geometries):
        homes, blocks = plan.home_tiles(geometry.ends[1]), plan.column_blocks(connection)[:, 0]
        for block, tiles in enumerate(_grid(plan, connection).T):
            yield from _by_home(tiles, homes[blocks == block])


def transposed_groups(plan: TilePlan) -> Iterator[tuple[np.ndarray, int, int]]:
    """The same after transposed reads: those of a row block go to the tiles beside which the neurons of its rows
    live.
    """
    for connection, geometry in enumerate(plan.geometries[1:], 1):
        blocks, homes = plan.row_blocks(connection), plan.home_tiles(geometry.ends[0])
        homes = np.broadcast_to(homes.repeat(blocks.shape[-1] // len(homes)), blocks.shape)
        for block, tiles in enumerate(_grid(plan, connection)):
            yield from _by_home(tiles, homes[blocks == block])


def steps_to(home: int, tiles: Sequence[int], levels: Levels) -> list[tuple[int, int]]:
    """Where each of ``tiles`` sends its sum, with what it has got from others: pairs (source, destination), one for
    each tile. What ``home`` has read itself stays there.
    """
    steps = [(home, home)] if home in tiles else []
    leaders = {int(levels.core_of[home]): home}
    for tile in tiles:
        leader = leaders.setdefault(int(levels.core_of[tile]), tile)
        if tile != leader:
            steps.append((tile, leader))
    by_node: dict[int, list[int]] = {}
    for leader in leaders.values():
        by_node.setdefault(int(levels.node_of[leader]), []).append(leader)
    for members in (*by_node.values(), [members[0] for members in by_node.values()]):
        steps += [(members[place], members[place & (place - 1)]) for place in range(1, len(members))]
    return steps


def _grid(plan: TilePlan, connection: int) -> np.ndarray:
    tiles = plan.tile_range(connection)
    return np.arange(tiles.start, tiles.stop).reshape(plan.grid(connection))


def _by_home(tiles: np.ndarray, homes: np.ndarray) -> Iterator[tuple[np.ndarray, int, int]]:
    for home, share in zip(*np.unique(homes, return_counts=True), strict=True):
        yield tiles, int(home), int(share)
