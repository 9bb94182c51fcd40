"""Is what the device computes right? Against itself, without captured graphs, and against the CPU in float64."""

from __future__ import annotations

import itertools
import warnings
from collections import Counter
from pathlib import Path

import torch

from gpu.cases import apart, cosines, launched, product_of, subject_of
from gpu.session import POLICIES, PRECISIONS, Session
from neurosim_ep.scheduler.schedule import Schedule

LEAVING = {"tolerance": 1e-4, "nudge_tolerance": 1e-2}
NEVER = {"tolerance": 1e-9, "nudge_tolerance": 1e-9}
"""Tolerances at which the host looks and no sample leaves."""


def replay(session: Session) -> None:
    """Captured graphs against launching every operation: a difference is a stale pointer, a buffer that was missed or a
    stream that did not wait. The first use captures, the second one only replays.
    """
    subject = subject_of(session, "vgg7_le", session.batch)
    for policy, precision in sorted(itertools.product(POLICIES, PRECISIONS), key=_telling):
        schedule = Schedule(policy, precision=precision, **NEVER)
        plain = launched(product_of(session, subject, schedule)).present()
        captured = product_of(session, subject, schedule)
        for use in ("first", "second"):
            found, notes = apart(captured.present(), plain), " ".join(captured.engine.notes)
            session.fact(
                f"{policy}, {precision}, {use} use: replay and launch {found} {notes}".rstrip(),
                policy=policy, precision=precision, use=use, **found.values(),
            )  # fmt: skip
        session.tidy()


def _telling(setting: tuple[str, str]) -> tuple[bool, int]:
    """The defaults first, then one departure from them at a time."""
    policy, precision = setting
    return policy != POLICIES[0] and precision != PRECISIONS[0], PRECISIONS.index(precision)


def twice(session: Session) -> None:
    """Whether two engines give the same, with samples that leave at ticks the device decides."""
    subject = subject_of(session, "vgg7_le", session.batch)
    for policy, precision in itertools.product(POLICIES[:2], PRECISIONS[:3]):
        schedule = Schedule(policy, precision=precision, **LEAVING)
        one, other = (product_of(session, subject, schedule).present() for _ in range(2))
        found = apart(one, other)
        ticks = torch.equal(one.free_phase.ticks, other.free_phase.ticks)
        session.fact(
            f"{policy}, {precision}, samples leaving: two engines {found}, ticks {'equal' if ticks else 'DIFFER'}, "
            f"mean {float(one.free_phase.ticks.float().mean()):.1f}",
            policy=policy, precision=precision, ticks_equal=ticks, **found.values(),
        )  # fmt: skip


def exact(session: Session) -> None:
    """The same presentation on the CPU in float64."""
    width, batch = (session.width, session.batch) if session.tiny else (0.25, 16)
    for policy in POLICIES[:2]:
        oracle = subject_of(session, "vgg7_le", batch, width, torch.device("cpu"), torch.float64)
        theirs = product_of(session, oracle, Schedule(policy)).present()
        subject = subject_of(session, "vgg7_le", batch, width)
        for precision in PRECISIONS:
            ours = product_of(session, subject, Schedule(policy, precision=precision)).present()
            found, lowest = apart(ours, theirs), min(cosines(ours, theirs).values())
            session.fact(
                f"{policy}, {precision}: states within {found.states:.1e} of the CPU's in float64, "
                f"lowest cosine of a gradient {lowest:.6f}",
                policy=policy, precision=precision, lowest_cosine=lowest, **found.values(),
            )  # fmt: skip


def waits(session: Session) -> None:
    """Lines at which the host waits for the device in a presentation whose graphs are there."""
    for policy in POLICIES[:2]:
        subject = subject_of(session, "vgg7_le", session.batch)
        product = product_of(session, subject, Schedule(policy, **NEVER))
        product.present()
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as seen:
                warnings.simplefilter("always")
                product.present()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        places = Counter(f"{Path(one.filename).name}:{one.lineno}" for one in seen)
        by_line = ", ".join(f"{count} at {place}" for place, count in places.most_common()) or "nowhere"
        session.fact(f"{policy}: the host waits {places.total()} times: {by_line}", policy=policy, waits=dict(places))
