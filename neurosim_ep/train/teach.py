"""`neurosim-ep teach`: train a teacher by backpropagation (or take one from elsewhere), and store its targets.

The folder holds

    teacher.toml      the resolved scenario
    teacher.csv       epoch, loss, train_accuracy, test_accuracy, learning_rate, seconds
    training.pt       where an interrupted training goes on
    teacher.pt        the trained weights
    teacher.json      accuracy, digests, versions
    targets.h5        the target store, see ``store``

A command that was interrupted goes on after its last finished epoch when it is given again; the store is written anew.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from neurosim_ep import resources
from neurosim_ep.data.dataset import Data, prepare
from neurosim_ep.data.feed import Feed
from neurosim_ep.data.views import count_views, draw_views, show
from neurosim_ep.ep.network import channels_last
from neurosim_ep.ep.seeds import Stream, generator
from neurosim_ep.errors import CheckpointError, DivergenceError, NeurosimError, ScenarioError, UsageError
from neurosim_ep.experiment.opening import Experiment
from neurosim_ep.progress import Reporter
from neurosim_ep.record.atomic import temporary_of, write_atomic, write_json
from neurosim_ep.record.checkpoint import load_checkpoint, save_checkpoint
from neurosim_ep.record.lock import LOCK, locked
from neurosim_ep.record.logs import CsvTable
from neurosim_ep.record.rundir import versions
from neurosim_ep.registry import SIGNALS
from neurosim_ep.scenario.load import dump_scenario, load_scenario
from neurosim_ep.scenario.schema import Scenario, TeacherSection
from neurosim_ep.teacher.classifier import Teacher, build_teacher, matching_layers
from neurosim_ep.teacher.pretrained import read_pretrained
from neurosim_ep.teacher.store import StoreKey, StoreWriter, target_bytes, write_store
from neurosim_ep.teacher.targets import (
    AGAIN,
    STORE,
    WEIGHTS,
    LiveTargets,
    teacher_folder,
    teacher_statistics,
)
from neurosim_ep.threads import use_threads
from neurosim_ep.units import format_bits

TRAINING, SCENARIO = "training.pt", "teacher.toml"
COLUMNS = ("epoch", "loss", "train_accuracy", "test_accuracy", "learning_rate", "seconds")
MOMENTUM = 0.9
TEST_BATCH = 500
NEAR_CHANCE = 1.5  # times the accuracy of chance below which a teacher is suspicious
AT_ONCE = 1000  # samples whose targets are written together


@dataclass(frozen=True)
class Taught:
    """What `teach` leaves: its folder, the teacher's test accuracy, and bytes of targets read per sample and epoch."""

    folder: Path
    accuracy: float
    views: int
    bytes_per_sample: float
    bytes_per_epoch: float
    store_bytes: float

    def summary(self) -> list[tuple[str, str]]:
        """Lines for people: (label, value)."""
        return [
            ("teacher", str(self.folder)),
            ("test accuracy", f"{self.accuracy:.1%}"),
            ("target store", f"{format_bits(8 * self.store_bytes)} in {self.views} views"),
            ("read per sample", format_bits(8 * self.bytes_per_sample)),
            ("read per epoch", format_bits(8 * self.bytes_per_epoch)),
        ]


def teach(scenario: Scenario, out: Path | None, device: str, reporter: Reporter, threads: int | None = None) -> Taught:
    """Leave a teacher and its target store for ``scenario`` in ``out`` (default: where a run will look for it).

    ``threads`` is the number PyTorch computes with on the CPU (None: what fits machine and work). Raises
    :class:`UsageError` when the scenario needs no teacher, or the folder has another one.
    """
    folder = out or teacher_folder(scenario)
    if not scenario.signals.taught():
        able = " or ".join(f'"{name}"' for name, kind in SIGNALS.own.items() if kind.taught)
        raise UsageError(
            f"signals.kind = {scenario.signals.kind!r}: no layer of this scenario needs a teacher; "
            f"set it to {able}, or to a list that has one of them"
        )
    experiment = Experiment.open(scenario, device=device, exact=True)
    data, target, student = experiment.data, experiment.device, experiment.model.network
    teacher = build_teacher(scenario, data.num_classes, data.image_shape).to(target)
    use_threads(threads, scenario.teacher.batch_size * teacher.largest_flops)
    pairs = matching_layers(scenario, student, teacher)
    mean, std = teacher_statistics(scenario.teacher, data)
    pretrained = read_pretrained(scenario.teacher, teacher, target) if scenario.teacher.state_dict else None
    if pretrained is None:
        _refuse_single_images(scenario.teacher, teacher, len(data.train_labels))
    with _claimed(folder, _pinned(scenario)):
        taught = _fill(folder, experiment, teacher, pretrained, (pairs, mean, std), reporter)
    if out is not None and folder.resolve() != teacher_folder(scenario).resolve():
        reporter.note(f"runs find this teacher with --set signals.teacher={folder}")
    return taught


