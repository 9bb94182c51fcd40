"""How the states answer to a nudge, and what that does to the gradient: ±β, half and twice of it, from one free state.

In the limit of a small β the answer is linear and odd: s⁺ − s* = −(s⁻ − s*), and the gradients of one-sided EP (error
O(β)) and of symmetric EP (O(β²)) agree (Laborieux et al. 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from neurosim_ep.diagnosis.rest import FreePhase
from neurosim_ep.ep import bptt
from neurosim_ep.ep.nudge import Nudge, per_row
from neurosim_ep.ep.plasticity import contrastive, gradient_names
from neurosim_ep.ep.signals import Objective
from neurosim_ep.hardware.chip.phases import Phase
from neurosim_ep.scheduler.engine import Engine, Relaxation
from neurosim_ep.scheduler.presentation import relax_nudged

Row = dict[str, float | None]
"""Columns of layers.csv of one layer."""
TWO_SIDES = (Phase.NUDGE_PLUS, Phase.NUDGE_MINUS)
ROUNDS, MORE = 3, 10  # ticks that the derivative goes back at rest: so many per layer, and so many more


@dataclass(frozen=True)
class Ends:
    """Where the nudge phases of one β end: states per layer (B, *shape), and what receivers hold of them."""

    plus: list[Tensor]
    minus: list[Tensor]
    received_plus: list[Tensor]
    received_minus: list[Tensor]


@torch.no_grad()
def nudge_both(engine: Engine, free: FreePhase, objective: Objective, steps: int, beta: float) -> Ends:
    """Nudge with +β and −β from the end of ``free``, every sample for all K = ``steps`` ticks."""
    end = _nudge(engine, free, objective, steps, (beta, -beta))
    return Ends(*([part[side::2] for part in parts] for parts in (end.states, end.received) for side in (0, 1)))


@torch.no_grad()
def go_on(engine: Engine, free: FreePhase, objective: Objective, steps: int) -> list[Tensor]:
    """States s⁰, per layer (B, *shape), at the end of a nudge phase of β = 0: where the states go without a nudge."""
    return _nudge(engine, free, objective, steps, (0.0,)).states


def _nudge(engine: Engine, free: FreePhase, objective: Objective, steps: int, betas: tuple[float, ...]) -> Relaxation:
    signed = per_row(betas, len(objective.onehot), objective.onehot)
    nudge, phases = Nudge(engine.network, objective, signed, engine.feedback), TWO_SIDES[: len(betas)]
    return relax_nudged(engine, free.input_drive, free.end.states, nudge, phases, steps, free.senders)


def responses(free: Sequence[Tensor], ends: Ends, half: Ends, twice: Ends, alone: Sequence[Tensor]) -> list[Row]:
    """The answer of each layer to ±β (``ends``), ±β/2 and ±2β; ``alone``: s⁰ of :func:`go_on`. Norms are Euclidean per
    sample, then the mean over samples.

    ``displacement_plus``, ``displacement_minus``: ‖s⁺ − s*‖ and ‖s⁻ − s*‖; ``mean_abs_displacement``: mean |s⁺ − s*|
    over neurons and samples; ``drift``: ‖s⁰ − s*‖, s⁰ being where a nudge phase of β = 0 ends. ``asymmetry``:
    ‖(s⁺ − s*) + (s⁻ − s*)‖ over ‖s⁺ − s*‖ + ‖s⁻ − s*‖, 0 where the answer is odd in β and 1 where its sign makes no
    difference.
    ``half_beta`` and ``twice_beta``: displacement at β/2 and 2β over what it would be if it were proportional to β.
    ``net_plus``, ``net_minus`` and ``net_asymmetry``: the same with s⁰ in the place of s*, which leaves out what is
    common to all phases because the free phase had not come to rest; the same figures where it had.
    A ratio is None where nothing moved.
    """
    found: list[Row] = []
    for layer, rest in enumerate(free):
        plus, minus = ends.plus[layer] - rest, ends.minus[layer] - rest
        net_plus, net_minus = ends.plus[layer] - alone[layer], ends.minus[layer] - alone[layer]
        both = _norm(plus) + _norm(minus)
        at_half, at_twice = (_norm(end.plus[layer] - rest) + _norm(end.minus[layer] - rest) for end in (half, twice))
        found.append(
            {
                "displacement_plus": _norm(plus),
                "displacement_minus": _norm(minus),
                "mean_abs_displacement": float(plus.abs().double().mean()),
                "drift": _norm(alone[layer] - rest),
                "asymmetry": _ratio(_norm(plus + minus), both),
                "half_beta": _ratio(at_half, both / 2),
                "twice_beta": _ratio(at_twice, both * 2),
                "net_plus": _norm(net_plus),
                "net_minus": _norm(net_minus),
                "net_asymmetry": _ratio(_norm(net_plus + net_minus), _norm(net_plus) + _norm(net_minus)),
            }
        )
    return found


def _norm(displacement: Tensor) -> float:
    return float(displacement.flatten(1).double().norm(dim=1).mean())


def _ratio(value: float, reference: float) -> float | None:
    return value / reference if reference > 0 else None


@torch.no_grad()
def biases(engine: Engine, x: Tensor, free: FreePhase, ends: Ends, beta: float) -> list[Row]:
    """The weight gradient of the connections into each layer from one side against both, batch mean of the samples,
    from the states in which the phases of one presentation of x end.

    ``gradient_norm``: of the three-phase gradient g (Eq 12). ``one_sided_distance``: ‖g₊ − g‖ / ‖g‖, g₊ from +β alone
    (Eq 3); that of g₋ is the same, as g is the mean of both. ``cosine_plus``, ``cosine_minus``: of g₊ and g₋ with g;
    ``cosine_sides``: of g₊ with g₋. None where a gradient is 0.
    """
    network, per_sample, rest = engine.network, 1 / (beta * len(x)), free.end.received
    gains = engine.feedback
    plus, minus, both = (
        contrastive(network, x, high, low, scale, feedback=gains, free=rest)
        for high, low, scale in (
            (ends.received_plus, rest, per_sample),
            (rest, ends.received_minus, per_sample),
            (ends.received_plus, ends.received_minus, per_sample / 2),
        )
    )
    found: list[Row] = []
    names = [name for name, _ in gradient_names(network)]
    for layer in range(network.layers):
        mine = [names[number] for number in network.into(layer)]
        high, low, middle = (
            torch.cat([grads[name].flatten() for name in mine]).double() for grads in (plus, minus, both)
        )
        found.append(
            {
                "gradient_norm": float(middle.norm()),
                "one_sided_distance": _ratio(float((high - middle).norm()), float(middle.norm())),
                "cosine_plus": cosine(high, middle),
                "cosine_minus": cosine(low, middle),
                "cosine_sides": cosine(high, low),
            }
        )
    return found


@torch.no_grad()
def loss_cosines(
    engine: Engine, x: Tensor, free: FreePhase, ends: Ends, objective: Objective, beta: float
) -> list[float | None]:
    """Cosine of the weight gradient of EP with that of the loss, connection by connection: how far apart they point
    where gains make EP's no gradient; None where one is 0.

    x (B, C, H, W). The loss's is that of ticks which stay at the end of ``free``, those of an ideal network.
    """
    network, gains, rest = engine.network, engine.feedback, free.end.states
    high, low, scale = ends.received_plus, ends.received_minus, 1 / (2 * beta * len(x))
    ours = contrastive(network, x, high, low, scale, feedback=gains, free=free.end.received)
    ticks = ROUNDS * network.layers + MORE
    exact = bptt.gradients(network, x, objective, [rest] * (ticks + 1), gains)
    return [cosine(ours[name], exact[name]) for name, _ in gradient_names(network)]


def cosine(one: Tensor, other: Tensor) -> float | None:
    """Cosine of the angle between two tensors of the same shape, in float64; None where one of them is 0."""
    one, other = one.double().flatten(), other.double().flatten()
    product = float(one.norm()) * float(other.norm())
    return float(one @ other) / product if product > 0 else None
