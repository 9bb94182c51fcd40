"""The scenario schema in words: one source for `neurosim-ep schema` and for the rule in each error."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from neurosim_ep.scenario.schema import Scenario

KeyPath = tuple[str | int, ...]  # where a value stands in the document: ("network", "layers", 0, "size")
Node = dict[str, Any]  # a piece of the JSON schema of Scenario

_BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


class KeyDescription(NamedTuple):
    """What `schema` prints about one key; ``sentences``: what each name means that it can have, where these are of a
    registry.
    """

    name: str
    default: str
    rule: str
    unit: str
    meaning: str
    sentences: dict[str, str]

    @property
    def text(self) -> str:
        """The key, and indented below it what is to be said of it."""
        default = f"= {self.default}" if self.default else "(required)"
        unit = f" [{self.unit}]" if self.unit else ""
        names = "".join(f"\n        {name}: {sentence}" for name, sentence in self.sentences.items())
        return f"  {self.name} {default}{unit}\n      {self.meaning}\n      {self.rule}{names}"


def describe_section(section: str) -> tuple[str, list[KeyDescription]]:
    """Meaning of ``section`` and its keys; keys of layer tables follow as ``layers[].size``."""
    node = node_at((section,))
    return node["description"], _describe_keys(node, "")


def _describe_keys(node: Node, prefix: str) -> list[KeyDescription]:
    keys = []
    for name, raw in node["properties"].items():
        key = _follow(raw)
        if "properties" in key:
            keys += _describe_keys(key, f"{prefix}{name}.")
            continue
        default = show(raw["default"]) if "default" in raw else ""
        keys.append(
            KeyDescription(
                prefix + name, default, rule_text(key), raw.get("unit", ""), key["description"], _sentences(key)
            )
        )
        items = _follow(key.get("items", {}))
        if "properties" in items:
            keys += _describe_keys(items, f"{prefix}{name}[].")
    return keys


def _sentences(node: Node) -> dict[str, str]:
    arms = node.get("anyOf", [node])
    return next((arm["sentences"] for arm in arms if "sentences" in arm), {})


def node_at(path: Sequence[str | int]) -> Node:
    """The schema of the value at ``path``."""
    node = _schema()
    for part in path:
        if isinstance(part, int):
            node = next(arm["items"] for arm in node.get("anyOf", [node]) if "items" in arm)
        else:
            node = node["properties"][part] if "properties" in node else node["additionalProperties"]
        node = _follow(node)
    return node


def names_at(path: Sequence[str | int]) -> list[str]:
    """Valid keys of the table at ``path``; the sections for the empty path."""
    return list(node_at(path)["properties"])


def choices(node: Node) -> list[str]:
    """The texts ``node`` accepts when it is an enumeration, else nothing."""
    listed = [item for arm in node.get("anyOf", [node]) for item in arm.get("enum", [arm.get("const")])]
    return [item for item in listed if isinstance(item, str)]


def rule_text(node: Node) -> str:
    """What ``node`` accepts, in words that complete the sentence "must be ..."."""
    if "anyOf" in node:
        arms = [rule_text(arm) for arm in node["anyOf"]]
        return " or ".join(arms).replace(f"list, each {arms[0]}", "list of these")
    if "const" in node:
        return show(node["const"])
    if "enum" in node:
        return "one of " + ", ".join(show(item) for item in node["enum"])
    bounds = " and ".join(f"{sign} {show(node[key])}" for key, sign in _BOUNDS.items() if key in node)
    match node["type"]:
        case "array":
            kind = "non-empty list" if node.get("minItems") else "list"
            return f"a {kind}, each {rule_text(_follow(node['items']))}"
        case "string":
            return f"text of the form {node['pattern']}" if "pattern" in node else "text"
        case "boolean":
            return "true or false"
        case "integer":
            return f"an integer {bounds}".strip()
        case "number":
            return f"a number {bounds}".strip()
        case "object" if node.get("additionalProperties"):
            return f"a table, each value {rule_text(_follow(node['additionalProperties']))}"
    return "a table of keys"


def show(value: object) -> str:
    """``value`` much as a TOML file spells it, on one line of at most 80 characters."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def _follow(node: Node) -> Node:
    if "$ref" not in node:
        return node
    target = _schema()["$defs"][node["$ref"].rpartition("/")[2]]
    return target | {key: value for key, value in node.items() if key != "$ref"}


@cache
def _schema() -> Node:
    return Scenario.model_json_schema()
