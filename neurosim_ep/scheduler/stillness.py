"""Reads that are spared at the beginning of a phase, as their states have not moved yet: the numbers stay the same, but
for rounding where products of half as many rows are summed in another order.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neurosim_ep.scheduler.kernels import Kernel
from neurosim_ep.scheduler.sigma_delta import repeat_rows


class Stillness:
    """What is known of layers that have not been updated since a phase began from ``states`` (rows, *shape).

    Those at 0 pass nothing down. Where ``copies`` phases of a sample relax side by side they begin with one state, so
    that it is read once for all of them; with ``copies`` = 1 every row is read. Where ticks are ``replayed`` nothing is
    known: what is captured must hold for any states, and those of a device would have to be waited for.
    """

    def __init__(self, states: Sequence[Tensor], copies: int, replayed: bool) -> None:
        self._states, self._copies = states, copies
        self._unmoved = set() if replayed else set(range(len(states)))
        self._reads: dict[int, Tensor] = {}

    def moved(self, layer: int) -> None:
        """``layer`` has been updated."""
        self._unmoved.discard(layer)

    def forget(self) -> None:
        """The states are others now."""
        self._unmoved.clear()
        self._reads.clear()

    def nothing_from(self, layer: int) -> bool:
        """Whether the states of ``layer`` are still all 0."""
        return layer in self._unmoved and not self._states[layer].any()

    def keep(self, edge: int, read: Tensor) -> None:
        """Keep the ``read`` (B, *shape) of ``edge`` at the states that the phases have in common."""
        if self._copies > 1 and self._unmoved:
            self._reads[edge] = read

    def forward(self, edge: int, kernel: Kernel, source: int, pre: Tensor) -> Tensor:
        """Forward read of ``edge`` at the states ``pre`` (rows, *shape) of layer ``source``."""
        kept = self._reads.pop(edge, None)
        if self._copies == 1 or source not in self._unmoved or not kernel.repeatable:
            return kernel.forward(pre)
        if kept is None:  # the first rows of all samples, in memory of their own as convolutions read them
            kept = kernel.forward(pre[:: self._copies].clone(memory_format=torch.preserve_format))
        return repeat_rows(kept[: len(pre) // self._copies], self._copies)
