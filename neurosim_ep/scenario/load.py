"""Scenario files: read, override, validate, write back.

Precedence: overrides (``--set``) > file > defaults of the schema. Everything that is wrong is said at once; only rules
between keys wait until the keys of their sections are right.
"""

from __future__ import annotations

import copy
import difflib
import tomllib
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from neurosim_ep import resources
from neurosim_ep.errors import ScenarioError, listed, nearest
from neurosim_ep.scenario import describe
from neurosim_ep.scenario.schema import Scenario

Document = dict[str, Any]
NO_PLOTS, NO_REPORT = "telemetry.plots=false", "telemetry.report=false"
"""The overrides that leave the pictures and the report of a run for later."""


def load_scenario(path: str | Path, overrides: Sequence[str] = ()) -> Scenario:
    """The scenario of a TOML file, with ``overrides`` applied and every default filled in.

    Args:
        path: a file, or the name of a shipped scenario, as ``neurosim-ep list`` shows them.
        overrides: ``section.key=value`` each, with a TOML value; text needs no quotes. The last one of a key wins.

    Returns:
        Frozen sections of the keys that ``neurosim-ep schema`` lists, which has their units and rules.

    Raises:
        ScenarioError: the file cannot be read, or is not understood; the message lists every problem found.

    >>> scenario = load_scenario("smoke", ["training.epochs=3", "scheduler.policy=event"])
    >>> scenario.training.epochs, scenario.scheduler.policy, scenario.relaxation.free_steps
    (3, 'event', 8)
    >>> load_scenario("smoke", ["training.epoch=3"])
    Traceback (most recent call last):
    neurosim_ep.errors.ScenarioError: ...: 1 problem
      training.epoch (--set) = 3: unknown key; did you mean training.epochs?
    `neurosim-ep schema` lists all keys with their rules
    """
    file, _ = resources.resolve(str(path), "scenarios", ScenarioError)
    return parse_scenario(resources.read_toml(file, ScenarioError), str(file), overrides)


def parse_scenario(document: Document, source: str, overrides: Sequence[str] = ()) -> Scenario:
    """The scenario of a TOML ``document``; ``source`` names it in the :class:`ScenarioError`."""
    if broken := resources.broken_value(document):
        raise ScenarioError(listed(source, [broken]))
    merged = copy.deepcopy(document)
    problems = []
    overridden = set()
    for override in overrides:
        try:
            path, value = _parse_override(override)
        except ValueError as error:
            problems.append(f"--set {override}: {error}")
            continue
        overridden.add(path)
        table: Any = merged
        for name in path[:-1]:
            table = table.setdefault(name, {}) if isinstance(table, dict) else None  # no table: said when validated
        if isinstance(table, dict):
            table[path[-1]] = value
    if broken := resources.broken_value(merged):
        raise ScenarioError(listed(source, [*problems, broken]))
    try:
        scenario = Scenario.model_validate(merged)
    except ValidationError as error:
        problems += _problems(error, merged, overridden)
    if problems:
        raise ScenarioError(
            f"{listed(source, problems)}\n`neurosim-ep schema` lists all keys with their rules", problems
        )
    return scenario


def dump_scenario(scenario: Scenario) -> str:
    """TOML text of every key of ``scenario``; parsing it gives an equal scenario."""
    return tomli_w.dumps(scenario.model_dump(by_alias=True))


def _parse_override(override: str) -> tuple[tuple[str, ...], Any]:
    """Path of the key and its value."""
    name, _, text = override.partition("=")
    section, _, key = name.strip().partition(".")
    text = text.strip()
    path = (section, *_inner(section, key))
    if not (section and key and text):
        raise ValueError("must be section.key=value, for example --set training.epochs=3")
    try:
        (value,) = tomllib.loads(f"value = {text}").values()
    except (ValueError, RecursionError) as error:
        if text[0] in "[{\"'":
            raise ValueError("is not valid TOML; write lists as [1, 2] and text in lists in quotes") from error
        return path, text
    return path, value


def _inner(section: str, key: str) -> tuple[str, ...]:
    """``key`` of ``section`` with the tables inside the section that it names first."""
    first, _, rest = key.partition(".")
    known = rest and section in describe.names_at(()) and first in describe.names_at((section,))
    return (first, rest) if known and "properties" in describe.node_at((section, first)) else (key,)


