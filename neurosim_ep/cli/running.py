"""Commands that train, once or many times, or time training."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from neurosim_ep.cli import completion
from neurosim_ep.cli.answers import Answer, answering, print_pairs, say
from neurosim_ep.cli.group import cli
from neurosim_ep.cli.options import device_option, load, machine_options, run_options, set_option, shown_options
from neurosim_ep.display import table
from neurosim_ep.progress import make_reporter
from neurosim_ep.ranks import is_follower

if TYPE_CHECKING:
    from neurosim_ep.train.result import RunResult
    from neurosim_ep.train.teach import Taught


@cli.command("run")
@click.argument("scenario", shell_complete=completion.scenario_or_file)
@click.option("--out", type=click.Path(path_type=Path), help="Run directory; default runs/<time>_<name>_<id>.")
@set_option
@shown_options
@run_options
@answering
def run_command(
    scenario: str,
    out: Path | None,
    overrides: tuple[str, ...],
    device: str,
    threads: int | None,
    quiet: bool,
    **left_out: bool,
) -> Answer:
    """Train the network of SCENARIO, a TOML file or a shipped name."""
    quiet = quiet or is_follower()
    from neurosim_ep.scenario.load import NO_PLOTS, NO_REPORT

    off = [word for name, word in (("no_plots", NO_PLOTS), ("no_report", NO_REPORT)) if left_out[name]]
    loaded, path = load(scenario, (*overrides, *off), quiet)
    argv = click.get_current_context().obj
    from neurosim_ep.train.run import run

    with closing(make_reporter(quiet)) as reporter:
        result = run(loaded, out, device=device, threads=threads, reporter=reporter, argv=argv, source=path)
    return _ended(result, quiet)


@cli.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@set_option
@shown_options
@run_options
@answering
def resume(
    run_dir: Path,
    overrides: tuple[str, ...],
    device: str,
    threads: int | None,
    quiet: bool,
    **left_out: bool,
) -> Answer:
    """Continue the interrupted run in RUN_DIR.

    With the number of threads it began with, unless told otherwise. --set changes the scenario for the epochs to come,
    as --set training.epochs=20 adds epochs to a finished run; run.json keeps what was changed.
    """
    quiet = quiet or is_follower()
    from neurosim_ep.train.resume import resume

    with closing(make_reporter(quiet)) as reporter:
        result = resume(
            run_dir, device=device, threads=threads, reporter=reporter, plots=not left_out["no_plots"],
            report=not left_out["no_report"], overrides=overrides,
        )  # fmt: skip
    return _ended(result, quiet)


@cli.command()
@click.argument("scenario", shell_complete=completion.scenario_or_file)
@click.option("--out", type=click.Path(path_type=Path), help="Its folder; default: where a run looks for it.")
@set_option
@run_options
@answering
def teach(
    scenario: str,
    out: Path | None,
    overrides: tuple[str, ...],
    device: str,
    threads: int | None,
    quiet: bool,
) -> Answer:
    """Train a teacher for SCENARIO and store its targets.

    The teacher is a feed-forward network trained by backpropagation; what it shows at every layer whose signal is kd
    or kdw is stored for every training image and view.
    """
    loaded, _ = load(scenario, overrides, quiet)
    from neurosim_ep.train.teach import teach

    with closing(make_reporter(quiet)) as reporter:
        result = teach(loaded, out, device, reporter, threads)
    return _ended(result, quiet)


@cli.command("bench")
@click.argument("scenario", default="vgg11_le", shell_complete=completion.scenario_or_file)
@set_option
@machine_options
@answering
def bench_command(scenario: str, overrides: tuple[str, ...], device: str, threads: int | None) -> Answer:
    """Say how fast SCENARIO runs on this machine.

    Milliseconds per tick and phase, samples and operations per second, memory, and how long an epoch and the whole run
    will take. A few batches of a throw-away network; nothing is written.
    """
    loaded, _ = load(scenario, overrides)
    from neurosim_ep.train.bench import bench

    found = bench(loaded, device=device, threads=threads)

    def show() -> None:
        click.echo(f"{loaded.scenario.name}, one batch of {found.batch}\n\n{table(found.phase_rows())}\n")
        print_pairs(found.summary())
        click.echo()
        for note in (*found.extrapolated, *found.notes):
            click.echo(f"- {note}")

    return Answer(asdict(found), show)


@cli.command("sweep")
@click.argument("target", metavar="SWEEP_OR_DIR", shell_complete=completion.sweep_or_directory)
@click.option("--out", type=click.Path(path_type=Path), help="Sweep directory; default runs/<name of the file>.")
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help="Points at once; default: one per GPU, or else per core."
)
@click.option("--on", type=click.Choice(["local", "slurm"]), default="local", show_default=True, help="Where they run.")
@click.option("--retry", is_flag=True, help="Also try the points again that failed or diverged.")
@device_option
@answering
def sweep_command(target: str, out: Path | None, jobs: int | None, on: str, retry: bool, device: str) -> Answer:
    """Run, or estimate, all points of a sweep.

    SWEEP_OR_DIR is a sweep file, a shipped name, or the directory of a sweep that is to go on; so does the same command
    again. Finished points are never run again.
    """
    from neurosim_ep.sweep.boards import outcome
    from neurosim_ep.sweep.command import open_sweep, work_off

    progress = work_off(open_sweep(target, out, say), on, jobs, device, retry, say)
    rows, path = list(progress.rows.values()), progress.sweep.path / "points.csv"

    def show() -> None:
        for row in rows:
            click.echo(f"{row['point']}  {row['status']}  {outcome(row)}".rstrip())
        click.echo(path)

    return Answer({"points": rows, "table": path}, show)


def _ended(result: RunResult | Taught, quiet: bool) -> Answer:
    return Answer(asdict(result), lambda: None if quiet else print_pairs(result.summary()))
