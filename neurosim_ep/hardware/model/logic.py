"""Sections of a hardware model about logic and memories beside the arrays, and about how weights are written."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import model_validator

from neurosim_ep.hardware.model.curves import SizeAreaCurve, SizeEnergyCurve
from neurosim_ep.hardware.model.quantities import (
    CYCLE,
    BitPerSecond,
    Factor,
    Joule,
    JoulePerBit,
    Number,
    Second,
    SquareMetre,
    SquareMetrePerBit,
    WattPerBit,
    key,
)
from neurosim_ep.strict import Strict

PORT_BITS = 64
"""Width of the port that the energies of a buffer are given for where the model does not say."""


class DigitalSection(Strict):
    """Logic next to the tiles, and the widths of its registers."""

    add_energy: Annotated[Joule, key("one 16-bit shift-and-add", "add", "pool")]
    add_area: Annotated[SquareMetre, key("a shift-and-add unit, one per converter", "area", "leakage")]
    compare_energy: Annotated[Joule, key("one comparison of max-pooling", "pool")]
    compare_area: Annotated[SquareMetre, key("a comparator, one per neuron unit", "area", "leakage")]
    multiply_add_energy: Annotated[Joule, key("one multiply-add", "readout", "signal", "update_add")]
    multiply_add_area: Annotated[SquareMetre, key("a multiply-add unit", "area", "leakage")]
    multiply_add_time: Annotated[Second, key("one multiply-add of a unit", "time")]
    multiply_add_units: Annotated[Number, key("units of each update accumulator, readout and signal", "time", "area")]
    neuron_energy: Annotated[Joule, key("adds, activation and event test of one state", "neuron")]
    neuron_area: Annotated[SquareMetre, key("a neuron unit", "area", "leakage")]
    neuron_units: Annotated[Number, key("neuron units per tile, which do its neurons in turn", "time", "area")]
    state_bits: Annotated[
        Number,
        key(
            "width of states, targets and projections", "register", "line_register", "input_buffer", "message", "memory"
        ),
    ]
    partial_bits: Annotated[
        Number, key("width of partial sums, drives and errors", "drive_register", "partial_sum", "memory")
    ]
    accumulator_bits: Annotated[
        Number, key("width of update accumulators, biases and readout weights", "update_memory", "memory")
    ]
    neuron_time: Annotated[Second, key("one update of a state by a neuron unit", "time")] = CYCLE


class RegisterSection(Strict):
    """Register files beside neurons and lines."""

    access_energy: Annotated[JoulePerBit, key("one bit read or written", "register", "line_register", "drive_register")]
    area: Annotated[SquareMetrePerBit, key("one bit", "area")]
    leakage: Annotated[WattPerBit, key("static power of one bit", "leakage")]


class BufferSection(Strict):
    """Larger memories, SRAM or eDRAM, whose cost depends on their size."""

    access_energy: Annotated[
        SizeEnergyCurve,
        key(
            "one bit read or written against the size of the memory, with a port of given_port_bits",
            "update_memory", "input_buffer", "readout", "signal", "stored_state",
        ),
    ]  # fmt: skip
    area: Annotated[
        SizeAreaCurve, key("one bit with its share of the periphery against the size of the memory", "area")
    ]
    leakage: Annotated[WattPerBit, key("static power of one bit", "leakage")]
    port_bits: Annotated[
        Number,
        key(
            "bits that a memory reads or writes in a cycle; a port w times as wide as given_port_bits takes 0.7 w + "
            "0.3 of the energy",
            "update_memory", "input_buffer", "time",
        ),
    ] = Number.default(PORT_BITS, "the port that access_energy is given for")  # fmt: skip
    given_port_bits: Annotated[
        Number, key("port that access_energy is given for", *("update_memory", "input_buffer"))
    ] = Number.default(PORT_BITS, "that of the usual tables")
    energy_scale: Annotated[
        Factor,
        key(
            "factor of all of access_energy, with the interval that holds other sources",
            "update_memory",
            "input_buffer",
        ),
    ] = Factor.default(1.0, "access_energy as given")
    cycle_time: Annotated[Second, key("one access of a memory", "time")] = CYCLE
    refresh: Annotated[WattPerBit, key("power that keeps one bit of a dynamic memory", "refresh")] = WattPerBit.default(
        0.0, "static memories keep their content"
    )

    @property
    def port_share(self) -> float:
        """Energy of one bit over that with the given port: ``(0.7 w + 0.3) / w``."""
        width = self.port_bits.value / self.given_port_bits.value
        return (0.7 * width + 0.3) / width

    @property
    def seconds_per_bit(self) -> float:
        """Time that a memory takes for each bit it reads or writes."""
        return self.cycle_time.value / self.port_bits.value


class DramSection(Strict):
    """Memory outside the chip, for images and stored targets."""

    access_energy: Annotated[JoulePerBit, key("one bit fetched", "dram")]
    bandwidth: Annotated[BitPerSecond, key("bits fetched per second", "time")]

    @model_validator(mode="after")
    def _something_is_fetched(self) -> Self:
        if self.bandwidth.at("low") <= 0:
            raise ValueError(
                "bandwidth must be above 0 bit/s, at its low end too: images come from outside; give that of the memory"
            )
        return self


class WriteSection(Strict):
    """How weight changes reach the cells; see :mod:`neurosim_ep.hardware.bill.writing`."""

    scheme: Annotated[
        Literal["accumulate", "row_verify", "outer_product", "continual"],
        key(
            "accumulate: summed over a batch in a memory, then programmed row by row; row_verify: and read after each "
            "pulse; outer_product: coinciding pulses, once per sample; continual: in every nudge tick",
            "cell_write", "dac", "update_add", "update_memory", "time", "area",
        ),
    ]  # fmt: skip
    slots: Annotated[Number, key("pulse slots of one outer product", "cell_write", "dac", "time")]
    verify_reads: Annotated[
        Number, key("reads that check a row after each of its pulses", *("cell_read", "adc"), "time")
    ]

    @property
    def parallel(self) -> bool:
        """Whether outer products are written into the cells directly, and no accumulator stands beside the tiles."""
        return self.scheme in ("outer_product", "continual")
