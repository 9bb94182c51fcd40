"""Commands about runs: pictures, reports, exports, diagnoses."""

from __future__ import annotations

from pathlib import Path

import click

from neurosim_ep.cli import completion
from neurosim_ep.cli.answers import Answer, answering, print_pairs, say
from neurosim_ep.cli.group import cli
from neurosim_ep.cli.options import NameIn, load, machine_options, paper_option, picture_options, set_option
from neurosim_ep.display import table
from neurosim_ep.errors import UsageError
from neurosim_ep.registry import EXPORTERS


@cli.command()
@click.argument("run_dirs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN_DIR...")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the pictures; default RUN_DIR/plots.")
@click.option("--x", metavar="KEY", help="Of a sweep: draw against this key; default: against each that varies.")
@picture_options
def plot(
    run_dirs: tuple[Path, ...],
    out: Path | None,
    x: str | None,
    only: tuple[str, ...],
    formats: tuple[str, ...],
    paper: bool,
) -> None:
    """Draw the pictures of runs, or of a sweep.

    Several runs are also compared in one U-curve. RUN_DIR may be the directory of a sweep: accuracy, energy, latency
    and EP / BP against what varies, and the Pareto front.
    """
    from neurosim_ep.sweep.directory import SweepDirectory

    sweeps = [path for path in run_dirs if SweepDirectory.is_at(path)]
    if len(run_dirs) > 1 and sweeps:
        raise UsageError(f"{sweeps[0]}: is a sweep; plot it alone")
    if x is not None and not sweeps:
        raise UsageError(f"--x {x}: is for the directory of a sweep; leave it out, or name one")
    from neurosim_ep.analysis.style import Output

    output = Output.of(formats, paper=paper)
    if sweeps:
        from neurosim_ep.analysis.plot import plot_sweep
        from neurosim_ep.sweep.status import Progress

        Progress(SweepDirectory.open(sweeps[0])).refresh()
        files = plot_sweep(sweeps[0], out, x=x, only=only, output=output)
    else:
        from neurosim_ep.analysis.plot import plot_runs

        files = plot_runs(list(run_dirs), out, only=only, output=output)
    for path in files:
        click.echo(path)


@cli.command()
@click.argument("run_dirs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN_DIR...")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the figures.")
@picture_options
def reproduce(
    run_dirs: tuple[Path, ...], out: Path, only: tuple[str, ...], formats: tuple[str, ...], paper: bool
) -> None:
    """Draw the figures of arXiv 2508.15989 from runs.

    Runs that differ only in their seed become one curve.
    """
    from neurosim_ep.analysis.reproduction import reproduce_runs
    from neurosim_ep.analysis.style import Output

    for path in reproduce_runs(list(run_dirs), out, only=only, output=Output.of(formats, paper=paper)):
        click.echo(path)


@cli.command("report")
@click.argument("target", type=click.Path(path_type=Path), metavar="RUN_DIR|SWEEP_DIR")
@click.option("--out", type=click.Path(path_type=Path), help="The file; default: report.html in the directory.")
def report_command(target: Path, out: Path | None) -> None:
    """Write one HTML file that says what a run or a sweep did.

    Pictures, findings in words, tables that sort and save, where every number of the bill comes from, and the command
    that repeats it. The file loads nothing: it can be mailed and printed.
    """
    from neurosim_ep.sweep.directory import SweepDirectory

    if SweepDirectory.is_at(target):
        from neurosim_ep.sweep.status import Progress

        Progress(SweepDirectory.open(target)).refresh()
    from neurosim_ep.report.page import write_report

    click.echo(write_report(target, out))


@cli.command("watch")
@click.argument("run_dir", type=click.Path(path_type=Path))
def watch_command(run_dir: Path) -> None:
    """Show the run in RUN_DIR while it goes on.

    Its epochs as a table and as curves, until it ends; a run that has ended is shown once.
    """
    from rich.console import Console

    from neurosim_ep.report.watch import watch

    watch(run_dir, Console())


