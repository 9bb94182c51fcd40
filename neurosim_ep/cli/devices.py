"""The command that fits a memory device to measured pulses."""

from __future__ import annotations

from pathlib import Path

import click

from neurosim_ep.cli.answers import Answer, answering
from neurosim_ep.cli.group import cli
from neurosim_ep.display import table
from neurosim_ep.errors import UsageError


@cli.command("fit-device")
@click.argument("data", type=click.Path(path_type=Path), metavar="CSV")
@click.option("--model", default="best", show_default=True, help="An update model, or best: fit all, choose by AIC.")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), metavar="FILE.toml", help="Device file to write."
)
@click.option("--force", is_flag=True, help="Write the device file of a bad fit, too.")
@answering
def fit_device_command(data: Path, model: str, out: Path, force: bool) -> Answer:
    """Fit a memory device to measured pulses, as a device file.

    CSV has a row per reading: pulse, direction (up or down), conductance_S (or _uS, _nS) or weight, and cycle and
    device where there are several. A picture of data and fit is drawn beside the file; nothing is overwritten, and
    what a bad fit gives is not written without --force.
    """
    from neurosim_ep.analysis import devices, style
    from neurosim_ep.tiles.devices.fit import fit_device, refuse_existing

    if out.suffix != ".toml":
        raise UsageError(f"--out {out}: must end in .toml; its pictures are written beside it")
    refuse_existing(out, out.with_suffix(".svg"), out.with_suffix(".png"))
    found = fit_device(data, model)
    if found.doubts and not force:
        click.echo(table(found.rows()), err=True)
        raise UsageError(f"{data}: {'; '.join(found.doubts)}; nothing was written (--force writes it all the same)")
    sweeps = [devices.FittedSweep(s.raising, s.pulses, s.w, found.predicted(s)) for s in found.data.sweeps]
    subtitle = (
        f"{found.data.readings} readings of {data.name}, residual {50 * found.chosen.residual:.2g} % of the range"
    )
    title = f"Device {out.stem}: {found.chosen.kind} model"
    drawn = style.save(lambda: devices.draw_fit(sweeps, title, subtitle, found.data.range_S), out.with_suffix(""))
    found.write(out)

    def show() -> None:
        click.echo(table(found.rows()))
        for path in (out, *drawn):
            click.echo(path)

    return Answer({**found.document(), "files": [out, *drawn]}, show)
