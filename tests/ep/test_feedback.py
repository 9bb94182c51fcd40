"""Gains of the feedback: against autograd through the fixed point, and against backpropagation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gains import (
    CHAINS,
    SIGNED,
    Inputs,
    backpropagated,
    cosine,
    depths_of,
    exact_gradients,
    signed_network,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from nets import batch, conv, custom, double_network, double_signals, graphs, linear, random_states, sections
from presentations import by_name
from torch import Tensor

from neurosim_ep.ep.network import Network, build_network
from neurosim_ep.errors import ScenarioError, UsageError
from neurosim_ep.experiment.opening import Experiment
from neurosim_ep.scenario.load import load_scenario, parse_scenario
from neurosim_ep.scenario.schema import NetworkSection
from neurosim_ep.scenario.topology import two_colours
from neurosim_ep.scheduler import engine as engines
from neurosim_ep.scheduler.engine import Engine
from neurosim_ep.scheduler.kernels import PackedKernel
from neurosim_ep.scheduler.presentation import free_phase
from neurosim_ep.scheduler.schedule import Schedule
from neurosim_ep.train.inspect import inspect_scenario
from neurosim_ep.train.trainer import Trainer


def relative_error(ours: dict[str, Tensor], exact: dict[str, Tensor]) -> float:
    """Of the worst parameter."""
    return max(float((ours[name] - grad).norm() / grad.norm()) for name, grad in exact.items())


def present(network: Network, inputs: Inputs, policy: str, **options: Any) -> dict[str, Tensor]:
    options = {"free_steps": 400, "nudge_steps": 200, "beta": 1e-3, "alpha": 0.5, **options}
    return by_name(network, *inputs, schedule=Schedule(policy), **options).grads


def policies_of(network: Network) -> list[str]:
    edges = [(edge.source, edge.target) for edge in network.edges]
    return ["synchronous", "sweep", "event", *(["alternating"] if two_colours(edges, network.layers) else [])]


@settings(max_examples=30, deadline=None)
@given(
    section=sections() | graphs(),
    activation=st.sampled_from(sorted(SIGNED)),
    gains=st.floats(0.03, 1) | st.lists(st.floats(0.1, 1), min_size=1),
    seed=st.integers(0, 2**16),
    rule=st.sampled_from(["contrastive", "stdp"]),
    data=st.data(),
)
def test_one_gain_gives_the_gradient_through_the_fixed_point(
    section: NetworkSection, activation: str, gains: float | list[float], seed: int, rule: str, data: st.DataObject
) -> None:
    """On chains and graphs, with one gain or one for each depth, signals at any layers, either loss, any policy."""
    network = signed_network(section, activation, seed)
    depth = max(depths_of(network))
    gain = gains if isinstance(gains, float) else (gains * depth)[:depth]
    layers = data.draw(st.lists(st.integers(0, network.layers - 1), unique=True))
    signals = double_signals(network, layers, seed=seed)
    inputs = batch(network, 3, seed)
    policy = data.draw(st.sampled_from(policies_of(network)))
    rest = free_phase(network, inputs[0], 400, feedback=gain, schedule=Schedule(policy))
    assume(float(rest.residual.max()) < 1e-13)
    exact = exact_gradients(network, inputs, rest.states, gain, signals)
    ours = present(network, inputs, policy, feedback=gain, signals=signals, rule=rule)
    largest = max(float(grad.norm()) for grad in exact.values())
    for name, grad in exact.items():
        if float(grad.norm()) > 1e-6 * largest:
            assert cosine(ours[name], grad) > 1 - 1e-6, name
            assert float(ours[name].norm() / grad.norm()) == pytest.approx(1, abs=1e-4), name


@pytest.mark.parametrize("activation", sorted(SIGNED))
@pytest.mark.parametrize("name", sorted(CHAINS))
def test_one_sweep_with_the_error_at_full_size(name: str, activation: str) -> None:
    """κ = 1 is no energy's gradient, but after three sweeps and one backwards it points where the exact one does."""
    network = signed_network(CHAINS[name], activation, seed=1)
    inputs = batch(network, 16, 3)
    rest = free_phase(network, inputs[0], 400, feedback=0.1, schedule=Schedule("sweep"))
    exact = exact_gradients(network, inputs, rest.states, 0.1)
    options = {"free_steps": 3, "beta": 0.01, "feedback": 0.1, "nudge_feedback": 1.0}
    ours, twice = (present(network, inputs, "sweep", nudge_steps=steps, **options) for steps in (1, 2))
    assert min(cosine(ours[name], grad) for name, grad in exact.items()) >= 0.98
    assert all(0.5 < float(ours[name].norm() / grad.norm()) < 1.05 for name, grad in exact.items())
    first = "connections.0.weight"
    assert float(twice[first].norm() / exact[first].norm()) > 2
    sizes = [float(ours[f"connections.{n}.weight"].norm()) for n in range(len(network.connections))]
    assert min(sizes) > 0.05 * max(sizes)  # no decay downwards


