"""Backpropagation through time: its gradients against autograd of the whole unrolled graph, and as a training rule."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import (
    batch,
    conv,
    custom,
    double_network,
    graphs,
    linear,
    mixed_signals,
    random_states,
    random_teacher,
    sections,
)
from oracles import bptt_gradients as unrolled_gradients

from neurosim_ep.ep import bptt
from neurosim_ep.ep.signals import Errors
from neurosim_ep.errors import RunInterrupted, UsageError
from neurosim_ep.hardware.chip.phases import Phase
from neurosim_ep.progress import QuietReporter
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.scenario.schema import NetworkSection, Scenario
from neurosim_ep.scheduler.engine import Engine
from neurosim_ep.scheduler.observers import ResidualObserver
from neurosim_ep.scheduler.presentation import free_phase
from neurosim_ep.scheduler.schedule import Schedule
from neurosim_ep.scheduler.unrolled import Unrolling, bptt_gradients, recorded_free_phase
from neurosim_ep.train.resume import resume
from neurosim_ep.train.run import run


@settings(max_examples=20, deadline=None)
@given(section=sections() | graphs(), seed=st.integers(0, 2**16), double=st.booleans())
def test_the_differentiable_tick_is_the_synchronous_tick(section: NetworkSection, seed: int, double: bool) -> None:
    network = double_network(section, seed=seed)
    x, states = batch(network, 3, seed)[0], random_states(network, 3, seed)
    if not double:
        network, x, states = network.float(), x.float(), [state.float() for state in states]
    ours = bptt.tick(network, network.input_drive(x)[0], states)
    for state, scheduled in zip(ours, free_phase(network, x, 1, states).states, strict=True):
        tolerance = 1e-12 if double else 1e-6
        torch.testing.assert_close(state, scheduled, rtol=tolerance, atol=tolerance)


@settings(max_examples=20, deadline=None)
@given(section=sections() | graphs(), seed=st.integers(0, 2**16), steps=st.integers(1, 6), data=st.data())
def test_the_sum_over_ticks_is_autograd_of_the_unrolled_graph(
    section: NetworkSection, seed: int, steps: int, data: st.DataObject
) -> None:
    """With any signals, those of a teacher too."""
    network = double_network(section, seed=seed)
    signals = data.draw(mixed_signals(network, seed))
    (x, y), states = batch(network, 3, seed), random_states(network, 3, seed)
    teacher = random_teacher(signals, 3, seed)
    ours = bptt_gradients(
        network,
        x,
        y,
        Unrolling(free_steps=steps, steps=steps),
        Errors(signals, alpha=0.7, teacher=teacher),
        states=states,
    ).grads
    exact = unrolled_gradients(network, x, y, states, steps, signals, 0.7, teacher, outside=True)
    learned = set() if signals is None else {f"signals.{signals.matrix_name(layer)}" for layer in signals.learned}
    assert ours.keys() == {name for name in exact if not name.startswith("signals.") or name in learned}
    for name in ours:
        gradient = exact[name]
        assert ours[name].shape == gradient.shape
        difference = (ours[name] - gradient).abs().max()
        assert difference <= 1e-10 * gradient.abs().max().clamp(min=1e-3), name
    assert not any(value.requires_grad for value in network.parameters())


def pooled_network(loss: str = "cross_entropy") -> NetworkSection:
    return custom(conv(4, pool="max"), conv(5, pool="avg"), linear(6), loss=loss, weight_scale=0.7)


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_only_the_last_ticks_are_gone_back_through(loss: str) -> None:
    network = double_network(pooled_network(loss), seed=2)
    x, y = batch(network, 4, 1)
    found = bptt_gradients(network, x, y, Unrolling(free_steps=9, steps=3))
    exact = unrolled_gradients(network, x, y, free_phase(network, x, 6).states, 3)
    for name, gradient in exact.items():
        torch.testing.assert_close(found.grads[name], gradient, rtol=1e-10, atol=1e-14)
    whole = free_phase(network, x, 9)
    for state, end in zip(found.free, whole.states, strict=True):
        assert torch.equal(state, end)
    assert torch.equal(found.free_phase.change, whole.change)
    assert found.free_phase.ticks.tolist() == [9] * 4


def test_samples_at_rest_leave_before_the_recorded_ticks() -> None:
    network = double_network(pooled_network(), seed=2)
    x, _ = batch(network, 6, 1)
    residual = ResidualObserver()
    engine = Engine(network, Schedule(tolerance=1e-3))
    end, trajectory = recorded_free_phase(engine, x, 200, 5, observers=[residual])
    assert len(trajectory) == 6
    assert int(end.ticks.max()) < 200 and int(end.ticks.min()) > 5
    assert not end.motion.any()
    assert residual.ticks[Phase.FREE] == list(range(1, int(end.ticks.max()) + 1))


@pytest.mark.parametrize(
    ("schedule", "steps", "said"),
    [
        (Schedule(), 0, "steps = 0: must be 1 to free_steps"),
        (Schedule(), 5, "steps = 5: must be 1 to free_steps"),
        (Schedule("alternating"), 2, "policy = 'alternating': must be 'synchronous'"),
        (Schedule(precision="bfloat16"), 2, "precision = 'bfloat16': must be 'float32'"),
    ],
)
def test_what_cannot_be_gone_back_through_is_refused(schedule: Schedule, steps: int, said: str) -> None:
    network = double_network(pooled_network()).float()
    x, y = batch(network, 2)
    with pytest.raises(UsageError, match=said):
        bptt_gradients(network, x.float(), y, Unrolling(free_steps=4, steps=steps), engine=Engine(network, schedule))


def tiny(*overrides: str) -> Scenario:
    few = ("data.train_samples=60", "data.test_samples=40", "relaxation.free_steps=5", "relaxation.nudge_steps=3")
    return load_scenario(
        "smoke",
        [
            *few,
            "training.epochs=2",
            "plasticity.rule=bptt",
            "telemetry.stats_every=2",
            "telemetry.plots=false",
            "telemetry.report=false",
            *overrides,
        ],
    )


def test_a_network_learns_by_bptt_in_one_epoch(tmp_path: Path) -> None:
    few = (
        "training.epochs=1",
        "data.train_samples=500",
        "data.test_samples=200",
        "plasticity.rule=bptt",
        "telemetry.plots=false",
        "telemetry.report=false",
    )
    fast = ("training.schedule=constant", "training.update_limit=0.1", "training.readout_learning_rate=0.3")
    result = run(load_scenario("smoke", [*few, *fast]), tmp_path / "run", device="cpu")
    assert (result.metrics["test_accuracy"] or 0) > 0.3  # chance: 0.1


def test_nothing_is_nudged_or_counted(tmp_path: Path) -> None:
    result = run(tiny(), tmp_path / "run", device="cpu")
    assert not {"traffic.h5", "cost.csv"} & {path.name for path in result.out.iterdir()}
    assert "energy_clocked_J" not in result.metrics
    assert (result.out / "run.log").read_text().count("no traffic or cost is recorded") == 1
    layers, epochs = (pd.read_csv(result.out / f"{name}.csv") for name in ("layers", "epochs"))
    nudged = [name for name in (*layers, *epochs) if "nudge" in name]
    assert nudged
    for table in (layers, epochs):
        assert table[[name for name in nudged if name in table]].isna().all(axis=None)
    assert (layers["norm_dW"] > 0).all()
    assert set(pd.read_csv(result.out / "residual.csv")["phase"]) == {"free"}


def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    class StopInSecondEpoch(QuietReporter):
        def batch(self, epoch: int, batch: int) -> None:
            if epoch == 2:
                raise KeyboardInterrupt

    whole = run(tiny("relaxation.warm_start=memory"), tmp_path / "whole", device="cpu").out
    with pytest.raises(RunInterrupted):
        run(tiny("relaxation.warm_start=memory"), tmp_path / "parts", device="cpu", reporter=StopInSecondEpoch())
    parts = resume(tmp_path / "parts", device="cpu").out
    weights = [
        torch.load(path / "checkpoints/last.pt", weights_only=True)["trainer"]["network"] for path in (whole, parts)
    ]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert (whole / "layers.csv").read_bytes() == (parts / "layers.csv").read_bytes()
