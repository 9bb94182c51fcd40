"""Something against the values of a key: where each stands, and a curve with the spread of its seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import EngFormatter, MaxNLocator, StrMethodFormatter

from neurosim_ep.analysis.points import IDEAL, UNLIMITED, spelled
from neurosim_ep.analysis.scales import log_axis
from neurosim_ep.analysis.style import GREY, look

TITLES = {
    "hardware.converters.adc_bits": "bits of the converters (ADC)",
    "hardware.converters.dac_bits": "bits of the drivers (DAC)",
    "hardware.cells.levels": "levels of a cell",
    "hardware.device.constants.up_down": "the asymmetry of pulses (device constant up_down)",
    "hardware.model": "hardware model",
    "relaxation.beta": "nudging strength β",
    "relaxation.free_steps": "ticks T of the free phase",
    "relaxation.nudge_steps": "ticks K of a nudge phase",
    "scheduler.threshold": "sending threshold θ",
}
NARROW = 0.1  # part of the value in the middle that an axis or colours span at least: what differs by less looks alike
WIDE = 10  # the ratio of the largest to the smallest value from which on the axis is logarithmic


def title_of(key: str) -> str:
    """What a key is, for an axis."""
    return TITLES.get(key, key.removeprefix("hardware."))


LABELLED = 50  # the same of a quantity, up to which the small ticks have labels, too


class Scale:
    """Where the ``values`` of ``key`` stand on an axis: numbers at their place, names side by side.

    ``endless``: whether any stands for no limit, or something else does at the ``end``.
    """

    def __init__(self, key: str, values: Iterable[Any], *, end: bool = False) -> None:
        self.key, self.values = key, list(dict.fromkeys(values))
        self.numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in self.values)
        self.unlimited = key in UNLIMITED
        if self.numeric:
            self.values = sorted(self.values, key=lambda value: (self._is_end(value), value))
        self.limited = [value for value in self.values if self.numeric and not self._is_end(value)]
        self.endless = end or len(self.limited) < len(self.values)

    def _is_end(self, value: float) -> bool:
        return self.unlimited and value in (0, math.inf)

    def place(self, value: Any) -> float:
        """No limit stands a step to the right of the largest limit."""
        if not self.numeric:
            return float(self.values.index(value))
        return self.end if self._is_end(value) else float(value)

    @property
    def end(self) -> float:
        """The place of no limit."""
        largest = max(self.limited, default=1.0)
        return largest * 4 if self.key.endswith("levels") else largest + 2

    def dress(self, axes: Axes) -> None:
        """Scale, ticks and title of the x axis; bits and levels have a tick for each value and one for no limit."""
        axes.set_xlabel(title_of(self.key))
        if not self.numeric:
            long = sum(len(spelled(value)) for value in self.values) > 40
            names = [spelled(value) for value in self.values]
            axes.set_xticks(
                range(len(names)), names, rotation=30 if long else 0, ha="right" if long else "center",
                rotation_mode="anchor",
            )  # fmt: skip
            axes.set_xlim(-0.5, len(names) - 0.5)
        elif self.unlimited:
            self._dress_unlimited(axes)
        else:
            wide = min(self.values) > 0 and max(self.values) >= WIDE * min(self.values)
            if wide:
                log_axis(axes.xaxis)
            if len(self.values) <= 8:
                axes.set_xticks(self.values, [spelled(value) for value in self.values])
                axes.minorticks_off()

    def _dress_unlimited(self, axes: Axes) -> None:
        levels = self.key.endswith("levels")
        if levels:
            axes.set_xscale("log", base=2)
        axes.set_xticks(self.limited, [f"{value:g}" for value in self.limited])
        axes.minorticks_off()
        if not self.endless:
            return
        axes.set_xticks([*self.limited, self.end], [*(f"{value:g}" for value in self.limited), IDEAL])
        between = np.sqrt(max(self.limited, default=1.0) * self.end) if levels else self.end - 1
        axes.axvline(between, color=GREY, linestyle=(0, (1, 3)), linewidth=1)


def draw_curve(
    axes: Axes, scale: Scale, points: Mapping[Any, Sequence[float]], label: str, number: int, *, loose: bool = False
) -> None:
    """Means of ``points`` in a band, and with bars, from the smallest to the largest; ``loose`` ones are dots alone.

    Markers are open, so that of curves that coincide each is seen.
    """
    colour, marker = look(number)
    values = [value for value in scale.values if value in points]
    if loose:
        places = [scale.place(value) for value in values for _ in points[value]]
        dots = [one for value in values for one in points[value]]
        axes.plot(places, dots, color=colour, marker=marker, linestyle="", alpha=0.7, label=label)
        return
    places = [scale.place(value) for value in values]
    mean = np.array([np.mean(points[value]) for value in values])
    ends = np.array([[min(points[value]), max(points[value])] for value in values]).T
    spread = (ends[0] < ends[1]).any()
    axes.errorbar(
        places, mean, np.abs(ends - mean) if spread else None, color=colour, marker=marker, capsize=3, elinewidth=1.2,
        label=label, linestyle="-" if scale.numeric else "", markerfacecolor="none",
    )  # fmt: skip
    if scale.numeric and len(values) > 1 and spread:
        axes.fill_between(places, *ends, color=colour, alpha=0.14, linewidth=0)


def dress_quantity(axis: Axis, values: np.ndarray, unit: str) -> None:
    """The ``axis`` of a quantity in ``unit``: logarithmic where its ``values`` span much, with enough labels."""
    span = values.max() / values.min() if values.min() > 0 else 1.0
    log = span >= WIDE / 2
    if log:
        log_axis(axis)
    else:
        axis.set_major_locator(MaxNLocator(5))
        low, high = float(values.min()), float(values.max())
        axis.set_view_interval(*widened(low, high, NARROW * abs(low + high) / 2))
    for place in (axis.set_major_formatter, axis.set_minor_formatter)[: 1 + (log and span < LABELLED)]:
        place(EngFormatter(unit=unit) if unit else StrMethodFormatter("{x:g}"))


def widened(low: float, high: float, least: float) -> tuple[float, float]:
    """The ends ``low`` and ``high``, or those about their middle that lie ``least`` apart."""
    middle, half = (low + high) / 2, max(high - low, least) / 2
    return middle - half, middle + half


def seeds_shown(curves: Iterable[Mapping[Any, Sequence[float]]]) -> bool:
    """Whether any point of the ``curves`` is of several seeds."""
    return any(len(several) > 1 for points in curves for several in points.values())
