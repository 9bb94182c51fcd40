"""What a shell can complete: the names that ship, sections and keys; and the script that lets it ask for them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem, get_completion_class, shell_complete

from neurosim_ep import resources

PROGRAM, VARIABLE = "neurosim-ep", "_NEUROSIM_EP_COMPLETE"
Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def answer(group: click.Group) -> int | None:
    """Answer a shell that asks, in the environment, how to complete a line; None where none does."""
    asked = os.environ.get(VARIABLE)
    return None if asked is None else shell_complete(group, {}, PROGRAM, VARIABLE, asked)


def script(group: click.Group, shell: str) -> str:
    """What ``shell`` (bash, zsh or fish) has to run to ask ``group``."""
    found = get_completion_class(shell)
    assert found is not None, shell
    return found(group, {}, PROGRAM, VARIABLE).source()


def _one_of(names: Callable[[], Iterable[str]], files: bool = False) -> Completer:
    """Completes ``names``, and where ``files`` are taken, paths."""

    def complete(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        found = [CompletionItem(name) for name in names() if name.startswith(begun)]
        return [*found, CompletionItem(begun, type="file")] if files else found

    return complete


def _shipped(*folders: str) -> Callable[[], list[str]]:
    return lambda: [name for folder in folders for name in resources.shipped_files(folder)]


def _sections() -> list[str]:
    from neurosim_ep.scenario.describe import names_at

    return names_at(())


def _keys() -> list[str]:
    from neurosim_ep.scenario.describe import describe_section

    return [f"{section}.{key.name}" for section in _sections() for key in describe_section(section)[1]]


def _trained() -> list[str]:
    from neurosim_ep.record.trained import trained_files

    return list(trained_files())


def _kinds() -> list[str]:
    from neurosim_ep.data.fetching import official

    return list(official())


scenario_or_file = _one_of(_shipped("scenarios"), files=True)
sweep_or_directory = _one_of(_shipped("sweeps"), files=True)
model_or_file = _one_of(_shipped("hwmodels"), files=True)
copyable = _one_of(_shipped("scenarios", "sweeps", *(f"hwmodels/{part}" for part in resources.PARTS), "hwmodels"))
section = _one_of(_sections)
key = _one_of(_keys)
trained = _one_of(_trained)
image_kind = _one_of(_kinds)