def _fill(
    folder: Path,
    experiment: Experiment,
    teacher: Teacher,
    pretrained: dict[str, Tensor] | None,
    matching: tuple[dict[int, int], Tensor, Tensor],
    reporter: Reporter,
) -> Taught:
    """Train ``teacher``, or give it the weights ``pretrained``, and leave it with its store in ``folder``.

    ``matching``: layers of student and teacher, mean and deviation of the colour channels.
    """
    scenario, data, student = experiment.scenario, experiment.data, experiment.model.network
    pairs, mean, std = matching
    if pretrained is not None:
        teacher.load_state_dict(pretrained)
    else:
        _train(experiment, teacher, folder, reporter)
    accuracy = test_accuracy(teacher, data, mean, std)
    if accuracy < NEAR_CHANCE / data.num_classes:
        reporter.warn(
            f"the teacher is right on {accuracy:.1%} of the test images, which is close to chance; train it for longer "
            "(teacher.epochs), or check the mapping, mean and std of your own"
        )
    save_checkpoint(folder, {"weights": teacher.state_dict()}, WEIGHTS)
    precision, views = scenario.teacher.precision, count_views(scenario.data)
    shapes = {layer: (student.layer_names[layer], student.state_shapes[layer]) for layer in pairs}
    bits = sum(scenario.teacher.sample_bits(math.prod(shape)) for _, shape in shapes.values())
    sizes = target_bytes(bits, len(data.train_labels), views)
    reporter.note(f"storing the targets of {len(data.train_labels):,} images in {views} views")
    live = LiveTargets(teacher, pairs, mean, std)
    about = {"teacher_digest": live.teacher_digest, "teacher_accuracy": accuracy}
    with write_store(
        folder / STORE, StoreKey.of(data, scenario.data), shapes, samples=len(data.train_labels), views=views,
        section=scenario.teacher, teacher=about,
    ) as store:  # fmt: skip
        _show_all(experiment, live, store, views)
    write_json(
        folder / "teacher.json",
        {
            "test_accuracy": accuracy, "teacher_digest": live.teacher_digest, "train_digest": data.train_digest,
            "source": scenario.teacher.state_dict or "trained here", "views": views, "precision": precision,
            **sizes, "versions": versions(),
        },
    )  # fmt: skip
    return Taught(folder, accuracy, views, **sizes)


def _pinned(scenario: Scenario) -> Scenario:
    """``scenario`` with the file of the teacher's weights named so that it is found from any directory."""
    if not scenario.teacher.state_dict:
        return scenario
    path = str(resources.at_home(scenario.teacher.state_dict).resolve())
    return scenario.model_copy(update={"teacher": scenario.teacher.model_copy(update={"state_dict": path})})


def _identity(scenario: Scenario) -> dict[str, object]:
    """All of ``scenario`` that the teacher and its stored targets depend on."""
    return {
        "seed": scenario.scenario.seed, "data": scenario.data.model_copy(update={"root": "", "test_samples": 0}),
        "teacher": scenario.teacher, "network": scenario.teacher.layer_plans(scenario.network),
        "taught": scenario.signals.taught(),
    }  # fmt: skip


