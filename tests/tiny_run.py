"""A real run of the smoke scenario, cut short, without its pictures."""

from __future__ import annotations

from pathlib import Path

from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.train.run import run


def tiny_run(out: Path, *overrides: str) -> Path:
    """The run directory ``out`` after one epoch with ``overrides``; every second batch is recorded."""
    shortened = (
        "training.epochs=1",
        "relaxation.nudge_steps=4",
        "telemetry.traffic_every=2",
        "telemetry.plots=false",
        *overrides,
    )
    return run(load_scenario("smoke", shortened), out, device="cpu").out
