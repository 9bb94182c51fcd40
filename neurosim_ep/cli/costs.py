"""Commands about what a chip costs: estimate, recost, and the hardware models themselves."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from neurosim_ep.cli import completion
from neurosim_ep.cli.answers import Answer, answering, explained_sections, print_pairs
from neurosim_ep.cli.group import SuggestingGroup, cli
from neurosim_ep.cli.options import Option, load, machine_options, set_option
from neurosim_ep.display import table
from neurosim_ep.errors import UsageError

if TYPE_CHECKING:
    from neurosim_ep.hardware.bill.summary import Summary
    from neurosim_ep.scenario.schema import Scenario

Bills = Sequence[tuple["Summary", list[str]]]
"""Bills, each with what is to be known about it."""


def _check_models(context: click.Context, parameter: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    (stem, count), *_ = [*Counter(Path(name).stem for name in names).most_common(1), ("", 0)]
    if count > 1:
        raise click.BadParameter(f"two models are called {stem}; name each once")
    return names


def hw_option(**more: Any) -> Option:
    """The option --hw: chips to price, side by side where there are several."""
    return click.option(
        "--hw",
        "models",
        multiple=True,
        metavar="MODEL",
        callback=_check_models,
        shell_complete=completion.model_or_file,
        **more,
    )


@cli.command()
@click.argument("scenario", shell_complete=completion.scenario_or_file)
@hw_option(help="Hardware model in the place of the scenario's, a shipped name or a TOML file; several side by side.")
@click.option("--samples", type=click.IntRange(min=1), default=8, show_default=True, help="Training images to record.")
@click.option("--activity", type=click.FloatRange(0, 1), help="Share of lines not zero; nothing is simulated then.")
@click.option("--events", type=click.FloatRange(0, 1), help="Share of neurons that send per tick, with --activity.")
@click.option("--writes", type=click.FloatRange(0, 1), help="Share of weights pulsed per update, with --activity.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for bill, comparison and area; default: shown.")
@set_option
@machine_options
@answering
def estimate(
    scenario: str, models: tuple[str, ...], out: Path | None, overrides: tuple[str, ...], **how: Any
) -> Answer:
    """Say what SCENARIO costs on its chip, without training it.

    From the activity of a few images in the untrained network, or from a given activity.
    """
    chips = [(*overrides, f"hardware.model={json.dumps(name)}") for name in models] or [overrides]
    loaded = [load(scenario, keys, quiet=number > 0)[0] for number, keys in enumerate(chips)]
    bills = [_estimated(one, **how) for one in loaded]
    if out is not None:
        from neurosim_ep.record.whole_folder import refuse_filled
        from neurosim_ep.train.estimate import write_estimate

        refuse_filled(out)
        for (found, _), folder in zip(bills, _folders(out, models), strict=True):
            write_estimate(found, folder)
    named = models or [loaded[0].hardware.model]
    return _billed({"scenario": loaded[0].scenario.name}, named, bills)


def _estimated(
    scenario: Scenario,
    samples: int,
    activity: float | None,
    events: float | None,
    writes: float | None,
    device: str,
    threads: int | None,
) -> tuple[Summary, list[str]]:
    """The bill of ``scenario`` on its chip, see :func:`estimate`."""
    if (activity is None) != (events is None):
        raise UsageError("--activity and --events: give both, or neither to measure them")
    if writes is not None and activity is None:
        raise UsageError("--writes: goes with --activity and --events; without them writes are measured")
    from neurosim_ep.train.estimate import estimate_given, estimate_measured
    from neurosim_ep.train.inspect import classes_and_shape

    exact = ["tiles compute exactly, whatever the bits of the conversions billed"] if scenario.hardware.ideal else []
    if activity is None or events is None:
        return estimate_measured(scenario, samples, device, threads), ["activity of the untrained network", *exact]
    if not all(math.isfinite(share) for share in (activity, events, writes or 0.0)):
        raise UsageError("--activity, --events and --writes: must be shares between 0 and 1")
    shape = classes_and_shape(scenario.data, scenario.scenario.seed)
    found = estimate_given(scenario, activity, events, *shape, writes=writes or 0.0)
    written = "given writes" if writes else "no programming pulses, so no wear: --writes gives them"
    return found, ["given activity, every tick of T and K taken", written, *exact]


@cli.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@hw_option(required=True, help="Hardware model, a shipped name or a TOML file; repeated: several side by side.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for bill and area; default: only shown.")
@answering
def recost(run_dir: Path, models: tuple[str, ...], out: Path | None) -> Answer:
    """Price what a run recorded with other hardware models.

    Nothing is simulated again: the counts in RUN_DIR/traffic.h5 are multiplied with other costs.
    """
    from neurosim_ep.record.recost import recost
    from neurosim_ep.record.whole_folder import refuse_filled

    if out is not None:
        refuse_filled(out)
    folders = [None] * len(models) if out is None else _folders(out, models)
    return _billed({"run": run_dir}, models, [recost(run_dir, *one) for one in zip(models, folders, strict=True)])


def _folders(out: Path, models: Sequence[str]) -> list[Path]:
    """Where the bill of each of the ``models`` is written: in ``out``, or a folder of its own there."""
    return [out / Path(name).stem for name in models] if len(models) > 1 else [out]


def _billed(of: dict[str, Any], models: Sequence[str], bills: Bills) -> Answer:
    """The bills of the chips that the user calls ``models``."""
    from neurosim_ep.hardware.bill.document import bill_document

    documents = []
    for model, (found, notes) in zip(models, bills, strict=True):
        document = bill_document(found)
        documents.append({"model": model, **document, "notes": [*notes, *document["notes"]]})
    return Answer({**of, "bills": documents}, lambda: _print_bills(models, bills))


@cli.group(cls=SuggestingGroup)
def hw() -> None:
    """Look at hardware models, and write them."""


@hw.command("list")
@answering
def hw_list() -> Answer:
    """List the shipped hardware models."""
    from neurosim_ep.hardware.model.tables import list_models, list_rows

    return Answer({"models": list_models()}, lambda: click.echo(table(list_rows())))


@hw.command("show")
@click.argument("model", shell_complete=completion.model_or_file)
@click.argument("section", required=False)
@answering
def hw_show(model: str, section: str | None) -> Answer:
    """Show every number of MODEL, or of one SECTION, with its interval, source and file."""
    from neurosim_ep.hardware.model.tables import show_entries, show_rows

    entries = show_entries(model, section)
    return Answer({"model": model, "entries": entries}, lambda: click.echo(table(show_rows(model, section))))


@hw.command("diff")
@click.argument("model", shell_complete=completion.model_or_file)
@click.argument("other", shell_complete=completion.model_or_file)
@answering
def hw_diff(model: str, other: str) -> Answer:
    """Show the numbers in which MODEL and OTHER differ."""
    from neurosim_ep.hardware.model.tables import diff_entries, diff_rows

    rows = diff_rows(model, other)
    return Answer(
        {"models": [model, other], "differences": diff_entries(model, other)},
        lambda: click.echo(table(rows) if rows else "no difference"),
    )


@hw.command("schema")
@click.argument("section", required=False)
@answering
def hw_schema(section: str | None) -> Answer:
    """Explain the keys of hardware models, or of one SECTION.

    Each key with its unit, default, meaning, rule and the lines of the bill it enters.
    """
    from neurosim_ep.hardware.model.describe import section_words, sections

    return explained_sections({name: section_words(name) for name in ([section] if section else sections())})


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
@answering
def hw_check(model: str) -> Answer:
    """Check MODEL, a file or a shipped name, and say what of it silicon has not shown."""
    from neurosim_ep.hardware.bill.modelcheck import at_work, check_rows, doubts
    from neurosim_ep.hardware.model.file import read_model

    file = read_model(model)
    found = doubts(file)

    def show() -> None:
        print_pairs(check_rows(file))
        for doubt in found or ["nothing that silicon has not shown"]:
            click.echo(f"- {doubt}")

    return Answer({"model": model, "array_at_work": at_work(file)._asdict(), "doubts": found}, show)


def _print_bills(models: Sequence[str], bills: Bills) -> None:
    """One bill with all about its chip, or what several chips cost side by side."""
    if len(bills) == 1:
        found, notes = bills[0]
        print_pairs(found.chip_rows())
        click.echo(f"\nEnergy per training sample\n{table(found.style_rows())}\n")
        for note in (*notes, *found.notes()):
            click.echo(f"- {note}")
        return
    from neurosim_ep.hardware.bill.document import side_by_side

    names = [Path(model).stem for model in models]
    rows = side_by_side({name: found for name, (found, _) in zip(names, bills, strict=True)})
    click.echo(f"Per training sample\n{table(rows)}\n")
    for name, (found, notes) in zip(names, bills, strict=True):
        for note in (*notes, *found.doubts()):
            click.echo(f"- {name}: {note}")
