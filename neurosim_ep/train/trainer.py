"""One epoch of training and one of testing, with what is recorded on the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neurosim_ep.ep.seeds import Stream, generator
from neurosim_ep.ep.signals import alpha_at
from neurosim_ep.errors import DivergenceError
from neurosim_ep.hardware.counts import TileCounts
from neurosim_ep.scenario.schema import Scenario
from neurosim_ep.scheduler.buffers import to_device
from neurosim_ep.scheduler.counters import TileCounter
from neurosim_ep.scheduler.engine import Engine
from neurosim_ep.scheduler.field import Observer
from neurosim_ep.scheduler.observers import ResidualObserver, TrafficObserver
from neurosim_ep.scheduler.phases import NUDGES
from neurosim_ep.scheduler.presentation import EPGradients, Gradients, ep_gradients, free_phases
from neurosim_ep.scheduler.schedule import Schedule
from neurosim_ep.scheduler.unrolled import bptt_gradients
from neurosim_ep.train.data import Data, prepare
from neurosim_ep.train.feed import Feed
from neurosim_ep.train.health import LayerHealth
from neurosim_ep.train.model import Model
from neurosim_ep.train.optimiser import Optimiser
from neurosim_ep.train.resolution import Resolution
from neurosim_ep.train.settling import ResidualCurves, SettlingStatistics
from neurosim_ep.train.statistics import LayerStatistics
from neurosim_ep.train.teacher.targets import TargetSource, target_source
from neurosim_ep.train.views import draw_views, show
from neurosim_ep.train.warm import WarmStates

TEST_BATCH = 250


@dataclass(frozen=True)
class EpochRecord:
    """What one training epoch leaves: scalars, rows per layer, residual curves, and recorded traffic."""

    loss: float
    train_accuracy: float
    alpha: float
    learning_rate: float
    settling: dict[str, float | None]
    layers: list[dict[str, float | None]]
    residuals: list[dict[str, float | str]]
    traffic: list[tuple[int, TileCounts]]


@dataclass(frozen=True)
class Batch:
    """Numbers ``chosen`` of the samples (B,), their images ``x`` as the network gets them, labels ``y``, and what the
    teacher shows for them, by layer.
    """

    chosen: Tensor
    x: Tensor
    y: Tensor
    teacher: dict[int, Tensor]


@dataclass(frozen=True)
class Evaluation:
    """Test accuracy of the readout, and of each layer's own signal readout."""

    accuracy: float
    layer_accuracy: dict[int, float]


