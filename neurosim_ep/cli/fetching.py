"""Commands that bring what one works with: images, trained networks, and what the shell completes."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from neurosim_ep.cli import completion
from neurosim_ep.cli.answers import print_pairs
from neurosim_ep.cli.group import cli
from neurosim_ep.display import table
from neurosim_ep.errors import UsageError, nearest


@cli.command("data")
@click.argument("kind", shell_complete=completion.image_kind)
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


@cli.command("get")
@click.argument("name", required=False, shell_complete=completion.trained)
@click.option("--out", type=click.Path(path_type=Path), help="Run directory, new or empty; default runs/NAME.")
def get_command(name: str | None, out: Path | None) -> None:
    """Unpack the trained network NAME as a finished run, to try what can be done with one.

    Without NAME: list those that ship with the package.
    """
    from neurosim_ep.record.trained import Trained, trained_files

    if name is None:
        click.echo(table([Trained.read(path).row() for path in trained_files().values()]))
        return
    found = Trained.named(name)
    folder = out or Path("runs") / name
    found.unpack(folder)
    run = shlex.quote(str(folder))
    print_pairs([*found.provenance(), ("run directory", str(folder))])
    click.echo(
        f"\nTry:\n"
        f"  neurosim-ep plot {run}\n"
        f"  neurosim-ep recost {run} --hw pcm_90nm\n"
        f"  neurosim-ep diagnose {run} --set data.kind=textures\n"
        "These images are made, and show other things than those it learned. For those:\n"
        "  neurosim-ep data cifar10 --to DIR\n"
        f"  neurosim-ep diagnose {run} --set data.root=DIR"
    )


@cli.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print what SHELL must run to complete commands, names and keys.

    \b
    bash  in ~/.bashrc: eval "$(neurosim-ep completion bash)"
    zsh   in ~/.zshrc:  eval "$(neurosim-ep completion zsh)"
    fish  neurosim-ep completion fish > ~/.config/fish/completions/neurosim-ep.fish
    """
    click.echo(completion.script(cli, shell))


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
