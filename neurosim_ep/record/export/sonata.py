"""Spike files of SONATA: HDF5 that tools of computational neuroscience read, with the graded payload beside the times.

Source: SONATA developer guide, spike file (Dai et al., PLOS Computational Biology 2020).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neurosim_ep.record.export.common import MeanSample
from neurosim_ep.record.export.traffic import TrafficExporter
from neurosim_ep.record.hdf5 import new_image

FILE = "spikes.h5"
POPULATION = "tiles"
MAGIC, VERSION = 0x0A7A, (0, 1)
SORTING = {"none": 0, "by_id": 1, "by_time": 2}
MILLISECOND = "one tick; the ticks of all phases are counted through from 0"


class Sonata(TrafficExporter):
    """Messages as spikes of the router that sends."""

    name = "sonata"
    sentence = "spike file of SONATA, with the number of messages beside the times"
    files = (FILE,)

    def write_trace(self, folder: Path, sample: MeanSample) -> dict[str, Any]:
        """Write the file into ``folder``, one entry per (source, destination, tick) with messages; returns what
        export.json says of it.
        """
        columns = _columns(sample)
        meanings = {
            "timestamps": "time of the tick",
            "node_ids": "router that sends",
            "payload": "messages sent in the tick",
            "bits": "bits of these messages",
            "dst": "router that receives",
        }
        units = {"timestamps": "ms", "payload": "message", "bits": "bit"}
        with new_image(FILE) as file:  # a full disk is no matter for HDF5
            file.attrs["magic"] = np.uint32(MAGIC)
            file.attrs["version"] = np.array(VERSION, np.uint32)
            group = file.create_group(f"spikes/{POPULATION}")
            group.attrs.create("sorting", SORTING["by_time"], dtype=h5py.enum_dtype(SORTING, basetype="i1"))
            for name, values in columns.items():
                dataset = group.create_dataset(name, data=values)  # libsonata's wheels cannot read compressed data
                dataset.attrs["description"] = meanings[name]
                if name in units:
                    dataset.attrs["units"] = units[name]
            group["timestamps"].attrs["one_ms_is"] = MILLISECOND
            file.flush()
            (folder / FILE).write_bytes(file.id.get_file_image())
        return {
            "entries": len(columns["timestamps"]),
            "population": POPULATION,
            "one_ms_is": MILLISECOND,
            "first_ms": dict(zip([phase.name for phase in sample.phases], _first_ticks(sample), strict=True)),
            "not_included": [
                "single spikes: an entry is all messages from one router to another in a tick; tools that know spikes "
                "only see one, its number of messages is in payload"
            ],
        }


def _first_ticks(sample: MeanSample) -> list[int]:
    """Number of the first tick of every phase, all ticks counted through."""
    ticks = [phase.ticks for phase in sample.phases]
    return (np.cumsum(ticks) - ticks).tolist()


def _columns(sample: MeanSample) -> dict[str, np.ndarray]:
    pairs, bits = sample.ends[0], sample.flows["bits"].to_numpy()[:, None]
    parts = []
    for phase, first in zip(sample.phases, _first_ticks(sample), strict=True):
        messages = sample.between(phase.messages)
        tick, pair = np.nonzero(messages.T)
        sent_bits = sample.between(phase.messages * bits)
        parts.append((first + tick, *pairs[pair].T, messages[pair, tick], sent_bits[pair, tick]))
    tick, src, dst, messages, sent_bits = (
        np.concatenate([part[place] for part in parts] or [np.zeros(0, np.int64)]) for place in range(5)
    )
    return {
        "timestamps": tick.astype(np.float64),
        "node_ids": src.astype(np.uint64),
        "payload": messages,
        "bits": sent_bits,
        "dst": dst.astype(np.uint64),
    }
