"""What commands print."""

from __future__ import annotations

from collections.abc import Sequence

import click


def print_pairs(pairs: Sequence[tuple[str, str]]) -> None:
    width = max(len(label) for label, _ in pairs)
    for label, value in pairs:
        click.echo(f"{label:<{width}}  {value}")
