"""Do the states settle? Largest state change per tick in the free and the nudge phases, and who still moves."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, PercentFormatter

from neurosim_ep.analysis.load import Run
from neurosim_ep.analysis.scales import log_axis
from neurosim_ep.analysis.style import (
    FAINT,
    INK,
    PALETTE,
    PHASES,
    canvas,
    covered,
    legend_columns,
    log_floor,
    tick_axis,
)

PANELS = {"free phase": ("free",), "nudging": ("nudge_plus", "nudge_minus")}
COLOURS = dict(zip(PHASES, PALETTE, strict=False))
EARLY = (0, (5, 1, 1, 1, 1, 1))
"""The dash of the first epoch."""


def draw(run: Run) -> Figure:
    """Residual max |s(t) − s(t−1)| of a sample against the tick, on a log scale, above the share of samples computed.

    Last epoch: mean and maximum over the samples of the sampled batches; first epoch: the mean. No change at
    all has no logarithm and lies on the lower edge.
    """
    frame = run.table("residual.csv", ("epoch", "phase", "tick", "mean_residual", "max_residual", "active"))
    first, last = int(frame["epoch"].min()), int(frame["epoch"].max())
    present = [phase for phase in PHASES if phase in set(frame["phase"])]
    measures = ["mean_residual", "max_residual"]
    tolerance = run.setting("relaxation", "tolerance")
    floor = log_floor(np.append(frame[measures], tolerance))
    frame[measures] = np.maximum(frame[measures], floor)
    figure = canvas(
        "How the states settle",
        run.label,
        f"A falling line comes to rest, a level one does not. Below: share of the samples that still move and are "
        f"computed. Epoch {last}.",
        height=5.6,
    )
    panels, work = figure.subplots(
        2, len(PANELS), sharex="col", sharey="row", width_ratios=(3, 2), height_ratios=(4, 1)
    )
    for axes, below, (title, phases) in zip(panels, work, PANELS.items(), strict=True):
        log_axis(axes.yaxis)
        axes.grid(axis="y")
        axes.set_title(title)
        tick_axis(below)
        for phase in phases:
            rows, broad = frame[frame["phase"] == phase], _broad(phase, present)
            if first != last:
                _draw(axes, rows[rows["epoch"] == first], "mean_residual", _look("early", COLOURS[phase], broad))
            _draw_phase(axes, rows[rows["epoch"] == last], COLOURS[phase], broad)
        _draw_work(below, frame[(frame["phase"].isin(phases)) & (frame["epoch"] == last)])
    panels[0].set_ylim(floor, 1.5 * max(frame[measures].max(axis=None), tolerance))
    unit = "sweep" if run.setting("scheduler", "policy") == "sweep" else "tick"
    panels[0].set_ylabel(f"largest change of a state\nin a {unit}  (state units)")
    for below in work:
        below.set_xlabel(f"{unit} of the phase")
    work[0].set_ylabel("samples\ncomputed")

    if tolerance > 0:
        panels[0].axhline(tolerance, color=INK, linewidth=1, linestyle=":")
    colours = [
        Line2D([], [], label=PHASES[phase], **_look("mean", COLOURS[phase], _broad(phase, present)))
        for phase in present
    ]
    dots = bool((frame.groupby(["epoch", "phase"])["tick"].nunique() == 1).any())
    dashes = _dashes(first if first != last else None, tolerance, dots)
    most = max(len(colours), len(dashes))
    columns = legend_columns(figure, most)
    in_rows = [line for column in zip_longest(colours, dashes) for line in column if line]
    figure.legend(
        handles=in_rows if columns == most else [*colours, *dashes], loc="outside lower center", ncols=columns
    )
    return figure


def _dashes(first: int | None, tolerance: float, dots: bool) -> list[Line2D]:
    """What each dash is, and, where a phase has one tick, each dot; ``first`` is an epoch that is not the last."""
    named = {"mean": "mean of samples", "largest": "largest of all samples"}
    if first is not None:
        named["early"] = f"mean at epoch {first}"
    marker = "o" if dots else None
    lines = [Line2D([], [], label=text, marker=marker, **_look(which, INK)) for which, text in named.items()]
    if tolerance > 0:
        lines.append(Line2D([], [], color=INK, linewidth=1, linestyle=":", label=f"at rest: below {tolerance:g}"))
    return lines


def _broad(phase: str, present: Sequence[str]) -> bool:
    """Whether ``phase`` is drawn below the other of its panel, which goes nearly the same way."""
    return phase == "nudge_plus" and "nudge_minus" in present


def _look(which: str, colour: str, broad: bool = False) -> dict[str, Any]:
    """Line and dot of the mean, the largest or the early mean of a phase."""
    looks: dict[str, dict[str, Any]] = {
        "mean": {"linewidth": 1.8, "markersize": 5.0},
        "largest": {"linewidth": 1.2, "markersize": 5.0, "linestyle": "--", "fillstyle": "none"},
        "early": {"linewidth": 1.0, "markersize": 3.0, "linestyle": EARLY, "alpha": 0.8},
    }
    look = looks[which] | {"color": colour}
    return covered(look) if broad else look


def _draw_phase(axes: Axes, rows: pd.DataFrame, colour: str, broad: bool) -> None:
    _draw(axes, rows, "mean_residual", _look("mean", colour, broad))
    _draw(axes, rows, "max_residual", _look("largest", colour, broad))
    axes.fill_between(rows["tick"], rows["mean_residual"], rows["max_residual"], color=colour, alpha=0.08, linewidth=0)


def _draw(axes: Axes, rows: pd.DataFrame, column: str, look: dict[str, Any]) -> None:
    """A line, or of a phase of one tick a dot."""
    axes.plot(rows["tick"], rows[column], marker="o" if len(rows) == 1 else None, **look)


def _draw_work(axes: Axes, rows: pd.DataFrame) -> None:
    """Share of the samples computed in each tick; phases that run side by side share it."""
    share = rows.drop_duplicates("tick")
    ticks, active = share["tick"].to_numpy(), share["active"].to_numpy()
    edges, height = np.append(ticks - 0.5, ticks[-1:] + 0.5), np.append(active, active[-1:])
    axes.fill_between(edges, 0, height, color=FAINT, alpha=0.5, linewidth=0, step="post")
    axes.set_ylim(0, 1.05)
    axes.yaxis.set_major_locator(FixedLocator([0, 0.5, 1]))
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
