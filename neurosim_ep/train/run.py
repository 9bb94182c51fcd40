"""A whole run: from a scenario to a complete run directory, and on from where an interrupted one stopped."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from neurosim_ep import resources
from neurosim_ep.data.sources.base import ROOT_VARIABLE
from neurosim_ep.data.views import count_views
from neurosim_ep.errors import DivergenceError, HardwareModelError, RunInterrupted
from neurosim_ep.experiment.device import device_name, peak_memory
from neurosim_ep.experiment.model import chip_model
from neurosim_ep.experiment.opening import HARDWARE, SCENARIO, Experiment
from neurosim_ep.progress import QuietReporter, Reporter
from neurosim_ep.record.checkpoint import save_checkpoint
from neurosim_ep.record.rundir import RunDirectory, iso_time, versions, write_atomic
from neurosim_ep.registry import SOURCES
from neurosim_ep.scenario.load import dump_scenario
from neurosim_ep.scenario.schema import Scenario, Section
from neurosim_ep.teacher.store import target_bytes
from neurosim_ep.teacher.targets import teacher_folder
from neurosim_ep.telemetry.tables import RunTables
from neurosim_ep.threads import MOST, free_cores
from neurosim_ep.train.result import RunResult
from neurosim_ep.train.trainer import Trainer


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

    Args:
        scenario: what :func:`~neurosim_ep.load_scenario` gives.
        out: where the run directory is to be; by default a new one under ``runs/``.
        device: "auto", "cpu", "cuda" or "cuda:N".
        threads: how many PyTorch computes with on the CPU, which stays set; None: what fits machine and scenario.
        reporter: is told of epochs, warnings and batches; by default warnings alone are shown, on stderr.
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
        RunInterrupted: Ctrl-C or SIGTERM; the last finished epoch is saved, and :func:`resume` goes on.
    """
    path = RunDirectory.target(None if out is None else Path(out), scenario.scenario.name, uuid.uuid4().hex[:6])
    experiment = Experiment.open(scenario, device=device)
    used = experiment.use_threads(threads, scenario.training.batch_size)
    trainer, data = Trainer(experiment), experiment.data
    resolved = dump_scenario(_pinned(scenario)).encode()
    hardware = chip_model(scenario.hardware)
    with RunDirectory.staged(path, scenario.scenario.name) as directory:
        write_atomic(directory.path / SCENARIO, resolved)
        write_atomic(directory.path / "source.toml", source.read_bytes() if source else resolved)
        write_atomic(directory.path / HARDWARE, hardware.to_toml().encode())
        directory.update_run_json(
            seed=scenario.scenario.seed, versions=versions(), device=device_name(trainer.device),
            threads=used, precision=trainer.engine.precision,
            argv=list(argv), data={"source": data.source, "digest": data.digest, "classes": data.num_classes},
            teacher=_teacher(trainer), metrics={},
        )  # fmt: skip
        tables = RunTables(directory, scenario, trainer.model)
        tables.open()
        _save(directory, trainer, tables, 0, {})
    directory = RunDirectory(path)
    tables = RunTables(directory, scenario, trainer.model)
    return _train(directory, scenario, trainer, tables, reporter or QuietReporter(), 0, {})


def _teacher(trainer: Trainer) -> dict[str, object] | None:
    """What this run's targets come from, the bytes of them that are read per sample and per epoch, and those of all
    views, which lie outside the chip.
    """
    if trainer.targets is None:
        return None
    bits = sum(signal.off_chip_bits for signal in trainer.model.signal_projections)
    views = count_views(trainer.scenario.data)
    return {
        "digest": trainer.targets.teacher_digest, "live": trainer.scenario.signals.live, "views": views,
        **target_bytes(bits, len(trainer.data.train_labels), views),
    }  # fmt: skip


