"""The report of a run, section by section, from its directory alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from neurosim_ep.analysis.load import NothingToDraw, Run, open_run
from neurosim_ep.record.columns import TABLES, Column
from neurosim_ep.report import bill, chip, energy, training
from neurosim_ep.report.figure import or_missing
from neurosim_ep.report.markup import Html, defined, duration, join, plain, show, tag
from neurosim_ep.report.repeating import repeat, text_of
from neurosim_ep.report.run_tables import all_columns, tables
from neurosim_ep.report.tables import glossary
from neurosim_ep.report.words import findings, findings_list, sentence, status_badge

Section = tuple[str, str, Html]
"""Its name, its heading and what it holds."""


def title(run: Run) -> str:
    return f"{run.label}: report of a run"


def head(run: Run) -> Html:
    """What was run and the figures that sum it up."""
    description = str(run.scenario.get("scenario", {}).get("description", ""))
    name = tag("h1", run.label, " ", status_badge(run.info.get("status")))
    about = tag("p", description, class_="quiet") if description else None
    return join(name, tag("p", sentence(run), class_="lead"), about, tag("ul", list(_cards(run)), class_="cards"))


def _cards(run: Run) -> Iterator[Html]:
    metrics, epochs = run.info.get("metrics") or {}, TABLES["epochs.csv"]
    best = metrics.get("best_test_accuracy")
    if metrics.get("test_accuracy") is not None:
        yield _card(
            "test accuracy", metrics["test_accuracy"], epochs["test_accuracy"], f"best {show(best, 'fraction')}"
        )
    for name in ("train_accuracy", "loss"):
        if metrics.get(name) is not None:
            yield _card(name.replace("_", " "), metrics[name], epochs[name])
    if metrics.get("not_converged") is not None and run.relaxes:
        yield _card(
            "not converged",
            metrics["not_converged"],
            epochs["not_converged"],
            f"{show(metrics.get('mean_ticks'))} ticks on average",
        )
    try:
        found = energy.frugal(run)
    except NothingToDraw:
        found = None
    if found is not None:
        compared = TABLES["comparison.csv"]
        between = f"{show(found.low_J, 'J')} to {show(found.high_J, 'J')}; {found.style}"
        yield _card("energy per image", found.energy_J, compared["energy_J"], between)
        yield _card("time per image", found.latency_s, compared["latency_s"], found.style)
        about = Column("", "energy of EP / energy of backpropagation on the same tiles, per training sample")
        if found.ratio == found.ratio:
            within = f"{found.between}; 1 is a draw" if found.between else "1 is a draw"
            yield _card("EP / backpropagation", found.ratio, about, within)
    for name, file, column, key in (
        ("chip area", "area.csv", "area_m2", None),
        ("on-chip memory", "memory.csv", "bits", "ep"),
    ):
        total = _total(run, file, column, key)
        if total:
            yield _card(name, total, TABLES[file][column], "all items")
    if run.info.get("seconds") is not None:
        yield _card(
            "time of the run", duration(run.info["seconds"]), epochs["seconds"], plain(run.info.get("device", ""))
        )


def _card(name: str, value: Any, column: Column, more: str = "") -> Html:
    shown = show(value, column.unit) if not isinstance(value, str) else value
    return tag("li", defined(name, column.meaning), tag("b", shown), tag("small", more) if more else None)


def _total(run: Run, file: str, column: str, method: str | None) -> float:
    try:
        frame = run.table(file, (column,))
    except NothingToDraw:
        return 0.0
    return float((frame[frame["method"] == method] if method else frame)[column].sum())


def sections(run: Run) -> Iterator[Section]:
    """Everything below the head."""
    log = text_of(run.path / "run.log")
    found = findings(run, log, _diagnosis(run))
    yield "findings", "Findings", findings_list(found)
    yield "learning", "Learning", _figures(run, {"Accuracy": training.accuracy, "Loss": training.loss})
    shown: dict[str, Callable[[Run], Html | None]] = {"Weight gradient of every layer (U-curve)": training.gradients}
    if run.relaxes:
        shown |= {
            "State of every layer": training.states,
            "How the states settle": training.residuals,
            "Do the states depend on the input?": training.spread,
        }
    shown["Nudge against the converters"] = training.resolution
    yield "dynamics", "Inside the network", _figures(run, shown)
    yield (
        "chip",
        "Energy",
        _figures(
            run,
            {
                "Where the energy goes": energy.components,
                "EP against backpropagation": energy.against,
                "Which numbers decide": energy.deciding,
                "Memory": energy.memory,
            },
        ),
    )
    yield "mesh", "Tiles and traffic", _figures(run, {"Tiles and links": chip.mesh_figures})
    yield (
        "bill",
        "The bill, line by line",
        or_missing("The bill", lambda: bill.explained(run.path, energy.frugal(run).style)),
    )
    yield "tables", "Tables", join([or_missing(name, make) for name, make in tables(run)])
    yield "repeat", "Repeat it", repeat(run)
    yield (
        "definitions",
        "Definitions",
        tag("details", tag("summary", "All names, units and meanings"), glossary(all_columns()), class_="paper"),
    )


def _figures(run: Run, pictures: dict[str, Callable[[Run], Html | None]]) -> Html:
    return tag("div", [or_missing(name, partial(draw, run)) for name, draw in pictures.items()], class_="figures")


def _diagnosis(run: Run) -> dict[str, Any] | None:
    try:
        found = json.loads((run.path / "diagnosis" / "diagnosis.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def open_report(path: Path) -> tuple[str, Html, list[Section]]:
    """Title, head and sections of the run at ``path``."""
    run = open_run(path)
    return title(run), head(run), list(sections(run))
