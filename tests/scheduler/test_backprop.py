"""The feed-forward pass and its gradients against plain PyTorch, and backpropagation as a training rule."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import batch, conv, custom, double_network, graphs, linear, sections
from tiny_run import InterruptingReporter
from torch import Tensor, nn

from neurosim_ep import Phases, Schedule, backprop_gradients, ep_gradients
from neurosim_ep.cli import main
from neurosim_ep.ep import losses
from neurosim_ep.ep.feedforward import feed_forward
from neurosim_ep.ep.network import Network
from neurosim_ep.errors import RunInterrupted, UsageError
from neurosim_ep.experiment.opening import Experiment
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.scenario.schema import NetworkSection, Scenario
from neurosim_ep.scheduler.feedforward import feed_forward_passes
from neurosim_ep.train.bench import bench
from neurosim_ep.train.resume import resume
from neurosim_ep.train.run import run
from neurosim_ep.train.trainer import Trainer


def plain_states(network: Network, x: Tensor) -> list[Tensor]:
    """The pass by PyTorch's own operations, σ being replaced by a tangent of the slope that it is said to have."""
    states: list[Tensor] = []
    for layer, activation in enumerate(network.activations):
        drive = sum(
            (
                network.edges[n](x if layer == 0 else states[network.edges[n].source])[0]
                for n in network.incoming[layer]
            ),
            torch.zeros((), dtype=x.dtype),
        )
        held = drive.detach()
        states.append(activation.sigma_(held.clone()) + activation.slope(held.clone()) * (drive - held))
    return states


@settings(max_examples=40, deadline=None)
@given(section=sections() | graphs(), seed=st.integers(0, 2**16))
def test_gradients_are_autograd_of_the_pass(section: NetworkSection, seed: int) -> None:
    """On chains and graphs, with any activation, pooling and loss."""
    network = double_network(section, seed=seed)
    x, y = batch(network, 3, seed)
    found = backprop_gradients(network, x, y)
    parameters = dict(network.named_parameters())
    for value in parameters.values():
        value.requires_grad_(True)
    states = plain_states(network, x)
    loss = losses.output_loss(network, network.logits(states), losses.one_hot(y, network.num_classes, x))
    exact = torch.autograd.grad(loss.mean(), list(parameters.values()), materialize_grads=True, allow_unused=True)
    for value in parameters.values():
        value.requires_grad_(False)
    torch.testing.assert_close(found.loss, loss.detach(), rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(found.free, states, strict=True):
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-12, atol=1e-12)
    assert found.grads.keys() == parameters.keys()
    for name, gradient in zip(parameters, exact, strict=True):
        torch.testing.assert_close(found.grads[name], gradient, rtol=1e-10, atol=1e-13)


