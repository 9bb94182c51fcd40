"""`neurosim-ep bench`: how fast a scenario runs on this machine, before it runs for long."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import torch

from neurosim_ep.data.dataset import Data, sizes, stand_in
from neurosim_ep.ep.arithmetic import tf32
from neurosim_ep.ep.network import Network
from neurosim_ep.errors import DataError
from neurosim_ep.experiment.device import device_name, peak_memory
from neurosim_ep.experiment.opening import Experiment
from neurosim_ep.scenario.schema import Scenario
from neurosim_ep.scheduler.kernels import HALF
from neurosim_ep.scheduler.quiescence import Motion
from neurosim_ep.train.timing import PhaseTime, StepTime, StepTimer, now
from neurosim_ep.train.trainer import TEST_BATCH
from neurosim_ep.units import format_bits, format_time

SECONDS = 3.0  # that whole steps are timed for; where one takes longer, its phases are cut short
FEW = 4  # ticks of a phase that is cut short, at least
MOST_STEPS = 25
PRODUCT_SIDES = {"cpu": 1024, "cuda": 8192}  # of the matrices of the plain product
PRODUCTS = 8
UNTAUGHT = "what the teacher shows is left at 0; reading it is not counted"


@dataclass(frozen=True)
class PhaseSpeed:
    """A phase of one batch: ``ms`` = ``ticks`` x ``ms_per_tick``, ``ticks`` being those until its last sample is at
    rest, or all; ``mean_ticks`` those of a sample; ``at_rest`` the share of samples that come to rest (None: unknown).
    """

    ticks: int
    ms_per_tick: float
    ms: float
    mean_ticks: float
    at_rest: float | None


@dataclass(frozen=True)
class Bench:
    """What :func:`bench` found.

    ``free`` and ``nudge`` are None where the rule has no such phase. A feed-forward pass and the way back are part of
    the update; they count as one tick.
    ``update_ms``: images, gradients, optimiser and writing of tiles of one batch. ``recorded_step_ms``: a step of a
    batch whose traffic is recorded (None: none is). ``GFLOP_per_tick``: reads of a whole batch as direct sums, of which
    a CPU may need fewer operations (:mod:`~neurosim_ep.scheduler.arrangements`,
    :mod:`~neurosim_ep.scheduler.stillness`).
    ``reads_GFLOP_per_s`` and ``product_GFLOP_per_s``: reads as they are, and a product of large square matrices in the
    same precision with the same threads. ``extrapolated`` says which figures were not measured, and how they follow.
    """

    scenario: str
    device: str
    threads: int
    precision: str
    policy: str
    torch: str
    images: str
    batch: int
    epochs: int
    train_samples: int
    test_samples: int
    free: PhaseSpeed | None
    nudge: PhaseSpeed | None
    update_ms: float
    step_ms: float
    recorded_step_ms: float | None
    samples_per_second: float
    GFLOP_per_tick: float
    reads_GFLOP_per_s: float
    product_GFLOP_per_s: float
    peak_memory: dict[str, object] | None
    train_epoch_s: float
    test_epoch_s: float
    run_s: float
    extrapolated: list[str]
    notes: list[str]

    def phase_rows(self) -> list[dict[str, str]]:
        """A row per part of a step, for people."""
        rows = []
        for name, phase in (("free", self.free), ("nudge", self.nudge)):
            if phase is not None:
                rest = "-" if phase.at_rest is None else f"{phase.at_rest:.0%}"
                rows.append(_row(name, phase.ms, f"{phase.ticks}", _ms(phase.ms_per_tick, 3), rest))
        return [*rows, _row("update", self.update_ms), _row("step", self.step_ms)]

    def summary(self) -> list[tuple[str, str]]:
        """Rows (label, value) for people."""
        share = self.reads_GFLOP_per_s / self.product_GFLOP_per_s
        memory = self.peak_memory or {}
        rows = [
            ("computed on", f"{self.device}, threads: {self.threads}, {self.precision}, PyTorch {self.torch}"),
            ("images", f"{self.images}, batches of {self.batch}"),
            ("samples per second", f"{self.samples_per_second:.4g} in training"),
            ("reads", f"{self.reads_GFLOP_per_s:.3g} GFLOP/s, {self.GFLOP_per_tick:.3g} GFLOP per tick as direct sums"),
            ("plain matrix product", f"{self.product_GFLOP_per_s:.3g} GFLOP/s, of which the reads reach {share:.0%}"),
        ]
        if self.recorded_step_ms is not None:
            rows.append(("step with traffic", f"{_ms(self.recorded_step_ms)} ms, where a batch is recorded"))
        if memory:
            rows.append(("peak memory", f"{format_bits(8 * float(str(memory['bytes'])))} ({memory['where']})"))
        epoch = self.train_epoch_s + self.test_epoch_s
        return [
            *rows,
            ("epoch", f"{format_time(epoch)}: training {format_time(self.train_epoch_s)}, test "
                      f"{format_time(self.test_epoch_s)} (extrapolated)"),
            ("whole run", f"{format_time(self.run_s)} for {self.epochs} epochs (extrapolated)"),
        ]  # fmt: skip


def _row(part: str, ms: float, ticks: str = "-", per_tick: str = "-", rest: str = "-") -> dict[str, str]:
    return {"part": part, "ticks": ticks, "ms per tick": per_tick, "ms per batch": _ms(ms), "at rest": rest}


def _ms(ms: float, digits: int = 4) -> str:
    return f"{ms:,.0f}" if ms >= 1000 else f"{ms:.{digits}g}"


def bench(scenario: Scenario, *, device: str = "auto", threads: int | None = None) -> Bench:
    """Time the steps of ``scenario`` on its first batch; nothing is written.

    ``threads`` is the number PyTorch computes with on the CPU (None: what fits machine and work). Random images stand
    in for those that cannot be read, zeros for what a teacher shows. Raises what a run would raise for a scenario,
    hardware model or device that does not fit.
    """
    experiment, training = Experiment.open(scenario, device=device, blank=True), scenario.training
    data, (train_samples, test_samples), missing = _images(experiment)
    experiment = replace(experiment, given=data)
    target, network = experiment.device, experiment.model.network
    batch = min(training.batch_size, train_samples)
    used = experiment.use_threads(threads, batch)
    timer = StepTimer(experiment)
    full = scenario.relaxation.free_steps, scenario.relaxation.nudge_steps
    ticks = _ticks(timer, *full) if scenario.plasticity.relaxes else full
    steps = _timed(timer, ticks, whole=ticks == full)
    step = sorted(steps, key=lambda one: one.seconds)[len(steps) // 2]
    free, nudge, update_ms = _parts(scenario, step, ticks, whole=ticks == full)
    step_ms = sum(phase.ms for phase in (free, nudge) if phase) + update_ms
    recorded_ms, batches = None, math.ceil(train_samples / batch)
    epoch_ms = step_ms * batches
    if scenario.plasticity.on_tiles and scenario.telemetry.traffic_every:
        recorded_ms = step_ms * _recorded(timer, ticks) / step.seconds
        epoch_ms += (recorded_ms - step_ms) * math.ceil(batches / scenario.telemetry.traffic_every)
    tested_s = free.ms / 1e3 / batch if free and ticks != full else timer.test()
    train_s, test_s = epoch_ms / 1e3, tested_s * test_samples
    per_tick = reads_per_tick(network, timer.engine.policy.ticks) if free else backprop_flops(network)
    read_ticks = step.free.sample_ticks + step.nudge.sample_ticks if free else batch
    reading_s = step.free.seconds + step.nudge.seconds if free else step.seconds
    precision = timer.engine.precision
    return Bench(
        scenario.scenario.name, device_name(target), used, precision, scenario.scheduler.policy, torch.__version__,
        data.source, batch, training.epochs, train_samples, test_samples, free, nudge, update_ms, step_ms, recorded_ms,
        samples_per_second=1e3 * batch / step_ms,
        GFLOP_per_tick=1e-9 * per_tick * batch,
        reads_GFLOP_per_s=1e-9 * per_tick * read_ticks / reading_s,
        product_GFLOP_per_s=product_rate(target, precision),
        peak_memory=peak_memory(target),
        train_epoch_s=train_s,
        test_epoch_s=test_s,
        run_s=training.epochs * (train_s + test_s),
        extrapolated=_extrapolated(scenario, ticks, len(steps)),
        notes=[*timer.trainer.notes, *missing, *([UNTAUGHT] if scenario.signals.taught() else [])],
    )  # fmt: skip


def reads_per_tick(network: Network, step_ticks: int) -> float:
    """Floating-point operations of the reads of one sample per tick: every connection but the first is read once
    forwards and once backwards in ``step_ticks`` ticks.
    """
    return 2 * sum(edge.read_flops for edge in network.edges[1:]) / step_ticks


def backprop_flops(network: Network) -> float:
    """Floating-point operations of a feed-forward pass of one sample and of the way back: every connection is read
    forwards, every one but the first backwards, and each forms its gradient.
    """
    return 2 * sum(edge.read_flops for edge in network.edges) + sum(edge.read_flops for edge in network.edges[1:])


def product_rate(device: torch.device, precision: str) -> float:
    """GFLOP/s of a product of square matrices on ``device`` in ``precision``, the best of a few."""
    side = PRODUCT_SIDES[device.type]
    a, b = torch.ones(2, side, side, dtype=HALF.get(precision, torch.float32), device=device)
    seconds = []
    with tf32(False, products=precision == "tf32"):
        for _ in range(PRODUCTS):
            began = now(device)
            a @ b
            seconds.append(now(device) - began)
    return 2e-9 * side**3 / min(seconds)


def _images(experiment: Experiment) -> tuple[Data, tuple[int, int], list[str]]:
    """Images to present, with no more test images than one batch of them, the numbers that a run would use, and why
    the images are random, if they are.
    """
    section, batch = experiment.scenario.data, experiment.scenario.training.batch_size
    try:
        data = experiment.data
    except DataError as problem:
        numbers = sizes(section)
        samples, tests = min(batch, numbers[0]), min(TEST_BATCH, numbers[1])
        reason = f"random images stand in for those of the scenario, {numbers[0]:,} + {numbers[1]:,} of them: {problem}"
        return stand_in(section, samples, tests, experiment.scenario.scenario.seed), numbers, [reason]
    numbers = len(data.train_labels), len(data.test_labels)
    few = replace(data, test_images=data.test_images[:TEST_BATCH], test_labels=data.test_labels[:TEST_BATCH])
    return few, numbers, []


def _ticks(timer: StepTimer, free: int, nudge: int) -> tuple[int, int]:
    """Ticks of both phases, at most ``free`` and ``nudge``, that can be timed in the time there is. Warms all up."""
    few = min(FEW, free), min(FEW, nudge)
    with timer.cut(*few):
        timer.step()
        probe = timer.step()
    per_free, per_nudge = probe.free.seconds / few[0], probe.nudge.seconds / few[1]
    expected = free * per_free + nudge * per_nudge
    share = SECONDS / expected if expected > SECONDS else 1.0
    return max(few[0], int(free * share)), max(few[1], int(nudge * share))


def _timed(timer: StepTimer, ticks: tuple[int, int], *, whole: bool) -> list[StepTime]:
    """One cut step, or as many whole ones as there is time for."""
    with timer.cut(*ticks):
        if not whole:
            return [timer.step()]
        steps: list[StepTime] = []
        began = time.perf_counter()
        while len(steps) < MOST_STEPS and (not steps or time.perf_counter() - began < SECONDS):
            steps.append(timer.step())
    return steps


def _recorded(timer: StepTimer, ticks: tuple[int, int]) -> float:
    """Seconds of a step that is recorded."""
    with timer.cut(min(FEW, ticks[0]), min(FEW, ticks[1])):
        timer.step(recorded=True)
    with timer.cut(*ticks):
        return timer.step(recorded=True).seconds


def _parts(
    scenario: Scenario, step: StepTime, ticks: tuple[int, int], *, whole: bool
) -> tuple[PhaseSpeed | None, PhaseSpeed | None, float]:
    """Both phases of a step, where it has them, and milliseconds of the rest of it; those that were cut, as long as
    they are in a run.
    """
    relaxation = scenario.relaxation
    if not scenario.plasticity.relaxes:
        return None, None, 1e3 * step.rest_seconds
    free = _phase(step.free, relaxation.free_steps, relaxation.tolerance, whole=whole)
    nudge = None
    if step.nudge.ends:
        nudge = _phase(step.nudge, relaxation.nudge_steps, relaxation.nudge_tolerance, whole=whole)
    back = 1.0 if nudge else scenario.bptt_steps / min(scenario.bptt_steps, ticks[0])
    return free, nudge, 1e3 * step.rest_seconds * back


def _phase(time: PhaseTime, full: int, tolerance: float, *, whole: bool) -> PhaseSpeed:
    per_tick = 1e3 * time.seconds / time.ticks
    if not whole:
        return PhaseSpeed(full, per_tick, full * per_tick, full, None)
    samples = len(time.ends[-1].ticks)
    mean = sum(float(end.ticks.double().mean()) for end in time.ends)
    settled = int((time.ends[-1].motion == Motion.SETTLED).all(1).sum()) / samples if tolerance > 0 else None
    return PhaseSpeed(time.ticks, per_tick, time.ticks * per_tick, mean, settled)


def _extrapolated(scenario: Scenario, ticks: tuple[int, int], steps: int) -> list[str]:
    relaxation = scenario.relaxation
    lines = [
        "an epoch is as many of these steps as it has batches; samples of a trained network may come to rest sooner or "
        "later than those of the untrained one that was timed; pictures and checkpoints are left out"
    ]
    if ticks == (relaxation.free_steps, relaxation.nudge_steps):
        return [*lines, f"the step shown is the median of {steps}; a test image costs what one of a test batch does"]
    return [
        *lines,
        f"phases were cut to {ticks[0]} of {relaxation.free_steps} and {ticks[1]} of {relaxation.nudge_steps} ticks: "
        "the rest is taken to be as long, with no sample at rest, which is an upper bound; a test image costs a free "
        "phase",
    ]
