"""Energy ledger: counts times action costs, one line per (tile, layer, phase, component, style).

Every execution style is a bill of its own for the same batches; see :class:`~neurosim_ep.hardware.chip.styles.Style`.
Work that belongs to no tile has tile -1; the readout is layer N. Intervals: ``energy_low_J`` and ``energy_high_J`` are
the bill with every number of the model at the end of its interval that makes it low or high.

What is counted, by component:

- cell_read: pulses in cells, active lines x used crossing lines x slices x pulses; every pulse at the mean
  conductance of the levels. Settling: cell-seconds, with unit energy in W;
- dac: pulses on lines, those of every slice's array; sample_hold and adc: conversions, one per sensed line, slice and
  read, or per input pulse where each is converted; add: one addition per conversion (pair difference, slices, pulses,
  col2im);
- partial_sum, message, input, target: bits x links of results to where they are gathered, of states to the tiles they
  drive, of the static input and of stored targets from the chip's port; see :mod:`neurosim_ep.hardware.chip.routes`;
- dram: bits of images and stored targets that come from outside the chip;
- neuron: state updates, event test included (settling: neuron-seconds, with unit energy in W); pool: comparisons
  (max) or additions (avg), one per pre-pool output and tick, in layer 0 once per sample;
- register: state bits, read and written in every tick and copied once per sample and phase, and the argmax routing of
  max-pooled layers above the first, written and read in every tick;
- readout, signal: multiply-adds: 2 x features x classes per nudge tick (logits, and the error back to the states);
  features x classes per sample at the end of the free phase (readout only), and per sample and nudge phase for the
  update of what is learned. The softmax itself is left out;
- update_add, update_memory, cell_write, and in the phase "update" the drivers (dac) and verifying reads: as the scheme
  of :mod:`neurosim_ep.hardware.bill.writing` says;
- leakage: tile-seconds, and seconds of the memories of a layer (tile -1), with unit energy in W.

In event style, layers work only in the ticks in which an input had changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from neurosim_ep.hardware.bill.action import Action
from neurosim_ep.hardware.bill.digital import network_actions, projection_actions, projection_updates, tick_actions
from neurosim_ep.hardware.bill.latency import latencies_s
from neurosim_ep.hardware.bill.reads import read_actions
from neurosim_ep.hardware.bill.settling import settling_actions, tile_copies
from neurosim_ep.hardware.bill.writing import writing_actions
from neurosim_ep.hardware.chip.counts import READ_PHASES, TileCounts
from neurosim_ep.hardware.chip.projections import Projection
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.quantities import BOUNDS, Bound
from neurosim_ep.hardware.model.sections import HardwareModel
from neurosim_ep.tiles.mapping import TilePlan

ENERGIES: dict[Bound, str] = {"value": "energy_J", "low": "energy_low_J", "high": "energy_high_J"}


def ledger(
    counts: TileCounts,
    plan: TilePlan,
    model: HardwareModel,
    *,
    signals: Sequence[Projection] = (),
    readout: Projection | None = None,
) -> pd.DataFrame:
    """Energy of the recorded batches on a chip of ``plan`` and ``model``; see :func:`bill`."""
    return bill(Recording.of(counts, plan, model, signals, readout))


def bill(
    recording: Recording, styles: Sequence[Style] = tuple(Style), bounds: Sequence[Bound] = BOUNDS
) -> pd.DataFrame:
    """Energy of the recorded batches in every one of ``styles``; without its interval where ``bounds`` are the value
    alone.

    Columns: tile, layer, name, phase, component, style, count, unit_energy_J, energy_J = count x unit_energy_J,
    energy_low_J, energy_high_J, samples. Lines of zero count are left out.
    """
    plan = recording.chip.plan
    lines = [_lines(style, priced, plan) for style in styles for priced in _priced(recording, style, bounds)]
    columns = {column: np.concatenate([part[column] for part in lines]) for column in lines[0]}
    names = np.array([*(layer.name for layer in plan.layers), "readout"], dtype=object)
    of_tile = np.array([tile.name for tile in plan.tiles], dtype=object)
    frame = pd.DataFrame(columns)
    frame.insert(2, "name", np.where(columns["tile"] < 0, names[columns["layer"]], of_tile[columns["tile"]]))
    frame["samples"] = recording.counts.samples
    return frame


def energy_by(ledger: pd.DataFrame, *keys: str) -> pd.DataFrame:
    """Energy of the lines that share ``keys``, always per style: columns style, *keys, energy_J, energy_low_J,
    energy_high_J.

    Whatever the keys, the energies of a style add up to the same total.
    """
    groups = ledger.groupby(["style", *keys], sort=False)
    return groups[[name for name in ENERGIES.values() if name in ledger]].sum().reset_index()


def actions(recording: Recording, style: Style) -> Iterator[Action]:
    """Every action of a recording in one style."""
    for phase in READ_PHASES:
        if style is Style.SETTLING:
            yield from settling_actions(recording, phase)
        else:
            yield from read_actions(recording, phase, style)
            yield from tick_actions(recording, phase, style)
        yield from network_actions(recording, phase, style)
        yield from projection_actions(recording, phase, style)
    yield from writing_actions(recording)
    yield from projection_updates(recording)
    yield from leakage_actions(recording, style)


def leakage_actions(recording: Recording, style: Style) -> Iterator[Action]:
    """Seconds of each phase at the static power of tiles with their routers, and of the memories of each layer, those
    of EP with one sample on the chip.
    """
    chip, memory_W = recording.chip, recording.chip.memory_leakage_W
    copies = tile_copies(chip) if style is Style.SETTLING else np.ones(len(chip.plan.tiles))
    tile_W = chip.model.leakage.tile.value + chip.model.noc.router_leakage.value
    for phase, latency_s in latencies_s(recording, style).items():
        yield Action(phase, "leakage", copies * latency_s, tile_W, per_tile=True)
        yield Action(phase, "leakage", np.full(len(memory_W), latency_s), memory_W, per_tile=False)


def _priced(recording: Recording, style: Style, bounds: Sequence[Bound]) -> Iterator[tuple[Action, ...]]:
    """Every action with the numbers of the model, and with those at the ends of their intervals."""
    return zip(*(actions(recording.at(bound), style) for bound in bounds), strict=True)


def _lines(style: Style, priced: tuple[Action, ...], plan: TilePlan) -> dict[str, np.ndarray]:
    """Columns of the lines of an action; those whose count is zero at both ends of the intervals are left out."""
    action = priced[0]
    entries = np.flatnonzero(np.any([one.counts > 0 for one in priced], axis=0))
    words = {"phase": action.phase, "component": action.component, "style": style.value}
    shape = action.counts.shape
    ends = np.stack([np.broadcast_to(one.counts * one.unit_energy_J, shape)[entries] for one in priced])
    energies = {ENERGIES["value"]: ends[0]}
    if len(ends) > 1:
        energies |= {ENERGIES["low"]: ends.min(0), ENERGIES["high"]: ends.max(0)}
    return {
        "tile": entries if action.per_tile else np.full_like(entries, -1),
        "layer": plan.layer_of_tile[entries] if action.per_tile else entries,
        **{column: np.full(len(entries), word, dtype=object) for column, word in words.items()},
        "count": action.counts[entries].astype(np.float64),
        "unit_energy_J": np.broadcast_to(action.unit_energy_J, action.counts.shape)[entries],
        **energies,
    }
