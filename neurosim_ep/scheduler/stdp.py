"""The spike-timing-like rule, which watches the nudge phases."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neurosim_ep.ep.feedback import Feedback
from neurosim_ep.ep.network import Network
from neurosim_ep.ep.plasticity import OuterProduct, gradient_names, synaptic_activity
from neurosim_ep.scenario.topology import IMAGE
from neurosim_ep.scheduler.observers import Observer
from neurosim_ep.scheduler.relaxation_state import RelaxationState
from neurosim_ep.scheduler.sigma_delta import repeat_rows


class StdpObserver(Observer):
    """Spike-timing-like rule: each synapse integrates local changes over the ticks of the nudge phases, whenever both
    of its ends are fresh.

    ``Δw_t = (v_{t+1} − v_t) u_t + v_{t+1} (u_{t+1} − u_t)``: a post-synaptic change times the pre-synaptic state
    plus a pre-synaptic change times the post-synaptic state. The sum over a phase telescopes to the end-point
    difference, so it equals :func:`~neurosim_ep.ep.plasticity.contrastive` in exact arithmetic. Where the displacement
    has a gain of its own in ``feedback``, u and the argmax that routes v are the free state's, and the second term is
    left out. ``sign`` (rows,) is each row's sign of β; ``on_product`` is told of every outer product.
    """

    def __init__(
        self, network: Network, x: Tensor, sign: Tensor, on_product: OuterProduct | None, feedback: Feedback
    ) -> None:
        self.network, self.sign, self.on_product, self.feedback = network, sign, on_product, feedback
        self.x = repeat_rows(x, len(sign) // len(x))
        self.input_routing = network.input_drive(self.x)[1]
        self.previous: dict[int, tuple[Tensor, Tensor]] = {}
        self.sums = [(torch.zeros_like(one.weight), torch.zeros_like(one.bias)) for one in network.connections]

    def begin(self, relaxing: RelaxationState) -> None:
        """See where every synapse starts; later that of the input, which is never read backwards."""
        if relaxing.moment == 0:
            self._see_all([relaxing.received(layer) for layer in range(relaxing.layers)])
        elif 0 in relaxing.fresh:
            routing = None if self.input_routing is None else self.input_routing[: relaxing.rows]
            routed = self.network.connections[0].route(relaxing.received(0), routing)
            self._see(0, self.x[: relaxing.rows], routed)

    def transposed(
        self, relaxing: RelaxationState, edge: int, pre: Tensor, post: Tensor, routed: Tensor, routing: Tensor | None
    ) -> None:
        """A transposed read routes the post state by the argmax of the pre state as it is now."""
        one = self.network.edges[edge]
        if relaxing.down.apart:
            routed = one.route(relaxing.received(one.target), routing)
        self._see(self.network.number[edge], pre, routed)

    def row_buffers(self) -> list[Tensor]:
        """What the synapses remember, and the input."""
        routing = [] if self.input_routing is None else [self.input_routing]
        return [self.x, *routing, *(value for pair in self.previous.values() for value in pair)]

    def gradients(self, states: Sequence[Tensor], free: Sequence[Tensor], scale: float) -> dict[str, Tensor]:
        """``−scale · Σ_t Δw_t`` summed over batch and phases, for every connection, once the phases that began at the
        ``free`` states (B, *shape) have ended at ``states`` (rows, *shape).
        """
        self._see_all(states, free if self.feedback.apart else None)
        grads: dict[str, Tensor] = {}
        for n, (names, sums) in enumerate(zip(gradient_names(self.network), self.sums, strict=True)):
            factor = scale * self.feedback.of_gradient(n)
            grads |= {name: total.mul_(-factor) for name, total in zip(names, sums, strict=True)}
        return grads

    def _see_all(self, states: Sequence[Tensor], free: Sequence[Tensor] | None = None) -> None:
        """Every synapse at ``states`` of all rows, routed by the argmax at the ``free`` states where they are given."""
        for n, connection in enumerate(self.network.connections):
            pre = None
            if free is not None and (source := connection.source) != IMAGE:
                pre = {source: repeat_rows(free[source], len(self.sign) // len(free[source]))}
            self._see(n, *synaptic_activity(self.network, n, self.x, states, pre))

    def _see(self, n: int, pre: Tensor, routed: Tensor) -> None:
        """Integrate the change of connection ``n`` since it was last seen, over the first rows of all.

        ``pre`` (R, *in_shape) and ``routed`` (R, *pre_pool_shape) are copied; the first call sees every row, in the
        free state.
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
        old_routed.copy_(routed)
        if n > 0 and not self.feedback.apart:
            weight_sum.add_(self._product(n, pre - old_pre, routed * sign)[0])
            old_pre.copy_(pre)

    def _product(self, n: int, pre: Tensor, routed: Tensor) -> tuple[Tensor, Tensor]:
        if self.on_product is not None:
            self.on_product(n, pre, routed)
        return self.network.connections[n].update(pre, routed)
