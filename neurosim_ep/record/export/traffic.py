"""`neurosim-ep export`: the recorded traffic of a run as the trace of a network simulator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from neurosim_ep.record.export.booksim import write_booksim
from neurosim_ep.record.export.common import MeanSample, document, mean_sample, recording_of
from neurosim_ep.record.export.messages_csv import write_messages_csv
from neurosim_ep.record.export.noxim import write_noxim
from neurosim_ep.record.export.sonata import write_sonata
from neurosim_ep.record.rundir import RunDirectory, write_json
from neurosim_ep.record.whole_folder import DOCUMENT, new_folder, refuse_filled

WRITERS: dict[str, Callable[[Path, MeanSample], dict[str, Any]]] = {
    "booksim": write_booksim,
    "noxim": write_noxim,
    "sonata": write_sonata,
    "messages-csv": write_messages_csv,
}


def export_traffic(run_dir: Path, form: str, out: Path) -> dict[str, Any]:
    """Write what the run in ``run_dir`` recorded to the new folder ``out``, in the format ``form`` of :data:`WRITERS`;
    returns what export.json says.

    Raises :class:`CheckpointError` when the run has no traffic, :class:`UsageError` when ``out`` cannot be made.
    """
    refuse_filled(out)
    run = RunDirectory.open(run_dir)
    sample = mean_sample(recording_of(run))
    with new_folder(out) as folder:
        found = document(run, sample, form, **WRITERS[form](folder, sample))
        write_json(folder / DOCUMENT, found)
    return found
