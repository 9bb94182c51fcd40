"""Are the layers alive? Mean absolute state of every layer, epoch by epoch."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from neurosim_ep.analysis.load import Run
from neurosim_ep.analysis.style import SEQUENTIAL, canvas

CELLS_WITH_NUMBERS = 16


def draw(run: Run) -> Figure:
    """Heat map of mean |s| at the end of the free phase, layer by epoch."""
    frame = run.table("layers.csv", ("epoch", "layer", "name", "mean_abs_state"))
    names = frame.drop_duplicates("layer").sort_values("layer")["name"].tolist()
    grid = frame.pivot(index="layer", columns="epoch", values="mean_abs_state")
    values, epochs = grid.to_numpy(), [int(epoch) for epoch in grid.columns]
    extent = (epochs[0] - 0.5, epochs[-1] + 0.5, len(names) - 0.5, -0.5)

    figure = canvas(
        "State of every layer over training",
        run.label,
        "Mean |s| over neurons and samples at the end of the free phase. A row at 0 is a dead layer.",
        height=max(3.4, 2.1 + 0.3 * len(names)),
    )
    axes = figure.add_subplot()
    image = axes.imshow(values, cmap=SEQUENTIAL, vmin=0.0, aspect="auto", interpolation="nearest", extent=extent)
    figure.colorbar(image, ax=axes, label="mean |s| (state units)", pad=0.015)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylabel("layer (input side on top)")
    axes.xaxis.set_major_locator(MaxNLocator(CELLS_WITH_NUMBERS, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    axes.set_xlabel("epoch")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    if len(epochs) <= CELLS_WITH_NUMBERS:
        for (row, column), value in np.ndenumerate(values):
            ink = "white" if value < 0.6 * values.max() else "black"
            axes.text(epochs[column], row, f"{value:.2f}", ha="center", va="center", color=ink, fontsize=8)
    return figure
