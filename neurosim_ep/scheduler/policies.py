"""Which layers are updated from what, in which order: the policies of the scheduler.

A policy makes a *step* of one or more ticks, in which every layer is updated once. ``obeys_senders`` tells whether
receivers know only what was sent to them.
"""

from __future__ import annotations

from typing import Protocol

from neurosim_ep.scheduler.field import Field


class Policy(Protocol):
    """One order of layer updates."""

    ticks: int
    obeys_senders: bool

    def prepare(self, field: Field) -> None:
        """What must be known before the first step of a phase."""

    def step(self, field: Field) -> None:
        """Update every layer once; :meth:`Field.begin` and :meth:`Field.end` mark the ticks."""


class Synchronous:
    """``s_{t+1} = σ(∂Φ/∂s(s_t) − β ∂L/∂s(s_t))``: all layers from the previous tick (arXiv 2508.15989 §2.1)."""

    ticks = 1
    obeys_senders = False

    def prepare(self, field: Field) -> None:
        """Nothing: a tick needs the states alone."""

    def step(self, field: Field) -> None:
        """One tick. A layer is overwritten as soon as its two connections have been read, so one copy is enough."""
        field.begin()
        drive = None
        for layer in range(1, field.layers):
            above, feedback = field.both(layer)
            field.write(layer - 1, drive, feedback)
            drive = above
        field.write(field.layers - 1, drive, None)
        field.end()


class Alternating:
    """Even layers in even ticks, odd layers in odd ticks, each from the fresh states of its neighbours.

    A nudge phase begins with the last layer and every second one below it, so that the error sets out at once and
    reaches the first layer after as many ticks as there are layers.

    No two neighbouring layers change in one tick, so a tick is half the work of a synchronous one, and the argmax that
    routes feedback into a layer is still that of the tick in which the layer above was last driven: a step of two ticks
    reads each connection once forwards and once backwards. Without max-pooling it retraces one of the two interleaved
    trajectories of the synchronous map.
    """

    ticks = 2
    obeys_senders = False

    def prepare(self, field: Field) -> None:
        """The routing of the connections that are read backwards first."""
        for layer in range(1, field.layers):
            if layer % 2 != self._first(field) and field.network.connections[layer].pool == "max":
                field.remember(layer, field.read(layer)[1])

    def step(self, field: Field) -> None:
        """Two ticks."""
        first = self._first(field)
        for parity in (first, 1 - first):
            field.begin()
            for layer in range(parity, field.layers, 2):
                drive = None
                if layer > 0:
                    drive, routing = field.forward(layer)
                    field.remember(layer, routing)
                above = layer + 1
                feedback = field.feedback(above, field.remembered(above)) if above < field.layers else None
                field.write(layer, drive, feedback)
            field.end(step_over=parity != first)

    @staticmethod
    def _first(field: Field) -> int:
        """Parity of the layers that are updated first."""
        return 0 if field.nudge is None else (field.layers - 1) % 2


class Event(Synchronous):
    """The synchronous map as its receivers see it: every read and every error from the values last sent.

    With θ = 0 it is :class:`Synchronous`, bit for bit.
    """

    obeys_senders = True


POLICIES: dict[str, type[Policy]] = {"synchronous": Synchronous, "alternating": Alternating, "event": Event}
