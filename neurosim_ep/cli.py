"""The command line ``neurosim-ep``. Every heavy import waits until its command is called."""

from __future__ import annotations

import difflib
import json
import math
import os
import re
import sys
import tomllib
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from neurosim_ep import __version__, resources
from neurosim_ep.errors import NeurosimError, ScenarioError, UsageError
from neurosim_ep.progress import make_reporter
from neurosim_ep.registry import ACTIVATIONS, POLICIES
from neurosim_ep.threads import MOST

if TYPE_CHECKING:
    from neurosim_ep.hardware.summary import Summary
    from neurosim_ep.scenario.schema import Scenario
    from neurosim_ep.train.result import RunResult
    from neurosim_ep.train.teacher.teach import Taught

NUMBER = re.compile(r"\d[\d.,ex+-]*(?:[ %]|$)")  # what a cell of numbers begins with, and no sentence ("8-bit drivers")
EXPORT_FORMATS = ("booksim", "noxim", "sonata", "messages-csv", "neurosim")


class SuggestingGroup(click.Group):
    """A command group that names the nearest command when one is mistyped."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self.commands and not name.startswith("-"):
            raise click.UsageError(f'no such command "{name}"; {_nearest(name, self.commands)}', ctx)
        return super().resolve_command(ctx, args)


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


@click.group(cls=SuggestingGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="neurosim-ep")
def cli() -> None:
    """Train deep networks by equilibrium propagation as a crossbar chip would, and see what the chip costs.

    A scenario file in, a run directory out. Start with: neurosim-ep run smoke
    """


def _check_device(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        raise click.BadParameter(f'"{value}" is not one of auto, cpu, cuda, cuda:N')
    return value


_device_option = click.option(
    "--device", default="auto", callback=_check_device, metavar="DEVICE", help="auto, cpu, cuda or cuda:N."
)


class _Threads(click.IntRange):
    name = "number of threads"


_threads_option = click.option(
    "--threads",
    type=_Threads(1, MOST),
    metavar="N",
    help="Threads on the CPU; default: what fits the machine and the work; those of the run with `resume`.",
)


def _machine_options(command: Callable[..., None]) -> Callable[..., None]:
    """What a command that computes may compute on."""
    return _device_option(_threads_option(command))


_json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")


def _run_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that `run` and `resume` share."""
    for option in (
        click.option("--quiet", is_flag=True, help="No progress and no summary; warnings stay."),
        _json_option,
        _machine_options,
    ):
        command = option(command)
    return command


_no_plots_option = click.option(
    "--no-plots", is_flag=True, help="Draw no pictures; `neurosim-ep plot` does it at any time."
)
_set_option = click.option(
    "--set", "overrides", multiple=True, metavar="SECTION.KEY=VALUE", help="Override one key; repeatable."
)


