"""Shipped settings of a section, by name."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from neurosim_ep import resources
from neurosim_ep.errors import ScenarioError

ABOUT = ("description", "source")


def converter_preset(name: str, valid: Collection[str]) -> dict[str, Any]:
    """Keys of ``[hardware.converters]`` that the shipped converters ``name``, or the TOML file of that name, set.

    Raises :class:`ScenarioError` when there is neither, when the file is not TOML with a ``[converters]`` table, or
    when it sets a key that is not ``valid``.
    """

    def not_found(message: str) -> ScenarioError:
        return ScenarioError(message.removeprefix(f"{name}: "))

    path, _ = resources.resolve(name, "hwmodels/converters", not_found)
    keys = resources.read_toml(path, ScenarioError).get("converters")
    if not isinstance(keys, dict):
        raise ScenarioError(f"{path} has no [converters] table")
    unknown = [key for key in keys if key not in (*ABOUT, *valid)]
    if unknown:
        raise ScenarioError(f"{path} sets {unknown[0]}, which is no key of converters; keys: {', '.join(valid)}")
    return {key: value for key, value in keys.items() if key not in ABOUT}
