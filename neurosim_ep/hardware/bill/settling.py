"""What analog relaxation costs: tiles and neurons that settle in continuous time, converted once at the end of a phase.

All positions of a convolution relax at once, so each has tiles of its own: a tile is there ``reuse`` times.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import numpy as np

from neurosim_ep.hardware.bill.action import Action
from neurosim_ep.hardware.chip.components import Part
from neurosim_ep.hardware.chip.counts import DIRECTIONS
from neurosim_ep.hardware.chip.recording import Chip, Recording
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.terms import counted, of_chip
from neurosim_ep.tiles.mapping import TilePlan


def tile_copies(chip: Chip) -> np.ndarray:
    """How often each tile is there, int64 [tiles]."""
    return np.array([tile.reuse for tile in chip.plan.tiles], dtype=np.int64)


def copies_in(chip: Chip, style: Style) -> np.ndarray | None:
    """:func:`tile_copies` in the settling style; in others every tile is there once."""
    return tile_copies(chip) if style is Style.SETTLING else None


def settling_time_s(chip: Chip) -> float:
    """Time one phase of one sample takes: given, or ``layers · n · max(τ_line, τ_neuron)``, n time constants for each
    layer the signal crosses on the longest way through the network. A line of k cells has ``τ = k p c / (k Ḡ)``: pitch,
    wire capacitance, mean conductance.
    """
    settling = chip.model.settling
    if settling.phase_time is not None:
        return settling.phase_time.value
    line_s = settling.cell_pitch.value * settling.wire_capacitance.value / float(chip.model.mean_conductance().value)
    return _depth(chip.plan) * settling.time_constants.value * max(line_s, settling.neuron_time.value)


def _depth(plan: TilePlan) -> int:
    """Layers on the longest way from the image up."""
    depths = [0] * (len(plan.layers) + 1)  # the last one stands for the image, layer -1
    for edge in sorted(plan.edges, key=lambda edge: edge.ends[1]):
        source, target = edge.ends
        depths[target] = max(depths[target], depths[source] + 1)
    return max(depths)


def settling_actions(recording: Recording, phase: str) -> Iterator[Action]:
    """Cells and neurons under current for the time a phase takes, in cell-seconds and neuron-seconds; drivers, once per
    line and sample for the static input; conversions, once per neuron and phase.

    Driven lines are those of the mean tick of the phase in the clocked accounting, in both directions at once. An
    identity is, for each state that it passes on, a cell that is on from the lower neuron to the upper and one back.
    """
    chip, counts = recording.chip, recording.counts
    plan, model, samples = chip.plan, chip.model, counts.samples
    if phase not in counts.presentations:
        return
    in_tiles, in_layers = partial(Action, phase, per_tile=True), partial(Action, phase, per_tile=False)
    time, term = of_chip("time to settle", settling_time_s(chip), unit="s"), model.term
    ticks = recording.counts.presentations[phase].sum(0)[plan.layer_of_tile]
    share = samples / np.maximum(ticks, 1)  # of a sample's mean tick in the sum over its ticks
    share[plan.layer_of_tile == 0] = 1.0  # read once per sample as it is
    forward, transposed = (counts.of(phase, "clocked", way, "active_lines").copy() for way in DIRECTIONS)
    static = plan.layer_of_tile == 0  # driven by the image in every phase
    forward[static] = counts.of("free", "clocked", "forward", "active_lines")[static]
    slices = term("array.slices")
    rows, columns = counted("active rows", forward), counted("active columns", transposed)
    met = rows * of_chip("columns of a tile", plan.columns) + columns * of_chip("rows of a tile", plan.rows)
    cells = met * of_chip("a tick's share of the phase", share) * slices
    yield in_tiles(Part.CELL_READ, cells * time, model.cell_read_power().named("power of a cell", "W"))
    passed = np.zeros_like(chip.neurons)
    for identity in plan.identities:
        passed[identity.ends[1]] += 2 * math.prod(identity.in_shape)
    on = term("cell.input_duty") * term("cell.read_voltage") ** 2 * term("cell.on_conductance")
    each, neurons = counted("samples", samples), of_chip("neurons", chip.neurons)
    identities = each * of_chip("cells of identities", passed) * time
    yield in_layers(Part.CELL_READ, identities, on.named("power of a cell that is on", "W"))
    yield in_layers(Part.NEURON, each * neurons * time, term("settling.neuron_power"))
    if phase == "free":
        pulses = counted("pulses on rows of the image", counts.of(phase, "clocked", "forward", "dac_conversions"))
        driven = pulses * slices if model.array.slice_reads == "arrays" else pulses
        driven = driven * of_chip("layer 0 or not", plan.layer_of_tile == 0)
        yield in_tiles(Part.DAC, driven, model.driver_energy())
    conversions = each * neurons
    yield in_layers(Part.SAMPLE_HOLD, conversions, term("sample_hold.sample_energy"))
    yield in_layers(Part.ADC, conversions, model.conversion_energy())
    yield in_layers(Part.REGISTER, conversions * term("digital.state_bits"), term("registers.access_energy"))


def conversion_time_s(chip: Chip) -> float:
    """Time the states of one sample take to be converted, all layers at the same time, by the converters of the tiles
    beside which they live, evenly by all copies of a tile; those of a core in turn where its tiles share converters.
    """
    copies = tile_copies(chip)
    loads = np.repeat(np.ceil(chip.neurons_beside.sum(1) / copies), copies)
    if chip.model.shared("converters"):
        loads = np.bincount(np.arange(len(loads)) // chip.levels.per_core, weights=loads)
    return float(np.ceil(loads.max() / chip.model.converters_per_tile()) * chip.model.adc.time_s)
