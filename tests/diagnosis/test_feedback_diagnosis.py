"""BPTT, the gradient check, contraction and the diagnosis under gains of the feedback."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from gains import CHAINS, energy_tick, exact_gradients, residual_section, signed_network
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import batch, double_signals, graphs, random_states, sections
from tiny_run import tiny_run

from neurosim_ep.cli import main
from neurosim_ep.diagnosis.gdu import Setting, check_updates
from neurosim_ep.diagnosis.lipschitz import Linearisation, bounds, power_iteration
from neurosim_ep.ep import bptt
from neurosim_ep.ep.feedback import Feedback
from neurosim_ep.ep.signals import Errors
from neurosim_ep.scenario.schema import NetworkSection
from neurosim_ep.scheduler.presentation import free_phase
from neurosim_ep.scheduler.unrolled import Unrolling, bptt_gradients

GAINS = (
    "scheduler.policy=sweep", "relaxation.free_steps=3", "relaxation.nudge_steps=1", "relaxation.feedback=0.1",
    "relaxation.nudge_feedback=1", "network.activation=hard_tanh", "network.weight_scale=1.2",
)  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(section=sections() | graphs(), seed=st.integers(0, 2**16), gain=st.sampled_from([0.0, 0.3, 1.0]))
def test_the_differentiable_tick_is_the_synchronous_tick(section: NetworkSection, seed: int, gain: float) -> None:
    network = signed_network(section, "tanh", seed)
    x, states = batch(network, 3, seed)[0], random_states(network, 3, seed)
    ours = bptt.tick(network, network.input_drive(x)[0], states, Feedback(network, gain))
    for state, scheduled in zip(ours, free_phase(network, x, 1, states, feedback=gain).states, strict=True):
        torch.testing.assert_close(state, scheduled, rtol=1e-12, atol=1e-12)


def test_bptt_far_enough_back_is_the_gradient_through_the_fixed_point() -> None:
    network = signed_network(residual_section(), "tanh", 3)
    signals, inputs = double_signals(network, [1, 3]), batch(network, 4, 1)
    found = bptt_gradients(
        network, *inputs, Unrolling(free_steps=300, steps=120, feedback=0.2), Errors(signals, alpha=0.5)
    )
    exact = exact_gradients(network, inputs, found.free, 0.2, signals)
    for name, grad in exact.items():
        torch.testing.assert_close(found.grads[name], grad, rtol=1e-6, atol=1e-10)


def test_updates_descend_the_gradient_with_one_gain_and_not_with_two() -> None:
    network = signed_network(residual_section(), "tanh", 3)
    signals, (x, y) = double_signals(network, [1, 3]), batch(network, 3, 1)
    one, two = (
        check_updates(network, x, y, Setting(300, 40, 0.002, Errors(signals, 0.5), gains=Feedback(network, 0.3, own)))
        for own in (None, 1.0)
    )
    assert one.restless == [] and two.restless == []
    for row in one.layers:
        assert row["cosine"] == pytest.approx(1, abs=1e-3) and row["norm_ratio"] == pytest.approx(1, abs=2e-2)
    cosines = [row["cosine"] for row in two.layers if row["side"] == "symmetric"]
    assert min(cosines) < 0.99  # type: ignore[type-var]


@pytest.mark.parametrize("gain", [0.0, 0.3])
def test_the_spectral_radius_is_that_of_the_map(gain: float) -> None:
    network = signed_network(CHAINS["linear"], "tanh", 1)
    x, states = batch(network, 1)[0], random_states(network, 1)
    around = Linearisation(network, network.input_drive(x)[0], states, Feedback(network, gain))
    radius = power_iteration(around.map_hessian, states, tolerance=1e-12, limit=5000).value
    sizes = [state.numel() for state in states]

    def step(vector: torch.Tensor) -> torch.Tensor:
        parts = [part.view_as(state) for part, state in zip(vector.split(sizes), states, strict=True)]
        if gain:
            return torch.cat([state.flatten() for state in energy_tick(network, x, parts, gain)])
        ticked = bptt.tick(network, network.input_drive(x)[0], parts, Feedback(network, gain))
        return torch.cat([state.flatten() for state in ticked])

    start = torch.cat([state.flatten() for state in states]).requires_grad_(True)
    jacobian = torch.autograd.functional.jacobian(step, start)
    expected = torch.linalg.eigvals(jacobian).abs().max() if gain else torch.zeros((), dtype=torch.float64)
    torch.testing.assert_close(radius[0], expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("gain", [0.3, 5.0])
def test_the_bound_of_a_signal_has_the_factor_of_its_errors(gain: float) -> None:
    """Against the Hessian of what a signal adds to the drives of its layer, at its largest."""
    network = signed_network(CHAINS["linear"], "tanh", 1)
    signals = double_signals(network, [0])
    assert signals is not None
    alone, with_gain = bounds(network, signals), bounds(network, signals, Feedback(network, gain))
    assert pytest.approx(alone.L_2 * gain ** (network.layers - 1)) == with_gain.L_2
    assert with_gain.L_1 == alone.L_1


def test_run_diagnosis_and_gradient_check_say_how_far_updates_are_from_the_gradient(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = (*GAINS, "data.train_samples=32", "data.test_samples=10", "telemetry.plots=false", "telemetry.report=false")
    out, said = tiny_run(tmp_path / "run", *sets), "nudge_feedback = 1 beside feedback = 0.1: the updates are not the"
    assert said in (out / "run.log").read_text()
    assert main(["diagnose", str(out), "--samples", "10", "--device", "cpu"]) == 0
    document = json.loads((out / "diagnosis" / "diagnosis.json").read_text())
    theorem, samples = document["theorem"], pd.read_csv(out / "diagnosis" / "samples.csv")
    assert (samples["L_phi_nudge"] > samples["L_phi"]).all()  # κ = 1, γ = 0.1
    losses = theorem["beta"] * (theorem["L_1"] + theorem["alpha"] * theorem["L_2"])
    np.testing.assert_allclose(samples["margin"], 1 - theorem["c"] * (samples["L_phi_nudge"] + losses), rtol=1e-5)
    cosines = document["feedback"]["loss_cosines"]
    assert min(cosines.values()) > 0.9
    assert (
        f"cosine with the gradient of the loss through the free rest: {next(iter(cosines))}" in capsys.readouterr().out
    )
    assert main(["gdu", str(out), "--samples", "4", "--out", str(tmp_path / "gdu")]) == 0
    found = json.loads((tmp_path / "gdu" / "gdu.json").read_text())
    layers = len(cosines)
    assert (found["free_steps"], found["nudge_steps"]) == (3 * layers, layers)
    assert any(note.startswith(said) and "cosines with those of BPTT" in note for note in found["notes"])
