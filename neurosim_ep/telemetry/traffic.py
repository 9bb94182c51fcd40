"""The traffic of a batch, watched tick by tick and told to the counter of its tiles."""

from __future__ import annotations

import torch
from torch import Tensor

from neurosim_ep.ep.network import Network
from neurosim_ep.ep.primitive import Routed
from neurosim_ep.scheduler.field import Field
from neurosim_ep.scheduler.observers import Watcher
from neurosim_ep.scheduler.phases import Phase
from neurosim_ep.scheduler.rows import memory_rows
from neurosim_ep.telemetry.counters import TileCounter


class TrafficObserver(Watcher):
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

    def begin(self, field: Field) -> None:
        """Count the neurons that send."""
        assert field.senders is not None
        if field.moment == 0:
            rows = len(field.states[0])
            self.anything = [self.x.new_zeros(rows, dtype=torch.bool) for _ in range(field.layers)]
        if field.moment == 0 and field.phases == (Phase.FREE,):
            sent = self.x.sign().abs_()
            self.counter.forward(0, field.phases, self.counter.active(self.x, sent), sent)
        for layer in field.fresh:
            self.active[layer] = field.rows, self._count(field, layer, field.seen(layer))
            self.anything[layer][: field.rows] = memory_rows(field.senders.sent(layer, field.rows)).amax(1) > 0
            self.counter.events(layer, field.phases, field.moment, self.active[layer][1][1])

    def forward(self, field: Field, edge: int, pre: Tensor) -> None:
        """Count the rows that are driven."""
        assert field.senders is not None
        source = self.network.edges[edge].source
        sent = field.senders.sent(source, field.rows)
        self.counter.forward(self.network.number[edge], field.phases, self._active(field, source), sent)

    def transposed(self, field: Field, edge: int, pre: Tensor, post: Tensor, read: Routed) -> None:
        """Count the columns that are driven."""
        assert field.senders is not None
        one = self.network.edges[edge]
        own = field.down.apart  # what drives the columns is not the state
        active = self._count(field, one.target, post) if own else self._active(field, one.target)
        routed_sent = one.route(field.senders.sent(one.target, field.rows), read.routing)
        self.counter.transposed(self.network.number[edge], field.phases, active, routed_sent)

    def end(self, field: Field) -> None:
        """Count the layers that were updated, and the samples of which that was needed."""
        for layer in field.fresh:
            if layer not in self.updated or (field.nudge is not None and field.nudge.pushes(layer)):
                needed = torch.full((field.copies,), field.active, device=self.x.device)
            else:
                neighbours = [self.anything[n][: field.rows] for n in self.network.neighbours(layer)]
                some = torch.stack(neighbours).any(0) if neighbours else self.x.new_zeros(field.rows, dtype=torch.bool)
                needed = some.unflatten(0, (-1, field.copies)).sum(0)
            self.updated.add(layer)
            self.counter.updated(layer, field.phases, field.moment - 1, field.active, needed)

    def row_buffers(self) -> list[Tensor]:
        """Which samples each layer has sent anything of since it was updated."""
        return self.anything

    def _active(self, field: Field, layer: int) -> Tensor:
        """The activity of ``layer`` since it was updated, anew where samples have left since then."""
        rows, found = self.active[layer]
        return found if rows == field.rows else self._count(field, layer, field.seen(layer))

    def _count(self, field: Field, layer: int, value: Tensor) -> Tensor:
        assert field.senders is not None
        return self.counter.active(value, field.senders.sent(layer, field.rows), field.copies)
