"""Tables for a prompt and for a notebook."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape

NUMBER = re.compile(r"\d[\d.,ex+-]*(?:[ %]|$)")  # what a cell of numbers begins with
SENTENCE = re.compile(r"[A-Za-z]{3,} (?:.* )?[A-Za-z]{3,}")


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Aligned columns under their names; columns of numbers stand to the right."""
    lines = [""] * (len(rows) + 1)
    for name in rows[0]:
        cells = [row[name] for row in rows]
        width = max(len(cell) for cell in (name, *cells))
        align = str.rjust if all(NUMBER.match(cell) and not SENTENCE.search(cell) for cell in cells) else str.ljust
        lines = [f"{line}  {align(cell, width)}" for line, cell in zip(lines, (name, *cells), strict=True)]
    return "\n".join(line.rstrip() for line in lines)


def labelled(label: str, sentences: Iterable[str]) -> list[tuple[str, str]]:
    """Rows of pairs for ``sentences``, the ``label`` beside the first."""
    return [(label if number == 0 else "", said) for number, said in enumerate(sentences)]


def html_table(rows: Sequence[Mapping[str, str]], caption: str) -> str:
    """The same as HTML, below a ``caption``."""
    head = "".join(f'<th style="text-align: left">{escape(name)}</th>' for name in rows[0])
    body = "".join(f"<tr>{_cells(row.values())}</tr>" for row in rows)
    return f"<p><b>{escape(caption)}</b></p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def html_pairs(pairs: Sequence[tuple[str, str]], caption: str) -> str:
    """Labels and values as HTML, below a ``caption``."""
    body = "".join(f"<tr>{_cells(pair)}</tr>" for pair in pairs)
    return f"<p><b>{escape(caption)}</b></p><table><tbody>{body}</tbody></table>"


def _cells(texts: Iterable[str]) -> str:
    return "".join(f'<td style="text-align: left">{escape(text)}</td>' for text in texts)
