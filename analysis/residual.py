"""Do the states settle? Largest state change per tick in the free and the nudge phases, and who still moves."""

from __future__ import annotations

from itertools import zip_longest

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, PercentFormatter

from neurosim_ep.analysis.load import Run
from neurosim_ep.analysis.scales import log_axis
from neurosim_ep.analysis.style import FAINT, INK, PALETTE, PHASES, canvas, legend_columns, log_floor, tick_axis

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
            rows = frame[frame["phase"] == phase]
            if first != last:
                early = rows[rows["epoch"] == first]
                axes.plot(
                    "tick", "mean_residual", data=early, color=COLOURS[phase], linewidth=1.0, linestyle=EARLY,
                    alpha=0.8, marker=_marker(early), markersize=3,
                )  # fmt: skip
            _draw_phase(axes, rows[rows["epoch"] == last], COLOURS[phase])
        _draw_work(below, frame[(frame["phase"].isin(phases)) & (frame["epoch"] == last)])
    panels[0].set_ylim(floor, 1.5 * max(frame[measures].max(axis=None), tolerance))
    panels[0].set_ylabel("largest change of a state\nin a tick  (state units)")
    work[0].set_ylabel("samples\ncomputed")

    colours = [Line2D([], [], color=COLOURS[phase], label=PHASES[phase]) for phase in present]
    dashes = [
        Line2D([], [], color=INK, label="mean of samples"),
        Line2D([], [], color=INK, linestyle="--", linewidth=1.2, label="largest of all samples"),
    ]
    if first != last:
        dashes.append(Line2D([], [], color=INK, linewidth=1.0, linestyle=EARLY, label=f"mean at epoch {first}"))
    if tolerance > 0:
        dashes.append(Line2D([], [], color=INK, linewidth=1, linestyle=":", label=f"at rest: below {tolerance:g}"))
        panels[0].axhline(tolerance, color=INK, linewidth=1, linestyle=":")
    columns = zip_longest(colours, dashes)
    figure.legend(
        handles=[line for column in columns for line in column if line],
        loc="outside lower center",
        ncols=legend_columns(figure, max(len(colours), len(dashes))),
    )
    return figure


def _draw_phase(axes: Axes, rows: pd.DataFrame, colour: str) -> None:
    ticks, mean, worst = rows["tick"], rows["mean_residual"], rows["max_residual"]
    axes.plot(ticks, mean, color=colour, marker=_marker(rows))
    axes.plot(ticks, worst, color=colour, linestyle="--", linewidth=1.2, marker=_marker(rows), fillstyle="none")
    axes.fill_between(ticks, mean, worst, color=colour, alpha=0.08, linewidth=0)


def _marker(rows: pd.DataFrame) -> str | None:
    """A phase of one tick has no line."""
    return "o" if len(rows) == 1 else None


def _draw_work(axes: Axes, rows: pd.DataFrame) -> None:
    """Share of the samples computed in each tick; phases that run side by side share it."""
    share = rows.drop_duplicates("tick")
    ticks, active = share["tick"].to_numpy(), share["active"].to_numpy()
    edges, height = np.append(ticks - 0.5, ticks[-1:] + 0.5), np.append(active, active[-1:])
    axes.fill_between(edges, 0, height, color=FAINT, alpha=0.5, linewidth=0, step="post")
    axes.set_ylim(0, 1.05)
    axes.yaxis.set_major_locator(FixedLocator([0, 0.5, 1]))
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
