"""Tables for a prompt and for a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape


def text_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Columns of equal width under their names."""
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in rows[0]}
    lines = [{name: name for name in widths}, *rows]
    return "\n".join("  ".join(line[name].ljust(width) for name, width in widths.items()).rstrip() for line in lines)


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
