"""Tables of TOML files that are checked key by key: what their models have in common, and what is said of a key."""

from __future__ import annotations

from types import UnionType
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict


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


def broken_rule(key: str, value: Any, message: str) -> str:
    """The problem of ``key``, with its value unless that is a table; ``message`` is pydantic's."""
    rule = message.removeprefix("Value error, ")
    return f"{key}: {rule}" if isinstance(value, dict) else f"{key} = {value!r}: {rule}"
