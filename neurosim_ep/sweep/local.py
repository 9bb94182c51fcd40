"""The points of a sweep on this machine: a command for each, so many at once, each with its share of cores and GPUs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from neurosim_ep.errors import RunInterrupted
from neurosim_ep.interrupts import closing, interruptible
from neurosim_ep.sweep.boards import LineBoard, LiveBoard
from neurosim_ep.sweep.directory import holding, is_held
from neurosim_ep.sweep.points import Point
from neurosim_ep.sweep.status import ENDED, OVER, Progress
from neurosim_ep.threads import CORES, free_cores

PAUSE = 0.2  # seconds between two looks at what is running
ANEW = ("waiting", "interrupted")
VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Slot:
    """A place for one command at a time: so many ``cores``, and the name of a ``gpu`` where there is one."""

    cores: int
    gpu: str | None = None

    def environment(self) -> dict[str, str]:
        """The environment of its command."""
        return {**os.environ, CORES: str(self.cores), **({VISIBLE: self.gpu} if self.gpu is not None else {})}


def make_slots(jobs: int | None, device: str) -> list[Slot]:
    """``jobs`` slots that share the free cores and the GPUs evenly; None: as many as there are GPUs, or else cores.

    ``device``: with "cpu", and "cuda:N" that names one, no GPU is assigned.
    """
    gpus, cores = visible_gpus() if device in ("auto", "cuda") else [], free_cores()
    count = jobs or len(gpus) or cores
    shares = [max(1, cores // count + (number < cores % count)) for number in range(count)]
    return [Slot(share, gpus[number % len(gpus)] if gpus else None) for number, share in enumerate(shares)]


def visible_gpus() -> list[str]:
    """How CUDA calls the GPUs that this process may use; asks the driver's own tool, as PyTorch takes long to load."""
    if (named := os.environ.get(VISIBLE)) is not None:
        return [name for name in map(str.strip, named.split(",")) if name and name != "-1"]
    if (tool := shutil.which("nvidia-smi")) is None:
        return []
    command = [tool, "--query-gpu=index", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.split() if done.returncode == 0 else []


@dataclass
class _Job:
    """A point that is computed in ``slot``, by a command of ours, or by one that an earlier sweep left behind."""

    point: Point
    slot: Slot | None
    process: subprocess.Popen[bytes] | None


def to_do(progress: Progress, retry: bool) -> list[Point]:
    """The points that are to be begun or gone on with; with ``retry`` those that failed, too."""
    wanted = (*ANEW, *(ENDED if retry else ()))
    return [point for point in progress.sweep.points if progress.status(point) in wanted]


class Local:
    """Works off the points of ``progress`` in ``slots``."""

    def __init__(self, progress: Progress, slots: Sequence[Slot], device: str, board: LineBoard | LiveBoard) -> None:
        self.progress, self.sweep, self.device, self.board = progress, progress.sweep, device, board
        self.free, self.jobs = deque(slots), list[_Job]()

    def work_off(self, retry: bool) -> None:
        """Return when nothing is left to do. Raises :class:`RunInterrupted` when the user stops it: what runs is told
        to stop after its last epoch, and waited for.
        """
        left = [point for point in self.sweep.points if self.progress.status(point) == "running"]
        queue = deque(to_do(self.progress, retry))
        with interruptible():
            try:
                for point in left:
                    self.jobs.append(_Job(point, self.free.popleft() if self.free else None, None))
                while queue or self.jobs:
                    while queue and self.free:
                        self._start(queue.popleft(), self.free.popleft())
                    time.sleep(PAUSE)
                    queue.extend(self._ended())
                    self.board.look([job.point for job in self.jobs])
            except BaseException as problem:
                with closing():
                    self._stop()
                if isinstance(problem, KeyboardInterrupt):
                    going_on = f"go on with: neurosim-ep sweep {self.sweep.path}"
                    raise RunInterrupted(f"interrupted; finished epochs are saved, {going_on}") from problem
                raise

    def _start(self, point: Point, slot: Slot) -> None:
        words = self.sweep.command(point, self.device)
        with holding(self.sweep.log(point), "a" if words[0] == "resume" else "w") as log:
            process = None
            if log is not None:
                process = subprocess.Popen(
                    [sys.executable, "-m", "neurosim_ep", *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    env=slot.environment(), start_new_session=True,
                )  # fmt: skip
            self.jobs.append(_Job(point, slot, process))
        self.progress.refresh([point])
        self.board.changed(self.progress.rows[point.name], "goes on" if words[0] == "resume" else "")

    def _ended(self) -> list[Point]:
        """Settle what has ended; points that somebody else's command left unfinished are to be gone on with."""
        again = []
        for job in list(self.jobs):
            code = job.process.poll() if job.process else (None if is_held(self.sweep.log(job.point)) else 0)
            if code is None:
                continue
            self.jobs.remove(job)
            if job.slot is not None:
                self.free.append(job.slot)
            self.progress.refresh([job.point])
            row = self.progress.rows[job.point.name]
            if job.process is None and row["status"] not in OVER:
                again.append(job.point)
            self.board.changed(row, _killed_by(code))
        return again

    def _stop(self) -> None:
        for job in self.jobs:
            if job.process is not None:
                job.process.terminate()
        for job in self.jobs:
            if job.process is not None:
                job.process.wait()
        self.progress.refresh()


def _killed_by(code: int) -> str:
    if code >= 0:
        return ""
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
