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

    ``thresholds``: θ of each layer. ``last[n]`` (rows, *shape): ŝ, 0 before anything was sent.
    """

    def __init__(self, thresholds: Sequence[float], states: Sequence[Tensor]) -> None:
        self.thresholds = list(thresholds)
        self.last = [torch.zeros_like(channels_last(state)) for state in states]
        self._sent = [torch.zeros_like(last) for last in self.last]

    def row_buffers(self) -> list[Tensor]:
        """What belongs to single rows."""
        return [*self.last, *self._sent]

    def sent(self, layer: int, rows: int) -> Tensor:
        """1 where a neuron of the first ``rows`` rows sent when :meth:`send` was last called, else 0; of the states'
        number format, in which arithmetic is several times as fast as in bool.
        """
        return self._sent[layer][:rows]

    def send(self, layer: int, state: Tensor) -> None:
        """Let the neurons of ``layer`` compare ``state`` (R, *shape), the first R rows, with what they last sent."""
        last, sent = self.last[layer][: len(state)], self.sent(layer, len(state))
        torch.sub(state, last, out=sent)
        torch.ops.aten.hardshrink.out(sent, self.thresholds[layer], out=sent)
        sent.sign_().abs_()
        last.lerp_(state, sent)  # with weights of 0 and 1 exactly one of the two

    def received(self, layer: int, state: Tensor) -> Tensor:
        """What receivers will hold of ``state`` (R, *shape) once it has been sent where it must be."""
        last = self.last[layer][: len(state)]
        return torch.where((state - last).abs_() > self.thresholds[layer], state, last)

    def fork(self, copies: int) -> SigmaDelta:
        """The same senders with ``copies`` neighbouring rows for each row: where the nudge phases start from."""
        forked = SigmaDelta(self.thresholds, ())
        forked.last = [repeat_rows(last, copies) for last in self.last]
        forked._sent = [torch.zeros_like(last) for last in forked.last]
        return forked


def repeat_rows(value: Tensor, copies: int) -> Tensor:
    """Each row of ``value`` (B, ...) ``copies`` times in a row: (B·copies, ...)."""
    return channels_last(value.repeat_interleave(copies, 0))