@cli.command("run")
@click.argument("scenario")
@click.option("--out", type=click.Path(path_type=Path), help="Run directory; default runs/<time>_<name>_<id>.")
@_set_option
@_no_plots_option
@_run_options
def run_command(
    scenario: str,
    out: Path | None,
    overrides: tuple[str, ...],
    no_plots: bool,
    device: str,
    threads: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Train the network of SCENARIO, a TOML file or a shipped name."""
    from neurosim_ep.scenario.load import NO_PLOTS

    loaded, path = _load(scenario, (*overrides, NO_PLOTS) if no_plots else overrides, quiet)
    argv = click.get_current_context().obj
    from neurosim_ep.train.run import run

    with closing(make_reporter(quiet)) as reporter:
        result = run(loaded, out, device=device, threads=threads, reporter=reporter, argv=argv, source=path)
    _print_result(result, as_json, quiet)


@cli.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@_no_plots_option
@_run_options
def resume(run_dir: Path, no_plots: bool, device: str, threads: int | None, as_json: bool, quiet: bool) -> None:
    """Continue the interrupted run in RUN_DIR.

    With the number of threads it began with, unless told otherwise.
    """
    from neurosim_ep.train.run import resume

    with closing(make_reporter(quiet)) as reporter:
        result = resume(run_dir, device=device, threads=threads, reporter=reporter, plots=not no_plots)
    _print_result(result, as_json, quiet)


@cli.command()
@click.argument("scenario")
@click.option("--out", type=click.Path(path_type=Path), help="Its folder; default: where a run looks for it.")
@_set_option
@_run_options
def teach(
    scenario: str,
    out: Path | None,
    overrides: tuple[str, ...],
    device: str,
    threads: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Train a teacher for SCENARIO and store its targets.

    The teacher is a feed-forward network trained by backpropagation; what it shows at every layer whose signal is kd
    or kdw is stored for every training image and view.
    """
    loaded, _ = _load(scenario, overrides, quiet)
    from neurosim_ep.train.teacher.teach import teach

    with closing(make_reporter(quiet)) as reporter:
        result = teach(loaded, out, device, reporter, threads)
    _print_result(result, as_json, quiet)


@cli.command("bench")
@click.argument("scenario", default="vgg11_le")
@_set_option
@_json_option
@_machine_options
def bench_command(scenario: str, overrides: tuple[str, ...], device: str, threads: int | None, as_json: bool) -> None:
    """Say how fast SCENARIO runs on this machine.

    Milliseconds per tick and phase, samples and operations per second, memory, and how long an epoch and the whole run
    will take. A few batches of a throw-away network; nothing is written.
    """
    loaded, _ = _load(scenario, overrides)
    from neurosim_ep.train.bench import bench

    found = bench(loaded, device=device, threads=threads)
    if as_json:
        click.echo(json.dumps(found.document()))
        return
    click.echo(f"{loaded.scenario.name}, one batch of {found.batch}\n\n{_table(found.phase_rows())}\n")
    _print_pairs(found.summary())
    click.echo()
    for note in (*found.extrapolated, *found.notes):
        click.echo(f"- {note}")


@cli.command()
@click.argument("scenario")
@_set_option
def check(scenario: str, overrides: tuple[str, ...]) -> None:
    """Validate SCENARIO and show its network, tiles and memory.

    Nothing is run.
    """
    loaded, path = _load(scenario, overrides)
    from neurosim_ep.train.inspect import inspect_scenario

    inspection = inspect_scenario(loaded)
    click.echo(f"{path} is valid: {loaded.scenario.name}. {loaded.scenario.description}".rstrip())
    for title in ("network", "tiles", "memory", "notes"):
        if rows := getattr(inspection, title):
            click.echo(f"\n{title.capitalize()}\n{_table(rows)}")


@cli.command()
@click.argument("section", required=False)
def schema(section: str | None) -> None:
    """Explain the keys of scenario files, or of one SECTION.

    Each key with its default, unit, meaning and rule.
    """
    from neurosim_ep.scenario import describe

    sections = describe.names_at(())
    if section is not None and section not in sections:
        raise UsageError(f'no section "{section}"; {_nearest(section, sections)}')
    for name in [section] if section else sections:
        meaning, keys = describe.describe_section(name)
        click.echo(f"[{name}]  # {meaning}")
        for key in keys:
            default = f"= {key.default}" if key.default else "(required)"
            unit = f" [{key.unit}]" if key.unit else ""
            click.echo(f"  {key.name} {default}{unit}\n      {key.meaning}\n      {key.rule}")
            for value, sentence in key.sentences.items():
                click.echo(f"        {value}: {sentence}")
        click.echo()


@cli.command("list")
def list_command() -> None:
    """List the shipped scenarios, hardware models and parts of tiles, and activations and policies."""
    for title, folder, section in (
        ("Scenarios", "scenarios", "scenario"),
        ("Hardware models", "hwmodels", "model"),
        ("Memory devices", "hwmodels/devices", "device"),
        ("Statistics of cells", "hwmodels/cells", "cell"),
        ("Converters", "hwmodels/converters", "converters"),
    ):
        rows = [
            {"name": name, "description": tomllib.loads(path.read_text("utf-8"))[section]["description"]}
            for name, path in resources.shipped_files(folder).items()
        ]
        click.echo(f"{title}\n{_table(rows)}\n")
    for title, registry in (("Activations", ACTIVATIONS), ("Policies", POLICIES)):
        rows = [{"name": name, "description": text} for name, text in registry.sentences().items()]
        click.echo(f"{title}\n{_table(rows)}\n")


@cli.command()
@click.argument("name")
@click.argument("dest", type=click.Path(path_type=Path), default=Path())
def copy(name: str, dest: Path) -> None:
    """Copy a shipped scenario, hardware model or part of tiles, to edit it.

    DEST is a file or a folder; nothing is overwritten.
    """
    shipped = {
        name: path
        for folder in ("hwmodels/converters", "hwmodels/cells", "hwmodels/devices", "hwmodels", "scenarios")
        for name, path in resources.shipped_files(folder).items()
    }
    stem = name.removesuffix(".toml")
    if stem not in shipped:
        raise UsageError(f'nothing shipped is called "{name}"; {_nearest(stem, shipped)}')
    target = dest / f"{Path(stem).name}.toml" if dest.is_dir() else dest
    try:
        with target.open("xb") as file:
            file.write(shipped[stem].read_bytes())
    except FileExistsError as error:
        raise UsageError(f"{target}: exists already; name another file, or move it away") from error
    except OSError as error:
        raise UsageError(f"{target}: cannot be written: {error.strerror}") from error
    click.echo(target)


@cli.command()
@click.argument("run_dirs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN_DIR...")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the pictures; default RUN_DIR/plots.")
def plot(run_dirs: tuple[Path, ...], out: Path | None) -> None:
    """Draw the pictures of runs.

    Several runs are also compared in one U-curve.
    """
    from neurosim_ep.analysis.plot import plot_runs

    for path in plot_runs(list(run_dirs), out):
        click.echo(path)


@cli.command()
@click.argument("run_dirs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN_DIR...")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the figures.")
def reproduce(run_dirs: tuple[Path, ...], out: Path) -> None:
    """Draw the figures of arXiv 2508.15989 from runs.

    Runs that differ only in their seed become one curve.
    """
    from neurosim_ep.analysis.reproduction import reproduce_runs

    for path in reproduce_runs(list(run_dirs), out):
        click.echo(path)


@cli.command()
@click.argument("scenario")
@click.option("--samples", type=click.IntRange(min=1), default=8, show_default=True, help="Training images to record.")
@click.option("--activity", type=click.FloatRange(0, 1), help="Share of lines not zero; nothing is simulated then.")
@click.option("--events", type=click.FloatRange(0, 1), help="Share of neurons that send per tick, with --activity.")
@_set_option
@_machine_options
def estimate(
    scenario: str,
    samples: int,
    activity: float | None,
    events: float | None,
    overrides: tuple[str, ...],
    device: str,
    threads: int | None,
) -> None:
    """Say what SCENARIO costs on its chip, without training it.

    From the activity of a few images in the untrained network, or from a given activity.
    """
    loaded, _ = _load(scenario, overrides)
    if (activity is None) != (events is None):
        raise UsageError("--activity and --events: give both, or neither to measure them")
    from neurosim_ep.train.estimate import estimate_given, estimate_measured
    from neurosim_ep.train.inspect import classes_and_shape

    if activity is not None and events is not None:
        if not (math.isfinite(activity) and math.isfinite(events)):
            raise UsageError("--activity and --events: must be shares between 0 and 1")
        shape = classes_and_shape(loaded.data, loaded.scenario.seed)
        _print_bill(estimate_given(loaded, activity, events, *shape), "given activity, every tick of T and K taken")
    else:
        _print_bill(estimate_measured(loaded, samples, device, threads), "activity of the untrained network")


@cli.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--hw", required=True, metavar="MODEL", help="Hardware model: a shipped name or a TOML file.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for ledger and area; default: only shown.")
def recost(run_dir: Path, hw: str, out: Path | None) -> None:
    """Price what a run recorded with another hardware model.

    Nothing is simulated again: the counts in RUN_DIR/traffic.h5 are multiplied with other costs.
    """
    from neurosim_ep.record.recost import recost

    found, notes = recost(run_dir, hw, out)
    _print_bill(found, *notes)


@cli.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--format", "form", required=True, type=click.Choice(EXPORT_FORMATS), help="What the file is for.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder, new or empty.")
def export(run_dir: Path, form: str, out: Path) -> None:
    """Write what a run recorded for another simulator.

    The packets of one mean sample; for neurosim, the last weights and the states at rest on a test image.
    """
    if form == "neurosim":
        from neurosim_ep.diagnosis.neurosim_trace import export_neurosim

        found = export_neurosim(run_dir, out)
    else:
        from neurosim_ep.record.export.traffic import export_traffic

        found = export_traffic(run_dir, form, out)
        click.echo("{exported:,} messages in the trace, {local:,} stay at their tile".format(**found["messages"]))
    click.echo(out)


@cli.group(cls=SuggestingGroup)
def hw() -> None:
    """Look at hardware models."""


@hw.command("list")
def hw_list() -> None:
    """List the shipped hardware models."""
    from neurosim_ep.hardware.showing import list_rows

    click.echo(_table(list_rows()))


@hw.command("show")
@click.argument("model")
@click.argument("section", required=False)
def hw_show(model: str, section: str | None) -> None:
    """Show every number of MODEL, or of one SECTION, with its interval, source and file."""
    from neurosim_ep.hardware.showing import show_rows

    click.echo(_table(show_rows(model, section)))


@hw.command("diff")
@click.argument("model")
@click.argument("other")
def hw_diff(model: str, other: str) -> None:
    """Show the numbers in which MODEL and OTHER differ."""
    from neurosim_ep.hardware.showing import diff_rows

    rows = diff_rows(model, other)
    click.echo(_table(rows) if rows else "no difference")


@cli.command("fit-device")
@click.argument("data", type=click.Path(path_type=Path), metavar="CSV")
@click.option("--model", default="best", show_default=True, help="An update model, or best: fit all, choose by AIC.")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), metavar="FILE.toml", help="Device file to write."
)
def fit_device_command(data: Path, model: str, out: Path) -> None:
    """Fit a memory device to measured pulses, as a device file.

    CSV has a row per reading: pulse, direction (up or down), conductance_S or weight, and cycle and device where there
    are several. A picture of data and fit is drawn beside the file; nothing is overwritten.
    """
    from neurosim_ep.analysis import devices, style
    from neurosim_ep.tiles.devices.fit import fit_device, refuse_existing

    if out.suffix != ".toml":
        raise UsageError(f"--out {out}: must end in .toml; its pictures are written beside it")
    refuse_existing(out, out.with_suffix(".svg"), out.with_suffix(".png"))
    found = fit_device(data, model)
    click.echo(_table(found.rows()))
    sweeps = [devices.FittedSweep(s.raising, s.pulses, s.w, found.predicted(s)) for s in found.data.sweeps]
    subtitle = (
        f"{found.data.readings} readings of {data.name}, residual {50 * found.chosen.residual:.2g} % of the range"
    )
    title = f"Device {out.stem}: {found.chosen.kind} model"
    drawn = style.save(lambda: devices.draw_fit(sweeps, title, subtitle, found.data.range_S), out.with_suffix(""))
    found.write(out)
    for path in (out, *drawn):
        click.echo(path)


