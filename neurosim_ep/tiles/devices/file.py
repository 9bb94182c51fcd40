"""Device files: TOML, one update model with its constants.

    [device]
    name = "MyDevice"
    model = "soft_bounds"           # constant, linear, soft_bounds, exponential, power, piecewise or neurosim_nl
    description = "what it is"
    source = "where the numbers come from"

    [constants]                     # those of the model; what is left out does not happen
    dw_min = { value = 0.002, source = "Fig. 3 of ...", kind = "measured" }

    [conductance]                   # optional: what weights -1 and 1 stand for
    minimum_S = { value = 1e-6, source = "smallest value of the data", kind = "measured" }
    maximum_S = { value = 1e-5, source = "largest value of the data", kind = "measured" }

``kind`` is "measured", "model" (a published model or a fit) or "assumed" (a choice; ``source`` gives the reason).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from neurosim_ep import resources
from neurosim_ep.errors import HardwareModelError
from neurosim_ep.tiles.devices.base import DeviceModel
from neurosim_ep.tiles.devices.models import MODELS

FOLDER = "hwmodels/devices"
Value = bool | float | list[float]
Text = Annotated[str, Field(pattern=r"\S")]


class Strict(BaseModel):
    """Base of all parts: unknown keys refused, no type coercion, immutable, finite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Constant(Strict):
    """A number, a switch or a list of numbers, and where it comes from."""

    value: Value
    source: Text
    kind: Literal["measured", "model", "assumed"]


class Conductance(Constant):
    """A conductance in S."""

    value: Annotated[float, Field(ge=0, le=1e3)]


class Conductances(Strict):
    """Conductances that stand for the weights -1 and 1."""

    minimum_S: Conductance
    maximum_S: Conductance

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.minimum_S.value < self.maximum_S.value:
            raise ValueError("minimum_S must be below maximum_S")
        return self


class Header(Strict):
    """What the file describes."""

    name: Text
    model: Text
    description: Text
    source: Text


class DeviceFile(Strict):
    """A device file as written."""

    device: Header
    constants: dict[str, Constant]
    conductance: Conductances | None = None


def load_device(name: str, constants: Mapping[str, Value] = {}) -> DeviceModel:
    """The device of a shipped name or a TOML file, with some of its numbers replaced by ``constants``.

    Raises :class:`HardwareModelError` with every problem found: in the file, or of a name or value in ``constants``.
    """
    path, _ = resources.resolve(name, FOLDER, HardwareModelError)
    return parse_device(resources.read_toml(path, HardwareModelError), str(path), constants)


def read_device_file(name: str) -> DeviceFile:
    """Every number of the device with its source. Raises :class:`HardwareModelError` as :func:`load_device` does."""
    path, _ = resources.resolve(name, FOLDER, HardwareModelError)
    document = resources.read_toml(path, HardwareModelError)
    parse_device(document, str(path))
    return DeviceFile.model_validate(document)


def parse_device(document: Mapping[str, Any], source: str, constants: Mapping[str, Value] = {}) -> DeviceModel:
    """The device of the tables ``document``; ``source`` names them in :class:`HardwareModelError`."""
    try:
        file = DeviceFile.model_validate(document)
    except ValidationError as error:
        raise _refusal(source, [_explain_file(item) for item in error.errors()]) from error
    kind = file.device.model
    if kind not in MODELS:
        raise HardwareModelError(f'{source}: device.model = "{kind}": unknown model; {_nearest(kind, list(MODELS))}')
    model, known = MODELS[kind], constant_names(kind)
    for given in constants:
        if given not in known:
            raise HardwareModelError(f'{source}: no constant "{given}" in model {kind}; {_nearest(given, known)}')
    values = {key: constant.value for key, constant in file.constants.items()} | dict(constants)
    values = {key: float(value) if type(value) is int else value for key, value in values.items()}
    unknown = [
        f"constants.{key}: unknown constant of model {kind}; {_nearest(key, known)}"
        for key in values
        if key not in known
    ]
    problems = unknown
    try:
        found = model.model_validate({"name": file.device.name, **{key: values[key] for key in values if key in known}})
    except ValidationError as error:
        problems = unknown + [_explain_constant(item, kind) for item in error.errors()]
    if problems:
        raise _refusal(source, problems)
    return found


def constant_names(kind: str) -> list[str]:
    """Names of the constants of an update model."""
    return [name for name in MODELS[kind].model_fields if name != "name"]


def _refusal(source: str, problems: Sequence[str]) -> HardwareModelError:
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return HardwareModelError("\n  ".join([f"{source}: {count}", *dict.fromkeys(problems)]))


def _explain_file(item: Any) -> str:
    """A problem with the layout of the file."""
    key, kind = (
        ".".join(str(part) for part in item["loc"] if part not in ("bool", "float", "list[float]")),
        item["type"],
    )
    if kind == "missing":
        what = "section" if len(item["loc"]) == 1 else "key"
        return f"{key}: {what} is missing; every constant is {{ value, source, kind }}"
    if kind == "extra_forbidden":
        known = _keys_at(item["loc"][:-1])
        return f"{key}: unknown key; {_nearest(str(item['loc'][-1]), known)}"
    if "bool" in item["loc"] or "float" in item["loc"] or "list[float]" in item["loc"]:
        return f"{key} = {item['input']!r}: must be a finite number, true or false, or a list of numbers"
    return _rule(key, item)


def _keys_at(path: tuple[int | str, ...]) -> list[str]:
    parts: dict[tuple[int | str, ...], type[Strict]] = {
        (): DeviceFile, ("device",): Header, ("conductance",): Conductances
    }  # fmt: skip
    return list(parts.get(path, Constant).model_fields)


def _explain_constant(item: Any, kind: str) -> str:
    """A problem with a constant of an update model."""
    key = ".".join(map(str, ("constants", *item["loc"])))
    if item["type"] == "missing":
        return f"{key}: is missing; model {kind} needs it"
    return _rule(key, item)


def _rule(key: str, item: Any) -> str:
    rule = item["msg"].removeprefix("Value error, ")
    return f"{key}: {rule}" if isinstance(item["input"], dict) else f"{key} = {item['input']!r}: {rule}"


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
