"""A bill with other numbers of the model: only what reads a number that has changed is billed anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from functools import partial
from typing import Any, TypeVar

from neurosim_ep.hardware.bill.cost import total_J
from neurosim_ep.hardware.bill.latency import latencies_s
from neurosim_ep.hardware.chip.recording import Chip, Recording
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.file import numbers
from neurosim_ep.hardware.model.quantities import Quantity
from neurosim_ep.hardware.model.sections import HardwareModel
from neurosim_ep.registry import ACTIONS

Found = TypeVar("Found")


def uncertain(model: HardwareModel) -> Iterator[tuple[str, Quantity]]:
    """Numbers of ``model`` with an interval, by dotted key."""
    for key, number in numbers(model):
        if isinstance(number, Quantity) and number.at("low") < number.at("high"):
            yield key, number


class Anew:
    """Energy of ``recording`` in ``style`` with other numbers of its model: ``energy_J`` of every kind of actions as it
    is, and the uncertain numbers ``read`` by each, found out by watching which ones are looked at.
    """

    def __init__(self, recording: Recording, style: Style) -> None:
        self.recording, self.style = recording, style
        self.energy_J: dict[str, float] = {}
        self.read: dict[str, Set[str]] = {}
        self._works = [work for work in ACTIONS.values() if style in work.styles]
        seen: set[str] = set()
        watched = _watched(recording.chip.model, seen)

        def note(compute: Callable[[Recording], Found]) -> tuple[Found, Set[str]]:
            seen.clear()
            return compute(recording.priced(recording.chip.priced(watched))), frozenset(seen)

        for work in self._works:
            self.energy_J[work.name], self.read[work.name] = note(partial(total_J, style=style, works=[work]))
        self._latencies_s, self._timed = note(lambda fresh: latencies_s(fresh, style))
        self._pitches_m, self._sized = note(lambda fresh: fresh.chip.pitches_m)

    @property
    def total_J(self) -> float:
        """Energy as it is."""
        return sum(self.energy_J.values())

    def with_numbers(self, chip: Chip, changed: Set[str]) -> float:
        """Energy on ``chip``, that of the recording by a model in which the numbers ``changed`` are others [J]."""
        now = self.recording.priced(chip)
        if changed.isdisjoint(self._timed):
            now.latencies[self.style] = self._latencies_s
        if changed.isdisjoint(self._sized):
            chip.__dict__["pitches_m"] = self._pitches_m
        return sum(
            self.energy_J[work.name] if changed.isdisjoint(self.read[work.name]) else total_J(now, self.style, [work])
            for work in self._works
        )


class _Watched:
    """Stands in for a number, and notes in ``seen`` that it was looked at."""

    def __init__(self, number: Quantity, key: str, seen: set[str]) -> None:
        self._number, self._key, self._seen = number, key, seen

    def __getattr__(self, name: str) -> Any:
        self._seen.add(self._key)
        return getattr(self._number, name)


def _watched(model: HardwareModel, seen: set[str]) -> HardwareModel:
    """``model`` with its uncertain numbers noting in ``seen`` that they are looked at."""
    for key, number in uncertain(model):
        model = model.replacing(key, _Watched(number, key, seen))  # type: ignore[arg-type]
    return model
