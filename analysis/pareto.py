"""Which settings are worth their energy? Accuracy against energy, with the points that no other beats in both."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from neurosim_ep.analysis.against import dress_quantity
from neurosim_ep.analysis.load import NothingToDraw
from neurosim_ep.analysis.points import ACCURACY, STYLES, Points, setting
from neurosim_ep.analysis.style import FAINT, PALETTE, canvas, legend_columns, on_paper

ROOM = 0.45
"""Part of a panel left of its points, for the names of those on the front."""
HIGH, MARK = 0.05, 0.02
"""Parts of a panel that a name is high, and a point high and wide."""
WIDE, WIDE_ON_PAPER = 0.017, 0.023
"""Part of a panel that a letter is wide."""
Box = tuple[float, float, float, float]


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
    dress_quantity(axes.xaxis, means[energy].dropna().to_numpy(float), "J")
    axes.margins(x=0.06, y=0.1)
    axes.autoscale_view()
    low, high = (axes.transScale + axes.transLimits).inverted().transform([(-ROOM, 0), (1, 0)])[:, 0]
    axes.set_xlim(low, high)
    _name(axes, means, best, energy, points.keys)
    axes.set_xlabel("energy per training image")
    axes.grid()


def _name(axes: Axes, means: pd.DataFrame, best: pd.DataFrame, energy: str, keys: list[str]) -> None:
    """The settings of points of the front, from the most accurate on: left above them or right below, where the front
    never runs; those for which points and other names leave no room stay without, as no name may stand at a point of
    the front that is not its own.
    """
    part = axes.transScale + axes.transLimits
    taken: list[Box] = []
    for points, aside in ((means, MARK / 2), (best, MARK)):
        places = part.transform(points[[energy, ACCURACY]].dropna().to_numpy(float))
        taken += [(x - aside, y - aside, x + aside, y + aside) for x, y in places]
    for row in best.to_dict("records")[::-1]:
        told = ", ".join(setting(key, row[key]) for key in keys)
        x, y = part.transform((row[energy], row[ACCURACY]))
        wide = len(told) * (WIDE_ON_PAPER if on_paper() else WIDE)
        for side, box in (
            ("right", (x - MARK - wide, y + MARK / 2, x - MARK, y + MARK / 2 + HIGH)),
            ("left", (x + MARK, y - MARK - HIGH, x + MARK + wide, y - MARK)),
        ):
            if box[0] >= 0 and box[2] <= 1 and not any(_overlap(box, other) for other in taken):
                axes.text(x - MARK if side == "right" else x + MARK, box[1] + HIGH / 2, told, ha=side, va="center",
                          fontsize=8, transform=axes.transAxes)  # fmt: skip
                taken.append(box)
                break


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
