"""Which numbers decide? Energy of EP, and that over backpropagation's, with one number of the model at a time at either
end of its interval.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, NullLocator

from neurosim_ep.analysis.energy import STYLES
from neurosim_ep.analysis.load import NothingToDraw, Run
from neurosim_ep.analysis.scales import RoundNumbers, log_axis
from neurosim_ep.analysis.style import CLEAR, INK, PALETTE, canvas, legend_columns, on_paper
from neurosim_ep.units import format_si

COLUMNS = (
    "style", "key", "unit", "low", "value", "high", "energy_at_low_J", "energy_J", "energy_at_high_J", "ratio_at_low",
    "ratio", "ratio_at_high",
)  # fmt: skip
SHOWN = 10
"""Numbers of each panel."""
NAMED = 0.1
"""Bars above this share of the widest have their figure beside them."""
PREFIXED = ("J", "s", "W", "F", "J/bit", "J/bit/m", "W/bit", "W/m^2", "V", "S")


def draw(run: Run) -> Figure:
    """The picture of a run; see :func:`draw_frame`."""
    return draw_frame(run.table("sensitivity.csv", COLUMNS), run.label)


def draw_frame(frame: pd.DataFrame, label: str) -> Figure:
    """Bars from the figure at the low end of a number to that at its high end, the widest on top, around the figure
    with all numbers at their value; ``frame`` has a row per number with an interval.
    """
    if frame.empty:
        raise NothingToDraw("no number of the hardware model that the bill depends on has an interval")
    style = str(frame["style"].iloc[0])
    figure = canvas(
        "Which numbers of the hardware model decide",
        label,
        f"EP {STYLES[style].split(':')[0]}; one number at a time at the low and at the high end of its interval, all "
        "others at their value.",
        width=13.0,
        height=1.9 + 0.36 * min(SHOWN, len(frame)),
    )
    left, right = figure.subplots(1, 2)
    _draw_bars(left, frame, "ratio_at_low", "ratio", "ratio_at_high")
    low, high = left.get_xlim()
    draw_is_near = low / 1.3 < 1 < 1.3 * high
    if draw_is_near:
        left.axvline(1.0, color=INK, linestyle="--", linewidth=0.9)
    left.set_xlabel(f"energy of EP / that of backpropagation (logarithmic{'; dashed: a draw' if draw_is_near else ''})")
    left.xaxis.set_major_formatter("{x:g}")
    _draw_bars(right, frame, "energy_at_low_J", "energy_J", "energy_at_high_J")
    right.set_xlabel("energy of EP per training image (logarithmic)")
    right.xaxis.set_major_formatter(EngFormatter(unit="J"))
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=legend_columns(figure, 2))
    return figure


def _draw_bars(axes: Axes, frame: pd.DataFrame, low: str, middle: str, high: str) -> None:
    """The widest bars of a panel, each end with the number that it stands for."""
    widths = (np.log(frame[high]) - np.log(frame[low])).abs()
    shown = frame.loc[widths.sort_values(ascending=False).index[:SHOWN]][::-1]
    value = float(shown[middle].iloc[0])
    for place, (_, row) in enumerate(shown.iterrows()):
        for end, column, colour in (("low", low, PALETTE[0]), ("high", high, PALETTE[1])):
            name = f"number at its {end} end" if place == 0 else None
            axes.barh(place, row[column] - value, 0.66, left=value, color=colour, label=name)
            if abs(np.log(row[column] / value)) > NAMED * np.log(shown[[low, high]].max(axis=None) / value):
                said = f"{row[column]:.3g}" if middle == "ratio" else format_si(row[column], "J")
                right = row[column] > value
                axes.annotate(said, (row[column], place), (3 if right else -3, 0), textcoords="offset points",
                              va="center", ha="left" if right else "right", fontsize=8, path_effects=CLEAR)  # fmt: skip
    axes.axvline(value, color=INK, linewidth=0.9)
    axes.set_yticks(range(len(shown)), [f"{row.key}\n{_interval(row)}" for row in shown.itertuples()], fontsize=8)
    axes.margins(x=0.3 if on_paper() else 0.17)
    log_axis(axes.xaxis)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(RoundNumbers())
    axes.grid(axis="x")


def _interval(row: object) -> str:
    unit, ends = row.unit, (row.low, row.high)  # type: ignore[attr-defined]
    if unit == "m^2":
        return f"{1e12 * ends[0]:.3g} to {1e12 * ends[1]:.3g} µm²"
    if unit in PREFIXED:
        return " to ".join(format_si(float(end), unit) for end in ends).replace("^2", "²")
    return f"{ends[0]:.3g} to {ends[1]:.3g} {unit if unit != '1' else ''}".rstrip()
