"""Tables of TOML files that are checked key by key: what their models have in common, and what is said of a key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict
from pydantic_core import ErrorDetails


class Strict(BaseModel):
    """Base of all of them: unknown keys refused, no type coercion, immutable, finite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @classmethod
    def part(cls, name: str) -> type[Strict]:
        """What the table ``name`` in it must be."""
        annotation: Any = cls.model_fields[name].annotation
        found: type[Strict] = get_args(annotation)[0] if isinstance(annotation, UnionType) else annotation
        return found

    @classmethod
    def keys(cls) -> list[str]:
        """The keys that it knows."""
        return list(cls.model_fields)


NOT_EMPTY = r"\S"
"""Pattern of text with a character that is seen."""


def flat(table: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of ``table`` with its value, those of tables in it as "section.key"."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


KINDS = {
    "int": "a whole number", "float": "a number", "string": "text, in quotes", "bool": "true or false",
    "list": "a list, as [1, 2]", "tuple": "a list, as [1, 2]", "dict": "a table", "model": "a table",
}  # fmt: skip
"""What the first word of a pydantic error wants."""
RULES = {
    "finite_number": "a finite number",
    "int_from_float": "a whole number",
    "string_pattern_mismatch": "text that matches {pattern}",
    "none_required": "left out: this number has none",
    "greater_than": "above {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "below {lt:g}",
    "less_than_equal": "at most {le:g}",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
    "literal_error": "{expected}",
    "union_tag_invalid": "{expected_tags}",
}
"""What each other error wants, from its context."""


def broken_rule(key: str, item: ErrorDetails, table: str = "") -> str:
    """The problem of ``key`` that pydantic found as ``item``, with its value unless that is a table: what it must be,
    in words. ``table``: how to write a table that is asked for, where its first key is to have the value.
    """
    value, kind, context = item["input"], item["type"], item.get("ctx", {})
    if kind in ("value_error", "assertion_error"):
        rule = str(context["error"])
    elif kind == "missing":
        rule = "is missing"
    elif kind == "string_pattern_mismatch" and context["pattern"] == NOT_EMPTY:
        rule = "must be text that is not empty"
    elif kind == "unknown_name":  # of a registry, which says it in its own words
        rule = item["msg"]
    elif kind in RULES:
        rule = "must be " + RULES[kind].format(**context).replace("'", '"')
    elif (first := kind.partition("_")[0]) in KINDS:
        form = f", as {{ {table.format(value=_toml(value))} }}" if table and KINDS[first] == "a table" else ""
        rule = f"must be {KINDS[first]}{form}"
    else:
        rule = "is not what belongs here"
    return f"{key}: {rule}" if isinstance(value, dict) else f"{key} = {_toml(value)}: {rule}"


def _toml(value: Any) -> str:
    """``value`` as it stands in the file."""
    if isinstance(value, str):
        return f'"{value}"'
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)