@cli.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--format", "form", required=True, type=NameIn(EXPORTERS), help="What the files are for; see `list`.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder, new or empty.")
@click.option(
    "--style",
    type=click.Choice(["event", "clocked", "settling"]),
    help="Of packets: the chip that sends them; default event.",
)
@click.option("--tile", type=click.IntRange(min=0), help="Of spice: number of the tile in tiles.csv; default 0.")
@click.option(
    "--set", multiple=True, metavar="SECTION.KEY=VALUE", shell_complete=completion.key,
    help="Of neurosim and spice: override one key of the run's scenario; repeatable.",
)  # fmt: skip
def export(run_dir: Path, form: str, out: Path, **choices: str | int | tuple[str, ...] | None) -> None:
    """Write what a run recorded for another simulator.

    The packets of one mean sample; for neurosim and spice, the last weights and the states at rest on a test image.
    """
    exporter, chosen = EXPORTERS[form](), {name: value for name, value in choices.items() if value not in (None, ())}
    for line in (*exporter.told(exporter.export(run_dir, out, **chosen)), out):
        click.echo(line)


@cli.command("gdu")
@click.argument("target", metavar="SCENARIO_OR_RUN_DIR", shell_complete=completion.scenario_or_file)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the tables; default gdu/<time>_<name>.")
@click.option("--samples", type=click.IntRange(min=1), default=8, show_default=True, help="Training images to use.")
@paper_option
@set_option
@machine_options
@answering
def gdu_command(
    target: str,
    out: Path | None,
    samples: int,
    paper: bool,
    overrides: tuple[str, ...],
    device: str,
    threads: int | None,
) -> Answer:
    """Compare EP's weight updates with those of BPTT, tick by tick.

    On the initial weights of a scenario, or on the last weights of a run.
    """
    run_dir = Path(target) if Path(target).is_dir() else None
    checked = run_dir or load(target, overrides)[0]
    from neurosim_ep.analysis.style import Output
    from neurosim_ep.diagnosis.gdu_report import gdu

    report = gdu(
        checked, out, samples=samples, overrides=overrides, device=device, threads=threads,
        output=Output.of((), paper=paper),
    )  # fmt: skip

    def show() -> None:
        click.echo(table(report.rows()))
        for note in report.notes:
            click.echo(f"note: {note}")
        click.echo(f"largest change of a free state in the last tick: {report.found.residual:.1e}")
        click.echo(f"{report.out}: tables, pictures in {report.out / 'plots'}")

    return Answer({**report.document, "layers": report.found.layers, "folder": report.out}, show)


@cli.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option(
    "--samples", type=click.IntRange(min=2), default=64, show_default=True, help="Test images, class-balanced."
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder, written anew; default RUN_DIR/diagnosis.")
@paper_option
@set_option
@machine_options
@answering
def diagnose(
    run_dir: Path,
    samples: int,
    out: Path | None,
    paper: bool,
    overrides: tuple[str, ...],
    device: str,
    threads: int | None,
) -> Answer:
    """Say what the dynamics of the network trained in RUN_DIR do.

    Rest, saturation, contraction, and how states and gradients answer to the nudge.
    """
    from neurosim_ep.analysis.style import Output
    from neurosim_ep.diagnosis.report import diagnose
    from neurosim_ep.experiment.opening import Experiment

    run = Experiment.open(run_dir, device=device, overrides=overrides)
    found = diagnose(run, samples, out, threads=threads, output=Output.of((), paper=paper), say=say)

    def show() -> None:
        print_pairs(found.summary())
        title, findings = found.findings()
        click.echo(f"\nLayers\n{table(found.layer_table())}\n\n{title}")
        for finding in findings:
            click.echo(f"- {finding}")

    return Answer({**found.document, "layers": found.layers, "folder": found.folder}, show)
