"""Drives and local gradients in closed form against autograd of Φ and Φ_aug, on random nets in float64."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import (
    batch,
    conv,
    custom,
    double_network,
    double_signals,
    graphs,
    linear,
    mixed_signals,
    random_states,
    random_teacher,
    sections,
)
from oracles import Drives, augmented_loss, augmented_primitive, closed_form_drives
from torch import Tensor

from neurosim_ep.ep.losses import one_hot, readout_gradient
from neurosim_ep.ep.nudge import Nudge
from neurosim_ep.ep.plasticity import contrastive, gradient_names
from neurosim_ep.ep.primitive import primitive
from neurosim_ep.ep.signals import Errors, Objective, matrix_gradient
from neurosim_ep.registry import POLICIES
from neurosim_ep.scenario.schema import NetworkSection
from neurosim_ep.scenario.topology import two_colours

RELATIVE = 1e-10


def assert_close(ours: Tensor, oracle: Tensor) -> None:
    scale = oracle.abs().max().clamp(min=1e-3)
    assert ours.shape == oracle.shape
    assert (ours - oracle).abs().max() <= RELATIVE * scale


@settings(max_examples=60, deadline=None)
@given(section=sections() | graphs(), seed=st.integers(0, 2**16), samples=st.integers(1, 3), data=st.data())
def test_drives_equal_autograd(section: NetworkSection, seed: int, samples: int, data: st.DataObject) -> None:
    network = double_network(section, seed=seed)
    signals = data.draw(mixed_signals(network, seed))
    teacher = random_teacher(signals, samples, seed)
    x, y = batch(network, samples, seed)
    onehot, alpha = one_hot(y, network.num_classes, x), 0.7
    beta = torch.linspace(-0.5, 0.5, samples, dtype=torch.float64)
    states = [state.requires_grad_(True) for state in random_states(network, samples, seed)]
    phi = augmented_primitive(network, x, states, onehot, beta, signals, alpha, teacher)
    oracle = torch.autograd.grad(phi, states)

    nudge = Nudge(network, Objective(onehot, Errors(signals, alpha, teacher)), beta)
    held = [state.detach() for state in states]
    edges = [(edge.source, edge.target) for edge in network.edges]
    policies = ("synchronous", "alternating") if two_colours(edges, network.layers) else ("synchronous",)
    for policy in policies:
        for ours, theirs in zip(closed_form_drives(network, x, held, nudge, policy), oracle, strict=True):
            assert_close(ours, theirs)


@settings(max_examples=60, deadline=None)
@given(section=sections() | graphs(), seed=st.integers(0, 2**16), samples=st.integers(1, 3))
def test_local_gradients_equal_autograd(section: NetworkSection, seed: int, samples: int) -> None:
    network = double_network(section, seed=seed)
    x, _ = batch(network, samples, seed)
    ends = [random_states(network, samples, seed + shift) for shift in (1, 2)]
    ours = contrastive(network, x, *ends, scale=0.25)

    parameters = [network.get_parameter(name) for pair in gradient_names(network) for name in pair]
    for parameter in parameters:
        parameter.requires_grad_(True)
    phi = primitive(network.edges, x, ends[0]) - primitive(network.edges, x, ends[1])
    oracle = torch.autograd.grad(-0.25 * phi.sum(), parameters)
    for (_, tensor), theirs in zip(ours.items(), oracle, strict=True):
        assert_close(tensor, theirs)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**16), data=st.data())
def test_readout_and_matrix_gradients_equal_autograd(seed: int, data: st.DataObject) -> None:
    """The delta rules of W_out, of learned projections R_l and of the matrices M_l of weighted distillation (Eq 15)."""
    network = double_network(custom(conv(3, pool="max"), conv(4, pool="avg"), linear(5)), seed=seed)
    signals = data.draw(mixed_signals(network, seed).filter(lambda found: found is not None and found.learned))
    teacher = random_teacher(signals, 4, seed)
    assert network.readout is not None
    x, y = batch(network, 4, seed)
    onehot, alpha = one_hot(y, network.num_classes, x), 0.6
    states = random_states(network, 4, seed)
    weights = torch.full((4,), 0.25, dtype=torch.float64)
    ours = {
        **readout_gradient(network, states[-1], onehot, weights),
        **matrix_gradient(signals, states, signals.targets(onehot, teacher), weights * alpha),
    }
    parameters = dict(network.readout.named_parameters(prefix="readout"))
    parameters |= {f"signals.{signals.matrix_name(layer)}": signals.matrices[layer] for layer in signals.learned}
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    loss = augmented_loss(network, states, onehot, signals, alpha, teacher).mean()
    oracle = torch.autograd.grad(loss, list(parameters.values()))
    assert ours.keys() == parameters.keys()
    for name, theirs in zip(parameters, oracle, strict=True):
        assert_close(ours[name], theirs)


@pytest.mark.parametrize("softmax", ["layer", "position"])
def test_matrix_gradients_equal_finite_differences(softmax: str) -> None:
    """Eq 15 against central differences of the augmented loss, entry by entry."""
    network = double_network(custom(conv(2, pool="max"), linear(4)), image=(1, 5, 5))
    signals = double_signals(network, [0, 1], ["kdw", "le"], learned=True, softmax=softmax)
    assert signals is not None
    x, y = batch(network, 3)
    onehot, states, teacher = one_hot(y, network.num_classes, x), random_states(network, 3), random_teacher(signals, 3)
    weights = torch.full((3,), 1 / 3, dtype=torch.float64)
    grads = matrix_gradient(signals, states, signals.targets(onehot, teacher), weights)
    for layer, step in ((0, 1e-5), (1, 1e-5)):
        matrix, found = signals.matrices[layer], grads[f"signals.{signals.matrix_name(layer)}"]
        for index in itertools.product(*map(range, matrix.shape)):
            losses = []
            for sign in (1, -1):
                matrix.data[index] += sign * step
                losses.append(augmented_loss(network, states, onehot, signals, 1.0, teacher).mean())
                matrix.data[index] -= sign * step
            assert float(found[index]) == pytest.approx(float(losses[0] - losses[1]) / (2 * step), rel=1e-6, abs=1e-9)


def test_ties_route_feedback_to_the_first_of_the_window() -> None:
    """All-zero inputs tie in every pooling window; autograd sends the gradient to the first element."""
    network = double_network(custom(conv(2, pool="max"), conv(2, pool="max")))
    x = torch.zeros(1, *network.image_shape, dtype=torch.float64)
    states = [torch.zeros(1, *shape, dtype=torch.float64) for shape in network.state_shapes]
    states[1] += 1
    states = [state.requires_grad_(True) for state in states]
    oracle = torch.autograd.grad(primitive(network.edges, x, states).sum(), states)
    drives = closed_form_drives(network, x, [state.detach() for state in states])
    for ours, theirs in zip(drives, oracle, strict=True):
        assert_close(ours, theirs)


def test_initial_weights_follow_their_rule() -> None:
    """PyTorch's default is U(±1/√fan_in) for weights and biases, He's U(±√(6/fan_in)) with zero biases."""
    for rule, bound, bias in (
        ("kaiming_uniform", 1 / math.sqrt(18), True),
        ("he_uniform", math.sqrt(6 / 18), False),
    ):
        network = double_network(custom(conv(64), weight_init=rule, weight_scale=0.5))
        weight, biases = network.connections[0].weight, network.connections[0].bias
        assert 0.95 * bound / 2 < weight.abs().max() <= bound / 2
        assert abs(float(weight.std()) - bound / 2 / math.sqrt(3)) < 0.03 * bound
        assert bool(biases.any()) is bias


@pytest.mark.parametrize("policy", ["synchronous", "alternating"])
def test_nothing_is_left_of_a_tick_that_was_cut_off(policy: str) -> None:
    """What was read in it must not be added to the drives of the next one."""
    network = double_network(custom(conv(3, pool="max"), conv(2), linear(4)))
    x, states = batch(network, 2)[0], random_states(network, 2)
    relaxing, chosen = Drives(network, x, states), POLICIES[policy](network)
    relaxing.begin()
    relaxing.read_both(1)
    chosen.prepare(relaxing)
    chosen.step(relaxing)
    for layer, theirs in enumerate(closed_form_drives(network, x, states, policy=policy)):
        assert torch.equal(relaxing.found[layer], theirs)
