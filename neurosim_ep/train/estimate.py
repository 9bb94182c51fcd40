"""`neurosim-ep estimate`: what a scenario costs on its chip, without training it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from neurosim_ep.errors import UsageError
from neurosim_ep.experiment.model import build_model
from neurosim_ep.experiment.opening import Experiment
from neurosim_ep.hardware.bill.summary import Summary
from neurosim_ep.hardware.chip.area import area_table
from neurosim_ep.hardware.chip.counts import ACCOUNTINGS, DIRECTIONS, PROGRAMMING, UPDATE_QUANTITIES, TileCounts
from neurosim_ep.hardware.chip.phases import READ_PHASES
from neurosim_ep.record.logs import write_table
from neurosim_ep.record.whole_folder import new_folder
from neurosim_ep.registry import POLICIES
from neurosim_ep.scenario.schema import Scenario
from neurosim_ep.scenario.topology import IMAGE, two_colours
from neurosim_ep.scheduler.policies import layer_by_layer
from neurosim_ep.scheduler.presentation import NUDGES
from neurosim_ep.tiles.mapping import TilePlan
from neurosim_ep.train.trainer import Trainer


def estimate_measured(scenario: Scenario, samples: int, device: str, threads: int | None = None) -> Summary:
    """Record the first training step of ``scenario`` with a batch of ``samples``, which bear of its programming the
    share that they are of the scenario's batch.

    What a teacher would show is left at 0, as it hardly changes how active the tiles are. ``threads`` is the number
    PyTorch computes with on the CPU (None: what fits machine and work). Raises :class:`UsageError`
    for more samples than there are, or a rule without nudge phases.
    """
    if not scenario.plasticity.on_tiles:
        raise UsageError(
            f'plasticity.rule = "{scenario.plasticity.rule}": only phases of equilibrium propagation are estimated; '
            "choose another rule with --set, beside whose cost stands that of backpropagation on the same tiles"
        )
    training = scenario.training.model_copy(update={"batch_size": samples})
    experiment = Experiment.open(scenario.model_copy(update={"training": training}), device=device, blank=True)
    if samples > (most := len(experiment.data.train_labels)):
        raise UsageError(f"--samples {samples}: there are only {most} training images; ask for fewer")
    experiment.use_threads(threads, samples)
    counts = Trainer(experiment).first_batch(0, recorded=True)
    assert counts is not None
    programming = [UPDATE_QUANTITIES.index(name) for name in PROGRAMMING]
    share = samples / scenario.training.batch_size
    counts.update[programming] = np.rint(counts.update[programming] * share).astype(np.int64)
    return Summary(experiment.model.recording(counts))


def write_estimate(found: Summary, out: Path) -> None:
    """Leave cost.csv, comparison.csv and area.csv, as a run has them, in the new folder ``out``.

    Raises :class:`UsageError` when ``out`` is not an empty folder.
    """
    chip = found.recording.chip
    area = area_table(chip)
    with new_folder(out) as folder:
        write_table(folder / "cost.csv", found.bill)
        write_table(folder / "comparison.csv", [one._asdict() for one in found.comparisons])
        write_table(folder / "area.csv", area)


def estimate_given(
    scenario: Scenario,
    activity: float,
    events: float,
    classes: int,
    image: tuple[int, ...],
    writes: float = 0.0,
) -> Summary:
    """The bill of all T and 2K ticks of one sample, with a share ``activity`` of all lines not zero, a share ``events``
    of all neurons sending in every tick, and a share ``writes`` of all weights getting a pulse in each update.
    """
    model = build_model(scenario, classes, image)
    relaxation = scenario.relaxation
    ticks = {"free": relaxation.free_steps}
    ticks |= {str(phase): relaxation.nudge_steps for phase, _ in NUDGES[relaxation.nudging]}
    policy, layers = POLICIES[scenario.scheduler.policy], len(model.plan.layers)
    by_layer = layer_by_layer(policy)
    if by_layer:
        ticks = {phase: number * layers for phase, number in ticks.items()}
    counts = given_counts(
        model.plan, ticks, activity, events, layers if by_layer else policy.ticks, scenario.training.batch_size,
        by_layer=by_layer, writes=writes,
    )  # fmt: skip
    return Summary(model.recording(counts), given=True)


def given_counts(
    plan: TilePlan,
    ticks: dict[str, int],
    activity: float,
    events: float,
    step: int,
    samples: int = 1,
    *,
    by_layer: bool = False,
    writes: float = 0.0,
) -> TileCounts:
    """Counts of a batch of ``samples`` samples whose lines are active, and whose neurons send, at the same rate in
    every tick; layers are updated every ``step`` ticks, neighbouring ones in turn or, ``by_layer``, one in each tick,
    after which it sends. A tile is read in the event accounting when any of its lines
    is active, independently of one another. A share ``writes`` of the weights gets a pulse, half of them each way, and
    with that every row one each way.
    """
    counts = TileCounts.zeros(len(plan.tiles))
    reuse = np.array([tile.reuse for tile in plan.tiles])
    lines = {"forward": plan.rows, "transposed": plan.columns}
    ends = np.array([geometry.ends for geometry in plan.geometries])[[tile.connection for tile in plan.tiles]].T
    turns = np.array(two_colours([edge.ends for edge in plan.edges], len(plan.layers)) or [0] * len(plan.layers))
    if by_layer:
        turns = -np.arange(len(plan.layers))
    of_sender = np.array([sender.neurons for sender in plan.senders])
    its_layer = [sender.layer for sender in plan.senders]
    neurons = np.array([layer.neurons for layer in plan.layers])
    for phase, number in ticks.items():
        turn = np.add.outer(np.arange(number), turns) % step
        updated = samples * (turn == 0).astype(np.int64)
        for way, direction in enumerate(DIRECTIONS):
            driven, conversions = lines[direction], plan.conversions[way]
            once = samples * (phase == "free" and direction == "forward")  # the image is read forwards, in one tick
            source, target = ends
            times = np.where(source == IMAGE, once, updated.sum(0)[target if direction == "forward" else source])
            for place, accounting in enumerate(ACCOUNTINGS):
                share = activity if accounting == "clocked" else events
                some = 1.0 if accounting == "clocked" else 1 - (1 - events) ** driven
                reads = np.rint(times * reuse * some).astype(np.int64)
                active = np.rint(times * reuse * driven * share).astype(np.int64)
                counts.traffic[READ_PHASES.index(phase), place, way] = (
                    reads, active, reads * conversions, active * plan.array.input_pulses,
                )  # fmt: skip
        counts.presentations[phase] = updated
        counts.needed[phase] = updated * (events > 0)
        sending = turn == 0 if by_layer else np.ones_like(turn)
        counts.sends[phase] = np.rint(samples * of_sender * events).astype(np.int64) * sending[:, its_layer]
        counts.events[phase] = np.rint(samples * neurons * events).astype(np.int64) * sending
        counts.messages[phase] = np.zeros((number, len(neurons)), np.int64)
    weights = plan.rows * plan.outputs
    counts.update[0] = np.rint(counts.terms * samples * reuse * weights * activity**2)
    if writes > 0:
        counts.update[1] = counts.update[2] = np.rint(weights * writes / 2)
        counts.update[3] = 2 * plan.rows
        counts.update[4] = counts.update[1] + counts.update[2]
    counts.samples, counts.batches = samples, 1
    return counts
