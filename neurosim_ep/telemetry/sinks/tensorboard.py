"""Event files of TensorBoard, in the run directory."""

from __future__ import annotations

from collections.abc import Mapping

from neurosim_ep.telemetry.sinks.base import Sink, Tracked


class TensorBoard(Sink):
    """``tensorboard --logdir runs`` shows the curves of all runs, those of layers beside each other."""

    name = "tensorboard"
    sentence = "event files in RUN_DIR/tensorboard, for `tensorboard --logdir runs`"
    package = "tensorboard"
    extra = "tensorboard"

    def begin(self, run: Tracked) -> None:
        """See :meth:`Sink.begin`."""
        from torch.utils.tensorboard import SummaryWriter

        purge = run.finished + 1 if run.finished else None
        self.writer = SummaryWriter(str(run.path / "tensorboard"), purge_step=purge)
        rows = "\n".join(f"| {key} | {value} |" for key, value in run.settings.items())
        self.writer.add_text("scenario", f"| key | value |\n| --- | --- |\n{rows}", run.finished)

    def epoch(self, epoch: int, values: Mapping[str, float]) -> None:
        """See :meth:`Sink.epoch`."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, epoch)
        self.writer.flush()

    def end(self, status: str) -> None:
        """See :meth:`Sink.end`."""
        self.writer.close()
