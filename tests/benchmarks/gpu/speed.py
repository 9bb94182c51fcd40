"""How long ticks and whole steps take, and what they hold."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

from gpu_predictions import tick
from relaxation import Baseline, Product, settled, timed
from subject import Subject, load_subject

from gpu.cases import launched, subject_of
from gpu.machine import roof
from gpu.session import POLICIES, PRECISIONS, Session
from neurosim_ep.ep.arithmetic import tf32
from neurosim_ep.experiment.device import peak_memory
from neurosim_ep.scheduler.engine import Relaxation
from neurosim_ep.scheduler.presentation import EPGradients
from neurosim_ep.scheduler.schedule import Schedule

TICKS, TICKS_TINY = 96, 12
LARGE, SMALL = 256, (32, 8)
GOAL = 20.0
"""Times that a step should be faster than the reference on the same device (VGG-11, width 1, batch 128)."""


def ticks(session: Session) -> None:
    """Milliseconds of a tick of the free phase: the usual batch in every setting, then other batches."""
    usual = [(policy, precision, session.batch) for policy, precision in itertools.product(POLICIES[:2], PRECISIONS)]
    others = list(itertools.product(POLICIES[:1], PRECISIONS[:3], (LARGE, *SMALL)))
    for name in session.networks:
        for policy, precision, batch in usual if session.tiny else (*usual, *others):
            _tick(session, name, policy, precision, batch)
            session.tidy()


def _tick(session: Session, name: str, policy: str, precision: str, batch: int) -> None:
    subject, steps = subject_of(session, name, batch), TICKS_TINY if session.tiny else TICKS
    found = {}
    for way in ("captured", "launched") if session.cuda else ("launched",):
        product = Product(subject, Schedule(policy, precision=precision), steps, 1)
        if way == "launched":
            launched(product)
        product.free()
        found[way] = (
            1e3 * statistics.median(timed(session.device, product.free)[0] for _ in range(session.turns)) / steps
        )
    best = min(found.values())
    work = tick(subject.model.network, batch, "plain", precision)
    flop = sum(one.flop for one in work) / (2 if policy == "alternating" else 1)
    least = sum(roof(session.device, session.tiny).least_ms(one.flop, one.moved, precision) for one in work)
    session.fact(
        f"{name}, {policy}, {precision}, batch {batch}: "
        f"{', '.join(f'{ms:.3f} ms {way}' for way, ms in found.items())}, {flop / best / 1e9:.3g} TFLOP/s",
        network=name, policy=policy, precision=precision, batch=batch, ms=found, flop=flop,
        synchronous_roof_ms=least,
    )  # fmt: skip


def steps(session: Session) -> None:
    """Seconds of a free phase, nudge phases and update with the T and K of the paper, against the plain method."""
    for label, subject in _subjects(session):
        relaxation = subject.scenario.relaxation
        phases = (40, 10) if session.tiny else (relaxation.free_steps, relaxation.nudge_steps)
        reference = {}
        for precision, allowed in (("float32", False), ("tf32", True)):
            with tf32(allowed):
                reference[precision], memory, _ = _step(session, Baseline(subject, *phases).step)
            session.fact(
                f"{label}: a step of the reference in {precision} takes {reference[precision]:.3f} s, {memory}",
                network=label, method="reference", precision=precision, seconds=reference[precision], peak=memory,
            )  # fmt: skip
        for name, schedule in _schedules(relaxation.tolerance, relaxation.nudge_tolerance):
            seconds, memory, end = _step(session, Product(subject, schedule, *phases).step)
            ratio = reference["float32"] / seconds
            assert isinstance(end, EPGradients)
            session.fact(
                f"{label}, {name}: {seconds:.3f} s, {ratio:.1f} x the reference in float32 and "
                f"{reference['tf32'] / seconds:.1f} x it in TF32 (goal {GOAL:g}), {memory}, {_ticks(end)}",
                network=label, method=name, seconds=seconds, ratio=ratio, ratio_to_tf32=reference["tf32"] / seconds,
                peak=memory, free=settled(end.free_phase), nudge=settled(end.nudge_phases),
            )  # fmt: skip


def _subjects(session: Session) -> Iterator[tuple[str, Subject]]:
    """Trained networks of the runs given, then those of the paper with random weights."""
    for run in session.runs:
        if Path(run).is_dir():
            yield run, load_subject(Path(run), session.batch, session.device)
    for name in session.networks:
        yield f"{name}, untrained", subject_of(session, name, session.batch)


def _schedules(tolerance: float, nudge_tolerance: float) -> Iterator[tuple[str, Schedule]]:
    leaving = {"tolerance": tolerance or 1e-4, "nudge_tolerance": nudge_tolerance or 1e-2}
    for precision in PRECISIONS[:3]:
        yield f"alternating, {precision}", Schedule("alternating", precision=precision, **leaving)
    for precision in PRECISIONS[:2]:
        yield f"synchronous, {precision}", Schedule(precision=precision, **leaving)
        yield f"synchronous, {precision}, all ticks", Schedule(precision=precision)


def _step(session: Session, step: Callable[[], object]) -> tuple[float, str, object]:
    """Seconds of the second of two steps, the largest memory of both, and what the step gave."""
    session.tidy()
    timed(session.device, step)
    seconds, end = timed(session.device, step)
    peak = peak_memory(session.device) or {"bytes": 0, "where": "unknown"}
    return seconds, f"{int(str(peak['bytes'])) / 2**20:.0f} MiB ({peak['where']})", end


def _ticks(end: EPGradients) -> str:
    def mean(phase: Relaxation) -> float:
        return float(phase.ticks.float().mean())

    return f"mean ticks {mean(end.free_phase):.0f} + {mean(end.nudge_phases):.0f}"