def _pinned(scenario: Scenario) -> Scenario:
    """``scenario`` with its files named so that it repeats the run from any directory."""
    changes: dict[str, Section] = {}
    root = scenario.data.root or os.environ.get(ROOT_VARIABLE, "")
    if "root" in SOURCES[scenario.data.kind].takes:
        changes["data"] = scenario.data.model_copy(update={"root": str(Path(root).expanduser().resolve())})
    if scenario.signals.taught():
        folder = str(teacher_folder(scenario).resolve())
        changes["signals"] = scenario.signals.model_copy(update={"teacher": folder})
    hardware = scenario.hardware
    changes["hardware"] = hardware.model_copy(
        update={
            "model": _path(hardware.model, "hwmodels"),
            "converters": _with_path(hardware.converters, "preset", "hwmodels/converters"),
            "cells": _with_path(hardware.cells, "statistics", "hwmodels/cells"),
            "device": _with_path(hardware.device, "preset", "hwmodels/devices"),
        }
    )
    return scenario.model_copy(update=changes)


def _with_path(section: Section, key: str, folder: str) -> Section:
    return section.model_copy(update={key: _path(getattr(section, key), folder)})


def _path(name: str, folder: str) -> str:
    """``name`` of a shipped file of ``folder`` as it is, that of any other as a whole path."""
    if name == "none":
        return name
    path, shipped = resources.resolve(name, folder, HardwareModelError)
    return name if shipped else str(path.resolve())


def resume(
    run_dir: Path | str,
    *,
    device: str = "auto",
    threads: int | None = None,
    reporter: Reporter | None = None,
    plots: bool = True,
) -> RunResult:
    """Go on with an interrupted run after its last finished epoch; a finished run is only reported.

    On the same kind of device and as many threads, it ends as if it had never been interrupted, bit for bit.

    Args:
        run_dir: the directory that :func:`run` left.
        device: "auto", "cpu", "cuda" or "cuda:N"; it need not be that of the run.
        threads: None: as many as the run began with, as another number sums in another order.
        reporter: as of :func:`run`.
        plots: whether the final pictures are drawn where the scenario asks for them.

    Returns:
        How the run ended, as :func:`run` does.

    Raises:
        CheckpointError, DataError: directory or checkpoint cannot be used, or teacher or images are others; and as run.
    """
    experiment = Experiment.open(run_dir, device=device)
    directory, scenario = experiment.run, experiment.scenario
    if not plots:
        silent = scenario.telemetry.model_copy(update={"plots": False})
        scenario = scenario.model_copy(update={"telemetry": silent})
    reporter = reporter or QuietReporter()
    with experiment.reading() as info:
        status = info["status"]
        asked = _threads(info) if threads is None else threads
    if status == "done":
        reporter.note(f"{directory.path}: this run is complete; nothing to resume")
        return RunResult(
            directory.path,
            "done",
            info["metrics"],
            scenario.training.epochs,
            info["seconds"],
            teacher=info.get("teacher"),
            verdict=info.get("verdict", []),
        )
    used = experiment.use_threads(asked, scenario.training.batch_size)
    if threads is None and used > (free := free_cores()):
        reporter.note(f"computing with the {used} threads of this run on {free} free cores; --threads {free} is faster")
    trainer, state = Trainer(experiment), experiment.checkpoint
    tables = RunTables(directory, scenario, trainer.model)
    with experiment.fitting():
        trainer.optimiser.load_state_dict(state["trainer"]["optimiser"])
        tables.load_state_dict(state["tables"])
        metrics = dict(state["metrics"])
    epoch = experiment.epoch
    tables.truncate_to(epoch)
    directory.update_run_json(
        status="running", versions=versions(), device=device_name(trainer.device), threads=used,
        precision=trainer.engine.precision,
    )  # fmt: skip
    return _train(directory, scenario, trainer, tables, reporter, epoch, metrics)


def _threads(info: Mapping[str, Any]) -> int | None:
    """The number of threads that run.json names; None where it names none, as in runs of earlier versions."""
    named = info.get("threads")
    return named if type(named) is int and 1 <= named <= MOST else None


