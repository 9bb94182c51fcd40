"""Runs that go on where they stopped, or beyond where they ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from neurosim_ep.errors import CheckpointError, UsageError
from neurosim_ep.experiment.device import device_name
from neurosim_ep.experiment.opening import Experiment
from neurosim_ep.progress import Reporter, default_reporter
from neurosim_ep.ranks import joined
from neurosim_ep.record.atomic import write_atomic
from neurosim_ep.record.kept import PLACES, SCENARIO, kept, keys_of
from neurosim_ep.record.lock import locked
from neurosim_ep.record.rundir import RunDirectory, iso_time, versions
from neurosim_ep.scenario.load import dump_scenario, load_scenario
from neurosim_ep.telemetry.tables import RunTables, require_tables
from neurosim_ep.threads import MOST, free_cores
from neurosim_ep.train.pinned import pinned_data
from neurosim_ep.train.result import RunResult
from neurosim_ep.train.run import Running, train
from neurosim_ep.train.shared import follow, require_shareable, share_of
from neurosim_ep.train.trainer import Trainer
from neurosim_ep.train.within import again, read_within


def resume(
    run_dir: Path | str,
    *,
    device: str = "auto",
    threads: int | None = None,
    reporter: Reporter | None = None,
    plots: bool = True,
    report: bool = True,
    overrides: Sequence[str] = (),
) -> RunResult:
    """Go on with an interrupted run after its last finished epoch, or within the next one where part of that is saved;
    a finished run is only reported.

    On the same kind of device and as many threads, it ends as if it had never been interrupted, bit for bit.

    Args:
        run_dir: the directory that :func:`run` left.
        device: "auto", "cpu", "cuda" or "cuda:N"; it need not be that of the run.
        threads: None: as many as the run began with, as another number sums in another order.
        reporter: as of :func:`run`.
        plots: whether the final pictures are drawn where the scenario asks for them.
        report: whether report.html is written, likewise.
        overrides: ``section.key=value`` each, of the scenario for the epochs to come, such as more of them; kept in
            ``run.json`` as ``changes``.

    Returns:
        How the run ended, as :func:`run` does.

    Raises:
        CheckpointError, DataError: a file of the directory is damaged, missing or not what the run left, or teacher or
            images are others; and as run.
    """
    directory = RunDirectory.open(Path(run_dir))
    reporter = reporter or default_reporter()
    if directory.info().get("status") == "done" and not overrides:
        result = _report(Experiment.open(run_dir, device=device))
        reporter.note(f"{directory.path}: this run is complete; nothing to resume (--set training.epochs=N trains on)")
        return result
    with joined(device) as (ranks, own_device), ExitStack() as stack:
        lock = stack.enter_context(locked(directory.path)) if ranks.first else None
        experiment = Experiment.open(run_dir, device=own_device, overrides=overrides, ranks=ranks)
        require_shareable(experiment.scenario, ranks)
        experiment = replace(experiment, directory=replace(directory, lock=lock), overridden=False)
        return _go_on(experiment, threads, reporter, {"plots": plots, "report": report}, overrides)


def _report(experiment: Experiment) -> RunResult:
    """How a finished run ended, once its tables have been found to be what it left."""
    if "kept" in experiment.checkpoint:  # not of earlier versions
        with experiment.fitting():
            require_tables(experiment.run.path, experiment.checkpoint["tables"], experiment.epoch)
    with experiment.reading() as info:
        result = RunResult.noted(experiment.run.path, info, experiment.scenario.training.epochs)
        result.summary()  # which needs all that a run writes there
    return result


def _go_on(
    experiment: Experiment, threads: int | None, reporter: Reporter, shown: Mapping[str, bool], overrides: Sequence[str]
) -> RunResult:
    """See :func:`resume`; the directory is locked by the first of the processes. ``shown``: keys of telemetry that may
    be off for this time.
    """
    directory, ranks = experiment.run, experiment.ranks
    lost: list[str] = []
    within = read_within(directory.checkpoints, experiment.epoch, ranks, experiment.device, lost.append)
    if within is not None and keys_of(overrides) - PLACES:
        lost.append(f"{again(within.epoch, within.place.done)}, as changes hold for whole epochs")
        within = None
    if within is not None:
        experiment = replace(experiment, checkpoint={**experiment.checkpoint, "trainer": within.trainer})
    state = experiment.checkpoint
    whole = pinned_data(load_scenario(directory.path / SCENARIO, overrides))
    with experiment.reading() as info:
        asked, changes = _threads(info) if threads is None else threads, list(info.get("changes") or [])
        warned = list(info.get("warnings") or [])
    used = experiment.use_threads(asked, share_of(whole, ranks))
    if ranks.first and threads is None and used > (free := free_cores()):
        reporter.note(f"computing with the {used} threads of this run on {free} free cores; --threads {free} is faster")
    wanted = {key: getattr(whole.telemetry, key) and here for key, here in shown.items()}
    telemetry = whole.telemetry.model_copy(update=wanted)
    scenario = whole.model_copy(update={"telemetry": telemetry})
    trainer, epoch = Trainer(experiment), experiment.epoch
    if overrides and epoch >= whole.training.epochs:
        raise UsageError(
            f"training.epochs = {whole.training.epochs}: {epoch} epochs are finished; set more of them to go on"
        )
    if "kept" not in state:
        raise CheckpointError(
            f"{directory.checkpoints}: saved by an earlier version, which kept no digests of the run's files; resume "
            "with the version that run.json names, or start the run again"
        )
    running = Running(
        directory, scenario, trainer, RunTables(directory, scenario, trainer.model), reporter,
        kept(directory.path, whole), within,
    )  # fmt: skip
    trainer.keep_warm_states(directory.checkpoints)
    with experiment.fitting():
        trainer.optimiser.load_state_dict(state["trainer"]["optimiser"])
        running.tables.load_state_dict(state["tables"], epoch)
        running.alerts.go_on_after(*((epoch, warned) if within is None else (epoch + 1, within.alerts)))
        running.alerts.epoch = epoch + 1
        metrics = dict(state["metrics"])
        if trainer.warm is not None:
            trainer.warm.require(epoch, state["warm"])
            if ranks.first:
                trainer.warm.forget_all_but(epoch, *([] if within is None else [epoch + 1]))
    ranks.agree()  # all have read what the first is about to change
    if not ranks.first:
        return follow(trainer, epoch, within)

    def begin() -> None:
        now = {"epoch": epoch, "set": list(overrides), "time": iso_time(datetime.now(UTC))}
        directory.update_run_json(
            status="running", versions=versions(), device=device_name(trainer.device), threads=used,
            processes=ranks.count, precision=trainer.engine.precision,
            **({"changes": [*changes, now]} if overrides else {}),
        )  # fmt: skip
        for note in lost:
            reporter.note(note)
        running.tables.go_on_after(epoch)
        if within is None:
            running.keeper.forget()
        if overrides:
            directory.log(f"changed after epoch {epoch}: {', '.join(overrides)}")
            write_atomic(directory.path / SCENARIO, dump_scenario(whole).encode())
            if within is None:
                running.save(epoch, metrics)

    return train(running, begin, epoch, metrics)


def _threads(info: Mapping[str, Any]) -> int | None:
    """The number of threads that run.json names; None where it names none, as in runs of earlier versions."""
    named = info.get("threads")
    return named if type(named) is int and 1 <= named <= MOST else None