@pytest.mark.parametrize("activation", sorted(SIGNED))
@pytest.mark.parametrize("name", sorted(CHAINS))
def test_one_sweep_without_resting_feedback_is_backpropagation(name: str, activation: str) -> None:
    """γ = 0 and κ = 1, with max-pooling too; the error of three-phase EP falls as β²."""
    network = signed_network(CHAINS[name], activation, seed=2)
    inputs = batch(network, 4, 5)
    exact, betas = backpropagated(network, inputs), [1e-2, 5e-3, 2.5e-3]
    options = {"free_steps": 1, "nudge_steps": 1, "feedback": 0.0, "nudge_feedback": 1.0}
    errors = [relative_error(present(network, inputs, "sweep", beta=beta, **options), exact) for beta in betas]
    if activation == "tanh":
        assert np.polyfit(np.log(betas), np.log(errors), 1)[0] == pytest.approx(2, abs=0.1)
        assert errors[-1] < 1e-5
    else:  # bent by neurons that cross a corner alone
        assert relative_error(present(network, inputs, "sweep", beta=1e-4, **options), exact) < 1e-6


@settings(max_examples=10, deadline=None)
@given(section=sections() | graphs(), seed=st.integers(0, 2**16), gain=st.sampled_from([1.0, 0.3]), data=st.data())
def test_orders_of_update_and_forms_of_the_rule_agree_at_rest(
    section: NetworkSection, seed: int, gain: float, data: st.DataObject
) -> None:
    """With a gain of its own for the displacement, and max-pooling."""
    network = signed_network(section, "tanh", seed)
    x, y = batch(network, 2, seed)
    start = free_phase(network, x, 300, feedback=gain)
    nudging = data.draw(st.sampled_from(["three_phase", "one_sided_plus", "one_sided_minus"]))
    results = [
        by_name(
            network, x, y, free_steps=2, nudge_steps=300, beta=0.01, rule=rule, nudging=nudging, feedback=gain,
            nudge_feedback=0.6, states=start.states, schedule=Schedule(policy),
        )
        for policy, rule in (("synchronous", "contrastive"), (data.draw(st.sampled_from(policies_of(network))), "stdp"))
    ]  # fmt: skip
    assume(max(float(end.residual.max()) for end in (start, results[0].nudge_phases)) < 1e-13)
    for name, grad in results[0].grads.items():
        assert float((results[1].grads[name] - grad).norm()) <= 1e-8 * float(grad.norm()) + 1e-10, name


