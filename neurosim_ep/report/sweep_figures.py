"""Pictures of a sweep: each metric against what varies, both keys together, and what is worth its energy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from neurosim_ep.analysis.against import WIDE, Scale, title_of
from neurosim_ep.analysis.load import NothingToDraw
from neurosim_ep.analysis.pareto import front
from neurosim_ep.analysis.points import ACCURACY, IDEAL, QUANTITIES, STYLES, Points, spelled, spelled_of
from neurosim_ep.report.figure import Figure
from neurosim_ep.report.grids import heat_map
from neurosim_ep.report.lines import Curve, Lines
from neurosim_ep.report.markup import Html, show


def frugal(points: Points) -> str | None:
    """The style with the least mean energy; settling only where there is no other, as not every cell can settle."""
    means = {style: points.frame[f"energy_{style}_J"].mean() for style in STYLES if points.has(f"energy_{style}_J")}
    known = {style: mean for style, mean in means.items() if style != "settling"} or means
    return min(known, key=lambda style: known[style]) if known else None


def settings(points: Points, row: Mapping[Any, Any] | pd.Series[Any]) -> str:
    """What is set in a row of the points, in words."""
    return ", ".join(f"{key.rpartition('.')[2]} {spelled_of(key, row[key])}" for key in points.keys)


def pareto(points: Points, style: str) -> Html:
    """Accuracy against energy in a style, means of seeds, with the front."""
    energy, means = f"energy_{style}_J", points.means()
    means = means.dropna(subset=[energy, ACCURACY])
    if means.empty:
        raise NothingToDraw("a Pareto front is drawn of points that are done, and none is yet")
    best = front(means, energy)
    curves = []
    for name, look, rows, joined in (
        ("other settings", 6, means.drop(index=best.index), False),
        ("Pareto front", 0, best, True),
    ):
        records = rows.to_dict("records")
        told = [f"{settings(points, row)}: {row[ACCURACY]:.1%} for {show(float(row[energy]), 'J')}" for row in records]
        spots = [(float(row[energy]), float(row[ACCURACY])) for row in records]
        if spots:
            curves.append(Curve(name, spots, look, joined=joined, stepped=joined, told=told))
    wide = means[energy].max() > 5 * means[energy].min() > 0
    figure = Figure(
        f"pareto-{style}",
        f"Accuracy against energy, {style}",
        "Means over seeds. On the front, no other setting is more accurate for less.",
        f"{len(best)} of {len(means)} settings are on the front.",
    )
    return Lines(figure, curves, "energy per training image", "test accuracy", "fraction", "J", log_x=wide).draw()


def curves(points: Points) -> Iterator[tuple[str, Callable[[], Html]]]:
    """Every metric against every key: the name of each picture, and what draws it."""
    style = frugal(points)
    wanted = [(ACCURACY, "test accuracy", "fraction")] if points.has(ACCURACY) else []
    for column, (what, unit) in QUANTITIES.items():
        name = column.format(style=style)
        if style is not None and points.has(name):
            wanted.append((name, f"{what}, {style}", unit))
    for key in points.keys:
        for column, what, unit in wanted:
            yield f"{what} against {title_of(key)}", partial(_against, points, key, column, what, unit)


def _against(points: Points, key: str, column: str, what: str, unit: str) -> Html:
    """``column`` against ``key``: a curve per choice of the other keys, seeds as mean and band."""
    curves, loose = points.curves(key, column), points.loose(key)
    scale = Scale(key, [x for found in curves.values() for x in found])
    drawn = [_curve(name or "points", found, scale, look, loose) for look, (name, found) in enumerate(curves.items())]
    values = [y for curve in drawn for _, y in curve.points]
    seeds = any(len(several) > 1 for found in curves.values() for several in found.values())
    spread = "; band and bars: smallest to largest of the seeds" if seeds and not loose else ""
    figure = Figure(
        f"{column}-{key}".replace(".", "-"),
        f"{what[0].upper()}{what[1:]} against {title_of(key)}",
        f"Means of the points{spread}." if not loose else "Every point of the sweep.",
        f"Values from {show(min(values), unit)} to {show(max(values), unit)}.",
    )
    wide = unit not in ("fraction",) and min(values) > 0 and max(values) > WIDE / 2 * min(values)
    rules = [(1.0, "a draw")] if column.startswith("ep_per") and min(values) <= 1.5 and max(values) >= 0.6 else []
    if column == ACCURACY and points.classes:
        rules = [(1 / points.classes, "chance")]
    log_x = scale.numeric and (
        key.endswith("levels")
        if scale.unlimited
        else min(scale.values) > 0 and max(scale.values) >= WIDE * min(scale.values)
    )
    ticks = [(scale.place(value), spelled(value)) for value in scale.values]
    if scale.unlimited:
        ticks = [(place, IDEAL if place == scale.end else label) for place, label in ticks]
    return Lines(
        figure,
        drawn,
        title_of(key),
        what.partition(",")[0],
        unit,
        log=wide,
        log_x=log_x,
        rules=rules,
        zero=column == ACCURACY,
        names=None if scale.numeric else [spelled(value) for value in scale.values],
        labels=ticks if scale.numeric and len(ticks) <= 8 else (),
    ).draw()


def _curve(name: str, found: Mapping[Any, list[float]], scale: Scale, look: int, loose: bool) -> Curve:
    known = [value for value in scale.values if value in found]
    places = [scale.place(value) for value in known]
    if loose:
        spots = [(place, one) for place, value in zip(places, known, strict=True) for one in found[value]]
        return Curve(name, spots, look, joined=False)
    means = [(place, float(np.mean(found[value]))) for place, value in zip(places, known, strict=True)]
    band = [(place, min(found[value]), max(found[value])) for place, value in zip(places, known, strict=True)]
    spread = any(low < high for _, low, high in band)
    return Curve(name, means, look, band=band if spread else (), joined=scale.numeric)


def heat_maps(points: Points) -> Iterator[Html]:
    """Accuracy, energy and EP / backpropagation over both keys, as colours."""
    across, down = points.keys
    means, style = points.means(), frugal(points)
    wanted = [(ACCURACY, "Test accuracy", "fraction")] if points.has(ACCURACY) else []
    wanted += [
        (f"energy_{style}_J", f"Energy per image, {style}", "J"),
        (f"ep_per_backprop_{style}", f"EP / backpropagation, {style}", ""),
    ]
    columns, rows = Scale(across, means[across]).values, Scale(down, means[down]).values
    for column, name, unit in wanted:
        if column not in means or means[column].isna().all():
            continue
        grid = means.pivot(index=down, columns=across, values=column).reindex(rows)[columns].to_numpy(float)
        log = unit == "J" and np.nanmin(grid) > 0
        figure = Figure(
            f"heat-{column}",
            name,
            f"{title_of(down)} downwards, {title_of(across)} to the right; means over seeds.",
            f"From {show(float(np.nanmin(grid)), unit)} to {show(float(np.nanmax(grid)), unit)}.",
        )
        labels = [[spelled_of(key, value) for value in values] for key, values in ((down, rows), (across, columns))]
        yield heat_map(
            figure, grid, *labels, unit=unit, log=log, axes=(down.rpartition(".")[2], across.rpartition(".")[2])
        )
