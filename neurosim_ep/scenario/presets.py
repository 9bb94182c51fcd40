"""Shipped settings of a section, by name."""

from __future__ import annotations

import tomllib
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
    path, _ = resources.resolve(name, "hwmodels/converters", ScenarioError)
    try:
        keys = tomllib.loads(path.read_text("utf-8"))["converters"]
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise ScenarioError(f"hardware.converters.preset = {name}: {path} cannot be read: {problem}") from problem
    except KeyError:
        raise ScenarioError(f"hardware.converters.preset = {name}: {path} has no [converters] table") from None
    unknown = [key for key in keys if key not in (*ABOUT, *valid)]
    if unknown:
        raise ScenarioError(
            f"hardware.converters.preset = {name}: {path} sets {unknown[0]}, which is no key of converters; "
            f"keys: {', '.join(valid)}"
        )
    return {key: value for key, value in keys.items() if key not in ABOUT}
