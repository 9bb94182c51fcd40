"""What is added to the drives in a nudge phase."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from copy import copy

import torch
from torch import Tensor

from neurosim_ep.ep.feedback import Feedback
from neurosim_ep.ep.losses import readout_nudge
from neurosim_ep.ep.network import Network, channels_last
from neurosim_ep.ep.signals import Objective


class Nudge:
    """The error signals of a batch: ``−β_r ∂L/∂s`` with a signed β per row (arXiv 2508.15989, Eq 9 and 10), L being the
    ``objective``, times what ``feedback`` makes of an error below the last layer.

    The phases of a sample relax as neighbouring rows: ``signed_beta`` (R,) holds one β per row, R being a multiple of
    the number of samples.
    """

    def __init__(
        self, network: Network, objective: Objective, signed_beta: Tensor, feedback: Feedback | None = None
    ) -> None:
        onehot, errors = objective.onehot, objective.errors
        self.network, self.beta, self.signals = network, signed_beta, errors.signals
        self.feedback = feedback or Feedback(network)
        self.alpha, self.signal_beta = errors.alpha, signed_beta * errors.alpha
        copies = len(signed_beta) // len(onehot)
        self.onehot = onehot.repeat_interleave(copies, 0)
        targets = {} if errors.signals is None else errors.signals.targets(onehot, errors.teacher or {})
        self.targets = {layer: channels_last(q.repeat_interleave(copies, 0)) for layer, q in targets.items()}

    def add_(self, layer: int, drive: Tensor, state: Tensor) -> None:
        """Add to ``drive`` of ``layer``, in place, the nudge at its ``state``; both are first rows (r, *shape)."""
        if layer == self.network.layers - 1:
            push = readout_nudge(state, self.network.readout, self.onehot[: len(state)])
            drive.addcmul_(_per_row(self.beta, push), push)
        if self.signals is not None and layer in self.targets:
            push = self.signals.nudge(layer, state, self.targets[layer][: len(state)])
            drive.addcmul_(_per_row(self.signal_beta, push), push, value=self.feedback.of_error(layer))

    def pushes(self, layer: int) -> bool:
        """Whether an error acts on ``layer`` directly."""
        return layer == self.network.layers - 1 or layer in self.targets

    @property
    def kind(self) -> Hashable:
        """What two nudges must have in common for one to take over the tensors of the other."""
        return self.signals, tuple(self.targets)

    def row_buffers(self) -> list[Tensor]:
        """What belongs to single samples, one row per row of the batch."""
        return [self.onehot, *self.targets.values()]

    def twin(self) -> Nudge:
        """The same nudge with tensors of its own."""
        twin = copy(self)
        twin.beta, twin.signal_beta, twin.onehot = self.beta.clone(), self.signal_beta.clone(), self.onehot.clone()
        twin.targets = {layer: q.clone() for layer, q in self.targets.items()}
        return twin

    def tensors(self) -> list[Tensor]:
        """All that differs from one batch to the next."""
        return [self.beta, self.signal_beta, *self.row_buffers()]


def per_row(factors: Sequence[float], batch: int, like: Tensor) -> Tensor:
    """One of ``factors`` for each row of ``batch`` samples whose phases are neighbouring rows.

    Of the format of ``like``, on its device, which is not waited for.
    """
    return torch.stack([like.new_full((batch,), factor) for factor in factors], 1).flatten()


def _per_row(factor: Tensor, like: Tensor) -> Tensor:
    return factor[: len(like)].view(-1, *(1,) * (like.dim() - 1))
