"""`neurosim-ep export`: the recorded traffic of a run as the trace of a network simulator."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

from neurosim_ep.record.export.common import Exporter, MeanSample, document, mean_sample, recording_of
from neurosim_ep.record.rundir import RunDirectory


class TrafficExporter(Exporter[tuple[RunDirectory, MeanSample]]):
    """A format for the packets of one mean sample."""

    @abstractmethod
    def write_trace(self, folder: Path, sample: MeanSample) -> dict[str, Any]:
        """Write the files of ``sample`` into ``folder``; returns what export.json says of them."""

    def read(self, run_dir: Path) -> tuple[RunDirectory, MeanSample]:
        """The run with its mean sample. Raises :class:`CheckpointError` when it has no traffic."""
        run = RunDirectory.open(run_dir)
        return run, mean_sample(recording_of(run))

    def write(self, folder: Path, found: tuple[RunDirectory, MeanSample]) -> dict[str, Any]:
        """See :meth:`Exporter.write`."""
        run, sample = found
        return document(run, sample, self.name, **{"files": list(self.files), **self.write_trace(folder, sample)})

    def told(self, document: dict[str, Any]) -> list[str]:
        """See :meth:`Exporter.told`."""
        return ["{exported:,} messages in the trace, {local:,} stay at their tile".format(**document["messages"])]
