"""Are the weight changes of EP gradients? Its updates against those of BPTT, from the folder of a gradient check."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from neurosim_ep.analysis.load import Run
from neurosim_ep.analysis.scales import log_axis
from neurosim_ep.analysis.style import (
    INK,
    PALETTE,
    SCREEN,
    WIDE,
    Output,
    canvas,
    layer_axis,
    legend_columns,
    save,
    tick_axis,
)

LOOKS = {
    "right": (PALETTE[1], "^", "EP, right (+β)"),
    "left": (PALETTE[2], "v", "EP, left (−β)"),
    "symmetric": (PALETTE[0], "o", "EP, symmetric (mean of both)"),
}
MILLIONTH = 1e-6
NORMS = ["ep_norm", "bptt_norm"]


def draw_gdu(folder: Path, output: Output = SCREEN) -> list[Path]:
    """Draw ``plots/gdu`` and ``plots/gdu_synapses`` of the check in ``folder``; returns the files written, as
    ``output`` has them.
    """
    about = json.loads((folder / "gdu.json").read_text(encoding="utf-8"))
    run = Run(folder, about["name"], {}, {})
    label = (
        f"{about['name']}: {about['samples']} images, T = {about['free_steps']}, K = {about['nudge_steps']}, "
        f"β = {about['beta']:g}, after {about['epochs_trained']} epochs"
        + ("" if about["at_rest"] else ". FREE STATES NOT AT REST: the comparison does not hold")
    )
    return [
        *save(lambda: draw_norms(run, label), folder / "plots" / "gdu", output),
        *save(lambda: draw_synapses(run, label), folder / "plots" / "gdu_synapses", output),
    ]


def draw_norms(run: Run, label: str) -> Figure:
    """Norm of every layer's update in each tick, EP and BPTT, on log scales; last, the relative RMSE of every layer."""
    ticks = run.table("gdu.csv", ("tick", "layer", "name", "side", "ep_norm", "bptt_norm"))
    layers = run.table("gdu_layers.csv", ("layer", "name", "side", "at_rest"))
    names, moving = list(dict.fromkeys(layers["name"])), set(layers.loc[~layers["at_rest"], "name"])
    floors = ticks["name"].map(ticks.groupby("name")[NORMS].max().max(axis=1)) * MILLIONTH
    clipped = ticks[NORMS].lt(floors, axis=0).any(axis=None)
    figure, panels = _panels(
        "Weight updates of EP against BPTT, tick by tick",
        label,
        "Norm of a layer's update in nudge tick t (EP) and of its gradient t ticks before T (BPTT). "
        + ("Lower edge: a millionth of the largest, or less." if clipped else ""),
        len(names) + 1,
    )
    for name, axes in zip(names, panels, strict=False):
        mine = ticks[ticks["name"] == name]
        floor = float(floors[mine.index[0]]) or 1.0
        for side, (colour, marker, _) in LOOKS.items():
            rows = mine[mine["side"] == side]
            axes.plot(
                rows["tick"],
                np.maximum(rows["ep_norm"], floor),
                color=colour,
                marker=marker,
                linewidth=0.8,
                markersize=4,
            )
        axes.plot(rows["tick"], np.maximum(rows["bptt_norm"], floor), color=INK, linewidth=1.4, zorder=3)
        log_axis(axes.yaxis)
        axes.grid(axis="y")
        axes.set_title(f"{name}: not at rest" if name in moving else name)
        tick_axis(axes)
        axes.set_xlabel("tick t")
    _draw_errors(panels[len(names)], layers, names)
    for axes in panels[: len(names) : _columns(len(panels))]:
        axes.set_ylabel("norm of the update")
    handles = [
        Line2D([], [], color=colour, marker=marker, linewidth=0.8, label=text)
        for colour, marker, text in LOOKS.values()
    ]
    handles.append(Line2D([], [], color=INK, label="BPTT"))
    figure.legend(handles=handles, loc="outside lower center", ncols=legend_columns(figure, 4))
    return figure


def _draw_errors(axes: Axes, layers: pd.DataFrame, names: list[str]) -> None:
    """Relative RMSE over all ticks and synapses, layer by layer."""
    for side, (colour, marker, _) in LOOKS.items():
        rows = layers[layers["side"] == side]
        axes.plot(
            [names.index(name) for name in rows["name"]],
            rows["relative_rmse"],
            color=colour,
            marker=marker,
            linewidth=0.8,
        )
    log_axis(axes.yaxis)
    axes.grid(axis="y")
    layer_axis(axes, names)
    for text in axes.get_xticklabels():
        text.set(rotation=40, ha="right", rotation_mode="anchor")
    axes.set_title("EP against BPTT, whole phase")
    axes.set_ylabel("relative RMSE (1: opposite)")


def draw_synapses(run: Run, label: str) -> Figure:
    """Updates of a few synapses of every layer, summed over the ticks: symmetric EP and BPTT."""
    table = run.table("gdu_synapses.csv", ("tick", "layer", "name", "side", "synapse", "ep", "bptt"))
    table = table[table["side"] == "symmetric"]
    names = list(dict.fromkeys(table["name"]))
    figure, panels = _panels(
        "Updates of single synapses, summed over the ticks",
        label,
        "Up to four synapses of each layer, chosen at random: above each panel their numbers, in their colours.",
        len(names),
    )
    for name, axes in zip(names, panels, strict=True):
        synapses = table[table["name"] == name].groupby("synapse")
        for place, ((synapse, rows), colour) in enumerate(zip(synapses, PALETTE, strict=False)):
            axes.annotate(f"{synapse}", (1 - 0.22 * (len(synapses) - 1 - place), 1.02), xycoords="axes fraction",
                          ha="right", fontsize=8, color=colour)  # fmt: skip
            axes.plot(rows["tick"], rows["ep"].cumsum(), color=colour, linewidth=3, alpha=0.45)
            axes.plot(rows["tick"], rows["bptt"].cumsum(), color=colour, linestyle="--", linewidth=1.2)
        axes.set_title(name)
        axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
        tick_axis(axes)
        axes.set_xlabel("tick t")
    for axes in panels[:: _columns(len(panels))]:
        axes.set_ylabel("summed update −dL/dw")
    handles = [
        Line2D([], [], color=INK, linewidth=3, alpha=0.45, label="EP, symmetric"),
        Line2D([], [], color=INK, linestyle="--", linewidth=1.2, label="BPTT"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=legend_columns(figure, 2))
    return figure


def _panels(title: str, label: str, explanation: str, count: int) -> tuple[Figure, list[Axes]]:
    """A figure with ``count`` panels."""
    columns = _columns(count)
    rows = math.ceil(count / columns)
    figure = canvas(title, label, explanation, width=max(WIDE, 3.1 * columns), height=1.5 + 2.4 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[count:]:
        axes.remove()
    return figure, list(grid[:count])


def _columns(count: int) -> int:
    """Panels side by side, of ``count``."""
    return 2 if count == 4 else min(count, 3 if count <= 6 else 4)
