"""Levels of a chip: which tiles make a core, and which cores a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neurosim_ep.hardware.model.sections import HardwareModel
from neurosim_ep.tiles.mapping import TilePlan


@dataclass(frozen=True)
class Levels:
    """``tiles`` in their order fill cores of ``per_core``, and these clusters of ``per_cluster`` cores."""

    tiles: int
    per_core: int = 1
    per_cluster: int = 1

    @classmethod
    def of(cls, tiles: int, model: HardwareModel) -> Levels:
        """Those of a chip of ``model``; without a level, every part is one by itself."""
        core, cluster = model.core, model.cluster
        return cls(tiles, core.tiles.value if core else 1, cluster.cores.value if cluster else 1)

    @property
    def cores(self) -> int:
        """Cores of the chip."""
        return -(-self.tiles // self.per_core)

    @property
    def nodes(self) -> int:
        """Clusters, each with a router of the mesh."""
        return -(-self.cores // self.per_cluster)

    @cached_property
    def core_of(self) -> np.ndarray:
        """Core of each tile, int64 [tiles]."""
        return np.arange(self.tiles, dtype=np.int64) // self.per_core

    @cached_property
    def node_of(self) -> np.ndarray:
        """Cluster of each tile, int64 [tiles]."""
        return self.core_of // self.per_cluster

    def summed(self, sizes: np.ndarray, *, shared: bool) -> np.ndarray:
        """``sizes`` [tiles], or where the tiles of a core ``shared`` one thing, its sum for each of them."""
        if not shared:
            return sizes
        return np.bincount(self.core_of, weights=sizes, minlength=self.cores)[self.core_of]

    def owners(self, *, shared: bool) -> np.ndarray:
        """The tiles that have a thing of their own, or where those of a core ``shared`` it, the first of each core."""
        return np.unique(self.core_of, return_index=True)[1] if shared else np.arange(self.tiles)


def instances(plan: TilePlan, members: int, copies: np.ndarray | None = None) -> np.ndarray:
    """How many groups of ``members`` tiles begin in each connection, int64 [connections], when its tiles are there
    ``copies`` times.
    """
    times = np.ones(len(plan.tiles), np.int64) if copies is None else copies
    before = np.append(0, np.cumsum(times))[plan.starts]
    return np.diff(-(-before // members))
