"""Analog-to-digital converters: named ways to say what one conversion costs, each a class with numbers of its own.

At 8 bits and 32 nm published choices differ by a factor of ten, so the choice is part of a model.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, NamedTuple, Self

from pydantic import ConfigDict, ModelWrapValidatorHandler, create_model, model_validator

from neurosim_ep.hardware.model.quantities import (
    Coefficient,
    FigureOfMerit,
    Joule,
    Number,
    Quantity,
    Second,
    SquareMetre,
    key,
)
from neurosim_ep.registry import CONVERTERS
from neurosim_ep.scenario.names import OneOf
from neurosim_ep.strict import Strict

MOST_BITS = 32
ENERGY, AREA = "adc_energy_exponent", "adc_area_exponent"
PER_STEP = {"energy_per_step": ENERGY, "area": AREA}


class AdcCost(NamedTuple):
    """One conversion, and one converter."""

    energy_J: float
    area_m2: float


class Adc(Strict, ABC):
    """A way to price converters; its fields are the numbers of the table ``adc.<name>`` of a model.

    ``at_node``: those of them that follow the technology node, by the rule of
    :class:`~neurosim_ep.hardware.model.curves.ScalingSection`.
    """

    name: ClassVar[str]
    sentence: ClassVar[str]
    at_node: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def cost(self, bits: int, rate_per_s: float, node_nm: float) -> AdcCost:
        """Energy of a conversion and area of a converter of ``bits`` at ``node_nm``, to which numbers have been scaled
        already. ``rate_per_s`` is infinite where a conversion takes no time.
        """

    def numbers(self, bits: int) -> list[str]:
        """Keys of the numbers that a converter of ``bits`` is priced by."""
        return [name for name, number in self if isinstance(number, Quantity)]

    def steps_s(self, bits: int) -> float:
        """Time that a conversion takes beside ``conversion_time``."""
        return 0.0

    def problem(self, bits: int, time_s: float) -> str | None:
        """What speaks against converters of ``bits`` that take ``time_s``, with its remedy."""
        return None

    def rules(self) -> dict[str, str]:
        """:attr:`at_node` by dotted keys."""
        return dict(self.at_node)


Energy = Annotated[Joule, key("one conversion", "adc")]
StepEnergy = Annotated[Joule, key("one step of a conversion", "adc")]
Area = Annotated[SquareMetre, key("one converter", "area", "leakage")]
Fitted = Annotated[Coefficient, key("coefficient of the formulas of the regression", "adc", "area")]


class AdcPoint(Strict):
    """A published converter of one resolution; ``at_node``: see :class:`Adc`."""

    at_node: ClassVar[Mapping[str, str]] = {"energy": ENERGY, "area": AREA}

    energy: Energy
    area: Area


class AdcTable(Adc):
    """Published converters, one for each number of bits."""

    name = "table"
    sentence = "energy and area of a published converter of these bits"
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, AdcPoint]

    @model_validator(mode="after")
    def _called_after_bits(self) -> Self:
        if wrong := [name for name in self._points if not name.isdecimal()]:
            raise ValueError(f"{wrong[0]}: must be called after its bits, as adc.table.8")
        return self

    @property
    def _points(self) -> dict[str, AdcPoint]:
        return self.__pydantic_extra__

    @classmethod
    def part(cls, name: str) -> type[Strict]:
        """See :meth:`Strict.part`."""
        return AdcPoint

    def problem(self, bits: int, time_s: float) -> str | None:
        """It must have a converter of ``bits``."""
        if str(bits) in self._points:
            return None
        known = ", ".join(sorted(self._points, key=int)) or "none"
        return (
            f'kind = "table" has no converter of {bits} bits (it has {known}); add adc.table.{bits}, or choose another '
            "kind"
        )

    def numbers(self, bits: int) -> list[str]:
        """Those of the converter of ``bits``."""
        return [f"{bits}.energy", f"{bits}.area"]

    def cost(self, bits: int, rate_per_s: float, node_nm: float) -> AdcCost:
        """As published."""
        point = self._points[str(bits)]
        return AdcCost(point.energy.value, point.area.value)

    def rules(self) -> dict[str, str]:
        """Both numbers of every converter."""
        return {f"{bits}.{name}": rule for bits in self._points for name, rule in AdcPoint.at_node.items()}


class AdcWalden(Adc):
    """Walden's figure of merit: energy per conversion step."""

    name = "walden"
    sentence = "FoM_W 2^bits, and one area"
    at_node: ClassVar = PER_STEP

    energy_per_step: StepEnergy
    area: Area

    def cost(self, bits: int, rate_per_s: float, node_nm: float) -> AdcCost:
        """``FoM_W · 2^bits``."""
        return AdcCost(self.energy_per_step.value * 2**bits, self.area.value)


