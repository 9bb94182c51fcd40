"""A hardware model: one section of quantities per component of the chip, and the costs derived from them.

Every key carries its meaning and the lines that it enters (:class:`~neurosim_ep.hardware.model.quantities.Key`), its
unit is that of its type, its default that of the field.
"""

from __future__ import annotations

import math
from operator import attrgetter
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from neurosim_ep.hardware.model.adc import AdcCost, AdcSection
from neurosim_ep.hardware.model.array import ArraySection, CellSection, DacSection, SampleHoldSection, WireSection
from neurosim_ep.hardware.model.curves import Curve, ScalingSection
from neurosim_ep.hardware.model.logic import BufferSection, DigitalSection, DramSection, RegisterSection, WriteSection
from neurosim_ep.hardware.model.network import (
    ClusterSection,
    CoreSection,
    LeakageSection,
    NocSection,
    PortSection,
    SettlingSection,
)
from neurosim_ep.hardware.model.quantities import LARGEST, Bound, Quantity, Text, key
from neurosim_ep.hardware.model.terms import Origin, Term, lift
from neurosim_ep.hardware.model.voltage import DELAYS, LOGIC_CELL_DELAYS, VoltageSection
from neurosim_ep.strict import Strict
from neurosim_ep.tiles.mapping import ArrayGeometry

LOGIC = ("digital.add", "digital.compare", "digital.multiply_add", "digital.neuron")
RULES = {
    "dac.pulse_energy": "logic_energy", "dac.area": "logic_area",
    "sample_hold.sample_energy": "logic_energy", "sample_hold.area": "logic_area",
    **{f"{unit}_energy": "logic_energy" for unit in LOGIC}, **{f"{unit}_area": "logic_area" for unit in LOGIC},
    "registers.access_energy": "logic_energy", "registers.area": "logic_area", "registers.leakage": "leakage",
    "buffer.access_energy": "logic_energy", "buffer.area": "logic_area", "buffer.leakage": "leakage",
    "buffer.refresh": "leakage",
    "noc.router_energy": "logic_energy", "noc.link_energy": "wire_energy", "noc.router_area": "logic_area",
    "noc.router_leakage": "leakage", "leakage.tile": "leakage", "leakage.density": "leakage_density",
    **{f"{level}.transfer_energy": "logic_energy" for level in ("core", "cluster")},
    **{f"{level}.area": "logic_area" for level in ("core", "cluster")},
    **{f"{level}.leakage": "leakage" for level in ("core", "cluster")},
}  # fmt: skip
"""Numbers that follow the technology node, with the rule of :class:`ScalingSection`, beside those of converters, which
tell their own, and those of cells that scale as logic does; all others are used as given.
"""
CELLS_AS_LOGIC = {
    "cell.read_energy": "logic_energy", "cell.write_energy": "logic_energy", "cell.area": "sram_area",
    "cell.leakage": "leakage",
}  # fmt: skip


