"""The schema of hardware models in words: `neurosim-ep hw schema`, and the commented file of `neurosim-ep hw new`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple, get_args, get_origin

from neurosim_ep.errors import UsageError, nearest
from neurosim_ep.hardware.model.adc import Adc, AdcPoint, AdcSection, AdcTable
from neurosim_ep.hardware.model.curves import Curve
from neurosim_ep.hardware.model.file import merged
from neurosim_ep.hardware.model.quantities import Bits, Fraction, Key, Number, Quantity
from neurosim_ep.hardware.model.sections import CELLS_AS_LOGIC, RULES, HardwareModel
from neurosim_ep.registry import CONVERTERS
from neurosim_ep.resources import shipped_files
from neurosim_ep.strict import Strict

TEMPLATE, BELOW = "rram_32nm", "common"
"""The model that a new file repeats, and the one that both build on."""
BITS = "BITS"
"""Stands for the bits of a converter in ``adc.table.BITS.energy``."""


class KeyInWords(NamedTuple):
    """A key of a section: what it must be (``rule``), what it stands for, where it enters."""

    key: str
    unit: str
    default: str
    rule: str
    meaning: str
    lines: tuple[str, ...]
    node: str

    @property
    def text(self) -> str:
        """The key, and indented below it what is to be said of it."""
        unit = f" [{self.unit}]" if self.unit else ""
        enters = f"\n      enters: {', '.join(self.lines)}" if self.lines else ""
        node = f"; follows the node by scaling.{self.node}" if self.node else ""
        return f"  {self.key} {self.default}{unit}\n      {self.meaning}\n      {self.rule}{node}{enters}"


def sections() -> dict[str, type[Strict]]:
    """The sections of a model file."""
    return {name: HardwareModel.part(name) for name in HardwareModel.model_fields}


def section_words(name: str) -> tuple[str, list[KeyInWords]]:
    """What the section ``name`` is about, whether it may be left out, and its keys.

    Raises :class:`UsageError` for one there is not.
    """
    known = sections()
    if name not in known:
        raise UsageError(f'no section "{name}" in a hardware model; {nearest(name, list(known))}')
    about = re.sub(r":\w+:`~?([^`]+)`", r"\1", " ".join((known[name].__doc__ or "").split())).replace("``", '"')
    optional = "" if HardwareModel.model_fields[name].is_required() else " May be left out."
    return about + optional, list(_keys(known[name], name))


def _keys(section: type[Strict], path: str) -> Iterator[KeyInWords]:
    for name, field in section.model_fields.items():
        found = next((item for item in field.metadata if isinstance(item, Key)), Key(""))
        kind = section.part(name)
        node = (RULES | CELLS_AS_LOGIC).get(f"{path}.{name}", "")
        default = "(required)" if field.is_required() else f"= {_show(field.default)}"
        yield KeyInWords(name, _unit(kind), default, _rule(kind), *found, node)
    if section is AdcSection:
        for name in CONVERTERS.names():
            yield from _prices(name, CONVERTERS[name])


def _prices(name: str, adc: type[Adc]) -> Iterator[KeyInWords]:
    """Keys of the table of a kind of converter."""
    by_bits = issubclass(adc, AdcTable)
    part: type[Adc | AdcPoint] = AdcPoint if by_bits else adc
    prefix = f"{name}.{BITS}" if by_bits else name
    for one in _keys(part, ""):
        needed = one.default.replace("(required)", f'(required by adc.kind = "{name}")')
        yield one._replace(key=f"{prefix}.{one.key}", default=needed, node=part.at_node.get(one.key, ""))


def _unit(kind: Any) -> str:
    if isinstance(kind, type) and issubclass(kind, Quantity | Curve):
        return str(get_args(kind.model_fields["unit"].annotation)[0])
    return ""


def _rule(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(json.dumps(word) for word in get_args(kind))
    if get_origin(kind) is tuple:
        return "a list of " + ", ".join(json.dumps(word) for word in get_args(get_args(kind)[0]))
    if not isinstance(kind, type) or not issubclass(kind, Quantity | Curve):
        return "true or false" if kind is bool else "a number > 0" if kind is float else "text"
    if issubclass(kind, Curve):
        return f"a table of x, ascending [{get_args(kind.model_fields['x_unit'].annotation)[0]}], and y"
    what = "a number >= 0"
    if issubclass(kind, Number):
        what = "a whole number >= 1"
    elif issubclass(kind, Bits):
        what = "a whole number >= 0"
    elif issubclass(kind, Fraction):
        what = "a number from 0 to 1"
    return what + (", without interval" if kind.model_fields["low"].annotation is type(None) else "; low and high")


def _show(value: Any) -> str:
    if isinstance(value, Quantity):
        return f"{value.value:g} ({value.source.removeprefix('default: ')})"
    return "(none)" if value is None else json.dumps(value)


def new_model(name: str) -> str:
    """A model file called ``name`` that works as it stands: every key with what it means; in force are those in which
    the shipped model ``TEMPLATE`` differs from ``BELOW``, the others stand in comments with the values that they have.

    Raises :class:`UsageError` for a name that no model can have.
    """
    if not (name.strip() and name.isprintable()):
        raise UsageError(f"{name!r}: must be a line of text that can be printed; choose another name")
    document, origins = merged(shipped_files("hwmodels")[TEMPLATE])
    node_nm = document["model"]["node_nm"]
    lines = [
        f"# A hardware model. It repeats {TEMPLATE}: change what is yours, with its source. Lines in comments are what",
        f"# holds without them, from {BELOW} or by default; `neurosim-ep hw check {name}.toml` says whether all fits.",
        "# A number is a table: value in SI units, unit, source (where it comes from, or why), kind (measured, model",
        "# or assumed), node_nm (the node it was given for), and low and high where it is uncertain.",
        "",
        f'base = "{BELOW}"',
        "",
        "[model]",
        f"name = {json.dumps(name)}",
        f'description = "{TEMPLATE}, to be changed"',
        f"node_nm = {node_nm}",
    ]
    for section in sections():
        if section != "model":
            lines += ["", *_section_lines(section, document, origins, node_nm)]
    return "\n".join(lines) + "\n"


def _section_lines(
    section: str, document: Mapping[str, Any], origins: Mapping[str, str], node_nm: float
) -> Iterator[str]:
    about, keys = section_words(section)
    yield f"# {about}"
    yield f"[{section}]" if section in document else f"# [{section}]"
    for one in keys:
        enters = f" Enters: {', '.join(one.lines)}." if one.lines else ""
        yield f"# {one.key}: {one.meaning}.{enters}"
        given = list(_given(document.get(section, {}), one.key.split(".")))
        for key, value in given:
            mine = origins.get(f"{section}.{key}") == TEMPLATE
            yield f"{'' if mine else '# '}{key} = {_toml(value)}"
        if not given:
            yield f"# {one.key} = {_stub(one, node_nm)}"


def _given(table: Any, names: list[str], path: str = "") -> Iterator[tuple[str, Any]]:
    """Values of ``table`` under the dotted ``names``, with the keys they have; ``BITS`` is any."""
    if not names:
        yield path, table
        return
    first, *rest = names
    for name in (table if first == BITS else [first]) if isinstance(table, dict) else ():
        if name in table:
            yield from _given(table[name], rest, f"{path}.{name}".lstrip("."))


def _stub(one: KeyInWords, node_nm: float) -> str:
    if not one.unit:
        return one.default.removeprefix("= ") if one.default.startswith("= ") else '"..."'
    return f'{{ value = ..., unit = "{one.unit}", source = "...", kind = "assumed", node_nm = {node_nm} }}'


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
