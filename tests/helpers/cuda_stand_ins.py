"""Stand-ins for what only a CUDA device has: captured blocks, and where the host would wait."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from neurosim_ep.ep.network import Network
from neurosim_ep.scheduler.engine import Engine
from neurosim_ep.scheduler.graphs import Host
from neurosim_ep.scheduler.schedule import Schedule


class DirectBlocks:
    """Stands for captured graphs: runs every block, on buffers that stay."""

    failure = ""

    def __init__(self) -> None:
        self.keys: list[Any] = []

    @property
    def sizes(self) -> set[tuple[int, int]]:
        """Places of the buffers and places computed."""
        return {(key[0], key[2]) for key in self.keys}

    def run(self, key: Hashable, block: Callable[[], None], host: Host) -> None:
        self.keys.append(key)
        block()


def capturing(network: Network, schedule: Schedule) -> tuple[Engine, DirectBlocks]:
    """An engine that works as on a CUDA device."""
    engine, blocks = Engine(network, schedule), DirectBlocks()
    engine.graphs = blocks  # type: ignore[assignment]
    return engine, blocks


class Waits(TorchDispatchMode):
    """Notes operations for which the host would wait for a device, or the device for the host."""

    NAMES = ("_local_scalar_dense", "lift_fresh", "nonzero", "is_nonzero", "equal", "masked_select", "_unique2")

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        indices = args[1] if name in ("index", "index_put", "index_put_", "_index_put_impl_") else ()
        masks = any(isinstance(index, Tensor) and index.dtype == torch.bool for index in indices)
        if name in self.NAMES or masks:
            self.found.append(name)
        return func(*args, **(kwargs or {}))
