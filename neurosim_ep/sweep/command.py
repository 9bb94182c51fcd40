"""`neurosim-ep sweep`: begin a sweep, or go on with one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from neurosim_ep.errors import SweepError, UsageError
from neurosim_ep.record.lock import locked
from neurosim_ep.sweep import slurm
from neurosim_ep.sweep.boards import board
from neurosim_ep.sweep.directory import SweepDirectory
from neurosim_ep.sweep.file import find_sweep
from neurosim_ep.sweep.local import Local, make_slots, to_do
from neurosim_ep.sweep.points import Point, plan_sweep
from neurosim_ep.sweep.status import Progress

Say = Callable[[str], None]


def open_sweep(target: str, out: Path | None, say: Say) -> SweepDirectory:
    """The directory of the sweep ``target``, a sweep file, a shipped name or a sweep directory: ``out``, or
    ``runs/NAME``. It is made where it does not exist, after every point was checked.
    """
    if SweepDirectory.is_at(Path(target)):
        if out is not None:
            raise UsageError(f"--out {out}: {target} is a sweep directory and goes on where it is; leave --out out")
        return SweepDirectory.open(Path(target))
    source = find_sweep(target)
    path = out or Path("runs") / source.stem
    if SweepDirectory.is_at(path):
        sweep = SweepDirectory.open(path)
        sweep.require_source(source)
        return sweep
    plan = plan_sweep(source)
    if plan.left_out:
        say(f"the constraints leave out {plan.left_out} of {plan.left_out + len(plan.points)} points")
    return SweepDirectory.begin(path, source, plan)


def work_off(sweep: SweepDirectory, on: str, jobs: int | None, device: str, retry: bool, say: Say) -> Progress:
    """Compute what is left of ``sweep`` here, or submit it to Slurm.

    Raises :class:`SweepError` when points have failed, with their reasons, and :class:`RunInterrupted` when the user
    stops it.
    """
    with locked(sweep.path):
        progress = Progress(sweep)
        progress.refresh()
        say(f"{sweep.path}: {progress.counts()}")
        left = to_do(progress, retry)
        if on == "slurm":
            if _submitted(sweep, left, jobs, device, say):
                return progress
        elif left or "running" in map(progress.status, sweep.points):
            if found := slurm.queued(sweep):
                raise UsageError(f"{sweep.path}: {_queue(found)}; wait for them, or end them with scancel")
            slots = make_slots(jobs, device)
            with board(progress) as shown:
                Local(progress, slots[: max(1, len(left))], device, shown).work_off(retry)
        _tell_failed(progress)
        return progress


def _submitted(sweep: SweepDirectory, left: list[Point], jobs: int | None, device: str, say: Say) -> bool:
    """Whether what is ``left`` was submitted: not while there are jobs already, nor where nothing is."""
    if found := slurm.queued(sweep):
        say(f"{_queue(found)}; the same command again shows how far they are")
    elif left:
        number = slurm.submit(sweep, left, jobs, device)
        say(f"submitted {len(left)} points as job {number}; the same command again shows how far they are")
        return True
    return False


def _queue(numbers: list[str]) -> str:
    return f"Slurm still has jobs of this sweep ({', '.join(numbers)})"


def _tell_failed(progress: Progress) -> None:
    rows = [row for row in progress.rows.values() if row["status"] == "failed"]
    halves = [row for row in progress.rows.values() if row["status"] == "interrupted"]
    if rows:
        lines = [f"{row['point']}: {row.get('reason') or 'see its log'}" for row in rows]
        again = f"neurosim-ep sweep {progress.sweep.path} --retry"
        failed = f"{len(rows)} of {len(progress.rows)} points failed; try them again with `{again}`"
        raise SweepError("\n  ".join([failed, *lines]))
    if halves:
        names = ", ".join(str(row["point"]) for row in halves)
        raise SweepError(f"killed before the end: {names}; go on with: neurosim-ep sweep {progress.sweep.path}")
