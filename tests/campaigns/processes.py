"""Commands as processes that start at once: copies of one that has everything loaded."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/helpers")]

SMALL = (
    "data.train_samples=12", "data.test_samples=6", "training.epochs=3", "relaxation.free_steps=2",
    "relaxation.nudge_steps=2", "training.batch_size=6", "telemetry.plots=false",
    "telemetry.report=false", "telemetry.traffic_every=1",
    "relaxation.warm_start=hdf5",
)  # fmt: skip
TAUGHT = (
    *SMALL[:-1],
    "signals.kind=kd",
    "signals.layers=[1]",
    "signals.learned=false",
    "teacher.epochs=3",
    "teacher.batch_size=6",
)


def sets(overrides: tuple[str, ...]) -> list[str]:
    return [word for override in overrides for word in ("--set", override)]


def load_everything() -> None:
    """Import what commands would."""
    import matplotlib  # noqa: F401
    import scipy.optimize  # noqa: F401
    import torch

    import neurosim_ep.analysis.diagnosis
    import neurosim_ep.analysis.plot
    import neurosim_ep.cli
    import neurosim_ep.diagnosis.gdu_report
    import neurosim_ep.diagnosis.report
    import neurosim_ep.record.export.booksim
    import neurosim_ep.record.recost
    import neurosim_ep.train.bench
    import neurosim_ep.train.estimate
    import neurosim_ep.train.teach  # noqa: F401

    torch.set_num_threads(1)


def start(words: list[str], told: Path, variables: Mapping[str, str] = MappingProxyType({})) -> int:
    """A command in a process of its own, whose output goes to the file ``told``; its number. ``variables`` are added to
    its environment.
    """
    held = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))  # before the program's first line
    if pid := os.fork():
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        return pid
    code = 70
    try:
        from neurosim_ep.__main__ import program
        from neurosim_ep.interrupts import listen

        os.environ.update(variables)
        descriptor = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for number in (1, 2):
            os.dup2(descriptor, number)
        sys.argv = ["neurosim-ep", *words]
        listen()
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        code = program()
        sys.stdout.flush()
        sys.stderr.flush()
    except KeyboardInterrupt:
        code = 130
    finally:
        os._exit(code)


def ended(pid: int, seconds: float = 300.0) -> int:
    """Exit code of a process, negative for the signal that ended it; one that does not end is killed: -99."""
    until = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return -99
        time.sleep(0.002)


def done(words: list[str], told: Path) -> None:
    """Run a command that must succeed."""
    code = ended(start(words, told))
    if code:
        raise SystemExit(f"{words}: {code}\n{told.read_text()}")
