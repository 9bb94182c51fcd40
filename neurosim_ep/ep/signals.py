"""Intermediate error signals of augmented EP: random projections of the label (LE), or a teacher's activations (KD).

The augmented loss is ``L = l_out + α Σ_{l∈S} l_l`` and the augmented primitive ``Φ_aug = Φ − β L``
(arXiv 2508.15989, Eq 9 and 10). α multiplies β, so it changes sign with it. What the signal of a layer is, its kind
says (:mod:`~neurosim_ep.ep.signal_kinds`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from neurosim_ep.ep.edges import refuse_oversize
from neurosim_ep.ep.losses import one_hot, output_loss, signal_error, signal_loss
from neurosim_ep.ep.network import Network
from neurosim_ep.ep.seeds import Stream, generator
from neurosim_ep.ep.signal_kinds import SignalKind
from neurosim_ep.errors import ScenarioError, UsageError
from neurosim_ep.registry import SIGNALS
from neurosim_ep.scenario.schema import SignalsSection


class Signals(nn.Module):
    """The signals of a network, at most one per layer.

    ``kinds``: layer to :class:`~neurosim_ep.ep.signal_kinds.SignalKind`; ``taught``: layers whose targets are a
    teacher's; ``learned``: those whose matrix is learned. ``matrices``: layer to R_l or M_l, where there is one. Where
    there is a teacher the softmax runs over the whole layer, or over the channels at each position.
    """

    def __init__(self, section: SignalsSection, network: Network, seed: int) -> None:
        super().__init__()
        self.kinds: dict[int, SignalKind] = {layer: SIGNALS[name] for layer, name in section.kind_of_layers().items()}
        self.taught = section.taught()
        self.shapes = dict(enumerate(network.state_shapes))
        self.temperature, self.exponent = section.temperature, section.temperature_exponent
        self.hard, self.by_position = section.targets == "hard", section.softmax == "position"
        self.learned = [layer for layer, kind in self.kinds.items() if kind.learns(section)]
        beyond = [layer for layer in self.kinds if layer not in self.shapes]
        if beyond:
            raise ScenarioError(
                f"signals.layers = {list(section.layers)}: layer {beyond[0]} does not exist; this network's layers are "
                f"0 to {len(network.state_shapes) - 1} ({', '.join(network.layer_names)})"
            )
        random = generator(seed, Stream.PROJECTIONS)
        for layer, kind in self.kinds.items():
            if not kind.matrix:
                continue
            features = math.prod(self.shapes[layer])
            outputs = features if kind.taught else network.num_classes
            refuse_oversize(f"the signal of {network.layer_names[layer]}", parameters=outputs * features)
            entries = kind.entries(outputs, features, random)
            self.register_parameter(self.matrix_name(layer), nn.Parameter(entries, requires_grad=False))

    @property
    def layers(self) -> list[int]:
        """Layers with a signal, in order."""
        return list(self.kinds)

    @property
    def matrices(self) -> dict[int, Tensor]:
        """R_l (C, features) or M_l (features, features) of each signal layer l that has one."""
        return {layer: self.matrix(layer) for layer, kind in self.kinds.items() if kind.matrix}

    def matrix(self, layer: int) -> Tensor:
        """R_l or M_l of a ``layer`` that has one."""
        found: Tensor = getattr(self, self.matrix_name(layer))
        return found

    def matrix_name(self, layer: int) -> str:
        """Name of the matrix of ``layer``."""
        return f"{self.kinds[layer].matrix}{layer}"

    def targets(self, onehot: Tensor, teacher: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """q_l of each signal layer, in the shape of :meth:`logits`, from the labels (B, C) and the teacher's t_l
        (B, *shape). Raises :class:`UsageError` where a layer is taught but ``teacher`` does not have it.
        """
        if missing := [layer for layer in self.taught if layer not in teacher]:
            raise UsageError(
                f"teacher: has no activations of layer {missing[0]}, whose signal is {self.kinds[missing[0]].name!r}; "
                "give those of every layer that has a teacher's"
            )
        return {layer: kind.targets(self, layer, onehot, teacher) for layer, kind in self.kinds.items()}

    def logits(self, layer: int, state: Tensor) -> Tensor:
        """z_l of ``state`` (B, *shape), see :meth:`SignalKind.logits`."""
        return self.kinds[layer].logits(self, layer, state)

    def loss(self, states: Sequence[Tensor], onehot: Tensor, teacher: Mapping[int, Tensor] | None = None) -> Tensor:
        """Σ_l l_l of each sample, (B,)."""
        losses = [
            signal_loss(self.logits(layer, states[layer]), q, self.temperature, self.exponent)
            for layer, q in self.targets(onehot, teacher or {}).items()
        ]
        return torch.stack(losses).sum(0)

    def error(self, layer: int, state: Tensor, targets: Tensor) -> Tensor:
        """−∂l_l/∂z_l towards q_l (shape of :meth:`logits`): (B, C), or, taught, the shape of ``state``."""
        error = signal_error(self.logits(layer, state), targets, self.temperature, self.exponent)
        return self._as_state(error, layer) if self.kinds[layer].taught else error

    def nudge(self, layer: int, state: Tensor, targets: Tensor) -> Tensor:
        """−∂l_l/∂s^l, shape of ``state``: ``τ^{p−1} (q − softmax(s/τ))``, or through a matrix
        ``τ^{p−1} R_lᵀ(q − softmax(R_l s^l/τ))`` (Eq 14).
        """
        return self.kinds[layer].nudge(self, layer, state, self.error(layer, state, targets))

    def arranged(self, value: Tensor) -> Tensor:
        """Values (B, *shape) of a layer with the softmax's direction as dimension 1; no copy of a conv state."""
        return value if self.by_position else value.movedim(1, -1).flatten(1)

    def _as_state(self, value: Tensor, layer: int) -> Tensor:
        """The inverse of :meth:`arranged`."""
        if self.by_position:
            return value
        channels, *positions = self.shapes[layer]
        return value.unflatten(1, (*positions, channels)).movedim(-1, 1)


