"""How much of the pulses is of use? Pulses up and down of every layer against what is left when they cancel."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from neurosim_ep.analysis.load import DoesNotConcern, Run
from neurosim_ep.analysis.scales import log_axis
from neurosim_ep.analysis.style import INK, PALETTE, WIDE, canvas, covered, layer_axis, legend_columns, log_floor

COLUMNS = {
    "pulses_up": ("up", PALETTE[1], "^"),
    "pulses_down": ("down", PALETTE[2], "v"),
    "pulses_net": ("net: |up − down| of each weight in a batch", PALETTE[0], "o"),
}


def draw(run: Run) -> Figure:
    """Pulses up, down and net per weight and batch of every layer, and their ratio gross / net, last epoch.

    Raises :class:`DoesNotConcern` for tiles whose weights are not written by pulses.
    """
    if run.hardware("device", "preset", "none") == "none":
        raise DoesNotConcern(f"{run.path}: weights are written exactly; hardware.device.preset is none")
    frame = run.table("layers.csv", ("epoch", "layer", "name", *COLUMNS), unique=("epoch", "layer"))
    frame = frame[frame["epoch"] == frame["epoch"].max()].sort_values("layer")
    update = run.hardware("device", "update", "difference")
    figure = canvas(
        "Programming pulses of every layer",
        run.label,
        "Pulses up and down of one weight cancel, what is asymmetric in them adds up. All batches of "
        f"epoch {int(frame['epoch'].iloc[0])}, update = {update}.",
        width=WIDE,
        height=7.4,
    )
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 2))
    places, values = np.arange(len(frame)), frame[list(COLUMNS)].to_numpy()
    low = log_floor(0.8 * values)
    log_axis(upper.yaxis)
    upper.set_ylim(low, 10 ** np.ceil(np.log10(1.2 * max(values.max(), low))))
    for (text, colour, marker), of_kind in zip(COLUMNS.values(), values.T, strict=True):
        shown = np.where(of_kind > 0, of_kind, np.nan)
        look = {"color": colour, "marker": marker, "label": text, "linestyle": "-" if text == "up" else "--"}
        upper.plot(places, shown, **(covered(look) if text == "up" else look))
        for place in places[of_kind == 0]:
            upper.plot(place, low, "x", color=colour, markersize=8, markeredgewidth=2, clip_on=False)
    upper.set_ylabel("pulses per weight and batch")
    handles = upper.get_legend_handles_labels()[0]
    if (values == 0).any():
        handles.append(Line2D([], [], color=INK, marker="x", linestyle="", label="exactly zero (lower edge)"))
    upper.set_title("Pulses sent, and what is left of them")
    figure.legend(handles=handles, loc="outside lower center", ncols=legend_columns(figure, 4))
    up, down, net = values.T
    ratio = np.divide(up + down, net, out=np.full(len(net), np.nan), where=net > 0)
    _draw_ratio(lower, ratio)
    for axes in (upper, lower):
        axes.grid(axis="y")
        layer_axis(axes, frame["name"].tolist())
    lower.set_xlabel("layer (input side on the left)")
    return figure


def _draw_ratio(axes: Axes, ratio: np.ndarray) -> None:
    log_axis(axes.yaxis)
    axes.set_ylim(0.8, 10 ** np.ceil(np.log10(2 * np.nanmax(ratio, initial=1.0))))
    places = np.arange(len(ratio))
    axes.bar(places, ratio - 1, 0.6, 1, color=PALETTE[5])
    for place, value in zip(places, ratio, strict=True):
        text = f"{value:.3g}" if np.isfinite(value) else "no net pulse"
        height = value if np.isfinite(value) else 1.0
        axes.annotate(text, (place, height), (0, 3), textcoords="offset points", ha="center", fontsize=8.5)
    axes.axhline(1, color=INK, linestyle="--", linewidth=1.2)
    axes.set_ylabel("(up + down) / net")
    axes.set_title("Cancellation: pulses sent for one that stays (dashed: nothing cancels)")
