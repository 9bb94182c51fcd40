"""Commands about what a chip costs: estimate, recost, and the hardware models themselves."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from neurosim_ep.cli import completion
from neurosim_ep.cli.group import SuggestingGroup, cli
from neurosim_ep.cli.options import load, machine_options, set_option
from neurosim_ep.cli.text import print_pairs, table
from neurosim_ep.errors import UsageError

if TYPE_CHECKING:
    from neurosim_ep.hardware.bill.summary import Summary


@cli.command()
@click.argument("scenario", shell_complete=completion.scenario_or_file)
@click.option("--samples", type=click.IntRange(min=1), default=8, show_default=True, help="Training images to record.")
@click.option("--activity", type=click.FloatRange(0, 1), help="Share of lines not zero; nothing is simulated then.")
@click.option("--events", type=click.FloatRange(0, 1), help="Share of neurons that send per tick, with --activity.")
@click.option("--writes", type=click.FloatRange(0, 1), help="Share of weights pulsed per update, with --activity.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for ledger, comparison and area; default: shown.")
@set_option
@machine_options
def estimate(
    scenario: str,
    samples: int,
    activity: float | None,
    events: float | None,
    writes: float | None,
    out: Path | None,
    overrides: tuple[str, ...],
    device: str,
    threads: int | None,
) -> None:
    """Say what SCENARIO costs on its chip, without training it.

    From the activity of a few images in the untrained network, or from a given activity.
    """
    loaded, _ = load(scenario, overrides)
    if (activity is None) != (events is None):
        raise UsageError("--activity and --events: give both, or neither to measure them")
    if writes is not None and activity is None:
        raise UsageError("--writes: goes with --activity and --events; without them writes are measured")
    from neurosim_ep.train.estimate import estimate_given, estimate_measured, write_estimate
    from neurosim_ep.train.inspect import classes_and_shape

    exact = ["tiles compute exactly, whatever the bits of the conversions billed"] if loaded.hardware.ideal else []
    if activity is not None and events is not None:
        if not all(math.isfinite(share) for share in (activity, events, writes or 0.0)):
            raise UsageError("--activity, --events and --writes: must be shares between 0 and 1")
        shape = classes_and_shape(loaded.data, loaded.scenario.seed)
        found = estimate_given(loaded, activity, events, *shape, writes=writes or 0.0)
        written = "given writes" if writes else "no programming pulses, so no wear: --writes gives them"
        said = ["given activity, every tick of T and K taken", written]
    else:
        found, said = estimate_measured(loaded, samples, device, threads), ["activity of the untrained network"]
    _print_bill(found, *said, *exact)
    if out is not None:
        write_estimate(found, out)


@cli.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option(
    "--hw",
    required=True,
    metavar="MODEL",
    shell_complete=completion.model_or_file,
    help="Hardware model: a shipped name or a TOML file.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for ledger and area; default: only shown.")
def recost(run_dir: Path, hw: str, out: Path | None) -> None:
    """Price what a run recorded with another hardware model.

    Nothing is simulated again: the counts in RUN_DIR/traffic.h5 are multiplied with other costs.
    """
    from neurosim_ep.record.recost import recost

    found, notes = recost(run_dir, hw, out)
    _print_bill(found, *notes)


@cli.group(cls=SuggestingGroup)
def hw() -> None:
    """Look at hardware models, and write them."""


@hw.command("list")
def hw_list() -> None:
    """List the shipped hardware models."""
    from neurosim_ep.hardware.model.tables import list_rows

    click.echo(table(list_rows()))


@hw.command("show")
@click.argument("model", shell_complete=completion.model_or_file)
@click.argument("section", required=False)
def hw_show(model: str, section: str | None) -> None:
    """Show every number of MODEL, or of one SECTION, with its interval, source and file."""
    from neurosim_ep.hardware.model.tables import show_rows

    click.echo(table(show_rows(model, section)))


@hw.command("diff")
@click.argument("model", shell_complete=completion.model_or_file)
@click.argument("other", shell_complete=completion.model_or_file)
def hw_diff(model: str, other: str) -> None:
    """Show the numbers in which MODEL and OTHER differ."""
    from neurosim_ep.hardware.model.tables import diff_rows

    rows = diff_rows(model, other)
    click.echo(table(rows) if rows else "no difference")


@hw.command("schema")
@click.argument("section", required=False)
def hw_schema(section: str | None) -> None:
    """Explain the keys of hardware models, or of one SECTION.

    Each key with its unit, default, meaning, rule and the lines of the bill it enters.
    """
    from neurosim_ep.hardware.model.describe import section_words, sections

    for name in [section] if section else sections():
        about, keys = section_words(name)
        click.echo(f"[{name}]  # {about}")
        for key in keys:
            click.echo(key.text)
        click.echo()


@hw.command("new")
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), help="File to write; default NAME.toml here.")
def hw_new(name: str, out: Path | None) -> None:
    """Write a hardware model called NAME, every key with a comment, to be changed.

    It works as it stands; nothing is overwritten.
    """
    from neurosim_ep.hardware.model.describe import new_model
    from neurosim_ep.resources import write_new

    target = out or Path(f"{name}.toml")
    write_new(target, new_model(name).encode())
    click.echo(target)


@hw.command("check")
@click.argument("model", shell_complete=completion.model_or_file)
def hw_check(model: str) -> None:
    """Check MODEL, a file or a shipped name, and say what of it silicon has not shown."""
    from neurosim_ep.hardware.bill.modelcheck import check_rows, doubts
    from neurosim_ep.hardware.model.file import read_model

    file = read_model(model)
    print_pairs(check_rows(file))
    for doubt in doubts(file) or ["nothing that silicon has not shown"]:
        click.echo(f"- {doubt}")


def _print_bill(found: Summary, *notes: str) -> None:
    print_pairs(found.chip_rows())
    click.echo(f"\nEnergy per training sample\n{table(found.style_rows())}\n")
    for note in (*notes, *found.notes()):
        click.echo(f"- {note}")
