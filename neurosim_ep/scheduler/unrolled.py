"""One presentation of a batch trained by backpropagation through time (BPTT): the reference that EP is held against."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from neurosim_ep.ep import bptt, losses
from neurosim_ep.ep.arithmetic import tf32
from neurosim_ep.ep.feedback import Gains
from neurosim_ep.ep.network import Network, channels_last
from neurosim_ep.ep.signals import NO_ERRORS, Errors
from neurosim_ep.errors import UsageError
from neurosim_ep.hardware.chip.phases import Phase
from neurosim_ep.scheduler.engine import Engine, Relaxation, engine_for
from neurosim_ep.scheduler.inputs import check_inputs, check_kinds
from neurosim_ep.scheduler.observers import Observer, StateRecorder
from neurosim_ep.scheduler.presentation import Gradients, free_phase
from neurosim_ep.scheduler.quiescence import StoppingCriterion


@dataclass(frozen=True, kw_only=True)
class Unrolling:
    """What BPTT goes back through: a free phase of ``free_steps`` synchronous ticks, its last ``steps`` of them.

    ``feedback``: gain of what layers pass down, or one per depth (:mod:`~neurosim_ep.ep.feedback`).

    Raises :class:`UsageError` for ``steps`` beyond the free phase.
    """

    free_steps: int
    steps: int
    feedback: Gains = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= self.free_steps:
            ticks = f"free_steps ({self.free_steps}), the ticks there are to go back"
            raise UsageError(f"steps = {self.steps}: must be 1 to {ticks}")


@torch.no_grad()
@tf32(False)
def recorded_free_phase(
    engine: Engine,
    x: Tensor,
    free_steps: int,
    steps: int,
    states: Sequence[Tensor] | None = None,
    observers: Sequence[Observer] = (),
) -> tuple[Relaxation, bptt.Trajectory]:
    """A free phase of ``free_steps`` ticks on x (B, C, H, W), and the states of its last ``steps`` ticks.

    Samples at rest leave the ticks before, as ``engine`` decides; all of them are computed in the recorded ones.
    """
    network, recorder = engine.network, StateRecorder()
    ticks: Tensor | int = 0
    if free_steps > steps:
        before = free_phase(network, x, free_steps - steps, states, engine=engine, observers=observers)
        states, ticks = before.states, before.ticks
    elif states is None:
        states = network.initial_states(len(x), "zeros")
    stop = dataclasses.replace(StoppingCriterion.free_phase(engine.schedule.tolerance), earliest=steps + 1)
    end = engine.relax(
        network.input_drive(x)[0], [state.clone() for state in states], steps, (Phase.FREE,),
        stop=stop, observers=[*observers, recorder],
    )  # fmt: skip
    return dataclasses.replace(end, ticks=end.ticks + ticks), [*recorder.states, end.states]


@torch.no_grad()
@tf32(False)
def bptt_gradients(
    network: Network,
    x: Tensor,
    y: Tensor,
    unrolling: Unrolling,
    errors: Errors = NO_ERRORS,
    *,
    states: Sequence[Tensor] | None = None,
    engine: Engine | None = None,
    observers: Sequence[Observer] = (),
) -> Gradients:
    """BPTT gradient of the augmented loss at the end of a free phase, through its last ticks.

    It is the reference of :func:`~neurosim_ep.ep_gradients`: arXiv 2508.15989, Eq 5 for the sum over ticks, Eq 9 for
    the loss ``L = l_out + α Σ l_l``.

    Args:
        network: what :func:`~neurosim_ep.build_network` gives.
        x: images (B, C, H, W), normalised, in the number format and on the device of the network.
        y: class indices (B,), int64.
        unrolling: the ticks there are and those to go back, and the gain of what layers pass down.
        errors: what pushes layers besides the loss of the output.
        states: states (B, *shape) to start from, one for each layer; zeros by default.
        engine: made for this network and gain with the synchronous policy in float32; giving it saves its preparation.
        observers: are shown every tick of the free phase.

    Returns:
        Gradients by parameter name (mean over the batch); states at the end, their losses (B,) and logits (B, classes).

    Raises:
        UsageError: an engine of another policy or precision, tensors that do not fit.

    >>> from neurosim_ep import build_network, load_scenario
    >>> network = build_network(load_scenario("smoke").network, num_classes=10, image_shape=(3, 16, 16), seed=0)
    >>> found = bptt_gradients(network, torch.rand(4, 3, 16, 16), torch.arange(4), Unrolling(free_steps=8, steps=2))
    >>> [name for name, gradient in found.grads.items() if not gradient.any()]  # two ticks reach two of three layers
    ['connections.0.weight', 'connections.0.bias']
    """
    check_kinds(unrolling=(unrolling, Unrolling), errors=(errors, Errors))
    engine = engine_for(network, None, engine, unrolling.feedback)
    for name, only in (("policy", "synchronous"), ("precision", "float32")):
        if (value := getattr(engine.schedule, name)) != only:
            raise UsageError(f"{name} = {value!r}: must be {only!r} for BPTT; make the engine with it")
    check_inputs(network, x, y, errors=errors, states=states)
    x = channels_last(x)
    objective = errors.objective(network, x, y)
    free, trajectory = recorded_free_phase(engine, x, unrolling.free_steps, unrolling.steps, states, observers)
    logits = network.logits(free.states)
    grads = bptt.gradients(network, x, objective, trajectory, engine.feedback)
    return Gradients(grads, free.states, losses.output_loss(network, logits, objective.onehot), logits, free)
