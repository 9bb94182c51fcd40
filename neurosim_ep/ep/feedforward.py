"""The network as a feed-forward pass, and its gradient by backpropagation: the yardstick of every accuracy.

Without any feedback a free phase is one sweep: every layer, from the first to the last, is put at σ of what the layers
below give it. The error goes down the same edges, ``δ^n = σ'(drive^n) Σ_m w_m ⋆ᵀ P⁻¹(δ^m; κ_m)`` over the edges m out
of layer n, and every connection forms its gradient from its own pre state and routed error, as in equilibrium
propagation. σ' is :meth:`~neurosim_ep.ep.activations.Activation.slope`. Real tiles are read like those of a sweep up in
a free phase, and of one down in a nudge phase, whose columns the errors drive.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neurosim_ep.ep import losses
from neurosim_ep.ep.edges import Connection
from neurosim_ep.ep.network import Network, channels_last
from neurosim_ep.scenario.topology import IMAGE


@dataclass(frozen=True)
class Pass:
    """States and slopes σ' of every layer (B, *shape), and the argmax κ of every edge (None unless max-pooled).

    ``slopes`` is empty where none were asked for.
    """

    states: list[Tensor]
    slopes: list[Tensor]
    routing: list[Tensor | None]


@torch.no_grad()
def feed_forward(network: Network, x: Tensor, *, slopes: bool = False) -> Pass:
    """The states of ``network`` for images x (B, C, H, W) without any feedback."""
    network.begin_phase("free")
    found = Pass([], [], [])
    for activation, incoming in zip(network.activations, network.incoming, strict=True):
        edges = [network.edges[n] for n in incoming]
        reads = [edge(channels_last(x) if edge.source == IMAGE else found.states[edge.source]) for edge in edges]
        drive = reads[0][0]
        for more, _ in reads[1:]:
            drive.add_(more)
        found.routing.extend(routing for _, routing in reads)
        if slopes:
            found.slopes.append(activation.slope(drive))
        found.states.append(activation.sigma_(drive))
    return found


@torch.no_grad()
def gradients(network: Network, x: Tensor, onehot: Tensor, forward: Pass) -> dict[str, Tensor]:
    """Gradient of the batch-mean loss at the end of the pass ``forward`` of images x (B, C, H, W), one-hot labels
    (B, C): parameter name → tensor. The slopes become the errors δ.
    """
    network.begin_phase("nudge")
    last = forward.states[-1]
    mean = x.new_full((len(x),), 1 / len(x))
    errors = {network.layers - 1: losses.readout_nudge(last, network.readout, onehot) * (-1 / len(x))}
    grads: dict[str, Tensor] = {}
    for layer in reversed(range(network.layers)):
        error = forward.slopes[layer].mul_(errors.pop(layer))
        for number in network.incoming[layer]:
            edge = network.edges[number]
            routed = edge.route(error, forward.routing[number])
            if isinstance(edge, Connection):
                pre = channels_last(x) if edge.source == IMAGE else forward.states[edge.source]
                owner = f"connections.{network.number[number]}"
                grads[f"{owner}.weight"], grads[f"{owner}.bias"] = edge.update(pre, routed)
            if edge.source != IMAGE:
                below = edge.feedback(routed)
                errors[edge.source] = errors[edge.source] + below if edge.source in errors else below
    network.begin_phase("free")
    if network.readout is not None:
        grads |= losses.readout_gradient(network, last, onehot, mean)
    return grads
