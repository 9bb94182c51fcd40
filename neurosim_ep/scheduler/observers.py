"""What watches the ticks of a batch: how the states settle, and rules that are local in time."""

from __future__ import annotations

import torch
from torch import Tensor

from neurosim_ep.ep.feedback import Feedback
from neurosim_ep.ep.network import Network
from neurosim_ep.ep.plasticity import OuterProduct, StdpAccumulator, synaptic_activity
from neurosim_ep.ep.primitive import Routed
from neurosim_ep.hardware.chip.phases import Phase
from neurosim_ep.scheduler.relaxation_state import RelaxationState
from neurosim_ep.scheduler.sigma_delta import repeat_rows


class Observer:
    """Sees every read and every tick of a phase; what it is shown is only lent, and overwritten by the next tick. This
    one overlooks everything.
    """

    counts_events = False
    """Whether it wants to know which neurons send."""
    wants_changes = False
    """Whether it reads ``relaxing.change`` after every step."""

    def begin(self, relaxing: RelaxationState) -> None:
        """A tick begins at ``relaxing.states``; layers in ``relaxing.fresh`` changed since the last one began."""

    def forward(self, relaxing: RelaxationState, edge: int, pre: Tensor) -> None:
        """The connection ``edge`` is read forwards at its pre state."""

    def transposed(self, relaxing: RelaxationState, edge: int, pre: Tensor, post: Tensor, read: Routed) -> None:
        """The connection ``edge`` is read backwards at its post state, routed by the argmax that ``pre`` gives."""

    def end(self, relaxing: RelaxationState) -> None:
        """The tick is over: layers in ``relaxing.fresh`` were updated in it."""

    def row_buffers(self) -> list[Tensor]:
        """Buffers of one row per row of the states, to be reordered with it."""
        return []


class ResidualObserver(Observer):
    """Largest change of any state of each sample in every step, per phase; a sample at rest keeps its last one.

    Steps of several ticks are entered at their last tick. A phase that is run in parts is counted through.
    """

    wants_changes = True

    def __init__(self) -> None:
        self.residuals: dict[Phase, list[Tensor]] = {}
        self.ticks: dict[Phase, list[int]] = {}
        self.active: dict[Phase, list[int]] = {}
        self._before = 0

    def begin(self, relaxing: RelaxationState) -> None:
        """Ticks of the phase that earlier parts of it have taken."""
        if relaxing.tick == 0:
            self._before = max(self.ticks.get(relaxing.phases[0], [0]))

    def end(self, relaxing: RelaxationState) -> None:
        """Keep this step's residuals on the device, samples in the order of the batch."""
        if not relaxing.step_over:
            return
        change = relaxing.change[: relaxing.rows].amax(1)
        for index, phase in enumerate(relaxing.phases):
            curve = self.residuals.setdefault(phase, [])
            now = curve[-1].clone() if curve else change.new_zeros(relaxing.samples)
            now[relaxing.order[: relaxing.active]] = change[index :: relaxing.copies]
            curve.append(now)
            self.ticks.setdefault(phase, []).append(self._before + relaxing.tick)
            self.active.setdefault(phase, []).append(relaxing.active)

    def curves(self) -> dict[Phase, Tensor]:
        """Residuals of each phase, (steps, B)."""
        return {phase: torch.stack(steps) for phase, steps in self.residuals.items()}


class StateRecorder(Observer):
    """Keeps the states (rows, *shape) of every layer at the beginning of each tick of a phase that no sample leaves."""

    def __init__(self) -> None:
        self.states: list[list[Tensor]] = []

    def begin(self, relaxing: RelaxationState) -> None:
        """Keep a copy: the relaxation overwrites its states."""
        self.states.append([relaxing.state(layer).clone() for layer in range(relaxing.layers)])


class StdpObserver(Observer):
    """Shows an accumulator the two ends of every synapse whenever both are fresh."""

    def __init__(
        self, network: Network, x: Tensor, sign: Tensor, on_product: OuterProduct | None, feedback: Feedback
    ) -> None:
        self.network, self.accumulator = network, StdpAccumulator(network, sign, on_product, feedback)
        self.x = repeat_rows(x, len(sign) // len(x))
        self.input_routing = network.input_drive(self.x)[1]

    def begin(self, relaxing: RelaxationState) -> None:
        """See where every synapse starts; later that of the input, which is never read backwards."""
        if relaxing.moment == 0:
            self._see_all([relaxing.received(layer) for layer in range(relaxing.layers)])
        elif 0 in relaxing.fresh:
            routing = None if self.input_routing is None else self.input_routing[: relaxing.rows]
            routed = self.network.connections[0].route(relaxing.received(0), routing)
            self.accumulator.see(0, self.x[: relaxing.rows], routed)

    def transposed(self, relaxing: RelaxationState, edge: int, pre: Tensor, post: Tensor, read: Routed) -> None:
        """A transposed read routes the post state by the argmax of the pre state as it is now."""
        assert read.value is not None
        one = self.network.edges[edge]
        routed = one.route(relaxing.received(one.target), read.routing) if relaxing.down.apart else read.value
        self.accumulator.see(self.network.number[edge], pre, routed)

    def row_buffers(self) -> list[Tensor]:
        """What the synapses remember, and the input."""
        routing = [] if self.input_routing is None else [self.input_routing]
        return [self.x, *routing, *self.accumulator.row_buffers()]

    def gradients(self, states: list[Tensor], scale: float) -> dict[str, Tensor]:
        """The accumulated gradients once the phases have ended at ``states``."""
        self._see_all(states)
        return self.accumulator.gradients(scale)

    def _see_all(self, states: list[Tensor]) -> None:
        """Every synapse at ``states`` of all rows."""
        for n in range(len(self.network.connections)):
            self.accumulator.see(n, *synaptic_activity(self.network, n, self.x, states))
