"""The bill of a network of two tiles, line by line, as docs/hardware.md explains it. Run it to print the lines.

One sample in a free phase of 3 ticks; in every tick 25 of the 40 states of the first layer and 6 of the 10 of the
second are not zero.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from neurosim_ep.hardware.bill.cost import bill
from neurosim_ep.hardware.chip.counts import ACCOUNTINGS, DIRECTIONS, READ_PHASES, TileCounts
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.model.file import load_hardware_model
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


PLAN = plan_tiles(LAYERS, MODEL.array_geometry())
RECORDING = Recording.of(example_counts(PLAN), PLAN, MODEL)
BILL = bill(RECORDING)


class Line(NamedTuple):
    """A line of the bill: the count written out, and what it comes to by hand."""

    component: str
    style: str
    tile: int
    layer: int
    arithmetic: str
    count: float
    unit: str

    @property
    def billed(self) -> pd.Series:
        """The line as billed."""
        where = "phase == 'free' and style == @self.style and component == @self.component"
        found = BILL.query(where + " and tile == @self.tile and layer == @self.layer")
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
TILE_LINES = [
    Line("cell_read", "clocked", 1, 1, CELLS, (3 * 25 * 20 + 3 * 12 * 40) * 8, "J"),
    Line("dac", "clocked", 1, 1, "(3 x 25 + 3 x 12) x 8 pulses", (3 * 25 + 3 * 12) * 8, "J"),
    Line("sample_hold", "clocked", 1, 1, CONVERTED, 180, "J"),
    Line("adc", "clocked", 1, 1, CONVERTED, 180, "J"),
    Line("add", "clocked", 1, 1, CONVERTED, 180, "J"),
]
BESIDE_LINES = [
    Line("neuron", "clocked", -1, 1, "3 ticks x 10 states", 30, "J"),
    Line("register", "clocked", -1, 1, "(2 x 3 + 1) x 10 states x 8 bits", 560, "J/bit"),
    Line("message", "clocked", -1, 0, "3 ticks x 40 states x 8 bits x 1 link", 960, "J/bit"),
]
READ_S = 3 * (8 * 10e-9 + 20 * 0.78125e-9) + 3 * (8 * 10e-9 + 40 * 0.78125e-9)
NETWORK_S = (3 * 40 + 3 * 1) * 1e-9 + 64 * 8 / 102.4e9  # one flit each, to the end of the mesh, and the image
NEURON_S = 3 * 40 * 0.78125e-9
LEAKAGE = Line("leakage", "clocked", 1, 1, "reads + network + neurons", READ_S + NETWORK_S + NEURON_S, "W")
SETTLED = Line("neuron", "settling", -1, 1, "10 states x 2 layers x 7 x 10 ns", 10 * 2 * 7 * 10e-9, "W")
LINES = [*TILE_LINES, *BESIDE_LINES, LEAKAGE, SETTLED]
INTERVALS = [TILE_LINES[0], TILE_LINES[3]]


if __name__ == "__main__":
    print(*(line.row for line in LINES), sep="\n")
    print(*(line.interval for line in INTERVALS), sep="\n")