class ModelSection(Strict):
    """Name, purpose and technology node of the model."""

    name: Annotated[Text, key("name of the model")]
    description: Annotated[Text, key("what it is, in a sentence")]
    node_nm: Annotated[float, Field(gt=0), key("technology node [nm] that numbers are carried to")]
    abstract: Annotated[bool, key("only there for others to build on")] = False


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
    scaling: ScalingSection
    leakage: LeakageSection = LeakageSection()
    core: CoreSection | None = None
    cluster: ClusterSection | None = None
    port: PortSection | None = None
    voltage: VoltageSection | None = None

    def at(self, bound: Bound) -> HardwareModel:
        """The model with every number at the end of its interval that makes costs ``low`` or ``high``."""
        return self if bound == "value" else _each(self, lambda quantity: quantity.fixed(bound))

    def array_geometry(self) -> ArrayGeometry:
        """Shape of the arrays, for :func:`neurosim_ep.tiles.mapping.plan_tiles`."""
        names = ("rows", "columns", "cells_per_weight", "slices", "input_pulses", "levels")
        cells, slices = self.array.merged
        return ArrayGeometry(
            **{name: getattr(self.array, name).value for name in names},
            columns_per_conversion=cells,
            slices_per_conversion=slices,
            sign_passes=2 if self.array.signed_inputs == "two_passes" else 1,
        )

    def term(self, key: str) -> Term:
        """The number called ``key``, dotted, as a term of that name."""
        part: Any = attrgetter(key)(self)
        return Term(part.value, key, Origin.MODEL, part.unit)

    def replacing(self, key: str, number: Quantity) -> HardwareModel:
        """The model with another ``number`` called ``key``, dotted."""

        def put(part: Any, names: list[str]) -> Any:
            name, *rest = names
            return part.model_copy(update={name: put(getattr(part, name), rest) if rest else number})

        found: HardwareModel = put(self, key.split("."))
        return found

    def mean_conductance(self) -> Term:
        """Half of on and off [S]."""
        both = self.term("cell.on_conductance") + self.term("cell.off_conductance")
        return (both * 0.5).named("mean conductance", "S")

    def cell_read_power(self) -> Term:
        """Power of a driven cell, the mean over pulses that are high and low [W]."""
        return self.term("cell.input_duty") * self.term("cell.read_voltage") ** 2 * self.mean_conductance()

    def cell_read_energy(self) -> Term:
        """Energy of one input pulse in one cell, ``E = duty V² ½(G_on + G_off) t``: mean conductance [J]."""
        if self.cell.read_energy is not None:
            return self.term("cell.read_energy")
        return self.cell_read_power() * self.term("cell.read_time")

    def driver_energy(self) -> Term:
        """Mean energy of one input pulse of one driver, ``E = duty E_1 growth^(bits - 1)`` [J]."""
        pulse = self.term("dac.pulse_energy")
        mean = self.term("cell.input_duty") * pulse if self.dac.pulses == "high" else pulse
        return mean * self.widening()

    def widening(self) -> Term:
        """Energy and area of a driver over those of a one-bit driver."""
        return self.term("dac.growth") ** (self.term("dac.bits") - 1)

    def line_energy(self) -> Term:
        """Energy that one input pulse charges each crossing cell of its line with, ``E = duty C V²`` [J]."""
        charge = self.term("cell.input_duty") * self.term("wire.cell_capacitance")
        return charge * self.term("cell.read_voltage") ** 2

    def converters_per_tile(self) -> int:
        """Converters of one tile, all its slices together."""
        return self.adc.converters(self.array.columns.value * self.array.slices.value)

    def shared(self, part: str) -> bool:
        """Whether the tiles of a core share ``part``; see :class:`CoreSection`."""
        return self.core is not None and part in self.core.shares

    def cell_write_energy(self) -> Term:
        """Energy of one programming pulse, ``E = V² G_on t``: an upper bound, the cell fully on [J]."""
        if self.cell.write_energy is not None:
            return self.term("cell.write_energy")
        return self.term("cell.write_voltage") ** 2 * self.term("cell.on_conductance") * self.term("cell.write_time")

    def conversions_per_result(self) -> Term | int:
        """Conversions that give the result of one line and slice in one read."""
        return self.term("array.input_pulses") if self.array.conversions == "per_pulse" else 1

    def adc_cost(self) -> AdcCost:
        """Energy of one conversion and area of one converter."""
        return self.adc.cost(self.model.node_nm)

    def conversion_energy(self) -> Term:
        """Energy of one conversion [J]."""
        keys = [key for key in self.adc.priced.numbers(self.adc.bits.value) if "area" not in key]
        return self._converter("energy of a conversion", self.adc_cost().energy_J, "J", keys)

    def converter_area(self) -> Term:
        """Area of one converter [m^2]."""
        keys = self.adc.priced.numbers(self.adc.bits.value)
        return self._converter("area of a converter", self.adc_cost().area_m2, "m^2", keys)

    def _converter(self, name: str, value: float, unit: str, priced_by: list[str]) -> Term:
        adc = self.adc
        keys = ["bits", "conversion_time", *(f"{adc.kind}.{key}" for key in priced_by)]
        about = f'adc.kind = "{adc.kind}": {adc.priced.sentence}'
        return Term(value, name, Origin.FORMULA, unit, about, parts=tuple(self.term(f"adc.{key}") for key in keys))

    def buffer_energy(self, size_bit: float | np.ndarray) -> Term:
        """Energy of reading or writing one bit of a buffer of ``size_bit``, or of each of several [J/bit]."""
        sizes = np.maximum(size_bit, 1.0)
        curve_J = self.buffer.access_energy.at_each(sizes)
        about = f"curve at the size of the memory, {sizes.min():,.0f} to {sizes.max():,.0f} bits"
        read = Term(curve_J if sizes.ndim else float(curve_J), "buffer.access_energy", Origin.MODEL, "J/bit", about)
        return read * self.term("buffer.energy_scale") * self._port_share()

    def _port_share(self) -> Term:
        widths = (self.term("buffer.port_bits"), self.term("buffer.given_port_bits"))
        about = "(0.7 w + 0.3) / w of a port w times as wide as the given one"
        return Term(self.buffer.port_share, "share of the port", Origin.FORMULA, "1", about, parts=widths)

    def buffer_area_m2(self, size_bit: float) -> float:
        """Area of a buffer of ``size_bit``."""
        return size_bit * self.buffer.area.at(max(size_bit, 1.0))

    def projection_mac_energy(self, size_bit: float | np.ndarray) -> Term:
        """One multiply-add of a readout or signal projection, its weight read from a buffer of ``size_bit`` [J]."""
        return self.term("digital.multiply_add_energy") + self.term("digital.state_bits") * self.buffer_energy(size_bit)

    def static_power_of(self, level: Literal["core", "cluster"]) -> Term:
        """Static power of what a core or cluster has beside its parts, 0 where there are none [W]."""
        section = self.core if level == "core" else self.cluster
        if section is None:
            return lift(0.0)
        if section.leakage is not None:
            return self.term(f"{level}.leakage")
        return self.term("leakage.density") * self.term(f"{level}.area")

    def weight_bits(self) -> int:
        """Bits that tell the levels of a weight apart, ⌈log2 levels⌉."""
        return (self.array.levels.value - 1).bit_length()


