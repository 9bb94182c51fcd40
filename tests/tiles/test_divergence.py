"""Numbers that are no longer finite are a divergence on real tiles too, and not a bug, a hang or a finished run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from neurosim_ep.errors import DivergenceError
from neurosim_ep.experiment.opening import Experiment
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.scenario.schema import DeviceSection
from neurosim_ep.tiles.pulses import extents, make_trains
from neurosim_ep.train.run import run
from neurosim_ep.train.trainer import Trainer

SMALL = (
    "data.train_samples=20", "data.test_samples=10", "training.epochs=1", "relaxation.free_steps=2",
    "relaxation.nudge_steps=2", "training.batch_size=10", "telemetry.plots=false",
    "telemetry.report=false", "telemetry.traffic_every=0",
    "hardware.device.preset=EcRam", "training.update_limit=0",
)  # fmt: skip


@pytest.mark.parametrize("rate", ["1e4", "1e6"])
def test_an_update_beyond_all_ranges_ends_the_run_at_once(tmp_path: Path, rate: str) -> None:
    """A device would be at its bound long before; the pulses would take for ever."""
    scenario = load_scenario("smoke", [*SMALL, f"training.learning_rate={rate}"])
    with pytest.raises(
        DivergenceError, match=r"a device is to change by more than 1000 times its range; lower training"
    ):
        run(scenario, tmp_path / "out", device="cpu")
    assert json.loads((tmp_path / "out/run.json").read_text())["status"] == "diverged"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_states_that_are_not_finite_are_not_written(value: float) -> None:
    section = DeviceSection(preset="EcRam", update="two_pass")
    trains = make_trains(torch.tensor([[1.0, value]]), torch.ones(1, 3), 0.1, 0.01, section)
    with pytest.raises(DivergenceError, match="states or errors that are to be written are not finite"):
        extents([trains])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_momentum_that_is_not_finite_is_a_divergence(value: float) -> None:
    """Even where the weights are still finite, as devices clip theirs."""
    trainer = Trainer(Experiment.open(load_scenario("smoke", SMALL), device="cpu"))

    def break_after_the_last(batch: int) -> None:
        if batch == trainer.batches:
            next(iter(trainer.optimiser.momenta.values())).fill_(value)

    with pytest.raises(DivergenceError, match="loss, states or weights are not finite"):
        trainer.train_epoch(0, break_after_the_last)
