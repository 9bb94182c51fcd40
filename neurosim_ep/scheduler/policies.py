"""Which layers are updated from what, in which order: the policies of the scheduler.

A policy makes a *step* of one or more ticks, in which every layer is updated once. ``obeys_senders`` tells whether
receivers know only what was sent to them. A policy may say, by ``layer_by_layer``, that each layer of a tick is updated
in a moment of its own, from the states that those before it have left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

from neurosim_ep.errors import UsageError
from neurosim_ep.registry import POLICIES
from neurosim_ep.scenario.topology import two_colours

if TYPE_CHECKING:
    from neurosim_ep.ep.network import Network
    from neurosim_ep.scheduler.relaxation_state import RelaxationState


class Policy(Protocol):
    """One order of layer updates, made for one network; ``name`` and ``sentence`` are those of the registry."""

    name: ClassVar[str]
    sentence: ClassVar[str]
    ticks: ClassVar[int]
    obeys_senders: ClassVar[bool]

    def __init__(self, network: Network) -> None: ...

    def prepare(self, relaxing: RelaxationState) -> None:
        """What must be known before the first step of a phase."""

    def step(self, relaxing: RelaxationState) -> None:
        """Update every layer once; :meth:`RelaxationState.begin` and :meth:`RelaxationState.end` mark the ticks."""


def layer_by_layer(policy: Policy | type[Policy]) -> bool:
    """Whether a tick of ``policy`` carries states and errors through all layers, as it says by this name."""
    return getattr(policy, "layer_by_layer", False)


class Synchronous:
    """``s_{t+1} = σ(∂Φ/∂s(s_t) − β ∂L/∂s(s_t))``: all layers from the previous tick (arXiv 2508.15989 §2.1)."""

    name = "synchronous"
    sentence = "all layers from the previous tick"
    ticks = 1
    obeys_senders = False

    def __init__(self, network: Network) -> None:
        last = [max((*network.incoming[layer], *network.outgoing[layer])) for layer in range(network.layers)]
        self._done_after = [[layer for layer, edge in enumerate(last) if edge == n] for n in range(len(network.edges))]

    def prepare(self, relaxing: RelaxationState) -> None:
        """Nothing: a tick needs the states alone."""

    def step(self, relaxing: RelaxationState) -> None:
        """One tick. A layer is overwritten as soon as all its edges have been read, so one copy is enough."""
        relaxing.begin()
        for edge, done in enumerate(self._done_after):
            if edge > 0:
                relaxing.read_both(edge)
            for layer in done:
                relaxing.write(layer)
        relaxing.end()


class Alternating:
    """Even layers in even ticks, odd layers in odd ticks, each from the fresh states of its neighbours.

    A nudge phase begins with the last layer and every second one below it, so that the error sets out at once and
    reaches the first layer after as many ticks as there are layers. Where layers are no chain, even and odd ones are
    those of two colours such that every edge joins both.

    No two neighbouring layers change in one tick, so a tick is half the work of a synchronous one, and the argmax that
    routes feedback into a layer is still that of the tick in which the layer above was last driven: a step of two ticks
    reads each edge once forwards and once backwards. Without max-pooling it retraces one of the two interleaved
    trajectories of the synchronous map.

    Raises :class:`UsageError` where edges form a ring of an odd number of layers, which have no such colours.
    """

    name = "alternating"
    sentence = "even and odd layers in turn, from fresh states"
    ticks = 2
    obeys_senders = False

    def __init__(self, network: Network) -> None:
        colours = two_colours([(edge.source, edge.target) for edge in network.edges], network.layers)
        if colours is None:
            raise UsageError(
                'policy = "alternating": neighbouring layers of this network cannot take turns, as its edges form a '
                'ring of an odd number of layers; use "sweep" or "synchronous"'
            )
        self._colours = colours

    def prepare(self, relaxing: RelaxationState) -> None:
        """The routing of the edges that are read backwards first."""
        for number, edge in enumerate(relaxing.network.edges[1:], 1):
            if self._colours[edge.target] != self._first(relaxing) and edge.pool == "max":
                relaxing.remember(number, relaxing.read(number)[1])

    def step(self, relaxing: RelaxationState) -> None:
        """Two ticks."""
        first = self._first(relaxing)
        for colour in (first, 1 - first):
            relaxing.begin()
            for layer in (layer for layer, its in enumerate(self._colours) if its == colour):
                relaxing.update(layer)
            relaxing.end(step_over=colour != first)

    def _first(self, relaxing: RelaxationState) -> int:
        """Colour of the layers that are updated first."""
        return 0 if relaxing.nudge is None else self._colours[-1]


class Sweep:
    """One layer after the other, each from the fresh states of its neighbours: upwards in the free phase, downwards, as
    the error goes, in nudge phases.

    A tick is a sweep over all layers, in which each edge is read once forwards and once backwards. A sweep carries the
    image, or an error, through all layers, where the other policies take a tick per layer.
    """

    name = "sweep"
    sentence = "one layer after the other from fresh states, upwards, in nudge phases downwards"
    ticks = 1
    obeys_senders = False
    layer_by_layer = True

    def __init__(self, network: Network) -> None:
        self.network = network

    def prepare(self, relaxing: RelaxationState) -> None:
        """The routing of edges that are read backwards before they are read forwards: upwards all of them."""
        for number, edge in enumerate(self.network.edges[1:], 1):
            if relaxing.nudge is None and edge.pool == "max" and not relaxing.silent(number):
                relaxing.remember(number, relaxing.read(number)[1])

    def step(self, relaxing: RelaxationState) -> None:
        """One tick, of as many moments as there are layers."""
        upwards = range(self.network.layers)
        order = upwards if relaxing.nudge is None else upwards[::-1]
        for layer in order:
            relaxing.begin()
            relaxing.update(layer)
            relaxing.end(step_over=layer == order[-1], tick_over=layer == order[-1])


class Event(Synchronous):
    """The synchronous map as its receivers see it: every read and every error from the values last sent.

    With θ = 0 it is :class:`Synchronous`, bit for bit.
    """

    name = "event"
    sentence = "all layers from the values last sent"
    obeys_senders = True


for _policy in (Synchronous, Alternating, Sweep, Event):
    POLICIES.add(_policy)
