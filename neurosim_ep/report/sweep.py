"""The report of a sweep: its points, each metric against what varies, and what is worth its energy."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd

from neurosim_ep.analysis.against import title_of
from neurosim_ep.analysis.load import NothingToDraw
from neurosim_ep.analysis.pareto import front
from neurosim_ep.analysis.points import ACCURACY, STYLES, TABLE, Points, points_of_sweep
from neurosim_ep.errors import SweepError
from neurosim_ep.record.columns import POINTS, Column
from neurosim_ep.report.figure import missing, or_missing
from neurosim_ep.report.markup import Html, defined, join, plain, show, tag
from neurosim_ep.report.sweep_figures import curves, frugal, heat_maps, pareto, settings
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
        return (
            f"{path.resolve().name}: report of a sweep",
            tag("h1", path.resolve().name),
            [("points", "Points", content)],
        )
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
    varied = (
        f", each with {seeds.nunique()} seeds"
        if seeds is not None and seeds.nunique() > 1 and "scenario.seed" not in points.keys
        else ""
    )
    lead = f"{len(points.frame)} {kind} of {told.get('base', 'a scenario')} that differ in {keys}{varied}."
    name = tag("h1", points.name, " ", tag("span", done, class_=f"status {mood}"))
    about = tag("p", told["description"], class_="quiet") if told.get("description") else None
    return join(name, tag("p", lead, class_="lead"), about, tag("ul", list(_cards(points)), class_="cards"))


def _cards(points: Points) -> Iterator[Html]:
    means = points.means()
    style = frugal(points)
    wanted = [(ACCURACY, "best test accuracy", False)]
    if style is not None:
        wanted += [
            (f"energy_{style}_J", "least energy per image", True),
            (f"latency_{style}_s", "least time per image", True),
            (f"ep_per_backprop_{style}", "least EP / backpropagation", True),
        ]
    for column, name, least in wanted:
        if column in means and means[column].notna().any():
            row = means.sort_values(column, ascending=least).iloc[0]
            value = show(float(row[column]), POINTS[column].unit)
            yield tag("li", defined(name, POINTS[column].meaning), tag("b", value), tag("small", settings(points, row)))


def _sections(sweep: SweepDirectory, points: Points) -> Iterator[Section]:
    yield "findings", "Findings", findings_list(list(_findings(points)))
    if points.has(ACCURACY) and frugal(points) is not None:
        fronts = [
            or_missing("Pareto front", partial(pareto, points, style))
            for style in STYLES
            if points.has(f"energy_{style}_J")
        ]
        yield "pareto", "Accuracy against energy", tag("div", fronts, class_="figures")
    pictures = [or_missing(name, draw) for name, draw in curves(points)]
    yield "metrics", "What each key does", tag("div", pictures[:FIGURES], class_="figures")
    if len(points.keys) == 2 and points.others(points.keys[0]) == [points.keys[1]]:
        yield "heat", "Both keys together", tag("div", list(heat_maps(points)), class_="figures")
    yield "points", "Points", _table(points)
    yield "repeat", "Repeat it", _repeat(sweep)
    names = tag("summary", "All names, units and meanings")
    yield "definitions", "Definitions", tag("details", names, glossary(_columns(points)), class_="paper")


def _findings(points: Points) -> Iterator[Finding]:
    means, style = points.means(), frugal(points)
    if not means.empty:
        if points.has(ACCURACY):
            yield from _accuracy(points, means)
        if style is not None:
            yield from _energy(points, means, style)
    for row in points.frame[points.frame["status"] != "done"].to_dict("records"):
        why = f": {row['reason']}" if isinstance(row.get("reason"), str) else ""
        mood = "bad" if row["status"] in ("failed", "diverged") else "warn"
        yield Finding(mood, f"Point {row['point']}", f"{row['status']}{why}")


def _accuracy(points: Points, means: pd.DataFrame) -> Iterator[Finding]:
    ordered = means.dropna(subset=[ACCURACY]).sort_values(ACCURACY)
    best, worst = ordered.iloc[-1], ordered.iloc[0]
    ends = (f"{row[ACCURACY]:.1%} ({settings(points, row)})" for row in (best, worst))
    yield Finding("good", "Accuracy", f"the best setting reaches {', the worst '.join(ends)}; means over seeds")
    if points.classes and best[ACCURACY] < 1.5 / points.classes:
        yield Finding("bad", "Chance", f"no setting is clearly better than chance, {1 / points.classes:.1%}")


def _energy(points: Points, means: pd.DataFrame, style: str) -> Iterator[Finding]:
    column, ratios = f"energy_{style}_J", means.get(f"ep_per_backprop_{style}")
    ordered = means.dropna(subset=[column]).sort_values(column)
    least, most = ordered.iloc[0], ordered.iloc[-1]
    ends = (f"{show(float(row[column]), 'J')} ({settings(points, row)})" for row in (least, most))
    yield Finding("", "Energy", f"in {style} style a training image takes {' to '.join(ends)}")
    if ratios is not None and ratios.notna().any():
        wins = f"{int((ratios < 1).sum())} of {int(ratios.notna().sum())} settings"
        between = f"{ratios.min():.3g} to {ratios.max():.3g} times its energy, {style}"
        said = f"EP takes less energy than backpropagation on the same tiles in {wins} ({between})"
        yield Finding("", "EP against backpropagation", said)
    if points.has(ACCURACY):
        each = "; ".join(
            f"{row[ACCURACY]:.1%} for {show(float(row[column]), 'J')} ({settings(points, row)})"
            for row in front(means, column).to_dict("records")
        )
        yield Finding("", "Pareto front", f"no other setting is more accurate for as little energy than: {each}")


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
    return table(
        "points",
        "Points",
        points.frame,
        _columns(points),
        "A row per point; energies and times per training sample.",
        most=1000,
    )


def _repeat(sweep: SweepDirectory) -> Html:
    versions = sweep.document.versions
    text = (sweep.path / SOURCE).read_text(encoding="utf-8", errors="replace")
    return join(
        tag(
            "p",
            "The sweep file below, saved where its base is found, repeats the sweep; the whole scenario of every point "
            "is in its directory:",
        ),
        tag("pre", shlex.join(["neurosim-ep", "sweep", SOURCE, "--out", "again"]), data_copy=True),
        facts(
            [
                ("kind", sweep.kind),
                ("begun", sweep.document.begun),
                ("versions", ", ".join(f"{name} {plain(version)}" for name, version in versions.items())),
                ("directory", sweep.path.resolve()),
                ("table", TABLE),
            ]
        ),
        tag("details", tag("summary", "The sweep file"), tag("pre", text, data_file=SOURCE), open=True),
    )
