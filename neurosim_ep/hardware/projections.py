"""Digital matrices beside the tiles: the softmax readout and the projections of intermediate signals."""

from __future__ import annotations

from typing import NamedTuple


class Projection(NamedTuple):
    """A classes x features matrix that reads state layer ``layer``; ``learned`` when training changes it."""

    layer: int
    features: int
    classes: int
    learned: bool = False

    @property
    def weights(self) -> int:
        """Entries of the matrix."""
        return self.features * self.classes
