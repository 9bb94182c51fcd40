"""The gradient check: EP's updates against those of BPTT, tick by tick."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from nets import batch, conv, custom, double_network, double_signals, linear, random_teacher

from neurosim_ep.cli import main
from neurosim_ep.diagnosis.gdu import SIDES, Gdu, Setting, check_updates, relative_rmse, sign_errors
from neurosim_ep.ep.network import Network
from neurosim_ep.ep.signals import Errors
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.scheduler.presentation import Phases, ep_gradients
from neurosim_ep.scheduler.unrolled import Unrolling, bptt_gradients
from neurosim_ep.train.run import run

TINY = (
    "data.train_samples=40", "data.test_samples=20", "training.epochs=1", "telemetry.traffic_every=0",
    "telemetry.plots=false",
    "telemetry.report=false", "training.batch_size=20", "relaxation.free_steps=8", "relaxation.nudge_steps=3",
)  # fmt: skip


def vgg_like(pool: str, activation: str, loss: str = "cross_entropy") -> Network:
    section = custom(conv(4, pool=pool), conv(6), conv(6, pool=pool), linear(8), activation=activation, loss=loss)
    return double_network(section, classes=4, image=(2, 12, 12), seed=3)


def errors(found: Gdu, side: str) -> list[float]:
    rows = [row for row in found.layers if row["side"] == side]
    values = [row["relative_rmse"] for row in rows]
    assert all(isinstance(value, float) for value in values)
    return values  # type: ignore[return-value]


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize(
    ("kinds", "options"),
    [
        ([], {}),
        (["le", "le"], {}),
        (["kd", "kdw"], {"softmax": "layer"}),
        (["kdw", "kd"], {"softmax": "position"}),
        (["le", "kd"], {"targets": "soft", "softmax": "position"}),
    ],
)
def test_updates_descend_the_gradient_in_a_smooth_network(loss: str, kinds: list[str], options: dict[str, str]) -> None:
    network = vgg_like("avg", "sigmoid", loss)
    signals = double_signals(network, [0, 2][: len(kinds)], kinds, **options)
    x, y = batch(network, 3, 1)
    found = check_updates(
        network, x, y, Setting(300, 12, 0.002, Errors(signals, 0.5, random_teacher(signals, 3, seed=1)))
    )
    assert found.restless == [] and found.residual < 1e-12
    assert max(errors(found, "right") + errors(found, "left")) < 1e-2
    assert max(errors(found, "symmetric")) < 1e-3
    for row in found.layers:
        assert row["sign_errors"] == pytest.approx(0, abs=0.01)
        assert row["cosine"] == pytest.approx(1, abs=1e-3)
        assert row["norm_ratio"] == pytest.approx(1, abs=2e-2)


def test_the_error_falls_as_beta_on_one_side_and_as_its_square_on_both() -> None:
    network, betas = vgg_like("avg", "sigmoid"), np.array([0.2, 0.1, 0.05])
    x, y = batch(network, 3, 1)
    found = [check_updates(network, x, y, Setting(300, 8, float(beta))) for beta in betas]
    for side, order in zip(SIDES, (1, 1, 2), strict=True):
        curve = np.log([errors(one, side) for one in found])
        slopes = np.polyfit(np.log(betas), curve, 1)[0]
        assert slopes == pytest.approx(order, abs=0.2)


def test_the_ticks_add_up_to_the_gradients_of_training() -> None:
    network = vgg_like("max", "hard_sigmoid")
    x, y = batch(network, 3, 1)
    found = check_updates(network, x, y, Setting(30, 6, 0.3))
    by_ep = ep_gradients(network, x, y, Phases(free_steps=30, nudge_steps=6, beta=0.3)).grads
    by_bptt = bptt_gradients(network, x, y, Unrolling(free_steps=30, steps=6)).grads
    for row in found.ticks:
        if (row["tick"], row["side"]) == (5, "symmetric"):
            name = f"connections.{row['layer']}.weight"
            assert row["ep_cumulated_norm"] == pytest.approx(float(by_ep[name].norm()), rel=1e-9)
            assert row["bptt_cumulated_norm"] == pytest.approx(float(by_bptt[name].norm()), rel=1e-9)


def test_kinks_and_argmax_switches_break_the_match_and_are_counted() -> None:
    """At a β at which the smooth network still agrees."""
    both = {}
    for pool, activation in (("avg", "sigmoid"), ("max", "hard_sigmoid")):
        network = vgg_like(pool, activation)
        x, y = batch(network, 3, 1)
        both[pool] = check_updates(network, x, y, Setting(400, 12, 0.3))
        assert both[pool].restless == []
    assert max(errors(both["max"], "symmetric")) > 10 * max(errors(both["avg"], "symmetric"))
    assert any(row["kinks_crossed"] for row in both["max"].layers)
    assert not any(row["kinks_crossed"] for row in both["avg"].layers)
    pooled = {row["name"] for row in both["max"].layers if row["argmax_switches"] is not None}
    assert pooled == {"conv1", "conv3"}


def test_states_that_still_move_are_reported() -> None:
    network = vgg_like("avg", "sigmoid")
    x, y = batch(network, 3, 1)
    found = check_updates(network, x, y, Setting(4, 4, 0.01))
    assert found.restless == ["conv1", "conv2", "conv3", "fc1"]
    assert found.residual > 1e-4


def test_the_figures_mean_what_they_say() -> None:
    one, other = torch.tensor([1.0, -2.0, 0.0, 3.0]), torch.tensor([2.0, 1.0, 0.0, 0.0])
    for ep, bptt, expected in ((one, one, 0), (one, -one, 1), (0 * one, one, 1), (one, 3 * one, 0.5)):
        squares = torch.stack([value.square().sum() for value in (ep - bptt, ep, bptt)])
        assert relative_rmse(squares) == pytest.approx(expected)
    assert relative_rmse(torch.zeros(3)) is None
    assert sign_errors(one, other) == 0.5
    assert sign_errors(other, one) == pytest.approx(2 / 3)
    assert sign_errors(one, 0 * one) is None


def test_the_command_checks_a_scenario_and_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run(load_scenario("smoke", TINY), tmp_path / "run", device="cpu")
    sets = [word for override in TINY for word in ("--set", override)]
    assert main(["gdu", "smoke", *sets, "--samples", "3", "--device", "cpu"]) == 0
    assert main(["gdu", "run", "--set", "relaxation.beta=0.1", "--out", "checked", "--device", "cpu", "--paper"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("symmetric") == 2 and "NOT AT REST in conv1" in printed
    (untrained,) = (tmp_path / "gdu").iterdir()
    assert untrained.name.endswith("_smoke")
    abouts = [json.loads((folder / "gdu.json").read_text()) for folder in (untrained, tmp_path / "checked")]
    assert [about["epochs_trained"] for about in abouts] == [0, 1]
    assert [about["samples"] for about in abouts] == [3, 8]
    assert [about["beta"] for about in abouts] == [0.5, 0.1]
    assert not abouts[0]["at_rest"] and abouts[0]["free_residual"] > 0
    ticks, layers, synapses = (pd.read_csv(untrained / f"{name}.csv") for name in ("gdu", "gdu_layers", "gdu_synapses"))
    assert len(ticks) == 3 * 3 * 3 and set(ticks["side"]) == set(SIDES)
    assert layers["name"].drop_duplicates().tolist() == ["conv1", "conv2", "fc1"]
    assert synapses.groupby(["name", "side", "tick"]).size().eq(4).all()
    assert {path.name for path in (untrained / "plots").iterdir()} == {
        f"{name}.{kind}" for name in ("gdu", "gdu_synapses") for kind in ("png", "svg")
    }
    assert "NOT AT REST" in (tmp_path / "checked" / "plots" / "gdu.txt").read_text(encoding="utf-8")
    pages = {path.name: path.read_bytes() for path in (tmp_path / "checked" / "plots").glob("*.pdf")}
    assert pages.keys() == {"gdu.pdf", "gdu_synapses.pdf"}
    assert all(b"/MediaBox [ 0 0 504 " in page and b"/FontFile2" in page for page in pages.values())  # both columns
    assert not list(tmp_path.rglob(".*.new"))


def test_states_that_diverge_leave_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sets = [*TINY, "network.activation=relu", "network.weight_scale=1e6", "relaxation.free_steps=100"]
    words = [word for override in sets for word in ("--set", override)]
    assert main(["gdu", "smoke", *words, "--out", str(tmp_path / "out"), "--device", "cpu"]) == 3
    assert "states or gradients are not finite" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
