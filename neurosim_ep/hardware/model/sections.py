"""A hardware model: one section of quantities per component of the chip, and the costs derived from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from neurosim_ep.hardware.model.adc import AdcCost, AdcSection
from neurosim_ep.hardware.model.curves import Curve, ScalingSection, SizeAreaCurve, SizeEnergyCurve
from neurosim_ep.hardware.model.quantities import (
    BitPerSecond,
    Bound,
    FaradPerMetre,
    Fraction,
    Joule,
    JoulePerBit,
    JoulePerBitMetre,
    Metre,
    Number,
    Ohm,
    Quantity,
    Second,
    Siemens,
    SquareMetre,
    SquareMetrePerBit,
    Text,
    Volt,
    Watt,
    WattPerBit,
)
from neurosim_ep.strict import Strict
from neurosim_ep.tiles.mapping import ArrayGeometry

LOGIC = ("digital.add", "digital.compare", "digital.multiply_add", "digital.neuron")
RULES = {
    "dac.pulse_energy": "logic_energy", "dac.area": "logic_area",
    "sample_hold.sample_energy": "logic_energy", "sample_hold.area": "logic_area",
    **{f"{unit}_energy": "logic_energy" for unit in LOGIC}, **{f"{unit}_area": "logic_area" for unit in LOGIC},
    "registers.access_energy": "logic_energy", "registers.area": "logic_area", "registers.leakage": "leakage",
    "buffer.access_energy": "logic_energy", "buffer.area": "logic_area", "buffer.leakage": "leakage",
    "noc.router_energy": "logic_energy", "noc.link_energy": "wire_energy", "noc.router_area": "logic_area",
    "noc.router_leakage": "leakage", "leakage.tile": "leakage",
}  # fmt: skip
"""Numbers that follow the technology node, with the rule of :class:`ScalingSection`, beside those of converters, which
tell their own; all others are used as given.
"""


class ModelSection(Strict):
    """Name, purpose and technology node of the model. An ``abstract`` one is only there for others to build on."""

    name: Text
    description: Text
    node_nm: Annotated[float, Field(gt=0)]
    abstract: bool = False


class ArraySection(Strict):
    """Crossbar arrays: see :class:`neurosim_ep.tiles.mapping.ArrayGeometry`.

    ``subtraction``: the two columns of a pair are converted each, and subtracted digitally, or subtracted as currents
    and converted once.
    ``periphery``: rows and columns share one set of converters and sample-and-holds behind a switch, or each side has
    its own. ``slice_reads``: the bit slices of a weight lie in arrays of their own that are read at once, or side by
    side in one array, whose transposed reads then take one pass per slice. ``conversions``: results are summed over all
    input pulses of a read and converted once, or converted after each pulse while the next one is driven. ``overlap``:
    reads, network and neurons of a tick wait for each other, or work on different positions at the same time.
    ``signed_inputs``: values of either sign enter in one pass, on bipolar lines or in a code with a sign, or in two,
    positive values and then negative ones, whose results are converted each and subtracted digitally.
    """

    rows: Number
    columns: Number
    cells_per_weight: Number
    slices: Number
    input_pulses: Number
    levels: Number
    subtraction: Literal["digital", "analog"]
    periphery: Literal["shared", "duplicated"]
    slice_reads: Literal["arrays", "passes"]
    conversions: Literal["per_read", "per_pulse"]
    overlap: Literal["none", "pipelined"]
    signed_inputs: Literal["one_pass", "two_passes"] = "one_pass"


class CellSection(Strict):
    """Memory cells. ``input_duty`` is the share of input pulses that are high; ``read_energy`` and ``write_energy``
    of one pulse are given where they do not follow from voltage, conductance and time; ``endurance`` in write pulses.
    """

    read_voltage: Volt
    read_time: Second
    input_duty: Fraction
    on_conductance: Siemens
    off_conductance: Siemens
    write_voltage: Volt
    write_time: Second
    area: SquareMetre
    read_energy: Joule | None = None
    write_energy: Joule | None = None
    endurance: Number | None = None

    @model_validator(mode="after")
    def _off_is_below_on(self) -> Self:
        on, off = self.on_conductance.value, self.off_conductance.value
        if not on > 0:
            raise ValueError("on_conductance must be greater than 0 S")
        if off > on:
            raise ValueError(f"off_conductance ({off:g} S) must not exceed on_conductance ({on:g} S)")
        return self


class WireSection(Strict):
    """Wires of the array: resistance of the piece from one cell to the next."""

    segment_resistance: Ohm


class DacSection(Strict):
    """Line drivers: energy of one input pulse on one line, and area of the driver of a line."""

    pulse_energy: Joule
    area: SquareMetre


class SampleHoldSection(Strict):
    """Holds a sensed line until a shared converter has come to it: energy of one sample, area per line."""

    sample_energy: Joule
    area: SquareMetre


class DigitalSection(Strict):
    """Logic next to the tiles, and the widths of its registers.

    ``add``: shift-and-add unit, one per converter; ``neuron``: adds, activation and event test of one state, and the
    units per tile that do it in turn; ``compare``: of max-pooling; ``multiply_add``: of readouts, signals and update
    accumulators, with the units that each of them has.
    ``state_bits``: states, targets and projections; ``partial_bits``: partial sums, drives and errors;
    ``accumulator_bits``: update accumulators, biases and readout weights.
    """

    add_energy: Joule
    add_area: SquareMetre
    compare_energy: Joule
    compare_area: SquareMetre
    multiply_add_energy: Joule
    multiply_add_area: SquareMetre
    multiply_add_time: Second
    multiply_add_units: Number
    neuron_energy: Joule
    neuron_area: SquareMetre
    neuron_units: Number
    state_bits: Number
    partial_bits: Number
    accumulator_bits: Number


class RegisterSection(Strict):
    """Register files beside the neurons (states, drives, routing, targets): one bit read or written, and kept."""

    access_energy: JoulePerBit
    area: SquareMetrePerBit
    leakage: WattPerBit


class BufferSection(Strict):
    """Larger memories, SRAM or eDRAM, whose cost depends on their size: accumulators, projections, readout weights."""

    access_energy: SizeEnergyCurve
    area: SizeAreaCurve
    leakage: WattPerBit


class NocSection(Strict):
    """Network on chip: a mesh with one router per tile and links as long as a tile is wide.

    ``placement``: how tiles are laid on it, see :mod:`neurosim_ep.hardware.chip.placement`.
    """

    placement: Literal["serpentine", "annealed"]
    router_energy: JoulePerBit
    link_energy: JoulePerBitMetre
    router_area: SquareMetre
    router_leakage: Watt
    hop_time: Second
    flit_bits: Number


class DramSection(Strict):
    """Memory outside the chip, for images and stored targets."""

    access_energy: JoulePerBit
    bandwidth: BitPerSecond


class WriteSection(Strict):
    """How weight changes reach the cells; see :mod:`neurosim_ep.hardware.bill.writing`.

    ``slots``: pulse slots of one outer product written by coinciding pulses; ``verify_reads``: reads that check a row
    after each of its pulses.
    """

    scheme: Literal["accumulate", "row_verify", "outer_product", "continual"]
    slots: Number
    verify_reads: Number

    @property
    def parallel(self) -> bool:
        """Whether outer products are written into the cells directly, and no accumulator stands beside the tiles."""
        return self.scheme in ("outer_product", "continual")


class SettlingSection(Strict):
    """Analog relaxation without conversions: how fast lines and neurons settle, and what the neurons draw meanwhile.

    A phase takes ``time_constants`` of the slower of line and neuron for each layer the signal crosses, or
    ``phase_time`` where that is given.
    """

    wire_capacitance: FaradPerMetre
    cell_pitch: Metre
    neuron_time: Second
    neuron_power: Watt
    time_constants: Number
    phase_time: Second | None = None


class LeakageSection(Strict):
    """Static power of the array of one tile with its periphery."""

    tile: Watt


class HardwareModel(Strict):
    """A whole hardware model: one field per TOML section. All numbers are for ``model.node_nm``."""

    model: ModelSection
    array: ArraySection
    cell: CellSection
    wire: WireSection
    dac: DacSection
    sample_hold: SampleHoldSection
    adc: AdcSection
    digital: DigitalSection
    registers: RegisterSection
    buffer: BufferSection
    noc: NocSection
    dram: DramSection
    write: WriteSection
    settling: SettlingSection
    leakage: LeakageSection
    scaling: ScalingSection

    def at(self, bound: Bound) -> HardwareModel:
        """The model with every number at the end of its interval that makes costs ``low`` or ``high``."""
        return self if bound == "value" else _each(self, lambda quantity: quantity.fixed(bound))

    def array_geometry(self) -> ArrayGeometry:
        """Shape of the arrays, for :func:`neurosim_ep.tiles.mapping.plan_tiles`."""
        names = ("rows", "columns", "cells_per_weight", "slices", "input_pulses", "levels")
        pairs = 2 if self.array.subtraction == "analog" and self.array.cells_per_weight.value == 2 else 1
        return ArrayGeometry(
            **{name: getattr(self.array, name).value for name in names},
            columns_per_conversion=pairs,
            sign_passes=2 if self.array.signed_inputs == "two_passes" else 1,
        )

    def cell_read_energy_J(self) -> float:
        """Energy of one input pulse in one cell, ``E = duty V² ½(G_on + G_off) t``: mean conductance."""
        cell = self.cell
        if cell.read_energy is not None:
            return cell.read_energy.value
        mean_conductance_S = (cell.on_conductance.value + cell.off_conductance.value) / 2
        return cell.input_duty.value * cell.read_voltage.value**2 * mean_conductance_S * cell.read_time.value

    def cell_write_energy_J(self) -> float:
        """Energy of one programming pulse, ``E = V² G_on t``: an upper bound, the cell fully on."""
        cell = self.cell
        if cell.write_energy is not None:
            return cell.write_energy.value
        return cell.write_voltage.value**2 * cell.on_conductance.value * cell.write_time.value

    def conversions_per_result(self) -> int:
        """Conversions that give the result of one line and slice in one read."""
        return self.array.input_pulses.value if self.array.conversions == "per_pulse" else 1

    def adc_cost(self) -> AdcCost:
        """Energy of one conversion and area of one converter."""
        return self.adc.cost(self.model.node_nm)

    def buffer_energy_J_per_bit(self, size_bit: float) -> float:
        """Energy of reading or writing one bit of a buffer of ``size_bit``."""
        return self.buffer.access_energy.at(max(size_bit, 1.0))

    def buffer_area_m2(self, size_bit: float) -> float:
        """Area of a buffer of ``size_bit``."""
        return size_bit * self.buffer.area.at(max(size_bit, 1.0))

    def projection_mac_energy_J(self, size_bit: float) -> float:
        """One multiply-add of a readout or signal projection, its weight read from a buffer of ``size_bit``."""
        read_J = self.digital.state_bits.value * self.buffer_energy_J_per_bit(size_bit)
        return self.digital.multiply_add_energy.value + read_J

    def weight_bits(self) -> int:
        """Bits that tell the levels of a weight apart, ⌈log2 levels⌉."""
        return (self.array.levels.value - 1).bit_length()


def scaled_to_node(model: HardwareModel) -> HardwareModel:
    """``model`` with every number that follows the technology node carried to ``model.node_nm``.

    Raises ValueError naming the number whose node the scaling tables do not reach.
    """
    wanted_nm = model.model.node_nm
    rules = RULES | {f"adc.{key}": rule for key, rule in model.adc.rules().items()}

    def rescale(part: Any, key: str) -> Any:
        if key in rules:
            try:
                factor = model.scaling.factor(rules[key], part.node_nm, wanted_nm)
            except ValueError as problem:
                raise ValueError(f"{key}: {problem}") from problem
            return part.times(factor, wanted_nm)
        if not isinstance(part, Strict) or isinstance(part, Quantity | Curve):
            return part
        return part.model_copy(update={name: rescale(value, f"{key}.{name}".lstrip(".")) for name, value in part})

    scaled: HardwareModel = rescale(model, "")
    return scaled


def _each(part: Any, change: Any) -> Any:
    """``part`` with every quantity in it changed."""
    if isinstance(part, Quantity):
        return change(part)
    if isinstance(part, Strict):
        return part.model_copy(update={name: _each(value, change) for name, value in part})
    return part
