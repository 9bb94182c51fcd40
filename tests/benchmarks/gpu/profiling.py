"""Which kernels a tick is made of."""

from __future__ import annotations

import torch
from relaxation import Product
from torch.profiler import ProfilerActivity

from gpu.cases import launched, subject_of
from gpu.session import POLICIES, PRECISIONS, Session
from neurosim_ep.scheduler.schedule import Schedule

TICKS, LISTED = 40, 6


def profile(session: Session) -> None:
    """A profiler table of the free phase per network, policy and precision, as files; the longest kernels as facts."""
    settings = [(policy, precision) for precision in PRECISIONS[:3] for policy in POLICIES[:2]]
    for name in session.networks:
        for policy, precision in settings[:1] if session.tiny else settings:
            _profile(session, name, policy, precision)


def _profile(session: Session, name: str, policy: str, precision: str) -> None:
    subject = subject_of(session, name, session.batch)
    product = launched(Product(subject, Schedule(policy, precision=precision), TICKS, 1))
    product.free()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if session.cuda else [])]
    with torch.profiler.profile(activities=activities) as seen:
        product.free()
        if session.cuda:
            torch.cuda.synchronize(session.device)
    key = "self_device_time_total" if session.cuda else "self_cpu_time_total"
    averages = seen.key_averages()
    path = session.file(f"profile_{name}_{policy}_{precision}.txt")
    path.write_text(averages.table(sort_by=key, row_limit=60, max_name_column_width=100), encoding="utf-8")
    work = [one for one in averages if getattr(one, key) > 0]
    if session.cuda:
        work = [one for one in work if one.device_type == torch.autograd.DeviceType.CUDA]
    total = sum(getattr(one, key) for one in work)
    calls = sum(one.count for one in work) / TICKS
    longest = sorted(work, key=lambda one: -getattr(one, key))[:LISTED]
    shares = {one.key[:60]: getattr(one, key) / total for one in longest}
    session.fact(
        f"{name}, {policy}, {precision}: {calls:.0f} {'kernels' if session.cuda else 'operations'} and "
        f"{total / TICKS / 1e3:.3f} ms a tick; {', '.join(f'{100 * s:.0f} % {key}' for key, s in shares.items())}",
        network=name, policy=policy, precision=precision, kernels=calls, ms=total / TICKS / 1e3, shares=shares,
        file=path.name,
    )  # fmt: skip
