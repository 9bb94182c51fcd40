"""What a sweep file varies, multiplied out."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from neurosim_ep.errors import SweepError
from neurosim_ep.scenario import describe
from neurosim_ep.sweep.file import RandomSection, Range, SweepFile, Table, parsed_range

SEED = "scenario.seed"
MOST = 10_000  # points
DIGITS = 4  # of a number that is drawn, so that names and tables can be read

Settings = dict[str, Any]
"""Values by dotted key, ``relaxation.beta``."""


def settings_of(file: SweepFile, first_seed: int) -> list[Settings]:
    """The settings of every point, each once: seeds innermost, from ``first_seed`` on.

    Raises :class:`SweepError` for a key that varies in two places, or lists that do not fit.
    """
    _refuse_twice(file)
    seeds = [{SEED: first_seed + number} for number in range(file.sweep.seeds)] if file.sweep.seeds > 1 else [{}]
    points = [flat(point) for point in file.points] or [{}]
    parts = [_grid(file.grid), _zipped(file.zip), points, list(_drawn(file.random)), seeds]
    if (count := math.prod(map(len, parts))) > MOST:
        raise SweepError(f"has {count} points; must be at most {MOST}, so make its axes shorter")
    found: dict[str, Settings] = {}
    for several in product(*parts):
        settings = {key: value for part in several for key, value in part.items()}
        found.setdefault(json.dumps(settings, sort_keys=True, default=str), settings)
    return list(found.values())


def flat(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> Settings:
    """Dotted keys of ``table``; a table is a value where the scenario has one there."""
    found: Settings = {}
    for name, value in table.items():
        inner = (*path, *name.split("."))
        if isinstance(value, Mapping) and (len(inner) == 1 or _is_section(inner)):
            found |= flat(value, inner)
        else:
            found[".".join(inner)] = value
    return found


def toml_text(value: Any) -> str:
    """``value`` on one line, as TOML spells it."""
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(toml_text, value)) + "]"
    return str(value)


def _is_section(path: tuple[str, ...]) -> bool:
    try:
        return "properties" in describe.node_at(path)
    except (KeyError, StopIteration):
        return False


def _refuse_twice(file: SweepFile) -> None:
    places = {
        "fixed": flat(file.fixed),
        "grid": flat(file.grid),
        "zip": flat(file.zip),
        "points": {key for point in file.points for key in flat(point)},
        "random": flat(file.random.axes) if file.random else (),
        "sweep.seeds": {SEED} if file.sweep.seeds > 1 else (),
    }
    for key in dict.fromkeys(key for keys in places.values() for key in keys):
        where = [place for place, keys in places.items() if key in keys]
        if len(where) > 1:
            raise SweepError(f"{key}: is set in {' and in '.join(where)}; must be set in one of them, so remove it")


def _lists(table: Table, section: str) -> dict[str, list[Any]]:
    found = flat(table)
    for key, values in found.items():
        if not isinstance(values, list) or not values:
            shown = describe.show(values)
            raise SweepError(f"{section}.{key} = {shown}: must be a list of values; write it as [{shown}]")
    return found


def _grid(table: Table) -> list[Settings]:
    lists = _lists(table, "grid")
    return [dict(zip(lists, values, strict=True)) for values in product(*lists.values())]


def _zipped(table: Table) -> list[Settings]:
    lists = _lists(table, "zip")
    if len({len(values) for values in lists.values()}) > 1:
        lengths = ", ".join(f"{key} has {len(values)}" for key, values in lists.items())
        raise SweepError(f"zip: its lists must have as many values each, as they go together; {lengths}")
    return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)] or [{}]


def _drawn(section: RandomSection | None) -> Iterator[Settings]:
    if section is None:
        yield {}
        return
    dice = random.Random(section.seed)
    choices: dict[str, list[Any] | Range] = {}
    for key, value in flat(section.axes).items():
        if isinstance(value, dict):
            choices[key] = parsed_range(key, value)
        else:
            choices |= _lists({key: value}, "random.axes")
    for _ in range(section.draws):
        yield {key: _draw(dice, choice) for key, choice in choices.items()}


def _draw(dice: random.Random, choice: list[Any] | Range) -> Any:
    if isinstance(choice, list):
        return dice.choice(choice)
    low, high = choice.low, choice.high
    whole = isinstance(low, int) and isinstance(high, int)
    if choice.scale == "log":
        value = math.exp(dice.uniform(math.log(low), math.log(high)))
        return min(max(round(value), low), high) if whole else float(f"{value:.{DIGITS}g}")
    return dice.randint(int(low), int(high)) if whole else float(f"{dice.uniform(low, high):.{DIGITS}g}")
