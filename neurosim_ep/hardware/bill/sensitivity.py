"""Which numbers decide: the bill with one number of the model at a time at either end of its interval."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from neurosim_ep.hardware.bill.anew import Anew, uncertain
from neurosim_ep.hardware.bill.backprop import for_backprop
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.quantities import Quantity
from neurosim_ep.hardware.model.sections import HardwareModel
from neurosim_ep.units import format_si

NAMED = 3
"""Deciding numbers that are named."""


class Swing(NamedTuple):
    """What the number ``key`` moves in a style, all others at their value: energy of EP per training sample, and that
    over the energy of backpropagation, with the number at the ``low`` and at the ``high`` end of its interval.
    """

    style: str
    key: str
    unit: str
    low: float
    value: float
    high: float
    energy_at_low_J: float
    energy_J: float
    energy_at_high_J: float
    ratio_at_low: float
    ratio: float
    ratio_at_high: float

    @property
    def energy_swing(self) -> float:
        """Factor between the energies at the ends, as a logarithm."""
        return _factor(self.energy_at_low_J, self.energy_at_high_J)

    @property
    def ratio_swing(self) -> float:
        """Factor between the ratios at the ends, as a logarithm."""
        return _factor(self.ratio_at_low, self.ratio_at_high)

    @property
    def ratio_words(self) -> str:
        """Key and ratios."""
        return f"{self.key} ({self.ratio_at_low:.3g} to {self.ratio_at_high:.3g})"

    @property
    def energy_words(self) -> str:
        """Key and energies."""
        return f"{self.key} ({format_si(self.energy_at_low_J, 'J')} to {format_si(self.energy_at_high_J, 'J')})"


def _factor(low: float, high: float) -> float:
    return abs(math.log(high / low)) if low > 0 and high > 0 else 0.0


class Sensitivity(NamedTuple):
    """The ``swings`` of all numbers in ``style`` that move energy or ratio, the one that moves the ratio most at first;
    ``ratio_low``, ``ratio_high``: the least and the largest ratio of all these bills, and of those with each number at
    the end that makes it low, or high.
    """

    style: Style
    swings: list[Swing]
    ratio_low: float
    ratio_high: float

    @property
    def sentences(self) -> list[str]:
        """The deciding numbers."""
        by_energy = sorted(self.swings, key=lambda swing: -swing.energy_swing)
        said = []
        for what, words in (
            (f"EP / backpropagation ({self.style})", [swing.ratio_words for swing in self.swings[:NAMED]]),
            (f"the energy of EP ({self.style})", [swing.energy_words for swing in by_energy[:NAMED]]),
        ):
            if words:
                said.append(f"{what} moves most with one number from its low to its high end: {', '.join(words)}")
        return said


class _Moved(NamedTuple):
    """Number ``key`` at its ``ends``, low and high, and the energies of all bills there."""

    key: str
    number: Quantity
    ends: list[Quantity]
    energies_J: list[list[float]]


def sensitivities(recording: Recording, styles: Iterable[Style] = Style) -> dict[Style, Sensitivity]:
    """What each number with an interval moves of EP in each of ``styles``, and all of them together."""
    theirs, model = Anew(for_backprop(recording), Style.CLOCKED), recording.chip.model
    ours = [Anew(recording, style) for style in styles]
    found = []
    for key, number in uncertain(model):
        ends = [number.model_copy(update={"value": end}) for end in (number.at("low"), number.at("high"))]
        energies = [_energies_J([*ours, theirs], model.replacing(key, end), {key}) for end in ends]
        found.append(_Moved(key, number, ends, energies))
    return {one.style: _of_style(one, theirs, found, place) for place, one in enumerate(ours)}


def _energies_J(bills: list[Anew], model: HardwareModel, changed: set[str]) -> list[float]:
    """Energies of ``bills`` by ``model``, in which the numbers ``changed`` are others; those of EP are of one chip."""
    ours = bills[0].recording.chip.priced(model)
    chips = [*(ours for _ in bills[:-1]), bills[-1].recording.chip.priced(model)]
    return [bill.with_numbers(chip, changed) for bill, chip in zip(bills, chips, strict=True)]


def _of_style(ours: Anew, theirs: Anew, moved: list[_Moved], place: int) -> Sensitivity:
    """Of the bill ``ours``, the one at ``place``, against ``theirs``, the last one."""
    samples, model = ours.recording.counts.samples, ours.recording.chip.model
    swings, corners = [], [model, model]

    def ratio(our_J: float, their_J: float) -> float:
        return our_J / their_J if their_J else math.nan

    for key, number, ends, energies in moved:
        (low_J, their_low_J), (high_J, their_high_J) = ((one[place], one[-1]) for one in energies)
        if (low_J, their_low_J) == (high_J, their_high_J):
            continue
        swing = Swing(
            ours.style.value, key, number.unit, number.at("low"), number.value, number.at("high"),
            low_J / samples, ours.total_J / samples, high_J / samples,
            ratio(low_J, their_low_J), ratio(ours.total_J, theirs.total_J), ratio(high_J, their_high_J),
        )  # fmt: skip
        swings.append(swing)
        by_ratio = ends if swing.ratio_at_low <= swing.ratio_at_high else ends[::-1]
        corners = [corner.replacing(key, end) for corner, end in zip(corners, by_ratio, strict=True)]
    changed = {swing.key for swing in swings}
    ratios = [ratio(*_energies_J([ours, theirs], corner, changed)) for corner in corners]
    ratios += [end for swing in swings for end in (swing.ratio_at_low, swing.ratio_at_high)]
    some = [found for found in ratios if not math.isnan(found)] or [math.nan]
    return Sensitivity(ours.style, sorted(swings, key=lambda swing: -swing.ratio_swing), min(some), max(some))
