"""The command group ``neurosim-ep``, which the modules beside this one add their commands to."""

from __future__ import annotations

import click

from neurosim_ep import __version__
from neurosim_ep.errors import UsageError, nearest
from neurosim_ep.ranks import place

SHARED = ("run", "resume")
"""Commands that several processes can do together."""


class SuggestingGroup(click.Group):
    """A command group that names the nearest command when one is mistyped."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self.commands and not name.startswith("-"):
            raise click.UsageError(f'no such command "{name}"; {nearest(name, sorted(self.commands))}', ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=SuggestingGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="neurosim-ep")
@click.pass_context
def cli(context: click.Context) -> None:
    """Train deep networks by equilibrium propagation as a crossbar chip would, and see what the chip costs.

    A scenario file in, a run directory out. Start with: neurosim-ep run smoke
    """
    name, count = context.invoked_subcommand, place().count
    if name not in SHARED and count > 1:
        raise UsageError(f"{name}: is for one process, and there are {count}; give it without torchrun or srun")
