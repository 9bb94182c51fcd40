"""What watches the ticks of a batch: how the states settle, and what they were."""

from __future__ import annotations

import torch
from torch import Tensor

from neurosim_ep.hardware.chip.phases import Phase
from neurosim_ep.scheduler.relaxation_state import RelaxationState


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

    def transposed(
        self, relaxing: RelaxationState, edge: int, pre: Tensor, post: Tensor, routed: Tensor, routing: Tensor | None
    ) -> None:
        """The connection ``edge`` is read backwards at its post state, ``routed`` to the places before pooling by the
        argmax that ``pre`` gives (``routing``: None unless max-pooled).
        """

    def product(self, connection: int, pre: Tensor, routed: Tensor) -> None:
        """The synapses of ``connection`` add up the outer product of ``pre`` (B, *in_shape) and ``routed``
        (B, *pre_pool_shape): once per contrasted end, or twice per nudge tick with the stdp rule.
        """

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
