"""Hardware models as entries for programs and as tables for people: `neurosim-ep hw`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from neurosim_ep.errors import UsageError
from neurosim_ep.hardware.model.curves import Curve
from neurosim_ep.hardware.model.describe import BITS, section_words
from neurosim_ep.hardware.model.file import ModelFile, choices, merged, numbers, read_model
from neurosim_ep.hardware.model.quantities import Quantity
from neurosim_ep.resources import shipped_files
from neurosim_ep.units import si_prefix

Row = dict[str, str]
Rows = list[Row]
COLUMNS = ("key", "value", "low", "high", "unit", "given", "kind", "file", "source")
DEFAULT = "(default)"
"""Stands for the file of a number that no file gives."""


def list_models() -> list[dict[str, Any]]:
    """Every shipped model: name, node_nm, the models it builds on, whether it is only a base, description."""
    models = []
    for name, path in shipped_files("hwmodels").items():
        document, origins = merged(path)
        head = document["model"]
        models.append(
            {
                "name": name,
                "node_nm": head["node_nm"],
                "builds_on": [origin for origin in dict.fromkeys(origins.values()) if origin != path.stem],
                "abstract": bool(head.get("abstract")),
                "description": head["description"],
            }
        )
    return models


def list_rows() -> Rows:
    """:func:`list_models` for people."""
    return [
        {
            "name": model["name"],
            "node": f"{model['node_nm']:g} nm",
            "builds on": ", ".join(model["builds_on"]) or "-",
            "description": ("(only a base) " if model["abstract"] else "") + model["description"],
        }
        for model in list_models()
    ]


def show_entries(name: str, section: str | None = None) -> list[dict[str, Any]]:
    """Every choice and number of a model by its ``key``, in its ``unit``: as used at its node with the ends of its
    interval, its kind, source and file, and as it was given where that differs. Curves are lists of points.

    Raises :class:`UsageError` for a section there is not.
    """
    file = read_model(name)
    entries = [
        {"key": key, "value": word, "kind": "choice", "file": file.origins.get(key, DEFAULT)}
        for key, word in choices(file.model)
    ]
    entries += [number_entry(file, key, number) for key, number in numbers(file.model)]
    return _of_section(entries, name, section)


def number_entry(file: ModelFile, key: str, number: Quantity | Curve) -> dict[str, Any]:
    """An entry of :func:`show_entries`."""
    about = {"key": key, "unit": number.unit, "kind": number.kind, "file": file.origins.get(key, DEFAULT),
             "source": number.source}  # fmt: skip
    if isinstance(number, Curve):
        return {**about, "x": list(number.x), "y": list(number.y)}
    found: dict[str, Any] = {**about, "value": number.value, "low": number.low, "high": number.high}
    given = file.given(key) if key in file.origins else {"value": number.value}
    if given["value"] != number.value:
        found["given"] = {"value": given["value"], "node_nm": given["node_nm"]}
    return found


def _of_section(rows: list[dict[str, Any]], name: str, section: str | None) -> list[dict[str, Any]]:
    """Those of ``rows`` whose key is in ``section`` of the model ``name``, in the order of sections."""
    sections = list(dict.fromkeys(row["key"].split(".")[0] for row in rows))
    if section is not None and section not in sections:
        raise UsageError(f'no section "{section}" in {name}; it has {", ".join(sections)}')
    kept = [row for row in rows if section is None or row["key"].split(".")[0] == section]
    return sorted(kept, key=lambda row: row["key"].split(".")[0])


def show_rows(name: str, section: str | None = None) -> Rows:
    """:func:`show_entries` for people."""
    return [entry_row(entry) for entry in show_entries(name, section)]


def entry_row(entry: Mapping[str, Any]) -> Row:
    """An entry of :func:`show_entries` for people; a curve is told by its ends."""
    if entry["kind"] == "choice":
        return {**dict.fromkeys(COLUMNS, ""), **entry}
    row = {name: entry[name] for name in ("key", "unit", "kind", "file", "source")}
    if "x" in entry:
        points = f"{len(entry['x'])} points, {min(entry['y']):.3g} to {max(entry['y']):.3g}"
        return {**row, "value": points, "low": "", "high": "", "given": ""}
    given = entry.get("given")
    at_node = f"{given['value']:.4g} at {given['node_nm']:g} nm" if given else ""
    ends = {bound: "" if entry[bound] is None else f"{entry[bound]:.4g}" for bound in ("low", "high")}
    return {**row, "value": f"{entry['value']:.4g}", **ends, "given": at_node}


def diff_rows(name: str, other: str) -> Rows:
    """The choices and numbers, as used, in which two models differ, with what each is; intervals in brackets."""
    one, two = read_model(name), read_model(other)
    said = [_as_used(file) for file in (one, two)]
    keys = list(dict.fromkeys([*said[0], *said[1]]))
    return [
        {"key": key, name: said[0].get(key, "-"), other: said[1].get(key, "-"), "what it is": _meaning(key)}
        for key in keys
        if said[0].get(key) != said[1].get(key)
    ]


def diff_entries(name: str, other: str) -> list[dict[str, Any]]:
    """:func:`diff_rows` with, in the order of the models, the :func:`show_entries` of each; None where it has none."""
    known = [{entry["key"]: entry for entry in show_entries(one)} for one in (name, other)]
    return [{"key": row["key"], "entries": [one.get(row["key"]) for one in known]} for row in diff_rows(name, other)]


def _meaning(key: str) -> str:
    """What the number ``key`` is, in the words of `neurosim-ep hw schema`."""
    section, _, name = key.partition(".")
    words = {one.key: one.meaning for one in section_words(section)[1]}
    return words.get(name) or words.get(re.sub(r"\.\d+\.", f".{BITS}.", name), "")


def _as_used(file: ModelFile) -> dict[str, str]:
    found = dict(choices(file.model))
    for key, number in numbers(file.model):
        if isinstance(number, Curve):
            found[key] = f"{len(number.x)} points, {min(number.y):.4g} to {max(number.y):.4g} {number.unit}"
        else:
            found[key] = _said(number.value, number.at("low"), number.at("high"), number.unit)
    return found


def _said(value: float, low: float, high: float, unit: str) -> str:
    """A number with its interval, and its unit with a prefix where units of that kind have one."""
    scale, name = (1.0, unit) if re.search(r"\^|%|^1$", unit) else si_prefix(value, unit)
    if unit.startswith("m^2"):
        scale, name = (1e-6, f"m{unit}") if value >= 1e-8 else (1e-12, f"µ{unit}")
    ends = f" ({_digits(low / scale)} to {_digits(high / scale)})" if low < high else ""
    return _digits(value / scale) + ("" if unit == "1" else f" {name}") + ends


def _digits(value: float) -> str:
    return f"{value:.0f}" if 1e4 <= value < 1e6 else f"{value:.4g}"
