"""On-chip memory for one sample, item by item: equilibrium propagation against backpropagation through time.

Every method keeps synapses, states, drives and update accumulators. EP adds the saved free state, the current argmax
routing and its signals; BPTT adds the states and routing of every tick it goes back through, and error states.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from neurosim_ep.hardware.chip.inputs import line_register_bits, result_register_bits
from neurosim_ep.tiles.mapping import TilePlan

if TYPE_CHECKING:
    from neurosim_ep.hardware.chip.recording import Chip

ROUTING_BITS = 2  # which of the 2 x 2 inputs of a max-pooled output is the largest
CELLS = "synapse cells"
ACCUMULATORS = "update accumulators"
INPUTS = "input buffers"
LINES, RESULTS = "line registers", "result registers"
BUFFERED = frozenset({ACCUMULATORS, INPUTS, "projections", "readout", "stored states", "stored routing"})
"""Items too large for register files: kept in buffers."""


class MemoryItem(NamedTuple):
    """``bits`` that ``method`` ("ep", "bptt_T", "bptt_K", "backprop" or "off_chip") needs for one purpose in one layer.

    The readout is layer N, named "readout".
    """

    method: str
    layer: int
    name: str
    item: str
    bits: int


Kept = tuple[int, str, str, int]
"""A :class:`MemoryItem` of any method: layer, name, item, bits."""


def memory_table(chip: Chip, *, free_steps: int, nudge_steps: int) -> pd.DataFrame:
    """Memory of EP, of BPTT over the whole free phase ("bptt_T") and over its last K ticks ("bptt_K"), and of
    backpropagation through the same layers once, as a feed-forward network ("backprop"); "off_chip" are the stored
    targets that are fetched for a sample.

    One row per :class:`MemoryItem`, with its fields as columns.
    """
    items = ep_memory(chip)
    for method, steps in (("bptt_T", free_steps), ("bptt_K", nudge_steps), ("backprop", 1)):
        items += bptt_memory(chip, method, steps)
    for signal in chip.signals:
        if signal.off_chip_bits:
            name = chip.plan.layers[signal.layer].name
            items.append(MemoryItem("off_chip", signal.layer, name, "stored targets", signal.off_chip_bits))
    return pd.DataFrame(items)


def ep_memory(chip: Chip) -> list[MemoryItem]:
    """Items of EP: the common ones, and

    - no update accumulators where outer products are written into the cells directly;
    - saved free state: ``neurons state_bits``, from which both nudge phases start;
    - routing: ``2 neurons`` of each max-pooled edge, the argmax of the current tick (Eq 1, κ);
    - projections: ``features classes state_bits`` (``accumulator_bits`` each, and accumulators as wide,
      when learned); targets: ``classes state_bits`` per signal.
    """
    plan, digital = chip.plan, chip.model.digital
    state_bits, accumulator_bits = digital.state_bits.value, digital.accumulator_bits.value
    kept = list(_common(chip))
    if chip.model.write.parallel:
        kept = [one for one in kept if one[2] != ACCUMULATORS]
    kept += _per_layer(plan, "saved free state", state_bits)
    kept += _routing(plan, "routing", ticks=1)
    for signal in chip.signals:
        name = plan.layers[signal.layer].name
        bits = signal.weights * (2 * accumulator_bits if signal.learned else state_bits)
        kept.append((signal.layer, name, "projections", bits))
        kept.append((signal.layer, name, "targets", signal.classes * state_bits))
    return [MemoryItem("ep", *one) for one in kept]


def bptt_memory(chip: Chip, method: str, steps: int) -> list[MemoryItem]:
    """Items of BPTT over ``steps`` ticks: the common ones, and

    - stored states: ``steps neurons state_bits``;
    - stored routing: ``2 steps neurons`` of each max-pooled edge (that of the image, whose drive is static: once);
    - error states: ``neurons partial_bits``, the gradient with respect to the states of one tick.
    """
    plan, digital = chip.plan, chip.model.digital
    kept = [
        *_common(chip),
        *_per_layer(plan, "stored states", steps * digital.state_bits.value),
        *_per_layer(plan, "error states", digital.partial_bits.value),
        *_routing(plan, "stored routing", ticks=steps),
    ]
    return [MemoryItem(method, *one) for one in kept]


def _common(chip: Chip) -> Iterator[Kept]:
    """Items of every method; synapses, biases and update accumulators are those of connections.

    - synapse cells: ``weights ⌈log2 levels⌉``; biases: ``channels accumulator_bits``;
    - state registers: ``neurons state_bits``; drive registers: ``neurons partial_bits``, the sums a tick
      forms while all states still hold;
    - update accumulators: ``(weights + channels) accumulator_bits``, one per parameter, summed over samples;
    - input buffers, line registers and result registers: see :mod:`neurosim_ep.hardware.chip.inputs`;
    - input registers: ``inputs state_bits``, and input drive: ``neurons partial_bits`` of layer 0, which
      is computed once per presentation;
    - readout: ``2 features classes accumulator_bits`` (weights and accumulators); its target: ``classes state_bits``.
    """
    plan, digital, edges, first = chip.plan, chip.model.digital, chip.plan.geometries, chip.plan.geometries[0]
    state_bits, partial_bits = digital.state_bits.value, digital.partial_bits.value
    wide, weight_bits = digital.accumulator_bits.value, chip.model.weight_bits()
    yield from _per_connection(plan, CELLS, [edge.weights * weight_bits for edge in edges])
    yield from _per_connection(plan, "biases", [edge.channels * wide for edge in edges])
    yield from _per_layer(plan, "state registers", state_bits)
    yield from _per_layer(plan, "drive registers", partial_bits)
    yield from _per_connection(plan, ACCUMULATORS, [(edge.weights + edge.channels) * wide for edge in edges])
    yield from _beside_tiles(chip)
    yield 0, first.name, "input registers", math.prod(first.in_shape) * state_bits
    yield 0, first.name, "input drive", first.neurons * partial_bits
    if chip.readout is not None:
        yield len(plan.layers), "readout", "readout", 2 * chip.readout.weights * wide
        yield len(plan.layers), "readout", "targets", chip.readout.classes * state_bits


def _beside_tiles(chip: Chip) -> Iterator[Kept]:
    """Of each connection what its tiles have, or the cores that begin in it where these share it, drivers with the
    registers of lines, converters with those of results.
    """
    plan, model = chip.plan, chip.model
    every = np.ones(len(plan.tiles), np.int64)
    for item, bits, word in (
        (INPUTS, chip.input_buffer_bits, "inputs"),
        (LINES, line_register_bits(model) * every, "drivers"),
        (RESULTS, result_register_bits(model) * every, "converters"),
    ):
        owned, owners = np.zeros(len(plan.tiles), np.int64), chip.levels.owners(shared=model.shared(word))
        owned[owners] = bits[owners]
        yield from _per_connection(plan, item, np.add.reduceat(owned, plan.starts[:-1]).tolist())


def _per_layer(plan: TilePlan, item: str, bits: int) -> Iterator[Kept]:
    """``bits`` for each neuron of each layer."""
    for number, layer in enumerate(plan.layers):
        yield number, layer.name, item, layer.neurons * bits


def _per_connection(plan: TilePlan, item: str, bits: Iterable[int]) -> Iterator[Kept]:
    """``bits`` of each connection, in the layer that it drives."""
    for edge, number in zip(plan.geometries, bits, strict=True):
        yield edge.ends[1], edge.name, item, number


def _routing(plan: TilePlan, item: str, ticks: int) -> Iterator[Kept]:
    """Argmax routing of the max-pooled edges over ``ticks`` ticks; that of the image never changes."""
    for number, edge in enumerate(plan.edges):
        if edge.pool == "max":
            yield edge.ends[1], edge.name, item, (ticks if number else 1) * ROUTING_BITS * edge.neurons
