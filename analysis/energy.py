"""Where does the energy go? Energy per image of every layer, split into components, in both accountings."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from neurosim_ep.analysis.load import NothingToDraw, Run
from neurosim_ep.analysis.style import PHASES, REST, canvas, fill, layer_axis
from neurosim_ep.units import format_si

ACCOUNTINGS = {
    "clocked": "clocked: every tile read at every tick (first layer: once)",
    "event": "event-driven: only reads of tiles that got events",
}
SMALL_SHARE = 0.01
COMPONENTS = {
    "cell_read": "array cells, read",
    "cell_write": "array cells, written",
    "dac": "drivers (DAC)",
    "adc": "ADC",
    "add": "adders",
    "partial_sum": "partial sums between tiles",
    "input": "input to tiles",
    "message": "states to tiles",
    "neuron": "neurons",
    "pool": "pooling",
    "register": "state registers",
    "readout": "readout",
    "signal": "signal projections",
    "update_add": "update multiply-adds",
    "update_memory": "update accumulators",
    "leakage": "leakage",
}


def draw(run: Run) -> Figure:
    """Stacked bars of J per training image, layer by component, clocked and event-driven side by side.

    Components below 1 % of the total in both accountings are drawn together as "other".
    """
    frame = run.table("cost.csv", ("layer", "name", "phase", "component", "accounting", "energy_J", "samples"))
    energy = _per_image(frame)
    total_J = energy.sum(axis=1).groupby("accounting").sum()
    if not total_J["clocked"]:
        raise NothingToDraw("every energy is zero in the run's hardware model; rram_32nm is one with costs")
    *phases, last = [name for phase, name in PHASES.items() if phase in set(frame["phase"])]
    figure = canvas(
        "Energy per training image by layer and component",
        run.label,
        f"All phases of one presentation: {', '.join(phases)} and {last}. Mean of the recorded batches.",
        width=10.5,
        height=5.4,
    )
    panels = figure.subplots(1, len(ACCOUNTINGS), sharey=True)
    for axes, (accounting, meaning) in zip(panels, ACCOUNTINGS.items(), strict=True):
        _draw_bars(axes, _large_components(energy).loc[[accounting]])
        share = f", {total_J[accounting] / total_J['clocked']:.0%} of clocked" if accounting == "event" else ""
        axes.set_title(f"{meaning}\ntotal {format_si(total_J[accounting], 'J')} per image{share}")
    panels[0].set_ylabel("energy per image")
    panels[0].yaxis.set_major_formatter(EngFormatter(unit="J"))
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


def _per_image(frame: pd.DataFrame) -> pd.DataFrame:
    """J per image: a row per (accounting, component), a column per (layer, name) in order of depth."""
    frame = frame.assign(
        energy_J=frame["energy_J"] / frame["samples"], component=frame["component"].replace(COMPONENTS)
    )
    return frame.pivot_table(
        index=["accounting", "component"],
        columns=["layer", "name"],
        values="energy_J",
        aggfunc="sum",
        fill_value=0.0,
    )


def _large_components(energy: pd.DataFrame) -> pd.DataFrame:
    """``energy`` with the largest component first and the small ones added up as "other"."""
    total_J = energy.sum(axis=1).unstack("accounting", fill_value=0)
    share = (total_J / total_J.sum()).max(axis=1).sort_values(ascending=False)
    small = share.index[share < SMALL_SHARE]
    names = {component: f"other ({len(small)}, each < {SMALL_SHARE:.0%})" for component in small}
    ordered = energy.reindex(share.index, level="component").rename(index=names, level="component")
    return ordered.groupby(["accounting", "component"], sort=False).sum()


def _draw_bars(axes: Axes, energy: pd.DataFrame) -> None:
    """Stacked bars, one per layer (columns), of all components (rows), in J."""
    bottom = np.zeros(len(energy.columns))
    components = energy.index.get_level_values("component")
    for index, (component, height) in enumerate(zip(components, energy.to_numpy(), strict=True)):
        style = REST if component.startswith("other") else fill(index)
        axes.bar(range(len(height)), height, 0.75, bottom, label=component, edgecolor="white", linewidth=0.4, **style)
        bottom += height
    axes.grid(axis="y")
    axes.set_xlabel("layer (input side on the left)")
    layer_axis(axes, energy.columns.get_level_values("name").tolist())
