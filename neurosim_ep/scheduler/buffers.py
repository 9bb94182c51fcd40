"""Memory that stays where it is: states that captured graphs work on, and copies that the host does not wait for."""

from __future__ import annotations

from collections.abc import Hashable

import torch
from torch import Tensor

from neurosim_ep.scheduler.relaxation_state import RelaxationState


class KeptStates:
    """Relaxation states whose buffers are used again for every batch of their kind and size.

    A smaller batch than the last one is the rest of a data set or a size of its own. The first time it lies in a larger
    one, if there is any, and the places behind it are not looked at; when it comes twice in a row it gets its own.
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, dict[int, RelaxationState]] = {}
        self._last: dict[Hashable, int] = {}

    def holding(self, given: RelaxationState) -> RelaxationState:
        """A relaxation state with the contents of ``given`` in its first places."""
        kept = self._kept.setdefault(given.kind, {})
        again = self._last.get(given.kind) == given.samples
        self._last[given.kind] = given.samples
        size = min((size for size in kept if size >= given.samples), default=0)
        if size == 0 or (again and size != given.samples):
            size = given.samples
            kept[size] = given.twin()
        kept[size].load(given)
        return kept[size]


class Arriving:
    """``values`` of the device on their way to the host."""

    def __init__(self, values: Tensor) -> None:
        self._values, self._event = values, None
        if values.device.type == "cuda":
            pinned = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._values, self._event = pinned.copy_(values, non_blocking=True), torch.cuda.Event()
            self._event.record()

    def wait(self) -> Tensor:
        """The values, once the device has come as far as where they were asked for."""
        if self._event is not None:
            self._event.synchronize()
        return self._values


class Verdicts:
    """Which of the samples that are computed still move. A ``delayed`` answer is that to the question before the last
    one.
    """

    def __init__(self, delayed: bool) -> None:
        self.delayed = delayed
        self._asked: list[Arriving] = []

    def ask(self, mask: Tensor) -> list[bool]:
        """``mask``, one entry per active place, or nothing where the answer is still to come."""
        self._asked.append(Arriving(mask))
        return [] if len(self._asked) <= self.delayed else self._asked.pop(0).wait().tolist()

    def forget(self) -> None:
        """The samples have changed places: what was asked before says nothing any more."""
        self._asked.clear()
