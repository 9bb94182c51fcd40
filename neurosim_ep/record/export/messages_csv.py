"""The message trace of SANA-FE, ``messages.csv``: one row per source, destination and bin of ticks.

Source: ``chip.cpp`` of SANA-FE (Boyle et al., IEEE TCAD 2025).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurosim_ep.hardware.chip.messages import tick_bin
from neurosim_ep.record.export.common import MeanSample
from neurosim_ep.record.export.traffic import TrafficExporter

FILE = "messages.csv"
COLUMNS = (
    "timestep", "mid", "src_neuron", "src_hw", "dest_hw", "hops", "spikes", "send_timestamp", "received_timestamp",
    "processed_timestamp", "generation_delay", "processing_delay", "network_delay", "blocking_delay", "min_hop_delay",
    "messages_along_route", "subnet",
)  # fmt: skip
KNOWN = ("timestep", "mid", "src_hw", "dest_hw", "hops", "spikes")


class MessagesCsv(TrafficExporter):
    """Messages between two routers in a bin of ticks."""

    name = "messages-csv"
    sentence = "message trace of SANA-FE, a row per source, destination and bin of ticks"
    files = (FILE,)

    def write_trace(self, folder: Path, sample: MeanSample) -> dict[str, Any]:
        """Write the table into ``folder``; returns what export.json says of it."""
        table = _table(sample)
        table.reindex(columns=list(COLUMNS)).to_csv(folder / FILE, index=False, lineterminator="\n")
        return {
            "entries": len(table),
            "timestep": "first tick of the bin; the ticks of all phases are counted through from 1",
            "ticks_per_bin": {phase.name: tick_bin(phase.ticks) for phase in sample.phases},
            "hardware_units": "router.0: one core per router",
            "spikes": "all messages of the row together; SANA-FE has a row for each",
            "empty_columns": [name for name in COLUMNS if name not in KNOWN],
        }


def _table(sample: MeanSample) -> pd.DataFrame:
    """The known columns, in the order of time."""
    pairs = sample.ends[0]
    hops, parts, before = sample.hops(pairs), [], 0
    for phase in sample.phases:
        starts = np.arange(0, phase.ticks, tick_bin(phase.ticks))
        messages = np.add.reduceat(sample.between(phase.messages), starts, axis=1)
        number, pair = np.nonzero(messages.T)
        src, dst = (pd.Series(end).astype(str) + ".0" for end in pairs[pair].T)
        columns = {
            "timestep": 1 + before + starts[number],
            "src_hw": src,
            "dest_hw": dst,
            "hops": hops[pair],
            "spikes": messages[pair, number],
        }
        parts.append(pd.DataFrame(columns))
        before += phase.ticks
    table = pd.concat(parts, ignore_index=True)
    table.insert(1, "mid", np.arange(len(table)))
    return table
