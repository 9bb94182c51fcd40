"""Where does the energy go? Energy per image of every layer, by component and by phase, in every execution style."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from neurosim_ep.analysis.load import NothingToDraw, Run
from neurosim_ep.analysis.style import PHASES, REST, canvas, fill, layer_axis, legend_columns, on_paper
from neurosim_ep.units import format_si

STYLES = {
    "clocked": "clocked: every tile read in every tick",
    "event": "event: tiles read where events arrive",
    "settling": "settling: analog, converted at phase ends",
}
SMALL_SHARE = 0.01
UNSEEN = 0.02
"""Bars below this part of the tallest have their figure above them."""
PHASE_LOOKS: dict[str, dict[str, Any]] = dict(
    zip(
        PHASES.values(),
        ({"color": "#3B3B3B"}, {"color": "#8C8C8C"}, {"color": "#C9C9C9"}, {"color": "#F2F2F2", "hatch": "xxxx"}),
        strict=True,
    )
)
"""Fills of the phases, none of them a component's."""
COMPONENTS = {
    "cell_read": "array cells, read",
    "cell_write": "array cells, written",
    "dac": "drivers (DAC)",
    "sample_hold": "sample-and-hold",
    "line": "lines, charged",
    "adc": "ADC",
    "add": "adders",
    "line_register": "registers of lines",
    "drive_register": "registers of drives",
    "input_buffer": "input buffers",
    "core_transfer": "networks inside cores",
    "cluster_transfer": "networks inside clusters",
    "partial_sum": "partial sums between tiles",
    "input": "input to tiles",
    "message": "states to tiles",
    "target": "stored targets to tiles",
    "dram": "off-chip memory",
    "neuron": "neurons",
    "pool": "pooling",
    "register": "state registers",
    "readout": "readout",
    "signal": "signal projections",
    "update_add": "update multiply-adds",
    "update_memory": "update accumulators",
    "leakage": "leakage",
    "refresh": "refresh of memories",
}


def draw(run: Run) -> Figure:
    """Stacked bars of J per training image, layer by component and by phase, a column of panels per style.

    Components below 1 % of the total in every style are drawn together as "other".
    """
    frame = run.table("cost.csv", ("layer", "name", "phase", "component", "style", "energy_J", "samples"))
    energy, by_phase = _per_image(frame, "component"), _per_image(frame, "phase")
    total_J = energy.sum(axis=1).groupby("style").sum()
    if not total_J["clocked"]:
        raise NothingToDraw("every energy is zero in the run's hardware model; rram_32nm is one with costs")
    *phases, last = [name for phase, name in PHASES.items() if phase in set(frame["phase"])]
    figure = canvas(
        "Energy per training image by layer, component and phase",
        run.label,
        f"All phases of one presentation: {', '.join(phases)} and {last}. Mean of the recorded batches.",
        width=13.5,
        height=8.6,
    )
    panels, lower = figure.subplots(2, len(STYLES), sharey=True, height_ratios=(3, 2))
    for axes, below, (style, meaning) in zip(panels, lower, STYLES.items(), strict=True):
        _draw_bars(axes, _large_components(energy).loc[[style]])
        _name_small(axes, energy.loc[[style]].to_numpy().sum(0), energy.groupby("style").sum().to_numpy().max())
        _draw_bars(below, by_phase.loc[[style]].reindex(list(PHASES.values()), level=1))
        below.set_xlabel("layer (input side on the left)")
        share = f", {total_J[style] / total_J['clocked']:.0%} of clocked" if style != "clocked" else ""
        named = meaning.replace(": ", ":\n") if on_paper() else meaning
        axes.set_title(f"{named}\ntotal {format_si(total_J[style], 'J')} per image{share}")
    for axes, by in ((panels[0], "component"), (lower[0], "phase")):
        axes.set_ylabel(f"energy per image, by {by}")
        axes.yaxis.set_major_formatter(EngFormatter(unit="J"))
    lower[-1].legend(loc="upper right", title="phase (below)", frameon=True, framealpha=1, edgecolor="none")
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=legend_columns(figure, 5),
        title="component (above)",
    )
    return figure


def _per_image(frame: pd.DataFrame, part: str) -> pd.DataFrame:
    """J per image: a row per (style, ``part``), component or phase, a column per (layer, name) in order of depth."""
    frame = frame.assign(
        energy_J=frame["energy_J"] / frame["samples"],
        component=frame["component"].replace(COMPONENTS),
        phase=frame["phase"].replace(PHASES),
    )
    return frame.pivot_table(
        index=["style", part],
        columns=["layer", "name"],
        values="energy_J",
        aggfunc="sum",
        fill_value=0.0,
    )


def _large_components(energy: pd.DataFrame) -> pd.DataFrame:
    """``energy`` with the largest component first and the small ones added up as "other"."""
    total_J = energy.sum(axis=1).unstack("style", fill_value=0)
    share = (total_J / total_J.sum()).max(axis=1).sort_values(ascending=False)
    small = share.index[share < SMALL_SHARE]
    names = {component: f"other ({len(small)}, each < {SMALL_SHARE:.0%})" for component in small}
    ordered = energy.reindex(share.index, level="component").rename(index=names, level="component")
    return ordered.groupby(["style", "component"], sort=False).sum()


def _draw_bars(axes: Axes, energy: pd.DataFrame) -> None:
    """Stacked bars, one per layer (columns), of all components (rows), in J."""
    bottom = np.zeros(len(energy.columns))
    components = energy.index.get_level_values(1)
    for index, (component, height) in enumerate(zip(components, energy.to_numpy(), strict=True)):
        style = REST if component.startswith("other") else PHASE_LOOKS.get(component) or fill(index)
        edge = "#777777" if component in PHASE_LOOKS else "white"
        axes.bar(range(len(height)), height, 0.75, bottom, label=component, edgecolor=edge, linewidth=0.4, **style)
        bottom += height
    axes.grid(axis="y")
    layer_axis(axes, energy.columns.get_level_values("name").tolist())


def _name_small(axes: Axes, total_J: np.ndarray, tallest_J: float) -> None:
    """Above each bar that is too low to be seen what it stands for."""
    for place, energy_J in enumerate(total_J):
        if energy_J < UNSEEN * tallest_J:
            axes.annotate(format_si(energy_J, "J", 2), (place, energy_J), (0, 3), textcoords="offset points",
                          ha="center", va="bottom", fontsize=8, rotation=90)  # fmt: skip
