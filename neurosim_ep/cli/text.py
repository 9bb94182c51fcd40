"""What commands print."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import click

NUMBER = re.compile(r"\d[\d.,ex+-]*(?:[ %]|$)")  # what a cell of numbers begins with


SENTENCE = re.compile(r"[A-Za-z]{3,} (?:.* )?[A-Za-z]{3,}")


def print_pairs(pairs: Sequence[tuple[str, str]]) -> None:
    width = max(len(label) for label, _ in pairs)
    for label, value in pairs:
        click.echo(f"{label:<{width}}  {value}")


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Aligned columns under their names; columns of numbers stand to the right."""
    lines = [""] * (len(rows) + 1)
    for name in rows[0]:
        cells = [row[name] for row in rows]
        width = max(len(cell) for cell in (name, *cells))
        align = str.rjust if all(NUMBER.match(cell) and not SENTENCE.search(cell) for cell in cells) else str.ljust
        lines = [f"{line}  {align(cell, width)}" for line, cell in zip(lines, (name, *cells), strict=True)]
    return "\n".join(line.rstrip() for line in lines)
