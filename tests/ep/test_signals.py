"""Schedules of α, targets and projections of local errors, and what belongs to which layer."""

from __future__ import annotations

import math

import pytest
import torch
from nets import conv, custom, linear

from neurosim_ep.ep.losses import one_hot, signal_error, signal_loss
from neurosim_ep.ep.network import Network, build_network
from neurosim_ep.ep.signals import alpha_at, build_signals
from neurosim_ep.errors import ScenarioError
from neurosim_ep.scenario.schema import SignalsSection


def network() -> Network:
    return build_network(custom(conv(16, pool="max"), conv(8, pool="avg"), linear(20)), 10, (3, 16, 16), seed=0)


def signals_section(**options: object) -> SignalsSection:
    return SignalsSection(kind="le", layers=[0, 2], **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.8, 0.8, 0.8]),
        ("linear", [0.8, 0.8 - 0.7 * 0.5, 0.8 - 0.7 * 0.9]),
        ("exponential", [0.8, 0.8 * 0.5**5, 0.1]),
        ("cosine", [0.8, 0.1 + 0.35, 0.1 + 0.35 * (1 + math.cos(0.9 * math.pi))]),
    ],
)
def test_alpha_follows_its_schedule(schedule: str, expected: list[float]) -> None:
    """Eq 16 at epochs 0, 5 and 9 of 10; the exponential one stops at its minimum."""
    ends = {"constant": {}, "exponential": {"alpha_min": 0.1, "alpha_decay": 0.5}}.get(schedule, {"alpha_min": 0.1})
    section = signals_section(alpha=0.8, alpha_schedule=schedule, **ends)
    found = [alpha_at(section, epoch, 10) for epoch in (0, 5, 9)]
    if schedule == "exponential":
        expected[1] = 0.1  # 0.8 / 32 lies below the minimum
    assert found == pytest.approx(expected)


def test_projections_are_normal_with_variance_one_over_features() -> None:
    signals = build_signals(signals_section(), network(), seed=3)
    assert signals is not None
    matrix = signals.matrices[0]
    features = 16 * 8 * 8
    assert matrix.shape == (10, features)
    assert float(matrix.mean()) == pytest.approx(0, abs=4 / math.sqrt(10 * features * features))
    assert float(matrix.var()) * features == pytest.approx(1, rel=0.05)
    again, other = (build_signals(signals_section(), network(), seed=seed) for seed in (3, 4))
    assert again is not None and other is not None
    assert torch.equal(again.matrices[2], signals.matrices[2])
    assert not torch.equal(other.matrices[2], signals.matrices[2])


def test_soft_targets_are_nearly_uniform() -> None:
    """softmax(one-hot/4) over ten classes: 0.125 for the label, 0.097 for the others."""
    onehot = one_hot(torch.tensor([3]), 10, torch.zeros(1))
    hard, soft = (
        build_signals(signals_section(targets=kind, temperature=4.0), network(), 0) for kind in ("hard", "soft")
    )
    assert hard is not None and soft is not None
    assert torch.equal(hard.targets(onehot, {})[0], onehot)
    targets = soft.targets(onehot, {})[0][0]
    assert float(targets[3]) == pytest.approx(0.1249, abs=1e-4)
    assert float(targets[0]) == pytest.approx(0.0972, abs=1e-4)


def test_the_error_scales_with_the_temperature_exponent() -> None:
    """l ∝ τ^p, so −∂l/∂z = τ^(p−1)(q − softmax(z/τ)); a fitted readout has neither loss nor error."""
    logits = torch.randn(4, 10, generator=torch.Generator().manual_seed(0))
    targets = one_hot(torch.arange(4), 10, logits)
    for function in (signal_loss, signal_error):
        torch.testing.assert_close(
            function(logits, targets, 4.0, 2.0), 4.0 * function(logits, targets, 4.0, 1.0), rtol=1e-6, atol=1e-6
        )
    fitted = torch.softmax(logits / 4.0, 1)
    assert signal_loss(logits, fitted, 4.0, 2.0).abs().max() < 1e-5
    assert signal_error(logits, fitted, 4.0, 2.0).abs().max() < 1e-6


def test_a_layer_that_does_not_exist_is_refused() -> None:
    section = SignalsSection(kind="le", layers=[1, 3])
    with pytest.raises(ScenarioError, match=r"layer 3 does not exist; .* 0 to 2 \(conv1, conv2, fc1\)"):
        build_signals(section, network(), 0)
