"""CUDA graphs of blocks of ticks: thousands of small kernels launched as one."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch


class BlockGraphs:
    """Runs blocks of device work, each captured when it is met first and replayed from then on.

    A block must find and leave all it needs in tensors whose place in memory never changes, and must not ask the device
    anything. ``failure`` is empty, or says why blocks are run without being captured.
    """

    def __init__(self) -> None:
        self.failure = ""
        self._graphs: dict[Hashable, torch.cuda.CUDAGraph] = {}
        self._pool = torch.cuda.graph_pool_handle()

    def run(self, key: Hashable, block: Callable[[], None]) -> None:
        """Do the work of ``block``, which is the same for the same ``key``."""
        if key in self._graphs:
            self._graphs[key].replay()
            return
        self._warm(block)
        if self.failure:
            return
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self._pool):
                block()
        except RuntimeError as problem:
            self.failure = str(problem).splitlines()[0]
            return
        self._graphs[key] = graph

    @staticmethod
    def _warm(block: Callable[[], None]) -> None:
        """The first run, on a stream of its own, as libraries prepare themselves then."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            block()
        torch.cuda.current_stream().wait_stream(stream)
