"""The report of a sweep: its points, each metric against what varies, and what is worth its energy."""

from __future__ import annotations

import shlex
from functools import partial
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurosim_ep.analysis.against import UNLIMITED, WIDE, Scale, title_of
from neurosim_ep.analysis.load import NothingToDraw
from neurosim_ep.analysis.pareto import front
from neurosim_ep.analysis.points import ACCURACY, QUANTITIES, STYLES, TABLE, Points, points_of_sweep, spelled
from neurosim_ep.errors import SweepError
from neurosim_ep.record.columns import POINTS, Column
from neurosim_ep.report.figure import Figure, missing
from neurosim_ep.report.grids import heat_map
from neurosim_ep.report.lines import Curve, Lines
from neurosim_ep.report.markup import Html, defined, join, plain, show, tag
from neurosim_ep.report.tables import facts, glossary, table
from neurosim_ep.report.words import Finding, findings_list
from neurosim_ep.resources import read_toml
from neurosim_ep.scenario.describe import node_at
from neurosim_ep.sweep.directory import SOURCE, SweepDirectory

Section = tuple[str, str, Html]
FIGURES = 24
"""Pictures of metrics against keys at most; sweeps of more keys have those of the first ones."""


def open_report(path: Path) -> tuple[str, Html, list[Section]]:
    """Title, head and sections of the sweep at ``path``."""
    sweep = SweepDirectory.open(path)
    try:
        points = points_of_sweep(path)
    except NothingToDraw as reason:
        content = missing("Points", reason)
        return f"{path.resolve().name}: report of a sweep", tag("h1", path.resolve().name), [("points", "Points", content)]
    return f"{points.name}: report of a sweep", _head(sweep, points), list(_sections(sweep, points))


def _head(sweep: SweepDirectory, points: Points) -> Html:
    document = read_toml(sweep.path / SOURCE, SweepError)
    told = document.get("sweep", {})
    counts = points.frame["status"].value_counts()
    done = ", ".join(f"{count} {status}" for status, count in counts.items())
    mood = "good" if set(counts.index) == {"done"} else "warn"
    kind = "estimates (nothing was trained)" if sweep.kind == "estimate" else "runs"
    keys = ", ".join(title_of(key) for key in points.keys)
    seeds = points.frame.get("scenario.seed")
    varied = f", each with {seeds.nunique()} seeds" if seeds is not None and seeds.nunique() > 1 and "scenario.seed" not in points.keys else ""
    lead = f"{len(points.frame)} {kind} of {told.get('base', 'a scenario')} that differ in {keys}{varied}."
    name = tag("h1", points.name, " ", tag("span", done, class_=f"status {mood}"))
    about = tag("p", told["description"], class_="quiet") if told.get("description") else None
    return join(name, tag("p", lead, class_="lead"), about, tag("ul", list(_cards(points)), class_="cards"))


def _cards(points: Points) -> Iterator[Html]:
    means = points.means()
    style = frugal(points)
    wanted = [(ACCURACY, "best test accuracy", False)]
    if style is not None:
        wanted += [(f"energy_{style}_J", "least energy per image", True), (f"latency_{style}_s", "least time per image", True),
                   (f"ep_per_backprop_{style}", "least EP / backpropagation", True)]  # fmt: skip
    for column, name, least in wanted:
        if column in means and means[column].notna().any():
            row = means.loc[means[column].idxmin() if least else means[column].idxmax()]
            value = show(float(row[column]), POINTS[column].unit)
            yield tag("li", defined(name, POINTS[column].meaning), tag("b", value), tag("small", _settings(points, row)))


def frugal(points: Points) -> str | None:
    """The style with the least mean energy; settling only where there is no other, as not every cell can settle."""
    means = {style: points.frame[f"energy_{style}_J"].mean() for style in STYLES if points.has(f"energy_{style}_J")}
    known = {style: mean for style, mean in means.items() if style != "settling"} or means
    return min(known, key=lambda style: known[style]) if known else None


def _settings(points: Points, row: Mapping[Any, Any] | pd.Series[Any]) -> str:
    return ", ".join(f"{key.rpartition('.')[2]} {_limit(key, row[key])}" for key in points.keys)


def _limit(key: str, value: object) -> str:
    return "without limit" if key in UNLIMITED and value == 0 else spelled(value)


