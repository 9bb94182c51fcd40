"""Which numbers decide: the bill with one number of the model at a time at either end of its interval, and the answer
to who wins, EP or backpropagation, in words.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from neurosim_ep.hardware.bill.backprop import Comparison, for_backprop
from neurosim_ep.hardware.bill.cost import total_J
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.file import numbers
from neurosim_ep.hardware.model.quantities import Quantity
from neurosim_ep.hardware.model.sections import HardwareModel
from neurosim_ep.registry import ACTIONS
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
        return f"{self.key} ({self.ratio_at_low:.3g} at its low end, {self.ratio_at_high:.3g} at its high one)"

    @property
    def energy_words(self) -> str:
        """Key and energies."""
        return f"{self.key} ({format_si(self.energy_at_low_J, 'J')} - {format_si(self.energy_at_high_J, 'J')})"


def _factor(low: float, high: float) -> float:
    return abs(math.log(high / low)) if low > 0 and high > 0 else 0.0


class Sensitivity(NamedTuple):
    """The ``swings`` of all numbers in ``style`` that move energy or ratio, the one that moves the ratio most at first;
    ``ratio_low``, ``ratio_high``: the ratio with each of them at the end that makes it low, or high.
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
                said.append(f"what decides {what} most, one number at a time: {', '.join(words)}")
        return said


def sensitivity(recording: Recording, style: Style) -> Sensitivity:
    """What each number with an interval moves of EP in ``style``, and all of them together."""
    chip, samples, works = recording.chip, recording.counts.samples, ACTIONS.values()
    sides = ((recording, style), (for_backprop(recording), Style.CLOCKED))

    def energies(model: HardwareModel) -> tuple[float, float]:
        """Of EP per sample, and over that of backpropagation."""
        ours, theirs = (total_J(one.priced(one.chip.priced(model)), its, works) / samples for one, its in sides)
        return ours, ours / theirs if theirs else math.nan

    energy_J, ratio = energies(chip.model)
    found, corners = [], [chip.model, chip.model]
    for key, number in uncertain(chip.model, style):
        ends = [number.model_copy(update={"value": end}) for end in (number.at("low"), number.at("high"))]
        (low_J, low_ratio), (high_J, high_ratio) = (energies(chip.model.replacing(key, end)) for end in ends)
        if (low_J, low_ratio) == (high_J, high_ratio):
            continue
        swing = Swing(
            style.value, key, number.unit, number.at("low"), number.value, number.at("high"),
            low_J, energy_J, high_J, low_ratio, ratio, high_ratio,
        )  # fmt: skip
        found.append(swing)
        by_ratio = ends if low_ratio <= high_ratio else ends[::-1]
        corners = [corner.replacing(key, end) for corner, end in zip(corners, by_ratio, strict=True)]
    lowest, highest = (energies(corner)[1] for corner in corners)
    return Sensitivity(style, sorted(found, key=lambda swing: -swing.ratio_swing), lowest, highest)


def uncertain(model: HardwareModel, style: Style) -> Iterator[tuple[str, Quantity]]:
    """Numbers of ``model`` with an interval, but those that a bill in ``style`` has no use for."""
    adc = model.adc
    prices = {f"adc.{adc.kind}.{key}" for key in adc.priced.numbers(adc.bits.value)}
    for key, number in numbers(model):
        if not isinstance(number, Quantity) or number.at("low") == number.at("high"):
            continue
        settles = key.startswith("settling.") and style is not Style.SETTLING
        if not settles and (not key.startswith("adc.") or key.count(".") == 1 or key in prices):
            yield key, number


def most_frugal(comparisons: Sequence[Comparison], model: HardwareModel) -> Comparison:
    """The style in which EP takes the least energy; bits in SRAM hold no conductance that could settle."""
    settles = model.cell.scaling != "logic"
    return min((one for one in comparisons if settles or one.style != Style.SETTLING), key=lambda one: one.energy_J)


def verdict(comparisons: Sequence[Comparison], best: Comparison, found: Sensitivity | None = None) -> list[str]:
    """Who wins in the style ``best``, by how much and how surely, in sentences; with the deciding numbers where these
    have been ``found``.
    """
    if not best.backprop_J or not best.energy_J:
        return ["EP and backpropagation cannot be compared: every energy is zero in this hardware model"]
    others = ", ".join(
        f"{one.style} {one.energy_J / best.energy_J:.3g} times as much" for one in comparisons if one is not best
    )
    unrolled = ", on a chip with tiles for every position (area)" if best.style == Style.SETTLING else ""
    said = (
        f"of EP's styles, {best.style} takes the least energy{unrolled}, {format_si(best.energy_J, 'J')} per training "
        f"sample ({others}); backpropagation takes {format_si(best.backprop_J, 'J')}: {_winner(best, found)}"
    )
    return [said, *(found.sentences if found is not None else [])]


def _winner(best: Comparison, found: Sensitivity | None) -> str:
    ratio, lows, highs, moved = best.ratio, [best.ratio_low], [best.ratio_high], "component"
    if found is not None:
        lows.append(found.ratio_low)
        highs.append(found.ratio_high)
        moved += " and every number"
    low, high = min(lows), max(highs)
    name, factor = ("EP", 1 / ratio) if ratio < 1 else ("backpropagation", ratio)
    between = f"EP takes {ratio:.3g} times the energy, {low:.3g} to {high:.3g} with every {moved} in its interval"
    if low <= 1 <= high:
        return f"undecided, {name} ahead by a factor of {factor:.3g} ({between})"
    return f"{name} wins by a factor of {factor:.3g}, and throughout the intervals ({between})"
