"""`neurosim-ep export --format neurosim`: weights of a trained run, and what its tiles read at rest on a test image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from neurosim_ep.diagnosis.samples import choose_samples
from neurosim_ep.errors import DivergenceError
from neurosim_ep.experiment.opening import Experiment
from neurosim_ep.record.export.neurosim import LayerTrace, write_neurosim
from neurosim_ep.record.rundir import versions, write_json
from neurosim_ep.record.whole_folder import DOCUMENT, new_folder, refuse_filled
from neurosim_ep.scenario.topology import IMAGE
from neurosim_ep.scheduler.engine import Relaxation
from neurosim_ep.tiles.mapping import ConnectionGeometry

CODES = (
    "inputs as integers of these bits, most significant first, the largest one standing for full_scale: states lie in "
    "[0, full_scale] and are unsigned; the image, which is normalised, and states that have a sign may be negative, so "
    "they are in two's complement"
)
NOT_INCLUDED = (
    "biases, readout and error signals, which are digital",
    "transposed reads: NeuroSim reads forward only, and once, where relaxation reads in every tick",
    "the nudge phases and the update",
    "padding: H and W in NetWork.csv are those of the layer below; input files have all padded windows",
)


def export_neurosim(run_dir: Path, out: Path) -> dict[str, Any]:
    """Write the last weights of the run in ``run_dir``, and the inputs of its connections at the free rest point of one
    test image, to the new folder ``out``; returns what export.json says.

    Raises :class:`CheckpointError` or :class:`DataError` for a run that cannot be opened again,
    :class:`DivergenceError` when states are not finite, :class:`UsageError` when ``out`` cannot be made.
    """
    refuse_filled(out)
    run = Experiment.open(run_dir, device="cpu")
    image = choose_samples(run, 1)
    free = run.rest(image.x, image.start)
    if not all(state.isfinite().all() for state in free.states):
        raise DivergenceError(
            f"{run_dir}: states of the free phase are not finite; start the run again with smaller learning rates"
        )
    bits = int(run.model.hardware.digital.state_bits.value)
    with new_folder(out) as folder:
        found = {
            "format": "neurosim",
            "run": {"name": run.scenario.scenario.name, "directory": run_dir.resolve().name, "epoch": run.epoch},
            "versions": versions(),
            "image": {"test_image": int(image.places[0]), "label": int(image.labels[0])},
            "free_phase": _rest(free, run.scenario.relaxation.tolerance),
            "bits": bits,
            "codes": CODES,
            "rows": "Cin, Kh, Kw, with Kw fastest",
            **write_neurosim(folder, _layers(run, image.x, free.seen), bits),
            "not_included": NOT_INCLUDED,
        }
        write_json(folder / DOCUMENT, found)
    return found


def _rest(free: Relaxation, tolerance: float) -> dict[str, Any]:
    """How the image came to rest, or that it did not."""
    residual = float(free.residual[0])
    return {
        "ticks": int(free.ticks[0]),
        "residual": residual,
        "tolerance": tolerance,
        "at_rest": residual <= tolerance if tolerance else None,
    }


def _layers(run: Experiment, x: Tensor, seen: list[Tensor]) -> list[LayerTrace]:
    """Every connection with what it reads of image ``x`` and of the states its neighbours know."""
    return [
        LayerTrace(
            ConnectionGeometry.from_connection(connection),
            connection.weight.detach().contiguous().numpy(),
            pre[0].contiguous().numpy(),
            signed=connection.signed[0],
        )
        for connection in run.model.network.connections
        for pre in [x if connection.source == IMAGE else seen[connection.source]]
    ]
