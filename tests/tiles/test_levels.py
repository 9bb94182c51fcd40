"""Cells with few levels use their whole range: the largest weight of a connection stands at its end."""

from __future__ import annotations

import numpy as np
import pytest

from neurosim_ep.ep.network import build_network
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.scenario.schema import CellsSection, HardwareSection
from neurosim_ep.tiles.crossbar import Circuit
from neurosim_ep.tiles.mapping import ArrayGeometry, ConnectionGeometry, plan_tiles
from neurosim_ep.tiles.network_tiles import ChipTiles, make_tiles


def chip(levels: int, cells_per_weight: int) -> ChipTiles:
    network = build_network(load_scenario("smoke").network, num_classes=10, image_shape=(3, 32, 32), seed=0)
    geometries = [ConnectionGeometry.from_connection(one) for one in network.connections]
    plan = plan_tiles(geometries, ArrayGeometry(128, 128, cells_per_weight), [])
    section = HardwareSection(cells=CellsSection(levels=levels))
    made = make_tiles(network, plan, section, Circuit(on_S=1e-4, wire_ohm=0.0), 0.1, seed=0)
    assert made is not None
    return made


def rounded(weights: np.ndarray, levels: int, cells_per_weight: int) -> np.ndarray:
    """The nearest weight that a pair, or a cell beside a reference column, of ``levels`` holds."""
    share = weights / np.abs(weights).max()
    if cells_per_weight == 2:
        share = np.rint(share * (levels - 1)) / (levels - 1)
    else:
        share = np.rint((share + 1) / 2 * (levels - 1)) / (levels - 1) * 2 - 1
    return share * np.abs(weights).max()


@pytest.mark.parametrize("cells_per_weight", [1, 2])
@pytest.mark.parametrize("levels", [2, 4, 16])
def test_the_largest_weight_takes_the_whole_range(levels: int, cells_per_weight: int) -> None:
    """At the start, and when the weights have grown or shrunk."""
    tiles = chip(levels, cells_per_weight)
    for factor in (1.0, 3.0, 0.1):
        for connection in tiles.network.connections:
            connection.weight.mul_(factor)
        tiles.program()
        for connection, array in zip(tiles.network.connections, tiles.arrays, strict=True):
            held, wanted = array.weight().numpy(), connection.weight.numpy()
            np.testing.assert_allclose(held, rounded(wanted, levels, cells_per_weight), rtol=0, atol=1e-5 * factor)
            different = np.unique(np.rint(held / np.abs(wanted).max() * 1000)).size
            assert different == (2 * levels - 1 if cells_per_weight == 2 else levels)
