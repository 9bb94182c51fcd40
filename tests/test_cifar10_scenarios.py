"""The quarter-width scenarios on CIFAR-10: within a network they differ in their signals alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from neurosim_ep import resources
from neurosim_ep.scenario.load import load_scenario

NAMES = sorted(name for name in resources.shipped_files("scenarios") if name.startswith("cifar10/"))


@pytest.mark.parametrize("name", NAMES)
def test_budgets_are_equal_within_a_network(name: str) -> None:
    plain = load_scenario(f"{name.rsplit('_', 1)[0]}_plain")
    mine = load_scenario(name)
    same = {"scenario": mine.scenario, "signals": mine.signals}
    assert plain.model_copy(update=same) == mine
    preset, kind = Path(name).name.split("_")
    assert mine.network.preset == preset
    assert mine.signals.kind == {"plain": "none"}.get(kind, kind)
    assert mine.scenario.name == Path(name).name
    convolutions = [place for place, plan in enumerate(mine.network.layer_plans(10)) if plan.kind == "conv"]
    assert set(mine.signals.layers) <= set(convolutions)
    assert mine.relaxation.nudge_steps >= len(convolutions)  # the readout's error reaches the first layer


def test_the_networks_of_the_results_are_there() -> None:
    assert [f"cifar10/{name}" for name in (
        "vgg11_kd", "vgg11_le", "vgg11_plain", "vgg13_le", "vgg13_plain", "vgg7_kd", "vgg7_le", "vgg7_plain"
    )] == NAMES  # fmt: skip
