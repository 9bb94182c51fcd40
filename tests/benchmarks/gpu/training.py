"""The product itself: a run made twice, and training for the time that is left."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

import neurosim_ep
from gpu.session import Session
from neurosim_ep.data.sources.base import ROOT_VARIABLE
from neurosim_ep.errors import NeurosimError, RunInterrupted
from neurosim_ep.progress import QuietReporter
from neurosim_ep.record.checkpoint import load_checkpoint
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.scenario.schema import Scenario
from neurosim_ep.train.resume import resume

LATE_S = 15.0
"""Kept for closing an interrupted run."""
SPEED_AFTER = (5, 50, 200)
"""Batches after which the speed of training is told."""


def scenario_of(session: Session, run: str) -> Scenario:
    """The scenario of ``run``: a name, a file, or a run directory."""
    folder = Path(run)
    small = ["data.train_samples=64", "data.test_samples=32", "network.width=0.05", "relaxation.free_steps=20",
             "relaxation.nudge_steps=6", "training.epochs=2", "training.batch_size=16"]  # fmt: skip
    if folder.is_dir():
        return load_scenario(folder / "scenario.toml", session.overrides)
    overrides = [*(small if session.tiny else []), *session.overrides]
    scenario = load_scenario(run, overrides)
    if scenario.data.kind == "textures" or scenario.data.root or os.environ.get(ROOT_VARIABLE):
        return scenario
    session.tell(f"{run}: {ROOT_VARIABLE} is not set, so it is trained on textures instead of {scenario.data.kind}")
    return load_scenario(run, [*overrides, "data.kind=textures"])


def smoke(session: Session) -> None:
    """An epoch of the product made twice gives the same weights."""
    overrides = ["data.train_samples=64", "data.test_samples=32"] if session.tiny else []
    weights, seconds = [], []
    with tempfile.TemporaryDirectory() as folder:
        for turn in ("first", "second"):
            out = Path(folder) / turn
            reporter = _Watched(session, "smoke", session.seconds_left, epochs=1)
            began = time.perf_counter()
            with suppress(RunInterrupted):
                neurosim_ep.run(load_scenario("smoke", overrides), out, device=str(session.device), reporter=reporter)
            seconds.append(time.perf_counter() - began)
            weights.append(load_checkpoint(out / "checkpoints", torch.device("cpu"))["trainer"]["network"])
    one, other = weights
    equal = all(torch.equal(one[name], other[name]) for name in one)
    session.fact(
        f"smoke, one epoch, made twice: weights {'are equal bit for bit' if equal else 'DIFFER'}, "
        f"{seconds[0]:.1f} s and {seconds[1]:.1f} s",
        equal=equal, seconds=seconds,
    )  # fmt: skip


def train(session: Session) -> None:
    """Train each run in turn for an equal part of the time that is left, epoch by epoch, also where another fails."""
    problems = []
    for place, run in enumerate(session.runs):
        seconds = session.seconds_left / (len(session.runs) - place) - LATE_S * session.share
        try:
            _train(session, run, seconds)
        except NeurosimError as problem:
            problems.append(problem)
    if problems:
        raise problems[0]


def _train(session: Session, run: str, seconds: float) -> None:
    out = session.file(f"run_{Path(run).name.removeprefix('run_').removesuffix('.toml')}")
    reporter = _Watched(session, run, seconds, epochs=1 if session.tiny else None)
    with suppress(RunInterrupted):
        if Path(run).is_dir():
            shutil.copytree(run, out)
            resume(out, device=str(session.device), reporter=reporter)
        else:
            neurosim_ep.run(scenario_of(session, run), out, device=str(session.device), reporter=reporter)
    session.fact(
        f"{run}: {reporter.done} epochs in this session; go on with neurosim-ep resume {out}",
        run=run, epochs=reporter.done, directory=str(out),
    )  # fmt: skip


class _Watched(QuietReporter):
    """Tells every epoch as a fact, and interrupts the run when its ``seconds`` are over or after ``epochs``."""

    def __init__(self, session: Session, run: str, seconds: float, epochs: int | None = None) -> None:
        self.session, self.run, self.epochs, self.done = session, run, epochs, 0
        self._began = time.perf_counter()
        self._until = self._began + seconds
        self._batches = self._size = 0

    def start(self, title: str, epochs: int, batches: int) -> None:
        self._batches, self._began = batches, time.perf_counter()

    def batch(self, epoch: int, batch: int) -> None:
        now = time.perf_counter()
        if now > self._until:
            raise KeyboardInterrupt
        if self.done == 0 and batch in SPEED_AFTER:
            each = (now - self._began) / batch
            self.session.tell(
                f"{self.run}: {1e3 * each:.0f} ms a batch after {batch}, so {each * self._batches:.0f} s an epoch "
                f"before testing; {self._until - now:.0f} s left",
                run=self.run, seconds_per_batch=each, batches=self._batches,
            )  # fmt: skip

    def epoch(self, row: Mapping[str, Any]) -> None:
        self.done += 1
        self.session.tell(
            f"{self.run}, epoch {row['epoch']:.0f}: loss {row['loss']:.4f}, train {row['train_accuracy']:.2%}, "
            f"test {row['test_accuracy']:.2%}, mean ticks {row['mean_ticks']:.1f}, {row['seconds']:.1f} s",
            run=self.run, **{key: value for key, value in row.items() if value is not None},
        )  # fmt: skip
        if self.done == self.epochs:
            raise KeyboardInterrupt

    def note(self, message: str) -> None:
        self.session.tell(f"{self.run}: {message}")

    def warn(self, message: str) -> None:
        self.session.tell(f"{self.run}: warning: {message}")
