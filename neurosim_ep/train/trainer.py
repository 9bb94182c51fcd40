"""One epoch of training and one of testing, with what is recorded on the way."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neurosim_ep.data.dataset import prepare
from neurosim_ep.data.feed import Feed
from neurosim_ep.data.views import count_views, draw_views, show
from neurosim_ep.ep.seeds import Stream, generator
from neurosim_ep.ep.signals import alpha_at
from neurosim_ep.ep.transfers import to_device
from neurosim_ep.errors import MachineError
from neurosim_ep.experiment.opening import Experiment
from neurosim_ep.experiment.optimiser import Optimiser
from neurosim_ep.hardware.chip.counts import TileCounts
from neurosim_ep.record.checkpoint import WITHIN
from neurosim_ep.teacher.store import target_bytes
from neurosim_ep.teacher.targets import weights_digest
from neurosim_ep.telemetry.alerts import Alert
from neurosim_ep.telemetry.counters import TileCounter
from neurosim_ep.telemetry.epoch import EpochRecord, EpochTelemetry, Evaluation, diverged
from neurosim_ep.telemetry.resolution import watching
from neurosim_ep.train.step import Batch, Step
from neurosim_ep.train.underway import BEGINNING, Place, Underway, understood
from neurosim_ep.train.warm import WarmStates

TEST_BATCH = 250


class Trainer:
    """Trains the network of an ``experiment``. Every epoch's randomness starts from (seed, epoch)."""

    def __init__(self, experiment: Experiment) -> None:
        self.scenario, self.device = experiment.scenario, experiment.device
        self.data = data = experiment.data
        self.model = experiment.model
        self.training = Feed(data.train_images, data.train_labels, self.device)
        self.test = Feed(data.test_images, data.test_labels, self.device)
        self.channel_statistics = data.mean.to(self.device), data.std.to(self.device)
        self.counter: TileCounter | None = None
        self.batches = math.ceil(len(data.train_labels) / self.scenario.training.batch_size)
        updates = self.batches * self.scenario.training.epochs
        self.optimiser = Optimiser(self.model.network, self.model.signals, self.scenario.training, updates)
        self.targets = experiment.targets
        self.warm: WarmStates | None = None
        self.underway: Underway | None = None
        self.engine, self.ranks = experiment.engine(), experiment.ranks
        self._reader = self.ranks.number if self.ranks.count > 1 else None

    @property
    def step(self) -> Step:
        """How batches are presented and weights changed."""
        return Step(self.scenario, self.model, self.engine, self.ranks)

    @property
    def notes(self) -> list[str]:
        """What of the scenario this run leaves out or replaces, a line each."""
        notes = self.engine.notes
        rule = self.scenario.plasticity
        if not rule.on_tiles and self.scenario.telemetry.traffic_every:
            notes.append(
                f"no traffic or cost is recorded: phases of equilibrium propagation alone are, not rule = {rule.rule}"
            )
        tiles = self.model.tiles
        if tiles is not None and tiles.pulsed and not tiles.by_difference:
            update = self.scenario.hardware.device.update
            notes.append(f"update = {update}: momentum and weight decay act on biases, readout and projections alone")
        if tiles is not None and tiles.pulsed and not (device := tiles.devices[0].model).w_min < 0 < device.w_max:
            notes.append(
                f"device {device.preset} holds weights from {device.w_min:g} to {device.w_max:g} alone: those beyond "
                "start at the nearer end; pairs of such devices, reset now and then, are not modelled"
            )
        if rule.on_tiles and (apart := self.engine.feedback.note):
            notes.append(f"{apart}; `neurosim-ep diagnose` measures how far they are from the loss's")
        return notes

    def so_far(self) -> tuple[float, float] | None:
        """Loss and accuracy of the training samples of this epoch so far; None before the first batch."""
        telemetry = None if self.underway is None else self.underway.telemetry
        return telemetry.means() if telemetry is not None and telemetry.samples else None

    @property
    def taught_by(self) -> dict[str, object] | None:
        """What this run's targets come from, the bytes of them that are read per sample and per epoch, and those of all
        views, which lie outside the chip; None where it has none.
        """
        if self.targets is None:
            return None
        bits = sum(signal.off_chip_bits for signal in self.model.signal_projections)
        views = count_views(self.scenario.data)
        return {
            "digest": self.targets.teacher_digest, "live": self.scenario.signals.live, "views": views,
            **target_bytes(bits, len(self.data.train_labels), views),
        }  # fmt: skip

    def keep_warm_states(self, folder: Path) -> None:
        """Let samples start where they rested in the epoch before, if the scenario says so; ``folder`` keeps where."""
        kind = self.scenario.relaxation.warm_start
        if kind != "none":
            shapes = self.model.network.state_shapes
            numbers = len(self.data.train_labels)
            self.warm = WarmStates(folder, numbers, shapes, in_memory=kind == "memory", ranks=self.ranks)

    def train_epoch(
        self,
        epoch: int,
        on_batch: Callable[[int], None],
        warn: Callable[[Alert], None] = lambda message: None,
        place: Place = BEGINNING,
    ) -> EpochRecord:
        """One pass over the training images, from ``place`` on; ``epoch`` counts from 0, ``on_batch`` gets the batches
        done, ``warn`` what :class:`~neurosim_ep.telemetry.epoch.EpochTelemetry` finds on the way.

        Raises :class:`DivergenceError` when loss, states or weights stop being finite.
        """
        self.underway = underway = self._underway(epoch)
        if place.state is not None:
            with understood(WITHIN):
                if not 0 < place.done < self.batches:
                    raise ValueError(f"{place.done} of {self.batches} batches")
                underway.load_state_dict(place.state)
        if self.warm is None:
            self._train_batches(underway, place.done, on_batch, warn)
        else:
            own = [self.ranks.share(whole) for whole in self._order(epoch)]
            known = None if place.state is None else place.state["warm"]
            with self.warm.during(epoch, torch.cat(own), own[: place.done], known):
                self._train_batches(underway, place.done, on_batch, warn)
        return underway.telemetry.record(underway.alpha, underway.learning_rate)

    def _underway(self, epoch: int) -> Underway:
        """The beginning of ``epoch``."""
        telemetry = EpochTelemetry(self.scenario, self.model, epoch, self.batches, self.ranks)
        random = generator(self.scenario.scenario.seed, Stream.STATES, epoch)
        alpha, rate = self._begin(epoch), self.optimiser.learning_rate
        return Underway(alpha, rate, telemetry, random, self.model.tiles, self.warm)

    def _train_batches(
        self, underway: Underway, done: int, on_batch: Callable[[int], None], warn: Callable[[Alert], None]
    ) -> None:
        """The batches after the first ``done``."""
        telemetry, warm, epoch = underway.telemetry, underway.warm, underway.telemetry.epoch
        for number, (whole, chosen, batch) in enumerate(self._training_batches(epoch, done), done):
            start = self._start(whole, underway.states_random) if warm is None else warm.start(chosen, self.device)
            counter = self._fresh_counter() if telemetry.records(number) else None
            with telemetry.watching(number) as observers:
                own = self.step.present(batch, alpha=underway.alpha, start=start, counter=counter, observers=observers)
            if warm is not None:
                warm.keep(chosen, own.free)
            grads = self.ranks.mean(own.grads, self.optimiser.parameters, len(chosen) / whole)
            result = replace(own, grads=dict(grads))
            for message in telemetry.add(number, batch.y, result, whole):
                warn(message)
            telemetry.updated(number, self.step.apply_update(self.optimiser, batch, result, counter))
            on_batch(number + 1)
        telemetry.unite()
        kept = (*self.optimiser.parameters.values(), *self.optimiser.momenta.values())
        weights = torch.stack([tensor.abs().max() for tensor in kept])
        if not (math.isfinite(telemetry.means()[0]) and bool(weights.isfinite().all())):
            raise diverged(epoch, self.batches)
        for message in telemetry.warnings():
            warn(message)

    def _begin(self, epoch: int) -> float:
        """Start the random numbers of the tiles anew; returns α of the epoch."""
        if self.model.tiles is not None:
            self.model.tiles.begin(Stream.TILES, epoch + 1, self._reader)
        return alpha_at(self.scenario.signals, epoch, self.scenario.training.epochs)

    def _fresh_counter(self) -> TileCounter:
        """The counter of all recorded batches, for a new one."""
        if self.counter is None:
            self.counter = TileCounter(self.model.plan, self.device)
        self.counter.begin()
        return self.counter

    def first_batch(self, number: int, *, recorded: bool) -> TileCounts | None:
        """Present the first batch of the first epoch and change the weights, as an epoch would with its batch
        ``number``; returns what that did on the tiles where it is ``recorded``. No telemetry.
        """
        alpha = self._begin(0) if number == 0 else alpha_at(self.scenario.signals, 0, self.scenario.training.epochs)
        _, _, batch = next(self._training_batches(0))
        counter = self._fresh_counter() if recorded else None
        start = self._start(len(batch.y), generator(self.scenario.scenario.seed, Stream.STATES, 0))
        with watching(self.model.tiles, number):
            result = self.step.present(batch, alpha=alpha, start=start, counter=counter)
        return self.step.apply_update(self.optimiser, batch, result, counter)

    def _start(self, samples: int, random: torch.Generator) -> list[Tensor] | None:
        """States that the free phase of ``samples`` samples starts from, those of this process; None for zeros."""
        if self.scenario.relaxation.state_init == "zeros":
            return None
        return [self.ranks.share(state) for state in self.model.network.initial_states(samples, "uniform", random)]

    def evaluate(self) -> Evaluation:
        """Accuracy on the test images after a free phase from zero states (or uniform ones, seeded), or after a
        feed-forward pass where that is what learns.
        """
        network, signals = self.model.network, self.model.signals
        layers = [] if signals is None else [layer for layer, kind in signals.kinds.items() if not kind.taught]
        own = [self.ranks.share(y) for y in self.test.labels.split(TEST_BATCH)]
        labels = to_device(torch.cat(own), self.device)
        shown = torch.empty(1 + len(layers), len(labels), dtype=labels.dtype, device=self.device)
        if self.model.tiles is not None:
            self.model.tiles.begin(Stream.TEST_TILES, 0, self._reader)
        for numbers, end in self.step.ends(self._tests()):
            scores = [network.logits(end.received)]
            if signals is not None:
                scores += [signals.logits(layer, end.received[layer]) for layer in layers]
            shown[:, numbers] = torch.stack([score.argmax(1) for score in scores])
        (correct,) = self.ranks.summed([(shown == labels).double().sum(1)])
        readout, *by_layer = (right / len(self.test.labels) for right in correct.tolist())
        return Evaluation(readout, dict(zip(layers, by_layer, strict=True)))

    def _tests(self) -> Iterator[tuple[Tensor, list[Tensor] | None]]:
        """This process's share of the test images in batches, with the states they start from."""
        random = generator(self.scenario.scenario.seed, Stream.TEST_STATES)
        parts = (
            (prepare(self.ranks.share(images), *self.channel_statistics), self._start(len(y), random))
            for images, y in self.test.parts(TEST_BATCH)
        )
        if self.ranks.count == 1:
            yield from parts
        while some := list(itertools.islice(parts, self.ranks.count)):
            images, known = torch.cat([x for x, _ in some]), [start for _, start in some if start is not None]
            if len(images):
                yield images, [torch.cat(layer) for layer in zip(*known, strict=True)] or None

    def compare_weights(self) -> None:
        """Raise :class:`MachineError` unless all processes of the run have the same weights."""
        if self.ranks.count == 1:
            return
        parts = (self.model.network, self.model.signals)
        first, *others = self.ranks.exchanged([weights_digest(part) for part in parts if part is not None])
        if different := [str(number) for number, found in enumerate(others, 1) if found != first]:
            raise MachineError(
                f"process {', '.join(different)}: its weights are no longer those of process 0, as its machine "
                "computes in another way; use machines and versions that are alike"
            )

    def state_dict(self) -> dict[str, Any]:
        """The model and its optimiser: all that one epoch hands to the next."""
        return {**self.model.state_dict(), "optimiser": self.optimiser.state_dict()}

    def _training_batches(self, epoch: int, done: int = 0) -> Iterator[tuple[int, Tensor, Batch]]:
        """Of each batch after the first ``done`` the number of its samples, numbers (B,) of those that this process
        takes, and these.
        """
        seed, data = self.scenario.scenario.seed, self.scenario.data
        random = generator(seed, Stream.AUGMENTATION, epoch)
        for number, whole in enumerate(self._order(epoch)):
            drawn = draw_views(data, len(whole), random)
            if number < done:
                continue
            chosen, views = (self.ranks.share(one) for one in (whole, drawn))
            images, y = self.training.batch(chosen)
            images = show(images, views, data)
            teacher = {} if self.targets is None or not len(y) else self.targets.of(chosen, views, images)
            yield len(whole), chosen, Batch(prepare(images, *self.channel_statistics), y, teacher)

    def _order(self, epoch: int) -> Sequence[Tensor]:
        """Numbers (B,) of the samples of each whole batch."""
        random = generator(self.scenario.scenario.seed, Stream.ORDER, epoch)
        return torch.randperm(len(self.data.train_labels), generator=random).split(self.scenario.training.batch_size)
