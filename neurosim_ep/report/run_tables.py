"""The tables of a run, cut to what fits a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import pandas as pd

from neurosim_ep.analysis.load import Run
from neurosim_ep.record.columns import POINTS, TABLES, Column
from neurosim_ep.report import chip, energy
from neurosim_ep.report.markup import Html
from neurosim_ep.report.tables import table


def tables(run: Run) -> Iterator[tuple[str, Callable[[], Html]]]:
    def whole(file: str, title: str, note: str) -> Callable[[], Html]:
        return lambda: table(file.removesuffix(".csv"), title, _frame(run, file), TABLES[file], note)

    for name in PARTS:
        yield name.capitalize(), partial(_part, run, name)
    yield "EP and backpropagation", whole("comparison.csv", "EP and backpropagation", "Per training sample and style.")
    yield (
        "Energy by component",
        lambda: table(
            "components",
            "Energy by component",
            energy.component_table(run),
            TABLES["cost.csv"] | POINTS | _COUNTED,
            "Per training sample; tile by tile and phase by phase in cost.csv.",
        ),
    )
    yield (
        "Deciding numbers",
        whole(
            "sensitivity.csv",
            "Deciding numbers",
            "One number of the hardware model at a time at the ends of its interval.",
        ),
    )
    yield (
        "Tiles",
        lambda: table(
            "tiles",
            "Tiles",
            chip.read_mesh(run).tiles,
            TABLES["tiles.csv"] | _MESH,
            "Event style, per training image; reads and conversions in tiles.csv.",
        ),
    )
    yield (
        "Links",
        lambda: table(
            "links",
            "Links of the mesh",
            chip.read_mesh(run).links,
            _MESH,
            "Per training image, the busiest first.",
            most=100,
        ),
    )
    yield "Memory", lambda: _memory(run)
    yield "Area", lambda: _area(run)


def _moving(file: str) -> list[str]:
    """Columns about how samples settle."""
    return [name for name in TABLES[file] if name.startswith(("free_", "nudge_"))]


def _others(file: str, *parts: Sequence[str]) -> list[str]:
    """Columns of ``file`` that are in none of ``parts``."""
    return [name for name in TABLES[file] if all(name not in part for part in parts)]


_WORK = [
    "updates",
    "updates_dense",
    "updates_needed",
    "events_per_neuron_tick",
    "energy_J",
    "adc_step_forward",
    "adc_step_transposed",
    "adc_step_nudge",
    "clipped_forward",
    "clipped_transposed",
    "pulses_up",
    "pulses_down",
    "pulses_net",
]
PARTS: dict[str, tuple[str, Sequence[str], Sequence[str]]] = {
    "epochs": ("epochs.csv", ["epoch"], _others("epochs.csv", ["epoch"], _moving("epochs.csv"))),
    "epochs-settling": ("epochs.csv", ["epoch"], _moving("epochs.csv")),
    "layers-states": (
        "layers.csv",
        ["layer", "name"],
        _others("layers.csv", ["epoch", "layer", "name"], _WORK, _moving("layers.csv")),
    ),
    "layers-settling": ("layers.csv", ["layer", "name"], _moving("layers.csv")),
    "layers-work": ("layers.csv", ["layer", "name"], _WORK),
}
"""Tables by name: the file, what names its rows, and a part of its columns: whole, these tables fit no page."""
_COUNTED = {"counted": Column("", "what is counted of the component")}
_MESH = {
    "x": Column("", "column of the mesh"),
    "y": Column("", "row of the mesh"),
    "side": Column("", "side of the router that the link leaves"),
    "bits": Column("", "bits that cross the link per image"),
    "energy_J": Column("J", "energy of the tile per training image, event style"),
    "sent_bits": Column("", "bits that the tile sends per image"),
    "received_bits": Column("", "bits that it gets per image"),
}


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
    methods = {name: Column("bit", f"memory of {words}") for name, words in energy.METHODS.items()}
    wide = wide[["item", *(name for name in methods if name in wide)]].sort_values("ep", ascending=False)
    return table("memory", "Memory", wide, TABLES["memory.csv"] | methods, "Sums over the layers.")


def _area(run: Run) -> Html:
    frame = run.table("area.csv", ("component", "units", "area_m2"))
    summed = frame.groupby("component", as_index=False)[["units", "area_m2"]].sum()
    note = "Sums over the layers."
    return table("area", "Area", summed.sort_values("area_m2", ascending=False), TABLES["area.csv"], note)


def all_columns() -> dict[str, Column]:
    return {
        f"{file.removesuffix('.csv')}: {name}": column
        for file, columns in TABLES.items()
        for name, column in columns.items()
    }
