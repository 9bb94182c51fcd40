"""How full are the tiles, and how busy their lines? Cells and lines of every layer's tiles."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from neurosim_ep.analysis.load import Run
from neurosim_ep.analysis.style import FAINT, INK, PALETTE, canvas, layer_axis, legend_columns, on_paper

DIRECTIONS = {"forward": ("read forwards (rows)", PALETTE[0]), "transposed": ("read backwards (columns)", PALETTE[1])}

SPREAD = 0.62
"""Width in which the tiles of a layer stand side by side, in order of their numbers."""


def draw(run: Run) -> Figure:
    """Share of the cells of each tile that hold weights, with the mean of each layer and the number of its tiles;
    below, of the lines driven in a read the mean share that was not zero, in both directions.
    """
    columns = (
        "tile",
        "layer",
        "name",
        "rows",
        "columns",
        "utilisation",
        "direction",
        "accounting",
        "reads",
        "active_lines",
    )
    frame = run.table("tiles.csv", columns)
    tiles = frame.drop_duplicates("tile")
    names = tiles.sort_values("layer")["name"].drop_duplicates().tolist()
    places = tiles["name"].map(names.index).to_numpy()
    figure = canvas(
        "How the tiles are used",
        run.label,
        "Above: cells that hold weights; the others are empty. Below: lines whose input is not zero, of those driven; "
        "no bar: not read so.",
        height=6.6,
    )
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    means = tiles.groupby("name")["utilisation"].mean().reindex(names)
    upper.bar(range(len(names)), means, 0.7, color="#D5E4EF", label="mean of the layer's tiles")
    in_layer = tiles.groupby("name")["tile"]
    aside = SPREAD * ((in_layer.rank() - 0.5) / in_layer.transform("size") - 0.5)
    upper.plot(places + aside, tiles["utilisation"], "o", color=PALETTE[0], markersize=3.5, label="a tile", alpha=0.7)
    worded = len(names) < (8 if on_paper() else 15)
    for place, count in enumerate(tiles["name"].value_counts().reindex(names)):
        upper.annotate(
            f"{count} tile{'s' * (count > 1)}" if worded else str(count),
            (place, 1.07),
            ha="center",
            fontsize=8,
        )
    upper.set_ylim(0, 1.16)
    upper.set_ylabel("cells used" if worded else "cells used (above: tiles)")
    for number, (direction, (label, colour)) in enumerate(DIRECTIONS.items()):
        shares = _active(frame, direction).reindex(names)
        lower.bar(np.arange(len(names)) + 0.36 * (number - 0.5), shares, 0.34, color=colour, label=label)
    lower.set_ylim(0, 1.02)
    lower.set_ylabel("lines not zero")
    if not frame["reads"].any():
        lower.annotate("no batch recorded yet", (0.5, 0.5), xycoords="axes fraction", ha="center", color=INK)
    lower.axhline(0, color=FAINT, linewidth=0.8)
    for axes in (upper, lower):
        axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
        axes.grid(axis="y")
        layer_axis(axes, names)
    lower.set_xlabel("layer (input side on the left)")
    handles = [*upper.get_legend_handles_labels()[0], *lower.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside lower center", ncols=legend_columns(figure, 4))
    return figure


def _active(frame: pd.DataFrame, direction: str) -> pd.Series:
    """Of the lines driven in all clocked reads of a direction the share that was not zero, by name of the layer."""
    rows = frame[(frame["direction"] == direction) & (frame["accounting"] == "clocked")]
    driven = rows["reads"] * rows["rows" if direction == "forward" else "columns"]
    sums = pd.DataFrame({"name": rows["name"], "active": rows["active_lines"], "driven": driven}).groupby("name").sum()
    return (sums["active"] / sums["driven"].where(sums["driven"] > 0)).astype(float)
