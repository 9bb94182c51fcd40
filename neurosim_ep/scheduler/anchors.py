"""Reduced precision without lost differences: reads are made from a state that was read in full precision.

Every read is linear before its pooling, so ``w ⋆ s + b = (w ⋆ s° + b) + w ⋆ (s − s°)`` for any anchor s°. The bracket
is computed once in float32, and only ``s − s°`` is rounded on its way through the convolution: the error is a part of
the distance to the anchor, not of the state, and fades as the states come to rest. In a nudge phase the anchor is the
free state, so the small differences between the phases, of which gradients are made, keep their leading digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from neurosim_ep.ep.arithmetic import tf32
from neurosim_ep.ep.network import channels_last
from neurosim_ep.ep.primitive import pool_forward
from neurosim_ep.scheduler.kernels import Kernel

FIRST, EVERY = 4, 32  # ticks to the first anchor of a free phase, and at most between two


def anchor_after(tick: int) -> int:
    """The first tick after ``tick`` of a free phase at which it takes an anchor: 4, 8, 16, 32, then every 32nd.

    States move most at first, and rounding then decides which of several fixed points they reach.
    """
    following = FIRST
    while following <= tick:
        following += min(following, EVERY)
    return following


class Anchor(NamedTuple):
    """Both reads of one connection at its anchor, each (B, *shape): what went in and what came out in float32."""

    pre: Tensor
    z: Tensor
    routed: Tensor
    feedback: Tensor


class Anchors:
    """Reads of a batch with ``kernels`` of reduced precision, anchored by the same reads with ``exact`` ones.

    ``copies`` neighbouring rows share the anchor of their sample; the first one of a free phase are states of zero.
    """

    def __init__(self, kernels: Sequence[Kernel], exact: Sequence[Kernel], copies: int) -> None:
        self.kernels, self.exact, self.copies = kernels, exact, copies
        self._anchors: dict[int, Anchor] = {}

    def forward(self, layer: int, pre: Tensor) -> Tensor:
        """``w ⋆ pre + b`` of connection ``layer`` for the first rows (R, *in_shape)."""
        if layer not in self._anchors:
            return self.kernels[layer].forward(pre)
        anchor = self._anchors[layer]
        return self._from(anchor.z, self.kernels[layer].forward(self._away(pre, anchor.pre), bias=False))

    def feedback(self, layer: int, routed: Tensor) -> Tensor:
        """``w ⋆ᵀ routed`` of connection ``layer`` for the first rows (R, *pre_pool_shape)."""
        if layer not in self._anchors:
            return self.kernels[layer].feedback(routed)
        anchor = self._anchors[layer]
        return self._from(anchor.feedback, self.kernels[layer].feedback(self._away(routed, anchor.routed)))

    def clear(self, samples: int) -> None:
        """Anchor all of the ``samples`` at states of zero."""
        for layer, kernel in enumerate(self.kernels[1:], start=1):
            if kernel.connection.kind == "conv":
                anchor = self._of(layer, samples)
                for part in anchor:
                    part.zero_()
                anchor.z.copy_(kernel.connection.bias.view(-1, 1, 1))

    def take(self, layer: int, pre: Tensor, post: Tensor, samples: int, places: Tensor | slice) -> None:
        """Anchor connection ``layer`` at the states of the samples at ``places``, the first of each sample's rows.

        There are ``samples`` in all; linear layers are computed in full precision anyway.
        """
        connection = self.kernels[layer].connection
        if connection.kind == "linear":
            return
        pre, post = pre[:: self.copies][places], post[:: self.copies][places]
        with tf32(False):
            z = self.exact[layer].forward(pre)
            routed = connection.route(post, pool_forward(z, connection.pool)[1])
            found = Anchor(pre, z, routed, self.exact[layer].feedback(routed))
        for kept, part in zip(self._of(layer, samples), found, strict=True):
            kept[places] = part

    def admit(self, other: Anchors, places: Tensor) -> None:
        """Give the anchors of ``other`` to the samples at ``places``."""
        for mine, theirs in zip(self.sample_buffers(), other.sample_buffers(), strict=True):
            mine.index_copy_(0, places, theirs)

    def sample_buffers(self) -> list[Tensor]:
        """What is kept of each sample."""
        return [part for anchor in self._anchors.values() for part in anchor]

    def _of(self, layer: int, samples: int) -> Anchor:
        """The anchor of connection ``layer``, made when it is first needed."""
        if layer not in self._anchors:
            connection = self.kernels[layer].connection
            before, after = connection.in_shape, connection.pre_pool_shape
            parts = (connection.weight.new_empty(samples, *shape) for shape in (before, after, after, before))
            self._anchors[layer] = Anchor(*map(channels_last, parts))
        return self._anchors[layer]

    def _away(self, value: Tensor, anchor: Tensor) -> Tensor:
        samples = len(value) // self.copies
        return (value.unflatten(0, (samples, self.copies)) - anchor[:samples].unsqueeze(1)).flatten(0, 1)

    def _from(self, anchor: Tensor, difference: Tensor) -> Tensor:
        samples = len(difference) // self.copies
        difference.unflatten(0, (samples, self.copies)).add_(anchor[:samples].unsqueeze(1))
        return difference