def _problems(error: ValidationError, document: Document, overridden: Collection[tuple[str, ...]]) -> list[str]:
    """One line per key that is not understood."""
    found: dict[describe.KeyPath, str] = {}
    for item in [*error.errors(), *_errors_between_sections(error, document)]:
        path = _path_of(item, document)
        for key, text in _explain(item, path, document):
            if overridden and text.endswith("remove it") and key not in overridden:
                text = f"{text.removesuffix('remove it')}add {_without(key)} to what is set"
            mark = " (--set)" if any(key[: len(given)] == given for given in overridden) else ""
            found.setdefault(key, f"{_spell(key)}{mark}{text}")
    return [text for key, text in found.items() if not _has_deeper(key, found)]


def _without(key: describe.KeyPath) -> str:
    """The override that takes ``key`` back to its default."""
    return f"--set {_spell(key)}={describe.show(describe.node_at(key).get('default'))}"


def _errors_between_sections(error: ValidationError, document: Document) -> list[ErrorDetails]:
    """Broken rules between sections, which pydantic leaves out while a section is broken.

    They need a network that is right; broken sections are left at their defaults, and nothing is said of their keys.
    """
    broken = {item["loc"][0] for item in error.errors() if item["loc"]}
    if broken and "network" not in broken:
        try:
            Scenario.model_validate({name: table for name, table in document.items() if name not in broken})
        except ValidationError as between:
            for item in between.errors():
                rules = item["ctx"]["error"]
                rules.broken = [(key, rule) for key, rule in rules.broken if key.split(".")[0] not in broken]
            return between.errors()
    return []


def _has_deeper(key: describe.KeyPath, keys: Iterable[describe.KeyPath]) -> bool:
    """Whether a problem inside the value of ``key`` is known, which says more than one with the value."""
    return any(len(other) > len(key) and other[: len(key)] == key for other in keys)


def _path_of(item: ErrorDetails, document: Document) -> describe.KeyPath:
    """Where the error is in the document: its location without the names pydantic gives to union members."""
    path: describe.KeyPath = ()
    value: Any = document
    for part in item["loc"]:
        inside = part in value if isinstance(value, dict) else isinstance(value, list) and isinstance(part, int)
        if inside:
            value = value[part]
        if inside or item["type"] == "missing":
            path += (part,)
    return path


def _explain(item: ErrorDetails, path: describe.KeyPath, document: Document) -> Iterable[tuple[describe.KeyPath, str]]:
    """Pairs (path, text after the key) for one pydantic error."""
    value = _value_at(path, document)
    if item["type"] == "extra_forbidden":
        yield path, _unknown(path, value)
    elif item["type"] == "value_error":
        for name, rule in item["ctx"]["error"].broken:
            keys = (int(part) if part.isdigit() else part for part in name.split(".") if part)
            key = (*path, *keys)
            yield key, f" = {describe.show(_value_at(key, document))}: {rule}"
    else:
        node = describe.node_at(path)
        rule = "finite" if item["type"] == "finite_number" else describe.rule_text(node)
        given = "is missing and" if item["type"] == "missing" else f"= {describe.show(value)}:"
        yield path, f" {given} must be {rule}{_remedy(value, node)}"


def _value_at(path: describe.KeyPath, document: Document) -> Any:
    value: Any = document
    for part in path:
        if isinstance(value, dict) and part not in value:
            return describe.node_at(path).get("default")
        value = value[part]
    return value


def _unknown(path: describe.KeyPath, value: object) -> str:
    *parents, name = path
    homes = [section for section in describe.names_at(()) if name in describe.names_at((section,))]
    if not parents and not isinstance(value, dict):
        named = " or ".join(f"{home}.{name}" for home in homes)
        hint = f"did you mean {named}?" if homes else "keys stand under a [section]"
        return f" = {describe.show(value)}: stands outside of the sections; {hint}"
    valid = describe.names_at(parents)
    if not parents:
        return f": unknown section; {nearest(str(name), valid, 'sections: ')}"
    close = difflib.get_close_matches(str(name), valid, n=1)
    if homes and not close:
        hint = f"did you mean {homes[0]}.{name}?"
    elif close:
        hint = f"did you mean {_spell((*parents, close[0]))}?"
    else:
        hint = f"keys of {_spell(parents)}: {', '.join(valid)}"
    return f" = {describe.show(value)}: unknown key; {hint}"


def _remedy(value: object, node: describe.Node) -> str:
    if isinstance(value, str):
        close = difflib.get_close_matches(value, describe.choices(node), n=1)
        return f'; did you mean "{close[0]}"?' if close else ""
    quotable = node.get("type") == "string" and not isinstance(value, dict | list | None)
    return "; put it in quotes" if quotable else ""


def _spell(path: Sequence[str | int]) -> str:
    """``network.layers[0].size`` for ``("network", "layers", 0, "size")``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)[1:]
