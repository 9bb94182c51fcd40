"""The quarter-width scenarios on CIFAR-10. Those of the published dynamics differ, within a network, in their signals
alone, but for K: without signals it must let the error of the readout reach the first layer. Those with gains differ
from one another in the network alone (the residual one in its optimiser and epochs besides), those with signals on top
from these in the signals, and those on real tiles in size and tiles.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from neurosim_ep import resources
from neurosim_ep.scenario.load import load_scenario

NAMES = sorted(name for name in resources.shipped_files("scenarios") if name.startswith("cifar10/"))
GAINS = [name for name in NAMES if name.endswith("_gains")]
SIGNALS = [name for name in NAMES if name.endswith(("_gains_le", "_gains_kd"))]
REAL = [name for name in NAMES if "_gains_" in name and name not in SIGNALS]


@pytest.mark.parametrize("name", sorted({*NAMES} - {*GAINS} - {*SIGNALS} - {*REAL}))
def test_budgets_are_equal_within_a_network(name: str) -> None:
    plain = load_scenario(f"{name.rsplit('_', 1)[0]}_plain")
    mine = load_scenario(name)
    ticks = mine.relaxation.nudge_steps
    relaxation = plain.relaxation.model_copy(update={"nudge_steps": ticks})
    same = {"scenario": mine.scenario, "signals": mine.signals, "relaxation": relaxation}
    assert plain.model_copy(update=same) == mine
    assert ticks <= plain.relaxation.nudge_steps
    preset, kind = Path(name).name.split("_")
    assert mine.network.preset == preset
    assert mine.signals.kind == {"plain": "none"}.get(kind, kind)
    assert mine.scenario.name == Path(name).name
    layers = mine.network.layer_plans(10)
    assert {layers[place].kind for place in mine.signals.layers} <= {"conv"}
    assert ticks >= farthest_error(len(layers), mine.signals.layers)


@pytest.mark.parametrize("name", GAINS)
def test_settings_with_gains_are_equal_for_all_networks(name: str) -> None:
    mine, vgg11 = load_scenario(name), load_scenario("cifar10/vgg11_gains")
    same: dict[str, object] = {"preset": vgg11.network.preset}
    changed: dict[str, object] = {"scenario": vgg11.scenario}
    if mine.network.preset == "resnet13":
        same["weight_scale"], changed["training"] = vgg11.network.weight_scale, vgg11.training
        assert (mine.network.weight_scale, mine.training.clip_norm, mine.training.epochs) == (1.6, 1.0, 6)
    changed["network"] = mine.network.model_copy(update=same)
    assert mine.model_copy(update=changed) == vgg11
    assert f"{mine.network.preset}_gains" == mine.scenario.name == Path(name).name
    assert (mine.scheduler.policy, mine.relaxation.nudge_steps, mine.relaxation.nudge_feedback) == ("sweep", 1, 1.0)


@pytest.mark.parametrize("name", SIGNALS)
def test_signals_come_on_top_of_gains(name: str) -> None:
    base, kind = name.rsplit("_", 1)
    mine, plain = load_scenario(name), load_scenario(base)
    published = load_scenario(name.replace("_gains", ""))
    assert mine.signals.kind == kind and mine.scenario.name == Path(name).name
    assert mine.signals.layers == published.signals.layers
    assert mine.model_copy(update={"scenario": plain.scenario, "signals": plain.signals}) == plain


@pytest.mark.parametrize("name", REAL)
def test_settings_on_real_tiles_are_those_on_ideal_ones(name: str) -> None:
    mine, ideal = load_scenario(name), load_scenario(name.rsplit("_", 1)[0])
    assert mine.scenario.name == Path(name).name and not mine.hardware.ideal
    size = ("network.width=0.125", "data.train_samples=8000", "data.test_samples=2000", "training.epochs=2")
    smaller = load_scenario(name.rsplit("_", 1)[0], size)
    assert mine.model_copy(update={"scenario": ideal.scenario, "hardware": ideal.hardware}) == smaller


def farthest_error(layers: int, taught: tuple[int, ...]) -> int:
    """Ticks until every layer has seen an error, of a signal or of the readout, with one layer per tick."""
    sources = [*taught, layers - 1]
    return max(min(source - layer for source in sources if source >= layer) + 1 for layer in range(layers))


def test_the_networks_of_the_results_are_there() -> None:
    assert [f"cifar10/{name}" for name in (
        "resnet13_gains", "vgg11_gains", "vgg11_gains_kd", "vgg11_gains_le", "vgg11_kd", "vgg11_le", "vgg11_plain",
        "vgg13_gains", "vgg13_le", "vgg13_plain", "vgg7_gains", "vgg7_gains_8bit", "vgg7_gains_ecram", "vgg7_kd",
        "vgg7_le", "vgg7_plain",
    )] == NAMES  # fmt: skip
