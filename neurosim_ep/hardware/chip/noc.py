"""The network on chip: a mesh on which messages are routed X first, then Y.

A message with several destinations travels as a tree, the union of those paths: it crosses each link once and is copied
where paths part. A message that stays at its tile crosses none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neurosim_ep.hardware.chip.placement import Placement
from neurosim_ep.hardware.chip.routes import PORT, Route

SIDES = ("east", "west", "south", "north")


@dataclass(frozen=True)
class Mesh:
    """``routes`` on a mesh whose tiles lie as ``placement`` says; the port is at the router (0, 0)."""

    placement: Placement
    routes: Sequence[Route]

    @cached_property
    def _segments(self) -> np.ndarray:
        """Straight pieces of all trees, int64 [pieces, 5]: route, side, row (column for south and north), and the
        routers from which the first link and the link after the last one leave, in ascending order.
        """
        pieces = []
        for number, route in enumerate(self.routes):
            sx, sy = self._where(route.source)
            where = [self._where(tile) for tile in route.destinations]
            columns: dict[int, list[int]] = {}
            for x, y in where:
                columns.setdefault(x, []).append(y)
            spans = [(0, sy, sx, max((*columns, sx))), (1, sy, min((*columns, sx)) + 1, sx + 1)]
            for x, rows in columns.items():
                spans += [(2, x, sy, max((*rows, sy))), (3, x, min((*rows, sy)) + 1, sy + 1)]
            pieces += [(number, *span) for span in spans if span[3] > span[2]]
        return np.array(pieces, dtype=np.int64).reshape(-1, 5)

    def _where(self, tile: int) -> tuple[int, int]:
        return (0, 0) if tile == PORT else (int(self.placement.x[tile]), int(self.placement.y[tile]))

    @cached_property
    def links(self) -> np.ndarray:
        """Links of the tree of every route, int64 [routes]."""
        route, _, _, first, after = self._segments.T
        return np.bincount(route, weights=after - first, minlength=len(self.routes)).astype(np.int64)

    def loads(self, amounts: np.ndarray) -> dict[str, np.ndarray]:
        """What crosses every directed link when ``amounts`` [routes] are sent: side to int64 [height, width] of the
        router that the link leaves; links that would leave the mesh carry 0.
        """
        height, width = self.placement.height, self.placement.width
        found = {}
        for side, name in enumerate(SIDES):
            route, _, across, first, after = self._segments[self._segments[:, 1] == side].T
            if side < 2:
                found[name] = crossed((height, width), across, first, after, amounts[route])
            else:
                found[name] = crossed((width, height), across, first, after, amounts[route]).T
        return found


def crossed(
    shape: tuple[int, int], line: np.ndarray, first: np.ndarray, after: np.ndarray, amounts: np.ndarray
) -> np.ndarray:
    """What crosses each place of lines of ``shape`` when ``amounts`` [pieces] go along each ``line`` from the place
    ``first`` to the one before ``after``, int64 [shape].
    """
    steps = np.zeros((shape[0], shape[1] + 1), np.int64)
    np.add.at(steps, (line, first), amounts)
    np.subtract.at(steps, (line, after), amounts)
    return steps.cumsum(1)[:, :-1]


def busiest(loads: dict[str, np.ndarray]) -> int:
    """The most that crosses any link."""
    return max(int(side.max(initial=0)) for side in loads.values())
