"""Analog-to-digital converters: five named ways to say what one conversion costs.

| kind | energy of a conversion | area |
| --- | --- | --- |
| table | that of a published converter of these bits | likewise |
| walden | ``FoM_W · 2^bits`` | one number |
| schreier | ``½ · 10^((SNDR − FoM_S)/10)``, ``SNDR = 6.02 bits + 1.76`` dB, bandwidth half the rate | one number |
| fit | regression over published converters, see :class:`AdcFit` | likewise |
| serial | ``steps · E_step``, one step per bit unless given, see :class:`AdcSerial` | one number |

At 8 bits and 32 nm published choices differ by a factor of ten, so the choice is part of a model.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from neurosim_ep.hardware.model.quantities import Coefficient, FigureOfMerit, Joule, Number, Second, SquareMetre
from neurosim_ep.strict import Strict

MOST_BITS = 32


class AdcPoint(Strict):
    """A published converter of one resolution."""

    energy: Joule
    area: SquareMetre


class AdcWalden(Strict):
    """Walden's figure of merit: energy per conversion step."""

    energy_per_step: Joule
    area: SquareMetre


class AdcSchreier(Strict):
    """Schreier's figure of merit, which noise-limited converters share."""

    figure_of_merit: FigureOfMerit
    area: SquareMetre


class AdcFit(Strict):
    """A regression over published converters, in bits b, rate f [1/s] and node [nm]:

    ``FoM = min(speed_offset − speed_slope ln f, bits_offset + bits_slope b)``
    ``E [pJ] = ½ · 10^((SNDR − FoM)/10) · exp(energy_offset) · node^energy_node · b^−energy_bits``
    ``A [um²] = exp(area_offset) · node^area_node · f^area_rate · E^area_energy``
    """

    speed_offset: Coefficient
    speed_slope: Coefficient
    bits_offset: Coefficient
    bits_slope: Coefficient
    energy_offset: Coefficient
    energy_node: Coefficient
    energy_bits: Coefficient
    area_offset: Coefficient
    area_node: Coefficient
    area_rate: Coefficient
    area_energy: Coefficient

    def cost(self, bits: int, rate_per_s: float, node_nm: float) -> AdcCost:
        """Energy and area of a converter."""
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


class AdcSerial(Strict):
    """A converter that works step by step: energy and time grow with the steps, one per bit unless ``steps`` is given
    (more where an input comes in several parts, each converted by itself).
    """

    energy_per_step: Joule
    time_per_step: Second
    area: SquareMetre
    steps: Number | None = None


class AdcCost(NamedTuple):
    """One conversion, and one converter."""

    energy_J: float
    area_m2: float


class AdcSection(Strict):
    """Converters: the ``kind`` of cost, resolution, time of a conversion (serial: what it takes beside its steps), and
    converters that share a tile's lines.
    """

    kind: Literal["table", "walden", "schreier", "fit", "serial"]
    bits: Number
    per_tile: Number
    conversion_time: Second
    table: Annotated[dict[str, AdcPoint], Field(default_factory=dict)]
    walden: AdcWalden | None = None
    schreier: AdcSchreier | None = None
    fit: AdcFit | None = None
    serial: AdcSerial | None = None

    @model_validator(mode="after")
    def _kind_is_given(self) -> Self:
        if self.bits.value > MOST_BITS:
            raise ValueError(f"bits ({self.bits.value}) must not exceed {MOST_BITS}")
        if wrong := [name for name in self.table if not name.isdecimal()]:
            raise ValueError(f"adc.table.{wrong[0]}: must be called after its bits, as adc.table.8")
        if self.kind == "fit" and not self.conversion_time.at("low") > 0:
            raise ValueError('kind = "fit" needs a conversion_time above 0 s; give one, or choose another kind')
        if self.kind == "table":
            if str(self.bits.value) not in self.table:
                known = ", ".join(sorted(self.table, key=int)) or "none"
                raise ValueError(
                    f'kind = "table" has no converter of {self.bits.value} bits (it has {known}); add adc.table.'
                    f"{self.bits.value}, or choose another kind"
                )
        elif getattr(self, self.kind) is None:
            raise ValueError(f'kind = "{self.kind}" needs the table adc.{self.kind}; add it, or choose another kind')
        return self

    @property
    def time_s(self) -> float:
        """Time of one conversion, with the steps of a serial one."""
        steps_s = 0.0
        if self.kind == "serial" and self.serial is not None:
            steps_s = self._steps(self.serial) * self.serial.time_per_step.value
        return self.conversion_time.value + steps_s

    def _steps(self, serial: AdcSerial) -> int:
        return self.bits.value if serial.steps is None else serial.steps.value

    def cost(self, node_nm: float) -> AdcCost:
        """Energy of a conversion and area of a converter at ``node_nm``, to which numbers have been scaled already."""
        bits = self.bits.value
        if self.kind == "table":
            point = self.table[str(bits)]
            return AdcCost(point.energy.value, point.area.value)
        if self.walden is not None and self.kind == "walden":
            return AdcCost(self.walden.energy_per_step.value * 2**bits, self.walden.area.value)
        if self.schreier is not None and self.kind == "schreier":
            energy_J = 0.5 * 10 ** ((signal_to_noise_dB(bits) - self.schreier.figure_of_merit.value) / 10)
            return AdcCost(energy_J, self.schreier.area.value)
        if self.serial is not None and self.kind == "serial":
            return AdcCost(self._steps(self.serial) * self.serial.energy_per_step.value, self.serial.area.value)
        assert self.fit is not None
        return self.fit.cost(bits, 1 / self.conversion_time.value, node_nm)


def signal_to_noise_dB(bits: int) -> float:
    """SNDR of an ideal converter, ``6.02 bits + 1.76`` dB."""
    return 6.02 * bits + 1.76
