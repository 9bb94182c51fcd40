"""Who wins, EP or backpropagation, in words."""

from __future__ import annotations

from collections.abc import Sequence

from neurosim_ep.hardware.bill.comparison import Comparison
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.sections import HardwareModel
from neurosim_ep.units import format_si


def most_frugal(comparisons: Sequence[Comparison], model: HardwareModel) -> Comparison:
    """The style in which EP takes the least energy; bits in SRAM hold no conductance that could settle."""
    settles = model.cell.scaling != "logic"
    return min((one for one in comparisons if settles or one.style != Style.SETTLING), key=lambda one: one.energy_J)


def verdict(comparisons: Sequence[Comparison], best: Comparison) -> str:
    """Who wins in the style ``best``, by how much and how surely, and how large the chips are, in a sentence."""
    if not best.backprop_J or not best.energy_J:
        return "EP and backpropagation cannot be compared: every energy is zero in this hardware model"
    others = ", ".join(_beside(one, best) for one in comparisons if one is not best)
    unrolled = " with tiles for every position" if best.style == Style.SETTLING else ""
    return (
        f"{_winner(best)}: EP takes {format_si(best.energy_J, 'J')} per training sample in its most frugal style, "
        f"{best.style}, on {_mm2(best.area_m2)}{unrolled}{f' ({others})' if others else ''}, backpropagation "
        f"{format_si(best.backprop_J, 'J')} on {_mm2(best.backprop_area_m2)}"
    )


def _beside(one: Comparison, best: Comparison) -> str:
    said = f"{one.style} {one.energy_J / best.energy_J:.3g} times as much"
    return said if one.area_m2 == best.area_m2 else f"{said} on {_mm2(one.area_m2)}"


def _mm2(area_m2: float) -> str:
    return f"{1e6 * area_m2:.3g} mm^2"


def _winner(best: Comparison) -> str:
    ratio, low, high = best.ratio, best.ratio_low, best.ratio_high
    name, factor = ("EP", 1 / ratio) if ratio < 1 else ("backpropagation", ratio)
    between = f"EP / backpropagation {ratio:.3g}, in the intervals of all numbers {low:.3g} to {high:.3g}"
    if low <= 1 <= high:
        return f"undecided, {name} ahead by a factor of {factor:.3g} ({between})"
    return f"{name} wins by a factor of {factor:.3g}, and throughout the intervals ({between})"
