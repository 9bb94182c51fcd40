"""Heat maps, tiles on their mesh, and the links between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from neurosim_ep.report.figure import WIDTH, Figure, colour, colour_bar, mark, on_colour, text, x_axis
from neurosim_ep.report.markup import Html, join, show, tag
from neurosim_ep.report.scale import Names

NUMBERED = 12
"""Columns up to which a cell has its value in it."""
COLUMNS = 60
"""Columns of a heat map at most; of more, so many are shown, evenly spaced."""
SIDE = 40
"""Squares of a mesh along a side at most; of more, neighbours are taken together."""
THICK = 7.0
"""Width of the busiest link."""
LARGE = 72.0
"""Width of a square at most."""
STEPS = {"east": (1, 0), "west": (-1, 0), "south": (0, 1), "north": (0, -1)}
ASIDE = 0.13
"""How far the two directions of a link are drawn apart, in routers."""


def heat_map(
    figure: Figure,
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    unit: str = "",
    what: str = "",
    axes: tuple[str, str] = ("layer", "epoch"),
    log: bool = False,
) -> Html:
    """``values`` (rows, columns), which ``axes`` name, as colours from 0 to the largest, or, ``log``, from the smallest
    by their ratios; NaN cells are empty.
    """
    row, column = axes
    if len(columns) > COLUMNS:
        chosen = np.unique(np.linspace(0, len(columns) - 1, COLUMNS).round().astype(int))
        values, columns = values[:, chosen], [columns[place] for place in chosen]
    left = 16 + 7 * max(map(len, rows))
    x = Names(columns, left, WIDTH - 8)
    high, top = max(16.0, min(30.0, 280 / len(rows))), 22
    largest = float(np.nanmax(values)) if np.isfinite(values).any() else 0.0
    low = float(np.nanmin(values)) if log else 0.0
    shares = np.log(values / low) / (np.log(largest / low) or 1.0) if log else values / (largest or 1.0)
    numbered = len(columns) <= NUMBERED
    drawn = [text(0, 10, row, "label")]
    for line, name in enumerate(rows):
        at = top + high * line
        drawn.append(text(left - 6, at + high / 2 + 4, name, "end"))
        for place, head in enumerate(columns):
            value = float(values[line, place])
            if not np.isfinite(value):
                continue
            share = float(shares[line, place])
            said = f"{row} {name}, {column} {head}: {show(value, unit)}"
            start = x.start + place * x.step
            size: dict[str, Any] = {"x": start, "y": at, "width": x.step, "height": high}
            drawn.append(mark("rect", said, fill=colour(share), **size))
            if numbered:
                short = show(value, unit) if unit else f"{value:.2f}" if largest >= 0.1 else f"{value:.1e}"
                drawn.append(text(start + x.step / 2, at + high / 2 + 4, short, f"middle small {on_colour(share)}"))
    bottom = top + high * len(rows)
    turned = numbered and 9 + 7 * max(map(len, columns)) > x.step
    end = bottom + (80 if turned else 44)
    drawn.append(x_axis(x if turned else _Few(columns, x.start, x.end), bottom, column, turned=turned, y=end - 8))
    legend = [colour_bar(show(low, unit), show(largest, unit), what)]
    return figure.frame(end, drawn, legend=legend)


class _Few(Names):
    """Names of which every so many have a tick."""

    def ticks(self) -> list[tuple[float, str]]:
        wide = 9 + 7 * max(map(len, self.names))
        every = -(-wide // max(1, int(self.step)))
        return super().ticks()[::every]


def mesh(
    figure: Figure,
    x: np.ndarray,
    y: np.ndarray,
    amounts: np.ndarray,
    told: Sequence[str],
    labels: Sequence[str],
    *,
    unit: str,
    what: str,
) -> Html:
    """A square for every tile, in the core at the place (x, y) of the mesh, with the colour of its amount, what it is
    ``told`` and its label.
    """
    inside, seat = _seats(x, y)
    x, y = x * inside + seat % inside, y * inside + seat // inside
    columns, rows = int(x.max()) + 1, int(y.max()) + 1
    block = -(-max(columns, rows) // SIDE)
    if block > 1:
        x, y, amounts, told, labels = _blocks(x // block, y // block, amounts, labels, unit)
        columns, rows = int(x.max()) + 1, int(y.max()) + 1
    columns, rows = -(-columns // inside) * inside, -(-rows // inside) * inside
    side = min(LARGE, (WIDTH - 8) / columns)
    largest = float(amounts.max()) or 1.0
    start = (WIDTH - side * columns) / 2
    drawn = []
    if inside > 1 and block == 1:
        cores = sorted({(int(a) // inside, int(b) // inside) for a, b in zip(x, y, strict=True)})
        edge = side * inside - 0.6
        drawn = [
            tag(
                "rect",
                x=start + side * inside * a + 0.3,
                y=4.3 + side * inside * b,
                width=edge,
                height=edge,
                class_="core",
            )
            for a, b in cores
        ]
    for column, line, amount, said, label in zip(x, y, amounts, told, labels, strict=True):
        share, left, top = float(amount) / largest, start + side * float(column), 4 + side * float(line)
        gap = min(1.5, 0.1 * side)
        size: dict[str, Any] = {"x": left + gap, "y": top + gap, "width": side - 2 * gap, "height": side - 2 * gap}
        drawn.append(mark("rect", said, fill=colour(share), **size))
        if side >= 16 and block == 1:
            shown = f"middle small {on_colour(share)}"
            drawn.append(text(left + side / 2, top + side / 2 + 3.5, label, shown))
    legend = [colour_bar(show(0.0, unit), show(float(amounts.max()), unit), what)]
    if block > 1:
        legend.append(join(f"{block} x {block} neighbours are one square"))
    return figure.frame(side * rows + 8, drawn, legend=legend)


def _seats(x: np.ndarray, y: np.ndarray) -> tuple[int, np.ndarray]:
    """Tiles along a side of the fullest core, and the number of each tile in its core."""
    taken: dict[tuple[int, int], int] = {}
    seats = []
    for core in zip(x.tolist(), y.tolist(), strict=True):
        seats.append(taken.get(core, 0))
        taken[core] = seats[-1] + 1
    return math.ceil(math.sqrt(max(taken.values()))), np.array(seats)


def _blocks(
    x: np.ndarray, y: np.ndarray, amounts: np.ndarray, labels: Sequence[str], unit: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str], list[str]]:
    """Places, sums and words of blocks of neighbours."""
    columns = int(x.max()) + 1
    places, member = np.unique(y * columns + x, return_inverse=True)
    sums = np.bincount(member, amounts)
    told = []
    for number, amount in enumerate(sums):
        mine = np.flatnonzero(member == number)
        layers = ", ".join(dict.fromkeys(labels[int(place)] for place in mine))
        told.append(f"{len(mine)} tiles of layers {layers}: {show(float(amount), unit)}")
    return places % columns, places // columns, sums, told, [""] * len(sums)


def links(
    figure: Figure,
    places: tuple[np.ndarray, np.ndarray],
    sides: Sequence[str],
    starts: tuple[np.ndarray, np.ndarray],
    bits: np.ndarray,
    told: Sequence[str],
) -> Html:
    """Lines between the routers at ``places``, from ``starts`` to their ``sides``, as thick as their bits."""
    columns, rows = int(places[0].max()) + 1, int(places[1].max()) + 1
    step = min(3 * LARGE, (WIDTH - 8) / columns)
    left = (WIDTH - step * columns) / 2
    dots = "".join(
        f"M{left + step * (a + 0.5):.1f} {4 + step * (b + 0.5):.1f}h.1" for a, b in zip(*places, strict=True)
    )
    drawn = [tag("path", d=dots, class_="router")]
    largest = float(bits.max()) or 1.0
    for side, a, b, amount, said in zip(sides, *starts, bits, told, strict=True):
        across, down = STEPS[side]
        x0, y0 = a + 0.5 - ASIDE * down, b + 0.5 + ASIDE * across
        width = 1.0 + THICK * float(amount) / largest
        way = f"M{left + step * x0:.1f} {4 + step * y0:.1f}l{step * across:.1f} {step * down:.1f}"
        look = 1 if amount == largest else 0
        drawn.append(mark("path", said, f"link s{look}", d=way, stroke_width=width))
    return figure.frame(step * rows + 8, drawn)
