"""Gradient-descending updates (GDU): the weight changes of EP against those of BPTT, tick by tick.

Ernoult et al. 2019 (arXiv 1905.13633, Theorem 1): where the free states have come to rest at least K ticks before T, Φ
is smooth and β is small, the change of ∂Φ/∂θ in nudge tick t of EP over β is minus the partial gradient of the loss at
T with respect to the parameters used t ticks before the last, which BPTT computes:

    Δ_EP(t) = ±(1/βB) Σ_b [∂Φ/∂w(s_{t+1}^{±β}) − ∂Φ/∂w(s_t^{±β})]   ≈   Δ_BPTT(t) = −∂L/∂w_{T−1−t},   t = 0 .. K−1

Three sides of it: "right" (+β), "left" (−β), whose errors are O(β), and "symmetric", their mean (three-phase EP), with
an error of O(β²). With gains of the feedback Φ is Φ_γ, and the updates have the factors of their layers; where the
displacement has a gain of its own there is no energy, and the figures say how far its updates are from the loss's.
Synapses are the weights of the connections. The readout and learned projections follow the delta
rule in one tick and have no course to compare.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from neurosim_ep.diagnosis.nudging import cosine
from neurosim_ep.ep import bptt
from neurosim_ep.ep.activations import Activation
from neurosim_ep.ep.feedback import Feedback
from neurosim_ep.ep.losses import one_hot
from neurosim_ep.ep.network import Network, channels_last
from neurosim_ep.ep.nudge import Nudge, per_row
from neurosim_ep.ep.plasticity import contrastive, gradient_names
from neurosim_ep.ep.signals import NO_ERRORS, Errors, Objective
from neurosim_ep.hardware.chip.phases import Phase
from neurosim_ep.scenario.topology import IMAGE
from neurosim_ep.scheduler.engine import Engine
from neurosim_ep.scheduler.observers import StateRecorder
from neurosim_ep.scheduler.presentation import relax_nudged
from neurosim_ep.scheduler.schedule import Schedule
from neurosim_ep.scheduler.unrolled import recorded_free_phase

SIDES = ("right", "left", "symmetric")
REST_SHARE = 0.01  # free motion of a layer at rest, as a share of how far the nudge displaces it
SYNAPSES = 4  # of each layer, whose course is kept

Row = dict[str, float | int | str | None]
States = Sequence[Tensor]


@dataclass(frozen=True)
class Setting:
    """What is checked: T and K ticks, β > 0, the errors below the output, the seed of the sampled synapses, and the
    gains of the feedback (None: 1).
    """

    free_steps: int
    nudge_steps: int
    beta: float
    errors: Errors = NO_ERRORS
    seed: int = 0
    gains: Feedback | None = None


@dataclass(frozen=True)
class Gdu:
    """Rows of gdu.csv (``ticks``), gdu_layers.csv (``layers``) and gdu_synapses.csv (``synapses``)."""

    ticks: list[Row]
    layers: list[Row]
    synapses: list[Row]

    @property
    def residual(self) -> float:
        """Largest change of any free state in the last tick before T."""
        return max(_number(row["free_residual"]) for row in self.layers)

    @property
    def restless(self) -> list[str]:
        """Layers whose free states still moved, for which the theorem says nothing."""
        return list(dict.fromkeys(str(row["name"]) for row in self.layers if not row["at_rest"]))


class Comparison:
    """One layer and one side: what is known of Δ_EP and Δ_BPTT once all ticks have been added."""

    def __init__(self) -> None:
        self.ep = self.bptt = torch.zeros(())
        self.squares = torch.zeros(3, dtype=torch.float64)

    def add(self, ep: Tensor, bptt: Tensor) -> Row:
        """Add one tick's updates of all synapses; returns the figures of this tick."""
        squares = torch.stack([value.square().sum() for value in (ep - bptt, ep, bptt)]).double().cpu()
        self.squares = self.squares + squares
        self.ep, self.bptt = self.ep + ep, self.bptt + bptt
        return {
            "ep_norm": float(squares[1].sqrt()),
            "bptt_norm": float(squares[2].sqrt()),
            "relative_rmse": relative_rmse(squares),
            "cosine": cosine(ep, bptt),
            "ep_cumulated_norm": float(self.ep.norm()),
            "bptt_cumulated_norm": float(self.bptt.norm()),
        }

    def summary(self) -> Row:
        """Relative RMSE over all ticks, and how the cumulated updates agree."""
        target = float(self.bptt.norm())
        return {
            "synapses": self.bptt.numel(),
            "relative_rmse": relative_rmse(self.squares),
            "sign_errors": sign_errors(self.ep, self.bptt),
            "cosine": cosine(self.ep, self.bptt),
            "norm_ratio": float(self.ep.norm()) / target if target > 0 else None,
        }


