"""What sending less costs: `python tests/benchmarks/thresholds.py RUN_DIR PICTURE.png` prints a table and draws it.

The trained network of RUN_DIR relaxes with the event policy at every threshold θ. Accuracy is that of the readout on
test images; events and energy (of the event style, the run's hardware model) are those of one recorded training batch,
per sample; the cosine is that of the EP gradient with the one at θ = 0, the lowest of all connections. The network was
trained without sending thresholds: a network trained with one may do better.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
import torch
from matplotlib.figure import Figure
from relaxation import Product
from subject import Subject, add_device, load_subject

from neurosim_ep.analysis.style import INK, PALETTE, STYLE, canvas
from neurosim_ep.hardware.bill.cost import bill, energy_by
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.scheduler.engine import Engine
from neurosim_ep.scheduler.presentation import EPGradients, free_phase
from neurosim_ep.scheduler.schedule import Schedule
from neurosim_ep.telemetry.counters import TileCounter

THRESHOLDS = (0.0, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)


def accuracy(subject: Subject, schedule: Schedule) -> float:
    """Share of the subject's images that are classified correctly."""
    network, relaxation = subject.model.network, subject.scenario.relaxation
    engine, correct = Engine(network, schedule), 0
    for x, y in zip(subject.x.split(250), subject.y.split(250), strict=True):
        received = free_phase(network, x, relaxation.free_steps, engine=engine).received
        correct += int((network.logits(received).argmax(1) == y).sum())
    return correct / len(subject.y)


def recorded(batch: Subject, schedule: Schedule) -> tuple[EPGradients, float, float]:
    """Gradient of one batch, events and joules of the event style per sample."""
    relaxation, model = batch.scenario.relaxation, batch.model
    counter = TileCounter(model.plan, batch.x.device)
    product = Product(batch, schedule, relaxation.free_steps, relaxation.nudge_steps)
    result = product.present(counter)
    counts = counter.result(len(batch.y))
    energy_J = float(energy_by(bill(model.recording(counts))).set_index("style")["energy_J"][Style.EVENT])
    return result, sum(int(t.sum()) for t in counts.events.values()) / len(batch.y), energy_J / len(batch.y)


def sweep(run_dir: Path, images: int, batch: int, device: torch.device) -> pd.DataFrame:
    """One row per threshold."""
    many, few = load_subject(run_dir, images, device), load_subject(run_dir, batch, device)
    relaxation, rows, exact = many.scenario.relaxation, [], None
    for threshold in THRESHOLDS:
        schedule = Schedule("event", relaxation.tolerance, relaxation.nudge_tolerance, thresholds=threshold)
        result, events, energy_J = recorded(few, schedule)
        exact = exact or result
        cosines = [
            float(torch.cosine_similarity(grad.double().flatten(), exact.grads[name].double().flatten(), 0))
            for name, grad in result.grads.items()
            if name.startswith("connections") and name.endswith("weight")
        ]
        rows.append(
            {
                "θ": threshold, "accuracy": accuracy(many, schedule), "events per sample": events,
                "energy per sample (J)": energy_J, "lowest gradient cosine": min(cosines),
                "free ticks": float(result.free_phase.ticks.float().mean()),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, label: str) -> Figure:
    """Accuracy and gradient cosine, and events and energy relative to θ = 0, against θ."""
    figure = canvas(
        "What a sending threshold saves and costs", label, "Trained without a threshold; θ = 0 stands left."
    )
    left, right = figure.subplots(1, 2, sharex=True)
    places = range(len(table))
    for axes, columns, title in (
        (left, ("accuracy", "lowest gradient cosine"), "what it costs"),
        (right, ("events per sample", "energy per sample (J)"), "what it saves, relative to θ = 0"),
    ):
        for column, colour in zip(columns, PALETTE, strict=False):
            values = table[column] if axes is left else table[column] / table[column].iloc[0]
            axes.plot(places, values, color=colour, marker="o", label=column.replace(" (J)", ""))
        axes.set_title(title)
        axes.grid(axis="y")
        axes.set_xticks(places, [f"{threshold:g}" for threshold in table["θ"]], rotation=30)
        axes.set_xlabel("threshold θ  (state units)")
        axes.set_ylim(0 if axes is right else min(0.0, table["lowest gradient cosine"].min()), 1.05)
        axes.axhline(1, color=INK, linewidth=0.6)
        axes.legend(loc="lower left")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=32)
    add_device(parser)
    options = parser.parse_args()
    table = sweep(options.run_dir, options.images, options.batch, options.device)
    print(table.to_string(index=False, float_format=lambda value: f"{value:.4g}"))
    import matplotlib.style

    with matplotlib.style.context(STYLE):
        draw(table, load_scenario(options.run_dir / "scenario.toml").scenario.name).savefig(options.picture, dpi=120)


if __name__ == "__main__":
    main()
