"""Milliseconds of small work on a device, free of what launching it costs the host where CUDA can capture it."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch
from relaxation import timed

Work = Callable[[], object]


def milliseconds(device: torch.device, work: Work, repeats: int = 20, turns: int = 5) -> float:
    """Median over ``turns`` of the time of ``work``, done ``repeats`` times in a row; captured once on CUDA."""

    def row() -> None:
        for _ in range(repeats):
            work()

    many = _captured(device, work, row) if device.type == "cuda" else row
    many()
    return 1e3 * statistics.median(timed(device, many)[0] for _ in range(turns)) / repeats


def _captured(device: torch.device, work: Work, row: Work) -> Work:
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        work()
    torch.cuda.current_stream(device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        row()
    return graph.replay
