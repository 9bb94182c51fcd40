"""Hardware model files: read, layered on the model they build on, checked, and carried to their node.

A file is TOML, a table per section. ``base = "name"`` at its top names another model, a shipped name or a file beside
it, whose numbers hold where the file gives none of its own; a number is always replaced as a whole, with its source.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import tomli_w
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from neurosim_ep import resources
from neurosim_ep.errors import HardwareModelError, listed, nearest
from neurosim_ep.hardware.model.curves import Curve
from neurosim_ep.hardware.model.quantities import Quantity
from neurosim_ep.hardware.model.sections import HardwareModel, scaled
from neurosim_ep.strict import Strict, broken_rule

Document = dict[str, Any]
BASE = "base"
LEAF_KEYS = ("value", "x")  # what makes a table a number or a curve, and not a table of such
DEEPEST = 16  # models that may build on each other


@dataclass(frozen=True)
class ModelFile:
    """A model with what its file and those it builds on say.

    ``document``: the merged tables, numbers as given; ``origins``: dotted key of each number to the name of the model
    that gives it; ``model``: the numbers at the node of the model.
    """

    path: Path
    document: Document
    origins: dict[str, str]
    model: HardwareModel

    def to_toml(self) -> str:
        """One file that says all of it, numbers as given, without a base."""
        return tomli_w.dumps(self.document)

    def changed(self, values: Mapping[str, int | str | Document | None], source: str) -> ModelFile:
        """The model with other ``values`` of numbers and choices, by dotted key, which ``source`` asks for; whole
        numbers with a source of their own are tables, None what the model is to do without.

        Raises :class:`HardwareModelError` when the model does not take them.
        """
        document = copy.deepcopy(self.document)
        if said := [f"{key} = {value}" for key, value in values.items() if isinstance(value, int)]:
            document["model"]["description"] += f"; changed by the {source}: {', '.join(said)}"
        for key, value in values.items():
            *path, name = key.split(".")
            part = document
            for section in path:
                part = part[section]
            if value is None:
                part.pop(name, None)
            elif isinstance(value, int):
                about = part.get(name, {"unit": "1", "kind": "assumed", "node_nm": document["model"]["node_nm"]})
                part[name] = {**about, "value": value, "source": source}
            else:
                part[name] = value
        return replace(self, document=document, model=parse_hardware_model(document, f"{self.path}, {source}"))

    def given(self, key: str) -> Document:
        """The table of the number ``key``, as given."""
        part: Any = self.document
        for name in key.split("."):
            part = part[name]
        assert isinstance(part, dict)
        return part


def read_model(name: str) -> ModelFile:
    """The hardware model of a TOML file or of a shipped name.

    Raises :class:`HardwareModelError` with every problem found.
    """
    path = _path_of(name, f'hardware.model = "{name}"')
    document, origins = merged(path)
    return ModelFile(path, document, origins, parse_hardware_model(document, str(path)))


def merged(path: Path, depth: int = 0) -> tuple[Document, dict[str, str]]:
    """The tables of the model at ``path`` laid over those of its base, and where each number comes from."""
    if depth > DEEPEST:
        raise HardwareModelError(f"{path}: base: more than {DEEPEST} models build on each other; do they in a circle?")
    own = resources.read_toml(path, HardwareModelError)
    base = own.pop(BASE, None)
    origins = dict.fromkeys(_leaves(own), path.stem)
    if base is None:
        return own, origins
    if not isinstance(base, str):
        raise HardwareModelError(f"{path}: base = {base!r}: must be the name of a model, in quotes")
    below, origins_below = merged(_base_path(path, base), depth + 1)
    below.pop("model", None)
    return _laid_over(below, own), {**origins_below, **origins}


def _base_path(path: Path, base: str) -> Path:
    beside = path.parent / f"{base.removesuffix('.toml')}.toml"
    if beside.is_file() and beside.resolve() != path.resolve():
        return beside
    return _path_of(base, f'{path}: base = "{base}"')


def _path_of(name: str, asked: str) -> Path:
    """Where the model ``name`` is, which is ``asked`` for in these words."""

    def not_found(message: str) -> HardwareModelError:
        return HardwareModelError(f"{asked}{message.removeprefix(name)}")

    return resources.resolve(name, "hwmodels", not_found)[0]


def _is_leaf(value: object) -> bool:
    return not isinstance(value, dict) or any(key in value for key in LEAF_KEYS)


def _leaves(table: Document, path: str = "") -> Iterator[str]:
    for name, value in table.items():
        if _is_leaf(value):
            yield f"{path}{name}"
        else:
            yield from _leaves(value, f"{path}{name}.")


def _laid_over(below: Document, above: Document) -> Document:
    """``below`` with what ``above`` says instead, number by number."""
    found = dict(below)
    for name, value in above.items():
        whole = _is_leaf(value) or _is_leaf(found.get(name))
        found[name] = value if whole else _laid_over(found[name], value)
    return found


def parse_hardware_model(document: Document, source: str) -> HardwareModel:
    """The hardware model of the tables ``document``, at its node; ``source`` names them in
    :class:`HardwareModelError`.
    """
    name = document.get("model")
    if isinstance(name, dict) and name.get("abstract") is True:
        raise HardwareModelError(f"{source}: is there for other models to build on, with base; choose one of those")
    try:
        return scaled(HardwareModel.model_validate(document))
    except ValidationError as error:
        problems = [_explain(item) for item in error.errors()]
    except ValueError as problem:
        raise HardwareModelError(f"{source}: {problem}") from problem
    raise HardwareModelError(listed(source, problems))


def numbers(model: Strict, path: str = "") -> Iterator[tuple[str, Quantity | Curve]]:
    """Every number and curve of ``model`` with its dotted key."""
    for name, value in model:
        key = f"{path}.{name}" if path else name
        if isinstance(value, Quantity | Curve):
            yield key, value
        elif isinstance(value, Strict):
            yield from numbers(value, key)


def choices(model: Strict, path: str = "") -> Iterator[tuple[str, str]]:
    """Every choice that is a word, as ``adc.kind``, with its dotted key; name and description left out."""
    for name, value in model:
        key = f"{path}.{name}" if path else name
        if isinstance(value, str) and path not in ("", "model"):
            yield key, value
        elif isinstance(value, tuple) and path == "core":
            yield key, ", ".join(value) or "nothing"
        elif isinstance(value, Strict) and not isinstance(value, Quantity | Curve):
            yield from choices(value, key)


def _explain(item: ErrorDetails) -> str:
    """One problem: its full key, the value, the rule and the nearest valid name."""
    path, kind = item["loc"], item["type"]
    key = ".".join(map(str, path))
    if kind == "missing":
        what = "section" if len(path) == 1 else "key"
        return f"{key}: {what} is missing; every number needs value, unit, source, kind and node_nm"
    if kind == "extra_forbidden":
        return f"{key}: unknown key; {nearest(str(path[-1]), _keys_of(path[:-1]), cutoff=0.5)}"
    return broken_rule(
        key, item, f'value = {{value}}, unit = "{_unit_of(path)}", source = "...", kind = "assumed", node_nm = 32'
    )


def _unit_of(path: tuple[int | str, ...]) -> str:
    """The unit of the number at ``path``; of a table of other things, none."""
    *parents, name = map(str, path)
    part: Any = HardwareModel
    for parent in parents:
        part = part.part(parent) if hasattr(part, "part") else None
    asked = part.part(name) if hasattr(part, "part") and name in part.model_fields else part
    unit = getattr(asked, "model_fields", {}).get("unit")
    return str(get_args(unit.annotation)[0]) if unit is not None and get_args(unit.annotation) else "1"


def _keys_of(path: tuple[int | str, ...]) -> list[str]:
    """Valid keys of the table at ``path``."""
    part: type[Strict] = HardwareModel
    for name in path:
        part = part.part(str(name))
    return part.keys()
