"""The presets with skips: their layers, and every command on them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from nets import batch, double_network

from neurosim_ep import Phases, Schedule, backprop_gradients, ep_gradients
from neurosim_ep.cli import main
from neurosim_ep.ep.network import Network, build_network
from neurosim_ep.errors import ScenarioError
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.scenario.schema import NetworkSection
from neurosim_ep.scenario.topology import IMAGE
from neurosim_ep.train.run import run

PRESETS = ("resnet13", "vgg13_skip")
SMALL = (
    "network.layers=[]", "network.width=0.03", "network.activation=hard_tanh", "network.weight_scale=1.2",
    "signals.kind=none", "scheduler.policy=sweep", "relaxation.free_steps=3", "relaxation.nudge_steps=1",
    "relaxation.feedback=0.1", "relaxation.nudge_feedback=1.0", "data.train_samples=10", "data.test_samples=10",
    "training.epochs=1", "telemetry.traffic_every=1", "telemetry.plots=false", "telemetry.report=false",
)  # fmt: skip


def network_of(preset: str, width: float) -> Network:
    return build_network(NetworkSection(preset=preset, width=width), 10, (3, 32, 32), seed=0)  # type: ignore[arg-type]


def test_resnet13_is_the_published_one_but_for_the_skip_of_the_image() -> None:
    network = network_of("resnet13", 0.25)
    assert network.state_shapes == [
        (32, 32, 32), (32, 16, 16), (64, 16, 16), (64, 8, 8), (128, 8, 8), (128, 4, 4), (128, 4, 4), (128, 2, 2)
    ]  # fmt: skip
    edges = [(edge.source, edge.target) for edge in network.edges]
    chain = [(layer - 1, layer) for layer in range(8)]
    assert sorted(edges) == sorted([*chain, (1, 3), (3, 5), (5, 7)])
    for connection in network.connections:
        skip = connection.target - connection.source == 2
        assert connection.stride == (2 if connection.target % 2 else 1)
        assert connection.weight.shape[2:] == ((1, 1) if skip else (3, 3)) and connection.pool is None
    inside = NetworkSection(preset="resnet13", loss="squared_error").layer_plans(10)
    assert [plan.size for plan in inside] == [128, 128, 256, 256, 512, 512, 512, 512, 10]


def test_vgg13_skip_has_an_identity_in_every_block() -> None:
    network, plain = network_of("vgg13_skip", 0.3), network_of("vgg13", 0.3)
    assert network.state_shapes == plain.state_shapes
    skips = [edge for edge in network.edges if edge.kind == "identity"]
    assert [(edge.source, edge.target, edge.pool) for edge in skips] == [(n, n + 1, "max") for n in (0, 2, 4, 6, 8)]
    for ours, theirs in zip(network.connections, plain.connections, strict=True):
        assert ours.source == theirs.source and torch.equal(ours.weight, theirs.weight)
    assert network.edges[0].source == IMAGE


@pytest.mark.parametrize("preset", PRESETS)
def test_ep_with_one_sweep_points_where_backpropagation_does(preset: str) -> None:
    """γ → 0 and κ = 1, on the whole graph: the layers of a skip are swept once each."""
    section = NetworkSection(preset=preset, width=0.03, activation="hard_tanh", weight_scale=1.2)  # type: ignore[arg-type]
    network = double_network(section, seed=0, image=(3, 32, 32))
    x, y = batch(network, 4, 0)
    exact = backprop_gradients(network, x, y).grads
    found = ep_gradients(
        network,
        x,
        y,
        Phases(free_steps=1, nudge_steps=1, beta=1e-4, feedback=0.0, nudge_feedback=1.0, schedule=Schedule("sweep")),
    ).grads
    for name, gradient in exact.items():
        assert float((found[name] - gradient).norm()) < 1e-3 * float(gradient.norm()), name


@pytest.mark.whole
@pytest.mark.parametrize("preset", PRESETS)
def test_every_command_works_on_them(preset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sets = [f"network.preset={preset}", *SMALL]
    words = [word for value in sets for word in ("--set", value)]
    out = run(load_scenario("smoke", sets), tmp_path / "run", device="cpu").out
    layers = pd.read_csv(out / "layers.csv")
    assert (layers["norm_dW"] > 0).all() and (pd.read_csv(out / "cost.csv")["energy_J"] >= 0).all()
    for command in (
        ["check", "smoke", *words],
        ["estimate", "smoke", "--samples", "2", *words],
        ["gdu", str(out), "--samples", "1", "--out", str(tmp_path / "gdu")],
        ["run", "smoke", *words, "--set", "plasticity.rule=backprop", "--quiet", "--out", str(tmp_path / "yardstick")],
    ):
        assert main(command) == 0, command
    assert ("conv4_from_conv2" if preset == "resnet13" else "conv2_from_conv1") in capsys.readouterr().out


def test_resnet13_pools_nothing_and_cannot_take_turns() -> None:
    with pytest.raises(ScenarioError, match=r"network\.pool"):
        load_scenario("smoke", [*SMALL, "network.preset=resnet13", "network.pool=avg"])
    with pytest.raises(ScenarioError, match="a ring of an odd number of layers"):
        load_scenario("smoke", [*SMALL, "network.preset=resnet13", "scheduler.policy=alternating"])
