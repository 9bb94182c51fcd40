"""Energy ledger: counts times action costs, one line per (tile, layer, phase, component, accounting).

The two accountings are two separate bills for the same batches: "clocked" reads every position in every tick,
"event" only where an event arrived. Work of every tick (neurons, pooling, registers, readout, signals) and
the update are the same in both. Work that belongs to no tile has tile -1; the readout is layer N.

What is counted, by component:

- cell_read: pulses in cells, active lines x used crossing lines x slices x pulses; every pulse at the mean
  conductance of the levels;
- dac: pulses on lines; adc: conversions; add: one addition per conversion (pair difference, slices, partial
  sums, col2im);
- partial_sum: bits x links of the results of row blocks after the first (forward) and column blocks after the
  first (transposed), sent to the first;
- input: bits x links of the static input, to the first connection, once per sample;
- target: bits x links of stored targets, to their layers, once per sample (not reading them off the chip);
- message: bits x links of states; clocked: every neuron in every tick, without address; event: events, with
  address;
- neuron: state updates, event test included; pool: comparisons (max) or additions (avg), one per pre-pool
  output and tick, in layer 0 once per sample;
- register: state bits, read and written in every tick and copied once per sample and phase;
- readout, signal: multiply-adds: 2 x features x classes per nudge tick (logits, and the error back to the
  states); features x classes per sample at the end of the free phase (readout only), and per sample and nudge
  phase for the update of what is learned. The softmax itself is left out;
- update_add: multiply-adds into update accumulators; update_memory: accumulator bits read and written;
- cell_write: programming pulses;
- leakage: tile-seconds, with unit energy in W, and memory bit-seconds (tile -1), with unit energy in W/bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from neurosim_ep.hardware.actions import Action, Recording, actions
from neurosim_ep.hardware.counts import TileCounts
from neurosim_ep.hardware.model import HardwareModel
from neurosim_ep.hardware.projections import Projection
from neurosim_ep.tiles.mapping import TilePlan


def ledger(
    counts: TileCounts,
    plan: TilePlan,
    model: HardwareModel,
    *,
    signals: Sequence[Projection] = (),
    readout: Projection | None = None,
) -> pd.DataFrame:
    """Energy of the recorded batches.

    Columns: tile, layer, name, phase, component, accounting, count, unit_energy_J, energy_J = count x
    unit_energy_J, samples. Lines of zero count are left out.
    """
    recording = Recording(counts, plan, model, signals, readout)
    names = np.array([*(geometry.name for geometry in plan.geometries), "readout"])
    frame = pd.concat([_lines(action, plan) for action in actions(recording)], ignore_index=True)
    frame.insert(2, "name", names[frame["layer"]])
    frame["energy_J"] = frame["count"] * frame["unit_energy_J"]
    frame["samples"] = counts.samples
    return frame[frame["count"] > 0].reset_index(drop=True)


def energy_by(ledger: pd.DataFrame, *keys: str) -> pd.DataFrame:
    """Energy of the lines that share ``keys``, always per accounting: columns accounting, *keys, energy_J.

    Whatever the keys, the energies of an accounting add up to the same total.
    """
    groups = ledger.groupby(["accounting", *keys], sort=False)
    return groups["energy_J"].sum().reset_index()


def _lines(action: Action, plan: TilePlan) -> pd.DataFrame:
    entries = np.arange(len(action.counts))
    return pd.DataFrame(
        {
            "tile": entries if action.per_tile else -1,
            "layer": plan.layer_of_tile if action.per_tile else entries,
            "phase": action.phase,
            "component": action.component,
            "accounting": action.accounting,
            "count": action.counts.astype(np.float64),
            "unit_energy_J": action.unit_energy_J,
        }
    )
