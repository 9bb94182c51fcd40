"""Commands about scenario files and what else is shipped."""

from __future__ import annotations

import tomllib
from pathlib import Path

import click

from neurosim_ep import resources
from neurosim_ep.cli import completion
from neurosim_ep.cli.answers import Answer, answering, explained_sections
from neurosim_ep.cli.group import cli
from neurosim_ep.cli.options import load, set_option
from neurosim_ep.display import table
from neurosim_ep.errors import UsageError, nearest
from neurosim_ep.registry import LISTED

SHIPPED = {
    "Scenarios": ("scenarios", "scenario"),
    "Sweeps": ("sweeps", "sweep"),
    "Hardware models": ("hwmodels", "model"),
    "Memory devices": ("hwmodels/devices", "device"),
    "Statistics of cells": ("hwmodels/cells", "cell"),
    "Converters": ("hwmodels/converters", "converters"),
}
"""Folders of what ships, by title, and the section that describes each file; of two of one name the first is meant."""


@cli.command()
@click.argument("scenario", shell_complete=completion.scenario_or_file)
@set_option
@answering
def check(scenario: str, overrides: tuple[str, ...]) -> Answer:
    """Validate SCENARIO and show its network, tiles and memory.

    And what this machine lacks for a run of it. Nothing is run.
    """
    loaded, path = load(scenario, overrides)
    from neurosim_ep.train.inspect import inspect_scenario

    inspection = inspect_scenario(loaded)
    lacking = inspection.missing

    def show() -> None:
        valid = "is valid, but cannot run here yet" if lacking else "is valid"
        click.echo(f"{path} {valid}: {loaded.scenario.name}. {loaded.scenario.description}".rstrip())
        if lacking:
            click.echo("\nMissing on this machine")
            for what in lacking:
                click.echo(f"- {what}")
        for title in ("network", "tiles", "memory", "notes"):
            if rows := getattr(inspection, title):
                click.echo(f"\n{title.capitalize()}\n{table(rows)}")

    found = {"scenario": loaded.scenario.name, "file": path, "missing": lacking, **inspection.document}
    return Answer(found, show)


@cli.command()
@click.argument("section", required=False, shell_complete=completion.section)
@answering
def schema(section: str | None) -> Answer:
    """Explain the keys of scenario files, or of one SECTION.

    Each key with its default, unit, meaning and rule.
    """
    from neurosim_ep.scenario import describe

    sections = describe.names_at(())
    if section is not None and section not in sections:
        raise UsageError(f'no section "{section}"; {nearest(section, sections)}')
    return explained_sections({name: describe.describe_section(name) for name in ([section] if section else sections)})


@cli.command("list")
@answering
def list_command() -> Answer:
    """List the shipped scenarios, sweeps, hardware models and parts of tiles, and what else has a name."""
    listed = {
        title: [
            {"name": name, "description": tomllib.loads(path.read_text("utf-8"))[section]["description"]}
            for name, path in resources.shipped_files(folder).items()
        ]
        for title, (folder, section) in SHIPPED.items()
    }
    for title, registry in LISTED.items():
        listed[title] = [{"name": name, "description": text} for name, text in registry.sentences().items()]

    def show() -> None:
        for title, rows in listed.items():
            click.echo(f"{title}\n{table(rows)}\n")

    return Answer({title.lower().replace(" ", "_"): rows for title, rows in listed.items()}, show)


@cli.command()
@click.argument("name", shell_complete=completion.copyable)
@click.argument("dest", type=click.Path(path_type=Path), default=Path())
def copy(name: str, dest: Path) -> None:
    """Copy a shipped scenario, sweep, hardware model or part of tiles, to edit it.

    DEST is a file or a folder; nothing is overwritten.
    """
    shipped = {
        name: path for folder, _ in reversed(SHIPPED.values()) for name, path in resources.shipped_files(folder).items()
    }
    stem = name.removesuffix(".toml")
    if stem not in shipped:
        raise UsageError(f'nothing shipped is called "{name}"; {nearest(stem, shipped)}')
    target = dest / f"{Path(stem).name}.toml" if dest.is_dir() else dest
    resources.write_new(target, shipped[stem].read_bytes())
    click.echo(target)
