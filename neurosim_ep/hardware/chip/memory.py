"""On-chip memory, item by item: equilibrium propagation against backpropagation through time.

``b`` samples are on the chip at once. Every method keeps synapses, states, drives and update accumulators.
EP adds the saved free state, the current argmax routing and its signals; BPTT adds the states and routing of
every tick it goes back through, and error states.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from neurosim_ep.hardware.chip.inputs import input_buffer_bits, line_register_bits, result_register_bits
from neurosim_ep.hardware.chip.levels import Levels
from neurosim_ep.hardware.chip.projections import Projection
from neurosim_ep.hardware.model.sections import HardwareModel
from neurosim_ep.tiles.mapping import ConnectionGeometry, StateLayer, TilePlan

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


def memory_table(
    plan: TilePlan,
    model: HardwareModel,
    *,
    free_steps: int,
    nudge_steps: int,
    signals: Sequence[Projection] = (),
    readout: Projection | None = None,
    batch_on_chip: int = 1,
) -> pd.DataFrame:
    """Memory of EP, of BPTT over the whole free phase ("bptt_T") and over its last K ticks ("bptt_K"), and of
    backpropagation through the same layers once, as a feed-forward network ("backprop"); "off_chip" are the stored
    targets that are fetched for the samples on the chip.

    One row per :class:`MemoryItem`, with its fields as columns.
    """
    items = ep_memory(plan, model, signals=signals, readout=readout, batch_on_chip=batch_on_chip)
    for method, steps in (("bptt_T", free_steps), ("bptt_K", nudge_steps), ("backprop", 1)):
        items += bptt_memory(plan, model, method, steps, readout=readout, batch_on_chip=batch_on_chip)
    for signal in signals:
        if signal.off_chip_bits:
            name = plan.layers[signal.layer].name
            items.append(
                MemoryItem("off_chip", signal.layer, name, "stored targets", batch_on_chip * signal.off_chip_bits)
            )
    return pd.DataFrame(items)


def ep_memory(
    plan: TilePlan,
    model: HardwareModel,
    *,
    signals: Sequence[Projection] = (),
    readout: Projection | None = None,
    batch_on_chip: int = 1,
) -> list[MemoryItem]:
    """Items of EP: the common ones, and

    - no update accumulators where outer products are written into the cells directly;
    - saved free state: ``b neurons state_bits``, from which both nudge phases start;
    - routing: ``2 b neurons`` of each max-pooled edge, the argmax of the current tick (Eq 1, κ);
    - projections: ``features classes state_bits`` (``accumulator_bits`` each, and accumulators as wide,
      when learned); targets: ``b classes state_bits`` per signal.
    """
    state_bits = model.digital.state_bits.value
    items = _common(plan, model, "ep", readout, batch_on_chip)
    if model.write.parallel:
        items = [item for item in items if item.item != ACCUMULATORS]

    def saved(layer: StateLayer) -> int:
        return batch_on_chip * layer.neurons * state_bits

    items += _per_layer(plan, "ep", {"saved free state": saved})
    items += _routing(plan, "ep", "routing", batch_on_chip, ticks=1)
    accumulator_bits = model.digital.accumulator_bits.value
    for signal in signals:
        name = plan.layers[signal.layer].name
        bits = signal.weights * (2 * accumulator_bits if signal.learned else state_bits)
        items.append(MemoryItem("ep", signal.layer, name, "projections", bits))
        items.append(MemoryItem("ep", signal.layer, name, "targets", batch_on_chip * signal.classes * state_bits))
    return items


def bptt_memory(
    plan: TilePlan,
    model: HardwareModel,
    method: str,
    steps: int,
    *,
    readout: Projection | None = None,
    batch_on_chip: int = 1,
) -> list[MemoryItem]:
    """Items of BPTT over ``steps`` ticks: the common ones, and

    - stored states: ``b steps neurons state_bits``;
    - stored routing: ``2 b steps neurons`` of each max-pooled edge (that of the image, whose drive is static: once);
    - error states: ``b neurons partial_bits``, the gradient with respect to the states of one tick.
    """
    state_bits, partial_bits = model.digital.state_bits.value, model.digital.partial_bits.value

    def states(layer: StateLayer) -> int:
        return batch_on_chip * steps * layer.neurons * state_bits

    def errors(layer: StateLayer) -> int:
        return batch_on_chip * layer.neurons * partial_bits

    return [
        *_common(plan, model, method, readout, batch_on_chip),
        *_per_layer(plan, method, {"stored states": states, "error states": errors}),
        *_routing(plan, method, "stored routing", batch_on_chip, ticks=steps),
    ]


def _common(
    plan: TilePlan, model: HardwareModel, method: str, readout: Projection | None, batch: int
) -> list[MemoryItem]:
    """Items of every method; synapses, biases and update accumulators are those of connections.

    - synapse cells: ``weights ⌈log2 levels⌉``; biases: ``channels accumulator_bits``;
    - state registers: ``b neurons state_bits``; drive registers: ``b neurons partial_bits``, the sums a tick
      forms while all states still hold;
    - update accumulators: ``(weights + channels) accumulator_bits``, one per parameter, summed over samples;
    - input buffers, line registers and result registers: see :mod:`neurosim_ep.hardware.chip.inputs`;
    - input registers: ``b inputs state_bits``, and input drive: ``b neurons partial_bits`` of layer 0, which
      is computed once per presentation;
    - readout: ``2 features classes accumulator_bits`` (weights and accumulators); its target:
      ``b classes state_bits``.
    """
    digital = model.digital
    state_bits, partial_bits = digital.state_bits.value, digital.partial_bits.value
    wide = digital.accumulator_bits.value
    items = [
        *_per_connection(
            plan,
            method,
            {CELLS: lambda g: g.weights * model.weight_bits(), "biases": lambda g: g.channels * wide},
        ),
        *_per_layer(
            plan,
            method,
            {
                "state registers": lambda layer: batch * layer.neurons * state_bits,
                "drive registers": lambda layer: batch * layer.neurons * partial_bits,
            },
        ),
        *_per_connection(plan, method, {ACCUMULATORS: lambda g: (g.weights + g.channels) * wide}),
    ]
    items += _beside_tiles(plan, model, method)
    first = plan.geometries[0]
    inputs = batch * math.prod(first.in_shape) * state_bits
    items.append(MemoryItem(method, 0, first.name, "input registers", inputs))
    items.append(MemoryItem(method, 0, first.name, "input drive", batch * first.neurons * partial_bits))
    if readout is not None:
        layer = len(plan.layers)
        items.append(MemoryItem(method, layer, "readout", "readout", 2 * readout.weights * wide))
        items.append(MemoryItem(method, layer, "readout", "targets", batch * readout.classes * state_bits))
    return items


def _beside_tiles(plan: TilePlan, model: HardwareModel, method: str) -> list[MemoryItem]:
    """One row per item and connection: what its tiles have, or the cores that begin in it where these share it, drivers
    with the registers of lines, converters with those of results.
    """
    levels, every = Levels.of(len(plan.tiles), model), np.ones(len(plan.tiles), np.int64)
    items = []
    for item, bits, word in (
        (INPUTS, input_buffer_bits(plan, model, levels), "inputs"),
        (LINES, line_register_bits(model) * every, "drivers"),
        (RESULTS, result_register_bits(model) * every, "converters"),
    ):
        owned, owners = np.zeros(len(plan.tiles), np.int64), levels.owners(shared=model.shared(word))
        owned[owners] = bits[owners]
        for number, edge in enumerate(plan.geometries):
            items.append(MemoryItem(method, edge.ends[1], edge.name, item, int(owned[plan.tile_range(number)].sum())))
    return items


def _per_layer(plan: TilePlan, method: str, items: dict[str, Callable[[StateLayer], int]]) -> list[MemoryItem]:
    """One row per item and layer."""
    return [
        MemoryItem(method, number, layer.name, item, bits(layer))
        for item, bits in items.items()
        for number, layer in enumerate(plan.layers)
    ]


def _per_connection(
    plan: TilePlan, method: str, items: dict[str, Callable[[ConnectionGeometry], int]]
) -> list[MemoryItem]:
    """One row per item and connection, in the layer that it drives."""
    return [
        MemoryItem(method, geometry.ends[1], geometry.name, item, bits(geometry))
        for item, bits in items.items()
        for geometry in plan.geometries
    ]


def _routing(plan: TilePlan, method: str, item: str, batch: int, ticks: int) -> list[MemoryItem]:
    """Argmax routing of the max-pooled edges over ``ticks`` ticks; that of the image never changes."""
    return [
        MemoryItem(
            method,
            edge.ends[1],
            edge.name,
            item,
            batch * (ticks if number else 1) * ROUTING_BITS * edge.neurons,
        )
        for number, edge in enumerate(plan.edges)
        if edge.pool == "max"
    ]
