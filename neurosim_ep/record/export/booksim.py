"""Packet traces for BookSim 2: ``src dst cycle``, one file per packet size, with a reader that BookSim lacks.

Source: ``trafficmanager.cpp``, ``injection.cpp`` and ``config.l`` of BookSim 2 (Jiang et al., ISPASS 2013).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurosim_ep.record.export.common import write_lines
from neurosim_ep.record.export.packets import MeanSample, Unit
from neurosim_ep.record.export.traffic import TrafficExporter

CONFIG = "mesh_config"
READER = ("README.md", "add_trace_reader.sh", "trace_reader.hpp")
SOURCES = Path(__file__).with_name("booksim_reader")
ON_ITS_WAY = 1000
"""Cycles in which the last packets arrive where no link is short of time."""


class BookSim(TrafficExporter):
    """Packets with the cycle in which each leaves."""

    name = "booksim"
    sentence = "packet traces of BookSim 2, one file per packet size, with the reader that it needs"
    files = (CONFIG, "packets_*.txt", *READER)
    unit = Unit.PACKETS

    def write_trace(self, folder: Path, sample: MeanSample) -> dict[str, Any]:
        """Write traces, configuration and reader into ``folder``; returns what export.json says of them.

        BookSim's meshes are square: a side is the longer one of the chip's, and routers keep their numbers.
        """
        assert sample.placement.width >= sample.placement.height
        side = max(sample.placement.width, 2)
        sent = sum((phase.messages for phase in sample.phases), np.zeros(len(sample.flows), np.int64))
        sizes = np.unique(sample.flits[sent > 0]).tolist() or [1]
        names = {flits: f"packets_{flits}.txt" for flits in sizes}
        counts = dict.fromkeys(sizes, 0)
        with ExitStack() as stack:
            files = {
                flits: stack.enter_context((folder / name).open("w", encoding="utf-8")) for flits, name in names.items()
            }
            for packets in _ticks(sample):
                for flits in sizes:
                    part = packets[packets["flits"] == flits]
                    rows = part[["src", "dst", "cycle"]]
                    rows.to_csv(files[flits], sep=" ", header=False, index=False, lineterminator="\n")
                    counts[flits] += len(part)
        period = _period(sample)
        write_lines(folder / CONFIG, _config(side, sample, names, period))
        for name in READER:
            shutil.copyfile(SOURCES / name, folder / name)
        return {
            "files": [CONFIG, *names.values(), *READER],
            "side": side,
            "packets_by_flits": {str(flits): count for flits, count in counts.items()},
            "sample_period": period,
            "accepted_packet_rate_by_flits": {
                str(flits): count / (period * side**2) for flits, count in counts.items()
            },
            "timestamps": "cycles from 0; all files share one clock",
            "prepare": "sh add_trace_reader.sh booksim2/src && make -C booksim2/src",
            "command": f"booksim2/src/booksim {CONFIG}",
            "run_in": "this folder, with the sources of BookSim 2 in booksim2; see README.md",
        }


def _ticks(sample: MeanSample) -> Iterator[pd.DataFrame]:
    """Packets of every tick, in the order of their cycles: src, dst, flits, cycle."""
    src, dst = sample.flows["src"].to_numpy(), sample.flows["dst"].to_numpy()
    for phase in sample.phases:
        for packets, start, cycles in zip(phase.sent(), phase.tick_starts, phase.tick_cycles, strict=True):
            flow, cycle = departures(packets, src, sample.flits, int(start), int(cycles))
            yield pd.DataFrame({"src": src[flow], "dst": dst[flow], "flits": sample.flits[flow], "cycle": cycle})


def departures(
    packets: np.ndarray, src: np.ndarray, flits: np.ndarray, start: int, cycles: int
) -> tuple[np.ndarray, np.ndarray]:
    """Flow and cycle of every packet of a tick that begins at ``start``, in the order of cycles, of the ``packets``,
    routers and sizes [flows].

    A source sends at an even pace, one flit per cycle at most, and mixes its destinations evenly.
    """
    flow = np.arange(len(packets)).repeat(packets)
    number = np.arange(len(flow)) - (np.cumsum(packets) - packets)[flow]
    flow = flow[np.lexsort(((number + 0.5) / packets[flow], src[flow]))]
    _, first, sent = np.unique(src[flow], return_index=True, return_counts=True)
    after = np.cumsum(flits[flow])
    before = after - flits[flow]
    of_source = (after[first + sent - 1] - before[first]).repeat(sent)
    cycle = start + (before - before[first].repeat(sent)) * cycles // of_source
    by_time = np.argsort(cycle, kind="stable")
    return flow[by_time], cycle[by_time]


def _period(sample: MeanSample) -> int:
    """Cycles in which BookSim sends the whole trace and all of it arrives: those of the sample, and where the busiest
    link has more flits than a phase has cycles, twice what it is behind, as routers do not fill every cycle.
    """
    flits = [sample.between(phase.messages * sample.flits) for phase in sample.phases]
    behind = [sample.busiest(sent) - phase.cycles for sent, phase in zip(flits, sample.phases, strict=True)]
    return sample.cycles + 2 * sum(max(late, 0) for late in behind) + ON_ITS_WAY


def _config(side: int, sample: MeanSample, names: dict[int, str], period: int) -> list[str]:
    """What BookSim must be told: a class of traffic per packet size, everything measured."""

    def each(values: list[str]) -> str:
        return "{" + ",".join(values) + "}" if len(values) > 1 else values[0]

    traces = each([f"trace({{{name},{period}}})" for name in names.values()])
    return [
        "// One mean training sample; see README.md and export.json.",
        "topology = mesh;",
        f"k = {side};",
        "n = 2;",
        "routing_function = dim_order;",
        f"classes = {len(names)};",
        f"traffic = {traces};",
        f"injection_process = {traces};",
        f"packet_size = {each([str(flits) for flits in names])};",
        f"channel_width = {sample.flit_bits};",
        "sim_type = latency;",
        "// nothing is measured in the first period; the trace starts with the second one, in which all of it arrives",
        "warmup_periods = 1;",
        "max_samples = 2;",
        f"sample_period = {period};",
        "latency_thres = 1000000000.0;",
        "include_queuing = 1;",
    ]
