"""Local learning rules: from the states of the phases to a gradient estimate for every synapse.

``ĝ = −(1/2β)[∂Φ/∂θ(s⁺) − ∂Φ/∂θ(s⁻)]`` (arXiv 2508.15989, Eq 4 and 12), an estimate of +∂L/∂θ. The one-sided
rules contrast one nudged end point with the free state over β (Eq 3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from neurosim_ep.ep.feedback import Feedback
from neurosim_ep.ep.network import Network
from neurosim_ep.scenario.topology import IMAGE

States = Sequence[Tensor] | Mapping[int, Tensor]
"""States (B, *shape) by layer."""
OuterProduct = Callable[[int, Tensor, Tensor], None]
"""Told of every outer product a rule adds up: connection, pre-synaptic and post-synaptic factor."""


def synaptic_activity(
    network: Network, n: int, x: Tensor, states: States, pre_states: States | None = None
) -> tuple[Tensor, Tensor]:
    """What the synapses of connection ``n`` see at ``states``: the pre state u (B, *in_shape) and the post state routed
    by its argmax κ, v (B, *pre_pool_shape). ``x`` is the image; u and κ are those of other ``pre_states`` where these
    are given.
    """
    connection = network.connections[n]
    pre = x if connection.source == IMAGE else (pre_states or states)[connection.source]
    routing = connection(pre)[1] if connection.pool == "max" else None
    return pre, connection.route(states[connection.target], routing)


def gradient_names(network: Network) -> list[tuple[str, str]]:
    """Parameter names (weight, bias) of every connection, as in ``network.named_parameters()``."""
    return [(f"connections.{n}.weight", f"connections.{n}.bias") for n in range(len(network.connections))]


@torch.no_grad()
def contrastive(
    network: Network,
    x: Tensor,
    plus: Sequence[Tensor],
    minus: Sequence[Tensor],
    scale: float,
    on_product: OuterProduct | None = None,
    *,
    feedback: Feedback | None = None,
    free: Sequence[Tensor] | None = None,
) -> dict[str, Tensor]:
    """``−scale · Σ_b [∂Φ/∂θ(plus) − ∂Φ/∂θ(minus)]`` for every connection, from the states (B, *shape) of two ends,
    times the factor that its layer has under ``feedback``.

    Where the displacement has a gain of its own the rule is ``(v⁺ − v⁻) u*``, and ``free`` has the free states. One
    connection after the other, as routed states are the largest tensors there are. ``on_product`` is told of both ends.
    """
    feedback = feedback or Feedback(network)
    grads = {}
    for n, (weight_name, bias_name) in enumerate(gradient_names(network)):
        if feedback.apart:
            assert free is not None
            weight, bias = _displaced(network, n, x, plus, minus, free, on_product)
        else:
            weight, bias = _contrasted(network, n, x, plus, minus, on_product)
        factor = scale * feedback.of_gradient(n)
        grads[weight_name], grads[bias_name] = weight.mul_(-factor), bias.mul_(-factor)
    return grads


def _contrasted(
    network: Network, n: int, x: Tensor, plus: Sequence[Tensor], minus: Sequence[Tensor], told: OuterProduct | None
) -> tuple[Tensor, Tensor]:
    """``v⁺u⁺ − v⁻u⁻`` and ``v⁺ − v⁻`` summed over the batch.

    Computed as ``(v⁺−v⁻)·½(u⁺+u⁻) + ½(v⁺+v⁻)·(u⁺−u⁻)``, the same number without the cancellation of two large sums, so
    that a vanishing gradient is measured and not rounding noise.
    """
    (u_plus, v_plus), (u_minus, v_minus) = (synaptic_activity(network, n, x, states) for states in (plus, minus))
    if told is not None:
        told(n, u_plus, v_plus)
        told(n, u_minus, v_minus)
    v_difference, connection = v_plus - v_minus, network.connections[n]
    if n == 0:  # both ends see the same input
        return connection.update(x, v_difference)
    weight, bias = connection.update((u_plus + u_minus).mul_(0.5), v_difference)
    v_middle = torch.add(v_plus, v_minus, out=v_difference).mul_(0.5)
    weight += connection.update(u_plus - u_minus, v_middle)[0]
    return weight, bias


def _displaced(
    network: Network,
    n: int,
    x: Tensor,
    plus: Sequence[Tensor],
    minus: Sequence[Tensor],
    free: Sequence[Tensor],
    told: OuterProduct | None,
) -> tuple[Tensor, Tensor]:
    """``(v⁺ − v⁻) u*`` and ``v⁺ − v⁻`` summed over the batch."""
    layer = network.connections[n].target
    if told is not None:
        for states in (plus, minus):
            told(n, *synaptic_activity(network, n, x, states, free))
    difference = {layer: plus[layer] - minus[layer]}
    return network.connections[n].update(*synaptic_activity(network, n, x, difference, free))
