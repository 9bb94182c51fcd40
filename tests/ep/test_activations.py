"""Every activation by its properties, and what states with a sign do in runs, health warnings and diagnoses."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from examples import example, install
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import conv, custom, linear
from paths import ROOT
from tiny_run import InterruptingReporter, outcome, tiny_run

from neurosim_ep.cli import main
from neurosim_ep.diagnosis.saturation import saturation
from neurosim_ep.ep.activations import Activation, Clip, per_layer
from neurosim_ep.ep.network import build_network
from neurosim_ep.errors import RunInterrupted, ScenarioError, UsageError
from neurosim_ep.registry import ACTIVATIONS, Registry
from neurosim_ep.scenario import describe
from neurosim_ep.scenario.load import load_scenario, parse_scenario
from neurosim_ep.telemetry.health import WINDOW, LayerHealth
from neurosim_ep.telemetry.layers import STATE_COLUMNS, state_statistics
from neurosim_ep.train.resume import resume
from neurosim_ep.train.run import run

TANH = ACTIVATIONS["hard_tanh"]
SHORT = (
    "network.activation=hard_tanh", "data.train_samples=48", "data.test_samples=20", "relaxation.free_steps=8",
    "training.batch_size=16",
)  # fmt: skip


def every() -> dict[str, Activation]:
    """Those of the package, mixtures taken apart."""
    found = [entry.of(kind) for entry in ACTIVATIONS.own.values() for kind in ("conv", "linear")]
    return {activation.name: activation for activation in found}


def clips() -> st.SearchStrategy[Clip]:
    """Any activation that one might add as a clipped line."""
    return st.builds(
        Clip,
        st.just("any"),
        st.just(""),
        st.sampled_from([-math.inf, -2.0, -1.0, 0.0]),
        st.sampled_from([0.5, 1.0, 6.0, math.inf]),
        st.sampled_from([0.25, 1.0, 3.0]),
        st.sampled_from([-0.5, 0.0, 1.0]),
    )


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(st.sampled_from(list(every().values())), clips()),
    st.lists(st.floats(-12, 12, allow_subnormal=False), min_size=2, max_size=30),  # a share of them may be 0
)
def test_an_activation_is_what_it_says(activation: Activation, drives: list[float]) -> None:
    """It rises nowhere faster than its largest slope, never falls, keeps its bounds, and has the slope it gives."""
    drive = torch.tensor(drives, dtype=torch.float64).sort().values
    state, step = activation.sigma_(drive.clone()), 1e-6
    assert activation.lower <= 0 < activation.upper and activation.signed == (activation.lower < 0)
    assert ((state >= activation.lower) & (state <= activation.upper) & (state.abs() <= activation.bound)).all()
    rise, run_ = state.diff(), drive.diff()
    assert (rise >= 0).all() and (rise <= activation.largest_slope * run_ + 1e-12).all()
    slope = activation.slope(drive)
    above, below = (activation.sigma_(drive + sign * step) for sign in (1, -1))
    smooth = (activation.slope(drive + step) - activation.slope(drive - step)).abs() < 1e-4
    torch.testing.assert_close(slope[smooth], ((above - below) / (2 * step))[smooth], rtol=1e-5, atol=1e-4)
    assert ((slope >= 0) & (slope <= activation.largest_slope)).all()
    held = activation.at_lower(state) | activation.at_upper(state)
    assert (slope[held] == 0).all()


def test_every_activation_reaches_its_largest_slope_and_has_one_sentence() -> None:
    drive = torch.linspace(-3, 3, 601, dtype=torch.float64)
    for activation in every().values():
        assert float(activation.slope(drive).max()) == pytest.approx(activation.largest_slope, rel=1e-5)
        derived = drive.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(activation.sigma_(derived * 1.0).sum(), derived)
        inside = activation.slope(drive) > 0
        torch.testing.assert_close(gradient[inside], activation.slope(drive)[inside])
    assert all(sentence and "\n" not in sentence for sentence in ACTIVATIONS.sentences().values())


def test_clips_by_hand() -> None:
    drive = torch.tensor([-9.0, -1, -0.5, 0, 0.5, 1, 9])
    assert TANH.sigma_(drive.clone()).tolist() == [-1, -1, -0.5, 0, 0.5, 1, 1]
    assert TANH.slope(drive).tolist() == [0, 0, 1, 1, 1, 0, 0]
    relu6 = ACTIVATIONS["relu6"]
    assert relu6.sigma_(drive.clone()).tolist() == [0, 0, 0, 0, 0.5, 1, 6]
    assert relu6.slope(drive).tolist() == [0, 0, 0, 0, 1, 1, 0]
    mixed = per_layer("relu_conv", ["conv", "linear"])
    assert [activation.name for activation in mixed] == ["relu", "hard_sigmoid"]
    assert (TANH.bound, relu6.bound, mixed[0].bound) == (1, 6, math.inf)


def test_random_states_start_between_the_bounds() -> None:
    section = custom(conv(4), linear(500), linear(500), activation=["relu6", "hard_tanh", "hard_sigmoid"])
    states = build_network(section, 4, (2, 7, 6), 0).initial_states(3, "uniform", torch.Generator().manual_seed(0))
    for state, low in zip(states, (0, -1, 0), strict=True):
        assert low <= float(state.min()) < low + 0.05 and 0.95 < float(state.max()) < 1


def test_signed_states_are_dead_at_a_bound_and_not_at_zero() -> None:
    """Neurons held at -1, held at 1, at a bound but not at one, at 0, alive."""
    state = torch.tensor([[-1.0, 1, -1, 0, 0.5], [-1, 1, 1, 0, -0.25]])
    values = dict(zip(STATE_COLUMNS, state_statistics(state, TANH).tolist(), strict=True))
    assert values["dead_fraction"] == pytest.approx(2 / 5)
    assert (values["fraction_zero"], values["fraction_upper"]) == pytest.approx((2 / 10, 3 / 10))
    (found,) = saturation([TANH], [state], [TANH.slope(state)])
    assert (found["at_lower"], found["at_upper"], found["dead"]) == pytest.approx((3 / 10, 3 / 10, 2 / 5))
    assert found["linear"] == pytest.approx(4 / 10)
    health = LayerHealth(["fc1"], 10, fresh=False)
    held = torch.cat([state_statistics(state[:, :2], TANH), torch.tensor([math.nan])])
    warnings = [text for batch in range(1, WINDOW + 1) for text in health.add([held], batch, 2)]
    assert "layer fc1 is dead: all its states are held at a bound for every sample (seen by batch 5)" in warnings


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(tmp_path_factory.mktemp("runs") / "run", *SHORT)


def test_a_signed_network_trains_and_is_diagnosed(trained: Path, tmp_path: Path) -> None:
    layers = pd.read_csv(trained / "layers.csv").dropna(subset=["fraction_zero"])
    assert (layers["dead_fraction"] == 0).all() and (layers["fraction_zero"] < 0.01).all()
    assert main(["diagnose", str(trained), "--samples", "4", "--out", str(tmp_path / "found"), "--device", "cpu"]) == 0
    table = pd.read_csv(tmp_path / "found" / "layers.csv")
    assert (table["activation"] == "hard_tanh").all() and (table["linear"] > 0.5).all()
    assert main(["export", str(trained), "--format", "neurosim", "--out", str(tmp_path / "trace")]) == 0
    document = json.loads((tmp_path / "trace" / "export.json").read_text())
    assert all(layer["signed"] for layer in document["connections"])


@pytest.mark.parametrize(
    "command", [["gdu", "smoke", "--samples", "2", "--out", "gdu"], ["estimate", "smoke", "--samples", "2"]]
)
def test_other_commands_take_signed_states(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    sets = [word for one in (*SHORT, "relaxation.nudge_steps=3") for word in ("--set", one)]
    assert main([*command, *sets, "--device", "cpu"]) == 0
    assert capsys.readouterr().out


def test_a_signed_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    sets = (
        *SHORT, "telemetry.plots=false", "training.epochs=2", "relaxation.nudge_steps=3",
        "relaxation.state_init=uniform",
    )  # fmt: skip
    scenario = load_scenario("smoke", sets)
    whole = run(scenario, tmp_path / "whole", device="cpu").out
    with pytest.raises(RunInterrupted):
        run(scenario, tmp_path / "parts", device="cpu", reporter=InterruptingReporter())
    resume(tmp_path / "parts", device="cpu")
    assert outcome(whole) == outcome(tmp_path / "parts")


# -- activations of other packages


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder with an installed package that has an activation of its own."""
    folder = tmp_path / "site"
    made_of(folder, "softsign = softsigns:SOFTSIGN")
    return folder


