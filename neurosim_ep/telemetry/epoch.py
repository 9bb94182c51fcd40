"""What is recorded of one epoch of training, while it goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from neurosim_ep.errors import DivergenceError
from neurosim_ep.experiment.model import Model
from neurosim_ep.hardware.chip.counts import TileCounts
from neurosim_ep.ranks import ALONE, Ranks
from neurosim_ep.record.counted import counts_in, counts_state
from neurosim_ep.registry import POLICIES
from neurosim_ep.scenario.schema import Scenario
from neurosim_ep.scheduler.observers import Observer, ResidualObserver
from neurosim_ep.scheduler.presentation import NUDGES, EPGradients, Gradients
from neurosim_ep.telemetry.alerts import Alert
from neurosim_ep.telemetry.health import LayerHealth
from neurosim_ep.telemetry.layers import LayerStatistics
from neurosim_ep.telemetry.resolution import Resolution, watching
from neurosim_ep.telemetry.rest import ResidualCurves, SettlingStatistics

Row = dict[str, float | None]
Part = LayerStatistics | ResidualCurves | LayerHealth | Resolution


@dataclass(frozen=True)
class EpochRecord:
    """What one training epoch leaves: scalars, rows by name of the layer, residual curves, and recorded traffic."""

    loss: float
    train_accuracy: float
    alpha: float
    learning_rate: float
    settling: Row
    layers: dict[str, Row]
    residuals: list[dict[str, float | str]]
    traffic: list[tuple[int, TileCounts]]


@dataclass(frozen=True)
class Evaluation:
    """Test accuracy of the readout, and of each layer's own signal readout."""

    accuracy: float
    layer_accuracy: dict[int, float]