def _sections(sweep: SweepDirectory, points: Points) -> Iterator[Section]:
    yield "findings", "Findings", findings_list(list(_findings(points)))
    if points.has(ACCURACY) and frugal(points) is not None:
        fronts = [_figure("Pareto front", partial(pareto, points, style)) for style in STYLES if points.has(f"energy_{style}_J")]
        yield "pareto", "Accuracy against energy", tag("div", fronts, class_="figures")
    pictures = [_figure(name, draw) for name, draw in _curves(points)]
    yield "metrics", "What each key does", tag("div", pictures[:FIGURES], class_="figures")
    if len(points.keys) == 2 and points.others(points.keys[0]) == [points.keys[1]]:
        yield "heat", "Both keys together", tag("div", list(_heat_maps(points)), class_="figures")
    yield "points", "Points", _table(points)
    yield "repeat", "Repeat it", _repeat(sweep)
    names = tag("summary", "All names, units and meanings")
    yield "definitions", "Definitions", tag("details", names, glossary(_columns(points)), class_="paper")


def _figure(name: str, draw: Callable[[], Html]) -> Html:
    try:
        return draw()
    except NothingToDraw as reason:
        return missing(name, reason)


def _findings(points: Points) -> Iterator[Finding]:
    means, style = points.means(), frugal(points)
    if points.has(ACCURACY) and not means.empty:
        best, worst = (means.loc[getattr(means[ACCURACY], which)()] for which in ("idxmax", "idxmin"))
        yield Finding("good", "Accuracy", f"the best setting reaches {best[ACCURACY]:.1%} ({_settings(points, best)}), the worst {worst[ACCURACY]:.1%} ({_settings(points, worst)}); means over seeds.")
        if points.classes and best[ACCURACY] < 1.5 / points.classes:
            yield Finding("bad", "Chance", f"no setting is clearly better than chance, {1 / points.classes:.1%}.")
    if style is not None and not means.empty:
        column, ratio = f"energy_{style}_J", f"ep_per_backprop_{style}"
        least, most = (means.loc[getattr(means[column], which)()] for which in ("idxmin", "idxmax"))
        yield Finding("", "Energy", f"in {style} style a training image takes {show(float(least[column]), 'J')} ({_settings(points, least)}) to {show(float(most[column]), 'J')} ({_settings(points, most)}).")
        if ratio in means and means[ratio].notna().any():
            wins = int((means[ratio] < 1).sum())
            yield Finding("", "EP against backpropagation", f"EP takes less energy than backpropagation on the same tiles in {wins} of {int(means[ratio].notna().sum())} settings ({means[ratio].min():.3g} to {means[ratio].max():.3g} times its energy, {style}).")
        if points.has(ACCURACY):
            best = front(means, column)
            each = "; ".join(f"{row[ACCURACY]:.1%} for {show(float(row[column]), 'J')} ({_settings(points, row)})" for row in best.to_dict("records"))
            yield Finding("", "Pareto front", f"no other setting is more accurate for as little energy than: {each}.")
    for row in points.frame[~points.frame["status"].isin(["done"])].to_dict("records"):
        why = row.get("reason")
        bad = row["status"] in ("failed", "diverged")
        yield Finding("bad" if bad else "warn", f"Point {row['point']}", f"{row['status']}{f': {why}' if isinstance(why, str) else ''}.")


def pareto(points: Points, style: str) -> Html:
    """Accuracy against energy in a style, means of seeds, with the front."""
    energy, means = f"energy_{style}_J", points.means()
    means = means.dropna(subset=[energy, ACCURACY])
    if means.empty:
        raise NothingToDraw("a Pareto front is drawn of points that are done, and none is yet")
    best = front(means, energy)
    curves = []
    for name, look, rows, joined in (("other settings", 6, means.drop(index=best.index), False), ("Pareto front", 0, best, True)):
        records = rows.to_dict("records")
        told = [f"{_settings(points, row)}: {row[ACCURACY]:.1%} for {show(float(row[energy]), 'J')}" for row in records]
        spots = [(float(row[energy]), float(row[ACCURACY])) for row in records]
        if spots:
            curves.append(Curve(name, spots, look, joined=joined, stepped=joined, told=told))
    wide = means[energy].max() > 5 * means[energy].min() > 0
    figure = Figure(
        f"pareto-{style}", f"Accuracy against energy, {style}",
        "Means over seeds. On the front, no other setting is more accurate for less.",
        f"{len(best)} of {len(means)} settings are on the front.",
    )  # fmt: skip
    return Lines(figure, curves, "energy per training image", "test accuracy", "fraction", "J", log_x=wide).draw()


def _curves(points: Points) -> Iterator[tuple[str, Callable[[], Html]]]:
    style = frugal(points)
    wanted = [(ACCURACY, "test accuracy", "fraction")] if points.has(ACCURACY) else []
    for column, (what, unit) in QUANTITIES.items():
        name = column.format(style=style)
        if style is not None and points.has(name):
            wanted.append((name, f"{what}, {style}", unit))
    for key in points.keys:
        for column, what, unit in wanted:
            yield f"{what} against {title_of(key)}", lambda key=key, column=column, what=what, unit=unit: _against(points, key, column, what, unit)


