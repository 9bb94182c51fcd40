"""Local learning rules: from the states of the phases to a gradient estimate for every synapse.

``ĝ = −(1/2β)[∂Φ/∂θ(s⁺) − ∂Φ/∂θ(s⁻)]`` (arXiv 2508.15989, Eq 4 and 12), an estimate of +∂L/∂θ. The one-sided
rules contrast one nudged end point with the free state over β (Eq 3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from neurosim_ep.ep.network import Network
from neurosim_ep.scenario.topology import IMAGE

OuterProduct = Callable[[int, Tensor, Tensor], None]
"""Told of every outer product a rule adds up: connection, pre-synaptic and post-synaptic factor."""


def synaptic_activity(network: Network, n: int, x: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """What the synapses of connection ``n`` see at ``states``: the pre state u (B, *in_shape) and the post state routed
    by its argmax κ, v (B, *pre_pool_shape). ``x`` is the image.
    """
    connection = network.connections[n]
    pre = x if connection.source == IMAGE else states[connection.source]
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
) -> dict[str, Tensor]:
    """``−scale · Σ_b [∂Φ/∂θ(plus) − ∂Φ/∂θ(minus)]`` for every connection, from the states (B, *shape) of two ends.

    Computed as ``(v⁺−v⁻)·½(u⁺+u⁻) + ½(v⁺+v⁻)·(u⁺−u⁻)``, the same number as ``v⁺u⁺ − v⁻u⁻`` without the
    cancellation of two large sums, so that a vanishing gradient is measured and not rounding noise. One connection
    after the other, as routed states are the largest tensors there are. ``on_product`` is told of both ends.
    """
    grads = {}
    for n, (weight_name, bias_name) in enumerate(gradient_names(network)):
        (u_plus, v_plus), (u_minus, v_minus) = (synaptic_activity(network, n, x, states) for states in (plus, minus))
        if on_product is not None:
            on_product(n, u_plus, v_plus)
            on_product(n, u_minus, v_minus)
        v_difference, connection = v_plus - v_minus, network.connections[n]
        if n == 0:  # both ends see the same input
            weight, bias = connection.update(x, v_difference)
        else:
            weight, bias = connection.update((u_plus + u_minus).mul_(0.5), v_difference)
            v_middle = torch.add(v_plus, v_minus, out=v_difference).mul_(0.5)
            weight += connection.update(u_plus - u_minus, v_middle)[0]
        grads[weight_name], grads[bias_name] = weight.mul_(-scale), bias.mul_(-scale)
    return grads


class StdpAccumulator:
    """Spike-timing-like rule: each synapse integrates local changes over the ticks of the nudge phases.

    ``Δw_t = (v_{t+1} − v_t) u_t + v_{t+1} (u_{t+1} − u_t)``: a post-synaptic change times the pre-synaptic state
    plus a pre-synaptic change times the post-synaptic state. The sum over a phase telescopes to the end-point
    difference, so it equals :func:`contrastive` in exact arithmetic. ``sign`` (rows,) is each row's sign of β;
    ``on_product`` is told of every outer product.
    """

    def __init__(self, network: Network, sign: Tensor, on_product: OuterProduct | None = None) -> None:
        self.network, self.sign, self.on_product = network, sign, on_product
        self.previous: dict[int, tuple[Tensor, Tensor]] = {}
        self.sums = [
            (torch.zeros_like(connection.weight), torch.zeros_like(connection.bias))
            for connection in network.connections
        ]

    def see(self, n: int, pre: Tensor, routed: Tensor) -> None:
        """Integrate the change of connection ``n`` since it was last seen, over the first rows of all.

        ``pre`` (R, *in_shape) and ``routed`` (R, *pre_pool_shape) are copied; the first call sees every row.
        """
        if n not in self.previous:
            self.previous[n] = pre.clone(), routed.clone()
            return
        old_pre, old_routed = (value[: len(pre)] for value in self.previous[n])
        sign = self.sign[: len(pre)].view(-1, *(1,) * (routed.dim() - 1))
        weight_sum, bias_sum = self.sums[n]
        weight, bias = self._product(n, old_pre, (routed - old_routed) * sign)
        weight_sum.add_(weight)
        bias_sum.add_(bias)
        if n > 0:
            weight_sum.add_(self._product(n, pre - old_pre, routed * sign)[0])
        old_pre.copy_(pre)
        old_routed.copy_(routed)

    def row_buffers(self) -> list[Tensor]:
        """What is kept of each row."""
        return [value for pair in self.previous.values() for value in pair]

    def _product(self, n: int, pre: Tensor, routed: Tensor) -> tuple[Tensor, Tensor]:
        if self.on_product is not None:
            self.on_product(n, pre, routed)
        return self.network.connections[n].update(pre, routed)

    def gradients(self, scale: float) -> dict[str, Tensor]:
        """``−scale · Σ_t Δw_t`` summed over batch and phases, for every connection."""
        grads = {}
        for (weight_name, bias_name), (weight, bias) in zip(gradient_names(self.network), self.sums, strict=True):
            grads[weight_name], grads[bias_name] = weight.mul_(-scale), bias.mul_(-scale)
        return grads
