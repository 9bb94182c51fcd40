"""Gains of the feedback: against autograd through the fixed point, and against backpropagation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from nets import batch, conv, custom, double_network, double_signals, graphs, linear, random_states, sections
from torch import Tensor

from neurosim_ep.ep.activations import Activation
from neurosim_ep.ep.losses import one_hot
from neurosim_ep.ep.network import Network
from neurosim_ep.ep.signals import Signals
from neurosim_ep.errors import ScenarioError, UsageError
from neurosim_ep.registry import ACTIVATIONS
from neurosim_ep.scenario.load import parse_scenario
from neurosim_ep.scenario.schema import EdgeSpec, LayerSpec, NetworkSection
from neurosim_ep.scenario.topology import two_colours
from neurosim_ep.scheduler.engine import Engine
from neurosim_ep.scheduler.presentation import ep_gradients, free_phase
from neurosim_ep.scheduler.schedule import Schedule

Inputs = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Tanh(Activation):
    """Smooth, with states that have a sign."""

    def sigma_(self, drive: Tensor) -> Tensor:
        return drive.tanh_()

    def slope(self, drive: Tensor) -> Tensor:
        return 1 - drive.tanh().square()

    @property
    def largest_slope(self) -> float:
        return 1.0


SIGNED = {"tanh": Tanh("tanh", "tanh(x)", lower=-1.0), "hard_tanh": ACTIVATIONS["hard_tanh"]}


def signed_network(section: NetworkSection, activation: str, seed: int = 0) -> Network:
    """A network in float64 with another activation. Values of hard_tanh are often equal, so that no argmax is defined:
    it pools by the mean.
    """
    if activation == "hard_tanh":
        layers = (layer.model_dump_json(by_alias=True).replace('"max"', '"avg"') for layer in section.layers)
        section = section.model_copy(update={"layers": tuple(map(LayerSpec.model_validate_json, layers))})
    network = double_network(section, seed=seed)
    network.activations = [SIGNED[activation]] * network.layers
    return network


def depths_of(network: Network) -> list[int]:
    """Edges on the longest way to each layer, found by walking all ways."""

    def ways(layer: int) -> Iterator[int]:
        for number in network.incoming[layer]:
            source = network.edges[number].source
            yield from (1 + way for way in ways(source)) if source >= 0 else [0]

    return [max(ways(layer)) for layer in range(network.layers)]


def energy_tick(network: Network, x: Tensor, states: Sequence[Tensor], gain: float) -> list[Tensor]:
    """σ of ∂Φ_γ/∂s over γ^d, Φ_γ being written out edge by edge."""
    depths, phi = depths_of(network), x.new_zeros(())
    for edge in network.edges:
        drive, _ = edge(x if edge.source < 0 else states[edge.source])
        phi = phi + gain ** depths[edge.target] * (states[edge.target] * drive).sum()
    drives = torch.autograd.grad(phi, list(states), create_graph=True)
    return [
        activation.sigma_(drive / gain**depth)
        for activation, drive, depth in zip(network.activations, drives, depths, strict=True)
    ]


def mean_loss(
    network: Network, states: Sequence[Tensor], y: Tensor, signals: Signals | None = None, alpha: float = 0.5
) -> Tensor:
    """Batch mean of the augmented loss."""
    onehot, logits = one_hot(y, network.num_classes, states[0]), network.logits(states)
    loss = 0.5 * (logits - onehot).square().sum(1)
    if network.readout is not None:
        loss = torch.nn.functional.cross_entropy(logits, y, reduction="none")
    return (loss if signals is None else loss + alpha * signals.loss(states, onehot)).mean()


def connection_weights(network: Network) -> dict[str, Tensor]:
    return {name: value for name, value in network.named_parameters() if "connections" in name}


def exact_gradients(
    network: Network, inputs: Inputs, rest: Sequence[Tensor], gain: float, signals: Signals | None = None
) -> dict[str, Tensor]:
    """Gradient of the loss at the free fixed point ``rest``: λ = ∂L/∂s + Jᵀλ, pulled through one tick."""
    (x, y), parameters = inputs, connection_weights(network)
    for value in parameters.values():
        value.requires_grad_(True)
    leaves = [state.detach().clone().requires_grad_(True) for state in rest]
    error = torch.autograd.grad(
        mean_loss(network, leaves, y, signals), leaves, allow_unused=True, materialize_grads=True
    )
    tick, adjoint = energy_tick(network, x, leaves, gain), error
    for _ in range(500):
        pulled = torch.autograd.grad(
            tick, leaves, adjoint, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        following = tuple(one + other for one, other in zip(error, pulled, strict=True))
        done = all(torch.equal(one, other) for one, other in zip(adjoint, following, strict=True))
        adjoint = following
        if done:
            break
    found = torch.autograd.grad(tick, list(parameters.values()), adjoint, allow_unused=True, materialize_grads=True)
    for value in parameters.values():
        value.requires_grad_(False)
    return dict(zip(parameters, found, strict=True))


def backpropagated(network: Network, inputs: Inputs, signals: Signals | None = None) -> dict[str, Tensor]:
    """Gradient of the loss of the feed-forward network."""
    (x, y), parameters = inputs, connection_weights(network)
    for value in parameters.values():
        value.requires_grad_(True)
    states: list[Tensor] = []
    for layer in range(network.layers):
        edges = [network.edges[number] for number in network.incoming[layer]]
        drives = [edge(x if edge.source < 0 else states[edge.source])[0] for edge in edges]
        states.append(network.activations[layer].sigma_(torch.stack(drives).sum(0)))
    found = torch.autograd.grad(mean_loss(network, states, y, signals), list(parameters.values()))
    for value in parameters.values():
        value.requires_grad_(False)
    return dict(zip(parameters, found, strict=True))


def cosine(one: Tensor, other: Tensor) -> float:
    return float((one * other).sum() / (one.norm() * other.norm()))


def relative_error(ours: dict[str, Tensor], exact: dict[str, Tensor]) -> float:
    """Of the worst parameter."""
    return max(float((ours[name] - grad).norm() / grad.norm()) for name, grad in exact.items())


def present(network: Network, inputs: Inputs, policy: str, **options: Any) -> dict[str, Tensor]:
    options = {"free_steps": 400, "nudge_steps": 200, "beta": 1e-3, "alpha": 0.5, **options}
    return ep_gradients(network, *inputs, loss=network.loss, schedule=Schedule(policy), **options).grads


def policies_of(network: Network) -> list[str]:
    edges = [(edge.source, edge.target) for edge in network.edges]
    return ["synchronous", "sweep", "event", *(["alternating"] if two_colours(edges, network.layers) else [])]


@settings(max_examples=30, deadline=None)
@given(
    section=sections() | graphs(),
    activation=st.sampled_from(sorted(SIGNED)),
    gain=st.floats(0.03, 1),
    seed=st.integers(0, 2**16),
    rule=st.sampled_from(["contrastive", "stdp"]),
    data=st.data(),
)
def test_one_gain_gives_the_gradient_through_the_fixed_point(
    section: NetworkSection, activation: str, gain: float, seed: int, rule: str, data: st.DataObject
) -> None:
    """On chains and graphs, with signals at any layers, either loss, any order of updates."""
    network = signed_network(section, activation, seed)
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


def residual_section() -> NetworkSection:
    """A connection of stride 2 over two layers, and an identity over two."""
    over = EdgeSpec(layer=0, kind="conv", kernel=1, stride=2)
    outer = conv(12).model_copy(update={"stride": 2, "edges": (EdgeSpec(layer=1), over)})
    upper = conv(12).model_copy(update={"edges": (EdgeSpec(layer=3), EdgeSpec(layer=2, kind="identity"))})
    return custom(conv(8), conv(8), outer, conv(12), upper, linear(20), weight_scale=1.0)


CHAINS = {
    "linear": custom(*[linear(30)] * 4, weight_scale=1.0),
    "deep": custom(*[linear(30)] * 8, weight_scale=1.0),
    "convolutions": custom(
        conv(8), conv(12, pool="max"), conv(16), conv(20, pool="max"), linear(30), linear(20), weight_scale=1.0
    ),
    "residual": residual_section(),
}


@pytest.mark.parametrize("activation", sorted(SIGNED))
@pytest.mark.parametrize("name", sorted(CHAINS))
def test_one_sweep_with_the_error_at_full_size(name: str, activation: str) -> None:
    """κ = 1 is no energy's gradient, but after three sweeps and one backwards it points where the exact one does."""
    network = signed_network(CHAINS[name], activation, seed=1)
    inputs = batch(network, 16, 3)
    rest = free_phase(network, inputs[0], 400, feedback=0.1, schedule=Schedule("sweep"))
    exact = exact_gradients(network, inputs, rest.states, 0.1)
    steps = {"free_steps": 3, "nudge_steps": 1, "beta": 0.01}
    ours = present(network, inputs, "sweep", feedback=0.1, nudge_feedback=1.0, **steps)
    assert min(cosine(ours[name], grad) for name, grad in exact.items()) >= 0.98
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
        ep_gradients(
            network, x, y, free_steps=2, nudge_steps=300, beta=0.01, loss=network.loss, rule=rule, nudging=nudging,
            feedback=gain, nudge_feedback=0.6, states=start.states, schedule=Schedule(policy),
        )
        for policy, rule in (("synchronous", "contrastive"), (data.draw(st.sampled_from(policies_of(network))), "stdp"))
    ]  # fmt: skip
    assume(max(float(end.residual.max()) for end in (start, results[0].nudge_phases)) < 1e-13)
    for name, grad in results[0].grads.items():
        assert float((results[1].grads[name] - grad).norm()) <= 1e-8 * float(grad.norm()) + 1e-10, name


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
