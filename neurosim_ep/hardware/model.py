"""Hardware model files: every number with its unit, source, kind and technology node.

A number is a TOML table ``{ value, unit, source, kind, node_nm }``: ``kind`` is "measured" (on silicon),
"model" (published model or arithmetic on published numbers) or "assumed" (a choice; ``source`` gives the
reason); ``node_nm`` is the technology node the number was given for. Units are SI, without prefixes.
"""

from __future__ import annotations

import difflib
import tomllib
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from neurosim_ep import resources
from neurosim_ep.errors import HardwareModelError
from neurosim_ep.tiles.mapping import ArrayGeometry

Text = Annotated[str, Field(min_length=1)]


class Strict(BaseModel):
    """Base of all parts: unknown keys refused, no type coercion, immutable, finite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Quantity(Strict):
    """A number and where it comes from."""

    value: Annotated[float, Field(ge=0)]
    unit: str
    source: Text
    kind: Literal["measured", "model", "assumed"]
    node_nm: Annotated[float, Field(gt=0)]


class Number(Quantity):
    """A whole number of things, at least one."""

    value: Annotated[int, Field(ge=1)]
    unit: Literal["1"]


class Fraction(Quantity):
    """A share between 0 and 1."""

    value: Annotated[float, Field(ge=0, le=1)]
    unit: Literal["1"]


class Volt(Quantity):
    unit: Literal["V"]


class Siemens(Quantity):
    unit: Literal["S"]


class Second(Quantity):
    unit: Literal["s"]


class Joule(Quantity):
    unit: Literal["J"]


class JoulePerBit(Quantity):
    unit: Literal["J/bit"]


class Watt(Quantity):
    unit: Literal["W"]


class WattPerBit(Quantity):
    unit: Literal["W/bit"]


class ModelSection(Strict):
    """Name, purpose and main technology node of the model."""

    name: Text
    description: Text
    node_nm: Annotated[float, Field(gt=0)]


class ArraySection(Strict):
    """Crossbar arrays: see :class:`neurosim_ep.tiles.mapping.ArrayGeometry`."""

    rows: Number
    columns: Number
    cells_per_weight: Number
    slices: Number
    input_pulses: Number
    levels: Number


class CellSection(Strict):
    """Memory cells. ``input_duty`` is the share of input pulses that are high."""

    read_voltage: Volt
    read_time: Second
    input_duty: Fraction
    on_conductance: Siemens
    off_conductance: Siemens
    write_voltage: Volt
    write_time: Second

    @model_validator(mode="after")
    def _off_is_below_on(self) -> CellSection:
        on, off = self.on_conductance.value, self.off_conductance.value
        if off > on:
            raise ValueError(f"off_conductance ({off:g} S) must not exceed on_conductance ({on:g} S)")
        return self


class DacSection(Strict):
    """Line drivers: energy of one input pulse on one line."""

    pulse_energy: Joule


class AdcSection(Strict):
    """Converters: energy and time of one conversion, and converters that share the lines of a tile."""

    conversion_energy: Joule
    conversion_time: Second
    per_tile: Number


class DigitalSection(Strict):
    """Logic next to the tiles, and the widths of its registers.

    ``state_bits``: states, targets and projections; ``partial_bits``: partial sums, drives and errors;
    ``accumulator_bits``: update accumulators, biases and readout weights.
    """

    add_energy: Joule
    compare_energy: Joule
    multiply_add_energy: Joule
    neuron_energy: Joule
    state_bits: Number
    partial_bits: Number
    accumulator_bits: Number


class MemorySection(Strict):
    """Registers and accumulators: energy of reading or writing one bit."""

    access_energy: JoulePerBit


class NocSection(Strict):
    """Network on chip: energy of one bit on one link; multicast-tree links added per destination tile."""

    link_energy: JoulePerBit
    links_per_destination: Number


class LeakageSection(Strict):
    """Static power of one tile with its periphery, and of one bit of register or accumulator memory."""

    tile: Watt
    bit: WattPerBit


class HardwareModel(Strict):
    """A whole hardware model: one field per TOML section, and the energies derived from its primaries."""

    model: ModelSection
    array: ArraySection
    cell: CellSection
    dac: DacSection
    adc: AdcSection
    digital: DigitalSection
    memory: MemorySection
    noc: NocSection
    leakage: LeakageSection

    def array_geometry(self) -> ArrayGeometry:
        """Shape of the arrays, for :func:`neurosim_ep.tiles.mapping.plan_tiles`."""
        return ArrayGeometry(**{name: quantity.value for name, quantity in self.array})

    def cell_read_energy_J(self) -> float:
        """Energy of one input pulse in one cell, ``E = duty V² ½(G_on + G_off) t``: mean conductance."""
        cell = self.cell
        mean_conductance_S = (cell.on_conductance.value + cell.off_conductance.value) / 2
        return cell.input_duty.value * cell.read_voltage.value**2 * mean_conductance_S * cell.read_time.value

    def cell_write_energy_J(self) -> float:
        """Energy of one programming pulse, ``E = V² G_on t``: an upper bound, the cell fully on."""
        cell = self.cell
        return cell.write_voltage.value**2 * cell.on_conductance.value * cell.write_time.value

    def projection_mac_energy_J(self) -> float:
        """One multiply-add of a readout or signal projection, its weight read from memory."""
        return self.digital.multiply_add_energy.value + self.digital.state_bits.value * self.memory.access_energy.value

    def weight_bits(self) -> int:
        """Bits that tell the levels of a weight apart, ⌈log2 levels⌉."""
        return (self.array.levels.value - 1).bit_length()


def load_hardware_model(name: str) -> HardwareModel:
    """The hardware model of a TOML file or of a shipped name.

    Raises :class:`HardwareModelError` with every problem found.
    """

    def not_found(message: str) -> HardwareModelError:
        return HardwareModelError(f'hardware.model = "{name}"{message.removeprefix(name)}')

    path, _ = resources.resolve(name, "hwmodels", not_found)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise HardwareModelError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise HardwareModelError(f"{path}: is not UTF-8 text; save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise HardwareModelError(f"{path}: is not valid TOML: {error}") from error
    return parse_hardware_model(document, str(path))


def parse_hardware_model(document: dict[str, Any], source: str) -> HardwareModel:
    """The hardware model of a TOML ``document``; ``source`` names it in the :class:`HardwareModelError`."""
    try:
        return HardwareModel.model_validate(document)
    except ValidationError as error:
        problems = [_explain(item["loc"], item["type"], item["msg"], item["input"]) for item in error.errors()]
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    raise HardwareModelError("\n  ".join([f"{source}: {count}", *problems]))


def _explain(path: tuple[int | str, ...], kind: str, message: str, value: Any) -> str:
    """One problem: its full key, the value, the rule and the nearest valid name."""
    key = ".".join(map(str, path))
    if kind == "missing":
        what = "section" if len(path) == 1 else "key"
        return f"{key}: {what} is missing; every number needs value, unit, source, kind and node_nm"
    if kind == "extra_forbidden":
        known = _keys_of(path[:-1])
        close = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.5)
        return f"{key}: unknown key; " + (f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}")
    rule = message.removeprefix("Value error, ")
    return f"{key}: {rule}" if isinstance(value, dict) else f"{key} = {value!r}: {rule}"


def _keys_of(path: tuple[int | str, ...]) -> list[str]:
    """Valid keys of the table at ``path``."""
    part: Any = HardwareModel
    for name in path:
        part = part.model_fields[name].annotation
    return list(part.model_fields)