class AdcSchreier(Adc):
    """Schreier's figure of merit, which noise-limited converters share."""

    name = "schreier"
    sentence = "1/2 10^((SNDR - FoM_S)/10) with SNDR = 6.02 bits + 1.76 dB, bandwidth half the rate, and one area"
    at_node: ClassVar = {"area": AREA}

    figure_of_merit: Annotated[FigureOfMerit, key("Schreier's figure of merit", "adc")]
    area: Area

    def cost(self, bits: int, rate_per_s: float, node_nm: float) -> AdcCost:
        """``½ · 10^((SNDR − FoM_S)/10)``."""
        energy_J = 0.5 * 10 ** ((signal_to_noise_dB(bits) - self.figure_of_merit.value) / 10)
        return AdcCost(energy_J, self.area.value)


class AdcFit(Adc):
    """A regression over published converters, in bits b, rate f [1/s] and node [nm]:

    ``FoM = min(speed_offset − speed_slope ln f, bits_offset + bits_slope b)``
    ``E [pJ] = ½ · 10^((SNDR − FoM)/10) · exp(energy_offset) · node^energy_node · b^−energy_bits``
    ``A [um²] = exp(area_offset) · node^area_node · f^area_rate · E^area_energy``
    """

    name = "fit"
    sentence = "a regression over published converters, by bits, rate and node"

    speed_offset: Fitted
    speed_slope: Fitted
    bits_offset: Fitted
    bits_slope: Fitted
    energy_offset: Fitted
    energy_node: Fitted
    energy_bits: Fitted
    area_offset: Fitted
    area_node: Fitted
    area_rate: Fitted
    area_energy: Fitted

    def cost(self, bits: int, rate_per_s: float, node_nm: float) -> AdcCost:
        """By the formulas above."""
        figure = min(
            self.speed_offset.value - self.speed_slope.value * math.log(rate_per_s),
            self.bits_offset.value + self.bits_slope.value * bits,
        )
        energy_pJ = (
            0.5 * 10 ** ((signal_to_noise_dB(bits) - figure) / 10) * math.exp(self.energy_offset.value)
            * node_nm**self.energy_node.value * bits**-self.energy_bits.value
        )  # fmt: skip
        area_um2 = (
            math.exp(self.area_offset.value) * node_nm**self.area_node.value
            * rate_per_s**self.area_rate.value * energy_pJ**self.area_energy.value
        )  # fmt: skip
        return AdcCost(energy_pJ * 1e-12, area_um2 * 1e-12)

    def problem(self, bits: int, time_s: float) -> str | None:
        """It needs a rate."""
        if time_s > 0:
            return None
        return 'kind = "fit" needs a conversion_time above 0 s; give one, or choose another kind'


class AdcSerial(Adc):
    """A converter that works step by step: energy and time grow with the steps, one per bit unless ``steps`` is given
    (more where an input comes in several parts, each converted by itself).
    """

    name = "serial"
    sentence = "one energy and time per step, a step per bit unless their number is given, and one area"
    at_node: ClassVar = PER_STEP

    energy_per_step: StepEnergy
    time_per_step: Annotated[Second, key("one step of a conversion", "time")]
    area: Area
    steps: Annotated[Number | None, key("steps of a conversion; default: one per bit", "adc", "time")] = None

    def cost(self, bits: int, rate_per_s: float, node_nm: float) -> AdcCost:
        """``steps · E_step``."""
        return AdcCost(self._steps(bits) * self.energy_per_step.value, self.area.value)

    def steps_s(self, bits: int) -> float:
        """Its steps, one after the other."""
        return self._steps(bits) * self.time_per_step.value

    def _steps(self, bits: int) -> int:
        return bits if self.steps is None else self.steps.value


