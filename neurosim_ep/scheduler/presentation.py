"""One presentation of a batch: free phase, nudge phases as one batch, and the gradient they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from neurosim_ep.ep import signals as ep_signals
from neurosim_ep.ep.network import Network, channels_last
from neurosim_ep.ep.plasticity import OuterProduct, StdpAccumulator, contrastive, synaptic_activity
from neurosim_ep.ep.signals import LocalErrors, Nudge, one_hot
from neurosim_ep.errors import UsageError
from neurosim_ep.scheduler.engine import Observer, Relaxation, Tick, relax
from neurosim_ep.scheduler.phases import NUDGES, Phase


@dataclass(frozen=True)
class EPGradients:
    """Result of :func:`ep_gradients`.

    ``grads``: parameter name → tensor, batch mean, sign of a loss gradient. ``free``, ``plus``, ``minus``: states of
    every layer (B, *shape) at the end of each phase (``plus`` or ``minus`` is None where nudging was one-sided).
    ``residual`` (B,): largest change of any state in the last free tick. ``loss`` (B,) and ``logits`` (B, C) are
    those of the free state.
    """

    grads: dict[str, Tensor]
    free: list[Tensor]
    plus: list[Tensor] | None
    minus: list[Tensor] | None
    residual: Tensor
    loss: Tensor
    logits: Tensor


@torch.no_grad()
def free_phase(
    network: Network,
    x: Tensor,
    steps: int,
    states: Sequence[Tensor] | None = None,
    observers: Sequence[Observer] = (),
) -> Relaxation:
    """Relax ``network`` on images x (B, C, H, W) for ``steps`` ticks with β = 0, from zeros unless given states."""
    if states is None:
        states = network.initial_states(x.shape[0], "zeros")
    drive, _ = network.input_drive(x)
    return relax(network, drive, states, steps, (Phase.FREE,), observers=observers)


@torch.no_grad()
def ep_gradients(
    network: Network,
    x: Tensor,
    y: Tensor,
    *,
    free_steps: int,
    nudge_steps: int,
    beta: float,
    signals: LocalErrors | None = None,
    alpha: float = 1.0,
    rule: str = "contrastive",
    loss: str = "cross_entropy",
    nudging: str = "three_phase",
    states: Sequence[Tensor] | None = None,
    observers: Sequence[Observer] = (),
    on_product: OuterProduct | None = None,
) -> EPGradients:
    """Equilibrium-propagation gradient of the (augmented) loss at one batch (arXiv 2508.15989, Eq 12 and 15).

    x (B, C, H, W) images, y (B,) class indices. The free phase runs ``free_steps`` ticks from ``states`` (zeros by
    default); the nudge phases run ``nudge_steps`` ticks from its end, as one batch. ``rule`` is "contrastive" or
    "stdp"; ``nudging`` is "three_phase", "one_sided_plus" or "one_sided_minus". ``on_product`` is told of every outer
    product the synapses add up: one per contrasted end point, or two per nudge tick with the stdp rule.

    Raises :class:`UsageError` for an unknown rule or nudging, a loss the network was not built for, a beta that is not
    positive, or images, network and signals of different number formats.
    """
    _check(network, rule, loss, nudging)
    _check_numbers(network, x, beta, signals)
    x = channels_last(x)
    batch, onehot = x.shape[0], one_hot(y, network.num_classes, x)
    input_drive, input_routing = network.input_drive(x)
    if states is None:
        states = network.initial_states(batch, "zeros")
    free = relax(network, input_drive, states, free_steps, (Phase.FREE,), observers=observers)

    nudges = NUDGES[nudging]
    copies = len(nudges)
    sign = torch.cat([x.new_full((batch,), factor) for _, factor in nudges])
    nudge = Nudge(network, onehot.repeat(copies, 1), sign * beta, signals, alpha)
    repeated = _Repeated(x, input_drive, input_routing, copies)
    accumulator = StdpAccumulator(network, repeated.x, repeated.routing, sign, on_product) if rule == "stdp" else None
    nudged = relax(
        network,
        repeated.drive,
        [_repeat(state, copies) for state in free.states],
        nudge_steps,
        tuple(phase for phase, _ in nudges),
        nudge=nudge,
        observers=[*observers, *([_StdpObserver(accumulator)] if accumulator else [])],
    )

    ends = {phase: part for (phase, _), part in zip(nudges, _split(nudged.states, copies), strict=True)}
    plus, minus = ends.get(Phase.NUDGE_PLUS), ends.get(Phase.NUDGE_MINUS)
    scale = 1 / (copies * beta * batch)
    if accumulator:
        accumulator.see(nudged.states)
        grads = accumulator.gradients(scale)
    else:
        high, low = (synaptic_activity(network, x, input_routing, end or free.states) for end in (plus, minus))
        if on_product is not None:
            for end in (high, low):
                for n, (pre, routed) in enumerate(zip(end.pre, end.routed, strict=True)):
                    on_product(n, pre, routed)
        grads = contrastive(network, high, low, scale)
    mean = x.new_full((copies * batch,), 1 / (copies * batch))
    if network.readout is not None:
        grads |= ep_signals.readout_gradient(network, nudged.states[-1], nudge.onehot, mean)
    if signals is not None and signals.learned:
        grads |= ep_signals.projection_gradient(signals, nudged.states, nudge.onehot, mean * alpha)

    logits = network.logits(free.states)
    criterion = ep_signals.squared_error if network.readout is None else ep_signals.cross_entropy
    return EPGradients(grads, free.states, plus, minus, free.residual, criterion(logits, onehot), logits)


def _check(network: Network, rule: str, loss: str, nudging: str) -> None:
    for name, value, allowed in (
        ("rule", rule, ("contrastive", "stdp")),
        ("nudging", nudging, tuple(NUDGES)),
        ("loss", loss, (network.loss,)),
    ):
        if value not in allowed:
            remedy = "build the network with network.loss set to it" if name == "loss" else "use one of them"
            raise UsageError(f"{name} = {value!r}: must be {' or '.join(map(repr, allowed))}; {remedy}")


def _check_numbers(network: Network, x: Tensor, beta: float, signals: LocalErrors | None) -> None:
    if not beta > 0:
        raise UsageError(f"beta = {beta:g}: must be greater than 0; the sign of the nudge is chosen by nudging")
    formats = {"network": network.connections[0].weight.dtype, "x": x.dtype}
    if signals is not None:
        formats |= {"signals": next(signals.parameters()).dtype}
    if len(set(formats.values())) > 1:
        found = ", ".join(f"{name} {dtype}" for name, dtype in formats.items())
        raise UsageError(f"{found}: must all be of one format; use .float() or .double() on each of them")


def _repeat(value: Tensor, copies: int) -> Tensor:
    return channels_last(value.repeat(copies, *(1,) * (value.dim() - 1)))


def _split(states: Sequence[Tensor], copies: int) -> list[list[Tensor]]:
    parts = [state.chunk(copies) for state in states]
    return [[part[copy] for part in parts] for copy in range(copies)]


class _Repeated:
    """The input side of a presentation, once per nudge phase."""

    def __init__(self, x: Tensor, drive: Tensor, routing: Tensor | None, copies: int) -> None:
        self.x, self.drive = _repeat(x, copies), _repeat(drive, copies)
        self.routing = None if routing is None else _repeat(routing, copies)


class _StdpObserver:
    """Shows an accumulator the states of every tick."""

    def __init__(self, accumulator: StdpAccumulator) -> None:
        self.accumulator = accumulator

    def see(self, tick: Tick) -> None:
        self.accumulator.see(tick.states, tick.reads)
