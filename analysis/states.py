"""Are the layers alive? Mean absolute state of every layer, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from neurosim_ep.analysis.groups import Group, mean_table
from neurosim_ep.analysis.load import Run
from neurosim_ep.analysis.style import SEQUENTIAL, canvas, epoch_axis

CELLS_WITH_NUMBERS = 16
PANELS_PER_ROW = 3


class Measure(NamedTuple):
    """A column of layers.csv as a picture: title, what it is, and the label of its colours."""

    title: str
    meaning: str
    unit: str


MEASURES = {
    "mean_abs_state": Measure(
        "State of every layer over training",
        "Mean |s| over neurons and samples at the end of the free phase. A row at 0 is a dead layer.",
        "mean |s| (state units)",
    ),
    "std_across_samples": Measure(
        "Do the states depend on the input?",
        "Deviation of s across samples, mean over neurons, end of the free phase. A row at 0 ignores the input.",
        "deviation of s (state units)",
    ),
}


def draw(run: Run) -> Figure:
    """Heat map of mean |s| at the end of the free phase, layer by epoch."""
    measure, grid = MEASURES["mean_abs_state"], run.layers("mean_abs_state")
    figure = canvas(measure.title, run.label, measure.meaning, height=max(3.4, 2.1 + 0.3 * len(grid)))
    axes = figure.add_subplot()
    image = _heat_map(axes, grid, float(grid.to_numpy().max()), CELLS_WITH_NUMBERS)
    figure.colorbar(image, ax=axes, label=measure.unit, pad=0.015)
    axes.set_ylabel("layer (input side on top)")
    return figure


def compare(groups: Sequence[Group], column: str) -> Figure:
    """Heat maps of a ``column`` of :data:`MEASURES`, a panel per scenario, seeds as their mean, one colour scale
    (arXiv 2508.15989, Fig 5).
    """
    measure = MEASURES[column]
    grids = [mean_table([run.layers(column) for run in group.runs]) for group in groups]
    columns = 2 if len(groups) == 4 else min(PANELS_PER_ROW, len(groups))
    rows = math.ceil(len(groups) / columns)
    seeds = max(len(group.runs) for group in groups)
    same = "The same colour is the same value in every panel." if len(groups) > 1 else f"{groups[0].name}."
    figure = canvas(
        measure.title,
        same + (f" Means of up to {seeds} seeds." if seeds > 1 else ""),
        measure.meaning,
        width=max(8.5, 1.2 + 4.2 * columns),
        height=1.4 + rows * max(2.2, 0.9 + 0.27 * max(map(len, grids))),
    )
    panels = figure.subplots(rows, columns, squeeze=False)
    largest = max(float(grid.to_numpy().max()) for grid in grids)
    for axes, group, grid in zip(panels.flat, groups, grids, strict=False):
        image = _heat_map(axes, grid, largest, CELLS_WITH_NUMBERS // columns)
        axes.set_title(group.heading)
    for axes in panels.flat[len(groups) :]:
        axes.set_axis_off()
    for axes in panels[:, 0]:
        axes.set_ylabel("layer (input side on top)")
    figure.colorbar(image, ax=panels, label=measure.unit, pad=0.015, aspect=30)
    return figure


def told(value: float) -> str:
    """A value of a heat map: two digits, and small ones by their power of ten, as only 0 is shown as 0."""
    return f"{value:.2f}" if value >= 0.01 or value == 0 else f"{value:.0e}".replace("e-0", "e-")


def _heat_map(axes: Axes, grid: pd.DataFrame, largest: float, numbers: int) -> AxesImage:
    """Layers by epochs in colours from 0 to ``largest``; with their values where epochs are at most ``numbers``."""
    values, epochs = grid.to_numpy(), [int(epoch) for epoch in grid.columns]
    extent = (epochs[0] - 0.5, epochs[-1] + 0.5, len(values) - 0.5, -0.5)
    image = axes.imshow(
        values, cmap=SEQUENTIAL, vmin=0.0, vmax=largest or None, aspect="auto", interpolation="nearest", extent=extent
    )
    axes.set_yticks(range(len(values)), grid.index.get_level_values("name").tolist())
    epoch_axis(axes, numbers)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    if len(epochs) <= numbers:
        for (row, column), value in np.ndenumerate(values):
            ink = "white" if value < 0.6 * largest else "black"
            axes.text(epochs[column], row, told(float(value)), ha="center", va="center", color=ink, fontsize=8)
    return image
