"""One presentation of a batch: free phase, nudge phases as one batch, and the gradient they give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from neurosim_ep.ep import losses
from neurosim_ep.ep.arithmetic import tf32
from neurosim_ep.ep.feedback import Gains
from neurosim_ep.ep.network import Network, channels_last
from neurosim_ep.ep.nudge import Nudge, per_row
from neurosim_ep.ep.plasticity import OuterProduct
from neurosim_ep.ep.signals import NO_ERRORS, Errors, matrix_gradient
from neurosim_ep.errors import UsageError
from neurosim_ep.hardware.chip.phases import Phase
from neurosim_ep.registry import RULES
from neurosim_ep.scheduler.engine import Engine, Relaxation, engine_for
from neurosim_ep.scheduler.inputs import check_inputs, check_kinds
from neurosim_ep.scheduler.observers import Observer
from neurosim_ep.scheduler.policies import layer_by_layer
from neurosim_ep.scheduler.quiescence import StoppingCriterion
from neurosim_ep.scheduler.rules import Ends, LocalRule
from neurosim_ep.scheduler.schedule import Schedule
from neurosim_ep.scheduler.sigma_delta import SigmaDelta, repeat_rows

NUDGES: dict[str, tuple[tuple[Phase, float], ...]] = {
    "three_phase": ((Phase.NUDGE_PLUS, 1.0), (Phase.NUDGE_MINUS, -1.0)),
    "one_sided_plus": ((Phase.NUDGE_PLUS, 1.0),),
    "one_sided_minus": ((Phase.NUDGE_MINUS, -1.0),),
}
"""Nudge phases of each kind of nudging, with the sign of β; phases of one kind run as one batch."""


@dataclass(frozen=True, kw_only=True)
class Phases:
    """The phases of equilibrium propagation, and what the synapses make of them.

    ``free_steps``: ticks of the free phase, up to a whole step of the policy. ``nudge_steps``: likewise of the nudge
    phases, which start at its end and run side by side. ``beta``: β > 0, how strongly the errors push. ``nudging``: a
    key of :data:`NUDGES`. ``rule``: name of a :class:`~neurosim_ep.scheduler.rules.LocalRule`, "contrastive", "stdp" or
    another package's. ``feedback``: γ, gain of what layers pass down, or one per depth, 0 to 10. ``nudge_feedback``:
    κ > 0, gain of what the nudge displaces, or one per depth; None: γ. ``schedule``: how the ticks are computed; None:
    as the engine that is given does, or every sample in every tick, all layers at once.

    Raises :class:`UsageError` for another rule or nudging, β <= 0, and phases without a tick.
    """

    free_steps: int
    nudge_steps: int
    beta: float
    nudging: str = "three_phase"
    rule: str = "contrastive"
    feedback: Gains = 1.0
    nudge_feedback: Gains | None = None
    schedule: Schedule | None = None

    def __post_init__(self) -> None:
        local_rules = [name for name in RULES.names() if RULES[name].nudges]
        for name, value, allowed in (("rule", self.rule, local_rules), ("nudging", self.nudging, NUDGES)):
            if value not in allowed:
                raise UsageError(f"{name} = {value!r}: must be {' or '.join(map(repr, allowed))}; use one of them")
        for name in ("free_steps", "nudge_steps"):
            if (ticks := getattr(self, name)) < 1:
                raise UsageError(f"{name} = {ticks}: must be at least 1 tick")
        if not self.beta > 0:
            rule = "must be greater than 0; the sign of the nudge is chosen by nudging"
            raise UsageError(f"beta = {self.beta:g}: {rule}")

    def nudged(self, x: Tensor) -> tuple[tuple[Phase, ...], Tensor]:
        """The nudge phases of images x (B, C, H, W), and the sign of β in each of their rows (phases · B,)."""
        phases, signs = zip(*NUDGES[self.nudging], strict=True)
        return phases, per_row(signs, len(x), x)


@dataclass(frozen=True)
class Terms:
    """The outer products that the gradient of the weights is made of: ``−scale · Σ sign · ∂Φ/∂w(end)``.

    ``ends``: sign and, by layer, what synapses see of it after themselves (B, *shape), as receivers hold it; ``pre``:
    the states before them, where these are not those of each end; ``scales``: one per connection.
    """

    ends: list[tuple[int, list[Tensor]]]
    pre: list[Tensor] | None
    scales: list[float]


@dataclass(frozen=True, repr=False)
class Gradients:
    """What a presentation gives, however the gradients were found.

    ``grads``: parameter name → tensor, batch mean, sign of a loss gradient. ``free``: states of every layer (B, *shape)
    at the end of the free phase; ``loss`` (B,) and ``logits`` (B, C) are theirs, and ``free_phase`` tells how the
    samples came to rest, or that they did not. ``terms``: what synapses would write one by one (None: not known).
    """

    grads: dict[str, Tensor]
    free: list[Tensor]
    loss: Tensor
    logits: Tensor
    free_phase: Relaxation
    terms: Terms | None = field(default=None, kw_only=True)

    @property
    def residual(self) -> Tensor:
        """Per sample (B,), the largest change of any state in its last free step."""
        return self.free_phase.residual

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} of {len(self.loss)} samples: loss {float(self.loss.mean()):.4g}, residual up to "
            f"{float(self.residual.max()):.2g}, {len(self.grads)} gradients, {len(self.free)} layers>"
        )


@dataclass(frozen=True, repr=False)
class EPGradients(Gradients):
    """Result of :func:`ep_gradients`.

    ``plus``, ``minus``: states of every layer (B, *shape) at the end of each nudge phase (None where nudging was
    one-sided the other way). ``nudge_phases`` tells how the samples came to rest in them. ``terms`` are those of the
    contrastive rule.
    """

    plus: list[Tensor] | None
    minus: list[Tensor] | None
    nudge_phases: Relaxation


@torch.no_grad()
@tf32(False)
def free_phase(
    network: Network,
    x: Tensor,
    steps: int,
    states: Sequence[Tensor] | None = None,
    *,
    feedback: Gains = 1.0,
    schedule: Schedule | None = None,
    engine: Engine | None = None,
    observers: Sequence[Observer] = (),
) -> Relaxation:
    """Relax ``network`` on images with β = 0: the free phase of arXiv 2508.15989, ``s ← σ(∂Φ/∂s)``.

    Args:
        network: what :func:`~neurosim_ep.build_network` gives.
        x: images (B, C, H, W), normalised, in the number format and on the device of the network.
        steps: ticks, at most; policies whose steps have several, as "alternating" has 2, go on to the end of a step.
        states: states (B, *shape) to start from, one for each layer; zeros by default.
        feedback: γ, gain of what layers pass down, or one per depth (:mod:`~neurosim_ep.ep.feedback`).
        schedule: how the ticks are computed; every sample, every tick, all layers at once by default.
        engine: made for this network, a schedule and gains, and used instead of these.
        observers: are shown every tick.

    Returns:
        States of every layer (B, *shape) at the end, and how each sample came to rest, or that it did not.

    Raises:
        UsageError: images or states that do not fit the network, a gain that is not 0 to 10 or not the engine's.
    """
    check_inputs(network, x, states=states)
    engine = engine_for(network, schedule, engine, feedback)
    drive, _ = network.input_drive(x)
    return _free_phase(engine, drive, steps, states, observers)[0]


def free_phases(
    network: Network, batches: Iterable[tuple[Tensor, Sequence[Tensor] | None]], steps: int, *, engine: Engine
) -> Iterator[tuple[Tensor, Relaxation]]:
    """:func:`free_phase` on the images of all ``batches``, each with states to start from or None for zeros.

    As many samples as the first batch has relax side by side, and those of later batches begin where others have ended.
    Yields numbers (n,), counted through all batches, and ends of n samples; each ends as in a batch of its own.
    """
    stop = StoppingCriterion.free_phase(engine.schedule.tolerance)
    return engine.relax_all(_Waiting(network, batches), steps, stop=stop)


class _Waiting:
    """The samples of ``batches`` that have not begun yet; see :data:`~neurosim_ep.scheduler.engine.Waiting`."""

    def __init__(self, network: Network, batches: Iterable[tuple[Tensor, Sequence[Tensor] | None]]) -> None:
        self.network, self._batches = network, iter(batches)
        self._x, self._states = torch.empty(0), [torch.empty(0)]

    @torch.no_grad()
    @tf32(False)
    def __call__(self, room: int | None) -> tuple[Tensor, list[Tensor]] | None:
        if len(self._x) == 0:
            batch = next(self._batches, None)
            if batch is None:
                return None
            self._x, states = batch
            check_inputs(self.network, self._x, states=states)
            self._states = list(states or self.network.initial_states(len(self._x), "zeros"))
        room = len(self._x) if room is None else room
        drive, _ = self.network.input_drive(self._x[:room])
        states = [state[:room].clone() for state in self._states]
        self._x, self._states = self._x[room:], [state[room:] for state in self._states]
        return drive, states


def _free_phase(
    engine: Engine, drive: Tensor, steps: int, states: Sequence[Tensor] | None, observers: Sequence[Observer]
) -> tuple[Relaxation, SigmaDelta | None]:
    network = engine.network
    own = network.initial_states(len(drive), "zeros") if states is None else [state.clone() for state in states]
    counted = any(observer.counts_events for observer in observers)
    senders = engine.senders(own) if engine.policy.obeys_senders or counted else None
    stop = StoppingCriterion.free_phase(engine.schedule.tolerance)
    end = engine.relax(drive, own, steps, (Phase.FREE,), stop=stop, senders=senders, observers=observers)
    return end, senders


def relax_nudged(
    engine: Engine,
    input_drive: Tensor,
    free: Sequence[Tensor],
    nudge: Nudge,
    phases: tuple[Phase, ...],
    steps: int,
    senders: SigmaDelta | None = None,
    observers: Sequence[Observer] = (),
) -> Relaxation:
    """The nudge ``phases`` of every sample, as neighbouring rows of one batch, for ``steps`` ticks from the ``free``
    states (B, *shape); ``senders`` know what was sent in the free phase.
    """
    copies = len(phases)
    crossing = 1 if layer_by_layer(engine.policy) else len(free)
    return engine.relax(
        input_drive,
        [repeat_rows(state, copies) for state in free],
        steps,
        phases,
        stop=StoppingCriterion.nudge_phase(engine.schedule.nudge_tolerance, free, crossing),
        nudge=nudge,
        senders=None if senders is None else senders.fork(copies),
        observers=observers,
    )


@torch.no_grad()
@tf32(False)
def ep_gradients(
    network: Network,
    x: Tensor,
    y: Tensor,
    phases: Phases,
    errors: Errors = NO_ERRORS,
    *,
    states: Sequence[Tensor] | None = None,
    engine: Engine | None = None,
    observers: Sequence[Observer] = (),
) -> EPGradients:
    """Equilibrium-propagation gradient of the (augmented) loss at one batch (arXiv 2508.15989, Eq 12 and 15).

    With gains each layer's gradient has the factor that makes it one of the loss: for small β and κ = γ that of the
    loss at the free fixed point; with another κ not exactly, as no energy has such dynamics
    (:mod:`~neurosim_ep.ep.feedback`).

    Args:
        network: what :func:`~neurosim_ep.build_network` gives.
        x: images (B, C, H, W), normalised, in the number format and on the device of the network.
        y: class indices (B,), int64.
        phases: how long the network relaxes, how strongly it is nudged, and what its synapses make of that.
        errors: what pushes layers besides the loss of the output.
        states: states (B, *shape) to start from, one for each layer; zeros by default.
        engine: made for this network, with the schedule and gains of ``phases``; saves its preparation.
        observers: are shown every tick of all phases, and every outer product that the synapses add up.

    Returns:
        Gradients by parameter name (mean over the batch), and how every phase ended.

    Raises:
        UsageError: phases or errors of another type, gains so small that no error is left, gains or a schedule that are
            not the engine's, tensors that do not fit.

    >>> from neurosim_ep import build_network, load_scenario
    >>> network = build_network(load_scenario("smoke").network, num_classes=10, image_shape=(3, 16, 16), seed=0)
    >>> gains = dict(feedback=0.1, nudge_feedback=1.0)
    >>> sweep = Phases(free_steps=3, nudge_steps=1, beta=0.2, schedule=Schedule("sweep"), **gains)
    >>> found = ep_gradients(network, torch.rand(4, 3, 16, 16), torch.arange(4), sweep)
    >>> all(bool(gradient.any()) for gradient in found.grads.values())  # one sweep reaches every layer
    True
    """
    check_kinds(phases=(phases, Phases), errors=(errors, Errors))
    check_inputs(network, x, y, errors=errors, states=states)
    engine = engine_for(network, phases.schedule, engine, phases.feedback, phases.nudge_feedback)
    engine.feedback.check_nudge()
    x = channels_last(x)
    input_drive, _ = network.input_drive(x)
    free, senders = _free_phase(engine, input_drive, phases.free_steps, states, observers)
    nudged_phases, sign = phases.nudged(x)
    nudge = Nudge(network, errors.objective(network, x, y), sign * phases.beta, engine.feedback)
    synapses: LocalRule = RULES[phases.rule](network, x, sign, engine.feedback, _telling(observers))
    watchers = [*observers, *synapses.observers]
    steps = phases.nudge_steps
    nudged = relax_nudged(engine, input_drive, free.states, nudge, nudged_phases, steps, senders, watchers)
    return _contrast(free, nudged, nudge, synapses, phases)


def _contrast(free: Relaxation, nudged: Relaxation, nudge: Nudge, synapses: LocalRule, phases: Phases) -> EPGradients:
    """What the ends of the free phase and of the nudge phases give."""
    network, gains, kinds = nudge.network, nudge.feedback, [phase for phase, _ in NUDGES[phases.nudging]]
    sides = (_split(layers, len(kinds)) for layers in (nudged.received, nudged.states))
    received, ends = (dict(zip(kinds, of_phase, strict=True)) for of_phase in sides)
    high, low = (received.get(phase) or free.received for phase in (Phase.NUDGE_PLUS, Phase.NUDGE_MINUS))
    scale = 1 / (phases.beta * len(nudge.onehot))
    grads = synapses.gradients(Ends(high, low, free.received, nudged.received), scale)
    logits = network.logits(free.received)
    return EPGradients(
        grads=grads | _delta_rule(network, nudged.received, nudge),
        free=free.states,
        loss=losses.output_loss(network, logits, nudge.onehot[:: len(kinds)]),
        logits=logits,
        free_phase=free,
        terms=Terms(
            [(1, high), (-1, low)],
            free.received if gains.apart else None,
            [scale * gains.of_gradient(n) for n in range(len(network.connections))],
        ),
        plus=ends.get(Phase.NUDGE_PLUS),
        minus=ends.get(Phase.NUDGE_MINUS),
        nudge_phases=nudged,
    )


def _telling(observers: Sequence[Observer]) -> OuterProduct | None:
    """What tells ``observers`` of outer products; None where nobody listens."""

    def tell(connection: int, pre: Tensor, routed: Tensor) -> None:
        for observer in observers:
            observer.product(connection, pre, routed)

    return tell if observers else None


def _delta_rule(network: Network, nudged: Sequence[Tensor], nudge: Nudge) -> dict[str, Tensor]:
    """Gradients of the readout and of learned matrices at the ``nudged`` states (rows, *shape), mean over the rows."""
    mean = nudge.onehot.new_full((len(nudge.onehot),), 1 / len(nudge.onehot))
    grads: dict[str, Tensor] = {}
    if network.readout is not None:
        grads |= losses.readout_gradient(network, nudged[-1], nudge.onehot, mean)
    if nudge.signals is not None:
        grads |= matrix_gradient(nudge.signals, nudged, nudge.targets, mean * nudge.alpha)
    return grads


def _split(states: Sequence[Tensor], copies: int) -> list[list[Tensor]]:
    """The states of each of the phases that relaxed side by side."""
    return [[state[copy::copies] for state in states] for copy in range(copies)]