@cli.command("gdu")
@click.argument("target", metavar="SCENARIO_OR_RUN_DIR")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the tables; default gdu/<time>_<name>.")
@click.option("--samples", type=click.IntRange(min=1), default=8, show_default=True, help="Training images to use.")
@_set_option
@_machine_options
def gdu_command(
    target: str, out: Path | None, samples: int, overrides: tuple[str, ...], device: str, threads: int | None
) -> None:
    """Compare EP's weight updates with those of BPTT, tick by tick.

    On the initial weights of a scenario, or on the last weights of a run.
    """
    run_dir = Path(target) if Path(target).is_dir() else None
    checked = run_dir or _load(target, overrides)[0]
    from neurosim_ep.diagnosis.gdu_report import gdu

    report = gdu(checked, out, samples=samples, overrides=overrides, device=device, threads=threads)
    click.echo(_table(report.rows()))
    for note in report.notes:
        click.echo(f"note: {note}")
    click.echo(f"largest change of a free state in the last tick: {report.found.residual:.1e}\n{report.out}")


@cli.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option(
    "--samples", type=click.IntRange(min=2), default=64, show_default=True, help="Test images, class-balanced."
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder, written anew; default RUN_DIR/diagnosis.")
@_machine_options
def diagnose(run_dir: Path, samples: int, out: Path | None, device: str, threads: int | None) -> None:
    """Say what the dynamics of the network trained in RUN_DIR do.

    Rest, saturation, contraction, and how states and gradients answer to the nudge.
    """
    from neurosim_ep.diagnosis.report import diagnose

    def say(message: str) -> None:
        click.echo(message, err=True)

    found = diagnose(run_dir, samples, out, device=device, threads=threads, say=say)
    _print_pairs(found.summary())
    click.echo(f"\nLayers\n{_table(found.layer_table())}\n\nFindings")
    for finding in found.document["findings"]:
        click.echo(f"- {finding}")


def _load(name: str, overrides: Sequence[str], quiet: bool = False) -> tuple[Scenario, Path]:
    """The scenario ``name`` and its file; says on stderr when a shipped one is used, unless ``quiet``."""
    from neurosim_ep.scenario.load import load_scenario

    path, shipped = resources.resolve(name, "scenarios", ScenarioError)
    if shipped and not quiet:
        click.echo(f"using the shipped scenario {path.stem} ({path})", err=True)
    return load_scenario(path, overrides), path


def _print_result(result: RunResult | Taught, as_json: bool, quiet: bool) -> None:
    if as_json:
        click.echo(json.dumps(asdict(result), default=str))
    elif not quiet:
        _print_pairs(result.summary())


def _print_bill(found: Summary, *notes: str) -> None:
    _print_pairs(found.chip_rows())
    click.echo(f"\nEnergy per training sample\n{_table(found.style_rows())}\n")
    for note in (*notes, *found.notes()):
        click.echo(f"- {note}")


def _print_pairs(pairs: Sequence[tuple[str, str]]) -> None:
    width = max(len(label) for label, _ in pairs)
    for label, value in pairs:
        click.echo(f"{label:<{width}}  {value}")


def _table(rows: Sequence[Mapping[str, str]]) -> str:
    """Aligned columns under their names; columns of numbers stand to the right."""
    lines = [""] * (len(rows) + 1)
    for name in rows[0]:
        cells = [row[name] for row in rows]
        width = max(len(cell) for cell in (name, *cells))
        align = str.rjust if all(NUMBER.match(cell) for cell in cells) else str.ljust
        lines = [f"{line}  {align(cell, width)}" for line, cell in zip(lines, (name, *cells), strict=True)]
    return "\n".join(line.rstrip() for line in lines)


def _nearest(name: str, valid: Iterable[str]) -> str:
    names = list(valid)
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]}?" if close else f"there are: {', '.join(names)}"
