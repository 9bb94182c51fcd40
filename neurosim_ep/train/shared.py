"""A run that several processes share: what may be shared, and what those do that keep no run directory."""

from __future__ import annotations

import math
import time
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path

from neurosim_ep.errors import LostRankError, RunInterrupted, ScenarioError, UsageError
from neurosim_ep.interrupts import closing, interruptible
from neurosim_ep.ranks import Ranks
from neurosim_ep.record.checkpoint import WITHIN
from neurosim_ep.record.lock import locked
from neurosim_ep.record.rundir import RunDirectory, iso_time
from neurosim_ep.scenario.load import dump_scenario
from neurosim_ep.scenario.schema import Scenario
from neurosim_ep.train.result import RunResult
from neurosim_ep.train.trainer import Trainer
from neurosim_ep.train.within import Keeper, Within

PATIENCE, PAUSE = 5.0, 0.05
"""Seconds in which the first process has said how the run ended, or let go of its directory; and between two looks."""


def require_shareable(scenario: Scenario, ranks: Ranks) -> None:
    """Raise :class:`ScenarioError` where several processes cannot share ``scenario``, :class:`UsageError` where they
    were not given the same.
    """
    device = scenario.hardware.device
    if ranks.count > 1 and not device.ideal and device.update != "difference":
        raise ScenarioError(
            f"hardware.device.update = {device.update}: writes the samples of a batch one after the other, each into "
            f"the devices that the one before has changed, which {ranks.count} processes cannot share; run one "
            "process, or set it to difference"
        )
    placeless = scenario.data.model_copy(update={"root": ""})  # images may lie in another place on each machine
    if len(set(ranks.exchanged(dump_scenario(scenario.model_copy(update={"data": placeless}))))) > 1:
        raise UsageError(f"the {ranks.count} processes were given different scenarios or --set; give all the same")


def share_of(scenario: Scenario, ranks: Ranks) -> int:
    """Samples of a batch that one process takes, at most."""
    return math.ceil(scenario.training.batch_size / ranks.count)


def stopping_together(ranks: Ranks) -> AbstractContextManager[None]:
    """Inside the block a signal to one of several ``ranks`` stops none before all of them agree to stop."""
    return closing() if ranks.count > 1 else nullcontext()


def going_on(path: Path) -> str:
    """What to do with the run in ``path`` that has ended too early."""
    if not RunDirectory(path).run_json.exists():
        return "nothing of the run is kept"
    part = " and part of the next" if (RunDirectory(path).checkpoints / WITHIN).exists() else ""
    return f"finished epochs{part} are saved, go on with: neurosim-ep resume {path}"


def follow(trainer: Trainer, first: int, within: Within | None = None) -> RunResult:
    """Train the epochs from ``first`` on, that from where it was ``within`` it, with a first process that has the run
    directory; how it ended there.

    Raises :class:`RunInterrupted` when all were told to stop, :class:`LostRankError` when one has ended.
    """
    ranks, path = trainer.ranks, Path()
    with interruptible(), stopping_together(ranks):
        try:
            path = ranks.told(path)
            trainer.keep_warm_states(RunDirectory(path).checkpoints)
            keeper = Keeper(trainer, RunDirectory(path).checkpoints, within)
            for epoch in range(first, trainer.scenario.training.epochs):
                keeper.train(epoch, lambda batch: None, lambda alert: None)
                trainer.evaluate()
                trainer.compare_weights()
                if trainer.warm is not None:
                    trainer.warm.digest(epoch + 1)
                ranks.agree()
            return ranks.told(RunResult(path, "done", {}, 0, 0.0))
        except KeyboardInterrupt:
            raise RunInterrupted(f"interrupted; {going_on(path)}") from None
        except LostRankError as problem:
            raise _said(problem, path) from problem


def _said(problem: LostRankError, path: Path) -> LostRankError:
    """``problem``, to be said aloud where the process that has ended is the one that would have said it; the run in
    ``path`` is closed then.
    """
    until = time.monotonic() + PATIENCE
    with suppress(OSError, ValueError):  # no run has begun there
        while RunDirectory.open(path).info()["status"] == "running" and time.monotonic() < until:
            with suppress(UsageError), locked(path):
                told = LostRankError(f"{problem}; {going_on(path)}")
                told.aloud = True
                RunDirectory(path).settle((str(told), "failed"), status="failed", finished=iso_time(datetime.now(UTC)))
                return told
            time.sleep(PAUSE)
    return problem
