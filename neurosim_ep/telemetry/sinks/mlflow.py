"""A run of MLflow, on the server or in the folder that MLFLOW_TRACKING_URI names."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from neurosim_ep.record.atomic import write_atomic
from neurosim_ep.telemetry.sinks.base import Sink, Tracked

RUN_ID = "mlflow_run_id"
"""File of the run directory that says which run of MLflow goes on when this one does."""
AT_ONCE = 100
LONGEST = 500
ENDS = {"done": "FINISHED", "interrupted": "KILLED"}


class MLflow(Sink):
    """Keys of the scenario as parameters, numbers of every epoch as metrics. The experiment is that of
    MLFLOW_EXPERIMENT_NAME, or called as the scenario.
    """

    name = "mlflow"
    sentence = "a run of MLflow where MLFLOW_TRACKING_URI says: parameters, and metrics of every epoch"
    package = "mlflow"
    extra = "mlflow"

    def begin(self, run: Tracked) -> None:
        """See :meth:`Sink.begin`."""
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self.client = MlflowClient()
        known = run.path / RUN_ID
        if known.is_file():
            self.run_id = known.read_text("utf-8").strip()
            self.client.update_run(self.run_id, "RUNNING")
            return
        title = os.environ.get("MLFLOW_EXPERIMENT_NAME") or run.name
        found = self.client.get_experiment_by_name(title)
        experiment = self.client.create_experiment(title) if found is None else found.experiment_id
        self.run_id = self.client.create_run(experiment, run_name=run.path.resolve().name).info.run_id
        write_atomic(known, f"{self.run_id}\n".encode())
        settings = [Param(key, str(value)[:LONGEST]) for key, value in run.settings.items()]
        for first in range(0, len(settings), AT_ONCE):
            self.client.log_batch(self.run_id, params=settings[first : first + AT_ONCE])

    def epoch(self, epoch: int, values: Mapping[str, float]) -> None:
        """See :meth:`Sink.epoch`."""
        from mlflow.entities import Metric

        now_ms = round(1000 * time.time())
        metrics = [Metric(name, value, now_ms, epoch) for name, value in values.items()]
        for first in range(0, len(metrics), AT_ONCE):
            self.client.log_batch(self.run_id, metrics=metrics[first : first + AT_ONCE])

    def end(self, status: str) -> None:
        """See :meth:`Sink.end`."""
        self.client.set_terminated(self.run_id, ENDS.get(status, "FAILED"))
