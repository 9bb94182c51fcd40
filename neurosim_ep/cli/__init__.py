"""The command line ``neurosim-ep``. Every heavy import waits until its command is called."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import click

from neurosim_ep.cli import costs, devices, explaining, results, running, scenarios
from neurosim_ep.cli.group import cli
from neurosim_ep.errors import NeurosimError

FAMILIES = (running, scenarios, results, costs, explaining, devices)  # imported for the commands that they add


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code (see :mod:`neurosim_ep.errors`)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with cli.make_context("neurosim-ep", list(words), obj=["neurosim-ep", *words]) as context:
            cli.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as finished:
        return finished.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except NeurosimError as error:
        click.echo(f"error: {error}", err=True)
        return error.exit_code
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        return 130
    except BrokenPipeError:  # the reader of stdout has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception:
        traceback.print_exc()
        click.echo("this is a bug in neurosim-ep; please report it with the lines above", err=True)
        return 1
    return 0
