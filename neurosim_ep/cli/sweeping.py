"""The command about many runs."""

from __future__ import annotations

from pathlib import Path

import click

from neurosim_ep.cli import completion
from neurosim_ep.cli.answers import Answer, answering
from neurosim_ep.cli.group import cli
from neurosim_ep.cli.options import device_option


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

    def say(message: str) -> None:
        click.echo(message, err=True)

    progress = work_off(open_sweep(target, out, say), on, jobs, device, retry, say)
    rows, path = list(progress.rows.values()), progress.sweep.path / "points.csv"

    def show() -> None:
        for row in rows:
            click.echo(f"{row['point']}  {row['status']}  {outcome(row)}".rstrip())
        click.echo(path)

    return Answer({"points": rows, "table": path}, show)
