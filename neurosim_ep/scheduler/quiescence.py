"""When a sample is at rest, and what it does when it is not.

In the free phase a sample is quiescent when no state changed by more than ``tolerance`` in a whole step of its policy.
In the nudge phases what counts is the displacement from the free state, which differs by orders of magnitude between
layers: a sample is quiescent when, in every layer and in both phases, the largest change is at most ``tolerance`` times
the largest displacement, and the error has had the ticks it takes to reach every layer.

A small change is not yet the end: where changes shrink slowly, many of them add up, and a slow drift can flip the
argmax of a pooling window. A sample therefore leaves when the distance still to go is small too: changes that shrink by
the factor ρ per step add up to ``change · ρ / (1 − ρ)``. In the free phase that must be found twice in a row. Changes
of a few units in the last place are rounding, which shrinks no more and adds up to nothing: there it is enough that
they are small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from neurosim_ep.ep.network import channels_last
from neurosim_ep.scheduler.relaxation_state import RelaxationState
from neurosim_ep.scheduler.rows import memory_rows

ROUNDING = 4
"""Units in the last place by which states of 1 may change in a tick and be at rest: whatever the arrangement of the
weights, they do by 3."""


class Motion(IntEnum):
    """What a layer of a sample does at the end of a phase."""

    SETTLED = 0
    SLOW = 1
    PERIOD_2 = 2
    OTHER = 3


@dataclass(frozen=True)
class StoppingCriterion:
    """The test for rest of one phase.

    ``to_go``: distance to its rest, in units of the allowed change, that a sample may have when it leaves;
    ``patience``: how often in a row that must be found. ``free``: the free states (B, *shape) that make changes
    relative to displacements. ``earliest``: tick before which none leaves.
    """

    tolerance: float
    to_go: float
    patience: int
    free: Sequence[Tensor] | None = None
    earliest: int = 0

    @classmethod
    def free_phase(cls, tolerance: float) -> StoppingCriterion:
        """Of a free phase: ten times the tolerance must hold states that were never stopped, too."""
        return cls(tolerance, to_go=0.25, patience=2)

    @classmethod
    def nudge_phase(cls, tolerance: float, free: Sequence[Tensor], crossing: int) -> StoppingCriterion:
        """Of a nudge phase that starts at ``free``; the error crosses all layers in ``crossing`` ticks."""
        laid_out = [channels_last(state) for state in free]
        return cls(tolerance, to_go=2.0, patience=1, free=laid_out, earliest=crossing)

    def unrest(self, relaxing: RelaxationState) -> Tensor:
        """Change of each layer of each moving sample in units of what is allowed, (A, N); ≤ 1 at rest."""
        allowed = relaxing.change.new_full((), self.tolerance)
        if self.free is not None:
            allowed = allowed * self._displacement(relaxing)
        return relaxing.sample_change() / allowed.clamp(min=torch.finfo(allowed.dtype).tiny)

    def rounds(self, relaxing: RelaxationState) -> Tensor:
        """Whether the changes of each moving sample are within the rounding of states of 1, bool (A,); displacements
        can be as small, so in nudge phases none are.
        """
        change = relaxing.sample_change().amax(1)
        return change <= (ROUNDING * torch.finfo(change.dtype).eps if self.free is None else 0.0)

    def _displacement(self, relaxing: RelaxationState) -> Tensor:
        assert self.free is not None
        samples = len(self.free[0])  # there may be more places
        places = relaxing.order[: relaxing.active].clamp(max=samples - 1)
        largest = []
        for layer, free in enumerate(self.free):
            nudged = memory_rows(relaxing.state(layer)).unflatten(0, (relaxing.active, relaxing.copies))
            away = nudged - memory_rows(free)[places].unsqueeze(1)
            largest.append(away.abs_().flatten(1).amax(1))
        return torch.stack(largest, 1)
