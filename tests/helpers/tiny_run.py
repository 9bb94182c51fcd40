"""Real runs cut short, without pictures: how they are interrupted, and everything that they determine."""

from __future__ import annotations

from pathlib import Path

import h5py
import pandas as pd
import torch

from neurosim_ep.progress import QuietReporter
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.train.run import run

IDX_SCENARIO = """
[scenario]
name = "tiny"
[data]
kind = "idx"
augment = "none"
[network]
preset = "custom"
layers = [{ kind = "conv", size = 4, pool = "max" }, { kind = "linear", size = 8 }]
[relaxation]
free_steps = 3
nudge_steps = 2
[signals]
kind = "le"
layers = [0]
[training]
epochs = 2
batch_size = 6
[telemetry]
traffic_every = 2
plots = false
report = false
"""
"""A run of small images in files that ends within a second; its ``[data]`` lacks a ``root``."""


def tiny_run(out: Path, *overrides: str) -> Path:
    """The run directory ``out`` after one epoch with ``overrides``; every second batch is recorded."""
    shortened = (
        "training.epochs=1",
        "relaxation.nudge_steps=4",
        "telemetry.traffic_every=2",
        "telemetry.plots=false",
        "telemetry.report=false",
        *overrides,
    )
    return run(load_scenario("smoke", shortened), out, device="cpu").out


def narrow_run(out: Path) -> Path:
    """A :func:`tiny_run` of as few ticks, images and channels as have everything in their tables."""
    return tiny_run(
        out, "data.train_samples=40", "data.test_samples=20", "relaxation.free_steps=4", "network.width=0.25"
    )


def outcome(path: Path) -> dict[str, object]:
    """Everything a run determines: weights, and those tables that it has, the wall-clock column left out."""
    state = torch.load(path / "checkpoints/last.pt", weights_only=True)
    found: dict[str, object] = {
        f"weights {name}": value.tolist() for name, value in state["trainer"]["network"].items()
    }
    for table in ("layers.csv", "residual.csv", "tiles.csv", "pulses.csv", "cost.csv", "memory.csv"):
        if (path / table).exists():
            found[table] = (path / table).read_bytes()
    found["epochs.csv"] = pd.read_csv(path / "epochs.csv", dtype=str).drop(columns="seconds").to_csv()
    if (path / "traffic.h5").exists():
        with h5py.File(path / "traffic.h5") as file:
            file.visititems(
                lambda name, node: found.update({name: node[()].tolist()}) if isinstance(node, h5py.Dataset) else None
            )
    return found


class InterruptingReporter(QuietReporter):
    """Ctrl-C in the middle of the second epoch, or after another batch ``at`` (epoch, batch)."""

    def __init__(self, at: tuple[int, int] = (2, 2)) -> None:
        self.at = at

    def batch(self, epoch: int, batch: int) -> None:
        if (epoch, batch) == self.at:
            raise KeyboardInterrupt


def contents(folder: Path) -> dict[Path, bytes | None]:
    """Every path below ``folder``, with what files hold."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}