@dataclass(frozen=True)
class Errors:
    """What pushes layers besides the loss of the output: the errors of ``signals``, with the weight ``alpha`` (α), for
    which a ``teacher`` shows activations (B, *shape) of every layer whose signal is a teacher's.
    """

    signals: Signals | None = None
    alpha: float = 1.0
    teacher: Mapping[int, Tensor] | None = None

    def objective(self, network: Network, x: Tensor, y: Tensor) -> Objective:
        """The loss of images x (B, C, H, W) with class indices y (B,)."""
        return Objective(one_hot(y, network.num_classes, x), self)


NO_ERRORS = Errors()


@dataclass(frozen=True)
class Objective:
    """The augmented loss of a batch: that of the output, with labels ``onehot`` (B, C), and of the ``errors``."""

    onehot: Tensor
    errors: Errors = NO_ERRORS

    def loss(self, network: Network, states: Sequence[Tensor]) -> Tensor:
        """``l_out + α Σ_l l_l`` of each sample, (B,), at ``states`` (Eq 9)."""
        loss, errors = output_loss(network, network.logits(states), self.onehot), self.errors
        if errors.signals is None:
            return loss
        return loss + errors.alpha * errors.signals.loss(states, self.onehot, errors.teacher)


def build_signals(section: SignalsSection, network: Network, seed: int) -> Signals | None:
    """The signals of a scenario's ``[signals]`` section for ``network``; None where there are none."""
    return Signals(section, network, seed) if section.kind_of_layers() else None


def alpha_at(section: SignalsSection, epoch: int, epochs: int) -> float:
    """α of ``epoch`` (from 0) out of ``epochs`` (Eq 16): constant, linear, exponential or cosine to α_min."""
    start, end, progress = section.alpha, section.alpha_min, epoch / epochs
    if section.alpha_schedule == "linear":
        return start - (start - end) * progress
    if section.alpha_schedule == "exponential":
        return max(end, start * section.alpha_decay**epoch)
    if section.alpha_schedule == "cosine":
        return end + 0.5 * (start - end) * (1 + math.cos(math.pi * progress))
    return start


def matrix_gradient(
    signals: Signals, states: Sequence[Tensor], targets: Mapping[int, Tensor], weight_per_sample: Tensor
) -> dict[str, Tensor]:
    """Eq 15 before the factor α: ``Σ_b w_b τ^{p−1}(softmax(R_l s/τ) − q) sᵀ`` for every learned matrix."""
    grads = {}
    for layer in signals.learned:
        error = -signals.error(layer, states[layer], targets[layer]).flatten(1) * weight_per_sample[:, None]
        grads[f"signals.{signals.matrix_name(layer)}"] = error.T @ states[layer].flatten(1)
    return grads
