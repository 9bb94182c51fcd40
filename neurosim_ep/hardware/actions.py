"""How often each component acts, from counts: the left half of every line of the ledger.

What each component counts is listed in :mod:`neurosim_ep.hardware.cost`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neurosim_ep.hardware.counts import ACCOUNTINGS, READ_PHASES, TileCounts
from neurosim_ep.hardware.latency import phase_latency_s
from neurosim_ep.hardware.memory import CELLS, ep_memory
from neurosim_ep.hardware.model import HardwareModel
from neurosim_ep.hardware.projections import Projection
from neurosim_ep.tiles.mapping import TilePlan

UPDATE = "update"
NUDGE_PHASES = READ_PHASES[1:]


@dataclass(frozen=True)
class Action:
    """``counts`` of a component in a phase: [tiles] if ``per_tile``, else [layers + 1], readout last."""

    phase: str
    component: str
    accounting: str
    counts: np.ndarray
    unit_energy_J: float
    per_tile: bool


@dataclass(frozen=True)
class Recording:
    """What was counted, on which tiles, with which digital matrices beside them, on what hardware."""

    counts: TileCounts
    plan: TilePlan
    model: HardwareModel
    signals: Sequence[Projection]
    readout: Projection | None

    @cached_property
    def neurons(self) -> np.ndarray:
        """Neurons of each layer, and 0 for the readout, int64 [layers + 1]."""
        return np.array([*(geometry.neurons for geometry in self.plan.geometries), 0], dtype=np.int64)

    def sample_ticks(self, phase: str) -> np.ndarray:
        """Number of (sample, tick) in which each layer took part, int64 [layers + 1]."""
        return self._layers(self.counts.presentations, phase)

    def messages(self, phase: str) -> np.ndarray:
        """Events times destination tiles of each layer, int64 [layers + 1]."""
        return self._layers(self.counts.messages, phase)

    def _layers(self, ticks: dict[str, np.ndarray], phase: str) -> np.ndarray:
        layers = len(self.plan.geometries)
        return np.append(ticks.get(phase, np.zeros((0, layers), np.int64)).sum(0), 0)


def actions(recording: Recording) -> Iterator[Action]:
    """Every action of a recording."""
    for accounting in ACCOUNTINGS:
        for phase in READ_PHASES:
            yield from read_actions(recording, phase, accounting)
            yield from message_actions(recording, phase, accounting)
            yield from tick_actions(recording, phase, accounting)
            yield from projection_actions(recording, phase, accounting)
        yield from update_actions(recording, accounting)
        yield from leakage_actions(recording, accounting)


def read_actions(recording: Recording, phase: str, accounting: str) -> Iterator[Action]:
    """Cells, drivers, converters and adders of the tile reads, and partial sums between tiles."""
    counts, plan, model = recording.counts, recording.plan, recording.model

    def of(quantity: str) -> tuple[np.ndarray, np.ndarray]:
        forward = counts.of(phase, accounting, "forward", quantity)
        return forward, counts.of(phase, accounting, "transposed", quantity)

    def act(component: str, per_tile: np.ndarray, unit_energy_J: float) -> Action:
        return Action(phase, component, accounting, per_tile, unit_energy_J, per_tile=True)

    forward_lines, transposed_lines = of("active_lines")
    cells = forward_lines * plan.columns + transposed_lines * plan.rows
    pulses = model.array.slices.value * model.array.input_pulses.value
    yield act("cell_read", cells * pulses, model.cell_read_energy_J())
    yield act("dac", np.add(*of("dac_conversions")), model.dac.pulse_energy.value)
    conversions = np.add(*of("adc_conversions"))
    yield act("adc", conversions, model.adc.conversion_energy.value)
    yield act("add", conversions, model.digital.add_energy.value)

    forward_reads, transposed_reads = of("reads")
    later_row_block = np.array([tile.row_block > 0 for tile in plan.tiles])
    later_col_block = np.array([tile.col_block > 0 for tile in plan.tiles])
    results = forward_reads * plan.outputs * later_row_block + transposed_reads * plan.rows * later_col_block
    bits = results * model.digital.partial_bits.value
    yield act("partial_sum", bits * model.noc.links_per_destination.value, model.noc.link_energy.value)


def message_actions(recording: Recording, phase: str, accounting: str) -> Iterator[Action]:
    """States sent to the tiles they drive, and the static input and stored targets sent once per sample."""
    plan, model = recording.plan, recording.model
    state_bits = model.digital.state_bits.value
    if accounting == "clocked":
        destinations = [int(plan.event_destinations(layer).sum()) for layer in range(len(plan.geometries))]
        bits = recording.sample_ticks(phase) * np.array([*destinations, 0]) * state_bits
    else:
        address_bits = np.array([(int(neurons) - 1).bit_length() for neurons in recording.neurons])
        bits = recording.messages(phase) * (state_bits + address_bits)
    links, energy_J = model.noc.links_per_destination.value, model.noc.link_energy.value
    yield Action(phase, "message", accounting, bits * links, energy_J, per_tile=False)
    if phase == "free":
        bits = np.zeros_like(recording.neurons)
        bits[0] = recording.counts.samples * plan.input_destinations(0).sum() * state_bits
        yield Action(phase, "input", accounting, bits * links, energy_J, per_tile=False)
    if phase == first_nudge(recording):
        bits = np.zeros_like(recording.neurons)
        for signal in recording.signals:
            bits[signal.layer] += recording.counts.samples * signal.off_chip_bits
        yield Action(phase, "target", accounting, bits * links, energy_J, per_tile=False)


def first_nudge(recording: Recording) -> str | None:
    """The nudge phase before which targets are sent to their layers; None where nothing was nudged."""
    return next((phase for phase in NUDGE_PHASES if phase in recording.counts.presentations), None)


def tick_actions(recording: Recording, phase: str, accounting: str) -> Iterator[Action]:
    """Neuron updates, pooling and register traffic: every neuron of every sample in every tick."""
    digital, samples = recording.model.digital, recording.counts.samples
    ticks, neurons = recording.sample_ticks(phase), recording.neurons

    def act(component: str, per_layer: np.ndarray, unit_energy_J: float) -> Action:
        return Action(phase, component, accounting, per_layer, unit_energy_J, per_tile=False)

    yield act("neuron", ticks * neurons, digital.neuron_energy.value)
    poolings = ticks.copy()
    poolings[0] = samples if phase == "free" else 0
    for pool, energy in (("max", digital.compare_energy), ("avg", digital.add_energy)):
        outputs = [math.prod(g.pre_pool_shape) if g.pool == pool else 0 for g in recording.plan.geometries]
        yield act("pool", poolings * np.array([*outputs, 0]), energy.value)
    accesses = 2 * ticks + samples * (ticks > 0)
    bits = accesses * neurons * digital.state_bits.value
    yield act("register", bits, recording.model.memory.access_energy.value)


def projection_actions(recording: Recording, phase: str, accounting: str) -> Iterator[Action]:
    """Multiply-adds of the readout and the signal projections in a read phase."""
    ticks, energy_J = recording.sample_ticks(phase), recording.model.projection_mac_energy_J()
    signals = np.zeros_like(recording.neurons)
    if phase in NUDGE_PHASES:
        for signal in recording.signals:
            signals[signal.layer] += signal.nudge_multiply_adds * ticks[signal.layer]
    yield Action(phase, "signal", accounting, signals, energy_J, per_tile=False)
    if recording.readout is not None:
        evaluations = recording.counts.samples if phase == "free" else 2 * ticks[recording.readout.layer]
        macs = np.zeros_like(recording.neurons)
        macs[-1] = recording.readout.weights * evaluations
        yield Action(phase, "readout", accounting, macs, energy_J, per_tile=False)


def update_actions(recording: Recording, accounting: str) -> Iterator[Action]:
    """Accumulation of the outer products, programming of the cells, and learned digital matrices."""
    counts, model = recording.counts, recording.model
    adds = counts.updates("accumulate_adds")
    pulses = counts.updates("pulses_up") + counts.updates("pulses_down")
    bits = 2 * adds * model.digital.accumulator_bits.value
    for component, per_tile, unit_energy_J in (
        ("update_add", adds, model.digital.multiply_add_energy.value),
        ("update_memory", bits, model.memory.access_energy.value),
        ("cell_write", pulses, model.cell_write_energy_J()),
    ):
        yield Action(UPDATE, component, accounting, per_tile, unit_energy_J, per_tile=True)

    nudges = sum(phase in counts.presentations for phase in NUDGE_PHASES)
    signals, readout = np.zeros_like(recording.neurons), np.zeros_like(recording.neurons)
    for signal in recording.signals:
        if signal.learned:
            signals[signal.layer] += signal.weights * counts.samples * nudges
    if recording.readout is not None:
        readout[-1] = recording.readout.weights * counts.samples * nudges
    for component, macs in (("signal", signals), ("readout", readout)):
        yield Action(UPDATE, component, accounting, macs, model.projection_mac_energy_J(), per_tile=False)


def leakage_actions(recording: Recording, accounting: str) -> Iterator[Action]:
    """Tile-seconds and bit-seconds of each phase; the bits are those of EP with one sample on the chip."""
    plan, model = recording.plan, recording.model
    bits = np.zeros(len(recording.neurons))
    for item in ep_memory(plan, model, signals=recording.signals, readout=recording.readout):
        if item.item != CELLS:
            bits[item.layer] += item.bits
    for phase, latency_s in phase_latency_s(recording.counts, plan, model, accounting).items():
        tiles_s = np.full(len(plan.tiles), latency_s)
        leakage = model.leakage
        yield Action(phase, "leakage", accounting, tiles_s, leakage.tile.value, per_tile=True)
        yield Action(phase, "leakage", accounting, bits * latency_s, leakage.bit.value, per_tile=False)
