"""Intermediate error signals of augmented EP: random projections of the label (LE), or a teacher's activations (KD).

The augmented loss is ``L = l_out + α Σ_{l∈S} l_l`` and the augmented primitive ``Φ_aug = Φ − β L``
(arXiv 2508.15989, Eq 9 and 10). α multiplies β, so it changes sign with it. Every signal is a soft-target loss
``l_l = τ^p · KL(q_l ‖ softmax(z_l/τ))``:

| kind | logits z_l | targets q_l |
| --- | --- | --- |
| le (Eq 7) | R_l vec(s^l), R_l (C, features) random, fixed or learned | the label, or softmax(one-hot/τ) |
| kd (Eq 8) | s^l | softmax(t_l/τ), t_l what a teacher shows at the same place |
| kdw (Eq 13) | M_l vec(s^l), M_l (features, features) learned | as kd |
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from neurosim_ep.ep.losses import signal_error, signal_loss
from neurosim_ep.ep.network import Network, refuse_oversize
from neurosim_ep.ep.seeds import Stream, generator
from neurosim_ep.errors import ScenarioError, UsageError
from neurosim_ep.scenario.schema import SignalsSection


class Signals(nn.Module):
    """The signals of a network, at most one per layer.

    ``kinds``: layer to "le", "kd" or "kdw"; ``taught``: layers whose targets are a teacher's. ``matrices``: layer to
    R_l or M_l, where there is one; entries start as N(0, 1/features). The softmax of kd and kdw runs over the whole
    layer, or over the channels at each position.
    """

    def __init__(self, section: SignalsSection, network: Network, seed: int) -> None:
        super().__init__()
        self.kinds, self.taught = section.kind_of_layers(), section.taught()
        self.shapes = dict(enumerate(network.state_shapes))
        self.temperature, self.exponent = section.temperature, section.temperature_exponent
        self.hard, self.by_position = section.targets == "hard", section.softmax == "position"
        self.learned = [
            layer for layer, kind in self.kinds.items() if kind == "kdw" or (kind == "le" and section.learned)
        ]
        beyond = [layer for layer in self.kinds if layer not in self.shapes]
        if beyond:
            raise ScenarioError(
                f"signals.layers = {list(section.layers)}: layer {beyond[0]} does not exist; this network's layers are "
                f"0 to {len(network.state_shapes) - 1} ({', '.join(network.layer_names)})"
            )
        random = generator(seed, Stream.PROJECTIONS)
        for layer, kind in self.kinds.items():
            if kind == "kd":
                continue
            features = math.prod(self.shapes[layer])
            outputs = features if kind == "kdw" else network.num_classes
            refuse_oversize(f"the signal of {network.layer_names[layer]}", parameters=outputs * features)
            entries = torch.randn(outputs, features, generator=random) / math.sqrt(features)
            self.register_parameter(self.matrix_name(layer), nn.Parameter(entries, requires_grad=False))

    @property
    def layers(self) -> list[int]:
        """Layers with a signal, in order."""
        return list(self.kinds)

    @property
    def matrices(self) -> dict[int, Tensor]:
        """R_l (C, features) or M_l (features, features) of each signal layer l that has one."""
        return {layer: self.matrix(layer) for layer, kind in self.kinds.items() if kind != "kd"}

    def matrix(self, layer: int) -> Tensor:
        """R_l or M_l of a ``layer`` that has one."""
        found: Tensor = getattr(self, self.matrix_name(layer))
        return found

    def matrix_name(self, layer: int) -> str:
        """Name of the matrix of ``layer``."""
        return f"{'M' if self.kinds[layer] == 'kdw' else 'R'}{layer}"

    def targets(self, onehot: Tensor, teacher: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """q_l of each signal layer, in the shape of :meth:`logits`, from the labels (B, C) and the teacher's t_l
        (B, *shape). Raises :class:`UsageError` where a layer is taught but ``teacher`` does not have it.
        """
        if missing := [layer for layer in self.taught if layer not in teacher]:
            raise UsageError(
                f"teacher: has no activations of layer {missing[0]}, whose signal is {self.kinds[missing[0]]!r}; "
                "give those of every kd and kdw layer"
            )
        label = onehot if self.hard else torch.softmax(onehot / self.temperature, 1)
        return {
            layer: label if kind == "le" else torch.softmax(self._arranged(teacher[layer]) / self.temperature, 1)
            for layer, kind in self.kinds.items()
        }

    def logits(self, layer: int, state: Tensor) -> Tensor:
        """z_l with the softmax's direction as dimension 1: (B, C) for le, (B, features) or (B, channels, H, W) else."""
        if self.kinds[layer] == "kd":
            return self._arranged(state)
        z = state.flatten(1) @ self.matrix(layer).T
        return z if self.kinds[layer] == "le" else self._arranged(z.view(-1, *self.shapes[layer]))

    def loss(self, states: Sequence[Tensor], onehot: Tensor, teacher: Mapping[int, Tensor] | None = None) -> Tensor:
        """Σ_l l_l of each sample, (B,)."""
        losses = [
            signal_loss(self.logits(layer, states[layer]), q, self.temperature, self.exponent)
            for layer, q in self.targets(onehot, teacher or {}).items()
        ]
        return torch.stack(losses).sum(0)

    def error(self, layer: int, state: Tensor, targets: Tensor) -> Tensor:
        """−∂l_l/∂z_l towards q_l (shape of :meth:`logits`): (B, outputs), in the order of the matrix' rows."""
        error = signal_error(self.logits(layer, state), targets, self.temperature, self.exponent)
        return error if self.kinds[layer] == "le" else self._as_state(error, layer).flatten(1)

    def nudge(self, layer: int, state: Tensor, targets: Tensor) -> Tensor:
        """−∂l_l/∂s^l, shape of ``state``: ``τ^{p−1} (q − softmax(s/τ))``, for le and kdw through the matrix,
        ``τ^{p−1} R_lᵀ(q − softmax(R_l s^l/τ))`` (Eq 14).
        """
        if self.kinds[layer] == "kd":
            error = signal_error(self._arranged(state), targets, self.temperature, self.exponent)
            return self._as_state(error, layer)
        return (self.error(layer, state, targets) @ self.matrix(layer)).view_as(state)

    def _arranged(self, value: Tensor) -> Tensor:
        """Values (B, *shape) of a layer with the softmax's direction as dimension 1; no copy of a conv state."""
        return value if self.by_position else value.movedim(1, -1).flatten(1)

    def _as_state(self, value: Tensor, layer: int) -> Tensor:
        """The inverse of :meth:`_arranged`."""
        if self.by_position:
            return value
        channels, *positions = self.shapes[layer]
        return value.unflatten(1, (*positions, channels)).movedim(-1, 1)


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
        error = -signals.error(layer, states[layer], targets[layer]) * weight_per_sample[:, None]
        grads[f"signals.{signals.matrix_name(layer)}"] = error.T @ states[layer].flatten(1)
    return grads
