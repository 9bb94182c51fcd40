"""What layers pass down in a phase: what the columns of an edge are driven with, and the gain of what they give."""

from __future__ import annotations

import torch
from torch import Tensor

from neurosim_ep.ep.feedback import Feedback


class Downwards:
    """The gains of ``feedback`` in a free phase, or in one that is ``nudged``.

    ``free``: where the displacement has a gain of its own (``apart``), what receivers knew of the state (B, *shape) of
    each layer that the phases of a sample start from, else nothing.
    """

    def __init__(self, feedback: Feedback, nudged: bool) -> None:
        self.feedback, self.apart = feedback, nudged and feedback.apart
        self.free: list[Tensor] = []
        self._gains = feedback.gains(nudged)

    def silent(self, edge: int) -> bool:
        """Whether nothing is passed down ``edge``, which need not be read then."""
        return self._gains[edge].gain == 0

    def driven(self, edge: int, layer: int, post: Tensor, samples: int) -> Tensor:
        """What ``layer`` at ``post`` (rows, *shape) drives the columns of ``edge`` with, for the first ``samples``: the
        state, or ``rest · s* + away · (s − s*)``.
        """
        if not self.apart:
            return post
        _, rest, away = self._gains[edge]
        by_sample = (post if away == 1 else post * away).unflatten(0, (samples, -1))
        return torch.add(by_sample, self.free[layer][:samples].unsqueeze(1), alpha=rest - away).flatten(0, 1)

    def weighed(self, edge: int, drive: Tensor, own: bool) -> Tensor:
        """``drive``, what a read of ``edge`` gave, times its gain; in place where it is the read's ``own`` memory."""
        gain = self._gains[edge].gain
        if gain == 1:
            return drive
        return drive.mul_(gain) if own else drive * gain