def _against(points: Points, key: str, column: str, what: str, unit: str) -> Html:
    """``column`` against ``key``: a curve per choice of the other keys, seeds as mean and band."""
    curves, loose = points.curves(key, column), points.loose(key)
    scale = Scale(key, [x for found in curves.values() for x in found])
    drawn = [_curve(name or "points", found, scale, look, loose) for look, (name, found) in enumerate(curves.items())]
    values = [y for curve in drawn for _, y in curve.points]
    seeds = any(len(several) > 1 for found in curves.values() for several in found.values())
    spread = "; band and bars: smallest to largest of the seeds" if seeds and not loose else ""
    figure = Figure(
        f"{column}-{key}".replace(".", "-"), f"{what[0].upper()}{what[1:]} against {title_of(key)}",
        f"Means of the points{spread}." if not loose else "Every point of the sweep.",
        f"Values from {show(min(values), unit)} to {show(max(values), unit)}.",
    )  # fmt: skip
    wide = unit not in ("fraction",) and min(values) > 0 and max(values) > WIDE / 2 * min(values)
    rules = [(1.0, "a draw")] if column.startswith("ep_per") and min(values) <= 1.5 and max(values) >= 0.6 else []
    if column == ACCURACY and points.classes:
        rules = [(1 / points.classes, "chance")]
    log_x = scale.numeric and (key.endswith("levels") if scale.unlimited else min(scale.values) > 0 and max(scale.values) >= WIDE * min(scale.values))
    ticks = [(scale.place(value), _limit(key, value) if value else spelled(value)) for value in scale.values]
    if scale.unlimited:
        ticks = [(place, "∞" if place == scale.end else label) for place, label in ticks]
    return Lines(
        figure, drawn, title_of(key), what.partition(",")[0], unit, log=wide, log_x=log_x, rules=rules, zero=column == ACCURACY,
        names=None if scale.numeric else [spelled(value) for value in scale.values],
        labels=ticks if scale.numeric and len(ticks) <= 8 else (),
    ).draw()  # fmt: skip


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


def _heat_maps(points: Points) -> Iterator[Html]:
    """Accuracy, energy and EP / backpropagation over both keys, as colours."""
    across, down = points.keys
    means, style = points.means(), frugal(points)
    wanted = [(ACCURACY, "Test accuracy", "fraction")] if points.has(ACCURACY) else []
    wanted += [(f"energy_{style}_J", f"Energy per image, {style}", "J"), (f"ep_per_backprop_{style}", f"EP / backpropagation, {style}", "")]
    columns, rows = Scale(across, means[across]).values, Scale(down, means[down]).values
    for column, name, unit in wanted:
        if column not in means or means[column].isna().all():
            continue
        grid = means.pivot(index=down, columns=across, values=column).reindex(rows)[columns].to_numpy(float)
        log = unit == "J" and np.nanmin(grid) > 0
        figure = Figure(
            f"heat-{column}", name, f"{title_of(down)} downwards, {title_of(across)} to the right; means over seeds.",
            f"From {show(float(np.nanmin(grid)), unit)} to {show(float(np.nanmax(grid)), unit)}.",
        )  # fmt: skip
        labels = [[_limit(key, value) for value in values] for key, values in ((down, rows), (across, columns))]
        yield heat_map(figure, grid, *labels, unit=unit, log=log, row=down.rpartition(".")[2], column=across.rpartition(".")[2])


def _columns(points: Points) -> dict[str, Column]:
    """What every column of points.csv is: keys of the scenario say it themselves."""
    found = dict(POINTS)
    for name in points.frame.columns:
        if "." in name:
            try:
                node = node_at(name.split("."))
            except KeyError:
                continue
            unit = str(node.get("unit", ""))
            found[name] = Column("" if unit == "bit" else unit, str(node.get("description", "")))
    return {name: column for name, column in found.items() if name in points.frame}


def _table(points: Points) -> Html:
    return table("points", "Points", points.frame, _columns(points), "A row per point; energies and times per training sample.", most=1000)


def _repeat(sweep: SweepDirectory) -> Html:
    versions = sweep.document.get("versions") or {}
    text = (sweep.path / SOURCE).read_text(encoding="utf-8", errors="replace")
    return join(
        tag("p", "The sweep file below, saved where its base is found, repeats the sweep; the whole scenario of every point is in its directory:"),
        tag("pre", shlex.join(["neurosim-ep", "sweep", SOURCE, "--out", "again"]), data_copy=True),
        facts(
            [
                ("kind", sweep.kind), ("begun", sweep.document.get("begun")),
                ("versions", ", ".join(f"{name} {plain(version)}" for name, version in versions.items())),
                ("directory", sweep.path.resolve()), ("table", TABLE),
            ]
        ),
        tag("details", tag("summary", "The sweep file"), tag("pre", text, data_file=SOURCE), open=True),
    )  # fmt: skip