class EpochTelemetry:
    """Collects, on the device, what ``epoch`` (from 0) of ``batches`` batches leaves; it is read once, at the end.

    Where ``ranks`` share the batches, the first has all that the epoch leaves.
    """

    def __init__(self, scenario: Scenario, model: Model, epoch: int, batches: int, ranks: Ranks = ALONE) -> None:
        self.scenario, self.epoch, self.ranks = scenario, epoch, ranks
        self.names, self.tiles = model.network.layer_names, model.tiles
        self.totals: Tensor | float = 0.0  # loss and correct answers
        self.samples = 0
        self.statistics, self.curves = LayerStatistics(model.network, ranks), ResidualCurves()
        self.health = LayerHealth(self.names, batches, fresh=epoch == 0)
        self.resolution = None if model.tiles is None else Resolution(scenario, model, model.tiles)
        self.settling = _settling(scenario)
        self.traffic: list[tuple[int, TileCounts]] = []

    def records(self, number: int) -> bool:
        """Whether batch ``number`` (from 0) is recorded: none is where no tiles compute the rule."""
        every = self.scenario.telemetry.traffic_every
        return self.scenario.plasticity.on_tiles and every > 0 and number % every == 0

    @contextmanager
    def watching(self, number: int) -> Iterator[list[Observer]]:
        """The observers of batch ``number`` (from 0), which is presented inside the block."""
        sampled = number % self.scenario.telemetry.stats_every == 0
        self.residual = ResidualObserver() if sampled else None
        with watching(self.tiles, number, sampled=sampled, ranks=self.ranks):
            yield [] if self.residual is None else [self.residual]

    def add(self, number: int, y: Tensor, result: Gradients, whole: int) -> list[Alert]:
        """Take what the batch just watched gave, before its update: the labels ``y`` (B,) of the samples of this
        process, of ``whole`` samples in all, and their ``result``; returns warnings about layers.

        Raises :class:`DivergenceError` where a sampled batch is not finite.
        """
        self.samples += len(y)
        self.totals = self.totals + torch.stack([result.loss.sum(), (result.logits.argmax(1) == y).sum()]).double()
        ends = [result.free_phase, *([result.nudge_phases] if isinstance(result, EPGradients) else [])]
        for part, end in zip(self.settling, ends, strict=True):
            part.add(end)
        if self.residual is None:
            return []
        rows = self.statistics.add(result, whole)
        if self.resolution is not None:
            if self.ranks.count > 1:
                self.resolution.unite(self.ranks, len(y))
            self.resolution.add(rows)
        self.curves.add(self.residual, self.ranks)
        (finite,) = self.ranks.summed([result.loss.sum() + result.residual.sum()])
        if not bool(torch.isfinite(finite)):
            raise diverged(self.epoch, number)
        return self.health.add(rows, number + 1, whole)

    def updated(self, number: int, counts: TileCounts | None) -> None:
        """Take what the update of the batch did, and its ``counts`` where it is recorded."""
        if counts is not None:
            first, *others = self.ranks.gathered(counts)
            for more in others:
                first += more
            first.batches = 1
            self.traffic.append((number, first))
        if self.resolution is not None:
            self.resolution.written()

    def state_dict(self) -> dict[str, Any]:
        """What the batches so far have left in this process."""
        return {
            "totals": self.totals, "samples": self.samples, "settling": [part.state_dict() for part in self.settling],
            "traffic": [(number, counts_state(counts)) for number, counts in self.traffic],
            **{name: part.state_dict() for name, part in self._parts().items()},
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.totals, self.samples = state["totals"], state["samples"]
        self.traffic = [(number, counts_in(counts)) for number, counts in state["traffic"]]
        for settling, known in zip(self.settling, state["settling"], strict=True):
            settling.load_state_dict(known)
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def _parts(self) -> dict[str, Part]:
        parts: dict[str, Part] = {"statistics": self.statistics, "curves": self.curves, "health": self.health}
        return parts if self.resolution is None else {**parts, "resolution": self.resolution}

    def unite(self) -> None:
        """The epoch is over: let sums over samples be those over the samples of all processes."""
        assert isinstance(self.totals, Tensor)
        if self.ranks.count > 1:
            samples = self.totals.new_tensor(float(self.samples))
            self.totals, samples, *sums = self.ranks.summed(
                [self.totals, samples, *(part.sums for part in self.settling)]
            )
            self.samples = int(samples)
            for part, of_all in zip(self.settling, sums, strict=True):
                part.sums, part.samples = of_all, self.samples

    def means(self) -> tuple[float, float]:
        """Loss and accuracy over all samples."""
        assert isinstance(self.totals, Tensor)
        loss, correct = (self.totals / self.samples).tolist()
        return loss, correct

    def warnings(self) -> list[Alert]:
        """About layers, converters and rest, at the end of the epoch."""
        coarse = [] if self.resolution is None else self.resolution.warnings()
        return [*self.health.close(), *coarse, *self.settling[0].warnings()]

    def record(self, alpha: float, learning_rate: float) -> EpochRecord:
        """All that was collected."""
        loss, correct = self.means()
        settling = {key: value for part in self.settling for key, value in part.epoch_columns().items()}
        return EpochRecord(
            loss, correct, alpha, learning_rate, settling, self._layer_rows(), self.curves.rows(), self.traffic
        )

    def _layer_rows(self) -> dict[str, Row]:
        """Statistics of every layer, with how it settled and the updates it took against computing every sample in
        every tick with all layers at once.
        """
        scenario, (free, *nudges) = self.scenario, self.settling
        copies = len(NUDGES[scenario.relaxation.nudging])
        step_ticks = POLICIES[scenario.scheduler.policy].ticks if scenario.plasticity.relaxes else 1
        updates: Row = {
            "updates": (free.ticks + copies * sum(nudge.ticks for nudge in nudges)) // step_ticks,
            "updates_dense": free.samples * free.steps + copies * sum(nudge.samples * nudge.steps for nudge in nudges),
        }
        rows = self.statistics.rows()
        parts = [part.layer_columns() for part in self.settling]
        if self.resolution is not None:
            parts.append(self.resolution.columns())
        for name, *columns in zip(self.names, *parts, strict=True):
            for more in (updates, *columns):
                rows[name] |= more
        return rows


def _settling(scenario: Scenario) -> list[SettlingStatistics]:
    """Of the phases that the rule has; a feed-forward pass is a free phase of one tick."""
    relaxation = scenario.relaxation
    if not scenario.plasticity.relaxes:
        return [SettlingStatistics("free", 1, relaxation.tolerance)]
    free = SettlingStatistics("free", relaxation.free_steps, relaxation.tolerance)
    nudge = SettlingStatistics("nudge", relaxation.nudge_steps, relaxation.nudge_tolerance)
    return [free, nudge] if scenario.plasticity.on_tiles else [free]


def diverged(epoch: int, number: int) -> DivergenceError:
    """What stops a run whose loss, states or weights are not finite by batch ``number`` of ``epoch`` (from 0)."""
    return DivergenceError(
        f"diverged: loss, states or weights are not finite by batch {number} of epoch {epoch + 1}; lower "
        "training.learning_rate, network.weight_scale or relaxation.beta, or set training.update_limit"
    )
