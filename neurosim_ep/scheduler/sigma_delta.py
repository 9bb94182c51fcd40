"""What neurons send: a state only when it has moved away from the value its receivers hold.

Sigma-delta coding with the corrected reference: neuron i sends at a tick when ``|s_i − ŝ_i| > θ``, ŝ_i being the
value it last sent, and ŝ_i becomes s_i. Receivers hold ŝ; they are never further than θ from s, and their error does
not add up. With θ = 0 they hold s itself, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neurosim_ep.ep.network import channels_last


class SigmaDelta:
    """The values last sent by the neurons of every layer, for a batch of rows.

    ``thresholds``: θ of each layer. ``last[n]`` (rows, *shape): ŝ, 0 before anything was sent. ``sent[n]``: mask of the
    neurons that sent when :meth:`send` was last called, over the rows it was called for.
    """

    def __init__(self, thresholds: Sequence[float], states: Sequence[Tensor]) -> None:
        self.thresholds = list(thresholds)
        self.last = [torch.zeros_like(state) for state in states]
        self.sent: list[Tensor] = [torch.empty(0)] * len(self.last)

    def send(self, layer: int, state: Tensor) -> None:
        """Let the neurons of ``layer`` compare ``state`` (R, *shape), the first R rows, with what they last sent."""
        last = self.last[layer][: len(state)]
        self.sent[layer] = self._moved(layer, state)
        torch.where(self.sent[layer], state, last, out=last)

    def held(self, layer: int, state: Tensor) -> Tensor:
        """What receivers will hold of ``state`` (R, *shape) once it has been sent where it must be."""
        return torch.where(self._moved(layer, state), state, self.last[layer][: len(state)])

    def _moved(self, layer: int, state: Tensor) -> Tensor:
        return (state - self.last[layer][: len(state)]).abs_() > self.thresholds[layer]

    def fork(self, copies: int) -> SigmaDelta:
        """The same senders with ``copies`` neighbouring rows for each row: where the nudge phases start from."""
        forked = SigmaDelta(self.thresholds, ())
        forked.last = [repeat_rows(last, copies) for last in self.last]
        forked.sent = [torch.empty(0)] * len(self.last)
        return forked


def repeat_rows(value: Tensor, copies: int) -> Tensor:
    """Each row of ``value`` (B, ...) ``copies`` times in a row: (B·copies, ...)."""
    return channels_last(value.repeat_interleave(copies, 0))
