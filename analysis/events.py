"""How busy is the chip? Events per neuron and tick of every layer, over the ticks of each phase."""

from __future__ import annotations

from itertools import cycle

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from neurosim_ep.analysis.load import Run
from neurosim_ep.analysis.style import SEQUENTIAL, canvas

PHASES = {"free": "free phase", "nudge_plus": "nudge +β", "nudge_minus": "nudge −β"}
PERCENT = FuncFormatter(lambda share, _: f"{100 * share:g} %")


def draw(run: Run) -> Figure:
    """Share of neurons that sent an event against the tick, a line per layer; dark is the input side."""
    rates, names, epoch = run.events()
    phases = [phase for phase in PHASES if phase in rates]
    threshold = run.setting("telemetry", "event_threshold")
    figure = canvas(
        "Events sent by every layer",
        run.label,
        f"A neuron sends an event when its state is more than {threshold:g} from the value it sent last. "
        f"Recorded batches of epoch {epoch}.",
        width=10.0,
    )
    widths = [max(len(rates[phase]), 0.45 * len(rates["free"])) for phase in phases]
    panels = figure.subplots(1, len(phases), sharey=True, width_ratios=widths, squeeze=False)[0]
    colours = matplotlib.colormaps[SEQUENTIAL](np.linspace(0.0, 0.92, len(names)))
    for axes, phase in zip(panels, phases, strict=True):
        axes.grid(axis="y")
        axes.set_title(PHASES[phase])
        axes.set_xlabel("tick of the phase")
        axes.set_yscale("log", nonpositive="mask")
        axes.yaxis.set_major_formatter(PERCENT)
        ticks = np.arange(1, len(rates[phase]) + 1)
        for rate, name, colour, dash in zip(rates[phase].T, names, colours, cycle(("-", "--")), strict=False):
            axes.plot(ticks, rate, color=colour, linestyle=dash, linewidth=1.5, label=name)
    panels[0].set_ylabel("events per neuron and tick")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", title="layer")
    return figure
