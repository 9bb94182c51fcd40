"""What converters must resolve: `python tests/benchmarks/converter_bits.py RUN_DIR... --picture PICTURE.png`.

The trained networks of the RUN_DIRs, which learned by different rules or gains, are put on real tiles whose converters
have so many bits (drivers exact, ranges calibrated). Of one batch of test images: the cosine of each connection's
update with that of ideal tiles, the lowest and the median of all connections; and, at ``BITS_SHOWN`` bits, the signal
of each layer, mean |s⁺ − s⁻| or, of backpropagation, mean |δ|, in steps of the conversion that carries it down to it.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.style import context
from subject import Subject, add_device, load_subject
from torch import Tensor

from neurosim_ep.analysis.load import open_run
from neurosim_ep.analysis.scales import log_axis, log_line
from neurosim_ep.analysis.style import FAINT, INK, STYLE, canvas, layer_axis, look
from neurosim_ep.analysis.sweep import method
from neurosim_ep.diagnosis.nudging import cosine
from neurosim_ep.experiment.model import build_model
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.scenario.schema import HardwareSection
from neurosim_ep.scheduler.engine import Engine
from neurosim_ep.scheduler.presentation import EPGradients, Gradients
from neurosim_ep.scheduler.schedule import Schedule
from neurosim_ep.telemetry.resolution import RESOLVED
from neurosim_ep.tiles.crossbar import TRANSPOSED
from neurosim_ep.train.step import Step

BITS = (4, 5, 6, 7, 8, 9, 10)
BITS_SHOWN = 8


def on_tiles(subject: Subject, bits: int) -> Subject:
    """The same network on tiles whose converters have ``bits``."""
    asked = {"model": subject.scenario.hardware.model, "converters": {"adc_bits": bits}}
    scenario = subject.scenario.model_copy(update={"hardware": HardwareSection.model_validate(asked)})
    model = build_model(scenario, subject.model.network.num_classes, tuple(subject.x.shape[1:])).to(subject.x.device)
    model.network.load_state_dict(subject.model.network.state_dict())
    if model.signals is not None and subject.model.signals is not None:
        model.signals.load_state_dict(subject.model.signals.state_dict())
    assert model.tiles is not None
    model.tiles.program()
    return replace(subject, scenario=scenario, model=model)


def presented(subject: Subject) -> Gradients:
    """The update of the batch, with converters calibrated on it."""
    scenario, model = subject.scenario, subject.model
    engine = Engine(model.network, Schedule.of(scenario.scheduler, scenario.relaxation), model.feedback)
    step = Step(scenario, model, engine)
    if model.tiles is not None:
        with model.tiles.calibrating():
            step.present(subject.batch)
        with model.tiles.counting():
            return step.present(subject.batch)
    return step.present(subject.batch)


def cosines(found: Gradients, exact: Gradients) -> list[float]:
    """Of the weights of each connection; 0 where nothing is left."""
    names = [name for name in exact.grads if name.startswith("connections") and name.endswith("weight")]
    return [cosine(found.grads[name].double().flatten(), exact.grads[name].double().flatten()) or 0.0 for name in names]


def signals_in_steps(subject: Subject, found: Gradients) -> list[float]:
    """Of every layer but the last, to which nothing is passed down."""
    assert subject.model.tiles is not None and found.terms is not None
    network, tiles, gains = subject.model.network, subject.model.tiles, subject.model.feedback.of_reads()
    ends = [end for _, end in found.terms.ends]
    shifts: list[Tensor] = ends[0]
    if isinstance(found, EPGradients):
        shifts = [high - low for high, low in zip(*ends, strict=True)]
    in_steps = []
    for layer in range(network.layers - 1):
        steps = [gains[n] * float(tiles.arrays[n].step("nudge", TRANSPOSED) or 0) for n in network.out_of(layer)]
        in_steps.append(float(shifts[layer].abs().mean()) / max(steps))
    return in_steps


def measured(run_dir: Path, batch: int, device: torch.device) -> tuple[pd.DataFrame, list[float], list[str]]:
    """Cosines against bits, signals in steps, and the names of their layers."""
    subject = load_subject(run_dir, batch, device)
    exact, rows, shown = presented(subject), [], []
    for bits in BITS:
        real = on_tiles(subject, bits)
        found = presented(real)
        values = sorted(cosines(found, exact))
        rows.append({"bits": bits, "lowest cosine": values[0], "median cosine": values[len(values) // 2]})
        if bits == BITS_SHOWN:
            shown = signals_in_steps(real, found)
    return pd.DataFrame(rows), shown, subject.model.network.layer_names[: len(shown)]


def draw(found: dict[str, tuple[pd.DataFrame, list[float], list[str]]], label: str) -> Figure:
    """Cosines against bits, and signals of every layer in steps, a colour per method."""
    figure = canvas(
        "What must the converters resolve?",
        label,
        "Trained networks, put on tiles with converters of so many bits; one batch of test images, drivers exact.",
        width=11.5,
        height=5.6,
    )
    left, right = figure.subplots(1, 2)
    for number, (name, (table, steps, _)) in enumerate(found.items()):
        colour, marker = look(number)
        left.plot(table["bits"], table["median cosine"], color=colour, marker=marker, label=name)
        left.plot(table["bits"], table["lowest cosine"], color=colour, marker=marker, linestyle=":", linewidth=1.2)
        log_line(right, np.arange(len(steps)), np.array(steps), color=colour, marker=marker)
    for height in (0, 1):
        left.axhline(height, color=INK, linewidth=0.6)
    left.set_ylim(-0.6, 1.08)
    left.set_xticks(BITS)
    left.set_xlabel("bits of the converters (ADC)")
    left.set_ylabel("cosine with the update on ideal tiles")
    left.set_title("What is left of a weight update\nsolid: median of all connections, dotted: the worst")
    log_axis(right.yaxis)
    low = right.get_ylim()[0]
    right.axhspan(low, RESOLVED, color=FAINT, alpha=0.3, linewidth=0)
    right.set_ylim(bottom=low)
    right.set_ylabel(f"steps of a {BITS_SHOWN}-bit conversion")
    right.set_title("What moves each layer: nudge |s⁺ − s⁻| or error |δ|\ngrey: below half a step, mostly rounding")
    layer_axis(right, next(iter(found.values()))[2])
    right.set_xlabel("layer (input side on the left)")
    for axes in (left, right):
        axes.grid(axis="y")
    handles = left.get_legend_handles_labels()[0]
    if any(0 in steps for _, steps, _ in found.values()):
        handles.append(Line2D([], [], color=INK, marker="x", linestyle="", label="exactly zero (lower edge)"))
    figure.legend(handles=handles, loc="outside lower center", ncols=5)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run_dirs", type=Path, nargs="+")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--batch", type=int, default=48)
    add_device(parser)
    options = parser.parse_args()
    found = {}
    for run_dir in options.run_dirs:
        name = method(open_run(run_dir))
        found[name] = table, steps, layers = measured(run_dir, options.batch, options.device)
        print(f"\n{name}\n{table.to_string(index=False, float_format='{:.4f}'.format)}")
        print("steps:", "  ".join(f"{layer} {value:.2g}" for layer, value in zip(layers, steps, strict=True)))
    if options.picture:
        scenario = load_scenario(options.run_dirs[0] / "scenario.toml")
        label = f"{scenario.network.preset}, width {scenario.network.width:g}, {scenario.data.kind}"
        with context(STYLE):
            draw(found, label).savefig(options.picture, dpi=120)


if __name__ == "__main__":
    main()
