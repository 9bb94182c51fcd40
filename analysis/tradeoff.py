"""What do more ticks or a higher threshold cost? Energy and latency of several runs that differ in one number."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from neurosim_ep.analysis.energy import STYLES
from neurosim_ep.analysis.load import NothingToDraw, Run
from neurosim_ep.analysis.style import LOG, MARKERS, PALETTE, canvas

KEYS = {
    ("relaxation", "free_steps"): "ticks T of the free phase",
    ("relaxation", "nudge_steps"): "ticks K of a nudge phase",
    ("scheduler", "threshold"): "sending threshold θ",
}


def varied(runs: Sequence[Run]) -> tuple[str, str] | None:
    """The one of :data:`KEYS` in which ``runs`` differ; None where they differ in none or several."""
    found = [key for key in KEYS if len({str(run.setting(*key)) for run in runs}) > 1]
    return found[0] if len(found) == 1 else None


def draw(runs: Sequence[Run]) -> Figure:
    """Energy, latency and test accuracy against the one of :data:`KEYS` in which the runs differ.

    Raises :class:`NothingToDraw` unless there is exactly one such key, or where runs recorded no traffic.
    """
    key = varied(runs)
    if key is None:
        raise NothingToDraw("cost is drawn against T, K or the threshold of runs that differ in one of them alone")
    tables = [run.table("comparison.csv", ("style", "energy_J", "latency_s")).set_index("style") for run in runs]
    order = sorted(range(len(runs)), key=lambda place: float(runs[place].setting(*key)))
    values = [float(runs[place].setting(*key)) for place in order]
    figure = canvas(
        f"Cost against the {KEYS[key]}",
        ", ".join(dict.fromkeys(run.label for run in runs)),
        "Per training image, mean of each run's recorded batches, and test accuracy after its last epoch.",
        width=11.5,
        height=4.6,
    )
    panels = figure.subplots(1, 3)
    for axes, column, unit in zip(panels, ("energy_J", "latency_s"), ("J", "s"), strict=False):
        for style, colour, marker in zip(STYLES, PALETTE, MARKERS, strict=False):
            curve = [float(tables[place][column][style]) for place in order]
            axes.plot(values, curve, color=colour, marker=marker, label=style)
        axes.set_yscale(**LOG)
        axes.yaxis.set_major_formatter(EngFormatter(unit=unit))
        axes.set_title({"J": "energy per image", "s": "latency per image"}[unit])
    accuracy = [100 * float(runs[place].info["metrics"]["test_accuracy"]) for place in order]
    panels[2].plot(values, accuracy, color="#5F5F5F", marker="o")
    panels[2].set_title("test accuracy (%)")
    for axes in panels:
        if min(values) > 0:
            axes.set_xscale(**LOG)
        axes.set_xlabel(KEYS[key])
        axes.grid()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure
