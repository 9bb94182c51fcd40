"""What crosses the networks inside cores and clusters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from neurosim_ep.hardware.chip.components import Part
from neurosim_ep.hardware.chip.levels import Levels
from neurosim_ep.hardware.chip.routes import PORT, Route, Routes
from neurosim_ep.hardware.model.sections import HardwareModel


class Carried(NamedTuple):
    """What is carried in a phase: bits x links over the mesh, by component, bits over the networks of cores and of
    clusters, and bits from outside, by the layer that pays, float64 [layers + 1]; the most flits that any link carries,
    and bits that any core or cluster does.
    """

    mesh: dict[Part, np.ndarray]
    core: np.ndarray
    cluster: np.ndarray
    outside: np.ndarray
    busiest_link: int
    busiest_core: float
    busiest_cluster: float


@dataclass(frozen=True)
class Transfers:
    """Transfers of ``routes`` over the networks of cores and of clusters.

    A core's network carries what a tile sends to others of it or to its port, and what arrives there for a tile, once
    however many tiles take it. States start at the port where the core shares neurons, and end there, as inputs do,
    where it shares inputs. A cluster's network carries once what is delivered in it to another core.
    """

    routes: Routes
    model: HardwareModel

    @cached_property
    def in_cores(self) -> np.ndarray:
        """One row per transfer, int64 [transfers, 2]: route, core."""
        levels = self.routes.levels
        return _rows([self._cores(route, levels) for route in self.routes.all] if levels.per_core > 1 else [])

    @cached_property
    def in_clusters(self) -> np.ndarray:
        """One row per transfer, int64 [transfers, 2]: route, cluster."""
        levels = self.routes.levels
        return _rows([_clusters(route, levels) for route in self.routes.all] if levels.per_cluster > 1 else [])

    def _cores(self, route: Route, levels: Levels) -> set[int]:
        neurons, inputs = self.model.shared("neurons"), self.model.shared("inputs")
        part = route.component
        taken = inputs if part in (Part.MESSAGE, Part.INPUT) else neurons  # at the port, by what the core shares
        starts_at_port = route.source == PORT or (part is Part.MESSAGE and neurons)
        home = -1 if route.source == PORT else int(levels.core_of[route.source])
        others = [tile for tile in route.destinations if tile != route.source or starts_at_port]
        if part is Part.PARTIAL_SUM and neurons:
            others = list(route.destinations)  # what a tile has read goes to the port, though it be its own
        found = set() if taken else {int(levels.core_of[tile]) for tile in others}
        if others and not starts_at_port:
            found.add(home)
        return found


def _clusters(route: Route, levels: Levels) -> set[int]:
    home = None if route.source == PORT else int(levels.core_of[route.source])
    return {int(levels.node_of[tile]) for tile in route.destinations if int(levels.core_of[tile]) != home}


def _rows(places: list[set[int]]) -> np.ndarray:
    rows = [(number, place) for number, found in enumerate(places) for place in sorted(found)]
    return np.array(rows, dtype=np.int64).reshape(-1, 2)
