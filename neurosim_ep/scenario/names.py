"""Names that a registry knows, as values of scenario keys."""

from __future__ import annotations

from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import PydanticCustomError, core_schema

from neurosim_ep.errors import UsageError
from neurosim_ep.registry import Registry


class BrokenRules(ValueError):
    """Rules between keys that do not hold, as pairs (key, rule); the loader prefixes each key's section. An empty key
    stands for the value that was looked at itself.
    """

    def __init__(self, broken: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{key}: {rule}" if key else rule for key, rule in broken))
        self.broken = broken


class OneOf:
    """Annotation of a text that must be a name of ``registry``, those of other installed packages included."""

    def __init__(self, registry: Registry[Any]) -> None:
        self.registry = registry

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._known, handler(source))

    def __get_pydantic_json_schema__(self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> Any:
        return {"type": "string", "enum": self.registry.names(), "sentences": self.registry.sentences()}

    def _known(self, name: str) -> str:
        if name not in self.registry:
            raise PydanticCustomError("unknown_name", f"must be one of {', '.join(self.registry.names())}")
        try:
            _ = None if name in self.registry.own else self.registry[name]
        except UsageError as problem:
            raise BrokenRules([("", str(problem))]) from problem
        return name
