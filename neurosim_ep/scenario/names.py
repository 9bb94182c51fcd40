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
    """Annotation of a text that must be a name of ``registry``, those of other installed packages included, or one of
    those that are allowed ``beside`` them, with their sentences.
    """

    def __init__(self, registry: Registry[Any], **beside: str) -> None:
        self.registry, self.beside = registry, beside

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._known, handler(source))

    def __get_pydantic_json_schema__(self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> Any:
        names, sentences = [*self.beside, *self.registry.names()], self.beside | self.registry.sentences()
        return {"type": "string", "enum": names, "sentences": sentences}

    def _known(self, name: str) -> str:
        if name in self.beside:
            return name
        try:
            if name not in self.registry:
                known = ", ".join([*self.beside, *self.registry.names()])
                raise PydanticCustomError("unknown_name", f"must be one of {known}")
            _ = None if name in self.registry.own else self.registry[name]
        except UsageError as problem:
            raise BrokenRules([("", str(problem))]) from problem
        return name
