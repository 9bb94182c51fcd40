"""Commands that show a run or a sweep to people: a report to hand on, and a run that goes on."""

from __future__ import annotations

from pathlib import Path

import click

from neurosim_ep.cli.group import cli


@cli.command("report")
@click.argument("target", type=click.Path(path_type=Path), metavar="RUN_DIR|SWEEP_DIR")
@click.option("--out", type=click.Path(path_type=Path), help="The file; default: report.html in the directory.")
def report_command(target: Path, out: Path | None) -> None:
    """Write one HTML file that says what a run or a sweep did.

    Pictures, findings in words, tables that sort and save, where every number of the bill comes from, and the command
    that repeats it. The file loads nothing: it can be mailed and printed.
    """
    from neurosim_ep.sweep.directory import SweepDirectory

    if SweepDirectory.is_at(target):
        from neurosim_ep.sweep.status import Progress

        Progress(SweepDirectory.open(target)).refresh()
    from neurosim_ep.report.page import write_report

    click.echo(write_report(target, out))


@cli.command("watch")
@click.argument("run_dir", type=click.Path(path_type=Path))
def watch_command(run_dir: Path) -> None:
    """Show the run in RUN_DIR while it goes on.

    Its epochs as a table and as curves, until it ends; a run that has ended is shown once.
    """
    from rich.console import Console

    from neurosim_ep.report.watch import watch

    watch(run_dir, Console())