def _train(
    directory: RunDirectory,
    scenario: Scenario,
    trainer: Trainer,
    tables: RunTables,
    reporter: Reporter,
    first: int,
    metrics: dict[str, float | None],
) -> RunResult:
    """Train the epochs from ``first`` on, book each of them, and close the run directory."""
    epochs = scenario.training.epochs
    before, started = float(directory.info().get("seconds", 0.0)), time.perf_counter()

    def seconds() -> float:
        return before + time.perf_counter() - started

    reporter.start(f"{scenario.scenario.name}: {epochs} epochs into {directory.path}", epochs, trainer.batches)
    computed = f"on {trainer.device}, threads: {torch.get_num_threads()}, {trainer.engine.precision}"
    directory.log(f"start at epoch {first + 1} of {epochs} {computed}")
    trainer.keep_warm_states(directory.checkpoints)
    try:
        with _terminate_as_interrupt():
            said = _say_new(trainer.notes, [], directory, reporter)
            for epoch in range(first, epochs):
                metrics = _one_epoch(directory, trainer, tables, reporter, epoch, metrics)
                said = _say_new(trainer.notes, said, directory, reporter)
                directory.update_run_json(metrics=metrics, seconds=seconds(), peak_memory=peak_memory(trainer.device))
            directory.update_run_json(verdict=tables.decide())
            plots = _draw(directory, reporter) if scenario.telemetry.plots else []
    except KeyboardInterrupt:
        _close(directory, "interrupted", seconds(), metrics)
        raise RunInterrupted(
            f"interrupted; finished epochs are saved, go on with: neurosim-ep resume {directory.path}"
        ) from None
    except DivergenceError as problem:
        directory.log(str(problem))
        _close(directory, "diverged", seconds(), metrics)
        raise
    except Exception as problem:
        directory.log(f"failed: {problem!r}")
        _close(directory, "failed", seconds(), metrics)
        raise
    _close(directory, "done", seconds(), metrics)
    info = directory.info()
    return RunResult(
        directory.path, "done", metrics, epochs, seconds(), plots, info.get("teacher"), info.get("verdict", [])
    )


def _one_epoch(
    directory: RunDirectory,
    trainer: Trainer,
    tables: RunTables,
    reporter: Reporter,
    epoch: int,
    metrics: dict[str, float | None],
) -> dict[str, float | None]:
    began = time.perf_counter()

    def warn(message: str) -> None:
        reporter.warn(message)
        directory.log(f"warning: {message}")

    record = trainer.train_epoch(
        epoch, lambda batch: reporter.batch(epoch + 1, batch), lambda message: warn(f"epoch {epoch + 1}: {message}")
    )
    test = trainer.evaluate()
    row = tables.write(epoch + 1, record, test, time.perf_counter() - began)
    best = max(metrics.get("best_test_accuracy") or 0.0, test.accuracy)
    kept = ("loss", "train_accuracy", "test_accuracy", "mean_ticks", "not_converged")
    metrics = {**{key: row[key] for key in kept}, "best_test_accuracy": best, **tables.cost_per_sample()}
    _save(directory, trainer, tables, epoch + 1, metrics)
    if trainer.warm is not None:
        trainer.warm.forget_all_but(epoch + 1)
    reporter.epoch(row)
    directory.log(" ".join(f"{key}={value:.6g}" for key, value in row.items() if value is not None))
    moving = record.settling["not_converged"] or 0.0
    if moving > 0.5:
        warn(
            f"{moving:.0%} of the samples still moved at the last free tick; "
            "raise relaxation.free_steps, or weaken the coupling (training.weight_decay up, network.weight_scale down)"
        )
    return metrics


def _say_new(notes: list[str], said: list[str], directory: RunDirectory, reporter: Reporter) -> list[str]:
    """Report those of ``notes`` that are not in ``said``; returns all of them."""
    for note in notes:
        if note not in said:
            reporter.note(note)
            directory.log(note)
    return notes


def _save(
    directory: RunDirectory, trainer: Trainer, tables: RunTables, epoch: int, metrics: dict[str, float | None]
) -> None:
    """Checkpoint after ``epoch`` finished epochs."""
    state = {"epoch": epoch, "metrics": metrics, "trainer": trainer.state_dict(), "tables": tables.state_dict()}
    save_checkpoint(directory.checkpoints, state)


def _draw(directory: RunDirectory, reporter: Reporter) -> list[Path]:
    from neurosim_ep.analysis.plot import plot_runs

    reporter.note("drawing the pictures")
    return plot_runs([directory.path], say=reporter.note)


def _close(directory: RunDirectory, status: str, seconds: float, metrics: dict[str, float | None]) -> None:
    directory.log(status)
    directory.update_run_json(status=status, finished=iso_time(datetime.now(UTC)), seconds=seconds, metrics=metrics)


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM, as batch systems send it, like Ctrl-C while the block runs."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
