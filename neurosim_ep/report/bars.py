"""Bars that lie, with names at the left and figures at their ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from neurosim_ep.report.figure import WIDTH, Figure, mark, text, x_axis
from neurosim_ep.report.markup import Html, join, tag
from neurosim_ep.report.scale import Scale

ROW = 30.0
LETTER = 6.6  # width of a letter
ROOM = 74.0  # of the figure at the end of a bar


@dataclass(frozen=True)
class Bar:
    """From ``start`` to ``end``, with a ``whisker`` (low, high) where the value has an interval, and the figure
    ``shown`` beside it; ``said`` is all of it in words, ``look`` the number of its colour.
    """

    name: str
    start: float
    end: float
    shown: str
    said: str
    whisker: tuple[float, float] | None = None
    look: int = 0


def bars(
    figure: Figure,
    rows: Sequence[Sequence[Bar]],
    label: str,
    *,
    unit: str = "",
    log: bool = False,
    middle: float | None = None,
    legend: Sequence[object] = (),
) -> Html:
    """A row for each of ``rows``, whose bars have one name; ``middle``: where a line crosses all of them.

    On a ``log`` scale bars that start at 0 begin at its low end.
    """
    left = min(200.0, 14 + LETTER * max(len(row[0].name) for row in rows))
    every = [bar for row in rows for bar in row]
    ends = [value for bar in every for value in (bar.start, bar.end, *(bar.whisker or ()))]
    x = Scale.over([*ends, *([middle] if middle else [])], left, WIDTH - ROOM, unit=unit, log=log, zero=not log)
    bottom = 6 + ROW * len(rows)
    drawn = [tag("path", d=f"M{at:.1f} 6V{bottom:g}", class_="grid") for at, _ in x.ticks()]
    for number, row in enumerate(rows):
        top = 6 + ROW * number
        drawn.append(text(left - 8, top + 19, row[0].name, "end"))
        drawn += [_bar(bar, x, top, outside=len(row) == 1) for bar in row]
    if middle is not None:
        drawn.append(tag("path", d=f"M{x(middle):.1f} 2V{bottom:g}", class_="rule"))
    drawn.append(x_axis(x, bottom, label))
    return figure.frame(bottom + 44, drawn, legend=legend)


def _bar(bar: Bar, x: Scale, top: float, *, outside: bool) -> Html:
    start, end = sorted((x(bar.start), x(bar.end)))
    size: dict[str, Any] = {"x": start, "y": top + 5, "width": max(end - start, 1.0), "height": ROW - 10}
    parts = [mark("rect", bar.said, "fill", **size)]
    last = end
    if bar.whisker is not None and bar.whisker[0] < bar.whisker[1]:
        low, high = (x(value) for value in bar.whisker)
        parts.append(
            tag("path", d=f"M{low:.1f} {top + 15:g}H{high:.1f}m0 -5v10M{low:.1f} {top + 10:g}v10", class_="whisker")
        )
        last = max(end, high)
    if outside:
        parts.append(text(last + 6, top + 19, bar.shown, "figure"))
    return tag("g", join(parts), class_=f"s{bar.look}")
