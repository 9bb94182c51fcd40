"""How do two keys act together? Accuracy and cost as heat maps over both, seeds as their mean."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neurosim_ep.analysis.against import NARROW, Scale, title_of, widened
from neurosim_ep.analysis.load import NothingToDraw
from neurosim_ep.analysis.points import ACCURACY, QUANTITIES, STYLES, Points, spelled
from neurosim_ep.analysis.style import SEQUENTIAL, canvas, on_paper
from neurosim_ep.units import format_si

BROAD = 4
"""Columns from which on figures stand upright in them on paper."""


def draw(points: Points) -> Figure:
    """A panel for the test accuracy, and one for energy, latency and EP / BP in every style; each has its own colours.

    Raises :class:`NothingToDraw` unless exactly two keys vary, each choice of both being there at most once.
    """
    if len(points.keys) != 2 or points.others(points.keys[0]) != [points.keys[1]]:
        raise NothingToDraw("heat maps are drawn of sweeps in which two keys vary")
    means = points.means()
    if means.empty:
        raise NothingToDraw("heat maps are drawn of points that are done, and none is yet")
    panels = [(ACCURACY, "test accuracy")] if points.has(ACCURACY) else []
    for column, (title, _) in QUANTITIES.items():
        names = [(column.format(style=style), f"{title}, {style}") for style in STYLES]
        panels += [(name, label) for name, label in names if points.has(name)]
    across = 1 if len(panels) == 1 else 3
    first = len(panels) % 3  # the accuracy has a row of its own
    rows = math.ceil(len(panels) / across)
    both = f"{title_of(points.keys[0])} and {title_of(points.keys[1])}"
    figure = canvas(
        both[0].upper() + both[1:],
        points.name,
        "Per training image, mean of the recorded batches and of the seeds; bright is much. Colours of cost are "
        f"logarithmic, and span at least {NARROW:.0%}.",
        width=5.0 * across,
        height=1.2 + 2.8 * rows,
    )
    grid = figure.subplots(rows, across, squeeze=False)
    places = [*grid[0][:first], *grid[1 if first else 0 :].ravel()] if across > 1 else list(grid[0])
    for axes, (column, title) in zip(places, panels, strict=True):
        _draw_panel(axes, means, points.keys, column)
        axes.set_title(title)
    for axes in set(grid.ravel()) - set(places):
        axes.set_axis_off()
    return figure


def _draw_panel(axes: Axes, means: pd.DataFrame, keys: list[str], column: str) -> None:
    across, down = (Scale(key, means[key]) for key in keys)
    values = (
        means.pivot(index=keys[1], columns=keys[0], values=column).reindex(down.values)[across.values].to_numpy(float)
    )
    positive = np.nanmin(values) > 0 and column != ACCURACY
    shades = np.log10(values) if positive else values
    low, high = _colours(shades, logarithmic=positive)
    axes.imshow(shades, cmap=SEQUENTIAL, origin="lower", aspect="auto", vmin=low, vmax=high)
    turned = 90 if on_paper() and values.shape[1] > BROAD else 0
    for (row, place), value in np.ndenumerate(values):
        if np.isfinite(value):
            colour = "white" if shades[row, place] <= (low + high) / 2 else "black"
            axes.text(place, row, _told(value, column), ha="center", va="center", fontsize=8, color=colour,
                      rotation=turned)  # fmt: skip
    for scale, ticks, name in ((across, axes.set_xticks, axes.set_xlabel), (down, axes.set_yticks, axes.set_ylabel)):
        ticks(range(len(scale.values)), [spelled(value) for value in scale.values])
        name(title_of(scale.key))
    if not across.numeric and len(across.values) > 3:
        for text in axes.get_xticklabels():
            text.set(rotation=30, ha="right", rotation_mode="anchor")


def _colours(shades: np.ndarray, *, logarithmic: bool) -> tuple[float, float]:
    """Ends of the colours of these ``shades``, values or their logarithms, at least :data:`NARROW` apart."""
    low, high = float(np.nanmin(shades)), float(np.nanmax(shades))
    return widened(low, high, math.log10(1 + NARROW) if logarithmic else NARROW * abs(low + high) / 2)


def _told(value: float, column: str) -> str:
    if column == ACCURACY:
        return f"{value:.1%}"
    unit = column.rpartition("_")[2]
    return format_si(value, unit) if unit in ("J", "s") else f"{value:.3g}"
