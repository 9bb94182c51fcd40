"""Do the states settle? Largest state change per tick, in the free phase and in the nudge phases."""

from __future__ import annotations

from itertools import zip_longest

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from neurosim_ep.analysis.load import Run
from neurosim_ep.analysis.style import FAINT, INK, PALETTE, PHASES, canvas, log_floor, tick_axis

PANELS = {"free phase": ("free",), "nudging": ("nudge_plus", "nudge_minus")}
COLOURS = dict(zip(PHASES, PALETTE, strict=False))


def draw(run: Run) -> Figure:
    """Residual max |s(t) − s(t−1)| of a sample against the tick, on a log scale.

    Last epoch: mean and maximum over the samples of the sampled batches; first epoch: the mean. No change at
    all has no logarithm and lies on the lower edge.
    """
    frame = run.table("residual.csv", ("epoch", "phase", "tick", "mean_residual", "max_residual"))
    first, last = int(frame["epoch"].min()), int(frame["epoch"].max())
    present = [phase for phase in PHASES if phase in set(frame["phase"])]
    measures = ["mean_residual", "max_residual"]
    tolerance = run.setting("relaxation", "tolerance")
    floor = log_floor(np.append(frame[measures], tolerance))
    frame[measures] = np.maximum(frame[measures], floor)
    figure = canvas(
        "How the states settle",
        run.label,
        f"Largest change of any state of a sample in one tick. Sampled batches of epoch {last}. Lower edge: 0.",
    )
    panels = figure.subplots(1, len(PANELS), sharey=True, width_ratios=(3, 2))
    for axes, (title, phases) in zip(panels, PANELS.items(), strict=True):
        axes.set_yscale("log")
        axes.grid(axis="y")
        axes.set_title(title)
        tick_axis(axes)
        for phase in phases:
            rows = frame[frame["phase"] == phase]
            if first != last:
                early = rows[rows["epoch"] == first]
                axes.plot("tick", "mean_residual", data=early, color=FAINT, linewidth=1.4)
            _draw_phase(axes, rows[rows["epoch"] == last], COLOURS[phase])
    panels[0].set_ylim(floor, 1.5 * max(frame[measures].max(axis=None), tolerance))
    panels[0].set_ylabel("residual  max |s(t) − s(t−1)|  (state units)")

    colours = [Line2D([], [], color=COLOURS[phase], label=PHASES[phase]) for phase in present]
    dashes = [
        Line2D([], [], color=INK, label="mean of samples"),
        Line2D([], [], color=INK, linestyle="--", linewidth=1.2, label="largest of all samples"),
    ]
    if first != last:
        dashes.append(Line2D([], [], color=FAINT, linewidth=1.4, label=f"mean at epoch {first}"))
    if tolerance > 0:
        dashes.append(Line2D([], [], color=INK, linewidth=1, linestyle=":", label=f"settled: below {tolerance:g}"))
        for axes in panels:
            axes.axhline(tolerance, color=INK, linewidth=1, linestyle=":")
    columns = zip_longest(colours, dashes)
    figure.legend(
        handles=[line for column in columns for line in column if line],
        loc="outside lower center",
        ncols=max(len(colours), len(dashes)),
    )
    return figure


def _draw_phase(axes: Axes, rows: pd.DataFrame, colour: str) -> None:
    ticks, mean, worst = rows["tick"], rows["mean_residual"], rows["max_residual"]
    axes.plot(ticks, mean, color=colour)
    axes.plot(ticks, worst, color=colour, linestyle="--", linewidth=1.2)
    axes.fill_between(ticks, mean, worst, color=colour, alpha=0.08, linewidth=0)
