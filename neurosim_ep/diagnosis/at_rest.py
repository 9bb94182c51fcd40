"""Exports of a trained network: its last weights, and the states at rest on one test image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from neurosim_ep.diagnosis.samples import Samples, choose_samples
from neurosim_ep.errors import DivergenceError
from neurosim_ep.experiment.dynamics import Dynamics
from neurosim_ep.experiment.opening import Experiment
from neurosim_ep.record.rundir import versions
from neurosim_ep.scenario.topology import IMAGE
from neurosim_ep.scheduler.engine import Relaxation


@dataclass(frozen=True)
class AtRest:
    """A run, a test image, and the free phase in which it came to rest."""

    run: Experiment
    image: Samples
    free: Relaxation

    @classmethod
    def of(cls, run_dir: Path, overrides: Sequence[str] = ()) -> AtRest:
        """The run in ``run_dir``, changed by ``overrides``, with the first test image of the class-balanced choice.

        Raises :class:`CheckpointError` or :class:`DataError` for a run that cannot be opened again,
        :class:`DivergenceError` when states are not finite.
        """
        run = Experiment.open(run_dir, device="cpu", overrides=overrides)
        image = choose_samples(run, 1)
        free = Dynamics(run.scenario).rest(run.model.network, image.x, image.start)
        if not all(state.isfinite().all() for state in free.states):
            raise DivergenceError(
                f"{run_dir}: states of the free phase are not finite; start the run again with smaller learning rates"
            )
        return cls(run, image, free)

    def inputs(self, connection: int) -> Tensor:
        """What a connection reads of the image or of the layer below, as its tiles know that, of its ``in_shape``."""
        source = self.run.model.network.connections[connection].source
        return (self.image.x if source == IMAGE else self.free.received[source])[0]

    def document(self, form: str) -> dict[str, Any]:
        """What export.json says of run, image and rest."""
        run, tolerance, residual = self.run, self.run.scenario.relaxation.tolerance, float(self.free.residual[0])
        return {
            "format": form,
            "run": {
                "name": run.scenario.scenario.name,
                "directory": run.run.path.resolve().name,
                "epoch": run.epoch,
            },
            "versions": versions(),
            "image": {"test_image": int(self.image.places[0]), "label": int(self.image.labels[0])},
            "free_phase": {
                "ticks": int(self.free.ticks[0]),
                "residual": residual,
                "tolerance": tolerance,
                "at_rest": residual <= tolerance if tolerance else None,
            },
        }
