"""When a sample is at rest, and what it does when it is not.

In the free phase a sample is quiescent when no state changed by more than ``tolerance`` in a whole step of its policy.
In the nudge phases what counts is the displacement from the free state, which differs by orders of magnitude between
layers: a sample is quiescent when, in every layer and in both phases, the largest change is at most ``tolerance`` times
the largest displacement, and the error has had the ticks it takes to reach every layer.

A small change is not yet the end: where changes shrink slowly, many of them add up, and a slow drift can flip the
argmax of a pooling window. A sample therefore leaves when the distance still to go is small too: changes that shrink by
the factor ρ per step add up to ``change · ρ / (1 − ρ)``. In the free phase that must be found twice in a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from neurosim_ep.ep.network import channels_last
from neurosim_ep.scheduler.buffers import to_device
from neurosim_ep.scheduler.field import Field, memory_rows


class Motion(IntEnum):
    """What a layer of a sample does at the end of a phase."""

    SETTLED = 0
    SLOW = 1
    PERIOD_2 = 2
    OTHER = 3


FALLING = 0.9  # a change below this share of what it was in mid-phase is on its way to rest
RETURN = 0.1  # states that come back after two steps, to this share of a step's change, oscillate with period 2


@dataclass(frozen=True)
class Rest:
    """The test for rest of one phase.

    ``to_go``: distance to its rest, in units of the allowed change, that a sample may have when it leaves; ``looks``:
    how often in a row that must be found. ``free``: the free states (B, *shape) that make changes relative to
    displacements. ``earliest``: tick before which none leaves.
    """

    tolerance: float
    to_go: float
    looks: int
    free: Sequence[Tensor] | None = None
    earliest: int = 0

    @classmethod
    def free_phase(cls, tolerance: float) -> Rest:
        """Rest of a free phase: ten times the tolerance must hold states that were never stopped, too."""
        return cls(tolerance, to_go=0.25, looks=2)

    @classmethod
    def nudge_phase(cls, tolerance: float, free: Sequence[Tensor]) -> Rest:
        """Rest of a nudge phase that starts at ``free``; the error crosses one layer per tick."""
        laid_out = [channels_last(state) for state in free]
        return cls(tolerance, to_go=2.0, looks=1, free=laid_out, earliest=len(free))

    def unrest(self, field: Field) -> Tensor:
        """Change of each layer of each moving sample in units of what is allowed, (A, N); ≤ 1 at rest."""
        allowed = field.change.new_full((), self.tolerance)
        if self.free is not None:
            allowed = allowed * self._displacement(field)
        return field.sample_change() / allowed.clamp(min=torch.finfo(allowed.dtype).tiny)

    def _displacement(self, field: Field) -> Tensor:
        assert self.free is not None
        places = field.order[: field.active].clamp(max=len(self.free[0]) - 1)  # there may be more places than samples
        largest = []
        for layer, free in enumerate(self.free):
            nudged = memory_rows(field.state(layer)).unflatten(0, (field.active, field.copies))
            away = nudged - memory_rows(free)[places].unsqueeze(1)
            largest.append(away.abs_().flatten(1).amax(1))
        return torch.stack(largest, 1)


def retire(field: Field, moving: list[bool], room: int) -> None:
    """Let moving samples take the first ``room`` places; those at rest behind them are not computed any more.

    ``moving`` says of each active place whether its sample moves; at most ``room`` do. Where there is room left,
    samples at rest fill it.
    """
    front = [place for place in range(room) if not moving[place]]
    back = [place for place in range(room, len(moving)) if moving[place]]
    if back:
        chosen = to_device(torch.tensor([front[: len(back)], back]), field.order.device)
        field.exchange(chosen[0], chosen[1])
    field.active = room


class Course:
    """What is noted of each sample in the course of a phase of ``ticks`` ticks, ``step_ticks`` to a step.

    ``ticks`` (places of the field,): the tick at which each sample was found at rest, or that of the end. A sample that
    was found at rest once counts as such whether it is computed any further or not.
    """

    def __init__(self, field: Field, ticks: int, step_ticks: int) -> None:
        self.step_ticks, self.steps = step_ticks, -(-ticks // step_ticks)
        self.ticks = torch.full_like(field.order, self.steps * step_ticks)
        self._moves = field.order < field.batch
        self._unrest = field.change.new_full((field.samples,), torch.inf)
        self._quiet = torch.zeros_like(field.order)
        self._seen = 0
        self._mid_phase = field.change.new_full((field.samples, field.layers), torch.inf)
        self._before_last: list[Tensor] = []

    def stops(self, check_every: int) -> list[int]:
        """Steps after which the host looks: every ``check_every`` ticks, two steps before the end, and at the end."""
        stride = max(1, check_every // self.step_ticks)
        regular = list(range(stride, self.steps - 2, stride))
        return [*regular, *(stop for stop in (self.steps - 2, self.steps) if stop > 0)]

    def moving(self, field: Field, rest: Rest, done: int) -> Tensor:
        """Which of the samples that are computed have not been found at rest after ``done`` steps, bool (A,)."""
        places, unrest = field.order[: field.active], rest.unrest(field).amax(1)
        tiny = torch.finfo(unrest.dtype).tiny
        shrinking = (unrest / self._unrest[places].clamp(min=tiny)) ** (1 / (done - self._seen))
        to_go = unrest * shrinking / (1 - shrinking).clamp(min=tiny)
        quiet = (unrest <= 1) & (to_go <= rest.to_go)
        self._unrest[places], self._seen = unrest, done
        self._quiet[places] = (self._quiet[places] + 1) * quiet
        if done * self.step_ticks >= rest.earliest:
            found = self._moves[places] & (self._quiet[places] >= rest.looks)
            self.ticks[places] = self.ticks[places].masked_fill(found, done * self.step_ticks)
            self._moves[places] &= ~found
        return self._moves[places]

    def note(self, field: Field, done: int) -> None:
        """Keep what tells slow samples from oscillating ones at the end."""
        if 2 * done <= self.steps:
            self._mid_phase[field.order[: field.active]] = field.sample_change()
        if done == self.steps - 2:
            self._before_last = [field.state(layer).clone() for layer in range(field.layers)]

    def motion(self, field: Field, rest: Rest) -> Tensor:
        """:class:`Motion` of every layer of every sample at the end of the phase, uint8 (B, N)."""
        motion = torch.zeros_like(self._mid_phase, dtype=torch.uint8)
        if field.active and rest.tolerance > 0:
            places, change = field.order[: field.active], field.sample_change()
            moving = torch.full_like(change, Motion.OTHER, dtype=torch.uint8)
            moving.masked_fill_(change < FALLING * self._mid_phase[places], Motion.SLOW)
            if self._before_last:
                moving.masked_fill_(self._over_two_steps(field) <= RETURN * change, Motion.PERIOD_2)
            settled = (rest.unrest(field) <= 1) | ~self._moves[places].unsqueeze(1)
            moving.masked_fill_(settled, Motion.SETTLED)
            motion[places] = moving
        return motion

    def _over_two_steps(self, field: Field) -> Tensor:
        """Largest change of each layer over the last two steps, (A, N)."""
        changes = []
        for layer, old in enumerate(self._before_last):
            per_row = memory_rows(old.sub_(field.state(layer)).abs_()).amax(1)
            changes.append(per_row.unflatten(0, (field.active, field.copies)).amax(1))
        return torch.stack(changes, 1)
