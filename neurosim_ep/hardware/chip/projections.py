"""Digital units beside the tiles: the softmax readout and the intermediate signals."""

from __future__ import annotations

from typing import NamedTuple


class Projection(NamedTuple):
    """A unit that compares state layer ``layer`` with targets of ``classes`` numbers: through a classes x features
    matrix, ``learned`` when training changes it, or ``direct``ly, neuron by neuron (classes = features, no matrix).
    ``off_chip_bits``: stored targets that are fetched for each sample.
    """

    layer: int
    features: int
    classes: int
    learned: bool = False
    direct: bool = False
    off_chip_bits: int = 0

    @property
    def weights(self) -> int:
        """Entries of the matrix."""
        return 0 if self.direct else self.features * self.classes

    @property
    def nudge_multiply_adds(self) -> int:
        """Per sample and nudge tick: logits, and the error back to the states; a direct error is one per neuron."""
        return self.features if self.direct else 2 * self.weights
