"""The supply voltage of a chip, and the laws that carry numbers given for another one to it."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import model_validator

from neurosim_ep.hardware.model.quantities import Coefficient, Volt, key
from neurosim_ep.strict import Strict

ENERGY_RULES = frozenset({"logic_energy", "wire_energy", "adc_energy_exponent"})
LEAKAGE_RULES = frozenset({"leakage", "leakage_density"})
DELAYS = frozenset(
    {
        "digital.multiply_add_time", "digital.neuron_time", "buffer.cycle_time", "noc.hop_time", "core.cycle_time",
        "cluster.cycle_time", "adc.conversion_time", "adc.serial.time_per_step",
    }
)  # fmt: skip
"""Times of logic and converters; those of devices and of memory outside the chip are used as given."""
LOGIC_CELL_DELAYS = frozenset({"cell.read_time", "cell.write_time"})
"""Times of cells that scale as logic does, SRAM."""


class VoltageSection(Strict):
    """A supply V other than the ``nominal`` one V0 that numbers are given for.

    Energies of logic, memories, networks, drivers and converters (but those priced by a figure of merit or a
    regression) go with ``(V / V0)^energy_exponent``, static power with ``V / V0`` times 10 to the power
    ``leakage_per_volt (V − V0)``, delays with ``V / (V − threshold)^delay_exponent``. Cells of non-volatile devices
    have voltages and times of their own, those of SRAM follow.
    """

    supply: Annotated[Volt, key("voltage that the chip runs at", "dac", "adc", "add", "leakage", "time")]
    nominal: Annotated[Volt, key("voltage that the numbers are given for", "adc", "add", "leakage", "time")]
    lowest: Annotated[Volt, key("lowest supply for which the laws hold")]
    highest: Annotated[Volt, key("highest supply for which the laws hold")]
    threshold: Annotated[Volt, key("voltage at which logic stands still", "time")]
    delay_exponent: Annotated[Coefficient, key("power of the overdrive that delays fall with", "time")] = (
        Coefficient.default(1.3, "alpha-power law of short channels")
    )
    energy_exponent: Annotated[Coefficient, key("power of the supply that energies go with", "adc", "add")] = (
        Coefficient.default(2.0, "C V^2")
    )
    leakage_per_volt: Annotated[Coefficient, key("decades of off-current per volt of supply", "leakage")] = (
        Coefficient.default(1.1, "0.1 V of threshold per volt of supply, at 90 mV per decade")
    )

    @model_validator(mode="after")
    def _within_the_range(self) -> Self:
        low, high, threshold = self.lowest.value, self.highest.value, self.threshold.value
        for name in ("nominal", "supply"):
            if not low <= getattr(self, name).value <= high:
                raise ValueError(
                    f"{name} ({getattr(self, name).value:g} V) lies outside of lowest ({low:g} V) and highest "
                    f"({high:g} V), between which the laws hold; choose one between them, or give numbers for this one"
                )
        if threshold >= low:
            raise ValueError(f"threshold ({threshold:g} V) must be below lowest ({low:g} V)")
        return self

    def factor(self, rule: str | None) -> float:
        """What a number is multiplied by that follows the node by ``rule``; None: a delay."""
        supply, nominal = self.supply.value, self.nominal.value
        if rule in ENERGY_RULES:
            return float((supply / nominal) ** self.energy_exponent.value)
        if rule in LEAKAGE_RULES:
            return float(supply / nominal * 10 ** (self.leakage_per_volt.value * (supply - nominal)))
        return self._delay(supply) / self._delay(nominal) if rule is None else 1.0

    def _delay(self, volts: float) -> float:
        """Delay at a supply of ``volts``, but for a factor."""
        return float(volts / (volts - self.threshold.value) ** self.delay_exponent.value)
