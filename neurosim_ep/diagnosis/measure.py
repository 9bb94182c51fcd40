"""Every figure of a diagnosis, taken from one free phase and the nudge phases that start at its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from neurosim_ep.diagnosis.lipschitz import Bounds, Linearisation, PowerIteration, bounds, power_iteration
from neurosim_ep.diagnosis.nudging import Row, biases, go_on, loss_cosines, nudge_both, responses
from neurosim_ep.diagnosis.rest import FreePhase, observe_free_phase
from neurosim_ep.diagnosis.samples import Samples
from neurosim_ep.diagnosis.saturation import saturation
from neurosim_ep.diagnosis.tiles import TileFigures, counting, tile_figures
from neurosim_ep.ep.feedback import Feedback
from neurosim_ep.ep.losses import one_hot
from neurosim_ep.ep.signals import Errors, Objective
from neurosim_ep.errors import DivergenceError
from neurosim_ep.experiment.opening import Experiment
from neurosim_ep.scenario.schema import RelaxationSection
from neurosim_ep.scheduler.schedule import Schedule


@dataclass(frozen=True)
class Figures:
    """``tolerance`` judged the rest of the ``free`` phase, computed in ``precision``; ``logits`` (B, C) are its end's.

    ``loss_cosines``: per connection, where the displacement has a gain of its own and tiles are ideal, else nothing.
    ``nudge_ticks``: length of the nudge phases. ``L_phi``, ``radius``, ``margin``: per sample, and ``L_phi_nudge``, L_Φ
    with the gains of the displacement; the lists: per layer.
    """

    tolerance: float
    precision: str
    free: FreePhase
    logits: Tensor
    L_phi: PowerIteration
    L_phi_nudge: PowerIteration
    radius: PowerIteration
    bounds: Bounds
    margin: Tensor
    nudge_ticks: int
    saturation: list[dict[str, float]]
    responses: list[Row]
    biases: list[Row]
    loss_cosines: list[float | None]
    tiles: list[TileFigures]


def measure(run: Experiment, chosen: Samples, say: Callable[[str], None]) -> Figures:
    """The :class:`Figures` of ``run`` at the samples ``chosen``, in its own dynamics but with tolerances of 0.

    Raises :class:`DivergenceError` when states are not finite.
    """
    relaxation, network = run.scenario.relaxation, run.model.network
    schedule = replace(Schedule.of(run.scenario.scheduler, relaxation), tolerance=0.0, nudge_tolerance=0.0)
    engine = run.engine(schedule)
    tolerance = relaxation.tolerance or RelaxationSection.model_fields["tolerance"].default
    say(f"free phase of {relaxation.free_steps} ticks, {len(chosen.places)} samples on {run.device}")
    with counting(run.model.tiles) as at_rest:
        free = observe_free_phase(engine, chosen.x, chosen.start, relaxation.free_steps, tolerance)
    for note in engine.notes:
        say(note)
    if not bool(free.residuals.isfinite().all()):
        raise DivergenceError(
            f"{run.run.path}: states of the free phase are not finite; this network cannot be diagnosed, start "
            "the run again with a lower training.learning_rate or network.weight_scale"
        )

    say("power iterations")
    around = Linearisation(network, free.input_drive, free.end.states, engine.feedback)
    L_phi = L_phi_nudge = power_iteration(around.hessian, free.end.states)
    if engine.feedback.apart:
        gains = Feedback(network, engine.feedback.nudge_feedback)
        displaced = Linearisation(network, free.input_drive, free.end.states, gains)
        L_phi_nudge = power_iteration(displaced.hessian, free.end.states)
    radius = power_iteration(around.map_hessian, free.end.states)
    constants = bounds(network, run.model.signals, engine.feedback)

    say(f"nudge phases of {relaxation.nudge_steps} ticks with 0, ±β/2, ±β and ±2β")
    beta, steps, onehot = relaxation.beta, relaxation.nudge_steps, one_hot(chosen.labels, network.num_classes, chosen.x)
    teacher = run.ask_teacher(run.data.test_images[chosen.places])
    objective = Objective(onehot, Errors(run.model.signals, run.alpha, teacher))
    with counting(run.model.tiles) as nudged:
        ends = nudge_both(engine, free, objective, steps, beta)
    apart = engine.feedback.apart and run.model.tiles is None
    half, twice = (nudge_both(engine, free, objective, steps, value) for value in (beta / 2, 2 * beta))
    alone = go_on(engine, free, objective, steps)
    return Figures(
        tolerance=tolerance,
        precision=engine.precision,
        free=free,
        logits=network.logits(free.end.received),
        L_phi=L_phi,
        L_phi_nudge=L_phi_nudge,
        radius=radius,
        bounds=constants,
        margin=constants.margin(L_phi_nudge.value, beta, run.alpha),
        nudge_ticks=-(-relaxation.nudge_steps // engine.policy.ticks) * engine.policy.ticks,
        saturation=saturation(network.activations, free.end.states, around.slopes),
        responses=responses(free.end.states, ends, half, twice, alone),
        biases=biases(engine, chosen.x, free, ends, beta),
        loss_cosines=loss_cosines(engine, chosen.x, free, ends, objective, beta) if apart else [],
        tiles=tile_figures(run, ends, [*at_rest[:1], *nudged[1:]]),
    )
