"""Packet traces of BookSim as SIAM patched it: ``src dst timestamp``, one file per layer.

Source: the trace generator and configuration of SIAM (Krishnan et al., ACM TECS 2021). BookSim 2 as published reads no
traces.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurosim_ep.record.export.common import MeanSample, Phase, write_lines
from neurosim_ep.record.export.traffic import TrafficExporter

FOLDER = "Chiplet_0"
CONFIG = "mesh_config"


class BookSim(TrafficExporter):
    """Packets with the cycle in which each leaves, layer by layer."""

    name = "booksim"
    sentence = "packet traces of BookSim as SIAM patched it, one file per layer"
    files = (CONFIG, "mesh_size.csv", f"{FOLDER}/trace_file_layer_*.txt")

    def write_trace(self, folder: Path, sample: MeanSample) -> dict[str, Any]:
        """Write traces, mesh size and configuration into ``folder``; returns what export.json says of them.

        BookSim's meshes are square: a side is the longer one of the chip's, and routers keep their numbers.
        """
        side = max(sample.placement.width, sample.placement.height)
        assert side == sample.placement.width
        (folder / FOLDER).mkdir()
        layer_of_flow = sample.flows["layer"].to_numpy()
        files: dict[int, str] = {}
        with ExitStack() as stack:
            handles: dict[int, Any] = {}
            for packets in _ticks(sample):
                for layer, part in packets.groupby(layer_of_flow[packets["flow"]], sort=True):
                    number = int(str(layer))
                    if number not in handles:
                        files[number] = f"{FOLDER}/trace_file_layer_{number}.txt"
                        handles[number] = stack.enter_context((folder / files[number]).open("w", encoding="utf-8"))
                    rows = part[["src", "dst", "timestamp"]]
                    rows.to_csv(handles[number], sep=" ", header=False, index=False, lineterminator="\n")
        write_lines(folder / "mesh_size.csv", [str(side)])
        sizes = _packet_sizes(sample)
        packet_size = max(sizes, key=lambda flits: sizes[flits], default=1)
        write_lines(folder / CONFIG, _config(side, sample, packet_size, alike=len(sizes) < 2))
        return {
            "files": [CONFIG, "mesh_size.csv", *(files[layer] for layer in sorted(files))],
            "side": side,
            "packet_size": packet_size,
            "packets_by_flits": {str(flits): count for flits, count in sorted(sizes.items())},
            "timestamps": "cycles from 0; all layers share one clock",
        }


def _ticks(sample: MeanSample) -> Iterator[pd.DataFrame]:
    """Packets of every tick, in the order of their times: flow, src, dst, timestamp."""
    src, dst = sample.flows["src"].to_numpy(), sample.flows["dst"].to_numpy()
    for phase in sample.phases:
        for tick, start in enumerate(phase.tick_starts):
            flow, timestamp = departures(phase, tick, int(start), src)
            yield pd.DataFrame({"flow": flow, "src": src[flow], "dst": dst[flow], "timestamp": timestamp})


def departures(phase: Phase, tick: int, start: int, src: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flow and cycle of every packet of a tick, in the order of cycles.

    A source sends at an even pace, one packet per cycle at most, and mixes its destinations evenly.
    """
    amounts = phase.messages[:, tick]
    flow = np.arange(len(amounts)).repeat(amounts)
    number = np.arange(len(flow)) - (np.cumsum(amounts) - amounts)[flow]
    order = np.lexsort(((number + 0.5) / amounts[flow], src[flow]))
    flow = flow[order]
    _, first, sent = np.unique(src[flow], return_index=True, return_counts=True)
    turn = np.arange(len(flow)) - first.repeat(sent)
    cycle = start + turn * phase.tick_cycles[tick] // sent.repeat(sent)
    by_time = np.argsort(cycle, kind="stable")
    return flow[by_time], cycle[by_time]


def _packet_sizes(sample: MeanSample) -> dict[int, int]:
    """Packets of each size in flits."""
    sizes: dict[int, int] = {}
    for phase in sample.phases:
        for flits, count in zip(sample.flits, phase.messages.sum(1), strict=True):
            if count:
                sizes[int(flits)] = sizes.get(int(flits), 0) + int(count)
    return sizes


def _config(side: int, sample: MeanSample, packet_size: int, *, alike: bool) -> list[str]:
    note = "all packets are of this size" if alike else "most packets are of this size; export.json counts the others"
    return [
        "// One mean training sample; see export.json. Copy a file of Chiplet_0 to trace_file.txt, then run booksim.",
        "topology = mesh;",
        f"k={side};",
        "n=2;",
        "routing_function = dim_order;",
        "traffic = trace_based;",
        "injection_process = trace_based;",
        f"// {note}",
        f"packet_size = {packet_size};",
        f"channel_width = {sample.recording.chip.model.noc.flit_bits.value:g};",
        "sim_type = latency;",
        "warmup_periods = 0;",
        "max_samples = 1;",
        f"sample_period = {max(sample.cycles, 1)};",
    ]
