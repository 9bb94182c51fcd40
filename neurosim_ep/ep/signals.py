"""Error signals: the nudge of the last layer and the intermediate signals of augmented EP.

The augmented loss is ``L = l_out + α Σ_{l∈S} l_l`` and the augmented primitive ``Φ_aug = Φ − β L``
(arXiv 2508.15989, Eq 9 and 10). α multiplies β, so it changes sign with it. Every function here returns
−∂l/∂(its state): what is added to a layer's drive, once multiplied by the signed β.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurosim_ep.ep.network import Network, Readout, refuse_oversize
from neurosim_ep.ep.seeds import Stream, generator
from neurosim_ep.errors import ScenarioError
from neurosim_ep.scenario.schema import SignalsSection


def one_hot(labels: Tensor, num_classes: int, like: Tensor) -> Tensor:
    """Labels (B,) as one-hot rows (B, C) of ``like``'s dtype."""
    return F.one_hot(labels, num_classes).to(like.dtype)


def cross_entropy(logits: Tensor, onehot: Tensor) -> Tensor:
    """``−Σ y log softmax(logits)`` of each sample, (B,)."""
    return -(onehot * F.log_softmax(logits, 1)).sum(1)


def squared_error(state: Tensor, onehot: Tensor) -> Tensor:
    """``½‖s^N − y‖²`` of each sample, (B,), the class layer being inside the dynamics."""
    return 0.5 * (state - onehot).square().sum(1)


def readout_nudge(state: Tensor, readout: Readout | None, onehot: Tensor) -> Tensor:
    """``W_outᵀ(y − softmax(W_out s + b))``, or ``y − s`` where the class layer is inside; shape of ``state``."""
    if readout is None:
        return onehot - state
    error = onehot - torch.softmax(readout(state), 1)
    return (error @ readout.weight).view_as(state)


def signal_loss(logits: Tensor, targets: Tensor, temperature: float, exponent: float) -> Tensor:
    """``τ^p · KL(q ‖ softmax(z/τ))`` of each sample, (B,), from logits z (B, C) and targets q (B, C)."""
    divergence = F.kl_div(F.log_softmax(logits / temperature, 1), targets, reduction="none").sum(1)
    return temperature**exponent * divergence


def signal_error(logits: Tensor, targets: Tensor, temperature: float, exponent: float) -> Tensor:
    """``−∂l/∂z = τ^{p−1}(q − softmax(z/τ))``, (B, C)."""
    return temperature ** (exponent - 1) * (targets - torch.softmax(logits / temperature, 1))


class LocalErrors(nn.Module):
    """LE signals (Eq 7): layer l reads ``z_l = R_l vec(s^l)`` and is pushed towards the label through R_lᵀ.

    ``projections[l]`` is R_l (C, features), entries N(0, 1/features), fixed unless ``learned`` (Eq 15).
    """

    def __init__(self, section: SignalsSection, network: Network, seed: int) -> None:
        super().__init__()
        self.layers = sorted(section.layers)
        self.temperature, self.exponent = section.temperature, section.temperature_exponent
        self.targets_kind, self.learned = section.targets, section.learned
        beyond = [layer for layer in self.layers if layer >= len(network.state_shapes)]
        if beyond:
            raise ScenarioError(
                f"signals.layers = {list(section.layers)}: layer {beyond[0]} does not exist; this network's layers are "
                f"0 to {len(network.state_shapes) - 1} ({', '.join(network.layer_names)})"
            )
        random = generator(seed, Stream.PROJECTIONS)
        for layer in self.layers:
            features = math.prod(network.state_shapes[layer])
            refuse_oversize(f"the signal of {network.layer_names[layer]}", parameters=network.num_classes * features)
            entries = torch.randn(network.num_classes, features, generator=random) / math.sqrt(features)
            self.register_parameter(f"R{layer}", nn.Parameter(entries, requires_grad=False))

    @property
    def projections(self) -> dict[int, Tensor]:
        """R_l (C, features) of each signal layer l."""
        return {layer: self.get_parameter(f"R{layer}") for layer in self.layers}

    def targets(self, onehot: Tensor) -> Tensor:
        """q (B, C): the one-hot labels, or softmax(one-hot/τ)."""
        return onehot if self.targets_kind == "hard" else torch.softmax(onehot / self.temperature, 1)

    def logits(self, layer: int, state: Tensor) -> Tensor:
        """z_l = R_l vec(s^l), (B, C)."""
        return state.flatten(1) @ self.projections[layer].T

    def loss(self, states: Sequence[Tensor], onehot: Tensor) -> Tensor:
        """Σ_l l_l of each sample, (B,)."""
        targets = self.targets(onehot)
        losses = [
            signal_loss(self.logits(layer, states[layer]), targets, self.temperature, self.exponent)
            for layer in self.layers
        ]
        return torch.stack(losses).sum(0)

    def error(self, layer: int, state: Tensor, onehot: Tensor) -> Tensor:
        """−∂l_l/∂z_l, (B, C)."""
        return signal_error(self.logits(layer, state), self.targets(onehot), self.temperature, self.exponent)

    def nudge(self, layer: int, state: Tensor, onehot: Tensor) -> Tensor:
        """−∂l_l/∂s^l = τ^{p−1} R_lᵀ(q − softmax(R_l s^l/τ)), shape of ``state``."""
        return (self.error(layer, state, onehot) @ self.projections[layer]).view_as(state)


