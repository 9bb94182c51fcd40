"""How busy is the chip? Events per neuron and tick of every layer, over the ticks of each phase."""

from __future__ import annotations

from itertools import cycle

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from neurosim_ep.analysis.load import Run
from neurosim_ep.analysis.scales import RoundNumbers, log_axis
from neurosim_ep.analysis.style import PHASES, SEQUENTIAL, canvas, log_floor, tick_axis


def draw(run: Run) -> Figure:
    """Share of neurons that sent an event against the tick, a line per layer; dark is the input side.

    A layer has points where it was due to send, after ticks in which it was updated. The scale is logarithmic; no event
    at all has no logarithm: it is a dot on the lower edge, and no line leads there.
    """
    rates, names, epoch = run.events()
    phases = [phase for phase in PHASES if phase in rates]
    threshold = run.setting("scheduler", "threshold")
    moved = f"more than {threshold:g}" if isinstance(threshold, float) else "more than its layer's threshold"
    figure = canvas(
        "Events sent by every layer",
        run.label,
        f"A neuron sends an event when its state is {moved} from the value last sent. "
        f"Epoch {epoch}. Dots on the lower edge: none sent.",
        width=10.0,
    )
    widths = [max(len(rates[phase]), 0.45 * len(rates["free"])) for phase in phases]
    panels = figure.subplots(1, len(phases), sharey=True, width_ratios=widths, squeeze=False)[0]
    colours = matplotlib.colormaps[SEQUENTIAL](np.linspace(0.0, 0.92, len(names)))
    floor = log_floor(np.nan_to_num(np.concatenate([rates[phase].ravel() for phase in phases])))
    _share_axis(panels[0], floor)
    sweeps = run.setting("scheduler", "policy") == "sweep"
    for axes, phase in zip(panels, phases, strict=True):
        axes.grid(axis="y")
        axes.set_title(f"{PHASES[phase]} phase" if phase == "free" else PHASES[phase])
        tick_axis(axes)
        if sweeps:
            axes.set_xlabel("tick (one layer each)")
        ticks = np.arange(1, len(rates[phase]) + 1)
        for rate, name, colour, dash in zip(rates[phase].T, names, colours, cycle(("-", "--")), strict=False):
            due = ~np.isnan(rate)
            sent = np.where(rate[due] > 0, rate[due], np.nan)
            axes.plot(
                ticks[due], sent, color=colour, linestyle=dash, linewidth=1.5, label=name, marker="o", markersize=3,
                clip_on=False, in_layout=False,
            )  # fmt: skip
            silent = ticks[due][rate[due] == 0]
            axes.plot(
                silent, np.full(len(silent), floor), ".", color=colour, markersize=4, clip_on=False, in_layout=False
            )
    panels[0].set_ylabel("neurons that send in a tick")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", title="layer")
    return figure


def _share_axis(axes: Axes, floor: float) -> None:
    """A log scale in percent from 0, which stands at ``floor``, to 100."""
    log_axis(axes.yaxis)
    axes.set_ylim(floor, 1.15)
    axes.yaxis.set_major_locator(RoundNumbers())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}%" if share > 1.01 * floor else "0"))
    axes.yaxis.set_minor_formatter(NullFormatter())
