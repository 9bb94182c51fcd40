"""What is noted of every sample in the course of a phase: by the device at every look, and by the host.

Every sample has the same number of steps, but one that takes the place of another begins later than that one did. It is
looked at after the same steps of its own as if it had been there from the beginning.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from neurosim_ep.ep.transfers import to_device
from neurosim_ep.scheduler.anchors import anchor_after
from neurosim_ep.scheduler.quiescence import Motion, StoppingCriterion
from neurosim_ep.scheduler.relaxation_state import RelaxationState
from neurosim_ep.scheduler.rows import memory_rows

FALLING = 0.9  # a change below this share of what it was in mid-phase is on its way to rest
RETURN = 0.1  # states that come back after two steps, to this share of a step's change, oscillate with period 2


@dataclass(slots=True)
class Place:
    """What the host knows of a place: the number of its ``sample`` (None: nobody's end is kept there), the step at
    which that was ``born``, and whether it may still move.
    """

    sample: int | None
    born: int
    moves: bool


class Course:
    """A phase of ``ticks`` ticks for every sample of ``relaxing``, ``step_ticks`` to a step, looked at every
    ``check_every`` ticks, two steps before the end, and at the end.

    ``ticks`` (P,): the tick of its own at which each sample was found at rest, or the last one; ``motion`` (P, N): the
    :class:`Motion` of its layers. A sample that was found at rest once counts as such whether it is computed any
    further or not. Both are in the order of the batch; ``places`` are as they lie in ``relaxing``.
    """

    def __init__(self, relaxing: RelaxationState, ticks: int, step_ticks: int, check_every: int) -> None:
        self.relaxing, self.step_ticks, self.steps = relaxing, step_ticks, -(-ticks // step_ticks)
        self.now, self._admitted, self._ages = 0, relaxing.batch, {0}
        self.places = [Place(number, 0, True) for number in range(relaxing.batch)]
        self.places += [Place(None, 0, False) for _ in range(relaxing.batch, relaxing.samples)]
        self._stride, self._last = max(1, check_every // step_ticks), self.steps - 2
        regular = range(self._stride, self._last, self._stride)
        self._stops = [*regular, *([self._last] if self._last > 0 else []), self.steps]
        self._anchored = [
            stop
            for before, stop in pairwise([0, *self._stops[:-1]])
            if anchor_after(before * step_ticks) <= stop * step_ticks
        ]
        self.ticks = torch.full_like(relaxing.order, self.steps * step_ticks)
        self.motion = relaxing.change.new_zeros((relaxing.samples, relaxing.layers), dtype=torch.uint8)
        self._moves = relaxing.order < relaxing.batch
        self._born, self._quiet = torch.zeros_like(relaxing.order), torch.zeros_like(relaxing.order)
        self._unrest = relaxing.change.new_full((relaxing.samples,), torch.inf)
        self._mid_phase = relaxing.change.new_full((relaxing.samples, relaxing.layers), torch.inf)
        self._before_last: list[Tensor] = []

    @property
    def moving(self) -> int:
        """Samples that may still move."""
        return sum(place.moves for place in self.places)

    @property
    def extent(self) -> int:
        """Places to the last of them."""
        return max((number + 1 for number, place in enumerate(self.places) if place.moves), default=0)

    @property
    def looking(self) -> bool:
        """Whether it is time to look at any of them."""
        return any(age in self._stops[:-1] for age in self._ages)

    @property
    def even(self) -> bool:
        """Whether a sample that begins now will be looked at together with the others."""
        return all(age % self._stride == 0 for age in self._computed())

    def advance(self) -> int:
        """Go on to the next look at any of them; the steps to it."""
        ages = self._computed()
        steps = min(self._stops[bisect_right(self._stops[:-1], age)] - age for age in ages)
        self.now, self._ages = self.now + steps, {age + steps for age in ages}
        return steps

    def due(self, at: Sequence[int]) -> list[int]:
        """Computed places whose samples have had ``at`` steps, one of these numbers."""
        if self._ages.isdisjoint(at):
            return []
        computed = self.places[: self.relaxing.active]
        return [number for number, place in enumerate(computed) if self.now - place.born in at]

    def anchored(self) -> list[int]:
        """Computed places whose samples take an anchor now."""
        return self.due(self._anchored)

    def chosen(self, places: list[int]) -> Tensor | slice:
        """Index of ``places`` among those that are computed."""
        active = self.relaxing.active
        return slice(active) if len(places) == active else to_device(torch.tensor(places), self.relaxing.order.device)

    def look(self, stop: StoppingCriterion) -> Tensor:
        """Which of the samples that are computed have not been found at rest, bool (A,), those due being looked at."""
        relaxing, tiny = self.relaxing, torch.finfo(self._unrest.dtype).tiny
        places, unrest = relaxing.order[: relaxing.active], stop.unrest(relaxing).amax(1)
        age = self.now - self._born[places] if len(self._ages) > 1 else next(iter(self._ages))
        since = (age - 1) % self._stride + 1
        due = (age <= self._last) & ((age % self._stride == 0) | (age == self._last))
        power = since.to(unrest.dtype).reciprocal() if isinstance(since, Tensor) else 1 / since
        shrinking = (unrest / self._unrest[places].clamp(min=tiny)) ** power
        to_go = unrest * shrinking / (1 - shrinking).clamp(min=tiny)
        near = (to_go <= stop.to_go) | stop.rounds(relaxing)
        quiet = (self._quiet[places] + 1) * ((unrest <= 1) & near)
        found = due & self._moves[places] & (quiet >= stop.patience) & (age * self.step_ticks >= stop.earliest)
        _note(self._unrest, places, unrest, due)
        _note(self._quiet, places, quiet, due)
        _note(self._mid_phase, places, relaxing.sample_change(), due & (2 * age <= self.steps))
        self.ticks[places] = torch.where(found, age * self.step_ticks, self.ticks[places])
        self._moves[places] &= ~found
        self._keep(self.due([self._last]))
        return self._moves[places]

    def hear(self, moving: Sequence[bool]) -> None:
        """What :meth:`look` found has reached the host."""
        for place, moves in zip(self.places, moving, strict=False):
            place.moves &= moves

    def expire(self, stop: StoppingCriterion) -> bool:
        """Samples that have had all their steps move no more, and must not be computed any further; whether there are
        any, those found at rest before included.
        """
        over = self.due([self.steps])
        moving = [number for number in over if self.places[number].moves]
        for number in moving:
            self.places[number].moves = False
        if moving and stop.tolerance > 0:
            self._tell_motion(stop, self.chosen(moving))
        return any(self.places[number].sample is not None for number in over)

    def retire(self, room: int) -> None:
        """Let the samples that may move, at most ``room``, take the first places; no others are computed any more.

        Where there is room left, samples at rest fill it.
        """
        front = [number for number in range(room) if not self.places[number].moves]
        back = [number for number in range(room, self.relaxing.active) if self.places[number].moves]
        for one, other in zip(front, back, strict=False):
            self.places[one], self.places[other] = self.places[other], self.places[one]
        if back:
            chosen = to_device(torch.tensor([front[: len(back)], back]), self.relaxing.order.device)
            self.relaxing.exchange(chosen[0], chosen[1])
        self.relaxing.active = room

    def ended(self) -> list[int]:
        """Places where the ends of samples are kept."""
        return [number for number, place in enumerate(self.places) if place.sample is not None and not place.moves]

    def leave(self) -> tuple[list[int], list[int]]:
        """Numbers of samples whose ends are kept, in order, and the places of these; they are kept no longer."""
        left = sorted((sample, place) for place in self.ended() if (sample := self.places[place].sample) is not None)
        for _, place in left:
            self.places[place].sample = None
        return [sample for sample, _ in left], [place for _, place in left]

    def admit(self, fresh: RelaxationState) -> None:
        """The samples of ``fresh`` begin at places of others, or of none."""
        places = [number for number, place in enumerate(self.places) if not place.moves][: fresh.samples]
        chosen = to_device(torch.tensor(places), self.relaxing.order.device)
        self.relaxing.admit(fresh, chosen)
        numbers = self.relaxing.order[chosen]
        for noted, begin in (
            (self.ticks, self.steps * self.step_ticks), (self.motion, Motion.SETTLED), (self._moves, True),
            (self._born, self.now), (self._quiet, 0), (self._unrest, torch.inf), (self._mid_phase, torch.inf),
        ):  # fmt: skip
            noted.index_fill_(0, numbers, begin)
        for number in places:
            self.places[number] = Place(self._admitted, self.now, True)
            self._admitted += 1

    def _computed(self) -> set[int]:
        """Steps that the samples which are computed have had."""
        return {self.now - place.born for place in self.places[: self.relaxing.active] if place.sample is not None}

    def _keep(self, places: list[int]) -> None:
        """Keep the states at ``places``, which tell slow samples from oscillating ones two steps later."""
        if not places:
            return
        chosen, states = self.chosen(places), [self._rows(layer) for layer in range(self.relaxing.layers)]
        if not self._before_last:
            self._before_last = [state.new_empty(len(self.places), *state.shape[1:]) for state in states]
        for kept, state in zip(self._before_last, states, strict=True):
            kept[self.relaxing.order[: self.relaxing.active][chosen]] = state[chosen]

    def _tell_motion(self, stop: StoppingCriterion, chosen: Tensor | slice) -> None:
        places, change = self.relaxing.order[: self.relaxing.active][chosen], self.relaxing.sample_change()[chosen]
        motion = torch.full_like(change, Motion.OTHER, dtype=torch.uint8)
        motion.masked_fill_(change < FALLING * self._mid_phase[places], Motion.SLOW)
        if self._before_last:
            over_two_steps = [
                (before[places] - self._rows(layer)[chosen]).abs_().amax((1, 2))
                for layer, before in enumerate(self._before_last)
            ]
            motion.masked_fill_(torch.stack(over_two_steps, 1) <= RETURN * change, Motion.PERIOD_2)
        settled = (stop.unrest(self.relaxing)[chosen] <= 1) | ~self._moves[places].unsqueeze(1)
        self.motion[places] = motion.masked_fill_(settled, Motion.SETTLED)

    def _rows(self, layer: int) -> Tensor:
        """States of ``layer`` of the samples that are computed, (A, copies, features)."""
        return memory_rows(self.relaxing.state(layer)).unflatten(0, (self.relaxing.active, self.relaxing.copies))


def _note(notes: Tensor, places: Tensor, new: Tensor, which: Tensor | bool) -> None:
    """Keep ``new`` (A, ...) of all ``places`` (A,), of none, or of some of them, bool (A,)."""
    if isinstance(which, Tensor):
        new = torch.where(which.view(-1, *(1,) * (new.dim() - 1)), new, notes[places])
    if which is not False:
        notes[places] = new
