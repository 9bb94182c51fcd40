"""Warnings about failing layers: in time, once, and silent in a healthy run."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from neurosim_ep.experiment.opening import Experiment
from neurosim_ep.progress import QuietReporter
from neurosim_ep.reader import open_run
from neurosim_ep.registry import ACTIVATIONS
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.telemetry.health import COLUMNS, DYING, INPUT_INDEPENDENT, UNRESOLVED, WINDOW, LayerHealth
from neurosim_ep.telemetry.layers import STATE_COLUMNS, state_statistics
from neurosim_ep.train.run import run
from neurosim_ep.train.trainer import Trainer

WELL = {"mean_abs_state": 0.2, "std_across_samples": 0.2 * 0.24, "dead_fraction": 0.4}  # the worst that still learned
DEAD = dict.fromkeys(STATE_COLUMNS, 0.0) | {"fraction_zero": 1.0, "dead_fraction": 1.0}
SILENT = {
    "mean_abs_state": 0.005,
    "std_across_samples": 0.005 * 0.03,
    "dead_fraction": 0.5,
}  # the middle of a failed run


def row(**values: float) -> torch.Tensor:
    return torch.tensor([values.get(name, math.nan if name == COLUMNS[-1] else 0.0) for name in COLUMNS])


def watch(
    layers: list[dict[str, float]], first: int, count: int, health: LayerHealth, samples: int = 8
) -> dict[int, list[str]]:
    """The warnings after ``count`` batches from ``first`` with these statistics, by batch."""
    rows = [row(**values) for values in layers]
    found = {batch: health.add(rows, batch, samples) for batch in range(first, first + count)}
    return {batch: messages for batch, messages in found.items() if messages}


def test_a_layer_that_dies_is_reported_once_in_the_window_in_which_it_is_seen() -> None:
    health = LayerHealth(["conv1", "fc1"], 100, fresh=True)
    assert watch([WELL, WELL], 1, 2 * WINDOW, health) == {}
    found = watch([WELL, DEAD], 1 + 2 * WINDOW, 4 * WINDOW, health)
    assert found == {15: ["layer fc1 is dead: all its states are 0 for every sample (seen by batch 15)"]}
    assert health.close() == []


def test_dying_and_input_independent_layers_are_two_causes() -> None:
    health = LayerHealth(["fc1"], 10, fresh=False)
    both = {"mean_abs_state": 0.01, "std_across_samples": 1e-8, "fraction_zero": 0.7, "dead_fraction": 0.7}
    (messages,) = watch([both], 1, WINDOW, health).values()
    assert messages == [
        "layer fc1 is dying: 70% of its neurons are 0 for every sample of a batch (seen by batch 5)",
        "layer fc1 hardly depends on the input: its states deviate across samples by 1.0e-06 of |s| (seen by batch 5)",
    ]


@pytest.mark.parametrize(
    ("column", "value", "sick"),
    [
        ("dead_fraction", DYING - 0.01, False),
        ("dead_fraction", DYING + 0.01, True),
        ("std_across_samples", 0.2 * INPUT_INDEPENDENT * 1.01, False),
        ("std_across_samples", 0.2 * INPUT_INDEPENDENT * 0.99, True),
        ("mean_abs_nudge_difference", 0.2 * UNRESOLVED * 1.01, False),
        ("mean_abs_nudge_difference", 0.2 * UNRESOLVED * 0.99, True),
        ("mean_abs_nudge_difference", 0.0, False),
    ],
)
def test_the_thresholds(column: str, value: float, sick: bool) -> None:
    found = watch([WELL | {column: value}], 1, WINDOW, LayerHealth(["fc1"], 10, fresh=False))
    assert bool(found) == sick


def test_a_fresh_network_has_half_an_epoch_to_wake_up() -> None:
    health = LayerHealth(["conv1", "fc1"], 40, fresh=True)
    assert list(watch([WELL, SILENT], 1, 40, health)) == [20]
    later = LayerHealth(["conv1", "fc1"], 40, fresh=False)
    assert list(watch([WELL, SILENT], 1, 40, later)) == [5]
    waking = LayerHealth(["conv1", "fc1"], 40, fresh=True)
    assert watch([WELL, SILENT], 1, 15, waking) == watch([WELL, WELL], 16, 25, waking) == {}


def test_what_was_well_and_what_was_said_is_known_after_an_interruption() -> None:
    first, second, third = (LayerHealth(["conv1", "fc1"], 100, fresh=True) for _ in range(3))
    watch([WELL, WELL], 1, WINDOW, first)
    watch([WELL, DEAD], WINDOW + 1, 2, first)
    second.load_state_dict(first.state_dict())
    assert list(watch([WELL, DEAD], WINDOW + 3, WINDOW, second)) == [2 * WINDOW]
    third.load_state_dict(second.state_dict())
    assert watch([WELL, DEAD], 2 * WINDOW + 3, 2 * WINDOW, third) == {}


def test_what_is_left_at_the_end_of_the_epoch_is_judged_too() -> None:
    health = LayerHealth(["fc1"], 4, fresh=True)
    assert watch([SILENT], 1, 1, health) == {}
    (message,) = health.close()
    assert message.startswith("layer fc1 hardly depends on the input") and message.endswith("(seen by batch 1)")


def test_one_sample_says_nothing_about_others() -> None:
    state = state_statistics(torch.rand(1, 20) + 0.1, ACTIVATIONS["hard_sigmoid"])
    state = torch.cat([state, torch.tensor([math.nan])])
    health = LayerHealth(["fc1"], 10, fresh=False)
    assert [health.add([state], batch, samples=1) for batch in range(1, 6)] == 5 * [[]]


def test_a_window_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    read = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda tensor: reads.append(tensor.shape) or read(tensor))
    watch([WELL, WELL, WELL], 1, 3 * WINDOW + 1, LayerHealth(["a", "b", "c"], 100, fresh=False))
    assert reads == 3 * [(3, len(COLUMNS))]


OVERRIDES = (
    "data.train_samples=320", "data.test_samples=40", "training.epochs=1", "relaxation.free_steps=8",
    "relaxation.nudge_steps=4", "telemetry.stats_every=1", "telemetry.traffic_every=0", "telemetry.plots=false",
    "telemetry.report=false",
)  # fmt: skip


def test_a_layer_that_dies_in_training_is_reported_before_the_epoch_ends() -> None:
    """Its bias is driven far below zero in the middle of the epoch; until then nothing is said."""
    scenario = load_scenario("smoke", OVERRIDES)
    trainer = Trainer(Experiment.open(scenario, device="cpu"))
    events: list[str] = []

    def kill(batch: int) -> None:
        events.append(str(batch))
        if batch == 10:
            trainer.model.network.connections[1].bias.fill_(-100.0)

    trainer.train_epoch(0, kill, events.append)
    said = [event for event in events if event.startswith("layer conv2 is dead")]
    assert said == ["layer conv2 is dead: all its states are 0 for every sample (seen by batch 15)"]
    assert events.index(said[0]) < events.index("15") < events.index("20")
    assert not [event for event in events[:10] if event.startswith("layer")]


class Listening(QuietReporter):
    def __init__(self) -> None:
        self.said: list[str] = []

    def warn(self, message: str) -> None:
        self.said.append(message)


@pytest.mark.parametrize("sick", [False, True])
def test_warnings_reach_the_reporter_and_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sick: bool) -> None:
    """A run that learns is silent about its layers; one without any drive is not."""
    reporter = Listening()
    extra = ["network.weight_scale=1e-4", "training.learning_rate=0", "training.update_limit=0"] if sick else []
    result = run(load_scenario("smoke", [*OVERRIDES, *extra]), tmp_path / "out", reporter=reporter)
    said = [message for message in reporter.said if "layer" in message]
    assert bool(said) == sick
    log = (tmp_path / "out/run.log").read_text()
    assert all(f"warning: {message}\n" in log for message in said)
    assert all("epoch 1" in message for message in said)
    assert open_run(result.out).warnings == result.warnings
    assert len(result.warnings) == len(reporter.said), "each kind is shown once and told once at the end"
    assert dict(result.summary()).get("warned of") == (result.warnings[0] if sick else None)
