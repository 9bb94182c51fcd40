"""How many threads PyTorch computes with on the CPU, and that they sleep while there is nothing to do.

Training is chaotic in the order of summation, so the number follows from the machine and the work alone, never from how
busy the machine happens to be.
"""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

from neurosim_ep.errors import UsageError

MOST = 1024  # more threads than any machine has cores; OpenMP aborts the process where it cannot make them
FLOPS_PER_THREAD = 64e6  # of one read of a batch: measured, see docs/performance.md
CORES = "NEUROSIM_EP_CORES"
"""The variable that says how many of the cores are for this process, where several share the machine."""
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def wait_passively() -> None:
    """Let idle OpenMP threads sleep instead of spin, unless the user has chosen, or it is too late to.

    Threads that spin keep a core from whoever has work for it; OpenMP reads its variables once, when PyTorch is loaded.
    """
    if "torch" not in sys.modules and not any(name in os.environ for name in WAITING):
        os.environ["OMP_WAIT_POLICY"] = "passive"


def use_threads(asked: int | None, flops: float) -> int:
    """Let PyTorch compute with ``asked`` threads, or with :func:`default_threads`; returns the number.

    ``flops``: floating-point operations of the largest read of a batch. Raises :class:`UsageError` unless the number
    lies between 1 and ``MOST``.
    """
    if asked is not None and not 1 <= asked <= MOST:
        raise UsageError(f"threads = {asked}: must be 1 to {MOST}; leave it out for a number that fits the machine")
    import torch

    number = default_threads(flops) if asked is None else asked
    torch.set_num_threads(number)
    return number


def default_threads(flops: float) -> int:
    """``OMP_NUM_THREADS`` where the user has set it; else as many of the free cores as have work enough each."""
    named = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if named.isdecimal() and int(named) > 0:
        return min(int(named), MOST)
    return max(1, min(free_cores(), int(flops // FLOPS_PER_THREAD)))


def free_cores(root: Path = Path("/")) -> int:
    """Cores that this process may use: those of its affinity, hyperthreads of a core counted once, and no more than
    the time its control groups grant, or ``NEUROSIM_EP_CORES`` says. ``root`` is where /proc and /sys lie.
    """
    places = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores = {_siblings(root, place) for place in places}
    named = os.environ.get(CORES, "")
    share = int(named) if named.isdecimal() and int(named) > 0 else math.inf
    return max(1, math.floor(min(len(cores), _granted(root), share)))


def _siblings(root: Path, place: int) -> str:
    """The logical processors of the core that has number ``place``."""
    path = root / f"sys/devices/system/cpu/cpu{place}/topology/thread_siblings_list"
    return _text(path).strip() or str(place)


def _granted(root: Path) -> float:
    """Seconds of computing per second that the control groups of this process, and those around them, allow."""
    granted = math.inf
    for line in _text(root / "proc/self/cgroup").splitlines():
        if line.count(":") < 2:
            continue
        _, controllers, path = line.split(":", 2)
        second = not controllers
        if not second and "cpu" not in controllers.split(","):
            continue
        top, inside = root / "sys/fs/cgroup" / ("" if second else "cpu"), Path(path.lstrip("/"))
        for folder in (inside, *inside.parents):
            granted = min(granted, _quota(top / folder, second))
    return granted


def _quota(group: Path, second: bool) -> float:
    """What a control group of version 2, or else of version 1, grants: quota over period; no limit where it is given in
    another way, as some sandboxes give it.
    """
    if second:
        quota, _, period = _text(group / "cpu.max").partition(" ")
    else:
        quota, period = (_text(group / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    try:
        granted = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return math.inf
    return granted if granted > 0 else math.inf


def _text(path: Path) -> str:
    """The contents of ``path``; nothing where it cannot be read."""
    try:
        return path.read_text()
    except OSError:
        return ""
