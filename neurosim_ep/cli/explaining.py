"""The command that takes a bill apart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from neurosim_ep.cli import completion
from neurosim_ep.cli.answers import json_option, print_json
from neurosim_ep.cli.group import cli
from neurosim_ep.cli.options import load, set_option
from neurosim_ep.display import table
from neurosim_ep.errors import UsageError, nearest
from neurosim_ep.hardware.chip.phases import Phase

if TYPE_CHECKING:
    from neurosim_ep.hardware.chip.recording import Recording
    from neurosim_ep.hardware.model.file import ModelFile

BACKPROP = "backprop"


@cli.command("explain")
@click.argument("target", metavar="SCENARIO_OR_RUN_DIR", shell_complete=completion.scenario_or_file)
@click.option(
    "--style", type=click.Choice(["clocked", "event", "settling", BACKPROP]), default="clocked", show_default=True
)
@click.option("--component", metavar="NAME", help="One component of the bill, as adc, with all its numbers; or time.")
@click.option("--layer", type=click.IntRange(min=0), help="One layer, from 0; the readout follows the last.")
@click.option("--phase", type=click.Choice([phase.value for phase in Phase]), help="One phase.")
@click.option(
    "--picture", type=click.Path(path_type=Path), help="Draw which numbers decide (tornado): a name, without ending."
)
@json_option
@set_option
def explain_command(
    target: str,
    style: str,
    component: str | None,
    layer: int | None,
    phase: str | None,
    picture: Path | None,
    as_json: bool,
    overrides: tuple[str, ...],
) -> None:
    """Take the bill of a scenario or run apart, number by number.

    Formula, counts, unit energies with interval and source, and share of the total, per training sample: of what a run
    recorded, or of a few images in the untrained network of a scenario.
    """
    recording, file, counts = _billed(target, overrides)
    from neurosim_ep.hardware.bill.backprop import for_backprop
    from neurosim_ep.hardware.bill.explain import explain
    from neurosim_ep.hardware.bill.explain_words import Told
    from neurosim_ep.hardware.chip.styles import Style

    if style == BACKPROP and picture is not None:
        raise UsageError(f"--picture: compares EP with backpropagation; choose another --style than {BACKPROP}")
    billed = for_backprop(recording) if style == BACKPROP else recording
    _check(billed, component, layer)
    part = None if component == TIME else component
    told = Told(
        explain(billed, Style.CLOCKED if style == BACKPROP else Style(style), component=part, layer=layer, phase=phase),
        file,
        counts,
    )
    if as_json:
        print_json(told.document())
        return
    click.echo(f"{style} bill on {file.model.model.name}, per training sample ({counts})")
    if component == TIME:
        click.echo(table(told.time_rows()))
    elif not told.found.parts:
        click.echo("nothing acts there")
    elif component is None:
        click.echo(f"\n{table(told.component_rows())}\n\nTime\n{table(told.time_rows())}\n")
        click.echo("- --component NAME shows every number of one, --component time the stages alone")
    else:
        click.echo("\n" + "\n\n".join(told.blocks()) + f"\n\nSum\n{table(told.component_rows())}")
    if picture is not None or (style != BACKPROP and component is None and layer is None and phase is None):
        _decide(recording, style, file.model.model.name, picture)


TIME = "time"


def _billed(target: str, overrides: tuple[str, ...]) -> tuple[Recording, ModelFile, str]:
    """Counts on their chip, its model, and where the counts come from."""
    if Path(target).is_dir():
        if overrides:
            raise UsageError(
                "--set: goes with a scenario; a run keeps its own, `neurosim-ep recost` takes another chip"
            )
        from neurosim_ep.record.recost import recorded_on

        recording, file, _ = recorded_on(Path(target))
        return recording, file, f"recorded: {recording.counts.samples:,} samples"
    loaded, _ = load(target, overrides)
    from neurosim_ep.experiment.model import chip_model
    from neurosim_ep.train.estimate import estimate_measured

    recording = estimate_measured(loaded, min(SAMPLES, loaded.training.batch_size), "auto").recording
    return recording, chip_model(loaded.hardware), f"estimated: {recording.counts.samples} samples, untrained network"


SAMPLES = 8


def _check(recording: Recording, component: str | None, layer: int | None) -> None:
    from neurosim_ep.hardware.bill.action import known_components

    known = [TIME, *(one.value for one in known_components())]
    if component is not None and component not in known:
        raise UsageError(f"--component {component}: no such component of a bill; {nearest(component, known)}")
    if layer is not None and layer > (last := len(recording.chip.plan.layers)):
        raise UsageError(f"--layer {layer}: the network has layers 0 to {last - 1}, and {last} is the readout")


def _decide(recording: Recording, style: str, label: str, picture: Path | None) -> None:
    """Say which numbers decide in ``style``, and draw it."""
    from neurosim_ep.hardware.bill.sensitivity import sensitivities
    from neurosim_ep.hardware.chip.styles import Style

    (found,) = sensitivities(recording, [Style(style)]).values()
    for sentence in found.sentences:
        click.echo(f"- {sentence}")
    if picture is not None:
        from pandas import DataFrame

        from neurosim_ep.analysis import style as drawing
        from neurosim_ep.analysis import tornado

        frame = DataFrame([one._asdict() for one in found.swings])
        for path in drawing.save(lambda: tornado.draw_frame(frame, label), picture):
            click.echo(path)
