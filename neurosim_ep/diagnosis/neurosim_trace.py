"""`neurosim-ep export --format neurosim`: weights of a trained run, and what its tiles read at rest on a test image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from neurosim_ep.diagnosis.samples import Samples, choose_samples
from neurosim_ep.errors import DivergenceError
from neurosim_ep.experiment.opening import Experiment
from neurosim_ep.record.export.common import Exporter
from neurosim_ep.record.export.neurosim import NETWORK, LayerTrace, write_neurosim
from neurosim_ep.record.rundir import versions
from neurosim_ep.scenario.topology import IMAGE
from neurosim_ep.scheduler.engine import Relaxation
from neurosim_ep.tiles.mapping import ConnectionGeometry

CODES = (
    "inputs as integers of these bits, most significant first, the largest one standing for full_scale: states lie in "
    "[0, full_scale] and are unsigned; the image, which is normalised, and states that have a sign may be negative, so "
    "they are in two's complement"
)
NOT_INCLUDED = (
    "biases, readout, error signals and identities, which are digital",
    "transposed reads: NeuroSim reads forward only, and once, where relaxation reads in every tick",
    "the nudge phases and the update",
    "padding: H and W in NetWork.csv are those of the layer below; input files have all padded windows",
)


class NeuroSim(Exporter[tuple[Experiment, Samples, Relaxation]]):
    """The last weights of a run, and the inputs of its connections at the free rest point of one test image."""

    name = "neurosim"
    sentence = "weights and inputs of DNN+NeuroSim: the last weights, and the states at rest on a test image"
    files = (NETWORK, "weight_*.csv", "input_*.csv")

    def read(self, run_dir: Path) -> tuple[Experiment, Samples, Relaxation]:
        """The run, a test image and the free phase in which it came to rest.

        Raises :class:`CheckpointError` or :class:`DataError` for a run that cannot be opened again,
        :class:`DivergenceError` when states are not finite.
        """
        run = Experiment.open(run_dir, device="cpu")
        image = choose_samples(run, 1)
        free = run.rest(image.x, image.start)
        if not all(state.isfinite().all() for state in free.states):
            raise DivergenceError(
                f"{run_dir}: states of the free phase are not finite; start the run again with smaller learning rates"
            )
        return run, image, free

    def write(self, folder: Path, found: tuple[Experiment, Samples, Relaxation]) -> dict[str, Any]:
        """See :meth:`Exporter.write`."""
        run, image, free = found
        bits = int(run.model.hardware.digital.state_bits.value)
        assert run.directory is not None
        name, directory = run.scenario.scenario.name, run.directory.path.resolve().name
        return {
            "format": self.name,
            "run": {"name": name, "directory": directory, "epoch": run.epoch},
            "versions": versions(),
            "image": {"test_image": int(image.places[0]), "label": int(image.labels[0])},
            "free_phase": _rest(free, run.scenario.relaxation.tolerance),
            "bits": bits,
            "codes": CODES,
            "rows": "Cin, Kh, Kw, with Kw fastest",
            **write_neurosim(folder, _layers(run, image.x, free.seen), bits),
            "not_included": NOT_INCLUDED,
        }


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
