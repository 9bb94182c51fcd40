"""The learning rules against each other and against backpropagation through time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
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
    random_states,
    random_teacher,
    sections,
)
from oracles import bptt_gradients
from presentations import by_name

from neurosim_ep.ep.network import Network
from neurosim_ep.ep.signals import Errors, Signals
from neurosim_ep.errors import UsageError
from neurosim_ep.scenario.schema import EdgeSpec, NetworkSection
from neurosim_ep.scheduler import unrolled
from neurosim_ep.scheduler.engine import Engine
from neurosim_ep.scheduler.presentation import Phases, ep_gradients, free_phase
from neurosim_ep.scheduler.schedule import Schedule


@settings(max_examples=25, deadline=None)
@given(
    section=sections() | graphs(),
    seed=st.integers(0, 2**16),
    nudging=st.sampled_from(["three_phase", "one_sided_plus", "one_sided_minus"]),
    learned=st.booleans(),
)
def test_stdp_equals_contrastive(section: NetworkSection, seed: int, nudging: str, learned: bool) -> None:
    network = double_network(section, seed=seed)
    signals = double_signals(network, [0], learned=learned, seed=seed)
    x, y = batch(network, 3, seed)
    results = [
        ep_gradients(
            network, x, y, Phases(free_steps=6, nudge_steps=5, beta=0.3, rule=rule, nudging=nudging), Errors(signals)
        )
        for rule in ("contrastive", "stdp")
    ]
    assert results[0].grads.keys() == results[1].grads.keys()
    for name, contrastive in results[0].grads.items():
        difference = (contrastive - results[1].grads[name]).abs().max()
        assert difference <= 1e-9 * contrastive.abs().max().clamp(min=1e-3), name


def smooth_network(loss: str) -> Network:
    section = custom(
        conv(4, pool="avg"), conv(5, pool="avg"), linear(6), activation="sigmoid", loss=loss, weight_scale=0.7
    )
    return double_network(section, seed=3)


def smooth_residual_network(loss: str) -> Network:
    """With an identity over one layer, and a convolution of stride 2 over two."""
    inner = conv(4).model_copy(update={"edges": (EdgeSpec(layer=0), EdgeSpec(layer=0, kind="identity"))})
    over = EdgeSpec(layer=0, kind="conv", kernel=1, stride=2)
    outer = conv(5).model_copy(update={"stride": 2, "edges": (EdgeSpec(layer=1), over)})
    layers = conv(4, pool="avg"), inner, outer, linear(6)
    return double_network(custom(*layers, activation="sigmoid", loss=loss, weight_scale=0.5), seed=3)


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize("layers", [[], [0, 1]])
@pytest.mark.parametrize(("make", "at_most"), [(smooth_network, 3e-3), (smooth_residual_network, 1e-2)])
def test_three_phase_error_falls_as_beta_squared(
    make: Callable[[str], Network], at_most: float, loss: str, layers: list[int]
) -> None:
    """Against BPTT over the same K ticks from the same fixed point (Eq 6, Laborieux et al. 2021)."""
    network, betas = make(loss), np.array([0.2, 0.1, 0.05, 0.025])
    signals = double_signals(network, layers, seed=1)
    x, y = batch(network, 4, 5)
    free = free_phase(network, x, 400)
    assert float(free.residual.max()) < 1e-13
    oracle = bptt_gradients(network, x, y, free.states, 12, signals, alpha=0.5)
    errors = [_relative_error(network, signals, x, y, float(beta), oracle, "three_phase") for beta in betas]
    slope = np.polyfit(np.log(betas), np.log(errors), 1)[0]
    assert slope == pytest.approx(2, abs=0.2)
    assert errors[-1] < at_most


@pytest.mark.parametrize("nudging", ["one_sided_plus", "one_sided_minus"])
def test_one_sided_error_falls_as_beta(nudging: str) -> None:
    network, betas = smooth_network("cross_entropy"), np.array([0.1, 0.05, 0.025])
    x, y = batch(network, 4, 5)
    oracle = bptt_gradients(network, x, y, free_phase(network, x, 400).states, 12)
    errors = [_relative_error(network, None, x, y, float(beta), oracle, nudging) for beta in betas]
    assert np.polyfit(np.log(betas), np.log(errors), 1)[0] == pytest.approx(1, abs=0.2)


def _relative_error(
    network: Network,
    signals: Signals | None,
    x: torch.Tensor,
    y: torch.Tensor,
    beta: float,
    oracle: dict[str, torch.Tensor],
    nudging: str,
) -> float:
    ours = ep_gradients(
        network, x, y, Phases(free_steps=400, nudge_steps=12, beta=beta, nudging=nudging), Errors(signals, alpha=0.5)
    ).grads
    difference = torch.cat([(ours[name] - grad).flatten() for name, grad in oracle.items()])
    return float(difference.norm() / torch.cat([grad.flatten() for grad in oracle.values()]).norm())


def test_alpha_follows_the_sign_of_beta() -> None:
    """A signal of fixed sign would cancel between the nudge phases; ours moves them apart."""
    network = smooth_network("cross_entropy")
    signals = double_signals(network, [0])
    x, y = batch(network, 4)
    alone = ep_gradients(network, x, y, Phases(free_steps=60, nudge_steps=8, beta=0.1))
    together = ep_gradients(network, x, y, Phases(free_steps=60, nudge_steps=8, beta=0.1), Errors(signals))

    def first_layer_difference(result: object) -> float:
        return float((result.plus[0] - result.minus[0]).abs().mean())  # type: ignore[attr-defined]

    assert first_layer_difference(together) > 3 * first_layer_difference(alone)


def test_phases_start_from_the_free_state_and_leave_it_alone() -> None:
    network = smooth_network("cross_entropy")
    x, y = batch(network, 3)
    result = ep_gradients(network, x, y, Phases(free_steps=30, nudge_steps=4, beta=0.2))
    for ours, alone in zip(result.free, free_phase(network, x, 30).states, strict=True):
        assert torch.equal(ours, alone)
    assert result.residual.shape == (3,)
    one_sided = ep_gradients(network, x, y, Phases(free_steps=30, nudge_steps=4, beta=0.2, nudging="one_sided_minus"))
    assert one_sided.plus is None
    assert one_sided.minus is not None and result.minus is not None
    for alone, together in zip(one_sided.minus, result.minus, strict=True):
        torch.testing.assert_close(alone, together)


@pytest.mark.parametrize(
    ("argument", "value", "told"),
    [
        ("rule", "hebbian", "'contrastive' or 'stdp'"),
        ("nudging", "both", "'three_phase'"),
        ("free_steps", 0, "free_steps = 0: must be at least 1 tick"),
        ("nudge_steps", -1, "nudge_steps = -1: must be at least 1 tick"),
        *(("beta", beta, "must be greater than 0") for beta in (0.0, -0.5, float("nan"))),
    ],
)
def test_phases_there_are_not_are_refused(argument: str, value: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Phases(**{"free_steps": 2, "nudge_steps": 2, "beta": 0.1, argument: value})


def test_settings_of_another_type_are_refused() -> None:
    network = double_network(custom(conv(3), linear(4)))
    inputs, signals = batch(network, 2), double_signals(network, [0])
    phases, back = Phases(free_steps=2, nudge_steps=2, beta=0.1), unrolled.Unrolling(free_steps=2, steps=2)
    with pytest.raises(UsageError, match=r"errors is a Signals: must be Errors; make it of Errors\(signals, alpha"):
        ep_gradients(network, *inputs, phases, signals)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"phases is a Unrolling: must be Phases; make it of Phases\(free_steps"):
        ep_gradients(network, *inputs, back)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"unrolling is a Phases: must be Unrolling"):
        unrolled.bptt_gradients(network, *inputs, phases)  # type: ignore[arg-type]
    sweep = Engine(network, Schedule("sweep"))
    ep_gradients(network, *inputs, phases, engine=sweep)
    other = dataclasses.replace(phases, schedule=Schedule("event"))
    with pytest.raises(UsageError, match=r"schedule = Schedule\(policy='event'.*must be the engine's"):
        ep_gradients(network, *inputs, other, engine=sweep)


def test_mixed_number_formats_are_refused() -> None:
    network = smooth_network("cross_entropy")
    x, y = batch(network, 2)
    with pytest.raises(UsageError, match=r"network torch\.float64, x torch\.float32: must all be of one format"):
        ep_gradients(network, x.float(), y, Phases(free_steps=2, nudge_steps=2, beta=0.1))


def test_tensors_that_do_not_fit_the_network_are_refused() -> None:
    network = double_network(custom(conv(3), linear(4)))
    signals = double_signals(network, [0], "kd")
    x, y = batch(network, 3)
    states, teacher = random_states(network, 3), random_teacher(signals, 3)
    for change, told in (
        ({"states": states[:1]}, "states: 1 tensors for a network of 2 layers"),
        ({"states": [state.float() for state in states]}, r"states\[0\] torch.float32.*must all be of one format"),
        (
            {"states": [state[:2] for state in states]},
            r"states\[0\] has shape \(2, 3, 13, 11\): must be \(3, 3, 13, 11\)",
        ),
        ({"teacher": {0: teacher[0].to("meta")}}, r"teacher\[0\] meta.*must all be on one device"),
        ({"teacher": {0: teacher[0][:, :2]}}, r"teacher\[0\] has shape"),
        ({"y": y[:2]}, r"y has shape \(2,\): must be \(3,\)"),
        ({"x": x[:, :1]}, r"x has shape \(3, 1, 13, 11\): must be \(3, 2, 13, 11\)"),
    ):
        given = {"x": x, "y": y, "signals": signals, "states": states, "teacher": teacher, **change}
        with pytest.raises(UsageError, match=told):
            by_name(network, **given, free_steps=2, nudge_steps=2, beta=0.1)
    with pytest.raises(UsageError, match=r"x torch\.float32"):
        free_phase(network, x.float(), 2)
    with pytest.raises(
        UsageError, match=r"x is torch\.uint8: must be normalised images; give \(x / 255 - mean\) / std"
    ):
        free_phase(network, x.byte(), 2)
