"""Sections of a hardware model about arrays: their shape, cells and wires, and what drives and holds their lines."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import model_validator

from neurosim_ep.hardware.model.quantities import (
    LARGEST,
    Factor,
    Farad,
    Fraction,
    Joule,
    Number,
    Ohm,
    Second,
    Siemens,
    SquareMetre,
    Volt,
    Watt,
    key,
)
from neurosim_ep.strict import Strict

READS = ("cell_read", "dac", "sample_hold", "adc", "add")


class ArraySection(Strict):
    """Crossbar arrays: see :class:`neurosim_ep.tiles.mapping.ArrayGeometry`."""

    rows: Annotated[Number, key("rows of an array", *READS, "time", "area", "memory")]
    columns: Annotated[Number, key("columns of an array", *READS, "time", "area", "memory")]
    cells_per_weight: Annotated[
        Number, key("adjacent columns of a weight; 2: a differential pair", *READS, "cell_write", "time")
    ]
    slices: Annotated[Number, key("bit slices of a weight", *READS, "cell_write", "time", "area")]
    input_pulses: Annotated[Number, key("pulses that carry one input value", "cell_read", "dac", "line", "time")]
    levels: Annotated[Number, key("programming pulses that span the range of a weight", "cell_write", "memory")]
    subtraction: Annotated[
        Literal["digital", "analog"],
        key(
            "digital: both columns of a pair are converted, and subtracted; analog: their currents are subtracted and "
            "converted once",
            "adc", "add", "sample_hold", "time",
        ),
    ]  # fmt: skip
    periphery: Annotated[
        Literal["shared", "duplicated"],
        key(
            "shared: rows and columns have one set of converters behind a switch; duplicated: each side its own",
            "area",
            "memory",
        ),
    ]
    slice_reads: Annotated[
        Literal["arrays", "passes"],
        key(
            "arrays: slices lie in arrays of their own that are read at once; passes: side by side in one array, whose "
            "transposed reads take one pass per slice",
            "dac", "time", "area",
        ),
    ]  # fmt: skip
    conversions: Annotated[
        Literal["per_read", "per_pulse"],
        key(
            "per_read: results are summed over all pulses of a read and converted once; per_pulse: converted after "
            "each pulse, while the next one is driven",
            "adc", "add", "sample_hold", "time",
        ),
    ]  # fmt: skip
    overlap: Annotated[
        Literal["none", "pipelined"],
        key(
            "none: reads, network and neurons of a tick wait for each other; pipelined: they work on different "
            "positions at the same time",
            "time",
        ),
    ]  # fmt: skip
    signed_inputs: Annotated[
        Literal["one_pass", "two_passes"],
        key(
            "how values of either sign enter: in one pass, on bipolar lines or in a code with a sign, or positive "
            "values and then negative ones, whose results are converted each and subtracted digitally",
            "adc", "add", "sample_hold", "time",
        ),
    ] = "one_pass"  # fmt: skip
    rows_per_read: Annotated[
        Number | None,
        key(
            "lines that may be active at once, for what a converter can resolve; a read then drives them group by "
            "group and converts every group; default: all",
            "sample_hold", "adc", "add", "time",
        ),
    ] = None  # fmt: skip
    merged_columns: Annotated[
        Number | None,
        key(
            "columns of one weight, first its cells, then its slices, whose currents are merged before conversion in a "
            "forward read; default: 2 of a pair that is subtracted as currents, else 1",
            "sample_hold", "adc", "add", "time",
        ),
    ] = None  # fmt: skip

    @model_validator(mode="after")
    def _an_array_holds_a_weight(self) -> Self:
        if self.cells_per_weight.value > self.columns.value:
            raise ValueError(
                f"cells_per_weight ({self.cells_per_weight.value}) must not exceed columns ({self.columns.value}): "
                "an array holds at least one weight, its cells side by side"
            )
        return self

    @model_validator(mode="after")
    def _lines_and_levels_are_those_there_are(self) -> Self:
        longer = max(self.rows.value, self.columns.value)
        if self.rows_per_read is not None and self.rows_per_read.value > longer:
            raise ValueError(
                f"rows_per_read ({self.rows_per_read.value}) must not exceed the longer side of an array ({longer}); "
                "leave it out where all lines may be active"
            )
        if self.levels.value < 2:
            raise ValueError("levels (1) must be at least 2: with one pulse there is nothing between the ends")
        return self

    @model_validator(mode="after")
    def _merged_columns_are_of_one_weight(self) -> Self:
        cells, slices = self.merged
        if self.merged_columns is None:
            return self
        whole = self.cells_per_weight.value % cells == 0 and self.slices.value % slices == 0
        if cells * slices != self.merged_columns.value or not whole:
            raise ValueError(
                f"merged_columns ({self.merged_columns.value}) must be a divisor of the {self.cells_per_weight.value} "
                f"cells of a weight, or those times a divisor of its {self.slices.value} slices"
            )
        return self

    @property
    def merged(self) -> tuple[int, int]:
        """Cells and slices of a weight that are converted together in a forward read."""
        if self.merged_columns is None:
            pair = self.subtraction == "analog" and self.cells_per_weight.value == 2
            return (2 if pair else 1), 1
        cells = min(self.merged_columns.value, self.cells_per_weight.value)
        return cells, max(self.merged_columns.value // cells, 1)


class CellSection(Strict):
    """Memory cells. Energies of one pulse are given where they do not follow from voltage, conductance and time."""

    read_voltage: Annotated[Volt, key("voltage of a read pulse", "cell_read", "line")]
    read_time: Annotated[Second, key("length of a read pulse", "cell_read", "time")]
    input_duty: Annotated[
        Fraction, key("share of input pulses that are high", "cell_read", "dac", "line", "cell_write")
    ]
    on_conductance: Annotated[Siemens, key("largest conductance of a cell", "cell_read", "cell_write", "time")]
    off_conductance: Annotated[Siemens, key("smallest conductance of a cell", "cell_read", "time")]
    write_voltage: Annotated[Volt, key("voltage of a programming pulse", "cell_write")]
    write_time: Annotated[Second, key("length of a programming pulse", "cell_write", "time")]
    area: Annotated[SquareMetre, key("area of a cell", "area")]
    read_energy: Annotated[
        Joule | None, key("energy of one input pulse in one cell; default: duty V^2 G t", "cell_read")
    ] = None
    write_energy: Annotated[Joule | None, key("energy of one programming pulse; default: V^2 G_on t", "cell_write")] = (
        None
    )
    endurance: Annotated[Number | None, key("programming pulses that a cell endures; default: unknown", "wear")] = None
    scaling: Annotated[
        Literal["device", "logic"],
        key(
            "device: numbers of a cell are used as given, whatever the node; logic: energies and area follow the node, "
            "as those of SRAM do",
            "cell_read", "cell_write", "area",
        ),
    ] = "device"  # fmt: skip
    leakage: Annotated[Watt, key("static power of a cell that holds its content", "leakage")] = Watt.default(
        0.0, "a non-volatile cell without a voltage does not leak"
    )

    @model_validator(mode="after")
    def _off_is_below_on(self) -> Self:
        on, off = self.on_conductance, self.off_conductance
        if not on.at("low") > 0:
            raise ValueError("on_conductance must be greater than 0 S, at the low end of its interval too")
        if off.value > on.value or off.at("high") > on.at("low"):
            ends = "" if off.value > on.value else ", nor the high end of its interval the low end there"
            raise ValueError(f"off_conductance ({off.value:g} S) must not exceed on_conductance ({on.value:g} S){ends}")
        return self


class WireSection(Strict):
    """Wires of the array."""

    segment_resistance: Annotated[Ohm, key("resistance of the piece of wire from one cell to the next; real tiles")]
    cell_capacitance: Annotated[
        Farad,
        key(
            "capacitance that each cell adds to the line that a driver charges, wire and gate; 0: in dac.pulse_energy",
            "line",
        ),
    ] = Farad.default(0.0, "lines are charged by the energy of the driver")


class DacSection(Strict):
    """Line drivers."""

    pulse_energy: Annotated[Joule, key("energy of one input pulse of a one-bit driver on one line", "dac")]
    area: Annotated[SquareMetre, key("area of the one-bit driver of a line", "area", "leakage")]
    bits: Annotated[Number, key("bits that a driver gives in one pulse", "dac", "area")] = Number.default(
        1, "drivers of one bit"
    )
    growth: Annotated[Factor, key("factor of energy and area of a driver for each further bit", "dac", "area")] = (
        Factor.default(2.0, "a step more for every level")
    )
    pulses: Annotated[
        Literal["high", "mean"],
        key("pulse_energy is that of a pulse that is high, or the mean over all pulses of an input", "dac"),
    ] = "high"

    @model_validator(mode="after")
    def _wide_drivers_can_be_priced(self) -> Self:
        bits, growth = self.bits.value, self.growth.at("high")
        if (bits - 1) * math.log10(max(growth, 1.0)) > math.log10(LARGEST):
            raise ValueError(
                f"bits ({bits}) with growth ({growth:g}) for each beyond the first make drivers more than {LARGEST:g} "
                "times as large as one of one bit; lower one of them"
            )
        return self


class SampleHoldSection(Strict):
    """Holds a sensed line until a shared converter has come to it."""

    sample_energy: Annotated[Joule, key("energy of one sample", "sample_hold")]
    area: Annotated[SquareMetre, key("area per line", "area", "leakage")]
