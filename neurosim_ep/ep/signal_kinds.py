"""The kinds of error signals: what the states of a layer are compared with, and through which matrix; one object each.

Every signal is a soft-target loss ``l_l = τ^p · KL(q_l ‖ softmax(z_l/τ))`` (arXiv 2508.15989):

| kind | logits z_l | targets q_l |
| --- | --- | --- |
| le (Eq 7) | R_l vec(s^l), R_l (C, features) random, fixed or learned | the label, or softmax(one-hot/τ) |
| kd (Eq 8) | s^l | softmax(t_l/τ), t_l what a teacher shows at the same place |
| kdw (Eq 13) | M_l vec(s^l), M_l (features, features) learned | as kd |

Nothing here imports PyTorch when it is loaded, so that scenarios can be checked without it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from neurosim_ep.registry import SIGNALS

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from neurosim_ep.ep.signals import Signals
    from neurosim_ep.scenario.schema import SignalsSection


@dataclass(frozen=True)
class SignalKind:
    """One kind. ``name``: how scenarios spell it; ``sentence``: what it is; ``label``: what pictures call it.

    ``taught``: the targets are a teacher's, and logits have one entry per neuron; else there is one per class. The
    logits are the states through a matrix, whose name begins with ``matrix``, or, where that is empty, the states
    themselves. ``keys``: those of ``[signals]`` that are for kinds like this one alone. All methods get the ``signals``
    of the network, which know temperature and shapes, and the ``layer``.
    """

    name: str
    sentence: str
    label: str
    taught: bool = False
    matrix: str = ""
    keys: tuple[str, ...] = ()

    def learns(self, section: SignalsSection) -> bool:
        """Whether the matrix is learned: where the key "learned" is for kinds like this one, as it says."""
        return "learned" in self.keys and section.learned

    def entries(self, outputs: int, features: int, random: torch.Generator) -> Tensor:
        """What the matrix (outputs, features) starts from: N(0, 1/features)."""
        import torch

        return torch.randn(outputs, features, generator=random) / math.sqrt(features)

    def targets(self, signals: Signals, layer: int, onehot: Tensor, teacher: Mapping[int, Tensor]) -> Tensor:
        """q_l, in the shape of :meth:`logits`, from the labels (B, C) or the teacher's t_l (B, *shape)."""
        if self.taught:
            return (signals.arranged(teacher[layer]) / signals.temperature).softmax(1)
        return onehot if signals.hard else (onehot / signals.temperature).softmax(1)

    def logits(self, signals: Signals, layer: int, state: Tensor) -> Tensor:
        """z_l of ``state`` (B, *shape) with the softmax's direction as dimension 1: (B, C), or, taught, (B, features)
        or (B, channels, H, W).
        """
        z = state.flatten(1) @ signals.matrix(layer).T if self.matrix else state
        return signals.arranged(z.view(-1, *signals.shapes[layer])) if self.taught else z

    def nudge(self, signals: Signals, layer: int, state: Tensor, error: Tensor) -> Tensor:
        """−∂l_l/∂s^l, shape of ``state``, from the ``error`` −∂l_l/∂z_l (B, outputs or *shape): through the matrix,
        where there is one (Eq 14).
        """
        return (error.flatten(1) @ signals.matrix(layer)).view_as(state) if self.matrix else error


class Learned(SignalKind):
    """Through a matrix that is always learned."""

    def learns(self, section: SignalsSection) -> bool:
        """Always."""
        return True


_BY_A_TEACHER = ("softmax", "teacher", "live")
for _kind in (
    SignalKind("le", "local errors through random projections", "LE", matrix="R", keys=("targets", "learned")),
    SignalKind("kd", "a teacher's activations as soft targets", "KD", taught=True, keys=_BY_A_TEACHER),
    Learned("kdw", "the same through a learned matrix", "KDW", taught=True, matrix="M", keys=_BY_A_TEACHER),
):
    SIGNALS.add(_kind)
