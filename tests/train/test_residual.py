"""A residual network, as shipped, through every command: strides, an identity, a pooled identity and a 1x1 skip."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pandas as pd
import pytest
import torch

from neurosim_ep.cli import main
from neurosim_ep.ep.network import channels_last, make_edges
from neurosim_ep.ep.primitive import weight_derivative
from neurosim_ep.errors import RunInterrupted, ScenarioError
from neurosim_ep.experiment.opening import Experiment
from neurosim_ep.progress import QuietReporter
from neurosim_ep.record.rundir import RunDirectory
from neurosim_ep.scenario.load import dump_scenario, load_scenario, parse_scenario
from neurosim_ep.scenario.schema import Scenario
from neurosim_ep.scenario.topology import EdgePlan, LayerPlan, is_plain, two_colours
from neurosim_ep.train.estimate import estimate_measured
from neurosim_ep.train.resume import resume
from neurosim_ep.train.run import run
from neurosim_ep.train.trainer import Trainer

SHORT = (
    "data.train_samples=48", "data.test_samples=10", "training.epochs=2", "relaxation.free_steps=6",
    "relaxation.nudge_steps=4", "telemetry.traffic_every=2", "telemetry.plots=false", "telemetry.report=false",
)  # fmt: skip
REAL = ("hardware.converters.preset=eight_bit", "hardware.device.preset=EcRam")


def residual(*overrides: str) -> Scenario:
    return load_scenario("smoke_residual", [*SHORT, *overrides])


class StopInSecondEpoch(QuietReporter):
    def batch(self, epoch: int, batch: int) -> None:
        if epoch == 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize("sets", [(), REAL], ids=["ideal", "real tiles"])
def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path: Path, sets: tuple[str, ...]) -> None:
    whole = run(residual(*sets), tmp_path / "whole", device="cpu").out
    with pytest.raises(RunInterrupted):
        run(residual(*sets), tmp_path / "parts", device="cpu", reporter=StopInSecondEpoch())
    parts = resume(tmp_path / "parts", device="cpu").out
    trained = [torch.load(path / "checkpoints/last.pt", weights_only=True)["trainer"] for path in (whole, parts)]
    ours, theirs = (one["network"] for one in trained)
    assert len(ours) == 2 * 6 + 2  # weights and biases of six connections, and the readout; identities have none
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    for name in ("layers", "tiles", "cost"):
        assert (whole / f"{name}.csv").read_bytes() == (parts / f"{name}.csv").read_bytes()


@pytest.mark.parametrize("sets", [(), REAL], ids=["ideal", "real tiles"])
def test_an_estimate_is_the_first_batch_of_a_run(sets: tuple[str, ...]) -> None:
    scenario = residual(*sets)
    found = estimate_measured(scenario, 16, "cpu").recording.counts
    _, counts = Trainer(Experiment.open(scenario, device="cpu")).train_epoch(0, lambda batch: None).traffic[0]
    assert (found.traffic == counts.traffic).all() and (found.update == counts.update).all()
    assert all((found.sends[phase] == counts.sends[phase]).all() for phase in counts.sends)


@pytest.mark.whole
def test_every_command_works_on_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run(residual(), tmp_path / "run", device="cpu").out
    layers = pd.read_csv(out / "layers.csv")
    assert list(layers[layers["epoch"] == 1]["name"]) == ["conv1", "conv2", "conv3", "conv4", "fc1", "readout"]
    tiles = set(pd.read_csv(out / "tiles.csv")["name"])
    assert "conv3_from_conv2" in tiles and "conv2_from_conv1" not in tiles  # an identity has no tiles
    cost = (out / "cost.csv").read_bytes()
    for command in (
        ["recost", str(out), "--hw", "rram_32nm", "--out", str(tmp_path / "bill")],
        ["diagnose", str(out), "--samples", "10"],
        ["gdu", str(out), "--out", str(tmp_path / "gdu")],
        ["export", str(out), "--format", "booksim", "--out", str(tmp_path / "packets")],
        ["plot", str(out)],
        ["check", "smoke_residual"],
    ):
        assert main(command) == 0, command
    assert (tmp_path / "bill" / "cost.csv").read_bytes() == cost
    assert len(pd.read_csv(tmp_path / "gdu" / "gdu_layers.csv")["name"].unique()) == 6
    assert "conv4_from_conv3  identity" in capsys.readouterr().out
    assert RunDirectory.open(out).info()["status"] == "done"


def test_edges_survive_being_written_and_read() -> None:
    scenario = residual()
    assert parse_scenario(tomllib.loads(dump_scenario(scenario)), "again.toml") == scenario
    plans = scenario.network.layer_plans(10)
    assert plans[3].incoming(3) == (EdgePlan(2, "conv", 3, 1, 1, "max"), EdgePlan(2, "identity", pool="max"))
    assert not is_plain(plans) and is_plain([LayerPlan("conv", 4), LayerPlan("linear", 3)])


LAYERS = [*({"kind": "conv", "size": 4} for _ in range(3)), {"kind": "linear", "size": 4}]


@pytest.mark.parametrize(
    ("layer", "edges", "said"),
    [
        (0, [{"layer": 0}], "network.layers[0].from = [{"),
        (1, [{"layer": 1}], "layer 1 must name layers below it"),
        (1, [{"layer": 0, "kind": "identity"}], 'must begin with an edge of kind = "same"'),
        (1, [{"layer": 0}, {"layer": 0}], "names an edge twice"),
        (1, [{"layer": 0, "stride": 2}], 'is not for kind = "same"'),
        (1, [{"layer": 0, "sizes": 2}], "unknown key"),
        (2, [{"layer": 0}], "layer 1 drives no other"),
        (3, [{"layer": 2}, {"layer": 2, "kind": "identity", "pool": "max"}], "has nothing to pool"),
    ],
)
def test_edges_that_make_no_sense_are_refused(layer: int, edges: list[dict[str, object]], said: str) -> None:
    layers = [dict(spec) for spec in LAYERS]
    layers[layer]["from"] = edges
    with pytest.raises(ScenarioError, match="1 problem") as problem:
        parse_scenario({"network": {"preset": "custom", "layers": layers}}, "mine.toml")
    assert said in str(problem.value)


def test_edges_of_other_shapes_are_refused() -> None:
    layers = [dict(spec) for spec in LAYERS]
    layers[2] |= {"stride": 2, "from": [{"layer": 1}, {"layer": 0, "kind": "identity"}]}
    scenario = parse_scenario({"network": {"preset": "custom", "layers": layers}}, "mine.toml")
    with pytest.raises(ScenarioError, match=r"conv3_from_conv1 gives layer conv3 the shape \(4, 32, 32\), and conv3 "):
        _ = Experiment.open(scenario, device="cpu").model


def test_edges_between_the_same_layers_have_names_of_their_own() -> None:
    plan = LayerPlan("conv", 4)
    skips = (EdgePlan(0, "conv"), EdgePlan(0, "conv", 3, padding=1), EdgePlan(0, "identity"))
    edges = make_edges([plan, plan._replace(edges=(plan.own(0), *skips))], (3, 8, 8))
    assert [edge.name for edge in edges[2:]] == [f"conv2_from_conv1{end}" for end in ("", "_2", "_3")]


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7, 8])
@pytest.mark.parametrize(("stride", "side"), [(2, 16), (2, 15), (4, 16), (3, 15)])
def test_derivatives_of_small_strided_convolutions_stay_in_their_memory(channels: int, stride: int, side: int) -> None:
    random = torch.Generator().manual_seed(0)
    out = (side - 1) // stride + 1
    pre, routed = (torch.randn(8, *shape, generator=random) for shape in ((channels, side, side), (5, out, out)))
    weight = torch.randn(5, channels, 1, 1, generator=random)
    found, _ = weight_derivative(channels_last(pre), channels_last(routed), channels_last(weight), 0, stride)
    exact = torch.einsum("bchw,bdhw->dc", pre[:, :, ::stride, ::stride].double(), routed.double())
    torch.testing.assert_close(found[:, :, 0, 0].double(), exact, rtol=1e-4, atol=1e-3)


def test_layers_that_cannot_take_turns_are_refused() -> None:
    assert two_colours([(-1, 0), (0, 1), (1, 2), (0, 3), (2, 3)], 4) == [0, 1, 0, 1]
    assert two_colours([(-1, 0), (0, 1), (1, 2), (0, 2)], 3) is None
    layers = [dict(spec) for spec in LAYERS]
    layers[2]["from"] = [{"layer": 1}, {"layer": 0, "kind": "identity"}]
    document = {"network": {"preset": "custom", "layers": layers}, "scheduler": {"policy": "alternating"}}
    with pytest.raises(ScenarioError, match="a ring of an odd number of layers"):
        parse_scenario(document, "mine.toml")


def test_a_teacher_of_the_same_layers_is_for_plain_chains() -> None:
    with pytest.raises(ScenarioError, match=r"teacher\.preset"):
        residual("signals.kind=kd", "signals.learned=false")
