"""`neurosim-ep export --format spice`: one tile of a trained run as netlists, read as it is at rest on a test image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from neurosim_ep.diagnosis.at_rest import AtRest
from neurosim_ep.ep.plasticity import synaptic_activity
from neurosim_ep.errors import UsageError
from neurosim_ep.experiment.model import Model
from neurosim_ep.record.export.common import Exporter
from neurosim_ep.record.export.spice import write_netlist
from neurosim_ep.scenario.topology import IMAGE
from neurosim_ep.tiles.conductance import Encoding
from neurosim_ep.tiles.lines import lines_of
from neurosim_ep.tiles.mapping import Tile
from neurosim_ep.tiles.wires import effective_conductance

CURRENTS = "currents.csv"
PAIRS = {
    1: "a cell holds the weight above or below the middle of its range; the current of a reference column is "
    "subtracted outside of the netlist",
    2: "columns 2k and 2k + 1 are a pair, which holds positive weights in the first and negative ones in the second "
    "cell: their currents are subtracted outside of the netlist; in a transposed read the second is driven with the "
    "opposite sign",
}


@dataclass(frozen=True)
class TileRead:
    """One read of one array: ``G_S`` [rows, columns] in siemens, voltages of the ``driven_V`` lines; ``position``: the
    output position of the connection whose values these are.
    """

    name: str
    transposed: bool
    slice: int
    position: int
    G_S: Tensor
    driven_V: Tensor

    def currents_A(self, r_ohm: float) -> Tensor:
        """What the sensed lines give with wire segments of ``r_ohm``, by the simulator's own solution."""
        seen = effective_conductance(self.G_S, r_ohm)
        return seen @ self.driven_V if self.transposed else self.driven_V @ seen


class Spice(Exporter[tuple[AtRest, Tile]]):
    """A tile's cells, wires, drivers and sensed lines."""

    name = "spice"
    sentence = "netlists of one tile for SPICE: its cells, wires and drivers, read at rest on a test image"
    files = ("tile_*.cir", CURRENTS)
    choices = ("tile", "set")

    def read(self, run_dir: Path, *, tile: int = 0, set: Sequence[str] = (), **choices: Any) -> tuple[AtRest, Tile]:
        """The run at rest, and its tile of this number. Raises :class:`UsageError` where it has none, or where a weight
        takes another number of cells than one or two, and what :meth:`AtRest.of` does.
        """
        found = AtRest.of(run_dir, set)
        plan = found.run.model.plan
        if tile >= len(plan.tiles):
            raise UsageError(
                f"--tile {tile}: this run has tiles 0 to {len(plan.tiles) - 1}; see tiles.csv for which they are"
            )
        if plan.array.cells_per_weight not in PAIRS:
            raise UsageError(
                f"--format spice: the hardware model has {plan.array.cells_per_weight} cells per weight; netlists "
                "are made for one or two"
            )
        return found, plan.tiles[tile]

    def write(self, folder: Path, found: tuple[AtRest, Tile]) -> dict[str, Any]:
        """See :meth:`Exporter.write`."""
        rest, tile = found
        hardware = rest.run.model.hardware
        r_ohm, reads = hardware.wire.segment_resistance.value, list(tile_reads(rest, tile))
        currents = []
        for read in reads:
            write_netlist(
                folder / f"{read.name}.cir", _title(read, tile), read.G_S.numpy(), read.driven_V.numpy(), r_ohm,
                read.transposed,
            )  # fmt: skip
            side = "X" if read.transposed else "Y"
            for line, value in enumerate(read.currents_A(r_ohm).tolist()):
                currents.append((read.name, f"V{side}{line}", value))
        pd.DataFrame(currents, columns=["netlist", "source", "current_A"]).to_csv(folder / CURRENTS, index=False)
        return {
            **rest.document(self.name),
            "files": [*(f"{read.name}.cir" for read in reads), CURRENTS],
            "tile": asdict(tile),
            "netlists": [
                {"name": read.name, "transposed": read.transposed, "slice": read.slice, "position": read.position}
                for read in reads
            ],
            "segment_resistance_ohm": r_ohm,
            "read_voltage_V": hardware.cell.read_voltage.value,
            "voltages": "read_voltage_V stands for the largest value that the connection reads; the position is the "
            "one at which most is driven into this tile",
            "weights": PAIRS[rest.run.model.plan.array.cells_per_weight],
            CURRENTS: "currents of the sensed lines by this program's own solution of the same circuit",
            "command": f"ngspice -b {reads[0].name}.cir",
            "not_included": [
                "converters, sample-and-holds, access transistors, line capacitances",
                "bit-serial drivers: a value is one voltage",
            ],
        }

    def told(self, document: dict[str, Any]) -> list[str]:
        """See :meth:`Exporter.told`."""
        return [document["command"]]


def tile_reads(found: AtRest, tile: Tile) -> Iterator[TileRead]:
    """The forward and, above the first layer, the transposed read of every slice of ``tile``."""
    model = found.run.model
    array, number = model.plan.array, tile.connection
    rows = slice(tile.row_block * array.rows, tile.row_block * array.rows + tile.rows)
    columns = slice(tile.col_block * array.columns, tile.col_block * array.columns + tile.columns)
    G_S = cell_conductances_S(model, number)[:, rows, columns]
    for transposed in (False, True)[: 1 if model.network.connections[number].source == IMAGE else 2]:
        values = _line_values(found, number, transposed)
        driven = values[:, columns if transposed else rows]
        position = int(driven.abs().sum(1).argmax())
        volts = driven[position] * (model.hardware.cell.read_voltage.value / float(values.abs().max().clamp(min=1e-12)))
        for part, cells in enumerate(G_S):
            name = f"tile_{tile.index}" + (f"_slice_{part}" if len(G_S) > 1 else "")
            direction = "transposed" if transposed else "forward"
            yield TileRead(f"{name}_{direction}", transposed, part, position, cells, volts)


def cell_conductances_S(model: Model, connection: int) -> Tensor:
    """Conductances (slices, rows, physical columns) of a connection, float64, as its cells hold them, or, where tiles
    are ideal, as they would hold its weights exactly, the largest of them in a cell that is on.
    """
    cell, array = model.hardware.cell, model.plan.array
    if model.tiles is not None:
        found = model.tiles.arrays[connection].cells.conductances()
    else:
        weight = model.network.connections[connection].weight.detach()
        levels = max(2, round(array.levels ** (1 / array.slices))) if array.slices > 1 else 0
        off = cell.off_conductance.value / cell.on_conductance.value
        matrix = lines_of(model.plan.geometries[connection]).matrix(weight)
        found = Encoding(array.cells_per_weight, off, array.slices, levels).encode(matrix / matrix.abs().max())
    return found.double().movedim(1, -1).flatten(-2) * cell.on_conductance.value


def _line_values(found: AtRest, connection: int, transposed: bool) -> Tensor:
    """What drives the rows, or the physical columns, of a connection at every position, float64 (positions, lines)."""
    model = found.run.model
    lines, cells = lines_of(model.plan.geometries[connection]), model.plan.array.cells_per_weight
    if not transposed:
        return lines.on_rows(found.inputs(connection)[None]).double()
    with torch.no_grad():
        _, routed = synaptic_activity(model.network, connection, found.image.x, found.free.received)
    values = lines.on_columns(routed).double()
    return (values[..., None] * values.new_tensor([1.0, -1.0][:cells])).flatten(-2)


def _title(read: TileRead, tile: Tile) -> str:
    way = "transposed" if read.transposed else "forward"
    return f"tile {tile.index} ({tile.name}), slice {read.slice}, {way} read at position {read.position}"