@contextmanager
def _claimed(folder: Path, scenario: Scenario) -> Iterator[None]:
    """Make ``folder`` this scenario's, or go on in it when it was begun for one with the same teacher; inside the block
    no other command writes to it.
    """
    with ExitStack() as stack:
        try:
            if folder.exists() and not (folder / SCENARIO).exists():
                _require_empty(folder)
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(folder))
            mark = folder / SCENARIO
            if mark.exists():
                begun, wanted = _identity(load_scenario(mark)), _identity(scenario)
                if different := [name for name in wanted if begun[name] != wanted[name]]:
                    raise UsageError(
                        f"{folder}: holds a teacher of another scenario ({' and '.join(different)} differ, see "
                        f"{mark}); choose another --out, or move it away"
                    )
            else:
                _require_empty(folder)
                write_atomic(mark, dump_scenario(scenario).encode())
        except OSError as problem:
            raise UsageError(f"{folder}: cannot be written ({problem.strerror}); choose a writable --out") from problem
        yield


def _require_empty(folder: Path) -> None:
    if not folder.is_dir() or {entry.name for entry in folder.iterdir()} - {LOCK, temporary_of(folder / SCENARIO).name}:
        raise UsageError(f"{folder}: is not an empty folder and holds no teacher; choose another --out")


class _Lessons:
    """SGD with momentum 0.9 on the cross-entropy, half a cosine of learning rates."""

    def __init__(self, experiment: Experiment, teacher: Teacher) -> None:
        self.scenario, self.section, self.teacher = experiment.scenario, experiment.scenario.teacher, teacher
        self.data, self.device = data, device = experiment.data, experiment.device
        self.batches = len(batches_of(torch.arange(len(data.train_labels)), self.section.batch_size))
        self.feed = Feed(data.train_images, data.train_labels, device)
        self.channel_statistics = data.mean.to(device), data.std.to(device)
        self.sgd = torch.optim.SGD(
            teacher.parameters(), self.section.learning_rate, MOMENTUM, weight_decay=self.section.weight_decay,
            nesterov=True,
        )  # fmt: skip
        self.cosine = torch.optim.lr_scheduler.CosineAnnealingLR(self.sgd, self.batches * self.section.epochs)

    def load(self, folder: Path, table: CsvTable) -> int:
        """Go on where :meth:`save` was called last in ``folder``; the number of finished epochs."""
        if not (folder / TRAINING).is_file():
            return 0
        state = load_checkpoint(folder, self.device, TRAINING, AGAIN)
        try:
            if state["train_digest"] != self.data.train_digest:
                raise UsageError(f"{folder}: was begun on other images; restore them, or choose another --out")
            self.teacher.load_state_dict(state["weights"])
            self.sgd.load_state_dict(state["sgd"])
            self.cosine.load_state_dict(state["cosine"])
            table.load_state_dict(state["table"])
            return int(state["epoch"])
        except NeurosimError:
            raise
        except (KeyError, RuntimeError, TypeError, AttributeError) as problem:
            raise CheckpointError(
                f"{folder / TRAINING}: cannot be continued ({type(problem).__name__}); "
                "remove the folder and teach again"
            ) from problem

    def save(self, folder: Path, epochs: int, table: CsvTable) -> None:
        """Keep what :meth:`load` needs after ``epochs`` of them."""
        state = {
            "weights": self.teacher.state_dict(), "sgd": self.sgd.state_dict(), "cosine": self.cosine.state_dict(),
            "epoch": epochs, "train_digest": self.data.train_digest, "table": table.state_dict(),
        }  # fmt: skip
        save_checkpoint(folder, state, TRAINING)

    def epoch(self, epoch: int, reporter: Reporter) -> dict[str, float]:
        """Teach one epoch, from 0, and test; its row of the table."""
        began, seed, data = time.perf_counter(), self.scenario.scenario.seed, self.data
        order = torch.randperm(len(data.train_labels), generator=generator(seed, Stream.TEACHER_ORDER, epoch))
        random = generator(seed, Stream.TEACHER_AUGMENTATION, epoch)
        totals, rate = torch.zeros(2, device=self.device), self.cosine.get_last_lr()[0]
        self.teacher.train()
        for number, chosen in enumerate(batches_of(order, self.section.batch_size)):
            totals += self._step(chosen, random)
            reporter.batch(epoch + 1, number + 1)
        loss, correct = (totals.double() / len(order)).tolist()
        if not math.isfinite(loss):
            raise DivergenceError(f"the teacher diverged in epoch {epoch + 1}; lower teacher.learning_rate")
        return {
            "epoch": epoch + 1, "loss": loss, "train_accuracy": correct,
            "test_accuracy": test_accuracy(self.teacher, data, data.mean, data.std),
            "learning_rate": rate, "seconds": time.perf_counter() - began,
        }  # fmt: skip

    def _step(self, chosen: Tensor, random: torch.Generator) -> Tensor:
        """One update from the images ``chosen``; their summed loss and correct answers (2,)."""
        images, labels = self.feed.batch(chosen)
        images = show(images, draw_views(self.scenario.data, len(chosen), random), self.scenario.data)
        logits = self.teacher(channels_last(prepare(images, *self.channel_statistics)))
        loss = F.cross_entropy(logits, labels)
        self.sgd.zero_grad(set_to_none=True)
        loss.backward()
        self.sgd.step()
        self.cosine.step()
        return torch.stack([loss.detach() * len(chosen), (logits.argmax(1) == labels).sum()])