class AdcSection(Strict):
    """Converters, and a table with the numbers of each ``kind`` that the model has."""

    kind: Annotated[str, OneOf(CONVERTERS), key("what a conversion costs: the table of this name", "adc", "area")]
    bits: Annotated[Number, key("resolution of a conversion", "adc", "area", "time")]
    per_tile: Annotated[
        Number | None,
        key("converters of a tile, all its slices together; or give columns_each", "time", "area", "leakage"),
    ] = None
    columns_each: Annotated[
        Number | None,
        key(
            "columns that share a converter; where it is given, per_tile is not looked at", *("time", "area", "leakage")
        ),
    ] = None
    conversion_time: Annotated[
        Second, key("time of a conversion; serial: what it takes beside its steps", "time", "adc")
    ]

    @model_validator(mode="after")
    def _kind_is_given(self) -> Self:
        if self.per_tile is None and self.columns_each is None:
            raise ValueError("give per_tile, converters of a tile, or columns_each, columns of a converter")
        if self.bits.value > MOST_BITS:
            raise ValueError(f"bits ({self.bits.value}) must not exceed {MOST_BITS}")
        if getattr(self, self.kind) is None:
            raise ValueError(f'kind = "{self.kind}" needs the table adc.{self.kind}; add it, or choose another kind')
        if problem := self.priced.problem(self.bits.value, self.conversion_time.at("low")):
            raise ValueError(problem)
        return self

    @model_validator(mode="wrap")
    @classmethod
    def _with_tables(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """The section with a field for every kind of the package and those of others that ``given`` names."""
        if cls is not AdcSection or not isinstance(given, dict):
            return handler(given)
        kinds = [kind for kind in CONVERTERS.names() if kind in CONVERTERS.own or kind in (*given, given.get("kind"))]
        found: Any = _section(tuple(CONVERTERS[kind] for kind in kinds)).model_validate(given)
        return found

    @classmethod
    def part(cls, name: str) -> type[Strict]:
        """See :meth:`Strict.part`."""
        found: type[Strict] = CONVERTERS[name] if name in CONVERTERS else super().part(name)
        return found

    @classmethod
    def keys(cls) -> list[str]:
        """See :meth:`Strict.keys`."""
        return [*super().keys(), *CONVERTERS.names()]

    @property
    def priced(self) -> Adc:
        """The way that its ``kind`` names."""
        found: Adc = getattr(self, self.kind)
        return found

    def converters(self, columns: int) -> int:
        """Converters of a tile with ``columns`` columns in all its slices."""
        if self.columns_each is not None:
            return -(-columns // self.columns_each.value)
        assert self.per_tile is not None
        return self.per_tile.value

    @property
    def time_s(self) -> float:
        """Time of one conversion, with the steps of a serial one."""
        return self.conversion_time.value + self.priced.steps_s(self.bits.value)

    def cost(self, node_nm: float) -> AdcCost:
        """Energy of a conversion and area of a converter at ``node_nm``, to which numbers have been scaled already."""
        time_s = self.conversion_time.value
        return self.priced.cost(self.bits.value, 1 / time_s if time_s else math.inf, node_nm)

    def rules(self) -> dict[str, str]:
        """Rules of the numbers that follow the node, by dotted keys."""
        return {
            f"{name}.{key}": rule for name, adc in self if isinstance(adc, Adc) for key, rule in adc.rules().items()
        }


@cache
def _section(kinds: tuple[type[Adc], ...]) -> type[AdcSection]:
    """A section with a field for each of ``kinds``."""
    fields: dict[str, Any] = {kind.name: (kind | None, None) for kind in kinds}
    return create_model("AdcSection", __base__=AdcSection, **fields)


def signal_to_noise_dB(bits: int) -> float:
    """SNDR of an ideal converter, ``6.02 bits + 1.76`` dB."""
    return 6.02 * bits + 1.76
