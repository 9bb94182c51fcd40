"""All pictures of one or several runs: ``plot_runs``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from neurosim_ep.analysis import (
    breakeven,
    energy,
    events,
    gradients,
    heatmap,
    learning,
    memory,
    mesh,
    pareto,
    pulses,
    residual,
    resolution,
    states,
    sweep,
    tornado,
    tradeoff,
    utilisation,
)
from neurosim_ep.analysis.files import File, write
from neurosim_ep.analysis.groups import alone
from neurosim_ep.analysis.load import DoesNotConcern, NothingToDraw, Run, directory_names, open_runs
from neurosim_ep.analysis.points import points_of_sweep
from neurosim_ep.analysis.shares import do_all
from neurosim_ep.analysis.style import SCREEN, STYLE, Output, render
from neurosim_ep.errors import UsageError, nearest

PICTURES: dict[str, Callable[[Run], Figure]] = {
    "learning": lambda run: learning.draw(alone([run])),
    "states": states.draw,
    "gradients": lambda run: gradients.draw(alone([run])),
    "events": events.draw,
    "residual": residual.draw,
    "energy": energy.draw,
    "memory": memory.draw,
    "breakeven": breakeven.draw,
    "tornado": tornado.draw,
    "mesh": mesh.draw,
    "utilisation": utilisation.draw,
    "resolution": resolution.draw,
    "pulses": pulses.draw,
}

Drawing = tuple[Callable[[], Figure], Path]
"""What draws a picture, and its path without the ending."""


def picture(run: Run, name: str) -> Figure:
    """The picture ``name``, a key of :data:`PICTURES`, of ``run``, in the style of all.

    Raises :class:`UsageError` for another name, and where its input was not recorded.
    """
    if name not in PICTURES:
        raise UsageError(f'no picture "{name}"; {nearest(name, PICTURES)}')
    try:
        with matplotlib.rc_context(STYLE):
            return PICTURES[name](run)
    except NothingToDraw as reason:
        raise UsageError(f"no picture {name}: {reason}") from reason


def say_on_stderr(message: str) -> None:
    print(message, file=sys.stderr)


def plot_runs(
    run_dirs: Sequence[Path],
    out: Path | None = None,
    *,
    only: Sequence[str] = (),
    output: Output = SCREEN,
    say: Callable[[str], None] = say_on_stderr,
) -> list[Path]:
    """Draw every picture, or ``only`` those of these names, and return the files written, as ``output`` has them.

    One run: into ``out``, or the run's ``plots/``. Several runs: the pictures of each into
    ``out/<directory name>/``, or its own ``plots/``, and all gradient curves in one picture,
    ``gradients_compared``, cost against T, K or θ where they differ in one of them, ``cost_compared``, and accuracy
    against a number of the tiles where they differ in one, ``accuracy_swept``, into ``out``, or the ``plots/`` of the
    first run. Where directories have the same name, their parents come in front:
    ``out/A/r/`` and ``out/B/r/``. A directory given twice counts once. A picture whose input was not recorded is left
    out, and ``say`` is told why, unless it is of real tiles and the run's are ideal. Raises ``CheckpointError`` when a
    directory is not a run directory or one of its files is broken, :class:`UsageError` for a name of no picture.
    """
    runs = open_runs(run_dirs)
    jobs = [job for run, folder in zip(runs, _folders(runs, out), strict=True) for job in _jobs(run, folder)]
    if len(runs) > 1:
        together = out or runs[0].path / "plots"
        jobs.append((partial(gradients.draw, alone(runs)), together / "gradients_compared"))
        if tradeoff.varied(runs):
            jobs.append((partial(tradeoff.draw, runs), together / "cost_compared"))
        if sweep.varied(runs):
            jobs.append((partial(sweep.draw, runs), together / "accuracy_swept"))
    return write(draw_all(jobs, only, output, say))


def draw_run(path: Path) -> tuple[list[File], list[str]]:
    """The pictures of the run in ``path`` for its ``plots/``, and what :func:`plot_runs` would say; nothing is written.
    Raises :class:`CheckpointError` when the directory or one of its files is broken.
    """
    said: list[str] = []
    (run,) = open_runs([path])
    return draw_all(_jobs(run, *_folders([run], None)), (), SCREEN, said.append), said


def plot_sweep(
    path: Path,
    out: Path | None = None,
    *,
    x: str | None = None,
    only: Sequence[str] = (),
    output: Output = SCREEN,
    say: Callable[[str], None] = say_on_stderr,
) -> list[Path]:
    """Draw the pictures of the sweep directory ``path``, or ``only`` those of these names, into ``out``, or its
    ``plots/``; return the files written, as ``output`` has them.

    ``accuracy_against_KEY`` and ``cost_against_KEY`` for the key ``x``, or for every key that varies, ``heatmap`` where
    two vary, and ``pareto``, accuracy against energy. ``say`` is told why a picture is left out. Raises
    :class:`UsageError` when ``x`` does not vary, :class:`CheckpointError` when points.csv is broken.
    """
    try:
        points = points_of_sweep(path)
    except NothingToDraw as reason:
        raise UsageError(str(reason)) from reason
    folder, jobs = out or path / "plots", []
    for key in points.keys if x is None else [points.key(x)]:
        name = key.rpartition(".")[2]
        jobs.append((partial(sweep.draw_points, points, key), folder / f"accuracy_against_{name}"))
        jobs.append((partial(tradeoff.draw_points, points, key), folder / f"cost_against_{name}"))
    jobs.append((partial(heatmap.draw, points), folder / "heatmap"))
    jobs.append((partial(pareto.draw, points), folder / "pareto"))
    return write(draw_all(jobs, only, output, say))


def draw_all(
    jobs: Sequence[Drawing],
    only: Sequence[str],
    output: Output,
    say: Callable[[str], None],
) -> list[File]:
    """The files of each of ``jobs``, or ``only`` of those of these names; nothing is written."""
    names = list(dict.fromkeys(stem.name for _, stem in jobs))
    for asked in only:
        if asked not in names:
            raise UsageError(f"--only {asked}: no such picture here; {nearest(asked, names)}")
    jobs = [job for job in jobs if not only or job[1].name in only]
    drawn: list[File] = []
    for (_, stem), (files, reason) in zip(jobs, do_all([partial(_drawn, *job, output) for job in jobs]), strict=True):
        drawn += files
        if reason:
            say(f"no picture {stem.name}: {reason}")
    return drawn


def _jobs(run: Run, folder: Path) -> list[Drawing]:
    """All pictures of ``run``."""
    return [(partial(draw, run), folder / name) for name, draw in PICTURES.items()]


def _drawn(draw: Callable[[], Figure], stem: Path, output: Output) -> tuple[list[File], str]:
    """The files of a picture, or none and why nobody could draw it; no reason where it does not concern the run."""
    try:
        return render(draw, stem, output), ""
    except DoesNotConcern:
        return [], ""
    except NothingToDraw as reason:
        return [], str(reason)


def _folders(runs: Sequence[Run], out: Path | None) -> list[Path]:
    """The folder for the pictures of each run."""
    if out is None:
        return [run.path / "plots" for run in runs]
    return [out / name for name in directory_names(runs)] if len(runs) > 1 else [out]
