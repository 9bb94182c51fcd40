"""Do the errors reach the first layers? Mean absolute weight gradient of every layer (the U-curve)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from neurosim_ep.analysis.groups import Group, mean_table
from neurosim_ep.analysis.scales import log_axis, log_line
from neurosim_ep.analysis.style import INK, canvas, layer_axis, legend_columns, look, on_paper

RATIO = "smallest / largest mean |dW|"
EPOCH_LINES: dict[str, tuple[Any, float]] = {"last": ("-", 1.0), "middle": ("--", 0.65), "first": (":", 0.65)}


def draw(groups: Sequence[Group]) -> Figure:
    """Mean |dW| per layer at the first, middle and last epoch on a log scale, all ``groups`` in one picture.

    Seeds of a scenario are one curve, their mean, at the last epoch in a band from the smallest to the largest. More
    than two curves are drawn without the middle epoch.
    Colour and marker tell the runs apart, the dash tells the epoch. The upper legend states, for every run, the
    smallest of the layers' values over the largest. A gradient of exactly zero has no logarithm: it is a cross
    on the lower edge.
    """
    seeds = [[run.layers("mean_abs_dW") for run in group.runs] for group in groups]
    tables = [mean_table(of_group) for of_group in seeds]
    if len(groups) > 2:
        tables = [table[sorted({table.columns[0], table.columns[-1]})] for table in tables]
    figure = canvas(
        "Weight gradient of every layer" + (f": {len(groups)} runs compared" if len(groups) > 1 else ""),
        groups[0].described
        if len(groups) == 1
        else "A colour for each run, a dash for each epoch (where runs differ in it, in their order).",
        "A level curve: errors reach every layer. A valley, or decades less on the input side: they vanish on the way."
        + (
            " Beside the names: smallest over largest of the layers at the last epoch, readout aside."
            if on_paper()
            else ""
        ),
        height=5.4 + 0.2 * len(groups),
    )
    axes = figure.add_subplot()
    log_axis(axes.yaxis)
    axes.grid(axis="y")
    layers = _layers(tables)
    for index, (table, of_group) in enumerate(zip(tables, seeds, strict=True)):
        _draw_run(axes, table, layers, *look(index))
        if len(of_group) > 1:
            _draw_band(axes, of_group, int(table.columns[-1]), layers, look(index)[0])
    _widen(axes)
    layer_axis(axes, layers)
    axes.set_xlabel("layer (input side on the left)")
    axes.set_ylabel("mean |dW|  (weight gradient, batch mean)")
    size = None if on_paper() else 10.5
    axes.legend(
        handles=_run_legend(tables, groups), loc="lower left", bbox_to_anchor=(0, 1), fontsize=size, alignment="left",
        title=RATIO if on_paper() else f"{RATIO} of the layers at the last epoch, readout aside:", title_fontsize=size,
    )  # fmt: skip
    figure.legend(handles=_line_legend(tables), loc="outside lower center", ncols=legend_columns(figure, 4))
    return figure


def _chosen_epochs(table: pd.DataFrame) -> dict[str, int]:
    """The last, middle and first epoch, each one once."""
    epochs = [int(epoch) for epoch in table.columns]
    chosen = {"last": epochs[-1]}
    if len(epochs) > 2:
        chosen["middle"] = epochs[len(epochs) // 2]
    if len(epochs) > 1:
        chosen["first"] = epochs[0]
    return chosen


def _layers(tables: Sequence[pd.DataFrame]) -> list[str]:
    """The names of the deepest run, then those that only other runs have."""
    names = [table.index.get_level_values("name") for table in sorted(tables, key=len, reverse=True)]
    return list(dict.fromkeys(chain.from_iterable(names)))


def _draw_run(axes: Axes, table: pd.DataFrame, layers: Sequence[str], colour: str, marker: str) -> None:
    places = np.array([layers.index(name) for name in table.index.get_level_values("name")])
    for which, epoch in _chosen_epochs(table).items():
        dash, opacity = EPOCH_LINES[which]
        values = table[epoch].to_numpy()
        log_line(axes, places, values, color=colour, marker=marker, linestyle=dash, alpha=opacity)


def _draw_band(axes: Axes, tables: Sequence[pd.DataFrame], epoch: int, layers: Sequence[str], colour: str) -> None:
    """From the smallest to the largest of the seeds at an ``epoch``."""
    values = pd.concat([table[epoch].where(table[epoch] > 0) for table in tables], axis=1)
    places = [layers.index(name) for name in values.index.get_level_values("name")]
    axes.fill_between(places, values.min(axis=1), values.max(axis=1), color=colour, alpha=0.14, linewidth=0)


def _widen(axes: Axes) -> None:
    """Show at least three decades, so that a level curve looks level."""
    low, high = np.log10(axes.get_ylim())
    margin = max(0.0, 3.0 - (high - low)) / 2
    axes.set_ylim(10 ** (low - margin), 10 ** (high + margin))


def _run_legend(tables: Sequence[pd.DataFrame], groups: Sequence[Group]) -> list[Line2D]:
    """What each colour is, and how far the gradients of that run lie apart at its last epoch."""
    handles = []
    for index, (group, table) in enumerate(zip(groups, tables, strict=True)):
        last = table.drop(index="readout", level="name", errors="ignore").iloc[:, -1]
        ratio = last.min() / last.max() if last.any() else 0.0
        text = f"{group.label}, epoch {table.columns[-1]}: {ratio:.1e}"
        colour, marker = look(index)
        handles.append(Line2D([], [], color=colour, marker=marker, label=text))
    return handles


def _line_legend(tables: Sequence[pd.DataFrame]) -> list[Line2D]:
    """What each dash is."""
    handles = [
        Line2D([], [], color=INK, linestyle=EPOCH_LINES[which][0], label=_epochs(which, tables))
        for which in ("first", "middle", "last")
        if any(which in _chosen_epochs(table) for table in tables)
    ]
    if any((table[list(_chosen_epochs(table).values())] == 0).any(axis=None) for table in tables):
        handles.append(Line2D([], [], color=INK, marker="x", linestyle="", label="exactly zero (lower edge)"))
    return handles


def _epochs(which: str, tables: Sequence[pd.DataFrame]) -> str:
    """The label "last epoch (20)", or "last epoch (20 / 30)", in the order of the runs, when they differ."""
    numbers = [str(_chosen_epochs(table).get(which, "–")) for table in tables]
    return f"{which} epoch ({' / '.join(numbers if len(set(numbers)) > 1 else numbers[:1])})"
