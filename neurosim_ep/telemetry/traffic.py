"""The traffic of a batch, watched tick by tick and told to the counter of its tiles."""

from __future__ import annotations

import torch
from torch import Tensor

from neurosim_ep.ep.network import Network
from neurosim_ep.hardware.chip.phases import Phase
from neurosim_ep.scheduler.observers import Observer
from neurosim_ep.scheduler.relaxation_state import RelaxationState
from neurosim_ep.scheduler.rows import memory_rows
from neurosim_ep.telemetry.counters import TileCounter


class TrafficObserver(Observer):
    """Feeds a :class:`TileCounter` with every read, update and event of one presentation of images x (B, C, H, W).

    The static input is sent and read once, in tick 0 of the free phase. An update of a layer was *needed* when a
    neighbouring layer sent something, when an error signal pushes the layer, or when it was the first.
    """

    counts_events = True

    def __init__(self, network: Network, counter: TileCounter, x: Tensor) -> None:
        self.network, self.counter, self.x = network, counter, x
        self.active: dict[int, tuple[int, Tensor]] = {}
        self.anything: list[Tensor] = []
        self.updated: set[int] = set()

    def begin(self, relaxing: RelaxationState) -> None:
        """Count the neurons that send."""
        assert relaxing.senders is not None
        if relaxing.moment == 0:
            rows = len(relaxing.states[0])
            self.anything = [self.x.new_zeros(rows, dtype=torch.bool) for _ in range(relaxing.layers)]
        if relaxing.moment == 0 and relaxing.phases == (Phase.FREE,):
            sent = self.x.sign().abs_()
            self.counter.forward(0, relaxing.phases, self.counter.active(self.x, sent), sent)
        for layer in relaxing.fresh:
            self.active[layer] = relaxing.rows, self._count(relaxing, layer, relaxing.received(layer))
            self.anything[layer][: relaxing.rows] = memory_rows(relaxing.senders.sent(layer, relaxing.rows)).amax(1) > 0
            self.counter.events(layer, relaxing.phases, relaxing.moment, self.active[layer][1][1])

    def forward(self, relaxing: RelaxationState, edge: int, pre: Tensor) -> None:
        """Count the rows that are driven."""
        assert relaxing.senders is not None
        source = self.network.edges[edge].source
        sent = relaxing.senders.sent(source, relaxing.rows)
        self.counter.forward(self.network.number[edge], relaxing.phases, self._active(relaxing, source), sent)

    def transposed(
        self, relaxing: RelaxationState, edge: int, pre: Tensor, post: Tensor, routed: Tensor, routing: Tensor | None
    ) -> None:
        """Count the columns that are driven."""
        assert relaxing.senders is not None
        one = self.network.edges[edge]
        own = relaxing.down.apart  # what drives the columns is not the state
        active = self._count(relaxing, one.target, post) if own else self._active(relaxing, one.target)
        routed_sent = one.route(relaxing.senders.sent(one.target, relaxing.rows), routing)
        self.counter.transposed(self.network.number[edge], relaxing.phases, active, routed_sent)

    def product(self, connection: int, pre: Tensor, routed: Tensor) -> None:
        """Count what is added up."""
        self.counter.update(connection, pre, routed)

    def end(self, relaxing: RelaxationState) -> None:
        """Count the layers that were updated, and the samples of which that was needed."""
        for layer in relaxing.fresh:
            if layer not in self.updated or (relaxing.nudge is not None and relaxing.nudge.pushes(layer)):
                needed = torch.full((relaxing.copies,), relaxing.active, device=self.x.device)
            else:
                neighbours = [self.anything[n][: relaxing.rows] for n in self.network.neighbours(layer)]
                some = (
                    torch.stack(neighbours).any(0) if neighbours else self.x.new_zeros(relaxing.rows, dtype=torch.bool)
                )
                needed = some.unflatten(0, (-1, relaxing.copies)).sum(0)
            self.updated.add(layer)
            self.counter.updated(layer, relaxing.phases, relaxing.moment - 1, relaxing.active, needed)

    def row_buffers(self) -> list[Tensor]:
        """Which samples each layer has sent anything of since it was updated."""
        return self.anything

    def _active(self, relaxing: RelaxationState, layer: int) -> Tensor:
        """The activity of ``layer`` since it was updated, anew where samples have left since then."""
        rows, found = self.active[layer]
        return found if rows == relaxing.rows else self._count(relaxing, layer, relaxing.received(layer))

    def _count(self, relaxing: RelaxationState, layer: int, value: Tensor) -> Tensor:
        assert relaxing.senders is not None
        return self.counter.active(value, relaxing.senders.sent(layer, relaxing.rows), relaxing.copies)
