"""Local learning rules: from the states of the phases to a gradient estimate for every synapse.

``ĝ = −(1/2β)[∂Φ/∂θ(s⁺) − ∂Φ/∂θ(s⁻)]`` (arXiv 2508.15989, Eq 4 and 12), an estimate of +∂L/∂θ. The one-sided
rules contrast one nudged end point with the free state over β (Eq 3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from neurosim_ep.ep.network import Network


@dataclass(frozen=True)
class SynapticActivity:
    """What each synapse sees at one moment: per connection the pre state u and the routed post state v."""

    pre: list[Tensor]
    routed: list[Tensor]


def synaptic_activity(
    network: Network, x: Tensor, input_routing: Tensor | None, states: Sequence[Tensor]
) -> SynapticActivity:
    """Pre and routed post signals of every connection at ``states``, each routed by its own argmax κ."""
    pre = [x, *states[:-1]]
    routed = []
    for n, connection in enumerate(network.connections):
        routing = input_routing if n == 0 else connection(pre[n])[1]
        routed.append(connection.route(states[n], routing))
    return SynapticActivity(pre, routed)


def gradient_names(network: Network) -> list[tuple[str, str]]:
    """Parameter names (weight, bias) of every connection, as in ``network.named_parameters()``."""
    return [(f"connections.{n}.weight", f"connections.{n}.bias") for n in range(len(network.connections))]


OuterProduct = Callable[[int, Tensor, Tensor], None]
"""Told of every outer product a rule adds up: connection, pre-synaptic and post-synaptic factor."""


@torch.no_grad()
def contrastive(network: Network, plus: SynapticActivity, minus: SynapticActivity, scale: float) -> dict[str, Tensor]:
    """``−scale · Σ_b [∂Φ/∂θ(plus) − ∂Φ/∂θ(minus)]`` for every connection.

    Computed as ``(v⁺−v⁻)·½(u⁺+u⁻) + ½(v⁺+v⁻)·(u⁺−u⁻)``, the same number as ``v⁺u⁺ − v⁻u⁻`` without the
    cancellation of two large sums, so that a vanishing gradient is measured and not rounding noise.
    """
    grads = {}
    for n, (weight_name, bias_name) in enumerate(gradient_names(network)):
        u, v = _contrast(plus.pre[n], minus.pre[n]), _contrast(plus.routed[n], minus.routed[n])
        weight, bias = network.connections[n].update(u.middle, v.difference)
        if plus.pre[n] is not minus.pre[n]:
            weight = weight + network.connections[n].update(u.difference, v.middle)[0]
        grads[weight_name], grads[bias_name] = weight * -scale, bias * -scale
    return grads


@dataclass(frozen=True)
class _Contrast:
    middle: Tensor
    difference: Tensor


def _contrast(plus: Tensor, minus: Tensor) -> _Contrast:
    if plus is minus:
        return _Contrast(plus, torch.zeros_like(plus))
    return _Contrast((plus + minus).mul_(0.5), plus - minus)


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
            grads[weight_name], grads[bias_name] = weight * -scale, bias * -scale
        return grads