def _train(experiment: Experiment, teacher: Teacher, folder: Path, reporter: Reporter) -> None:
    """Teach as many epochs as are missing in ``folder``."""
    lessons, scenario = _Lessons(experiment, teacher), experiment.scenario
    epochs = scenario.teacher.epochs
    table = CsvTable(folder / "teacher.csv", COLUMNS)
    first = lessons.load(folder, table)
    table.cut()
    reporter.start(f"teacher of {scenario.scenario.name}: {epochs} epochs into {folder}", epochs, lessons.batches)
    for epoch in range(first, epochs):
        row = lessons.epoch(epoch, reporter)
        table.add([row])
        lessons.save(folder, epoch + 1, table)
        reporter.note(
            f"teacher epoch {epoch + 1}/{epochs}  loss {row['loss']:.4f}  train {row['train_accuracy']:.1%}  "
            f"test {row['test_accuracy']:.1%}  {row['seconds']:.1f} s"
        )


def _refuse_single_images(section: TeacherSection, teacher: Teacher, samples: int) -> None:
    """Raise :class:`ScenarioError` where a batch of one image leaves nothing to normalise over."""
    smallest = min(len(batch) for batch in batches_of(torch.arange(samples), section.batch_size))
    if smallest < 2 and teacher.needs_two:
        key = f"teacher.batch_size = {section.batch_size}" if samples > 1 else "data.train_samples = 1"
        raise ScenarioError(
            f"{key}: {teacher.needs_two} of the teacher has maps of 1x1, whose batch normalisation needs two images at "
            "once; raise it, or set teacher.batch_norm = false"
        )


def batches_of(order: Tensor, size: int) -> list[Tensor]:
    """``order`` (N,) in batches of ``size``; a last sample alone, which cannot be normalised over its batch, joins the
    batch before.
    """
    batches = list(order.split(size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


@torch.no_grad()
def test_accuracy(teacher: Teacher, data: Data, mean: Tensor, std: Tensor) -> float:
    """Fraction of the test images that the teacher gets right, its channels normalised by ``mean`` and ``std`` (C,)."""
    device = next(teacher.eval().parameters()).device
    mean, std, correct = mean.to(device), std.to(device), torch.zeros((), dtype=torch.int64, device=device)
    for images, labels in Feed(data.test_images, data.test_labels, device).parts(TEST_BATCH):
        logits = teacher(channels_last(prepare(images, mean, std)))
        correct += (logits.argmax(1) == labels).sum()
    return int(correct) / len(data.test_labels)


def _show_all(experiment: Experiment, live: LiveTargets, store: StoreWriter, views: int) -> None:
    """Store what the teacher shows for all training images in all ``views``."""
    data, device = experiment.data, experiment.device
    feed = Feed(data.train_images, data.train_labels, device)
    for view in range(views):
        for number, (images, _) in enumerate(feed.parts(AT_ONCE)):
            shown = torch.full((len(images),), view, device=device)
            store.put(view, number * AT_ONCE, live.look(show(images, shown, experiment.scenario.data)))
