"""The report of a run, section by section, from its directory alone."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from neurosim_ep.analysis.load import NothingToDraw, Run, open_run
from neurosim_ep.record.columns import POINTS, TABLES, Column
from neurosim_ep.report import bill, chip, training
from neurosim_ep.report.figure import missing
from neurosim_ep.report.markup import Html, defined, duration, join, plain, show, tag
from neurosim_ep.report.tables import facts, glossary, table
from neurosim_ep.report.words import findings, findings_list, sentence, status_badge
from neurosim_ep.units import format_bits

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
        yield _card("test accuracy", metrics["test_accuracy"], epochs["test_accuracy"], f"best {show(best, 'fraction')}")
    for name in ("train_accuracy", "loss"):
        if metrics.get(name) is not None:
            yield _card(name.replace("_", " "), metrics[name], epochs[name])
    if metrics.get("not_converged") is not None and run.relaxes:
        yield _card("not converged", metrics["not_converged"], epochs["not_converged"], f"{show(metrics.get('mean_ticks'))} ticks on average")
    try:
        found = chip.frugal(run)
    except NothingToDraw:
        found = None
    if found is not None:
        compared = TABLES["comparison.csv"]
        between = f"{show(found.low_J, 'J')} to {show(found.high_J, 'J')}; {found.style}"
        yield _card("energy per image", found.energy_J, compared["energy_J"], between)
        yield _card("time per image", found.latency_s, compared["latency_s"], found.style)
        about = Column("", "energy of EP / energy of backpropagation on the same tiles, per training sample")
        yield _card("EP / backpropagation", found.ratio, about, f"{found.ratio_low:.3g} to {found.ratio_high:.3g}; 1 is a draw")
    for name, file, column, key in (("chip area", "area.csv", "area_m2", None), ("on-chip memory", "memory.csv", "bits", "ep")):
        total = _total(run, file, column, key)
        if total:
            yield _card(name, total, TABLES[file][column], "all items")
    if run.info.get("seconds") is not None:
        yield _card("time of the run", duration(run.info["seconds"]), epochs["seconds"], plain(run.info.get("device", "")))


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
    log = _text(run.path / "run.log")
    found = findings(run, log, _diagnosis(run))
    yield "findings", "Findings", findings_list(found)
    yield "learning", "Learning", _figures(run, {"Accuracy": training.accuracy, "Loss": training.loss})
    shown: dict[str, Callable[[Run], Html | None]] = {"Weight gradient of every layer (U-curve)": training.gradients}
    if run.relaxes:
        shown |= {
            "State of every layer": training.states, "How the states settle": training.residuals,
            "Do the states depend on the input?": training.spread,
        }  # fmt: skip
    shown["Nudge against the converters"] = training.resolution
    yield "dynamics", "Inside the network", _figures(run, shown)
    yield "chip", "Energy", _figures(
        run, {"Where the energy goes": chip.components, "EP against backpropagation": chip.against, "Which numbers decide": chip.deciding, "Memory": chip.memory}
    )  # fmt: skip
    yield "mesh", "Tiles and traffic", _figures(run, {"Tiles and links": chip.mesh_figures})
    yield "bill", "The bill, line by line", _or_missing("The bill", lambda: bill.explained(run.path, chip.frugal(run).style))
    yield "tables", "Tables", join([_or_missing(name, make) for name, make in _tables(run)])
    yield "repeat", "Repeat it", _repeat(run)
    yield "definitions", "Definitions", tag("details", tag("summary", "All names, units and meanings"), glossary(_all_columns()), class_="paper")


def _figures(run: Run, pictures: dict[str, Callable[[Run], Html | None]]) -> Html:
    return tag("div", [_or_missing(name, lambda draw=draw: draw(run)) for name, draw in pictures.items()], class_="figures")


def _or_missing(name: str, make: Callable[[], Html | None]) -> Html | None:
    """What ``make`` makes, or why the run has not recorded what it would be made of."""
    try:
        return make()
    except NothingToDraw as reason:
        return missing(name, reason)


def _tables(run: Run) -> Iterator[tuple[str, Callable[[], Html]]]:
    def whole(file: str, title: str, note: str) -> Callable[[], Html]:
        return lambda: table(file.removesuffix(".csv"), title, _frame(run, file), TABLES[file], note)

    for name in PARTS:
        yield name.capitalize(), partial(_part, run, name)
    yield "EP and backpropagation", whole("comparison.csv", "EP and backpropagation", "Per training sample and style.")
    yield "Energy by component", lambda: table(
        "components", "Energy by component", chip.component_table(run), TABLES["cost.csv"] | POINTS | _COUNTED,
        "Per training sample; tile by tile and phase by phase in cost.csv.",
    )  # fmt: skip
    yield "Deciding numbers", whole("sensitivity.csv", "Deciding numbers", "One number of the hardware model at a time at the ends of its interval.")
    yield "Tiles", lambda: table("tiles", "Tiles", chip.read_mesh(run).tiles, TABLES["tiles.csv"] | _MESH, "Event style, per training image; reads and conversions in tiles.csv.")
    yield "Links", lambda: table("links", "Links of the mesh", chip.read_mesh(run).links, _MESH, "Per training image, the busiest first.", most=100)
    yield "Memory", lambda: _memory(run)
    yield "Area", lambda: _area(run)


def _moving(file: str) -> list[str]:
    """Columns about how samples settle."""
    return [name for name in TABLES[file] if name.startswith(("free_", "nudge_"))]


def _others(file: str, *parts: Sequence[str]) -> list[str]:
    """Columns of ``file`` that are in none of ``parts``."""
    return [name for name in TABLES[file] if all(name not in part for part in parts)]


_WORK = [
    "updates", "updates_dense", "updates_needed", "events_per_neuron_tick", "energy_J", "adc_step_forward",
    "adc_step_transposed", "adc_step_nudge", "clipped_forward", "clipped_transposed", "pulses_up", "pulses_down",
    "pulses_net",
]  # fmt: skip
PARTS: dict[str, tuple[str, Sequence[str], Sequence[str]]] = {
    "epochs": ("epochs.csv", ["epoch"], _others("epochs.csv", ["epoch"], _moving("epochs.csv"))),
    "epochs-settling": ("epochs.csv", ["epoch"], _moving("epochs.csv")),
    "layers-states": (
        "layers.csv", ["layer", "name"], _others("layers.csv", ["epoch", "layer", "name"], _WORK, _moving("layers.csv")),
    ),
    "layers-settling": ("layers.csv", ["layer", "name"], _moving("layers.csv")),
    "layers-work": ("layers.csv", ["layer", "name"], _WORK),
}  # fmt: skip
"""Tables by name: the file, what names its rows, and a part of its columns: whole, these tables fit no page."""
_COUNTED = {"counted": Column("", "what is counted of the component")}
_MESH = {
    "x": Column("", "column of the mesh"), "y": Column("", "row of the mesh"),
    "side": Column("", "side of the router that the link leaves"), "bits": Column("", "bits that cross the link per image"),
    "energy_J": Column("J", "energy of the tile per training image, event style"),
    "sent_bits": Column("", "bits that the tile sends per image"), "received_bits": Column("", "bits that it gets per image"),
}  # fmt: skip


def _frame(run: Run, file: str) -> pd.DataFrame:
    return run.table(file, (next(iter(TABLES[file])),))


def _part(run: Run, name: str) -> Html:
    """A part of the columns of epochs.csv, or of the last epoch of layers.csv."""
    file, heads, wanted = PARTS[name]
    frame, note = _frame(run, file), "A row per epoch."
    if file == "layers.csv":
        last = frame["epoch"].max()
        frame, note = frame[frame["epoch"] == last], f"Epoch {last}, the last one; all epochs in {file}."
    chosen = [column for column in frame.columns if column in heads or column in wanted]
    return table(name, name.capitalize().replace("-", ": "), frame[chosen], TABLES[file], note)


def _memory(run: Run) -> Html:
    """What each way of learning keeps on the chip."""
    frame = run.table("memory.csv", ("method", "item", "bits"))
    wide = frame.pivot_table(index="item", columns="method", values="bits", aggfunc="sum").reset_index()
    methods = {name: Column("bit", f"memory of {words}") for name, words in chip.METHODS.items()}
    wide = wide[["item", *(name for name in methods if name in wide)]].sort_values("ep", ascending=False)
    return table("memory", "Memory", wide, TABLES["memory.csv"] | methods, "Sums over the layers.")


def _area(run: Run) -> Html:
    frame = run.table("area.csv", ("component", "units", "area_m2"))
    summed = frame.groupby("component", as_index=False)[["units", "area_m2"]].sum()
    note = "Sums over the layers."
    return table("area", "Area", summed.sort_values("area_m2", ascending=False), TABLES["area.csv"], note)


def _all_columns() -> dict[str, Column]:
    return {f"{file.removesuffix('.csv')}: {name}": column for file, columns in TABLES.items() for name, column in columns.items()}


def _repeat(run: Run) -> Html:
    """The commands that repeat the run, what it was made with, and its whole scenario."""
    info = run.info
    argv = info.get("argv") or []
    typed = shlex.join(map(plain, argv)) if argv else ""
    data, memory, versions = info.get("data") or {}, info.get("peak_memory") or {}, info.get("versions") or {}
    threads = f" --threads {info['threads']}" if isinstance(info.get("threads"), int) else ""
    again = f"neurosim-ep run scenario.toml --out again{threads}"
    rows = [
        ("images", data.get("source")), ("SHA-256 of the images", data.get("digest")), ("seed", info.get("seed")),
        ("device", info.get("device")), ("threads", info.get("threads")), ("precision", info.get("precision")),
        ("peak memory", f"{format_bits(8 * memory['bytes'])} ({plain(memory.get('where', ''))})" if isinstance(memory.get("bytes"), int) else ""),
        ("started", info.get("started")), ("finished", info.get("finished")),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
        ("directory", run.path.resolve()),
    ]  # fmt: skip
    changes = [
        tag("li", f"after epoch {change.get('epoch')}: {', '.join(map(plain, change.get('set') or []))} ({change.get('time')})")
        for change in info.get("changes") or []
    ]
    return join(
        tag("p", "The scenario below holds every key; this repeats the run, bit for bit on the same kind of device:"),
        tag("pre", again, data_copy=True),
        [tag("p", "It was typed as:"), tag("pre", typed, data_copy=True)] if typed else None,
        [tag("p", "Changed on the way:"), tag("ul", changes)] if changes else None,
        facts(rows),
        _file("The whole scenario", run.path / "scenario.toml"), _file("The hardware model", run.path / "hardware.toml"),
    )  # fmt: skip


def _file(name: str, path: Path) -> Html | None:
    text = _text(path)
    return tag("details", tag("summary", name), tag("pre", text, data_file=path.name)) if text else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


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
