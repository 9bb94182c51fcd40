"""Tables that sort and that can be saved as CSV."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from neurosim_ep.record.columns import Column
from neurosim_ep.report.markup import Html, defined, join, plain, show, tag

NOTHING = Column("", "")


def table(
    name: str, title: str, frame: pd.DataFrame, columns: Mapping[str, Column], note: object = "", *, most: int = 300
) -> Html:
    """The first ``most`` rows of ``frame`` with what ``columns`` say of it; columns without any value are left out.

    Cells show numbers with their units; they sort by, and are saved with, the numbers themselves in base units.
    """
    kept = [column for column in frame.columns if frame[column].notna().any() and (frame[column] != "").any()]
    units = {column: columns.get(column, NOTHING).unit for column in kept}
    head = [_head(column, columns.get(column, NOTHING)) for column in kept]
    cells = [_cells(frame[column].head(most), units[column]) for column in kept]
    body = [tag("tr", list(row)) for row in zip(*cells, strict=True)]
    cut = f" The first {most:,} of {len(frame):,} rows." if len(frame) > most else ""
    caption = tag("caption", tag("b", title), join(" ", note, cut))
    whole = tag("table", caption, tag("thead", tag("tr", head)), tag("tbody", body), id=f"table-{name}", data_file=name)
    return tag("div", tag("div", whole, class_="scroll", tabindex=0, role="region", aria_label=title), class_="table")


def _head(name: str, column: Column) -> Html:
    unit = {"fraction": "", "": "", "1": ""}.get(column.unit, column.unit)
    label = name.removesuffix("_J").removesuffix("_s").removesuffix("_m2").replace("_", " ")
    words = join(defined(label, column.meaning), f" [{unit}]" if unit else "")
    return tag("th", words, scope="col", data_name=name)


def _cells(values: pd.Series[Any], unit: str) -> list[Html]:
    found = []
    for value in values.tolist():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and math.isnan(value):
            found.append(tag("td"))
            continue
        raw = plain(value)
        shown = show(value, unit)
        same = shown == raw
        found.append(tag("td", shown, class_="n" if number else None, data_v=None if same else raw))
    return found


def facts(rows: Sequence[tuple[str, object]]) -> Html:
    """Names and what they are."""
    return tag("dl", [join(tag("dt", name), tag("dd", what)) for name, what in rows if what not in ("", None)])


def glossary(columns: Mapping[str, Column]) -> Html:
    """What every name means, for readers of paper, too."""
    rows = [
        tag("tr", tag("th", name, scope="row"), tag("td", column.unit), tag("td", column.meaning))
        for name, column in sorted(columns.items())
    ]
    head = tag("tr", [tag("th", words, scope="col") for words in ("name", "unit", "meaning")])
    whole = tag("table", tag("thead", head), tag("tbody", rows), class_="plain")
    return tag("div", whole, class_="scroll", tabindex=0, role="region", aria_label="definitions")
