"""The command line ``neurosim-ep``. Every heavy import waits until its command is called."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence

import click

from neurosim_ep.cli import completion, costs, devices, explaining, fetching, results, running, scenarios
from neurosim_ep.cli.group import cli
from neurosim_ep.errors import LostRankError, NeurosimError, explained
from neurosim_ep.interrupts import EXIT_CODE, closing, interrupted, interruptible
from neurosim_ep.ranks import is_follower

FAMILIES = (running, scenarios, results, costs, explaining, devices, fetching, completion)
"""Imported for the commands they add."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code (see :mod:`neurosim_ep.errors`)."""
    if (answered := completion.answer(cli)) is not None:
        return answered
    words = list(sys.argv[1:] if arguments is None else arguments)
    with interruptible():
        try:
            with cli.make_context("neurosim-ep", list(words), obj=["neurosim-ep", *words]) as context:
                cli.invoke(context)
            sys.stdout.flush()
        except BaseException as problem:
            with closing():
                return _told(problem)
    return 0


def _told(problem: BaseException) -> int:
    """Say on stderr what ended a command, unless another process of the same run does; its exit code."""
    silent = is_follower() and not (isinstance(problem, LostRankError) and problem.aloud)
    if isinstance(problem, click.exceptions.Exit):
        return problem.exit_code
    if isinstance(problem, click.ClickException):
        if not silent:
            problem.show()
        return problem.exit_code
    if isinstance(problem, NeurosimError):
        _complain(str(problem), silent)
        return problem.exit_code
    if isinstance(problem, KeyboardInterrupt | click.Abort) or interrupted():
        if not silent:
            click.echo("interrupted", err=True)
        return EXIT_CODE
    if (sentence := explained(problem)) is not None:
        _complain(sentence, silent)
        return 2
    traceback.print_exception(problem)
    click.echo("this is a bug in neurosim-ep; please report it with the lines above", err=True)
    return 1


def _complain(sentence: str, silent: bool) -> None:
    """Say ``sentence``, in which names may stand that are no text, on stderr, unless ``silent``."""
    if not silent:
        click.echo(f"error: {sentence.encode(errors='backslashreplace').decode()}", err=True)
