"""CUDA graphs of blocks of ticks: thousands of small kernels launched as one."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Protocol

import torch


class Host(Protocol):
    """What runs a block and keeps more of it than tensors hold."""

    host: Any
    """All that the block changes outside of tensors; what was read here can be put back."""


class BlockGraphs:
    """Runs blocks of work on ``device``, each captured when it is met first and replayed from then on.

    A block must find and leave all it needs in tensors whose place in memory never changes, and must not ask the device
    anything. ``failure`` is empty, or says why blocks are run without being captured.
    """

    def __init__(self, device: torch.device) -> None:
        self.failure = ""
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()
        self._graphs: dict[Hashable, tuple[torch.cuda.CUDAGraph, Any]] = {}

    def run(self, key: Hashable, block: Callable[[], None], host: Host) -> None:
        """Do the work of ``block`` once, which is the same for the same ``key``; ``host`` is left as it leaves it."""
        if key in self._graphs:
            graph, host.host = self._graphs[key]
            graph.replay()
        elif self.failure:
            block()
        else:
            self._run_and_capture(key, block, host)

    def _run_and_capture(self, key: Hashable, block: Callable[[], None], host: Host) -> None:
        """Run ``block``, in which libraries prepare themselves, then capture it on the same stream, which does nothing.

        Whatever becomes of the capture, the stream of the caller is current again and ``host`` is as the run left it.
        """
        outside = torch.cuda.current_stream()
        self._stream.wait_stream(outside)
        with torch.cuda.stream(self._stream):
            block()
            left, graph = host.host, torch.cuda.CUDAGraph()
            try:
                with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
                    block()
                self._graphs[key] = graph, left
            except RuntimeError as problem:
                self.failure = (str(problem) or type(problem).__name__).splitlines()[0]
            finally:
                host.host = left
        outside.wait_stream(self._stream)