class Trainer:
    """Trains ``model`` on ``data`` as ``scenario`` says. Every epoch's randomness starts from (seed, epoch)."""

    def __init__(self, scenario: Scenario, model: Model, data: Data, device: torch.device) -> None:
        self.scenario, self.model, self.data, self.device = scenario, model, data, device
        model.network.to(device)
        if model.signals is not None:
            model.signals.to(device)
        if model.tiles is not None:
            model.tiles.to(device)
        self.training = Feed(data.train_images, data.train_labels, device)
        self.test = Feed(data.test_images, data.test_labels, device)
        self.colours = data.mean.to(device), data.std.to(device)
        self.counter: TileCounter | None = None
        self.batches = math.ceil(len(data.train_labels) / scenario.training.batch_size)
        updates = self.batches * scenario.training.epochs
        self.optimiser = Optimiser(model.network, model.signals, scenario.training, updates)
        self.targets: TargetSource | None = target_source(scenario, model.network, data, device)
        self.warm: WarmStates | None = None
        self.engine = Engine(model.network, Schedule.of(scenario.scheduler, scenario.relaxation))

    @property
    def by_ep(self) -> bool:
        """Whether equilibrium propagation trains the network, and not backpropagation through time."""
        return self.scenario.plasticity.rule != "bptt"

    @property
    def notes(self) -> list[str]:
        """What of the scenario this run leaves out or replaces, a line each."""
        notes = self.engine.notes
        if not self.by_ep and self.scenario.telemetry.traffic_every:
            notes.append("no traffic or cost is recorded: the chip that the tiles model does not compute rule = bptt")
        tiles = self.model.tiles
        if tiles is not None and tiles.pulsed and not tiles.by_difference:
            update = self.scenario.hardware.device.update
            notes.append(f"update = {update}: momentum and weight decay act on biases, readout and projections alone")
        return notes

    def keep_warm_states(self, folder: Path) -> None:
        """Let samples start where they rested in the epoch before, if the scenario says so; ``folder`` keeps where."""
        kind = self.scenario.relaxation.warm_start
        if kind != "none":
            shapes = self.model.network.state_shapes
            self.warm = WarmStates(folder, len(self.data.train_labels), shapes, in_memory=kind == "memory")

    def train_epoch(
        self, epoch: int, on_batch: Callable[[int], None], warn: Callable[[str], None] = lambda message: None
    ) -> EpochRecord:
        """One pass over the training images; ``epoch`` counts from 0, ``on_batch`` gets the batches done, ``warn``
        what :class:`~neurosim_ep.train.health.LayerHealth` finds on the way.

        Raises :class:`DivergenceError` when loss, states or weights stop being finite.
        """
        if self.warm is None:
            return self._train_epoch(epoch, on_batch, warn, None)
        with self.warm.begin(epoch) as warm:
            return self._train_epoch(epoch, on_batch, warn, warm)

    def _train_epoch(
        self, epoch: int, on_batch: Callable[[int], None], warn: Callable[[str], None], warm: WarmStates | None
    ) -> EpochRecord:
        telemetry = self.scenario.telemetry
        alpha = alpha_at(self.scenario.signals, epoch, self.scenario.training.epochs)
        learning_rate = self.optimiser.learning_rate
        totals = torch.zeros(2, dtype=torch.float64, device=self.device)
        statistics, curves = LayerStatistics(self.model.network), ResidualCurves()
        tiles = self.model.tiles
        resolution = None if tiles is None else Resolution(tiles)
        if tiles is not None:
            tiles.begin(Stream.TILES, epoch + 1)
        health = LayerHealth(self.model.network.layer_names, self.batches, fresh=epoch == 0)
        settling = self._settling()
        traffic: list[tuple[int, TileCounts]] = []
        states_random = generator(self.scenario.scenario.seed, Stream.STATES, epoch)
        for number, batch in enumerate(self._training_batches(epoch)):
            recorded = self.by_ep and telemetry.traffic_every > 0 and number % telemetry.traffic_every == 0
            sampled = number % telemetry.stats_every == 0
            counter = self._fresh_counter() if recorded else None
            residual = ResidualObserver() if sampled else None
            start = self._start(len(batch.y), states_random) if warm is None else warm.start(batch.chosen, self.device)
            with nullcontext() if resolution is None else resolution.watching(number, sampled=sampled):
                result = self._present(batch, alpha, start, counter, residual)
            if warm is not None:
                warm.keep(batch.chosen, result.free)
            totals += torch.stack([result.loss.sum(), (result.logits.argmax(1) == batch.y).sum()])
            ends = [result.free_phase, *([result.nudge_phases] if isinstance(result, EPGradients) else [])]
            for part, end in zip(settling, ends, strict=True):
                part.add(end)
            if residual is not None:
                rows = statistics.add(result)
                if resolution is not None:
                    resolution.add(rows)
                curves.add(residual)
                self._refuse_divergence(result, epoch, number)
                for message in health.add(rows, number + 1, len(batch.y)):
                    warn(message)
            traffic += self._update(batch, result, counter, number)
            if resolution is not None:
                resolution.written()
            on_batch(number + 1)
        loss, correct = (totals / len(self.data.train_labels)).tolist()
        weights = torch.stack([tensor.abs().max() for tensor in self.optimiser.parameters.values()])
        if not (math.isfinite(loss) and bool(weights.isfinite().all())):
            raise DivergenceError(_divergence_text(epoch, self.batches))
        for message in [*health.close(), *([] if resolution is None else resolution.warnings())]:
            warn(message)
        return EpochRecord(
            loss,
            correct,
            alpha,
            learning_rate,
            {key: value for part in settling for key, value in part.epoch_columns().items()},
            self._layer_rows(statistics, settling, resolution),
            curves.rows(),
            traffic,
        )

    def _fresh_counter(self) -> TileCounter:
        """The counter of all recorded batches, for a new one."""
        if self.counter is None:
            self.counter = TileCounter(self.model.plan, self.device)
        self.counter.begin()
        return self.counter

    def _settling(self) -> list[SettlingStatistics]:
        relaxation = self.scenario.relaxation
        free = SettlingStatistics("free", relaxation.free_steps, relaxation.tolerance)
        nudge = SettlingStatistics("nudge", relaxation.nudge_steps, relaxation.nudge_tolerance)
        return [free, nudge] if self.by_ep else [free]

    def _layer_rows(
        self, statistics: LayerStatistics, settling: list[SettlingStatistics], resolution: Resolution | None
    ) -> list[dict[str, float | None]]:
        """Statistics of every layer, with how it settled and the updates it took against computing every sample in
        every tick with all layers at once.
        """
        free, *nudges = settling
        copies = len(NUDGES[self.scenario.relaxation.nudging])
        updates = {
            "updates": (free.ticks + copies * sum(nudge.ticks for nudge in nudges)) // self.engine.policy.ticks,
            "updates_dense": free.samples * free.steps + copies * sum(nudge.samples * nudge.steps for nudge in nudges),
        }
        rows = statistics.rows()
        for part in settling:
            for row, columns in zip(rows, part.layer_columns(), strict=False):
                row.update(columns | updates)
        if resolution is not None:
            for row, columns in zip(rows, resolution.columns(), strict=False):
                row.update(columns)
        return rows

    def _present(
        self,
        batch: Batch,
        alpha: float,
        start: list[Tensor] | None,
        counter: TileCounter | None,
        residual: ResidualObserver | None,
    ) -> Gradients:
        relaxation, network = self.scenario.relaxation, self.model.network
        observers: list[Observer] = [residual] if residual is not None else []
        if not self.by_ep:
            return bptt_gradients(
                network,
                batch.x,
                batch.y,
                free_steps=relaxation.free_steps,
                steps=self.scenario.bptt_steps,
                signals=self.model.signals,
                alpha=alpha,
                teacher=batch.teacher,
                states=start,
                engine=self.engine,
                observers=observers,
            )
        if counter is not None:
            observers.append(TrafficObserver(network, counter, batch.x))
        return ep_gradients(
            network,
            batch.x,
            batch.y,
            free_steps=relaxation.free_steps,
            nudge_steps=relaxation.nudge_steps,
            beta=relaxation.beta,
            signals=self.model.signals,
            alpha=alpha,
            teacher=batch.teacher,
            rule=self.scenario.plasticity.rule,
            loss=network.loss,
            nudging=relaxation.nudging,
            states=start,
            engine=self.engine,
            observers=observers,
            on_product=None if counter is None else counter.update,
        )

    def first_batch(self, number: int, *, recorded: bool) -> Gradients:
        """Present the first batch of the first epoch and change the weights, as an epoch would with its batch
        ``number``, counting what that does on the tiles where it is ``recorded``; no telemetry.
        """
        scenario, tiles = self.scenario, self.model.tiles
        if tiles is not None and number == 0:
            tiles.begin(Stream.TILES, 1)
        resolution = None if tiles is None else Resolution(tiles)
        batch = next(self._training_batches(0))
        counter = self._fresh_counter() if recorded else None
        start = self._start(len(batch.y), generator(scenario.scenario.seed, Stream.STATES, 0))
        alpha = alpha_at(scenario.signals, 0, scenario.training.epochs)
        with nullcontext() if resolution is None else resolution.watching(number, sampled=False):
            result = self._present(batch, alpha, start, counter, None)
        self._update(batch, result, counter, number)
        return result

    def _update(
        self, batch: Batch, result: Gradients, counter: TileCounter | None, number: int
    ) -> list[tuple[int, TileCounts]]:
        """Change the weights; where the batch is recorded, count what that does on the tiles."""
        if counter is None:
            self._step(batch, result)
            return []
        connections, tiles = self.model.network.connections, self.model.tiles
        if tiles is not None and tiles.pulsed:
            self._step(batch, result)
            for layer, pulses in enumerate(tiles.pulses()):
                counter.pulsed(layer, pulses.up, pulses.down)
        else:
            before = [connection.weight.clone() for connection in connections]
            self._step(batch, result)
            for layer, (connection, old) in enumerate(zip(connections, before, strict=True)):
                counter.programmed(layer, old, connection.weight)
        return [(number, counter.result(len(batch.y)))]

    def _step(self, batch: Batch, result: Gradients) -> None:
        tiles = self.model.tiles
        if tiles is None or not tiles.pulsed:
            self.optimiser.step(result.grads)
            if tiles is not None:
                tiles.program()
        elif tiles.by_difference:
            before = [connection.weight.clone() for connection in self.model.network.connections]
            self.optimiser.step(result.grads)
            tiles.write_difference(before)
        else:
            assert isinstance(result, EPGradients)
            relaxation, (high, low) = self.scenario.relaxation, result.contrasted
            rates = self.optimiser.pulse_rates(result.grads)
            self.optimiser.step(result.grads, weights=False)
            per_term = 1 / (len(NUDGES[relaxation.nudging]) * relaxation.beta * len(batch.y))
            tiles.write_terms(batch.x, [(1, high), (-1, low)], [rate * per_term for rate in rates])
        self.engine.refresh()

    def _start(self, samples: int, random: torch.Generator) -> list[Tensor] | None:
        """States a free phase starts from; None for zeros."""
        if self.scenario.relaxation.state_init == "zeros":
            return None
        return self.model.network.initial_states(samples, "uniform", random)

    def evaluate(self) -> Evaluation:
        """Accuracy on the test images after a free phase from zero states (or uniform ones, seeded)."""
        relaxation, network, signals = self.scenario.relaxation, self.model.network, self.model.signals
        layers = [] if signals is None else [layer for layer, kind in signals.kinds.items() if kind == "le"]
        labels = to_device(self.test.labels, self.device)
        shown = torch.empty(1 + len(layers), len(labels), dtype=labels.dtype, device=self.device)
        if self.model.tiles is not None:
            self.model.tiles.begin(Stream.TEST_TILES, 0)
        for numbers, end in free_phases(network, self._tests(), relaxation.free_steps, engine=self.engine):
            scores = [network.logits(end.seen)]
            if signals is not None:
                scores += [signals.logits(layer, end.seen[layer]) for layer in layers]
            shown[:, numbers] = torch.stack([score.argmax(1) for score in scores])
        readout, *own = (shown == labels).double().mean(1).tolist()
        return Evaluation(readout, dict(zip(layers, own, strict=True)))

    def _tests(self) -> Iterator[tuple[Tensor, list[Tensor] | None]]:
        """The test images in batches, with the states they start from."""
        random = generator(self.scenario.scenario.seed, Stream.TEST_STATES)
        for images, y in self.test.parts(TEST_BATCH):
            yield prepare(images, *self.colours), self._start(len(y), random)

    def state_dict(self) -> dict[str, Any]:
        """Weights, learned projections and optimiser: all that one epoch hands to the next."""
        signals = self.model.signals
        return {
            "network": self.model.network.state_dict(),
            "signals": {} if signals is None else signals.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "tiles": {} if self.model.tiles is None else self.model.tiles.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`. Raises KeyError or RuntimeError when it is another network's."""
        self.model.network.load_state_dict(state["network"])
        if self.model.signals is not None:
            self.model.signals.load_state_dict(state["signals"])
        if self.model.tiles is not None:
            self.model.tiles.load_state_dict(state["tiles"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.engine.refresh()

    def _training_batches(self, epoch: int) -> Iterator[Batch]:
        seed, data = self.scenario.scenario.seed, self.scenario.data
        order = torch.randperm(len(self.data.train_labels), generator=generator(seed, Stream.ORDER, epoch))
        random = generator(seed, Stream.AUGMENTATION, epoch)
        for chosen in order.split(self.scenario.training.batch_size):
            views = draw_views(data, len(chosen), random)
            images, y = self.training.batch(chosen)
            images = show(images, views, data)
            teacher = {} if self.targets is None else self.targets.of(chosen, views, images)
            yield Batch(chosen, prepare(images, *self.colours), y, teacher)

    def _refuse_divergence(self, result: Gradients, epoch: int, number: int) -> None:
        if not bool(torch.isfinite(result.loss.sum() + result.residual.sum())):
            raise DivergenceError(_divergence_text(epoch, number))


def _divergence_text(epoch: int, number: int) -> str:
    return (
        f"diverged: loss, states or weights are not finite by batch {number} of epoch {epoch + 1}; lower "
        "training.learning_rate, network.weight_scale or relaxation.beta, or set training.update_limit"
    )
