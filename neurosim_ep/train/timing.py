"""Steps of a throw-away trainer, timed phase by phase, with phases cut short where they would take long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from neurosim_ep.experiment.opening import Experiment
from neurosim_ep.scheduler.engine import Engine, Relaxation
from neurosim_ep.train.trainer import Trainer


def now(device: torch.device) -> float:
    """Seconds of a steady clock, once ``device`` has done everything it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@dataclass
class PhaseTime:
    """Seconds of one phase, and the ends of its parts (BPTT relaxes in two)."""

    seconds: float = 0.0
    ends: list[Relaxation] = field(default_factory=list)

    @property
    def ticks(self) -> int:
        """Ticks until the last sample was at rest, or all of them."""
        return sum(int(end.ticks.max()) for end in self.ends)

    @property
    def sample_ticks(self) -> int:
        """Ticks of all rows: a sample has one for each of the phases that ran side by side."""
        return sum(int(end.ticks.sum()) * (len(end.states[0]) // len(end.ticks)) for end in self.ends)


@dataclass(frozen=True)
class StepTime:
    """Seconds of a whole step, and its phases; ``nudge`` is empty under BPTT."""

    seconds: float
    free: PhaseTime
    nudge: PhaseTime

    @property
    def rest_seconds(self) -> float:
        """What is not relaxation: images, gradients, optimiser, writing of tiles, counting."""
        return self.seconds - self.free.seconds - self.nudge.seconds


class TimedEngine(Engine):
    """An engine that notes how long each phase takes; the device's queue is empty before and after."""

    def begin(self) -> None:
        """A step or a test begins; what was noted before stays as it is."""
        self.free, self.nudge = PhaseTime(), PhaseTime()

    def relax(self, *arguments: Any, **options: Any) -> Relaxation:
        """See :meth:`~neurosim_ep.scheduler.engine.Engine.relax`."""
        began = now(self.device)
        end = super().relax(*arguments, **options)
        phase = self.free if options.get("nudge") is None else self.nudge
        phase.seconds += now(self.device) - began
        phase.ends.append(end)
        return end


STANDSTILL = 1e-12  # of every learning rate: an update does all its work and changes no weight


class StepTimer:
    """Gives a trainer of ``experiment`` the first batch of the first epoch again and again.

    The network stays untrained, so that all steps are the same; only devices that pulses write learn from it, as what
    their writing costs follows from the pulses.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.scenario, self.device, self.steps = experiment.scenario, experiment.device, 0
        self.trainer, model = Trainer(experiment), experiment.model
        self.engine = TimedEngine(model.network, self.trainer.engine.schedule, self.trainer.engine.feedback)
        self.trainer.engine = self.engine
        if model.tiles is None or not model.tiles.pulsed:
            rates = self.trainer.optimiser.base_rates
            self.trainer.optimiser.base_rates = {name: STANDSTILL * rate for name, rate in rates.items()}

    @contextmanager
    def cut(self, free: int, nudge: int) -> Iterator[None]:
        """Phases of ``free`` and ``nudge`` ticks while the block runs; BPTT goes back through at most so many."""
        scenario = self.scenario
        relaxation = scenario.relaxation.model_copy(update={"free_steps": free, "nudge_steps": nudge})
        plasticity = scenario.plasticity.model_copy(update={"bptt_steps": min(scenario.bptt_steps, free)})
        self.trainer.scenario = scenario.model_copy(update={"relaxation": relaxation, "plasticity": plasticity})
        try:
            yield
        finally:
            self.trainer.scenario = scenario

    def step(self, *, recorded: bool = False) -> StepTime:
        """One step: both phases and the update."""
        self.engine.begin()
        began = now(self.device)
        self.trainer.first_batch(self.steps, recorded=recorded)
        self.steps += 1
        return StepTime(now(self.device) - began, self.engine.free, self.engine.nudge)

    def test(self) -> float:
        """Seconds per test image."""
        self.engine.begin()
        began = now(self.device)
        self.trainer.evaluate()
        return (now(self.device) - began) / len(self.trainer.data.test_labels)
