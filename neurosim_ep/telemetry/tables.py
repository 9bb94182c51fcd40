"""The tables of a run directory, kept epoch by epoch from what the trainer recorded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neurosim_ep.experiment.model import Model
from neurosim_ep.hardware.bill.comparison import Comparison, compare
from neurosim_ep.hardware.bill.cost import bill, energy_by
from neurosim_ep.hardware.bill.latency import latencies_s
from neurosim_ep.hardware.bill.summary import Summary
from neurosim_ep.hardware.chip.counts import TileCounts, pulse_table, tile_table
from neurosim_ep.hardware.chip.messages import link_table, message_table, place_table
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.record.counted import counts_in, counts_state
from neurosim_ep.record.growing import GrowingFile
from neurosim_ep.record.logs import CsvTable, write_table
from neurosim_ep.record.rundir import RunDirectory
from neurosim_ep.record.traffic import TrafficWriter, require_counts
from neurosim_ep.scenario.schema import Scenario
from neurosim_ep.telemetry.epoch import EpochRecord, Evaluation

TRAFFIC = "traffic.h5"


class RunTables:
    """Writes epochs.csv, layers.csv, residual.csv, tiles.csv, pulses.csv, cost.csv, comparison.csv, memory.csv,
    area.csv and traffic.h5.
    """

    def __init__(self, directory: RunDirectory, scenario: Scenario, model: Model) -> None:
        self.directory, self.scenario, self.model = directory, scenario, model
        self.epochs = CsvTable(directory.path / "epochs.csv")
        self.layers = CsvTable(directory.path / "layers.csv")
        self.residual = CsvTable(directory.path / "residual.csv")
        self.traffic = TrafficWriter(
            directory.path / TRAFFIC,
            model.plan,
            scenario_name=scenario.scenario.name,
            seed=scenario.scenario.seed,
            event_threshold=scenario.scheduler.threshold,
            signals=model.signal_projections,
            readout=model.readout_projection,
        )
        self.growing = {table.path.name: table for table in (self.epochs, self.layers, self.residual)}
        self.tiles = model.plan.to_frame()
        self.counts = TileCounts.zeros(len(self.tiles))
        self.priced: Summary | None = None

    def open(self) -> None:
        """Write what is known before training: memory.csv, area.csv, and the tile plan with nothing counted yet."""
        table = self.model.memory(self.scenario.relaxation)
        write_table(self.directory.path / "memory.csv", table)
        write_table(self.directory.path / "area.csv", self.model.area())
        self._write_tiles()

    def write(self, epoch: int, record: EpochRecord, test: Evaluation, seconds: float) -> dict[str, float | None]:
        """Enter ``epoch`` (from 1) into every table; returns its row of epochs.csv."""
        counts = TileCounts.zeros(len(self.model.plan.tiles))
        for _, batch in record.traffic:
            counts += batch
        self.counts += counts
        if self.counts.batches:
            recording = self.model.recording(self.counts)
            self.priced = Summary(recording)
            tables = {
                "noc": message_table(recording), "cost": self.priced.bill,
                "places": place_table(recording), "links": link_table(recording),
            }  # fmt: skip
            self.traffic.append(epoch, record.traffic, tables)
            self._write_bill(self.priced)
        self.layers.add(self._layer_rows(epoch, record, test, counts))
        self.residual.add({"epoch": epoch, **row} for row in record.residuals)
        row = {
            "epoch": epoch,
            "loss": record.loss,
            "train_accuracy": record.train_accuracy,
            "test_accuracy": test.accuracy,
            "alpha": record.alpha,
            "learning_rate": record.learning_rate,
            **record.settling,
            "seconds": seconds,
        }
        self.epochs.add([row])
        return row

    def check(self) -> None:
        """Raise :class:`CheckpointError` where a table that grew is no longer as it was left."""
        for table in self.growing.values():
            table.check()
        self.traffic.check()

    def cost_per_sample(self) -> dict[str, float]:
        """Energy and latency of one training sample in every style, from all recorded batches up to the last
        :meth:`write`.
        """
        if self.priced is None:
            return {}
        totals = energy_by(self.priced.bill).set_index("style")["energy_J"]
        costs = {}
        for style in Style:
            costs[f"energy_{style}_J"] = float(totals[style]) / self.counts.samples
            costs[f"latency_{style}_s"] = sum(latencies_s(self.priced.recording, style).values()) / self.counts.samples
        return costs

    def decide(self) -> list[str]:
        """Write sensitivity.csv, of the style that takes the least energy, and the ends of the ratios that follow from
        it; returns who wins and which numbers decide, in words. Nothing where no traffic was recorded.
        """
        if self.priced is None:
            return []
        self._write_comparison(self.priced.comparisons)
        found = self.priced.sensitivities[Style(self.priced.best.style)]
        write_table(self.directory.path / "sensitivity.csv", [one._asdict() for one in found.swings])
        return [self.priced.verdict, *found.sentences]

    def go_on_after(self, epoch: int) -> None:
        """Drop what was written after ``epoch``, which will be computed again, and write anew what follows from the
        counts.
        """
        for table in self.growing.values():
            table.cut()
        self.traffic.truncate_to(epoch)
        self.open()
        if self.counts.batches:
            self.priced = Summary(self.model.recording(self.counts))
            self._write_bill(self.priced)

    def state_dict(self) -> dict[str, Any]:
        """The counts so far, and how far the tables have grown."""
        return {
            **counts_state(self.counts),
            "grown": {name: table.state_dict() for name, table in self.growing.items()},
        }

    def load_state_dict(self, state: dict[str, Any], epoch: int) -> None:
        """Continue from the :meth:`state_dict` after ``epoch``; nothing is written. Raises ValueError when the counts
        belong to other tiles, :class:`CheckpointError` when a table is not what the state knows of.
        """
        if state["traffic"].shape != self.counts.traffic.shape:
            raise ValueError(f"counts of {state['traffic'].shape[-1]} tiles, not {self.counts.traffic.shape[-1]}")
        self.counts = counts_in(state)
        for name, table in self.growing.items():
            table.load_state_dict(state["grown"][name])
        self.traffic.require(epoch, self.counts)

    def _write_bill(self, priced: Summary) -> None:
        self._write_comparison(compare(priced.recording, priced.bill))
        write_table(self.directory.path / "cost.csv", priced.bill)
        self._write_tiles()

    def _write_comparison(self, found: Sequence[Comparison]) -> None:
        write_table(self.directory.path / "comparison.csv", [one._asdict() for one in found])

    def _write_tiles(self) -> None:
        write_table(self.directory.path / "tiles.csv", tile_table(self.tiles, self.counts))
        write_table(self.directory.path / "pulses.csv", pulse_table(self.tiles, self.counts))

    def _layer_rows(
        self, epoch: int, record: EpochRecord, test: Evaluation, counts: TileCounts
    ) -> list[dict[str, object]]:
        recorded = self._recorded(counts)
        return [
            {
                "epoch": epoch,
                "layer": layer,
                "name": name,
                **values,
                "readout_accuracy": test.layer_accuracy.get(layer),
                **{column: of_layers.get(layer) for column, of_layers in recorded.items()},
            }
            for layer, (name, values) in enumerate(record.layers.items())
        ]

    def _recorded(self, counts: TileCounts) -> dict[str, dict[int, float]]:
        """Columns of layers.csv that recorded batches alone have, by layer: share of the layer updates that an input
        had changed for, events per neuron, sample and tick over all phases, and clocked energy per sample.
        """
        if not counts.batches:
            return {}
        events, needed, done = (
            sum(table.sum(0) for table in tables.values())
            for tables in (counts.events, counts.needed, counts.presentations)
        )
        neurons = [layer.neurons for layer in self.model.plan.layers]
        energy = energy_by(bill(self.model.recording(counts), [Style.CLOCKED], ["value"]), "layer")
        return {
            "updates_needed": {layer: float(share) for layer, share in enumerate(needed / done)},
            "events_per_neuron_tick": {
                layer: float(events[layer] / (done[layer] * n)) for layer, n in enumerate(neurons)
            },
            "energy_J": {
                int(str(layer)): float(joules) / counts.samples
                for layer, joules in energy.set_index("layer")["energy_J"].items()
            },
        }


def require_tables(folder: Path, state: dict[str, Any], epoch: int) -> None:
    """Raise :class:`CheckpointError` unless tables and traffic of the run in ``folder`` are those that the ``state`` of
    :class:`RunTables` after ``epoch`` knows of; what follows from them is not looked at.
    """
    for name, grown in state["grown"].items():
        GrowingFile(folder / name).load_state_dict(grown)
    require_counts(folder / TRAFFIC, epoch, counts_in(state))
