"""The bill of a network of two tiles, line by line, as docs/hardware.md explains it. Run it to print the lines.

One sample in a free phase of 3 ticks; in every tick 25 of the 40 states of the first layer and 6 of the 10 of the
second are not zero.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from hardware_models import load_hardware_model

from neurosim_ep.hardware.bill.backprop import backprop_bill, for_backprop
from neurosim_ep.hardware.bill.cost import bill
from neurosim_ep.hardware.bill.reads import read_time_s
from neurosim_ep.hardware.chip.backward import BACKWARD
from neurosim_ep.hardware.chip.counts import ACCOUNTINGS, DIRECTIONS, TileCounts
from neurosim_ep.hardware.chip.packets import packed
from neurosim_ep.hardware.chip.phases import READ_PHASES
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.sections import HardwareModel
from neurosim_ep.tiles.mapping import ConnectionGeometry, TilePlan, plan_tiles
from neurosim_ep.units import format_si

MODEL = load_hardware_model("rram_32nm")
LAYERS = [
    ConnectionGeometry("fc1", "linear", (64,), (40,), (40,)), ConnectionGeometry("fc2", "linear", (40,), (10,), (10,)),
]  # fmt: skip
TICKS, ROWS, COLUMNS, DRIVEN_ROWS, DRIVEN_COLUMNS = 3, 40, 20, 25, 12


def example_counts(plan: TilePlan) -> TileCounts:
    """Counts of tile 1 and of the ticks."""
    counts = TileCounts.zeros(len(plan.tiles))
    for way, driven, sensed in (("forward", DRIVEN_ROWS, COLUMNS), ("transposed", DRIVEN_COLUMNS, ROWS)):
        where = (READ_PHASES.index("free"), ACCOUNTINGS.index("clocked"), DIRECTIONS.index(way))
        counts.traffic[where][:, 1] = [TICKS, TICKS * driven, TICKS * sensed, TICKS * driven * 8]
    ones = np.ones((TICKS, len(plan.geometries)), np.int64)
    counts.presentations["free"], counts.needed["free"] = ones, ones
    counts.events["free"], counts.messages["free"] = 0 * ones, 0 * ones
    counts.sends["free"] = np.zeros((TICKS, len(plan.senders)), np.int64)
    counts.samples = counts.batches = 1
    return counts


def recorded(model: HardwareModel) -> Recording:
    """The example on a chip of ``model``."""
    plan = plan_tiles(LAYERS, model.array_geometry())
    return Recording.of(example_counts(plan), plan, model)


def changed(model: HardwareModel, section: str, **values: float) -> HardwareModel:
    """``model`` with other numbers in a section; one that it does not have is a whole number."""
    old, whole = getattr(model, section), model.adc.bits
    new = {
        key: (getattr(old, key) or whole).model_copy(update={"value": value, "low": None, "high": None})
        for key, value in values.items()
    }
    return model.model_copy(update={section: old.model_copy(update=new)})


RECORDING = recorded(MODEL)
FLAT = recorded(MODEL.model_copy(update={"core": None}))
"""The same with a router for every tile."""
BILLS = {False: bill(RECORDING), True: bill(FLAT)}


class Line(NamedTuple):
    """A line of the bill: the count written out, and what it comes to by hand."""

    component: str
    style: str
    tile: int
    layer: int
    arithmetic: str
    count: float
    unit: str
    flat: bool = False

    @property
    def billed(self) -> pd.Series:
        """The line as billed."""
        where = "phase == 'free' and style == @self.style and component == @self.component"
        found = BILLS[self.flat].query(where + " and tile == @self.tile and layer == @self.layer")
        assert len(found) == 1, self
        return found.iloc[0]

    @property
    def row(self) -> str:
        """Row of the page."""
        line = self.billed
        count = format_si(self.count, "s", 4) if self.unit == "W" else f"{self.count:,}"
        unit_J, energy_J = format_si(line.unit_energy_J, self.unit, 4), format_si(line.energy_J, "J", 4)
        return f"| {self.component} | {self.arithmetic} = {count} | {unit_J} | {energy_J} |"

    @property
    def interval(self) -> str:
        """Row of the page with the ends of the interval."""
        ends = (format_si(self.billed[f"energy{end}_J"], "J", 4) for end in ("_low", "", "_high"))
        return f"| {self.component} | {' | '.join(ends)} |"


CELLS = "(3 x 25 x 20 + 3 x 12 x 40) x 8 pulses"
CONVERTED = "3 x 20 + 3 x 40"
STATES = "(3 x 40 + 3 x 10) states"
TILE_LINES = [
    Line("cell_read", "clocked", 1, 1, CELLS, (3 * 25 * 20 + 3 * 12 * 40) * 8, "J"),
    Line("line", "clocked", 1, 1, CELLS, (3 * 25 * 20 + 3 * 12 * 40) * 8, "J"),
    Line("dac", "clocked", 1, 1, "(3 x 25 + 3 x 12) x 8 pulses", (3 * 25 + 3 * 12) * 8, "J"),
    Line("sample_hold", "clocked", 1, 1, CONVERTED, 180, "J"),
    Line("adc", "clocked", 1, 1, CONVERTED, 180, "J"),
    Line("add", "clocked", 1, 1, CONVERTED, 180, "J"),
    Line("input_buffer", "clocked", 1, 1, f"({STATES} + 3 x 40 + 3 x 10 that arrive) x 8 bits", 2400, "J/bit"),
    Line("line_register", "clocked", 1, 1, f"2 x {STATES} x 8 bits", 2 * 150 * 8, "J/bit"),
    Line("drive_register", "clocked", 1, 1, f"2 x ({CONVERTED}) x 16 bits", 2 * 180 * 16, "J/bit"),
]
BESIDE_LINES = [
    Line("neuron", "clocked", -1, 1, "3 ticks x 10 states", 30, "J"),
    Line("register", "clocked", -1, 1, "(2 x 3 + 1) x 10 states x 8 bits", 560, "J/bit"),
    Line("core_transfer", "clocked", -1, 0, "(3 ticks x 40 states + 64 inputs) x 8 bits", 1472, "J/bit"),
    Line("core_transfer", "clocked", -1, 1, "3 reads x 40 sums x 16 bits", 1920, "J/bit"),
]
MESH = Line("message", "clocked", -1, 0, "3 ticks x (320 + 2 x 16) bits x 1 link", 1056, "J/bit", flat=True)
READ_S = 3 * (8 * 10e-9 + 20 * 0.78125e-9) + 3 * (8 * 10e-9 + 40 * 0.78125e-9)
NETWORK_S = (1472 + 1920) / 384 * 1e-9 + 64 * 8 / 102.4e9  # over the bus of the core, and the image
NEURON_S = 3 * 40 * 1e-9
LEAKAGE = Line("leakage", "clocked", 1, 1, "reads + network + neurons", READ_S + NETWORK_S + NEURON_S, "W")
SETTLED = Line("neuron", "settling", -1, 1, "10 states x 2 layers x 7 x 10 ns", 10 * 2 * 7 * 10e-9, "W")
LINES = [*TILE_LINES, *BESIDE_LINES, MESH, LEAKAGE, SETTLED]
INTERVALS = [TILE_LINES[0], TILE_LINES[4], LEAKAGE]


class Change(NamedTuple):
    """What another number of a key does to a figure of tile 1, by hand and by the product."""

    key: str
    value: str
    figure: str
    arithmetic: str
    by_hand: float
    found: float
    unit: str

    @property
    def row(self) -> str:
        """Row of the page."""
        amount = format_si(self.by_hand, self.unit, 4) if self.unit else f"{self.by_hand:,.0f}"
        return f"| `{self.key}` | {self.value} | {self.figure} | {self.arithmetic} = {amount} |"


def counted(model: HardwareModel, component: str, column: str = "count") -> float:
    """A column of a line of tile 1 in the clocked free phase."""
    table = bill(recorded(model), [Style.CLOCKED])
    where = (table.phase == "free") & (table.component == component) & (table.tile == 1)
    return float(table[where][column].sum())


def flits(bits: int) -> int:
    """Flits of all states of layer 0 when they are ``bits`` wide."""
    noc = changed(MODEL, "noc", flit_bits=bits).noc
    return int(packed(np.array([120]), np.array([40]), np.array([8]), noc).flits.item())


def read_s(model: HardwareModel) -> float:
    """Time of a forward read of tile 1."""
    return float(read_time_s(recorded(model).chip, "forward")[1])


BUSY_S, WAIT_S = READ_S, NETWORK_S + NEURON_S


def backward_conversions() -> float:
    """Conversions of the one backward read of tile 1 when errors need two passes."""
    array = MODEL.array.model_copy(update={"signed_inputs": "two_passes"})
    table = backprop_bill(for_backprop(recorded(MODEL.model_copy(update={"array": array}))))
    mine = table[(table.phase == BACKWARD) & (table.component == "adc") & (table.tile == 1)]
    return float(mine["count"].sum())


CHANGES = [
    Change("noc.flit_bits", "16", "flits", "3 x (8 + 8 + 7)", 69, flits(16), ""),
    Change("noc.flit_bits", "32", "flits", "3 x (8 + 3)", 33, flits(32), ""),
    Change("noc.flit_bits", "256", "flits", "3 x 2", 6, flits(256), ""),
    Change(
        "adc.per_tile", "4", "forward read", "8 x 10 ns + 5 x 0.781 ns", 80e-9 + 5 * 0.78125e-9,
        read_s(changed(MODEL, "adc", per_tile=4)), "s",
    ),
    Change(
        "array.rows_per_read", "16", "conversions", "3 x 3 groups x 20 + 3 x 2 groups x 40", 420,
        counted(changed(MODEL, "array", rows_per_read=16), "adc"), "",
    ),
    Change(
        "array.merged_columns", "2", "conversions", "3 x 10 + 3 x 40", 150,
        counted(changed(MODEL, "array", merged_columns=2), "adc"), "",
    ),
    Change(
        "cell.input_duty", "1", "drivers", "888 x 39 fJ", 888 * 3.9e-14,
        counted(changed(MODEL, "cell", input_duty=1.0), "dac", "energy_J"), "J",
    ),
    Change(
        "dac.bits", "3", "drivers", "888 x 0.5 x 39 fJ x 2^2", 888 * 0.5 * 3.9e-14 * 4,
        counted(changed(MODEL, "dac", bits=3), "dac", "energy_J"), "J",
    ),
    Change(
        "leakage.idle_share", "0.1", "leakage, in seconds of a tile that is read", "620.6 ns + 0.1 x 133.8 ns",
        BUSY_S + 0.1 * WAIT_S, counted(changed(MODEL, "leakage", idle_share=0.1), "leakage"), "s",
    ),
    Change(
        "array.signed_inputs", "two passes, errors of backpropagation", "conversions of a backward read", "2 x 40", 80,
        backward_conversions(), "",
    ),
]  # fmt: skip


if __name__ == "__main__":
    print(*(line.row for line in LINES), sep="\n")
    print(*(change.row for change in CHANGES), sep="\n")
    print(*(line.interval for line in INTERVALS), sep="\n")
