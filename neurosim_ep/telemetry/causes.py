"""Why a network does not learn: each cause is a function of the evidence that gives a finding, or nothing.

A finding is a sentence with the number that shows it and one remedy. Where thresholds come from, besides those of
:mod:`~neurosim_ep.telemetry.health`: in 41 runs that learned (docs/results.md, docs/stability.md) the smallest mean
gradient of a layer was 0.006 to 0.7 of the largest and an update changed weights by 1e-5 to 0.07 of their norm; in runs
of the published dynamics that stayed at chance the gradients were a ten-thousandth of it, or less.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from neurosim_ep.registry import POLICIES
from neurosim_ep.scenario.schema import Scenario
from neurosim_ep.scheduler.policies import layer_by_layer
from neurosim_ep.telemetry import rest
from neurosim_ep.telemetry.evidence import SIGMAS, Evidence
from neurosim_ep.telemetry.health import DYING, INPUT_INDEPENDENT, KINDS, unresolved
from neurosim_ep.telemetry.resolution import RESOLVED

ALIKE = 1.0
"""Grey levels of deviation across images below which they are alike."""
VANISHED = 1e-3
"""Smallest gradient of a layer over the largest below which errors vanish on their way."""
WORSE_THAN_GUESSING = 1.5
"""Loss over that of a network that says nothing, from which on it is sure of what is wrong."""
LARGE_STEP = 0.3
"""Change of weights by an update over their norm from which on a layer forgets in a few batches what it had."""
SMALL_WAY = 0.02
"""The same summed over all updates of a run, below which the weights hardly left where they started."""
AT_BOUNDS = 0.95
"""Share of states at a bound above which a layer passes hardly any error."""
FALLING = 0.01
"""Part of the loss that an epoch must take off for it to count as falling."""
DEAD = 0.95
"""Share of dead neurons above which a layer lets nothing pass."""
ALIVE = "raise network.weight_scale, lower training.learning_rate, or set network.activation = hard_tanh"
NAMED = 4
"""Layers that a sentence names."""


@dataclass(frozen=True)
class Finding:
    """What was found: ``cause``, a clause with its number, a ``remedy``, and whether it ``stops`` layers from learning
    for good, even where the readout makes something of what they happen to show.
    """

    cause: str
    remedy: str
    stops: bool = False

    def __str__(self) -> str:
        return f"{self.cause}; {self.remedy}"


Cause = Callable[[Evidence], Finding | None]


def diverged(found: Evidence) -> Finding | None:
    """Numbers that are not finite."""
    if not found.diverged:
        return None
    done = f"after {len(found.epochs)} finished epochs" if found.epochs else "in the first epoch"
    rate = found.scenario.training.learning_rate
    return Finding(
        f"it diverged {done}: loss, states or weights are no finite numbers (learning rate {_told(rate)})",
        "lower training.learning_rate, network.weight_scale or relaxation.beta, or set training.update_limit = 0.02",
    )


def same_images(found: Evidence) -> Finding | None:
    """Nothing to tell classes apart by."""
    if found.data.classes_seen < 2:
        return Finding(
            "all training images are of one class", "give images of two classes or more (data.root, data.train_samples)"
        )
    if found.data.deviation >= ALIKE:
        return None
    return Finding(
        f"the training images are all alike: their pixels deviate by {found.data.deviation:.2g} of 255 grey levels",
        "look at the images (data.root, data.kind)",
    )


def wrong_teacher(found: Evidence) -> Finding | None:
    """Targets that do not go with the labels."""
    teacher, chance = found.teacher, found.data.chance
    if teacher is None:
        return None
    limit = chance + SIGMAS * math.sqrt(chance * (1 - chance) / teacher.images)
    remedy = "train a teacher for these images and labels (`neurosim-ep teach`), or set signals.kind = le"
    if teacher.agreement < limit:
        return Finding(
            f"the teacher's targets do not go with the labels: the nearest class mean of its targets names "
            f"{teacher.agreement:.1%} of {teacher.images} training images right, chance {chance:.1%}",
            remedy,
            stops=True,
        )
    if teacher.accuracy is not None and teacher.accuracy < found.data.above_chance:
        return Finding(
            f"the teacher itself knows nothing: it names {teacher.accuracy:.1%} of the test images right, "
            f"chance {chance:.1%}",
            remedy,
            stops=True,
        )
    return None


def too_few_ticks(found: Evidence) -> Finding | None:
    """Phases that end before the image, or the error, has passed all layers."""
    scenario = found.scenario
    if not scenario.plasticity.relaxes or not found.last or layer_by_layer(POLICIES[scenario.scheduler.policy]):
        return None
    layers, free, nudge = len(found.last), scenario.relaxation.free_steps, scenario.relaxation.nudge_steps
    blind = [name for name, value in found.of_layers("std_across_samples").items() if value == 0]
    if blind and free < layers:
        return Finding(
            f"too few ticks: the image does not reach {_names(blind)} in T = {free} ticks, a tick per layer",
            f"set relaxation.free_steps to {2 * layers} or more, or scheduler.policy = sweep",
            stops=True,
        )
    still = [name for name, value in found.of_layers("mean_abs_nudge_difference").items() if value == 0]
    if still and nudge < layers and still[0] == found.last[0]["name"]:
        return Finding(
            f"too few ticks: the nudge does not reach {_names(still)} in K = {nudge} ticks, a tick per layer",
            f"set relaxation.nudge_steps to {layers} or more, or scheduler.policy = sweep",
            stops=True,
        )
    return None


def rate_too_high(found: Evidence) -> Finding | None:
    """Updates so large that the network is sure of what is wrong."""
    losses, guess = found.known("loss"), _guessing(found)
    step = max((max(sizes) for sizes in found.step_sizes.values()), default=0.0)
    worse = losses and losses[-1] > WORSE_THAN_GUESSING * guess
    if not worse and step < LARGE_STEP:
        return None
    shown = f"the loss is {losses[-1]:.3g}, that of guessing {guess:.3g}" if worse else "weights are thrown about"
    return Finding(
        f"the learning rate is too high ({_rates(found.scenario)}): {shown}; an update changes the weights of a layer "
        f"by up to {step:.1%} of their norm",
        "lower training.learning_rate and readout_learning_rate ten times, or set training.update_limit = 0.02",
    )


def dead_layer(found: Evidence) -> Finding | None:
    """Layers all of whose neurons are silent, or held at a bound, whatever the image: nothing passes them."""
    dead = {name: share for name, share in found.of_layers("dead_fraction").items() if share > DEAD}
    return Finding(f"dead layers: {_silent(dead)}", ALIVE, stops=True) if dead else None


def dying_layer(found: Evidence) -> Finding | None:
    """The same of most of the neurons."""
    dying = {name: share for name, share in found.of_layers("dead_fraction").items() if DYING < share <= DEAD}
    return Finding(f"dying layers: {_silent(dying)}", ALIVE) if dying else None


def _silent(layers: dict[str, float]) -> str:
    named = _names([f"{name} ({share:.0%} of its neurons)" for name, share in layers.items()])
    return f"{named} at 0 or at a bound for every image of a batch"


def coarse_converters(found: Evidence) -> Finding | None:
    """Conversion steps that swallow the nudge."""
    nudges, steps = found.of_layers("mean_abs_nudge_difference"), found.of_layers("adc_step_nudge")
    coarse = {name: nudges[name] / step for name, step in steps.items() if step > 0 and nudges[name] < RESOLVED * step}
    if not coarse:
        return None
    named = _names(
        [f"{name} ({share:.2g} of a step)" for name, share in sorted(coarse.items(), key=lambda one: one[1])]
    )
    bits = found.scenario.hardware.converters.adc_bits
    return Finding(
        f"the converters of {bits} bits are too coarse for the nudge, which moves the states of {named}",
        "raise hardware.converters.adc_bits or relaxation.beta, or narrow hardware.converters.calibration_quantile",
        stops=2 * len(coarse) > len(steps),
    )


def vanishing_gradient(found: Evidence) -> Finding | None:
    """Errors that are lost between the readout and the input."""
    gradients = found.of_layers("mean_abs_dW")
    largest = max(gradients.values(), default=0.0)
    if not largest:
        return None
    name, smallest = min(gradients.items(), key=lambda one: one[1])
    if smallest >= VANISHED * largest:
        return None
    return Finding(
        f"the gradient vanishes on its way through the layers: that of {name} is {smallest / largest:.1e} of the "
        "largest",
        "give the layers local errors (signals.kind = le), or feedback gains as the scenario vgg11_gains has them",
        stops=True,
    )


def rounding_noise(found: Evidence) -> Finding | None:
    """Errors so small that states in float32 do not show them. What converters swallow is another matter."""
    nudges, sizes = found.of_layers("mean_abs_nudge_difference"), found.of_layers("mean_abs_state")
    converted = found.of_layers("adc_step_nudge")
    named = [
        f"{name} ({nudge / sizes[name]:.1e} of |s|)"
        for name, nudge in nudges.items()
        if unresolved(nudge, sizes[name]) and name not in converted
    ]
    if not named:
        return None
    return Finding(
        f"gradients of rounding noise, as the nudge moves states by less than float32 tells apart: {_names(named)}",
        KINDS["rounding"][1],
        stops=2 * len(named) > len(nudges),
    )


def no_gradient(found: Evidence) -> Finding | None:
    """No layer has a gradient at all."""
    gradients = found.of_layers("mean_abs_dW")
    if not gradients or any(gradients.values()):
        return None
    return Finding(
        "no layer has a gradient: nothing that the nudge does reaches the weights",
        "raise relaxation.beta and relaxation.nudge_steps; `neurosim-ep diagnose` shows how far the nudge reaches",
        stops=True,
    )


def input_independent(found: Evidence) -> Finding | None:
    """States that are the same for all images."""
    sizes, deviations = found.of_layers("mean_abs_state"), found.of_layers("std_across_samples")
    shares = {name: deviations[name] / size for name, size in sizes.items() if size > 0}
    alike = {name: share for name, share in shares.items() if share < INPUT_INDEPENDENT}
    if not alike:
        return None
    named = _names([f"{name} ({share:.1e} of |s|)" for name, share in alike.items()])
    return Finding(
        f"states hardly depend on the image, by their deviation across images: {named}",
        "weaken the feedback at rest (relaxation.feedback), or raise network.weight_scale",
    )


def saturated(found: Evidence) -> Finding | None:
    """States at the bounds of their activation, where no error passes."""
    zero, upper = found.of_layers("fraction_zero"), found.of_layers("fraction_upper")
    full = {name: zero[name] + share for name, share in upper.items() if zero[name] + share > AT_BOUNDS}
    if not full:
        return None
    named = _names([f"{name} ({share:.0%} of its states)" for name, share in full.items()])
    return Finding(
        f"saturated layers, at 0 or at the upper bound, which pass no error: {named}",
        "lower network.weight_scale or training.learning_rate, or set training.weight_decay",
    )


def far_from_rest(found: Evidence) -> Finding | None:
    """Free phases that end anywhere; what moves less than that was no hindrance."""
    moving, residual = found.known("not_converged"), found.known("free_residual")
    said = rest.far_from_rest(moving[-1], residual[-1]) if residual else ""
    return Finding(f"the free phase ends far from rest: {said}", rest.CLOSER) if said else None


def rate_too_low(found: Evidence) -> Finding | None:
    """Weights that stayed where they were."""
    training = found.scenario.training
    ways = [sum(sizes) for sizes in found.step_sizes.values()]
    if not ways or not found.scenario.hardware.device.ideal:
        return None
    way = math.ceil(found.data.train_images / training.batch_size) * max(ways)
    if way >= SMALL_WAY:
        return None
    return Finding(
        f"the learning rate is too low ({_rates(found.scenario)}): all updates together moved the weights of no layer "
        f"by more than {way:.1e} of their norm",
        "raise training.learning_rate and readout_learning_rate ten times or more",
    )


def too_short(found: Evidence) -> Finding | None:
    """A loss that still falls."""
    losses = found.known("loss")
    if found.learns or len(losses) < 2 or losses[-1] > (1 - FALLING) * losses[-2]:
        return None
    return Finding(
        f"it has only begun: the loss still falls, from {losses[-2]:.3g} to {losses[-1]:.3g} in the last epoch",
        f"go on with `neurosim-ep resume RUN_DIR --set training.epochs={2 * len(losses)}`",
    )


CAUSES: tuple[Cause, ...] = (
    diverged, same_images, wrong_teacher, too_few_ticks, rate_too_high, rate_too_low, dead_layer, coarse_converters,
    no_gradient, vanishing_gradient, rounding_noise, dying_layer, input_independent, saturated, far_from_rest,
    too_short,
)  # fmt: skip
"""The most decisive first: what is wrong with the images explains all that follows, and so on."""


def _guessing(found: Evidence) -> float:
    """Loss of a network that says nothing: equal shares for all classes, or a state of 0 for each."""
    return math.log(found.data.classes) if found.scenario.network.loss == "cross_entropy" else 0.5


def _names(words: Iterable[str]) -> str:
    known = list(words)
    more = f" and {len(known) - NAMED} more" if len(known) > NAMED else ""
    return ", ".join(known[:NAMED]) + more


def _told(rate: object) -> str:
    return ", ".join(f"{one:g}" for one in rate) if isinstance(rate, tuple) else f"{rate:g}"


def _rates(scenario: Scenario) -> str:
    training = scenario.training
    return f"layers {_told(training.learning_rate)}, readout {training.readout_learning_rate:g}"
