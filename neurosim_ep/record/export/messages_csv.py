"""The message trace of SANA-FE, ``messages.csv``: one row per source, destination and bin of ticks.

Source: ``chip.cpp`` of SANA-FE (Boyle et al., IEEE TCAD 2025).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurosim_ep.hardware.chip.messages import tick_bin
from neurosim_ep.record.export.packets import MeanSample
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
        entries = 0
        with (folder / FILE).open("w", encoding="utf-8", newline="") as file:
            file.write(",".join(COLUMNS) + "\n")
            for rows in _bins(sample):
                rows.insert(1, "mid", entries + np.arange(len(rows)))
                rows.reindex(columns=list(COLUMNS)).to_csv(file, header=False, index=False, lineterminator="\n")
                entries += len(rows)
        return {
            "entries": entries,
            "timestep": "first tick of the bin; the ticks of all phases are counted through from 1",
            "ticks_per_bin": {phase.name: tick_bin(phase.ticks) for phase in sample.phases},
            "hardware_units": "router.0: one core per router",
            "spikes": "all messages of the row together; SANA-FE has a row for each",
            "empty_columns": [name for name in COLUMNS if name not in KNOWN],
        }


def _bins(sample: MeanSample) -> Iterator[pd.DataFrame]:
    """The known columns of every bin of ticks, in the order of time."""
    pairs = sample.ends[0]
    hops, before = sample.hops(pairs), 0
    for phase in sample.phases:
        width = tick_bin(phase.ticks)
        for number, sent in enumerate(phase.sent(width)):
            messages = sample.between(sent)
            (pair,) = np.nonzero(messages)
            src, dst = (pd.Series(end).astype(str) + ".0" for end in pairs[pair].T)
            columns = {
                "timestep": 1 + before + number * width,
                "src_hw": src,
                "dest_hw": dst,
                "hops": hops[pair],
                "spikes": messages[pair],
            }
            yield pd.DataFrame(columns)
        before += phase.ticks
