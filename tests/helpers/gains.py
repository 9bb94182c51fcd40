"""The energy with gains of the feedback, written out, and exact gradients of networks under it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from nets import conv, custom, double_network, linear
from torch import Tensor

from neurosim_ep.ep.activations import Activation
from neurosim_ep.ep.losses import one_hot
from neurosim_ep.ep.network import Network
from neurosim_ep.ep.signals import Signals
from neurosim_ep.registry import ACTIVATIONS
from neurosim_ep.scenario.schema import EdgeSpec, LayerSpec, NetworkSection

Inputs = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Tanh(Activation):
    """Smooth, with states that have a sign."""

    def sigma_(self, drive: Tensor) -> Tensor:
        return drive.tanh_()

    def slope(self, drive: Tensor) -> Tensor:
        return 1 - drive.tanh().square()

    @property
    def largest_slope(self) -> float:
        return 1.0


SIGNED = {"tanh": Tanh("tanh", "tanh(x)", lower=-1.0), "hard_tanh": ACTIVATIONS["hard_tanh"]}


def signed_network(section: NetworkSection, activation: str, seed: int = 0) -> Network:
    """A network in float64 with another activation. Values of hard_tanh are often equal, so that no argmax is defined:
    it pools by the mean.
    """
    if activation == "hard_tanh":
        layers = (layer.model_dump_json(by_alias=True).replace('"max"', '"avg"') for layer in section.layers)
        section = section.model_copy(update={"layers": tuple(map(LayerSpec.model_validate_json, layers))})
    network = double_network(section, seed=seed)
    network.activations = [SIGNED[activation]] * network.layers
    return network


def depths_of(network: Network) -> list[int]:
    """Edges on the longest way to each layer, found by walking all ways."""

    def ways(layer: int) -> Iterator[int]:
        for number in network.incoming[layer]:
            source = network.edges[number].source
            yield from (1 + way for way in ways(source)) if source >= 0 else [0]

    return [max(ways(layer)) for layer in range(network.layers)]


Gains = float | Sequence[float]


def energy_tick(network: Network, x: Tensor, states: Sequence[Tensor], gain: Gains) -> list[Tensor]:
    """σ of ∂Φ_γ/∂s over its factor, Φ_γ being written out edge by edge; ``gain``: one, or one per depth above 0."""
    depths, phi = depths_of(network), x.new_zeros(())
    gains = [gain] * max(depths) if isinstance(gain, float) else gain
    factors = [math.prod(gains[:depth]) for depth in depths]
    for edge in network.edges:
        drive, _ = edge(x if edge.source < 0 else states[edge.source])
        phi = phi + factors[edge.target] * (states[edge.target] * drive).sum()
    drives = torch.autograd.grad(phi, list(states), create_graph=True)
    return [
        activation.sigma_(drive / factor)
        for activation, drive, factor in zip(network.activations, drives, factors, strict=True)
    ]


def mean_loss(
    network: Network, states: Sequence[Tensor], y: Tensor, signals: Signals | None = None, alpha: float = 0.5
) -> Tensor:
    """Batch mean of the augmented loss."""
    onehot, logits = one_hot(y, network.num_classes, states[0]), network.logits(states)
    loss = 0.5 * (logits - onehot).square().sum(1)
    if network.readout is not None:
        loss = torch.nn.functional.cross_entropy(logits, y, reduction="none")
    return (loss if signals is None else loss + alpha * signals.loss(states, onehot)).mean()


def connection_weights(network: Network) -> dict[str, Tensor]:
    return {name: value for name, value in network.named_parameters() if "connections" in name}


def exact_gradients(
    network: Network, inputs: Inputs, rest: Sequence[Tensor], gain: Gains, signals: Signals | None = None
) -> dict[str, Tensor]:
    """Gradient of the loss at the free fixed point ``rest``: λ = ∂L/∂s + Jᵀλ, pulled through one tick."""
    (x, y), parameters = inputs, connection_weights(network)
    for value in parameters.values():
        value.requires_grad_(True)
    leaves = [state.detach().clone().requires_grad_(True) for state in rest]
    error = torch.autograd.grad(
        mean_loss(network, leaves, y, signals), leaves, allow_unused=True, materialize_grads=True
    )
    tick, adjoint = energy_tick(network, x, leaves, gain), error
    for _ in range(500):
        pulled = torch.autograd.grad(
            tick, leaves, adjoint, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        following = tuple(one + other for one, other in zip(error, pulled, strict=True))
        done = all(torch.equal(one, other) for one, other in zip(adjoint, following, strict=True))
        adjoint = following
        if done:
            break
    found = torch.autograd.grad(tick, list(parameters.values()), adjoint, allow_unused=True, materialize_grads=True)
    for value in parameters.values():
        value.requires_grad_(False)
    return dict(zip(parameters, found, strict=True))


def backpropagated(network: Network, inputs: Inputs, signals: Signals | None = None) -> dict[str, Tensor]:
    """Gradient of the loss of the feed-forward network."""
    (x, y), parameters = inputs, connection_weights(network)
    for value in parameters.values():
        value.requires_grad_(True)
    states: list[Tensor] = []
    for layer in range(network.layers):
        edges = [network.edges[number] for number in network.incoming[layer]]
        drives = [edge(x if edge.source < 0 else states[edge.source])[0] for edge in edges]
        states.append(network.activations[layer].sigma_(torch.stack(drives).sum(0)))
    found = torch.autograd.grad(mean_loss(network, states, y, signals), list(parameters.values()))
    for value in parameters.values():
        value.requires_grad_(False)
    return dict(zip(parameters, found, strict=True))


def cosine(one: Tensor, other: Tensor) -> float:
    return float((one * other).sum() / (one.norm() * other.norm()))


def residual_section() -> NetworkSection:
    """A connection of stride 2 over two layers, and an identity over two."""
    over = EdgeSpec(layer=0, kind="conv", kernel=1, stride=2)
    outer = conv(12).model_copy(update={"stride": 2, "edges": (EdgeSpec(layer=1), over)})
    upper = conv(12).model_copy(update={"edges": (EdgeSpec(layer=3), EdgeSpec(layer=2, kind="identity"))})
    return custom(conv(8), conv(8), outer, conv(12), upper, linear(20), weight_scale=1.0)


CHAINS = {
    "linear": custom(*[linear(30)] * 4, weight_scale=1.0),
    "deep": custom(*[linear(30)] * 8, weight_scale=1.0),
    "convolutions": custom(
        conv(8), conv(12, pool="max"), conv(16), conv(20, pool="max"), linear(30), linear(20), weight_scale=1.0
    ),
    "residual": residual_section(),
}