def test_gradients_are_those_of_a_plain_sequence_of_modules() -> None:
    section = custom(conv(5, pool="max"), conv(6), linear(7), activation="hard_tanh", weight_scale=1.2)
    network = double_network(section, seed=1)
    x, y = batch(network, 8, 1)
    twin = nn.Sequential(
        nn.Conv2d(x.shape[1], 5, 3, padding=1), nn.MaxPool2d(2), nn.Hardtanh(), nn.Conv2d(5, 6, 3, padding=1),
        nn.Hardtanh(), nn.Flatten(), nn.Linear(network.connections[2].weight.shape[1], 7), nn.Hardtanh(),
        nn.Linear(7, network.num_classes),
    ).double()  # fmt: skip
    for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
        theirs.data.copy_(ours)
    nn.CrossEntropyLoss()(twin(x), y).backward()
    grads = backprop_gradients(network, x, y).grads
    for (name, _), theirs in zip(network.named_parameters(), twin.parameters(), strict=True):
        assert theirs.grad is not None
        torch.testing.assert_close(grads[name], theirs.grad, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(("activation", "corner"), [("hard_sigmoid", 1.0), ("hard_tanh", -1.0)])
def test_no_error_passes_a_corner(activation: str, corner: float) -> None:
    """A state held at a bound passes none on, a drive that just meets the bound included."""
    network = double_network(custom(linear(1), linear(1), activation=activation), seed=0)
    for connection in network.connections:
        connection.weight.zero_()
        connection.bias.fill_(0.5)
    network.connections[0].bias.fill_(corner)
    x, y = batch(network, 2, 0)
    grads = backprop_gradients(network, x, y).grads
    assert float(grads["connections.0.bias"]) == 0
    assert float(grads["connections.1.bias"]) != 0


def test_ep_without_feedback_at_rest_comes_to_it_with_a_smaller_nudge() -> None:
    """γ = 0 and κ = 1: one sweep up and one down; the distance falls as β²."""
    network = double_network(custom(conv(4, pool="avg"), linear(6), activation="sigmoid"), seed=0)
    x, y = batch(network, 4, 0)
    exact = backprop_gradients(network, x, y).grads
    schedule, distances = Schedule("sweep"), []
    for beta in (0.02, 0.01):
        found = ep_gradients(
            network,
            x,
            y,
            Phases(free_steps=1, nudge_steps=1, beta=beta, feedback=0.0, nudge_feedback=1.0, schedule=schedule),
        ).grads
        distances.append(max(float((found[name] - value).norm() / value.norm()) for name, value in exact.items()))
    assert distances[1] < 1e-4
    assert distances[0] / distances[1] == pytest.approx(4, rel=0.05)


def test_many_passes_are_numbered_through() -> None:
    network = double_network(custom(conv(3, pool="avg"), linear(5)), seed=0)
    x, _ = batch(network, 7, 0)
    ends = list(feed_forward_passes(network, x.split(3)))
    assert [numbers.tolist() for numbers, _ in ends] == [[0, 1, 2], [3, 4, 5], [6]]
    whole = feed_forward(network, x).states
    for layer, state in enumerate(whole):
        torch.testing.assert_close(torch.cat([end.states[layer] for _, end in ends]), state, rtol=1e-12, atol=1e-12)


def test_images_of_another_shape_are_refused() -> None:
    network = double_network(custom(linear(4)), seed=0)
    x, y = batch(network, 2, 0)
    with pytest.raises(UsageError, match="x has shape"):
        backprop_gradients(network, x[..., 1:], y)


def tiny(*overrides: str) -> Scenario:
    few = ("data.train_samples=60", "data.test_samples=40", "training.epochs=2", "telemetry.stats_every=2")
    return load_scenario(
        "smoke",
        [
            *few,
            "plasticity.rule=backprop",
            "signals.kind=none",
            "telemetry.plots=false",
            "telemetry.report=false",
            *overrides,
        ],
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tiny(), tmp_path_factory.mktemp("whole") / "run", device="cpu").out


def test_textures_are_learned(tmp_path: Path) -> None:
    few = ("training.epochs=2", "data.train_samples=600", "data.test_samples=200")
    fast = ("training.update_limit=0.1", "training.readout_learning_rate=0.3", "network.activation=hard_tanh")
    result = run(tiny(*few, *fast, "network.weight_scale=1.2"), tmp_path / "run", device="cpu")
    assert (result.metrics["test_accuracy"] or 0) > 0.4  # chance: 0.1


def test_nothing_relaxes_is_nudged_or_counted(whole: Path) -> None:
    assert not {"traffic.h5", "cost.csv"} & {path.name for path in whole.iterdir()}
    assert (whole / "run.log").read_text().count("no traffic or cost is recorded") == 1
    layers, epochs = (pd.read_csv(whole / f"{name}.csv") for name in ("layers", "epochs"))
    for table in (layers, epochs):
        assert table[[name for name in table if "nudge" in name]].isna().all(axis=None)
    assert (epochs["mean_ticks"] == 1).all() and (epochs["not_converged"] == 0).all()
    neurons = layers[layers["name"] != "readout"]
    assert (neurons["updates"] == 60).all() and (neurons["updates_dense"] == 60).all()
    assert (layers["norm_dW"] > 0).all()
    assert pd.read_csv(whole / "residual.csv").empty


def test_the_test_images_take_the_same_pass(whole: Path) -> None:
    experiment = Experiment.open(whole, device="cpu")
    network, data = experiment.model.network, experiment.data
    x = (data.test_images.float() / 255 - data.mean.view(-1, 1, 1)) / data.std.view(-1, 1, 1)
    shown = network.logits(feed_forward(network, x).states).argmax(1)
    accuracy = Trainer(experiment).evaluate().accuracy
    assert accuracy == pytest.approx(float((shown == data.test_labels).double().mean()))
    assert accuracy == pd.read_csv(whole / "epochs.csv")["test_accuracy"].iloc[-1]


def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    scenario = tiny("training.batch_size=16")
    with pytest.raises(RunInterrupted):
        run(scenario, tmp_path / "parts", device="cpu", reporter=InterruptingReporter())
    resume(tmp_path / "parts", device="cpu")
    run(scenario, tmp_path / "whole", device="cpu")
    tables = ("layers.csv", "residual.csv")
    assert [(tmp_path / "parts" / name).read_bytes() for name in tables] == [
        (tmp_path / "whole" / name).read_bytes() for name in tables
    ]
    weights = [
        torch.load(tmp_path / part / "checkpoints/last.pt", weights_only=True)["trainer"]["network"]
        for part in ("parts", "whole")
    ]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_commands_about_phases_refuse_such_a_run(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["diagnose", str(whole)], ["gdu", str(whole)]):
        assert main(words) == 2
        assert 'plasticity.rule = "backprop": this network is a feed-forward pass' in capsys.readouterr().err
    assert main(["estimate", "smoke", "--set", "plasticity.rule=backprop", "--set", "signals.kind=none"]) == 2
    assert 'plasticity.rule = "backprop": only phases of equilibrium propagation' in capsys.readouterr().err


def test_what_tiles_read_in_the_pass_is_exported(whole: Path, tmp_path: Path) -> None:
    assert main(["export", str(whole), "--format", "neurosim", "--out", str(tmp_path / "trace")]) == 0
    found = json.loads((tmp_path / "trace" / "export.json").read_text())
    assert (found["free_phase"]["ticks"], found["free_phase"]["residual"]) == (1, 0)


def test_bench_has_no_phase() -> None:
    found = bench(tiny("relaxation.free_steps=300"), device="cpu")
    assert found.free is None and found.nudge is None and found.recorded_step_ms is None
    assert found.step_ms == found.update_ms > 0
    assert found.reads_GFLOP_per_s > 0 and found.test_epoch_s > 0
    assert [row["part"] for row in found.phase_rows()] == ["update", "step"]
