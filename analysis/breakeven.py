"""Who wins, EP or backpropagation, and at how many ticks would it be a draw?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from neurosim_ep.analysis.energy import STYLES
from neurosim_ep.analysis.load import NothingToDraw, Run
from neurosim_ep.analysis.scales import log_axis
from neurosim_ep.analysis.style import GREY, INK, PALETTE, canvas
from neurosim_ep.units import format_si

ASIDE = 1.06
FEWEST = 3.0  # ticks, one of each of three phases, where a run of an earlier version does not say
COLUMNS = (
    "style", "energy_J", "energy_low_J", "energy_high_J", "ticking_J", "ticks", "backprop_J", "backprop_low_J",
    "backprop_high_J", "ratio_low", "ratio_high",
)  # fmt: skip


def draw(run: Run) -> Figure:
    """Energy per training image against the ticks of all its phases, a line per style, beside backpropagation.

    What does not depend on the ticks stays; what does is proportional to them. Bars and band are the intervals of the
    model.
    """
    frame = run.table("comparison.csv", COLUMNS).set_index("style")
    backprop_J, ticks = float(frame["backprop_J"].iloc[0]), float(frame["ticks"].iloc[0])
    if not backprop_J:
        raise NothingToDraw("every energy is zero in the run's hardware model; rram_32nm is one with costs")
    least = float(frame["least_ticks"].iloc[0]) if "least_ticks" in frame else FEWEST
    span = np.geomspace(least, max(10 * ticks, 2 * least), 200)
    rows = {str(style): {str(key): float(value) for key, value in row.items()} for style, row in frame.iterrows()}
    even = any(_inside(_even_at(row), span) for row in rows.values())
    figure = canvas(
        "Equilibrium propagation against backpropagation on the same tiles",
        run.label,
        "Were it to relax for other numbers of ticks. In brackets: EP / backprop within the intervals of all numbers."
        f"{' Crosses: even.' if even else ''}",
        width=9.5,
        height=5.8,
    )
    axes = figure.subplots()
    low, high = frame["backprop_low_J"].iloc[0], frame["backprop_high_J"].iloc[0]
    said = f"backpropagation, clocked: {format_si(backprop_J, 'J')}"
    axes.plot(span, np.full_like(span, backprop_J), color=INK, linestyle="--", label=said)
    axes.fill_between(span, low, high, color=GREY, alpha=0.15, linewidth=0, label="its interval (bars: those of EP)")
    for place, (style, row) in enumerate(rows.items()):
        _draw_style(axes, style, row, span, PALETTE[place], ASIDE ** (place - 1))
    axes.axvline(ticks, color=GREY, linewidth=0.8, linestyle=":")
    axes.annotate(f"recorded: {ticks:.3g} ticks", (ASIDE * ticks, 0), (9, 4), xycoords=("data", "axes fraction"),
                  textcoords="offset points", fontsize=9, color=GREY)  # fmt: skip
    log_axis(axes.xaxis)
    log_axis(axes.yaxis)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("ticks of all phases, T + 2K (of sweeps: times the layers)")
    axes.set_ylabel("energy per training image")
    axes.yaxis.set_major_formatter(EngFormatter(unit="J"))
    axes.grid(which="major")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center")
    return figure


def _draw_style(axes: Axes, style: str, row: dict[str, float], span: np.ndarray, colour: str, aside: float) -> None:
    """The line of a style, its interval, drawn a little ``aside``, and a mark where it crosses backpropagation."""
    energy_J = row["energy_J"] + row["ticking_J"] * (span / row["ticks"] - 1)
    even_at = _even_at(row)
    verdict = f"{row['energy_J'] / row['backprop_J']:.3g} × backprop"
    if np.isfinite(row["ratio_low"]):
        undecided = ": undecided" if row["ratio_low"] <= 1 <= row["ratio_high"] else ""
        verdict += f" ({row['ratio_low']:.2g} to {row['ratio_high']:.2g}{undecided})"
    if even_at >= span[0]:
        verdict += f", even at {even_at:.3g} ticks"
    elif row["ticking_J"] > 0 or row["energy_J"] > row["backprop_J"]:
        verdict += ", never even"
    label = f"EP, {STYLES[style].split(':')[0]}: {format_si(row['energy_J'], 'J')} = {verdict}"
    axes.plot(span, energy_J, color=colour, label=label)
    ends = [row["energy_low_J"], row["energy_high_J"]]
    axes.plot([aside * row["ticks"]] * 2, ends, marker="_", markersize=9, color=colour, linewidth=0.9)
    axes.plot([row["ticks"]], [row["energy_J"]], marker="o", color=colour, linestyle="")
    if _inside(even_at, span):
        axes.plot([even_at], [row["backprop_J"]], marker="X", color=colour, markersize=8, linestyle="")


def _even_at(row: Mapping[str, float]) -> float:
    """Ticks at which a style takes as much as backpropagation; 0 where there are none."""
    missing_J = row["backprop_J"] - (row["energy_J"] - row["ticking_J"])
    return row["ticks"] * missing_J / row["ticking_J"] if row["ticking_J"] > 0 and missing_J > 0 else 0.0


def _inside(ticks: float, span: np.ndarray) -> bool:
    return bool(span[0] <= ticks <= span[-1])
