"""Where the tiles lie on the mesh of the network on chip."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

MOVES_PER_TILE = 40
"""Exchanges that annealing tries per tile."""
COOLEST = 1e-3
"""Temperature at the end of annealing, relative to that at its beginning."""


@dataclass(frozen=True)
class Placement:
    """Coordinates ``x``, ``y`` (int64 [tiles]) of the router of every tile on a mesh of ``width`` x ``height`` routers.

    The chip's port to the outside is at the router (0, 0).
    """

    width: int
    height: int
    x: np.ndarray
    y: np.ndarray

    @property
    def diameter(self) -> int:
        """Links between opposite corners."""
        return self.width + self.height - 2

    def of(self, node_of: np.ndarray) -> Placement:
        """The placement of the tiles whose clusters ``node_of`` lie as here."""
        return replace(self, x=self.x[node_of], y=self.y[node_of])


def serpentine(tiles: int) -> Placement:
    """Tiles in their order, layer after layer, in rows that run to and fro: neighbours in order are neighbours on the
    mesh, which is as square as they allow.
    """
    width = math.isqrt(tiles - 1) + 1
    height = -(-tiles // width)
    number = np.arange(tiles)
    y, along = np.divmod(number, width)
    return Placement(width, height, np.where(y % 2 == 0, along, width - 1 - along), y)


def annealed(tiles: int, pairs: np.ndarray, bits: np.ndarray) -> Placement:
    """The placement with less ``Σ bits · distance`` that simulated annealing finds from the serpentine one.

    ``pairs`` (int64 [P, 2]): tiles that talk, ``bits`` [P]: how much. Exchanges two tiles at a time; the temperature
    falls geometrically from the mean cost of an exchange. The same arguments give the same placement.
    """
    start = serpentine(tiles)
    x, y = start.x.copy(), start.y.copy()
    talk = _symmetric(tiles, pairs, bits)
    random = np.random.default_rng(0)
    moves = MOVES_PER_TILE * tiles
    tried = random.integers(0, tiles, (moves, 2))
    chances = np.log(random.random(moves))
    costs = np.array([_exchange_cost(x, y, talk, a, b) for a, b in tried[: max(tiles, 1)]])
    hottest = float(np.abs(costs).mean()) or 1.0
    best, total, lowest = (x.copy(), y.copy()), 0.0, 0.0
    for move, (a, b) in enumerate(tried):
        temperature = hottest * COOLEST ** (move / moves)
        cost = _exchange_cost(x, y, talk, a, b)
        if cost < -chances[move] * temperature:
            x[[a, b]], y[[a, b]] = x[[b, a]], y[[b, a]]
            total += cost
            if total < lowest:
                lowest, best = total, (x.copy(), y.copy())
    return Placement(start.width, start.height, *best)


def _symmetric(tiles: int, pairs: np.ndarray, bits: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Partners of each tile and the bits exchanged with them, both ways together."""
    both = np.concatenate([pairs, pairs[:, ::-1]])
    weight = np.concatenate([bits, bits]).astype(np.float64)
    apart = both[:, 0] != both[:, 1]
    both, weight = both[apart], weight[apart]
    order = np.argsort(both[:, 0], kind="stable")
    both, weight = both[order], weight[order]
    cuts = np.searchsorted(both[:, 0], np.arange(1, tiles))
    return list(zip(np.split(both[:, 1], cuts), np.split(weight, cuts), strict=True))


def _exchange_cost(x: np.ndarray, y: np.ndarray, talk: list[tuple[np.ndarray, np.ndarray]], a: int, b: int) -> float:
    """Change of the cost when tiles ``a`` and ``b`` change places; what they say to each other stays as far."""
    change = 0.0
    for here, there in ((a, b), (b, a)):
        partners, bits = talk[here]
        apart = (partners != a) & (partners != b)
        others = partners[apart]
        now = np.abs(x[others] - x[here]) + np.abs(y[others] - y[here])
        then = np.abs(x[others] - x[there]) + np.abs(y[others] - y[there])
        change += float((bits[apart] * (then - now)).sum())
    return change