def scaled(model: HardwareModel) -> HardwareModel:
    """``model`` with every number that follows the technology node carried to ``model.node_nm``, and those that follow
    the voltage to its supply.

    Raises ValueError naming the number whose node the scaling tables do not reach.
    """
    wanted_nm, voltage = model.model.node_nm, model.voltage
    rules = RULES | {f"adc.{key}": rule for key, rule in model.adc.rules().items()}
    delays = DELAYS
    if model.cell.scaling == "logic":
        rules |= CELLS_AS_LOGIC
        delays |= LOGIC_CELL_DELAYS

    def rescale(part: Any, key: str) -> Any:
        if part is not None and (key in rules or key in delays):
            return _carried(part, key, rules.get(key))
        if not isinstance(part, Strict) or isinstance(part, Quantity | Curve):
            return part
        return part.model_copy(update={name: rescale(value, f"{key}.{name}".lstrip(".")) for name, value in part})

    def _carried(part: Any, key: str, rule: str | None) -> Any:
        try:
            factor = 1.0 if rule is None else model.scaling.factor(rule, part.node_nm, wanted_nm)
            factor *= 1.0 if voltage is None else voltage.factor(rule)
        except ArithmeticError:  # overflow, or division by what has become 0
            factor = math.inf
        except ValueError as problem:
            raise ValueError(f"{key}: {problem}") from problem
        if factor > LARGEST:
            raise ValueError(
                f"{key}: carried to {wanted_nm:g} nm and its supply it would be {factor:g} times as large; that is too "
                "large, look at the exponents of scaling and voltage"
            )
        return part.times(factor, part.node_nm if rule is None else wanted_nm) if rule or voltage else part

    found: HardwareModel = rescale(model, "")
    return found


def _each(part: Any, change: Any) -> Any:
    """``part`` with every quantity in it changed."""
    if isinstance(part, Quantity):
        return change(part)
    if isinstance(part, Strict):
        return part.model_copy(update={name: _each(value, change) for name, value in part})
    return part