@pytest.mark.parametrize("nudging", ["three_phase", "one_sided_plus", "one_sided_minus"])
@pytest.mark.parametrize("policy", ["synchronous", "alternating", "sweep", "event"])
def test_forms_of_the_rule_agree_where_a_nudge_moves_the_argmax(policy: str, nudging: str) -> None:
    """With a gain of its own both route by the argmax of the free state, far from rest and at a large β too."""
    section = custom(conv(3), conv(4, pool="max"), linear(5)).model_copy(
        update={"activation": "hard_tanh", "weight_scale": 1.2}
    )
    network = double_network(section, image=(2, 8, 8))
    x, y = batch(network, 8, 3)
    options = {"free_steps": 6, "nudge_steps": 4, "beta": 0.5, "nudging": nudging, "feedback": 0.1}
    found = [
        by_name(network, x, y, schedule=Schedule(policy), nudge_feedback=1.0, rule=rule, **options)
        for rule in ("contrastive", "stdp")
    ]
    nudged = found[0].plus or found[0].minus
    assert nudged is not None
    free, moved = (network.connections[1](states[0])[1] for states in (found[0].free, nudged))
    assert free is not None and moved is not None and not torch.equal(free, moved)
    for name, grad in found[0].grads.items():
        torch.testing.assert_close(found[1].grads[name], grad, rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.parametrize("policy", ["synchronous", "alternating", "sweep", "event"])
@pytest.mark.parametrize("rule", ["contrastive", "stdp"])
def test_gains_of_one_change_no_bit(policy: str, rule: str) -> None:
    network = double_network(custom(conv(3, pool="max"), conv(4), conv(4, pool="max"), linear(5)))
    signals, inputs = double_signals(network, [1, 3], learned=True), batch(network, 3)
    options = {"free_steps": 12, "nudge_steps": 6, "signals": signals, "rule": rule, "beta": 0.4}
    plain = present(network, inputs, policy, **options)
    for gains in ({"feedback": 1.0}, {"feedback": 1.0, "nudge_feedback": 1.0}):
        assert all(
            torch.equal(plain[name], grad)
            for name, grad in present(network, inputs, policy, **options, **gains).items()
        )


@settings(max_examples=25, deadline=None)
@given(section=sections() | graphs(), seed=st.integers(0, 2**16), gain=st.sampled_from([1.0, 0.3, 0.0]))
def test_a_sweep_updates_one_layer_after_the_other(section: NetworkSection, seed: int, gain: float) -> None:
    """Against the drives of a plain loop; pooling routes by the argmax of the last forward read."""
    network = signed_network(section, "tanh", seed)
    x, depths = batch(network, 2, seed)[0], depths_of(network)
    states = random_states(network, 2, seed)
    ours = free_phase(network, x, 3, states, feedback=gain, schedule=Schedule("sweep")).states
    with torch.no_grad():
        routing = [edge(x if edge.source < 0 else states[edge.source])[1] for edge in network.edges]
        for _, layer in [(sweep, layer) for sweep in range(3) for layer in range(network.layers)]:
            drive = torch.zeros_like(states[layer])
            for number in network.incoming[layer]:
                edge = network.edges[number]
                part, routing[number] = edge(x if edge.source < 0 else states[edge.source])
                drive = drive + part
            for number in network.outgoing[layer]:
                edge = network.edges[number]
                part = edge.feedback(edge.route(states[edge.target], routing[number]))
                drive = drive + gain ** (depths[edge.target] - depths[layer]) * part
            states[layer] = network.activations[layer].sigma_(drive)
    for state, expected in zip(ours, states, strict=True):
        torch.testing.assert_close(state, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("gain", [0.5, 2.0])
def test_signals_below_weigh_as_the_loss_says(gain: float) -> None:
    """Without resting feedback one sweep is backpropagation of the augmented loss, with any κ."""
    network = signed_network(CHAINS["residual"], "tanh", seed=4)
    signals, inputs = double_signals(network, [0, 2, 3]), batch(network, 4, 1)
    options = {"free_steps": 1, "nudge_steps": 1, "feedback": 0.0, "nudge_feedback": gain, "beta": 1e-3}
    ours = present(network, inputs, "sweep", signals=signals, **options)
    assert relative_error(ours, backpropagated(network, inputs, signals)) < 1e-5


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        ({"feedback": -0.1}, r"feedback = -0\.1: must be 0 to 10"),
        ({"feedback": float("nan")}, r"feedback = nan: must be 0 to 10"),
        ({"feedback": 0.5, "nudge_feedback": 11.0}, "nudge_feedback = 11: must be 0 to 10"),
        ({"feedback": 0.0}, "nudge_feedback = 0: passes no error down"),
        ({"feedback": 1e-6}, "would leave 1e-42 of an error after 7 layers"),
    ],
)
def test_gains_that_make_no_sense_are_refused(gains: dict[str, float], said: str) -> None:
    network = double_network(CHAINS["deep"])
    inputs = batch(network, 2)
    with pytest.raises(UsageError, match=said):
        present(network, inputs, "sweep", **gains)


def test_an_engine_has_gains_of_its_own() -> None:
    network = double_network(CHAINS["linear"])
    x, _ = batch(network, 2)
    with pytest.raises(UsageError, match=r"feedback = 0\.5, nudge_feedback = 0\.5: the engine has 1 and 1"):
        free_phase(network, x, 3, feedback=0.5, engine=Engine(network, Schedule()))
    assert free_phase(network, x, 3, feedback=0.0).ticks.tolist() == [3, 3]


