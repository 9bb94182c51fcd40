"""Backpropagation through real tiles: the pass read upwards, the signed error downwards through the same cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neurosim_ep import backprop_gradients
from neurosim_ep.experiment.model import Model, build_model, chip_model
from neurosim_ep.scenario.load import parse_scenario
from neurosim_ep.scenario.schema import HardwareSection
from neurosim_ep.telemetry.resolution import nudge_step
from neurosim_ep.tiles.crossbar import TileArray

NETWORK = {
    "preset": "custom", "activation": "hard_tanh", "weight_scale": 1.2,
    "layers": [
        {"kind": "conv", "size": 5, "pool": "max"}, {"kind": "conv", "size": 6, "pool": "avg"},
        {"kind": "linear", "size": 7},
    ],
}  # fmt: skip
X = torch.randn(8, 2, 8, 8, generator=torch.Generator().manual_seed(0))
Y = torch.arange(8) % 4


def model(converters: dict[str, Any] | None = None, hardware: str = "rram_32nm", **sections: Any) -> Model:
    asked = {
        "network": NETWORK,
        "plasticity": {"rule": "backprop"},
        "signals": {"kind": "none"},
        "hardware": {"model": hardware, "converters": converters or {}},
    }
    return build_model(parse_scenario({**asked, **sections}, "test"), 4, (2, 8, 8))


def exact(made: Model) -> dict[str, Tensor]:
    """Autograd through the same layers in plain PyTorch."""
    network = made.network
    twin = nn.Sequential(
        nn.Conv2d(2, 5, 3, padding=1), nn.MaxPool2d(2), nn.Hardtanh(), nn.Conv2d(5, 6, 3, padding=1), nn.AvgPool2d(2),
        nn.Hardtanh(), nn.Flatten(), nn.Linear(24, 7), nn.Hardtanh(), nn.Linear(7, 4),
    )  # fmt: skip
    for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
        theirs.data.copy_(ours)
    nn.CrossEntropyLoss()(twin(X), Y).backward()
    return {
        name: theirs.grad
        for (name, _), theirs in zip(network.named_parameters(), twin.parameters(), strict=True)
        if theirs.grad is not None
    }


def cosine(one: Tensor, other: Tensor) -> float:
    return float(torch.cosine_similarity(one.flatten(), other.flatten(), 0))


def test_with_tiles_that_change_nothing_it_is_autograd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HardwareSection, "ideal", property(lambda section: False))
    monkeypatch.setattr(TileArray, "exact", property(lambda array: False))
    made = model()
    assert all(connection.tiles is not None for connection in made.network.connections)
    found = backprop_gradients(made.network, X, Y).grads
    for name, gradient in exact(made).items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("bits", "at_least"), [(10, 0.99), (8, 0.9)])
def test_errors_have_a_range_of_their_own(bits: int, at_least: float) -> None:
    """However small they are: of states of size 1, drivers of 8 bits would show nothing of them."""
    made = model({"dac_bits": bits, "adc_bits": bits})
    made.network.readout.weight.mul_(1e-4)  # type: ignore[union-attr]
    found, wanted = backprop_gradients(made.network, X, Y).grads, exact(made)
    for name, gradient in wanted.items():
        assert at_least < cosine(found[name], gradient) < 1 + 1e-6, name


@pytest.mark.parametrize(("hardware", "passes"), [("rram_32nm", 1), ("two.toml", 2)])
def test_each_direction_is_read_once_in_a_phase_of_its_own(
    hardware: str, passes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where lines carry no sign positive errors are driven first, then negative ones."""
    monkeypatch.chdir(tmp_path)
    two = chip_model(HardwareSection()).changed({"array.signed_inputs": "two_passes"}, "test")
    Path("two.toml").write_text(two.to_toml())
    made = model({"dac_bits": 8, "adc_bits": 8}, hardware)
    assert made.tiles is not None
    with made.tiles.calibrating(), made.tiles.counting():
        backprop_gradients(made.network, X, Y)
    first, *others = made.tiles.arrays
    assert set(first.conversions) == {("free", "forward")}
    for array in others:
        assert set(array.conversions) == {("free", "forward"), ("nudge", "transposed")}
        geometry = array.geometry
        lines = geometry.fan_in * geometry.positions * len(X)
        up, down = (array.conversions[key] for key in (("free", "forward"), ("nudge", "transposed")))
        assert up.done == passes * geometry.channels * geometry.positions * len(X) * len(array.blocks["forward"])
        assert down.done == passes * lines * len(array.blocks["transposed"])


def test_the_terms_are_the_gradient() -> None:
    made = model()
    found = backprop_gradients(made.network, X, Y)
    assert found.terms is not None and found.terms.pre is not None
    ((sign, errors),) = found.terms.ends
    network = made.network
    last = network.connections[-1]
    weight, bias = last.update(found.terms.pre[-2], errors[-1])
    torch.testing.assert_close(-sign * weight, found.grads["connections.2.weight"])
    torch.testing.assert_close(-sign * bias, found.grads["connections.2.bias"])
    assert found.terms.scales == [1.0, 1.0, 1.0]


def test_gains_of_the_scenario_are_those_of_phases_it_does_not_have() -> None:
    feedback = model(relaxation={"feedback": 0.3, "nudge_feedback": 0.5}).feedback
    assert (feedback.feedback, feedback.nudge_feedback) == (0.0, 1.0)


def test_the_step_that_hides_a_nudge() -> None:
    assert nudge_step(True, 0.2, 0.1) == 0.2
    assert nudge_step(False, 0.2, 0.1) == 0.1
    assert nudge_step(False, 0.2, None) is None
