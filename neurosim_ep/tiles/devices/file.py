"""Device files: TOML, one update model with its constants.

    [device]
    name = "MyDevice"
    model = "soft_bounds"           # a device law: `neurosim-ep list` shows them
    description = "what it is"
    source = "where the numbers come from"

    [constants]                     # those of the model; what is left out does not happen
    dw_min = { value = 0.002, source = "Fig. 3 of ...", kind = "measured" }

    [conductance]                   # optional: what weights -1 and 1 stand for; wires and the bill go by it then
    minimum_S = { value = 1e-6, source = "smallest value of the data", kind = "measured" }
    maximum_S = { value = 1e-5, source = "largest value of the data", kind = "measured" }

``kind`` is "measured", "model" (a published model or a fit) or "assumed" (a choice; ``source`` gives the reason).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from neurosim_ep import resources
from neurosim_ep.errors import HardwareModelError, listed, nearest
from neurosim_ep.registry import DEVICES
from neurosim_ep.strict import NOT_EMPTY, Strict, broken_rule
from neurosim_ep.tiles.devices.base import DeviceModel

FOLDER = "hwmodels/devices"
CONSTANT = 'value = {value}, source = "...", kind = "assumed"'
Value = bool | float | list[float]
Text = Annotated[str, Field(pattern=NOT_EMPTY)]


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
        raise HardwareModelError(listed(source, [_explain_file(item) for item in error.errors()])) from error
    kind = file.device.model
    if kind not in DEVICES:
        raise HardwareModelError(f'{source}: device.model = "{kind}": unknown model; {nearest(kind, DEVICES.names())}')
    model, known = DEVICES[kind], constant_names(kind)
    for given in constants:
        if given not in known:
            raise HardwareModelError(f'{source}: no constant "{given}" in model {kind}; {nearest(given, known)}')
    values = {key: constant.value for key, constant in file.constants.items()} | dict(constants)
    values = {key: float(value) if type(value) is int else value for key, value in values.items()}
    unknown = [
        f"constants.{key}: unknown constant of model {kind}; {nearest(key, known)}"
        for key in values
        if key not in known
    ]
    problems = unknown
    try:
        found: DeviceModel = model.model_validate(
            {"preset": file.device.name, **{key: values[key] for key in values if key in known}}
        )
    except ValidationError as error:
        problems = unknown + [_explain_constant(item, kind) for item in error.errors()]
    if problems:
        raise HardwareModelError(listed(source, problems))
    return found


def constant_names(kind: str) -> list[str]:
    """Names of the constants of an update model."""
    return [name for name in DEVICES[kind].model_fields if name != "preset"]


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
        return f"{key}: unknown key; {nearest(str(item['loc'][-1]), known)}"
    if "bool" in item["loc"] or "float" in item["loc"] or "list[float]" in item["loc"]:
        return f"{key} = {item['input']!r}: must be a finite number, true or false, or a list of numbers"
    return broken_rule(key, item, CONSTANT)


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
    return broken_rule(key, item, CONSTANT)
