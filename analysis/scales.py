"""A log axis that has labels whatever it spans: many decades, part of one, or a few per cent."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import Formatter, LogLocator, MaxNLocator

from neurosim_ep.analysis.style import on_paper

FEW = 4.0
"""Ratio of the ends of an axis below which 2 and 5 between powers of ten are too few ticks."""
PLAIN = 1e-3, 1e4
"""What is written out between these, rather than as a power of ten."""
ACROSS, UP = 6, 10
"""Labels that an x and a y axis have room for."""
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
"""Exponents as letters."""


def _narrow(low: float, high: float) -> bool:
    """Whether an axis is of less than :data:`FEW`."""
    return 0 < high < FEW * low


def _round_numbers(low: float, high: float) -> Any:
    """The ticks of a narrow axis."""
    return MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(low, high)


class _Between(LogLocator):
    """Ticks between powers of ten: at 2 and 5, or, on an axis of less than :data:`FEW`, at round numbers."""

    def __init__(self) -> None:
        super().__init__(subs=(2, 5))

    def tick_values(self, vmin: float, vmax: float) -> Any:
        if not _narrow(vmin, vmax):
            return super().tick_values(vmin, vmax)
        return np.array([tick for tick in _round_numbers(vmin, vmax) if tick > 0 and math.log10(tick) % 1])


class RoundNumbers(LogLocator):
    """Ticks at 1, 2 and 5 of every decade, at 1 and 3, or at 1: as many as there is room for labels. On an axis of less
    than :data:`FEW` they are at round numbers.
    """

    def tick_values(self, vmin: float, vmax: float) -> Any:
        axis = self.axis
        assert isinstance(axis, Axis)
        if _narrow(vmin, vmax):
            return _round_numbers(vmin, vmax)
        most = ACROSS if axis is axis.axes.xaxis else UP
        for subs in ((1, 2, 5), (1, 3), (1,)):
            self.set_params(subs=subs)
            ticks = super().tick_values(vmin, vmax)
            if sum(vmin <= tick <= vmax for tick in ticks) <= most:
                break
        return ticks


class _Label(Formatter):
    """Powers of ten; where fewer than two of them are in view, the ``minor`` ticks have labels, too.

    On paper they are formulas, whose exponents are larger; to set one takes ten times as long as plain text.
    """

    def __init__(self, *, minor: bool) -> None:
        self._minor, self._formula = minor, on_paper()

    def __call__(self, x: float, pos: int | None = None) -> str:
        assert self.axis is not None
        low, high = sorted(self.axis.get_view_interval())
        narrow = low > 0 and math.floor(math.log10(high)) - math.ceil(math.log10(low)) < 1
        if self._minor and not narrow:
            return ""
        if narrow and PLAIN[0] <= x < PLAIN[1]:
            return f"{x:g}"
        power = math.floor(math.log10(x) + 1e-9)
        head = f"{x / 10.0**power:g}"
        factor = "" if head == "1" else f"{head}×"
        if self._formula:
            factor = factor.replace("×", r"\times")
            return rf"$\mathdefault{{{factor}10^{{{power}}}}}$"
        return f"{factor}10{str(power).translate(RAISED)}"


def log_axis(axis: Axis) -> None:
    """Make ``axis`` logarithmic, with the ticks and labels of this module."""
    (axis.axes.set_xscale if axis is axis.axes.xaxis else axis.axes.set_yscale)("log")
    axis.set_minor_locator(_Between())
    axis.set_major_formatter(_Label(minor=False))
    axis.set_minor_formatter(_Label(minor=True))


def log_line(axes: Axes, places: np.ndarray, values: np.ndarray, *, color: str, **look: Any) -> None:
    """A line; where one of ``values`` is exactly zero, which has no logarithm, a gap and a cross on the lower edge."""
    axes.plot(places, np.where(values > 0, values, np.nan), color=color, **look)
    for place in places[values == 0]:
        axes.plot(
            place, 0, "x", color=color, markersize=8, markeredgewidth=2, clip_on=False,
            transform=axes.get_xaxis_transform(),
        )  # fmt: skip
