"""Do the states settle? Largest state change per tick, in the free phase and in the nudge phases."""

from __future__ import annotations

from itertools import zip_longest

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from neurosim_ep.analysis.load import Run
from neurosim_ep.analysis.style import FAINT, INK, PALETTE, canvas

PANELS = {"free phase": ("free",), "nudge phases": ("nudge_plus", "nudge_minus")}
NAMES = {"free": "free", "nudge_plus": "nudge +β", "nudge_minus": "nudge −β"}
COLOURS = dict(zip(NAMES, PALETTE, strict=False))


def draw(run: Run) -> Figure:
    """Residual max |s(t) − s(t−1)| of a sample against the tick, on a log scale.

    Last epoch: mean and maximum over the samples of the recorded batches; first epoch: the mean.
    """
    frame = run.table("residual.csv", ("epoch", "phase", "tick", "mean_residual", "max_residual"))
    first, last = int(frame["epoch"].min()), int(frame["epoch"].max())
    figure = canvas(
        "How the states settle",
        run.label,
        f"Largest change of any state of a sample in one tick. Recorded batches of epoch {last}.",
    )
    panels = figure.subplots(1, len(PANELS), sharey=True, width_ratios=(3, 2))
    for axes, (title, phases) in zip(panels, PANELS.items(), strict=True):
        axes.set_yscale("log", nonpositive="mask")
        axes.grid(axis="y")
        axes.set_title(title)
        axes.set_xlabel("tick of the phase")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        for phase in phases:
            rows = frame[frame["phase"] == phase]
            if first != last:
                early = rows[rows["epoch"] == first]
                axes.plot("tick", "mean_residual", data=early, color=FAINT, linewidth=1.4)
            _draw_phase(axes, rows[rows["epoch"] == last], COLOURS[phase])
    panels[0].set_ylabel("residual  max |s(t) − s(t−1)|  (state units)")

    colours = [Line2D([], [], color=COLOURS[phase], label=name) for phase, name in NAMES.items()]
    dashes = [
        Line2D([], [], color=INK, label="mean of samples"),
        Line2D([], [], color=INK, linestyle="--", linewidth=1.2, label="slowest sample"),
    ]
    if first != last:
        dashes.append(Line2D([], [], color=FAINT, linewidth=1.4, label=f"mean at epoch {first}"))
    tolerance = run.setting("relaxation", "tolerance")
    if tolerance > 0:
        dashes.append(Line2D([], [], color=INK, linewidth=1, linestyle=":", label=f"settled: below {tolerance:g}"))
        for axes in panels:
            axes.axhline(tolerance, color=INK, linewidth=1, linestyle=":")
    columns = zip_longest(colours, dashes)
    figure.legend(
        handles=[line for column in columns for line in column if line],
        loc="outside lower center",
        ncols=len(dashes),
    )
    return figure


def _draw_phase(axes: Axes, rows: pd.DataFrame, colour: str) -> None:
    ticks, mean, worst = rows["tick"], rows["mean_residual"], rows["max_residual"]
    axes.plot(ticks, mean, color=colour)
    axes.plot(ticks, worst, color=colour, linestyle="--", linewidth=1.2)
    axes.fill_between(ticks, mean, worst, color=colour, alpha=0.08, linewidth=0)
