"""What all sections of a scenario have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from neurosim_ep.scenario.names import BrokenRules
from neurosim_ep.strict import Strict

LARGEST = 10**6  # of most numbers: far beyond any use, and products of a few still fit float32
Rate = Annotated[float, Field(ge=0, le=LARGEST)]
Rates = Annotated[tuple[Rate, ...], Field(min_length=1, strict=False)]


def described(default: Any, meaning: str, unit: str | None = None, **rules: Any) -> Any:
    """A field with its default, meaning, unit and value rules."""
    extra: Any = {"unit": unit} if unit else None
    if default is ...:
        return Field(description=meaning, json_schema_extra=extra, **rules)
    return Field(default=default, description=meaning, json_schema_extra=extra, **rules)


class Section(Strict):
    """Base of all sections; lists are kept as tuples."""

    def broken_rules(self) -> Iterator[tuple[str, str]]:
        """Pairs (key, rule) of the rules between keys that do not hold; none unless a section says so."""
        yield from ()

    def changed(self, *keys: str) -> list[str]:
        """Those of ``keys`` that are not at their default."""
        return [key for key in keys if getattr(self, key) != type(self).model_fields[key].default]

    @model_validator(mode="after")
    def _refuse_broken_rules(self) -> Self:
        if broken := list(self.broken_rules()):
            raise BrokenRules(broken)
        return self
