"""What watches the ticks of a recorded batch: the chip's traffic, and how the states settle."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neurosim_ep.ep.network import Network
from neurosim_ep.ep.primitive import Routed
from neurosim_ep.scheduler.counters import TileCounter
from neurosim_ep.scheduler.engine import Tick, largest_change
from neurosim_ep.scheduler.phases import Phase


class TrafficObserver:
    """Feeds a :class:`TileCounter` with every read and event of one presentation of images x (B, C, H, W).

    A neuron sends when its state differs from the value it last sent by more than ``threshold``; before tick 0 that
    value is 0. Both nudge phases start from the values sent in the free phase. The static input is sent and read
    once, in tick 0 of the free phase.
    """

    def __init__(self, network: Network, counter: TileCounter, x: Tensor, threshold: float) -> None:
        self.network, self.counter, self.threshold = network, counter, threshold
        self.x = x
        self.last_sent: dict[Phase, list[Tensor]] = {}

    def see(self, tick: Tick) -> None:
        """Count this tick of every phase that shares the batch."""
        parts = len(tick.phases)
        for index, phase in enumerate(tick.phases):
            mine = [state.chunk(parts)[index] for state in tick.states]
            my_reads = [
                Routed(*(None if part is None else part.chunk(parts)[index] for part in read)) for read in tick.reads
            ]
            self._count(phase, tick.number, mine, my_reads)

    def _count(self, phase: Phase, number: int, states: Sequence[Tensor], reads: Sequence[Routed]) -> None:
        if phase is Phase.FREE and number == 0:
            self.counter.forward(0, phase.value, self.x, self.x.abs() > self.threshold)
        sent = self._send(phase, states)
        for layer, connection in enumerate(self.network.connections):
            self.counter.events(layer, phase.value, number, sent[layer])
            value, routing = reads[layer]
            if value is not None:
                self.counter.forward(layer, phase.value, states[layer - 1], sent[layer - 1])
                routed_sent = connection.route(sent[layer].to(value.dtype), routing) != 0
                self.counter.transposed(layer, phase.value, value, routed_sent)

    def _send(self, phase: Phase, states: Sequence[Tensor]) -> list[Tensor]:
        """Mask of the neurons that send now; their last sent value is brought up to date."""
        if phase not in self.last_sent:
            start = self.last_sent.get(Phase.FREE) or [torch.zeros_like(state) for state in states]
            self.last_sent[phase] = start
        last = self.last_sent[phase]
        sent = [(state - value).abs() > self.threshold for state, value in zip(states, last, strict=True)]
        self.last_sent[phase] = [
            torch.where(mask, state, value) for mask, state, value in zip(sent, states, last, strict=True)
        ]
        return sent


class ResidualObserver:
    """Largest change of any state in each tick, per phase and sample."""

    def __init__(self) -> None:
        self.residuals: dict[Phase, list[Tensor]] = {}

    def see(self, tick: Tick) -> None:
        """Keep this tick's residuals on the device."""
        changes = largest_change(tick.new_states, tick.states).chunk(len(tick.phases))
        for phase, change in zip(tick.phases, changes, strict=True):
            self.residuals.setdefault(phase, []).append(change)

    def curves(self) -> dict[Phase, Tensor]:
        """Residuals of each phase, (ticks, B)."""
        return {phase: torch.stack(ticks) for phase, ticks in self.residuals.items()}


def settling_ticks(residuals: Tensor, tolerance: float) -> Tensor:
    """Ticks (B,) each sample needed until its residual stayed ≤ ``tolerance``; all of them where it never did.

    ``residuals`` is (ticks, B).
    """
    moving = residuals > tolerance
    ticks = torch.arange(1, len(moving) + 1, device=moving.device)[:, None]
    return (moving * ticks).amax(0).add(1).clamp(max=len(moving))