def made_of(folder: Path, *entries: str) -> None:
    entry_points = "\n".join(["[neurosim_ep.activations]", *entries])
    install(folder, "softsigns", "softsigns", example("An activation"), entry_points)


@pytest.fixture
def on_path(package: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(package))
    describe._schema.cache_clear()
    yield package
    sys.modules.pop("softsigns", None)
    describe._schema.cache_clear()


def test_another_package_adds_an_activation(on_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "softsign" in ACTIVATIONS and "softsigns" not in sys.modules
    with pytest.raises(ScenarioError, match=r'must be one of "hard_sigmoid".* did you mean "softsign"'):
        load_scenario("smoke", ("network.activation=sofsign",))
    assert main(["list"]) == 0 and "softsign              x/(1 + |x|)" in capsys.readouterr().out
    out = tiny_run(tmp_path / "run", *SHORT, "network.activation=softsign", "hardware.converters.dac_bits=8")
    assert 'activation = "softsign"' in (out / "scenario.toml").read_text()
    assert main(["diagnose", str(out), "--samples", "4", "--device", "cpu"]) == 0


def test_its_name_is_known_without_pytorch(package: Path) -> None:
    code = (
        "import sys; from neurosim_ep.registry import ACTIVATIONS; "
        "print('softsign' in ACTIVATIONS.names(), 'torch' in sys.modules)"
    )
    root = str(ROOT)
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = [{root!r}, {str(package)!r}]; {code}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["True", "False"]


@pytest.mark.parametrize(
    ("entry", "name", "message"),
    [
        ("softsign = softsigns:NOTHING", "softsign", "cannot be loaded .*no attribute 'NOTHING'.*; mend that package"),
        ("softsign = softsigns:Softsign", "softsign", "cannot be loaded"),
        ("softer = softsigns:SOFTSIGN", "softer", "calls itself 'softsign'; give both the same name"),
    ],
)
def test_packages_that_cannot_be_used_are_named(
    on_path: Path, entry: str, name: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made_of(on_path, entry)
    with pytest.raises(ScenarioError, match=f'"{name}": activation {name} .*softsigns.*{message}'):
        load_scenario("smoke", (f"network.activation={name}",))
    with pytest.raises(ScenarioError, match=r"network.activation\[1\] = .*softsigns"):
        parse_scenario({"network": {"preset": "mlp", "hidden": [3, 3], "activation": ["relu", name]}}, "test")
    assert main(["list"]) == 0 and "of softsigns" in capsys.readouterr().out


def test_taken_names_are_refused(on_path: Path) -> None:
    made_of(on_path, "relu = softsigns:SOFTSIGN")
    with pytest.raises(UsageError, match=r"activation relu \(softsigns:SOFTSIGN of softsigns\): this name is taken"):
        ACTIVATIONS.names()
    registry: Registry[Activation] = Registry("activation", "none", "math")
    registry.add(TANH)
    with pytest.raises(ValueError, match="hard_tanh: is registered already"):
        registry.add(TANH)


@pytest.mark.parametrize("name", ["relu", "relu_conv", "half_line"])
def test_drivers_without_a_range_refuse_states_without_a_bound(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the activation is called; a mixture only where it is used."""
    half_line = Clip("half_line", "min(x, 1)", lower=-math.inf)
    monkeypatch.setitem(ACTIVATIONS.own, "half_line", half_line)
    network = {"preset": "custom", "layers": [{"kind": "conv", "size": 3}], "activation": name}
    document = {"network": network, "hardware": {"converters": {"dac_bits": 8}}}
    rule = f'must be "absmax" with network.activation = {name}, whose states have no bound'
    with pytest.raises(ScenarioError, match=f'noise_management = "none": {rule}'):
        parse_scenario(document, "test")
    document["hardware"]["converters"]["noise_management"] = "absmax"
    parse_scenario(document, "test")
    plain = {"preset": "mlp", "hidden": [3], "activation": "relu_conv"}
    parse_scenario({"network": plain, "hardware": {"converters": {"dac_bits": 8}}}, "test")
