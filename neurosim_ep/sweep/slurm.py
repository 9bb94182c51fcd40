"""The points of a sweep on a cluster that Slurm manages: one array of jobs, whose script goes on where a point is."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from neurosim_ep.errors import SweepError, UsageError
from neurosim_ep.record.atomic import write_atomic, write_json
from neurosim_ep.resources import read_json
from neurosim_ep.sweep.directory import SweepDirectory
from neurosim_ep.sweep.points import Point

SCRIPT, JOBS = "slurm.sh", "slurm.json"
NOTICE = 120  # seconds before the time limit at which a run is told to save and stop


def submit(sweep: SweepDirectory, points: Sequence[Point], jobs: int | None, device: str) -> str:
    """Submit an array of jobs for ``points``, at most ``jobs`` of them at once; returns Slurm's number of it.

    Raises :class:`UsageError` where sbatch is missing or refuses.
    """
    if shutil.which("sbatch") is None:
        raise UsageError("--on slurm: there is no sbatch here; run this where jobs are submitted, or use --on local")
    script = sweep.path.resolve() / SCRIPT
    write_atomic(script, _script(sweep, device).encode())
    numbers = {point.name: number for number, point in enumerate(sweep.points, 1)}
    array = ",".join(_ranges([numbers[point.name] for point in points])) + (f"%{jobs}" if jobs else "")
    output = f"--output={script.parent}/logs/slurm-%A_%a.txt"  # what the shell says; the run has a log of its own
    command = ["sbatch", "--parsable", f"--array={array}", output, *sweep.slurm.options, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise UsageError(f"sbatch refused the jobs: {said}; mend [slurm] in the sweep file ({shlex.join(command)})")
    number = done.stdout.strip().split(";")[0]
    write_json(sweep.path / JOBS, {"jobs": [*submitted(sweep), number]})
    return number


def queued(sweep: SweepDirectory) -> list[str]:
    """Numbers of the arrays of this sweep that still have jobs waiting or running."""
    known = submitted(sweep)
    if not known or shutil.which("squeue") is None:
        return []
    found = []
    for number in known:  # one at a time: squeue fails for numbers that Slurm has forgotten
        done = subprocess.run(["squeue", "--noheader", "--jobs", number], capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout.strip():
            found.append(number)
    return found


def submitted(sweep: SweepDirectory) -> list[str]:
    """Numbers of all arrays of this sweep. Raises :class:`SweepError` where they are damaged."""
    path = sweep.path / JOBS
    if not path.exists():
        return []
    jobs = read_json(path, SweepError).get("jobs")
    if not isinstance(jobs, list) or not all(isinstance(number, str) for number in jobs):
        raise SweepError(f"{path}: damaged or edited: must hold the numbers of jobs; remove it once they have ended")
    return jobs


def _ranges(numbers: Sequence[int]) -> list[str]:
    """``1-3``, ``5`` for 1, 2, 3, 5."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return [str(first) if first == last else f"{first}-{last}" for first, last in found]


def _script(sweep: SweepDirectory, device: str) -> str:
    """Shell that computes the point with the number of the array's task; it may be started any number of times."""
    folder, here = sweep.path.resolve(), Path.cwd()
    lines = [
        "#!/bin/bash",
        f"#SBATCH --job-name={shlex.quote(folder.name)}",
        f"#SBATCH --signal=B:TERM@{NOTICE}",
        "set -e",
        f"cd {shlex.quote(str(here))}",
        *sweep.slurm.setup,
        f"sweep={shlex.quote(str(folder))}",
        'name=$(ls "$sweep/scenarios" | sed -n "${SLURM_ARRAY_TASK_ID}p")',
        "name=${name%.toml}",
        'exec 9>>"$sweep/logs/$name.log"',
        "if command -v flock > /dev/null; then",
        "  flock --wait 10 9 || exit 0    # another command computes this point",
        "fi",
    ]
    python, options = shlex.quote(sys.executable), f"--device {device}"
    if sweep.kind == "estimate":
        told = " ".join(f"--{key} {value}" for key, value in sweep.estimate.model_dump(exclude_none=True).items())
        lines += [
            '[ -e "$sweep/runs/$name" ] && exit 0',
            f'set -- estimate "$sweep/scenarios/$name.toml" --out "$sweep/runs/$name" {options} {told}',
        ]
    else:
        lines += [
            'if [ -e "$sweep/runs/$name/run.json" ]; then',
            f'  set -- resume "$sweep/runs/$name" {options}',
            "else",
            f'  set -- run "$sweep/scenarios/$name.toml" --out "$sweep/runs/$name" {options}',
            "fi",
        ]
    return "\n".join([*lines, f'exec {python} -m neurosim_ep "$@" >&9 2>&1', ""])
