"""What stands beside the tiles and works in every tick: neurons, pooling, registers, readout and signals."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from neurosim_ep.hardware.bill.action import UPDATE, Action
from neurosim_ep.hardware.chip.backward import FORWARD
from neurosim_ep.hardware.chip.components import Component, Part
from neurosim_ep.hardware.chip.counts import READ_PHASES
from neurosim_ep.hardware.chip.memory import ROUTING_BITS
from neurosim_ep.hardware.chip.projections import Projection
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.chip.styles import Style

NUDGE_PHASES = READ_PHASES[1:]


def tick_actions(recording: Recording, phase: str, style: Style) -> Iterator[Action]:
    """Neuron updates, pooling, sums of several drives and register traffic: every neuron of every sample in every tick
    its layer works, pooling of layer 0 and a copy of all states once per sample.

    Pooling and routing are those of every edge into a layer. A neuron adds one drive and one feedback by itself; every
    further edge into or out of its layer is an addition more.
    """
    chip, samples = recording.chip, recording.samples(phase)
    digital, ticks, neurons = chip.model.digital, recording.sample_ticks(phase, style), chip.neurons

    def act(component: Component, per_layer: np.ndarray, unit_energy_J: float) -> Action:
        return Action(phase, component, per_layer, unit_energy_J, per_tile=False)

    yield act(Part.NEURON, ticks * neurons, digital.neuron_energy.value)
    poolings = ticks.copy()
    poolings[0] = samples if phase == "free" else 0
    for pool, energy in (("max", digital.compare_energy), ("avg", digital.add_energy)):
        outputs = np.zeros_like(neurons)
        for edge in chip.plan.edges:
            outputs[edge.ends[1]] += math.prod(edge.pre_pool_shape) if edge.pool == pool else 0
        yield act(Part.POOL, poolings * outputs, energy.value)
    yield act(Part.ADD, ticks * neurons * _further_drives(recording, phase), digital.add_energy.value)
    routed = np.zeros_like(neurons)
    for edge in chip.plan.edges[1:]:  # the routing of the static input never changes
        routed[edge.ends[1]] += ROUTING_BITS if edge.pool == "max" else 0
    bits = (2 * ticks + samples) * digital.state_bits.value + 2 * ticks * routed
    yield act(Part.REGISTER, bits * neurons, chip.model.registers.access_energy.value)


def _further_drives(recording: Recording, phase: str) -> np.ndarray:
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


def projection_actions(recording: Recording, phase: str, style: Style) -> Iterator[Action]:
    """Multiply-adds of the readout and the signal projections in a read phase: logits in every nudge tick and at the
    end of the free phase, and in nudge ticks the error back to the states. An analog chip evaluates the error once, at
    the free state, and holds it.
    """
    chip, samples = recording.chip, recording.samples(phase)
    ticks = recording.sample_ticks(phase, style)
    if style is Style.SETTLING:
        ticks = np.full_like(ticks, samples)
    if phase in NUDGE_PHASES:
        yield _projections(recording, phase, Part.SIGNAL, [(one, int(ticks[one.layer])) for one in chip.signals])
    if chip.readout is not None:
        evaluations = samples if phase == "free" else 2 * int(ticks[chip.readout.layer])
        yield _readout(recording, phase, chip.readout, chip.readout.weights * evaluations)


def projection_updates(recording: Recording) -> Iterator[Action]:
    """Multiply-adds that update the readout and learned projections, per sample and nudge phase."""
    counts, chip = recording.counts, recording.chip
    nudged = counts.samples * sum(phase in counts.presentations for phase in NUDGE_PHASES)
    macs, energies = np.zeros_like(chip.neurons), np.zeros(len(chip.neurons))
    for signal in chip.signals:
        if signal.learned:
            macs[signal.layer] += signal.weights * nudged
            energies[signal.layer] = mac_energy_J(recording, signal)
    yield Action(UPDATE, Part.SIGNAL, macs, energies, per_tile=False)
    if chip.readout is not None:
        yield _readout(recording, UPDATE, chip.readout, chip.readout.weights * nudged)


def mac_energy_J(recording: Recording, projection: Projection) -> float:
    """One multiply-add of ``projection``, its weight read from a buffer that holds them all."""
    model = recording.chip.model
    return model.projection_mac_energy_J(max(projection.weights, 1) * model.digital.state_bits.value)


def _projections(recording: Recording, phase: str, part: Component, work: list[tuple[Projection, int]]) -> Action:
    macs, energies = np.zeros_like(recording.chip.neurons), np.zeros(len(recording.chip.neurons))
    for projection, ticks in work:
        macs[projection.layer] += projection.nudge_multiply_adds * ticks
        energies[projection.layer] = mac_energy_J(recording, projection)
    return Action(phase, part, macs, energies, per_tile=False)


def _readout(recording: Recording, phase: str, readout: Projection, macs: int) -> Action:
    per_layer = np.zeros_like(recording.chip.neurons)
    per_layer[-1] = macs
    return Action(phase, Part.READOUT, per_layer, mac_energy_J(recording, readout), per_tile=False)
