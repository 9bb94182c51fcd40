"""What a command found: printed for people, or with --json as one object for programs."""

from __future__ import annotations

import json
import math
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Protocol

import click

from neurosim_ep.ranks import is_follower

SCHEMA_VERSION = 1
"""Of what --json prints: a key that is there stays, with its meaning and unit, while this number stays."""

NARROW = 40
"""Columns that lines need to be wrapped at all."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")


@dataclass(frozen=True)
class Answer:
    """``document``: what was found, SI quantities with their unit in the key; ``show`` prints it for people."""

    document: Mapping[str, Any]
    show: Callable[[], None]


def answering(command: Callable[..., Answer]) -> Callable[..., None]:
    """Give ``command`` the option --json, and print the :class:`Answer` it returns as the user wants it."""

    @json_option
    @wraps(command)
    def answered(*arguments: Any, as_json: bool, **choices: Any) -> None:
        answer = command(*arguments, **choices)
        if as_json and not is_follower():
            print_json(answer.document)
        elif not as_json:
            answer.show()

    return answered


def print_json(document: Mapping[str, Any]) -> None:
    """Print ``document`` after the version of its schema and the command it is of, as strict JSON in one line."""
    path = click.get_current_context().command_path.split()[1:]
    head = {"schema_version": SCHEMA_VERSION, "command": " ".join(path)}
    click.echo(json.dumps(_plain({**head, **document}), allow_nan=False))


class KeyInWords(Protocol):
    """A key of a file, for programs and for people."""

    def _asdict(self) -> dict[str, Any]: ...
    @property
    def text(self) -> str: ...


def explained_sections(described: Mapping[str, tuple[str, Sequence[KeyInWords]]]) -> Answer:
    """What sections of a file are about, and their keys."""

    def show() -> None:
        for name, (meaning, keys) in described.items():
            click.echo("\n".join([f"[{name}]  # {meaning}", *(key.text for key in keys), ""]))

    found = [
        {"name": name, "meaning": meaning, "keys": [key._asdict() for key in keys]}
        for name, (meaning, keys) in described.items()
    ]
    return Answer({"sections": found}, show)


def print_pairs(pairs: Sequence[tuple[str, str]]) -> None:
    """Print labels and values for people; on a terminal, long values go on below where they began."""
    width = max(len(label) for label, _ in pairs)
    room = shutil.get_terminal_size().columns - width - 2 if sys.stdout.isatty() else 0
    for label, value in pairs:
        lines = textwrap.wrap(value, room, break_long_words=False) if len(value) > room >= NARROW else [value]
        for line in lines:
            click.echo(f"{label:<{width}}  {line}")
            label = ""


def say(message: str) -> None:
    """Tell people what is being done, on stderr."""
    click.echo(message, err=True)


def _plain(value: Any) -> Any:
    """``value`` as JSON knows it: null for what is no finite number, numbers for NumPy's, text for the rest."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {str(key): _plain(one) for key, one in value.items()}
        case list() | tuple():
            return [_plain(one) for one in value]
    return _plain(value.item()) if hasattr(value, "item") else str(value)
