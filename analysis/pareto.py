"""Which settings are worth their energy? Accuracy against energy, with the points that no other beats in both."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from neurosim_ep.analysis.against import UNLIMITED, dress_quantity
from neurosim_ep.analysis.load import NothingToDraw
from neurosim_ep.analysis.points import ACCURACY, STYLES, Points, spelled
from neurosim_ep.analysis.style import FAINT, PALETTE, canvas, legend_columns

NAME = 0.07  # of the span of accuracies that the height of a name takes


def draw(points: Points) -> Figure:
    """A panel per style; seeds are their mean. Raises :class:`NothingToDraw` without accuracies or costs."""
    if not (points.has(ACCURACY) and points.has("energy_clocked_J")):
        raise NothingToDraw("a Pareto front is drawn of runs with accuracy and recorded traffic")
    means = points.means()
    if means.empty:
        raise NothingToDraw("a Pareto front is drawn of points that are done, and none is yet")
    figure = canvas(
        "Accuracy against energy",
        points.name,
        "Energy per training image, mean of the recorded batches; test accuracy after the last epoch. "
        "The front: no other setting is more accurate for less.",
        width=13.0,
        height=5.0,
    )
    for axes, style in zip(figure.subplots(1, len(STYLES), sharey=True), STYLES, strict=True):
        _draw_panel(axes, means, points, f"energy_{style}_J")
        axes.set_title(style)
    figure.axes[0].set_ylabel("test accuracy")
    figure.axes[0].yaxis.set_major_formatter(PercentFormatter(1))
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=legend_columns(figure, 2)
    )
    return figure


def front(means: pd.DataFrame, energy: str) -> pd.DataFrame:
    """Rows of ``means`` than which none has more accuracy for as little energy, in the order of the energy."""
    ordered = means.dropna(subset=[energy, ACCURACY]).sort_values([energy, ACCURACY], ascending=[True, False])
    best = ordered[ACCURACY].cummax()
    return ordered[(ordered[ACCURACY] == best) & ~best.duplicated()]


def _draw_panel(axes: Axes, means: pd.DataFrame, points: Points, energy: str) -> None:
    best = front(means, energy)
    axes.plot(means[energy], means[ACCURACY], "o", color=FAINT, label="settings, means of their seeds")
    axes.plot(best[energy], best[ACCURACY], color=PALETTE[0], marker="o", drawstyle="steps-post", label="Pareto front")
    _name(axes, best, energy, points.keys, float(means[ACCURACY].max() - means[ACCURACY].min()))
    dress_quantity(axes.xaxis, means[energy].dropna().to_numpy(float), "J")
    axes.margins(x=0.2, y=0.1)
    axes.set_xlabel("energy per training image")
    axes.grid()


def _name(axes: Axes, best: pd.DataFrame, energy: str, keys: list[str], span: float) -> None:
    """The settings of points of the front, from the most accurate on, above or below them where there is room."""
    taken: list[float] = []
    for row in best.to_dict("records")[::-1]:
        for side, aside in ((1, 5), (-1, -12)):
            height = row[ACCURACY] + side * NAME / 2 * span
            if all(abs(height - other) >= NAME * span for other in taken):
                told = ", ".join(f"{key.rpartition('.')[2]} {_limit(key, row[key])}" for key in keys)
                axes.annotate(told, (row[energy], row[ACCURACY]), (5, aside), textcoords="offset points", fontsize=8)
                taken.append(height)
                break


def _limit(key: str, value: object) -> str:
    return "inf" if key in UNLIMITED and value == 0 else spelled(value)
