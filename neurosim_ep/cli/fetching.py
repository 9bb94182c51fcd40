"""Commands that bring what the package does not hold unpacked: images, and trained networks."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from neurosim_ep.cli.group import cli
from neurosim_ep.errors import UsageError, nearest


@cli.command("data")
@click.argument("kind")
@click.option("--to", "folder", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Its folder.")
@click.option("--from", "given", type=click.Path(path_type=Path), metavar="FILE", help="The archive, if it is here.")
def data_command(kind: str, folder: Path, given: Path | None) -> None:
    """Fetch the images of KIND, cifar10 or cifar100, from their official address.

    The archive is checked against its SHA-256 and stays packed. Where the connection broke, the same command goes on.
    """
    from neurosim_ep.data.fetching import fetch, official
    from neurosim_ep.units import format_si

    known = official()
    if kind not in known:
        raise UsageError(f"data {kind}: nobody offers these for fetching; {nearest(kind, known)}")
    wanted = known[kind]
    click.echo(f"{wanted.name} ({format_si(wanted.size, 'B')}) from {given or wanted.address}", err=True)
    with _progress(wanted.name, wanted.size) as tell:
        archive = fetch(wanted, folder, given, tell)
    click.echo(f"{archive}\nIts SHA-256 is that of the official archive. Name it to one command, or to all:")
    click.echo(f"  --set data.kind={kind} --set data.root={shlex.quote(str(folder))}")
    click.echo(f"  export NEUROSIM_EP_DATA={shlex.quote(str(folder.resolve()))}")


@contextmanager
def _progress(name: str, size: int) -> Iterator[Callable[[int], None]]:
    """Hears how many of ``size`` bytes are there and shows it on stderr: a bar on a terminal, else a line per tenth."""
    if sys.stderr.isatty():
        from rich import progress
        from rich.console import Console

        columns = (
            progress.TextColumn("{task.description}"), progress.BarColumn(), progress.DownloadColumn(),
            progress.TransferSpeedColumn(), progress.TimeRemainingColumn(),
        )  # fmt: skip
        with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(name, total=size)
            yield lambda done: bar.update(task, completed=done)
        return
    said = 0

    def say(done: int) -> None:
        nonlocal said
        if (tenth := 10 * done // size) > said:
            said = tenth
            click.echo(f"{name}: {10 * tenth} %", err=True)

    yield say