def relative_rmse(squares: Tensor) -> float | None:
    """``rms(Δ_EP − Δ_BPTT) / (rms(Δ_EP) + rms(Δ_BPTT))`` from the sums of squares of the three, which are over the
    same ticks and synapses: 0 where they are equal, 1 where they are opposite or one is 0; None where both are 0.
    """
    difference, ep, bptt = squares.sqrt().tolist()
    return difference / (ep + bptt) if ep + bptt > 0 else None


def sign_errors(ep: Tensor, bptt: Tensor) -> float | None:
    """Share of the synapses BPTT changes that EP changes the other way, or not at all; None where it changes none."""
    changed = bptt != 0
    wrong = changed & (ep.sign() != bptt.sign())
    return float(wrong.sum() / changed.sum()) if bool(changed.any()) else None


@torch.no_grad()
def check_updates(network: Network, x: Tensor, y: Tensor, setting: Setting, start: States | None = None) -> Gdu:
    """Compare EP's updates with BPTT's on images x (B, C, H, W) of classes y (B,), batch mean.

    The free phase runs T synchronous ticks from ``start`` (zeros by default) with no sample leaving, the nudge phases
    K. States of K free and 2K nudge ticks are held, but no tick's gradients longer than that tick.
    ``setting.nudge_steps`` must not exceed its ``free_steps``; network, x and signals are of one number format, best
    float64, as rounding is amplified by 1/β.
    """
    x = channels_last(x)
    gains = setting.gains or Feedback(network)
    gains.check_nudge()
    engine, onehot = Engine(network, Schedule(), gains), one_hot(y, network.num_classes, x)
    objective = Objective(onehot, setting.errors)
    free, trajectory = recorded_free_phase(engine, x, setting.free_steps, setting.nudge_steps, start)
    plus, minus = _nudged(engine, x, objective, free.states, setting)
    adjoint, _ = bptt.loss_gradients(network, free.states, objective)

    names = [weight for weight, _ in gradient_names(network)]
    chosen = _sampled_synapses(network, setting.seed)
    comparisons = [{side: Comparison() for side in SIDES} for _ in names]
    ticks, synapses, scale = [], [], 1 / (setting.beta * len(x))
    for t, partial in enumerate(bptt.partial_gradients(network, x, trajectory, adjoint, gains)):
        right, left = (
            contrastive(network, x, *ends, scale, feedback=gains, free=free.states)
            for ends in ((plus[t], plus[t + 1]), (minus[t + 1], minus[t]))
        )
        for number, name in enumerate(names):
            target, places = -partial[name], chosen[number]
            for side, update in zip(SIDES, (right[name], left[name], (right[name] + left[name]) / 2), strict=True):
                one = network.connections[number]
                where: Row = {"tick": t, "layer": one.target, "name": one.name, "side": side}
                ticks.append(where | comparisons[number][side].add(update, target))
                pairs = zip(places.tolist(), _at(update, places), _at(target, places), strict=True)
                synapses += [where | {"synapse": place, "ep": ep, "bptt": exact} for place, ep, exact in pairs]

    premises = _premises(network, x, trajectory, plus, minus)
    layers = [
        {
            "layer": network.connections[number].target,
            "name": network.connections[number].name,
            "side": side,
            **comparison.summary(),
            **premises[number],
        }
        for number, sides in enumerate(comparisons)
        for side, comparison in sides.items()
    ]
    return Gdu(ticks, layers, synapses)


