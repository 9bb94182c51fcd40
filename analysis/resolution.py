"""Can converters tell the two nudge phases apart? Conversion steps against the nudge signal, and clipped results."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from neurosim_ep.analysis.load import DoesNotConcern, Run
from neurosim_ep.analysis.scales import log_axis
from neurosim_ep.analysis.style import FAINT, INK, PALETTE, WIDE, canvas, layer_axis, legend_columns, log_floor

RESOLVED = 0.5
"""A nudge signal below this part of a step is rounded away in most states; the warning of a run has the same rule."""
NUDGE = "mean_abs_nudge_difference"
HIDING = "adc_step_nudge"
READS = {"forward": ("forward read", PALETTE[1], "s"), "transposed": ("transposed read", PALETTE[2], "^")}
STEPS = [f"adc_step_{direction}" for direction in READS]
CLIPPED = [f"clipped_{direction}" for direction in READS]


def draw(run: Run) -> Figure:
    """Conversion step and mean nudge signal of every layer, and the share of clipped conversions, last epoch.

    Raises :class:`DoesNotConcern` for tiles whose reads are not converted.
    """
    if not run.hardware("converters", "adc_bits", 0):
        raise DoesNotConcern(f"{run.path}: the tiles have no converters; hardware.converters.adc_bits is 0")
    if not run.nudges:
        raise DoesNotConcern(f"{run.path}: rule = {run.rule} has no nudge phases")
    frame = run.table("layers.csv", ("epoch", "layer", "name", NUDGE, STEPS[0], CLIPPED[0]), unique=("epoch", "layer"))
    frame = frame[frame["epoch"] == frame["epoch"].max()].sort_values("layer")
    for column in (STEPS[1], HIDING, CLIPPED[1]):
        frame[column] = pd.to_numeric(frame.get(column, np.nan), errors="coerce")
    figure = canvas(
        "Can the converters resolve the nudge?",
        run.label,
        "Below half a step (grey), rounding mostly gives both nudge phases the same codes. A read stands at the layer "
        f"whose drive it makes. Epoch {int(frame['epoch'].iloc[0])}.",
        width=WIDE,
        height=7.4,
    )
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 2))
    figure.legend(handles=_draw_steps(upper, frame), loc="outside lower center", ncols=legend_columns(figure, 2))
    _draw_clipped(lower, frame, run)
    for axes in (upper, lower):
        layer_axis(axes, frame["name"].tolist())
    lower.set_xlabel("layer (input side on the left)")
    return figure


def _draw_steps(axes: Axes, frame: pd.DataFrame) -> list[Line2D | Patch]:
    """Nudge, steps and the band below half the step that hides it; returns what the legend has to say."""
    places, nudge, steps = np.arange(len(frame)), frame[NUDGE].to_numpy(), frame[STEPS].to_numpy()
    limit = RESOLVED * frame[HIDING].to_numpy()
    low = log_floor(np.concatenate([nudge, limit[np.isfinite(limit)], steps[np.isfinite(steps)]]))
    log_axis(axes.yaxis)
    axes.set_ylim(low, 10 ** np.ceil(np.log10(1.2 * max(nudge.max(), np.nanmax(steps)))))
    axes.bar(places, limit - low, 0.96, low, color=FAINT, alpha=0.3, linewidth=0)
    axes.plot(places, np.where(nudge > 0, nudge, np.nan), "o-", color=PALETTE[0])
    for place in places[nudge == 0]:
        axes.plot(place, low, "x", color=PALETTE[0], markersize=8, markeredgewidth=2, clip_on=False)
    for column, (_, colour, marker) in zip(STEPS, READS.values(), strict=True):
        axes.plot(places, frame[column], color=colour, marker=marker, linestyle="--", linewidth=1.2)
    axes.grid(axis="y")
    axes.set_ylabel("step, nudge signal  (drive, state units)")
    axes.set_title("Nudge signal and conversion steps")
    zero = " (x: zero, on the lower edge)" if (nudge == 0).any() else ""
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=PALETTE[0], marker="o", label=f"nudge signal: mean |s⁺ − s⁻|{zero}"),
        Patch(color=FAINT, alpha=0.3, label="nudge not resolved: below half the step of what carries it"),
        *(
            Line2D([], [], color=colour, marker=marker, linestyle="--", linewidth=1.2, label=f"conversion step, {name}")
            for name, colour, marker in READS.values()
        ),
    ]
    return handles


def _draw_clipped(axes: Axes, frame: pd.DataFrame, run: Run) -> None:
    """Share of the conversions whose result lay outside the range; a share of 0 lies on the lower edge."""
    places, shares = np.arange(len(frame)), frame[CLIPPED].to_numpy()
    beyond = 1 - run.hardware("converters", "calibration_quantile", 1.0)
    calibrated = run.hardware("converters", "adc_range", "") == "calibrated" and beyond > 0
    low = log_floor(np.append(shares[np.isfinite(shares)], beyond if calibrated else 0.1))
    log_axis(axes.yaxis)
    axes.set_ylim(low, 1.0)
    for number, (name, colour, _) in enumerate(READS.values()):
        heights = np.clip(shares[:, number] - low, 0, None)
        axes.bar(places + 0.38 * (number - 0.5), heights, 0.36, low, color=colour, label=name)
    if calibrated:
        axes.axhline(beyond, color=INK, linestyle=":", linewidth=1.4)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.4g}%" if share > 1.01 * low else "0"))
    axes.grid(axis="y")
    axes.set_ylabel("clipped conversions")
    meant = f" (dotted: {100 * beyond:.2g}% are, by calibration)" if calibrated else ""
    axes.set_title(f"Share of the conversions clipped to the ends of the range{meant}")
