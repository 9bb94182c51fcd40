"""Spike files of SONATA: HDF5 that tools of computational neuroscience read, with the graded payload beside the times.

Source: SONATA developer guide, spike file (Dai et al., PLOS Computational Biology 2020).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neurosim_ep.record.export.packets import MeanSample
from neurosim_ep.record.export.traffic import TrafficExporter
from neurosim_ep.record.hdf5 import new_image

FILE = "spikes.h5"
POPULATION = "tiles"
MAGIC, VERSION = 0x0A7A, (0, 1)
SORTING = {"none": 0, "by_id": 1, "by_time": 2}
CHUNK = 65536
COLUMNS = {
    "timestamps": (np.float64, "ms", "time of the tick"),
    "node_ids": (np.uint64, "", "router that sends"),
    "payload": (np.int64, "message", "messages sent in the tick"),
    "bits": (np.int64, "bit", "bits of these messages"),
    "dst": (np.uint64, "", "router that receives"),
}
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
        with new_image() as file:  # a full disk is no matter for HDF5
            file.attrs["magic"] = np.uint32(MAGIC)
            file.attrs["version"] = np.array(VERSION, np.uint32)
            group = file.create_group(f"spikes/{POPULATION}")
            group.attrs.create("sorting", SORTING["by_time"], dtype=h5py.enum_dtype(SORTING, basetype="i1"))
            for name, (kind, unit, description) in COLUMNS.items():
                # uncompressed: libsonata's wheels cannot read compressed data
                dataset = group.create_dataset(name, (0,), kind, maxshape=(None,), chunks=(CHUNK,))
                dataset.attrs["description"] = description
                if unit:
                    dataset.attrs["units"] = unit
            group["timestamps"].attrs["one_ms_is"] = MILLISECOND
            entries = 0
            for columns in _ticks(sample):
                added = len(columns["dst"])
                for name, values in columns.items():
                    group[name].resize((entries + added,))
                    group[name][entries:] = values
                entries += added
            file.flush()
            (folder / FILE).write_bytes(file.id.get_file_image())
        return {
            "entries": entries,
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


def _ticks(sample: MeanSample) -> Iterator[dict[str, np.ndarray]]:
    """The columns of every tick."""
    pairs, bits = sample.ends[0], sample.flows["bits"].to_numpy()
    for phase, first in zip(sample.phases, _first_ticks(sample), strict=True):
        for tick, sent in enumerate(phase.sent()):
            messages = sample.between(sent)
            (pair,) = np.nonzero(messages)
            yield {
                "timestamps": np.full(len(pair), first + tick, np.float64),
                "node_ids": pairs[pair, 0],
                "payload": messages[pair],
                "bits": sample.between(sent * bits)[pair],
                "dst": pairs[pair, 1],
            }
