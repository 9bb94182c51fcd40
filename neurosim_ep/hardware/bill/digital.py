"""What stands beside the tiles and works in every tick: neurons, pooling, registers, readout and signals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np

from neurosim_ep.hardware.bill.action import Action
from neurosim_ep.hardware.chip.backward import BACKWARD, FORWARD
from neurosim_ep.hardware.chip.components import Part
from neurosim_ep.hardware.chip.memory import ROUTING_BITS
from neurosim_ep.hardware.chip.phases import READ_PHASES, UPDATE
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.terms import counted, of_chip

NUDGE_PHASES = READ_PHASES[1:]
READOUT = -1
"""Its place in arrays [layers + 1]."""


def tick_actions(recording: Recording, phase: str, style: Style) -> Iterator[Action]:
    """Neuron updates, pooling, sums of several drives and register traffic: every neuron of every sample in every tick
    its layer works, pooling of layer 0 and a copy of all states once per sample.

    Pooling and routing are those of every edge into a layer. A neuron adds one drive and one feedback by itself; every
    further edge into or out of its layer is an addition more.
    """
    chip, samples, term = recording.chip, recording.samples(phase), recording.chip.model.term
    ticks, neurons = recording.sample_ticks(phase, style), of_chip("neurons", chip.neurons)
    updates = counted("updates of a layer", ticks)
    act = partial(Action, phase, per_tile=False)
    yield act(Part.NEURON, updates * neurons, term("digital.neuron_energy"))
    poolings = ticks.copy()
    poolings[0] = samples if phase == "free" else 0
    if chip.backprop and phase == BACKWARD:  # errors follow the routing that was kept
        poolings[:] = 0
    pooled = counted("poolings of a layer", poolings)
    for pool, key in (("max", "digital.compare_energy"), ("avg", "digital.add_energy")):
        outputs = np.zeros_like(chip.neurons)
        for edge in chip.plan.edges:
            outputs[edge.ends[1]] += math.prod(edge.pre_pool_shape) if edge.pool == pool else 0
        yield act(Part.POOL, pooled * of_chip(f"values that are pooled by {pool}", outputs), term(key))
    further = of_chip("further drives of a neuron", further_drives(recording, phase))
    yield act(Part.ADD, updates * neurons * further, term("digital.add_energy"))
    routed = np.zeros_like(chip.neurons)
    for edge in chip.plan.edges[1:]:  # the routing of the static input never changes
        routed[edge.ends[1]] += ROUTING_BITS if edge.pool == "max" else 0
    accesses = updates * 2 + counted("samples", samples)
    bits = accesses * term("digital.state_bits") + updates * 2 * of_chip("bits of routing", routed)
    yield act(Part.REGISTER, bits * neurons, term("registers.access_energy"))


def further_drives(recording: Recording, phase: str) -> np.ndarray:
    """Edges into and out of each layer beyond the first ones, int64 [layers + 1]; of backpropagation those into it in
    the forward, and out of it in the backward pass.
    """
    chip = recording.chip
    ends = ((1,) if phase == FORWARD else (0,)) if chip.backprop else (0, 1)
    found = np.zeros_like(chip.neurons)
    for end in ends:
        edges = np.array([edge.ends[end] for edge in chip.plan.edges[1:]], np.int64)
        found += np.maximum(np.bincount(edges, minlength=len(found)) - 1, 0)
    return found


def stored_states(recording: Recording, phase: str, style: Style) -> Iterator[Action]:
    """Of backpropagation: states that it keeps from its forward to its backward pass, written and read, in a buffer per
    layer.
    """
    chip = recording.chip
    if chip.backprop and phase == BACKWARD:
        accesses = counted("samples", recording.counts.samples) * 2 * of_chip("neurons", chip.neurons)
        sizes = chip.neurons * chip.model.digital.state_bits.value
        unit = chip.model.buffer_energy(sizes)
        yield Action(phase, Part.STORED_STATE, accesses * chip.model.term("digital.state_bits"), unit, per_tile=False)


def projection_macs(recording: Recording, phase: str, style: Style) -> Iterator[tuple[Part, np.ndarray]]:
    """Multiply-adds of the signal projections and of the readout in a read phase, int64 [layers + 1]: logits in every
    nudge tick and at the end of the free phase, and in nudge ticks the error back to the states. An analog chip
    evaluates the error once, at the free state, and holds it; backpropagation has the logits from its forward pass.
    """
    chip, samples = recording.chip, recording.samples(phase)
    ticks = recording.sample_ticks(phase, style)
    if style is Style.SETTLING:
        ticks = np.full_like(ticks, samples)
    if phase in NUDGE_PHASES:
        macs = [(signal.layer, signal.nudge_multiply_adds * int(ticks[signal.layer])) for signal in chip.signals]
        yield Part.SIGNAL, _by_layer(recording, macs)
    if chip.readout is not None:
        in_a_tick = 1 if chip.backprop else 2
        evaluations = samples if phase == "free" else in_a_tick * int(ticks[chip.readout.layer])
        yield Part.READOUT, _by_layer(recording, [(READOUT, chip.readout.weights * evaluations)])


def projection_actions(recording: Recording, phase: str, style: Style) -> Iterator[Action]:
    """:func:`projection_macs`, priced."""
    for part, macs in projection_macs(recording, phase, style):
        yield _priced(recording, phase, part, macs)


def projection_updates(recording: Recording) -> Iterator[Action]:
    """Multiply-adds that update the readout and learned projections, per sample and nudge phase."""
    counts, chip = recording.counts, recording.chip
    nudged = counts.samples * sum(phase in counts.presentations for phase in NUDGE_PHASES)
    macs = [(signal.layer, signal.weights * nudged) for signal in chip.signals if signal.learned]
    yield _priced(recording, UPDATE, Part.SIGNAL, _by_layer(recording, macs))
    if chip.readout is not None:
        macs = [(READOUT, chip.readout.weights * nudged)]
        yield _priced(recording, UPDATE, Part.READOUT, _by_layer(recording, macs))


def _by_layer(recording: Recording, macs: Iterable[tuple[int, int]]) -> np.ndarray:
    """Sums of pairs (layer, multiply-adds), int64 [layers + 1]."""
    found = np.zeros_like(recording.chip.neurons)
    for layer, number in macs:
        found[layer] += number
    return found


def _priced(recording: Recording, phase: str, part: Part, macs: np.ndarray) -> Action:
    """``macs`` multiply-adds of readout or signals, int64 [layers + 1], their weights from buffers of their size."""
    chip, weights = recording.chip, np.ones_like(macs)
    if part is Part.READOUT:
        assert chip.readout is not None
        weights[-1] = max(chip.readout.weights, 1)
    else:
        for signal in chip.signals:
            weights[signal.layer] = max(signal.weights, 1)
    unit = chip.model.projection_mac_energy(weights * chip.model.digital.state_bits.value)
    return Action(phase, part, counted("multiply-adds", macs, part.sentence), unit, per_tile=False)
