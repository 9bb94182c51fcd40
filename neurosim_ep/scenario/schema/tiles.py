"""The section about the chip, and what is imperfect about its tiles."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Literal

from pydantic import model_validator

from neurosim_ep import resources
from neurosim_ep.errors import ScenarioError
from neurosim_ep.scenario.names import BrokenRules
from neurosim_ep.scenario.schema.section import LARGEST, Section, described

CALIBRATION = ("calibration_quantile", "calibrate_every")
ABOUT = ("description", "source")
"""Keys of a file of converters that are for people."""


class ConvertersSection(Section):
    """Converters on the lines of every tile, the same in both directions; as shipped they are ideal."""

    preset: str = described("none", "shipped name of converters, or a TOML file: the defaults of the other keys here")
    dac_bits: int = described(0, "bits of the drivers of the lines; 0: exact", unit="bit", ge=0, le=16)
    dac_coding: Literal["multi_level", "bit_serial"] = described(
        "multi_level", "an input is one pulse of many levels, or a pulse per bit, each read converted on its own"
    )
    noise_management: Literal["none", "absmax"] = described(
        "none", "range of the drivers: the bound of the states, 1 for most, or the largest state of each sample"
    )
    input_noise: float = described(0.0, "deviation of what a driver puts on its line, of its range", ge=0, le=1)
    adc_bits: int = described(0, "bits of the converters of the lines read; 0: exact", unit="bit", ge=0, le=16)
    adc_range: Literal["fixed", "absmax", "calibrated"] = described(
        "calibrated",
        "range of the converters: adc_bound; the largest result of each sample; or what calibration_quantile of the "
        "results stay below, found per phase, direction and block of lines",
    )
    adc_bound: float = described(
        12.0, "fixed range of a result, in units of a full input times the largest weight", gt=0, le=LARGEST
    )
    calibration_quantile: float = described(0.999, "share of the results inside a calibrated range", gt=0, le=1)
    calibrate_every: int = described(
        20, "batches between those in which calibrated ranges are found anew", unit="batch", ge=1, le=LARGEST
    )
    bound_management: Literal["none", "iterative"] = described(
        "none", "read a sample again with half the input range, up to eight times, while a result is clipped"
    )
    stochastic_rounding: bool = described(False, "converters round up with the probability of the remainder")
    output_noise: float = described(
        0.0, "deviation of a result before its conversion, in the unit of adc_bound", ge=0, le=LARGEST
    )

    @model_validator(mode="before")
    @classmethod
    def _start_from_preset(cls, given: Any) -> Any:
        """``given`` with the keys of its preset where it has none."""
        if not isinstance(given, dict) or not isinstance(given.get("preset", "none"), str):
            return given
        name = given.get("preset", "none")
        if name == "none":
            return given
        try:
            return {**_converter_preset(name, list(cls.model_fields)), **given}
        except ScenarioError as problem:
            raise BrokenRules([("preset", str(problem))]) from problem

    def broken_rules(self) -> Iterator[tuple[str, str]]:
        if self.adc_bits == 1:
            yield "adc_bits", "must be 0 or at least 2: results have a sign"
        if not self.adc_bits:
            for key in self.changed("adc_range", "adc_bound", *CALIBRATION, "bound_management"):
                yield key, "belongs to converters with adc_bits; remove it, or set adc_bits"
        if self.adc_range != "fixed":
            if self.changed("adc_bound"):
                yield "adc_bound", 'is the range of adc_range = "fixed"; remove it'
            if self.bound_management != "none":
                yield "bound_management", 'is for adc_range = "fixed", whose results can be clipped; use "none"'
        for key in self.changed(*CALIBRATION) if self.adc_range != "calibrated" else ():
            yield key, 'is for adc_range = "calibrated"; remove it'
        if self.dac_coding == "bit_serial" and not self.dac_bits:
            yield "dac_coding", "needs the number of bits; set dac_bits"

    @property
    def ideal(self) -> bool:
        """Whether nothing here changes a result."""
        return not (self.dac_bits or self.adc_bits or self.input_noise or self.output_noise)


def _converter_preset(name: str, valid: Collection[str]) -> dict[str, Any]:
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


class CellsSection(Section):
    """How the conductances of the cells differ from the weights they stand for; as shipped they do not."""

    levels: int = described(
        0,
        "conductances L a cell can be set to, 0: any; the largest weight takes the whole range, so that a pair holds "
        "2 L - 1 weights and a single cell L; with bit slices the hardware model decides",
        ge=0,
        le=65536,
    )
    programming_noise: float = described(
        0.0, "deviation of a programmed conductance, of the range between off and on", ge=0, le=1
    )
    variation: float = described(0.0, "deviation between devices, relative to the conductance, fixed", ge=0, le=1)
    read_noise: float = described(0.0, "deviation of a conductance from read to read, of the range", ge=0, le=1)
    stuck_off: float = described(0.0, "share of cells that stay at the off conductance", ge=0, le=1)
    stuck_on: float = described(0.0, "share of cells that stay at the on conductance", ge=0, le=1)
    statistics: str = described(
        "none", "measured statistics of programming, drift and reads: a shipped name of cells, or a TOML file"
    )
    time_s: float = described(
        0.0, "time between programming and reads, for statistics that know drift", unit="s", ge=0, le=1e12
    )
    ir_drop: Literal["none", "closed_form", "estimated", "exact"] = described(
        "none",
        "voltage lost along the wires of the hardware model: by the formula of aihwkit in every read, by "
        "an estimate for every cell after programming, or the circuit solved after programming (small networks only)",
    )

    def broken_rules(self) -> Iterator[tuple[str, str]]:
        if self.levels == 1:
            yield "levels", "must be 0 or at least 2"
        if self.stuck_off + self.stuck_on > 1:
            yield "stuck_on", f"must not exceed 1 together with stuck_off ({self.stuck_off:g})"
        if self.statistics == "none" and self.time_s:
            yield "time_s", "is for cells with statistics; remove it, or set statistics"
        if self.statistics != "none" and (self.programming_noise or self.read_noise):
            yield "statistics", "says what programming and reads do; remove programming_noise and read_noise"

    @property
    def ideal(self) -> bool:
        """Whether the cells stand for the weights exactly."""
        return not self.changed(*(key for key in type(self).model_fields if key != "time_s"))


class DeviceSection(Section):
    """How weight changes reach the cells; as shipped they are written exactly."""

    preset: str = described(
        "none", "what a cell does under programming pulses: a shipped name of devices, or a TOML file; none: exact"
    )
    constants: dict[str, float] = described({}, "numbers of the device to replace, as {up_down = 0.1}")
    update: Literal["difference", "two_pass", "transfer"] = described(
        "difference",
        "the two terms of a weight change are subtracted before pulses are sent; each nudge phase sends its own; or "
        "each sends its own to a fast array that is transferred to a slow one, which is read",
    )
    accumulator: Literal["digital", "synapse"] = described(
        "digital",
        "of the difference: a digital one, in which what is less than a pulse waits for the next batch, or one in "
        "each synapse, emptied after every batch into a whole number of pulses, rounded at random",
    )
    pulse_trains: Literal["stochastic", "deterministic"] = described(
        "stochastic", "outer products by coinciding random pulses, or by a rounded number of pulses"
    )
    desired_bl: int = described(31, "most pulses of a train", ge=1, le=1024)
    update_management: bool = described(
        True, "trains as short as the largest factors allow, and balanced between rows and columns"
    )
    weight_scaling_omega: float = described(
        0.3, "device weight that the largest initial weight of a connection is mapped to", gt=0, le=1
    )
    transfer_every: int = described(1, "batches between transfers of the fast array", unit="batch", ge=1, le=LARGEST)
    transfer_rate: float = described(0.1, "part of the fast array added to the slow one per transfer", gt=0, le=LARGEST)

    def broken_rules(self) -> Iterator[tuple[str, str]]:
        if self.preset == "none":
            for key in self.changed(*(key for key in type(self).model_fields if key != "preset")):
                yield key, "belongs to a device; remove it, or set preset"
            return
        if self.update != "difference" and self.changed("accumulator"):
            yield "accumulator", 'belongs to update = "difference"; remove it'
        if self.update == "difference":
            for key in self.changed("pulse_trains", "desired_bl", "update_management"):
                yield key, 'belongs to update = "two_pass" and "transfer", which write outer products; remove it'
        if self.update != "transfer":
            for key in self.changed("transfer_every", "transfer_rate"):
                yield key, 'belongs to update = "transfer"; remove it'

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @property
    def ideal(self) -> bool:
        """Whether weights are written exactly."""
        return self.preset == "none"


class HardwareSection(Section):
    """The chip whose tiles carry the synapses, and what is imperfect about them; nothing, as shipped."""

    model: str = described("rram_32nm", "hardware model: a shipped name or a TOML file")
    construction_seed: int = described(0, "seed of what differs from device to device", ge=0, lt=2**31)
    converters: ConvertersSection = ConvertersSection()
    cells: CellsSection = CellsSection()
    device: DeviceSection = DeviceSection()

    @property
    def ideal(self) -> bool:
        """Whether the tiles read and write exactly."""
        return self.converters.ideal and self.cells.ideal and self.device.ideal
