"""What do more ticks, a higher threshold or another chip cost? Energy, latency and EP / BP against any key."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neurosim_ep.analysis.against import Scale, draw_curve, dress_quantity, seeds_shown, title_of
from neurosim_ep.analysis.energy import STYLES
from neurosim_ep.analysis.load import NothingToDraw, Run, differing
from neurosim_ep.analysis.points import ACCURACY, QUANTITIES, SEED, UNLIMITED, Curves, Points, points_of_runs
from neurosim_ep.analysis.style import GREY, canvas, legend_columns

KEYS = ("relaxation.free_steps", "relaxation.nudge_steps", "scheduler.threshold", "hardware.model")


def varied(runs: Sequence[Run]) -> str | None:
    """The one of :data:`KEYS` in which ``runs`` differ where nothing else does, seeds aside; None otherwise."""
    found = [key for key in differing(runs) if key != SEED]
    return found[0] if len(found) == 1 and found[0] in KEYS else None


def draw(runs: Sequence[Run]) -> Figure:
    """:func:`draw_points` of runs, against the one of :data:`KEYS` in which they differ.

    Raises :class:`NothingToDraw` unless that is all in which they differ, or where runs recorded no traffic.
    """
    key = varied(runs)
    if key is None:
        raise NothingToDraw("cost is drawn against T, K, the threshold or the chip of runs that differ in that alone")
    return draw_points(points_of_runs(runs, [key]), key)


def draw_points(points: Points, x: str) -> Figure:
    """Energy, latency and EP's energy over backpropagation's against the key ``x``, and the test accuracy where there
    is one: a curve per style, or, where other keys vary too, a row of panels per style and a curve for each of them.

    Raises :class:`NothingToDraw` where no traffic was recorded.
    """
    columns = [column for column in QUANTITIES if points.has(column.format(style="clocked"))]
    if not columns:
        raise NothingToDraw("no point has a cost; telemetry.traffic_every is 0, 1 or more records traffic")
    apart = bool(points.others(x))
    rows = list(STYLES) if apart else [""]
    accuracy = points.has(ACCURACY) and not apart
    several = seeds_shown(points.curves(x, columns[0].format(style="clocked")).values())
    ideal = x in UNLIMITED and Scale(x, points.frame[x]).endless
    figure = canvas(
        f"Cost against {title_of(x)}",
        points.name,
        "Per training image, mean of the recorded batches"
        + (", and accuracy after the last epoch." if accuracy else ".")
        + (" Bars and bands: smallest to largest of the seeds." if several else "")
        + (" Ideal converters are billed as those of the hardware model." if ideal else ""),
        width=4.0 * (len(columns) + accuracy),
        height=1.6 + 3.0 * len(rows),
    )
    panels = figure.subplots(len(rows), len(columns) + accuracy, squeeze=False, sharex=True)
    for style, line in zip(rows, panels, strict=True):
        for axes, column in zip(line, columns, strict=False):
            _draw_panel(axes, points, x, column, style)
    if accuracy:
        axes = panels[0][-1]
        (curve,) = points.curves(x, ACCURACY).values()
        percent = {value: [100 * one for one in several] for value, several in curve.items()}
        _draw_curves(axes, x, {"accuracy": percent}, first=6)
        axes.set_title("test accuracy (%)")
        axes.set_ylim(0, 102)
    for axes in panels[-1]:
        axes.set_xlabel(title_of(x))
    known: dict[str, Artist] = {}
    for axes in panels[0, : len(columns)]:
        handles, labels = axes.get_legend_handles_labels()
        known |= zip(labels, handles, strict=True)
    figure.legend(known.values(), known.keys(), loc="outside lower center", ncols=legend_columns(figure, 4))
    return figure


def _draw_panel(axes: Axes, points: Points, x: str, column: str, style: str) -> None:
    """One quantity: of every style, or of one for all choices of the other keys."""
    title, unit = QUANTITIES[column]
    if style:
        loose = points.loose(x)
        curves = points.curves(x, column.format(style=style))
        _draw_curves(axes, x, {"points": curves[""]} if loose else curves, loose=loose)
    else:
        _draw_curves(axes, x, {one: points.curves(x, column.format(style=one))[""] for one in STYLES})
    axes.set_title(f"{title}, {style}" if style else title)
    found = [points.frame[column.format(style=one)].dropna() for one in ([style] if style else STYLES)]
    dress_quantity(axes.yaxis, np.concatenate(found), unit)
    if not unit:
        axes.axhline(1, color=GREY, linestyle="--", linewidth=1, label="as much as backpropagation")


def _draw_curves(axes: Axes, x: str, curves: Curves, first: int = 0, *, loose: bool = False) -> None:
    scale = Scale(x, [value for curve in curves.values() for value in curve])
    for number, (label, curve) in enumerate(curves.items(), first):
        draw_curve(axes, scale, curve, label, number, loose=loose)
    scale.dress(axes)
    axes.set_xlabel("")
    axes.grid(axis="y")
