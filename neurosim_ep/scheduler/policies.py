"""Which layers are updated from what inside one tick."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from neurosim_ep.ep import activations
from neurosim_ep.ep.network import Network
from neurosim_ep.ep.primitive import Routed, local_drives
from neurosim_ep.ep.signals import Nudge


def synchronous(
    network: Network, input_drive: Tensor, states: Sequence[Tensor], nudge: Nudge | None
) -> tuple[list[Tensor], list[Routed]]:
    """One tick of ``s_{t+1} = σ(∂Φ/∂s(s_t) − β ∂L/∂s(s_t))``, all layers from the previous tick.

    Returns the new states and the transposed reads that were made with the old ones.
    """
    drives, reads = local_drives(network.connections, input_drive, states)
    if nudge is not None:
        nudge.add_(drives, states)
    new = [activations.activate_(name, drive) for name, drive in zip(network.activations, drives, strict=True)]
    return new, reads