def build_signals(section: SignalsSection, network: Network, seed: int) -> LocalErrors | None:
    """The signals of a scenario's ``[signals]`` section for ``network``; None where there are none."""
    return None if section.kind == "none" else LocalErrors(section, network, seed)


class Nudge:
    """Everything that is added to the drives in a nudge phase: ``−β_r ∂L/∂s`` with a signed β per row.

    ``onehot`` (R, C) and ``signed_beta`` (R,): rows of +β and of −β relax as one batch.
    """

    def __init__(
        self,
        network: Network,
        onehot: Tensor,
        signed_beta: Tensor,
        signals: LocalErrors | None = None,
        alpha: float = 1.0,
    ) -> None:
        self.network, self.onehot, self.beta, self.signals = network, onehot, signed_beta, signals
        self.signal_beta = signed_beta * alpha

    def add_(self, layer: int, drive: Tensor, state: Tensor) -> None:
        """Add to ``drive`` of ``layer``, in place, the nudge at its ``state``; both are first rows (r, *shape)."""
        onehot = self.onehot[: len(state)]
        if layer == len(self.network.connections) - 1:
            push = readout_nudge(state, self.network.readout, onehot)
            drive.addcmul_(_per_row(self.beta, push), push)
        if self.signals is not None and layer in self.signals.layers:
            push = self.signals.nudge(layer, state, onehot)
            drive.addcmul_(_per_row(self.signal_beta, push), push)

    def pushes(self, layer: int) -> bool:
        """Whether an error acts on ``layer`` directly."""
        signals = () if self.signals is None else self.signals.layers
        return layer == len(self.network.connections) - 1 or layer in signals

    def twin(self) -> Nudge:
        """The same nudge with tensors of its own."""
        twin = Nudge(self.network, self.onehot.clone(), self.beta.clone(), self.signals)
        twin.signal_beta = self.signal_beta.clone()
        return twin

    def tensors(self) -> list[Tensor]:
        """All that differs from one batch to the next."""
        return [self.onehot, self.beta, self.signal_beta]


def _per_row(factor: Tensor, like: Tensor) -> Tensor:
    return factor[: len(like)].view(-1, *(1,) * (like.dim() - 1))


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


def readout_gradient(
    network: Network, state: Tensor, onehot: Tensor, weight_per_sample: Tensor
) -> Mapping[str, Tensor]:
    """``Σ_b w_b (softmax(W_out s_b + b) − y_b) s_bᵀ`` and its bias: the delta rule of the readout."""
    assert network.readout is not None
    error = (torch.softmax(network.readout(state), 1) - onehot) * weight_per_sample[:, None]
    return {"readout.weight": error.T @ state.flatten(1), "readout.bias": error.sum(0)}


def projection_gradient(
    signals: LocalErrors, states: Sequence[Tensor], onehot: Tensor, weight_per_sample: Tensor
) -> dict[str, Tensor]:
    """Eq 15 before the factor α: ``Σ_b w_b τ^{p−1}(softmax(R_l s/τ) − q) sᵀ`` for every projection."""
    grads = {}
    for layer in signals.layers:
        error = -signals.error(layer, states[layer], onehot) * weight_per_sample[:, None]
        grads[f"signals.R{layer}"] = error.T @ states[layer].flatten(1)
    return grads
