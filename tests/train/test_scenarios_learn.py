"""The shipped scenarios at full length: up to minutes each, off by default (python -m pytest -m slow)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.train.run import run

pytestmark = pytest.mark.slow


def gradient_spread(out: Path) -> float:
    """Smallest over largest mean |dW| of the connections in the last epoch."""
    layers = pd.read_csv(out / "layers.csv")
    last = layers[(layers["epoch"] == layers["epoch"].max()) & (layers["name"] != "readout")]["mean_abs_dW"]
    return float(last.min() / last.max())


@pytest.mark.parametrize("name", ["vgg11_gains", "vgg11_le"])
def test_gains_make_vgg11_learn_and_keep_its_gradients(tmp_path: Path, name: str) -> None:
    result = run(
        load_scenario(name, ["telemetry.plots=false", "telemetry.report=false"]), tmp_path / "run", device="cpu"
    )
    assert result.metrics["test_accuracy"] >= 0.9
    assert gradient_spread(result.out) > 3e-3


def test_published_plain_vgg11_stays_at_chance_and_its_gradients_vanish(tmp_path: Path) -> None:
    result = run(load_scenario("vgg11_plain"), tmp_path / "plain")
    assert result.metrics["test_accuracy"] <= 0.15
    assert gradient_spread(result.out) < 1e-3


@pytest.mark.parametrize("name", ["smoke", "smoke_tiles"])
def test_smoke_learns_in_its_seconds(tmp_path: Path, name: str) -> None:
    result = run(
        load_scenario(name, ["telemetry.plots=false", "telemetry.report=false"]), tmp_path / "run", device="cpu"
    )
    assert result.metrics["test_accuracy"] >= 0.5  # chance: 0.1