def test_one_gain_for_each_depth() -> None:
    network = double_network(CHAINS["linear"])
    depth = max(depths_of(network))
    inputs, options = batch(network, 3), {"free_steps": 5, "nudge_steps": 3}
    one, each = (present(network, inputs, "sweep", feedback=gain, **options) for gain in (0.5, [0.5] * depth))
    assert all(torch.equal(grad, each[name]) for name, grad in one.items())
    with pytest.raises(UsageError, match=rf"1 gains for layers of {depth + 1} depths; give {depth}, one for each"):
        free_phase(network, inputs[0], 3, feedback=[0.5])


@pytest.mark.parametrize(
    ("relaxation", "said"),
    [
        ({"feedback": 0.0}, 'nudge_feedback = "feedback": must be a number with feedback = 0'),
        ({"feedback": 11.0}, "feedback = 11.0: must be a number >= 0 and <= 10"),
        ({"nudge_feedback": 0.0}, 'nudge_feedback = 0.0: must be "feedback" or a number > 0 and <= 10'),
        ({"feedback": float("inf")}, "feedback = Infinity: must be"),
    ],
)
def test_keys_out_of_bounds_are_refused(relaxation: dict[str, float], said: str) -> None:
    with pytest.raises(ScenarioError, match="1 problem") as problem:
        parse_scenario({"relaxation": relaxation}, "mine.toml")
    assert said in str(problem.value)


@pytest.mark.parametrize("policy", ["sweep", "synchronous"])
def test_reduced_precision_keeps_the_displacement(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is rounded is the distance to an anchor that drives the columns as the free state does."""
    monkeypatch.setattr(engines, "supported_precision", lambda precision, device: (precision, ""))
    monkeypatch.setattr(PackedKernel, "available", lambda *dtype: False)  # what a processor without bfloat16 can do
    section = custom(conv(16), conv(16, pool="avg"), conv(16), linear(20), activation="hard_tanh", weight_scale=1.0)
    network = build_network(section, 4, (3, 12, 12), 1)
    x, y = batch(network, 8)
    exact, rounded = (
        by_name(
            network, x.float(), y, free_steps=20, nudge_steps=4, beta=0.1, feedback=0.2, nudge_feedback=1.0,
            schedule=Schedule(policy, precision=precision),
        ).grads
        for precision in ("float32", "bfloat16")
    )  # fmt: skip
    assert min(cosine(rounded[name], grad) for name, grad in exact.items()) > 0.98


@pytest.mark.parametrize("gains", [(0.5, 0.5), (0.5, 1.0)])
def test_real_tiles_pass_the_displacement_down(gains: tuple[float, float]) -> None:
    """As far as converters resolve; drivers of either sign where it can outweigh its share of the free state."""
    sets = (
        "hardware.converters.dac_bits=10", "hardware.converters.adc_bits=10", "data.train_samples=16",
        "training.batch_size=16", "signals.kind=none", "scheduler.policy=sweep", "relaxation.free_steps=6",
        "relaxation.nudge_steps=2", "relaxation.beta=2", f"relaxation.feedback={gains[0]}",
        f"relaxation.nudge_feedback={gains[1]}",
    )  # fmt: skip
    found = []
    for exact in (False, True):
        trainer = Trainer(Experiment.open(load_scenario("smoke", sets), device="cpu", exact=exact))
        *_, images = next(trainer._training_batches(0))
        if trainer.model.tiles is not None:
            with trainer.model.tiles.calibrating():
                trainer.step.present(images)
        found.append(trainer.step.present(images).grads)
        signed = [edge.signed[1] for edge in trainer.model.network.edges[1:]]
        assert signed == [gains[0] < gains[1]] * len(signed)
    assert min(cosine(found[0][name], grad) for name, grad in found[1].items() if "weight" in name) > (
        0.7 if gains[0] == gains[1] else 0.9
    )


def test_a_gain_that_leaves_no_error_is_refused_before_a_run_begins() -> None:
    """By whatever builds the model, `check` first of all; a rule that nudges nothing needs no error."""
    tiny = ["relaxation.nudge_feedback=1e-20", "data.train_samples=8", "data.test_samples=8"]
    with pytest.raises(UsageError, match="of an error after 2 layers"):
        inspect_scenario(load_scenario("smoke", tiny))
    inspect_scenario(load_scenario("smoke", [*tiny, "plasticity.rule=bptt", "scheduler.policy=synchronous"]))
