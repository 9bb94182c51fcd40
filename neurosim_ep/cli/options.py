"""Options that several commands have, and the scenario that they name."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from neurosim_ep import resources
from neurosim_ep.cli import completion
from neurosim_ep.errors import ScenarioError
from neurosim_ep.registry import Registry
from neurosim_ep.threads import MOST

if TYPE_CHECKING:
    from neurosim_ep.scenario.schema import Scenario

Option = Callable[[Callable[..., None]], Callable[..., None]]


def _check_device(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        raise click.BadParameter(f'"{value}" is not one of auto, cpu, cuda, cuda:N')
    return value


class NameIn(click.ParamType):  # type: ignore[type-arg]
    """A name in ``registry``, which is asked when it is needed."""

    name = "name"

    def __init__(self, registry: Registry[Any]) -> None:
        self.registry = registry

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return f"[{'|'.join(self.registry.names())}]"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.registry:
            self.fail(f'"{value}" is not one of {", ".join(self.registry.names())}', param, ctx)
        return value


device_option = click.option(
    "--device", default="auto", callback=_check_device, metavar="DEVICE", help="auto, cpu, cuda or cuda:N."
)


class _Threads(click.IntRange):
    name = "number of threads"


threads_option = click.option(
    "--threads",
    type=_Threads(1, MOST),
    metavar="N",
    help="Threads on the CPU; default: what fits the machine and the work; those of the run with `resume`.",
)


def together(*options: Option) -> Option:
    """All ``options`` as one, in this order in the help."""

    def add(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            command = option(command)
        return command

    return add


machine_options = together(device_option, threads_option)
"""What a command that computes may compute on."""
run_options = together(
    machine_options, click.option("--quiet", is_flag=True, help="No progress and no summary; warnings stay.")
)
"""The options that commands share which train."""
shown_options = together(
    click.option("--no-plots", is_flag=True, help="Draw no pictures; `neurosim-ep plot` does it at any time."),
    click.option("--no-report", is_flag=True, help="Write no report.html; `neurosim-ep report` does it any time."),
)
"""What a run leaves for people to look at, each of which may be left for later."""
paper_option = click.option(
    "--paper", is_flag=True, help="For a two-column page: PDF without a title, letters of 6 to 7 points."
)
"""Whether pictures are drawn for the screen or for a page."""
picture_options = together(
    click.option("--only", multiple=True, metavar="NAME", help="Only this one, as gradients; repeatable."),
    click.option(
        "--format", "formats", multiple=True, type=click.Choice(["svg", "png", "pdf"]),
        help="Repeatable; default svg, png; pdf alone with --paper.",
    ),
    paper_option,
)  # fmt: skip
"""Which pictures are drawn, and what for."""

set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="SECTION.KEY=VALUE",
    shell_complete=completion.key,
    help="Override one key; repeatable.",
)


def load(name: str, overrides: Sequence[str], quiet: bool = False) -> tuple[Scenario, Path]:
    """The scenario ``name`` and its file; says on stderr when a shipped one is used, unless ``quiet``."""
    from neurosim_ep.scenario.load import load_scenario

    path, shipped = resources.resolve(name, "scenarios", ScenarioError)
    if shipped and not quiet:
        click.echo(f"using the shipped scenario {path.stem} ({path})", err=True)
    return load_scenario(path, overrides), path
