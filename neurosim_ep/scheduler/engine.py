"""The tick loop: runs a phase for a number of ticks and lets observers see every tick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from neurosim_ep.ep.network import Network
from neurosim_ep.ep.primitive import Routed
from neurosim_ep.ep.signals import Nudge
from neurosim_ep.scheduler.phases import Phase
from neurosim_ep.scheduler.policies import synchronous


@dataclass(frozen=True)
class Tick:
    """One computed tick: its ``number`` in the phase, its states, its transposed reads, and the states it led to.

    ``phases`` names the phases that share the batch, in order: with two, the first half of the batch belongs to
    the first and the second half to the second.
    """

    phases: Sequence[Phase]
    number: int
    states: Sequence[Tensor]
    reads: Sequence[Routed]
    new_states: Sequence[Tensor]


class Observer(Protocol):
    """Sees each tick after it was computed."""

    def see(self, tick: Tick) -> None: ...


@dataclass(frozen=True)
class Relaxation:
    """End of a phase: the states, and per sample (B,) the largest change of any state in the last tick."""

    states: list[Tensor]
    residual: Tensor


def largest_change(new: Sequence[Tensor], old: Sequence[Tensor]) -> Tensor:
    """Per sample (B,), the largest |new − old| over all layers and neurons."""
    changes = [(a - b).abs_().flatten(1).amax(1) for a, b in zip(new, old, strict=True)]
    return torch.stack(changes).amax(0)


@torch.no_grad()
def relax(
    network: Network,
    input_drive: Tensor,
    states: Sequence[Tensor],
    steps: int,
    phases: Sequence[Phase],
    *,
    nudge: Nudge | None = None,
    observers: Sequence[Observer] = (),
) -> Relaxation:
    """Run ``steps`` ticks from ``states`` without a host synchronisation; the given states are not changed."""
    old = new = list(states)
    for number in range(steps):
        old = new
        new, reads = synchronous(network, input_drive, old, nudge)
        for observer in observers:
            observer.see(Tick(phases, number, old, reads, new))
    return Relaxation(new, largest_change(new, old))
