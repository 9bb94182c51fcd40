"""Reads that are spared while states have not moved: fewer of them, and not one number changes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from presentations import POLICIES, by_name, deep_network, images

from neurosim_ep.ep.network import Network
from neurosim_ep.scheduler import relaxation_state
from neurosim_ep.scheduler.kernels import Kernel
from neurosim_ep.scheduler.presentation import EPGradients
from neurosim_ep.scheduler.schedule import Schedule
from neurosim_ep.scheduler.stillness import Stillness

GAINS: dict[str, dict[str, float]] = {"published": {}, "two gains": {"feedback": 0.1, "nudge_feedback": 1.0}}


def present(network: Network, policy: str, gains: dict[str, float], **options: Any) -> EPGradients:
    x, y = images(4)
    phases = {"free_steps": 4, "nudge_steps": 2, "beta": 0.2} | gains | options
    return by_name(network, x, y, **phases, schedule=Schedule(policy, tolerance=0, nudge_tolerance=0))


def knows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relaxation_state, "Stillness", lambda states, copies, replayed: Stillness(states, copies, True))


@pytest.mark.parametrize("gains", GAINS)
@pytest.mark.parametrize("policy", POLICIES)
def test_no_number_changes(policy: str, gains: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = deep_network()
    spared = present(network, policy, GAINS[gains])
    knows_nothing(monkeypatch)
    whole = present(network, policy, GAINS[gains])
    for name, gradient in whole.grads.items():
        assert torch.equal(spared.grads[name], gradient), name
    for one, other in zip(spared.free, whole.free, strict=True):
        assert torch.equal(one, other)


def test_states_that_are_given_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    network = deep_network()
    start = network.initial_states(4, "uniform", torch.Generator().manual_seed(0))
    start[1].zero_()
    spared = present(network, "sweep", GAINS["two gains"], states=start)
    knows_nothing(monkeypatch)
    whole = present(network, "sweep", GAINS["two gains"], states=start)
    assert all(torch.equal(spared.grads[name], gradient) for name, gradient in whole.grads.items())


@pytest.mark.parametrize("gains", GAINS)
def test_sweeps_read_less(gains: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A free sweep from zeros reads nothing downwards, a nudge sweep with two gains each connection upwards once for
    both phases; with one the products of rows stay as they are, to the last bit.
    """
    rows = {"up": 0, "down": 0}
    forward, feedback = Kernel.forward, Kernel.feedback

    def counted_forward(kernel: Kernel, pre: torch.Tensor, bias: bool = True) -> torch.Tensor:
        rows["up"] += len(pre)
        return forward(kernel, pre, bias)

    def counted_feedback(kernel: Kernel, routed: torch.Tensor) -> torch.Tensor:
        rows["down"] += len(routed)
        return feedback(kernel, routed)

    monkeypatch.setattr(Kernel, "forward", counted_forward)
    monkeypatch.setattr(Kernel, "feedback", counted_feedback)
    monkeypatch.setattr(
        "neurosim_ep.scheduler.engine.make_kernels", lambda network, _: list(map(Kernel, network.edges))
    )
    network = deep_network()
    edges = len(network.edges) - 1  # the image is not read in ticks
    present(network, "sweep", GAINS[gains], free_steps=1, nudge_steps=1)
    both = 4 * edges if GAINS[gains] else 2 * 4 * edges
    assert rows == {"up": 4 * edges + both, "down": 2 * 4 * edges}  # 4 samples; free and nudged; 2 phases downwards
