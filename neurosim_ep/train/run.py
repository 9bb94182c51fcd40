"""A whole run: from a scenario to a complete run directory."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import InitVar, asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from neurosim_ep.errors import (
    DivergenceError,
    LostRankError,
    MachineError,
    NeurosimError,
    RunInterrupted,
    explained,
)
from neurosim_ep.experiment.copies import HARDWARE, copies
from neurosim_ep.experiment.device import device_name, peak_memory
from neurosim_ep.experiment.model import chip_model
from neurosim_ep.experiment.opening import Experiment
from neurosim_ep.interrupts import closing, interrupted, interruptible
from neurosim_ep.progress import Reporter, default_reporter
from neurosim_ep.ranks import Ranks, joined
from neurosim_ep.record.atomic import write_atomic
from neurosim_ep.record.checkpoint import save_checkpoint
from neurosim_ep.record.kept import SCENARIO, SOURCE, kept
from neurosim_ep.record.rundir import RunDirectory, iso_time, versions
from neurosim_ep.scenario.load import dump_scenario
from neurosim_ep.scenario.schema import Scenario
from neurosim_ep.telemetry.alerts import Alerts
from neurosim_ep.telemetry.evidence import Evidence
from neurosim_ep.telemetry.sinks.base import Sinks
from neurosim_ep.telemetry.tables import RunTables
from neurosim_ep.telemetry.verdict import Learning, judge
from neurosim_ep.train.pinned import pinned
from neurosim_ep.train.result import RunResult
from neurosim_ep.train.shared import follow, going_on, require_shareable, share_of, stopping_together
from neurosim_ep.train.trainer import Trainer
from neurosim_ep.train.within import Keeper, Within


def run(
    scenario: Scenario,
    out: Path | str | None = None,
    *,
    device: str = "auto",
    threads: int | None = None,
    reporter: Reporter | None = None,
    argv: Sequence[str] = (),
    source: Path | None = None,
) -> RunResult:
    """Train ``scenario`` and leave a run directory with its weights, tables, traffic and bill (docs/outputs.md).

    Processes that torchrun or srun has started share it (docs/clusters.md): all call this, the first of them writes.

    Args:
        scenario: what :func:`~neurosim_ep.load_scenario` gives.
        out: where the run directory is to be; by default a new one under ``runs/``.
        device: "auto", "cpu", "cuda" or "cuda:N".
        threads: how many PyTorch computes with on the CPU, which stays set; None: what fits machine and scenario.
        reporter: is told of epochs, warnings and batches; by default a notebook shows a bar, and elsewhere warnings
            alone are shown, on stderr.
        argv: the command, kept in ``run.json``.
        source: the file the scenario came from, kept as ``source.toml``.

    Returns:
        How the run ended: directory, final metrics (energies in joules and latencies in seconds, per training sample),
        seconds taken.

    Raises:
        UsageError: something is at ``out`` already, or this machine has no such ``device``.
        ScenarioError, HardwareModelError, DataError, CheckpointError: parts of the scenario that do not fit together,
            or images or a teacher that are missing or broken; nothing is written then.
        DivergenceError: states, loss or weights stopped being finite numbers.
        MachineError: disk or memory ran out, a file was taken away, or a process that shares the run has ended; the
            last finished epoch is saved, and of a long one what was done some minutes ago.
        RunInterrupted: Ctrl-C, SIGTERM or SIGHUP; the same is saved, and :func:`resume` goes on.
    """
    with joined(device) as (ranks, own_device):
        require_shareable(scenario, ranks)
        if ranks.first:
            return _begin(scenario, out, own_device, threads, ranks, reporter or default_reporter(), argv, source)
        experiment = Experiment.open(scenario, device=own_device, ranks=ranks)
        experiment.use_threads(threads, share_of(scenario, ranks))
        return follow(Trainer(experiment), 0)


def _begin(
    scenario: Scenario,
    out: Path | str | None,
    device: str,
    threads: int | None,
    ranks: Ranks,
    reporter: Reporter,
    argv: Sequence[str],
    source: Path | None,
) -> RunResult:
    """See :func:`run`; this is the first of the ``ranks``."""
    path = RunDirectory.target(None if out is None else Path(out), scenario.scenario.name, uuid.uuid4().hex[:6])
    with RunDirectory.claimed(path) as directory:
        experiment = Experiment.open(scenario, device=device, ranks=ranks)
        used = experiment.use_threads(threads, share_of(scenario, ranks))
        trainer, data, whole = Trainer(experiment), experiment.data, pinned(scenario)
        resolved = dump_scenario(whole).encode()
        files = {HARDWARE: chip_model(scenario.hardware).to_toml().encode(), **copies(scenario.hardware)}
        running = Running(directory, scenario, trainer, RunTables(directory, scenario, trainer.model), reporter)

        def begin() -> None:
            write_atomic(directory.path / SCENARIO, resolved)
            write_atomic(directory.path / SOURCE, source.read_bytes() if source else resolved)
            for name, content in files.items():
                write_atomic(directory.path / name, content)
            running.known = kept(directory.path, whole)
            running.tables.open()
            trainer.keep_warm_states(directory.checkpoints)
            running.save(0, {})
            directory.begin(
                scenario.scenario.name, seed=scenario.scenario.seed, versions=versions(),
                device=device_name(trainer.device), threads=used, processes=ranks.count,
                precision=trainer.engine.precision, argv=list(argv),
                data=data.noted(),
                teacher=trainer.taught_by, metrics={},
            )  # fmt: skip

        return train(running, begin, 0, {})


Metrics = dict[str, float | None]


@dataclass
class Running:
    """A run that goes on. ``known``: what of its directory the checkpoints keep, see ``record/kept``; ``within``: where
    within its first epoch it does.
    """

    directory: RunDirectory
    scenario: Scenario
    trainer: Trainer
    tables: RunTables
    reporter: Reporter
    known: Mapping[str, Any] = field(default_factory=dict)
    within: InitVar[Within | None] = None
    sinks: Sinks = field(init=False)
    alerts: Alerts = field(init=False)
    keeper: Keeper = field(init=False)

    def __post_init__(self, within: Within | None) -> None:
        self.alerts = Alerts(self.reporter.warn, self.directory.log)
        self.sinks = Sinks(self.scenario, self.directory.path, self.alerts.add)
        self.keeper = Keeper(self.trainer, self.directory.checkpoints, within, self.alerts.document)

    def judged(self, *, diverged: bool = False) -> Learning:
        """Whether the network has learned by now."""
        trainer = self.trainer
        return judge(
            Evidence.read(self.directory.path, self.scenario, trainer.data, trainer.targets, diverged=diverged)
        )

    def save(self, epoch: int, metrics: Metrics) -> None:
        """Checkpoint after ``epoch`` finished epochs."""
        warm = self.trainer.warm
        state = {
            "epoch": epoch, "metrics": metrics, "trainer": self.trainer.state_dict(),
            "tables": self.tables.state_dict(), "kept": dict(self.known),
            "warm": None if warm is None else warm.digest(epoch),
        }  # fmt: skip
        save_checkpoint(self.directory.checkpoints, state)
        self.keeper.forget()


def train(running: Running, begin: Callable[[], None], first: int, metrics: Metrics) -> RunResult:
    """Train the epochs from ``first`` on after ``begin`` has readied the run directory; close that however it ends."""
    directory, started, before = running.directory, time.perf_counter(), 0.0

    def close(status: str, *messages: str) -> None:
        running.reporter.close()
        warned = running.alerts.document()
        directory.settle(
            (*messages, status), status=status, finished=iso_time(datetime.now(UTC)), metrics=metrics,
            warnings=warned, seconds=before + time.perf_counter() - started,
        )  # fmt: skip
        with suppress(OSError):  # of run.log, which says that a sink failed
            running.sinks.end(status)
        if (now := running.alerts.document()) != warned:
            directory.settle((), warnings=now)

    ranks = running.trainer.ranks
    with interruptible():
        try:
            with stopping_together(ranks):
                ranks.told(directory.path.resolve())
                begin()
                noted = directory.info().get("seconds")
                before = float(noted) if isinstance(noted, int | float) else 0.0
                said = _start(running, first)
                running.sinks.begin(first)
                for epoch in range(first, running.scenario.training.epochs):
                    metrics = _one_epoch(running, epoch, metrics)
                    said = _say_new(running, said)
                    directory.update_run_json(
                        metrics=metrics, warnings=running.alerts.document(),
                        seconds=before + time.perf_counter() - started, peak_memory=peak_memory(running.trainer.device),
                    )  # fmt: skip
                    ranks.agree()
            drawing = _drawing(directory, running.reporter) if running.scenario.telemetry.plots else nullcontext(list)
            with drawing as draw:
                directory.update_run_json(verdict=running.tables.decide(), learning=asdict(running.judged()))
                plots = draw()
            running.tables.check()
        except BaseException as problem:
            with closing():
                status, error = _ending(problem, directory)
                if status == "diverged":
                    directory.update_run_json(learning=asdict(running.judged(diverged=True)))
                close(status, *([] if status == "interrupted" else [str(error) or repr(error)]))
            try:
                if error is problem:
                    raise
                raise error from problem
            finally:
                del error  # whose traceback holds this frame, and with it all files of the run
        with closing():
            close("done")
            if running.scenario.telemetry.report:
                _write_report(directory, running.reporter)
    return ranks.told(RunResult.noted(directory.path, directory.info(), running.scenario.training.epochs, plots))


def _start(running: Running, first: int) -> list[str]:
    """Say what begins, or goes on; returns the notes that were said."""
    trainer, epochs = running.trainer, running.scenario.training.epochs
    title = f"{running.scenario.scenario.name}: {epochs} epochs into {running.directory.path}"
    running.reporter.start(title, epochs, trainer.batches)
    shared = f"{trainer.ranks.count} processes, " if trainer.ranks.count > 1 else ""
    computed = f"on {trainer.device}, {shared}threads: {torch.get_num_threads()}, {trainer.engine.precision}"
    after = ""
    if (within := running.keeper.within) is not None:
        after = f" after {within.place.done} of {trainer.batches} batches"
        running.reporter.note(f"going on in epoch {first + 1}{after}")
    running.directory.log(f"start at epoch {first + 1} of {epochs}{after} {computed}")
    return _say_new(running, [])


def _ending(problem: BaseException, directory: RunDirectory) -> tuple[str, BaseException]:
    """The status of a run that ``problem`` ends, and what is said of it."""
    then = going_on(directory.now.path)
    if isinstance(problem, DivergenceError):
        return "diverged", problem
    if isinstance(problem, LostRankError):
        return "failed", LostRankError(f"{problem}; {then}")
    if isinstance(problem, KeyboardInterrupt) or (interrupted() and not isinstance(problem, NeurosimError)):
        return "interrupted", RunInterrupted(f"interrupted; {then}")
    if (sentence := explained(problem)) is not None:
        return "failed", MachineError(f"{sentence}; {then}")
    return "failed", problem


def _one_epoch(running: Running, epoch: int, metrics: Metrics) -> Metrics:
    directory, trainer, tables, reporter = running.directory, running.trainer, running.tables, running.reporter
    keeper, running.alerts.epoch = running.keeper, epoch + 1
    reporter.follow(trainer.so_far)
    record = keeper.train(epoch, lambda batch: reporter.batch(epoch + 1, batch), running.alerts.add)
    test = trainer.evaluate()
    trainer.compare_weights()
    row = tables.write(epoch + 1, record, test, keeper.seconds)
    best = max(metrics.get("best_test_accuracy") or 0.0, test.accuracy)
    kept = ("loss", "train_accuracy", "test_accuracy", "mean_ticks", "not_converged")
    metrics = {**{key: row[key] for key in kept}, "best_test_accuracy": best, **tables.cost_per_sample()}
    running.save(epoch + 1, metrics)
    if trainer.warm is not None:
        trainer.warm.forget_all_but(epoch + 1)
    reporter.epoch(row)
    running.sinks.epoch({**row, **metrics}, record.layers)
    directory.log(" ".join(f"{key}={value:.6g}" for key, value in row.items() if value is not None))
    return metrics


def _say_new(running: Running, said: list[str]) -> list[str]:
    """Report those of the trainer's notes that are not in ``said``; returns all of them."""
    notes = running.trainer.notes
    for note in notes:
        if note not in said:
            running.reporter.note(note)
            running.directory.log(note)
    return notes


def _write_report(directory: RunDirectory, reporter: Reporter) -> None:
    """Write report.html; whatever goes wrong in it does not spoil the run, which is done."""
    from neurosim_ep.report.page import write_report

    try:
        write_report(directory.path)
    except Exception as problem:
        reason = f"no report: {problem or repr(problem)}; `neurosim-ep report {directory.path}` tries again"
        reporter.warn(reason)
        with suppress(OSError):
            directory.log(reason)


@contextmanager
def _drawing(directory: RunDirectory, reporter: Reporter) -> Iterator[Callable[[], list[Path]]]:
    """What draws the pictures, which another process loads matplotlib for from now on."""
    from neurosim_ep.analysis.files import write
    from neurosim_ep.analysis.shares import ahead

    def drawn() -> Any:
        from neurosim_ep.analysis.plot import draw_run

        return draw_run(directory.path)

    with ahead(partial(import_module, "neurosim_ep.analysis.plot"), drawn) as later:

        def draw() -> list[Path]:
            reporter.stage("drawing the pictures")
            files, said = later()
            for reason in said:
                reporter.note(reason)
            return write(files)

        yield draw