def _nudged(
    engine: Engine, x: Tensor, objective: Objective, free: States, setting: Setting
) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
    """States (B, *shape) of every layer at the K + 1 moments of the +β and of the −β nudge phase."""
    recorder, signed = StateRecorder(), per_row([setting.beta, -setting.beta], len(x), x)
    nudge = Nudge(engine.network, objective, signed, engine.feedback)
    drive, phases = engine.network.input_drive(x)[0], (Phase.NUDGE_PLUS, Phase.NUDGE_MINUS)
    end = relax_nudged(engine, drive, free, nudge, phases, setting.nudge_steps, observers=[recorder])
    plus, minus = (
        [[state[side::2] for state in states] for states in [*recorder.states, end.states]] for side in (0, 1)
    )
    return plus, minus


def _premises(
    network: Network, x: Tensor, trajectory: bptt.Trajectory, plus: Sequence[States], minus: Sequence[States]
) -> list[Row]:
    """What the theorem presumes of the layer that each connection drives, as found.

    ``free_residual``: largest change of a free state in the last tick; ``free_motion``: largest distance from the state
    at T in the K ticks before; ``displacement``: largest distance of the nudged end states from it; ``at_rest``:
    whether the motion is at most ``REST_SHARE`` of the displacement. ``argmax_switches``: share of the max-pooling
    windows driving the layer whose argmax is another at a nudged end than at T (None without max-pooling);
    ``kinks_crossed``: share of the neurons that are at a bound of their activation in one and not in the other.
    """
    rest = trajectory[-1]
    rows: list[Row] = []
    for connection in network.connections:
        layer = connection.target
        moved = [_largest(states[layer] - rest[layer]) for states in trajectory[:-1]]
        ends = [end[-1] for end in (plus, minus)]
        displacement = max(_largest(end[layer] - rest[layer]) for end in ends)
        activation = network.activations[layer]
        held = _at_bound(activation, rest[layer])
        crossed = [(_at_bound(activation, end[layer]) != held).double().mean() for end in ends]
        switches = None
        if connection.pool == "max":
            pres = (x if connection.source == IMAGE else states[connection.source] for states in (rest, *ends))
            now, *then = (connection(pre)[1] for pre in pres)
            switches = sum(float((one != now).double().mean()) for one in then) / len(ends)
        rows.append(
            {
                "free_residual": moved[-1],
                "free_motion": max(moved),
                "displacement": displacement,
                "at_rest": max(moved) <= REST_SHARE * displacement,
                "argmax_switches": switches,
                "kinks_crossed": float(sum(crossed)) / len(ends),
            }
        )
    return rows


def _at_bound(activation: Activation, state: Tensor) -> Tensor:
    return activation.at_lower(state) | activation.at_upper(state)


def _largest(difference: Tensor) -> float:
    return float(difference.abs().max())


def _sampled_synapses(network: Network, seed: int) -> list[Tensor]:
    """Places of a few weights of each connection, drawn from the seed."""
    random = torch.Generator().manual_seed(seed)
    return [
        torch.randperm(connection.weight.numel(), generator=random)[:SYNAPSES].sort().values
        for connection in network.connections
    ]


def _at(update: Tensor, places: Tensor) -> list[float]:
    return update.flatten()[places.to(update.device)].tolist()


def _number(value: float | int | str | None) -> float:
    assert isinstance(value, float | int)
    return float(value)
