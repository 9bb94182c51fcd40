"""`neurosim-ep estimate`: what a scenario costs on its chip, without training it."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np

from neurosim_ep.ep.network import channels_last
from neurosim_ep.ep.seeds import Stream, generator
from neurosim_ep.errors import UsageError
from neurosim_ep.hardware.counts import ACCOUNTINGS, DIRECTIONS, PROGRAMMING, READ_PHASES, UPDATE_QUANTITIES, TileCounts
from neurosim_ep.hardware.summary import Summary
from neurosim_ep.scenario.schema import Scenario
from neurosim_ep.scheduler.counters import TileCounter
from neurosim_ep.scheduler.engine import Engine
from neurosim_ep.scheduler.observers import TrafficObserver
from neurosim_ep.scheduler.phases import NUDGES
from neurosim_ep.scheduler.policies import POLICIES
from neurosim_ep.scheduler.presentation import ep_gradients
from neurosim_ep.scheduler.schedule import Schedule
from neurosim_ep.threads import use_threads
from neurosim_ep.tiles.mapping import TilePlan
from neurosim_ep.train.data import load_data, prepare
from neurosim_ep.train.device import select_device
from neurosim_ep.train.model import build_model
from neurosim_ep.train.optimiser import Optimiser


def estimate_measured(scenario: Scenario, samples: int, device: str, threads: int | None = None) -> Summary:
    """Record one presentation of the first ``samples`` training images to the untrained network, and its update, of
    whose programming they bear the share that ``samples`` are of the scenario's batch.

    What a teacher would show is left at 0, as it hardly changes how active the tiles are. ``threads`` is the number
    PyTorch computes with on the CPU (None: what fits machine and work). Raises :class:`UsageError`
    for more samples than there are, or a rule that no tiles compute.
    """
    if scenario.plasticity.rule == "bptt":
        raise UsageError(
            'plasticity.rule = "bptt": no chip of tiles computes this rule; estimate another one with --set'
        )
    target, seed, relaxation = select_device(device), scenario.scenario.seed, scenario.relaxation
    data = load_data(scenario.data, seed)
    if samples > len(data.train_labels):
        raise UsageError(f"--samples {samples}: there are only {len(data.train_labels)} training images; ask for fewer")
    model = build_model(scenario, data.num_classes, data.image_shape)
    use_threads(threads, samples * model.network.largest_read_flops)
    network, signals = model.network.to(target), None if model.signals is None else model.signals.to(target)
    counter, engine = TileCounter(model.plan, target), Engine(network, Schedule.of(scenario.scheduler, relaxation))
    x = channels_last(prepare(data.train_images[:samples].to(target), data.mean, data.std))
    shapes = {layer: network.state_shapes[layer] for layer in scenario.signals.taught()}
    if model.tiles is not None:
        model.tiles.to(target)
    with nullcontext() if model.tiles is None else model.tiles.calibrating():
        found = ep_gradients(
            network, x, data.train_labels[:samples].to(target),
            free_steps=relaxation.free_steps, nudge_steps=relaxation.nudge_steps, beta=relaxation.beta, signals=signals,
            alpha=scenario.signals.alpha, rule=scenario.plasticity.rule, loss=network.loss, nudging=relaxation.nudging,
            teacher={layer: x.new_zeros(samples, *shape) for layer, shape in shapes.items()},
            states=network.initial_states(samples, relaxation.state_init, generator(seed, Stream.STATES, 0)),
            engine=engine, observers=[TrafficObserver(network, counter, x)], on_product=counter.update,
        )  # fmt: skip
    before = [connection.weight.clone() for connection in network.connections]
    Optimiser(network, signals, scenario.training, updates=1).step(found.grads)
    for layer, (connection, old) in enumerate(zip(network.connections, before, strict=True)):
        counter.programmed(layer, old, connection.weight)
    counts = counter.result(samples)
    programming = [UPDATE_QUANTITIES.index(name) for name in PROGRAMMING]
    share = samples / scenario.training.batch_size
    counts.update[programming] = np.rint(counts.update[programming] * share).astype(np.int64)
    return Summary(model.recording(counts))


def estimate_given(scenario: Scenario, activity: float, events: float, classes: int, image: tuple[int, ...]) -> Summary:
    """The bill of all T and 2K ticks of one sample, with a share ``activity`` of all lines not zero and a share
    ``events`` of all neurons sending in every tick.
    """
    model = build_model(scenario, classes, image)
    relaxation = scenario.relaxation
    ticks = {"free": relaxation.free_steps}
    ticks |= {str(phase): relaxation.nudge_steps for phase, _ in NUDGES[relaxation.nudging]}
    step = POLICIES[scenario.scheduler.policy].ticks
    counts = given_counts(model.plan, ticks, activity, events, step, scenario.training.batch_size)
    return Summary(model.recording(counts))


def given_counts(
    plan: TilePlan, ticks: dict[str, int], activity: float, events: float, step: int, samples: int = 1
) -> TileCounts:
    """Counts of a batch of ``samples`` samples whose lines are active, and whose neurons send, at the same rate in
    every tick; layers are updated every ``step`` ticks. A tile is read in the event accounting when any of its lines
    is active, independently of one another. Where anything is active, one weight in a hundred gets a pulse, and every
    row one each way.
    """
    counts = TileCounts.zeros(len(plan.tiles))
    reuse = np.array([tile.reuse for tile in plan.tiles])
    lines = {"forward": plan.rows, "transposed": plan.columns}
    layers = len(plan.geometries)
    of_sender = np.array([sender.neurons for sender in plan.senders])
    neurons = np.array([geometry.neurons for geometry in plan.geometries])
    for phase, number in ticks.items():
        turn = np.add.outer(np.arange(number), np.arange(layers)) % step
        updated = samples * (turn == 0).astype(np.int64)
        for way, direction in enumerate(DIRECTIONS):
            driven, conversions = lines[direction], plan.conversions[way]
            times = np.array([samples * (phase == "free" and direction == "forward"), *updated.sum(0)])
            shift = 1 if direction == "forward" else 0
            times = np.where(plan.layer_of_tile > 0, times[plan.layer_of_tile + shift], times[0])
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
        counts.sends[phase] = np.tile(np.rint(samples * of_sender * events).astype(np.int64), (number, 1))
        counts.events[phase] = np.tile(np.rint(samples * neurons * events).astype(np.int64), (number, 1))
        counts.messages[phase] = np.zeros((number, layers), np.int64)
    weights = plan.rows * plan.outputs
    counts.update[0] = np.rint(counts.terms * samples * reuse * weights * activity**2)
    if activity > 0:
        counts.update[1] = counts.update[2] = np.rint(weights / 200)
        counts.update[3] = 2 * plan.rows
        counts.update[4] = counts.update[1] + counts.update[2]
    counts.samples, counts.batches = samples, 1
    return counts
