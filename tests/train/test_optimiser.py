"""The optimiser takes the steps of ``torch.optim.SGD``, to the bit, and limits what it is told to."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from nets import conv, custom, linear
from torch import Tensor

from neurosim_ep.ep.network import Network, build_network
from neurosim_ep.errors import ScenarioError
from neurosim_ep.experiment.optimiser import Optimiser
from neurosim_ep.scenario.schema import TrainingSection


def small_network(**options: Any) -> Network:
    return build_network(custom(conv(5), linear(7), **options), 3, (2, 6, 6), seed=0)


def random_gradients(network: Network, random: torch.Generator) -> dict[str, Tensor]:
    return {name: torch.randn(tensor.shape, generator=random) for name, tensor in network.named_parameters()}


@pytest.mark.parametrize(
    "options",
    [
        {"momentum": 0.0, "weight_decay": 0.0},
        {"momentum": 0.0, "weight_decay": 3e-4},
        {"momentum": 0.9, "weight_decay": 0.0},
        {"momentum": 0.9, "weight_decay": 3e-4},
        {"momentum": 0.9, "weight_decay": 3e-4, "nesterov": True},
        {"momentum": 0.9, "weight_decay": 3e-2, "nesterov": True, "decay_biases": False},
        {"momentum": 0.9, "weight_decay": 3e-4, "clip_norm": 5.0},
        {"momentum": 0.9, "nesterov": True, "clip_norm": 5.0, "warmup": 1.5, "schedule": "constant"},
    ],
    ids=lambda options: " ".join(f"{key}={value}" for key, value in options.items()),
)
def test_steps_are_those_of_sgd(options: dict[str, Any]) -> None:
    section = TrainingSection(
        **{"learning_rate": (0.3, 0.01), "readout_learning_rate": 0.1, "update_limit": 0, "epochs": 3} | options
    )
    network, twin = small_network(), small_network()
    optimiser = Optimiser(network, None, section, updates=6)
    groups = [
        {
            "params": [tensor],
            "weight_decay": section.weight_decay if section.decay_biases or tensor.dim() > 1 else 0.0,
        }
        for tensor in twin.parameters()
    ]
    sgd = torch.optim.SGD(groups, lr=0.0, momentum=section.momentum, nesterov=section.nesterov, foreach=False)
    random = torch.Generator().manual_seed(1)
    for step in range(6):
        if step == 2:  # the checkpoint of a run that SGD itself had trained so far
            optimiser.load_state_dict({"sgd": sgd.state_dict(), "done": step})
        if step == 4:
            state = optimiser.state_dict()
            optimiser = Optimiser(network, None, section, updates=6)
            optimiser.load_state_dict(state)
        grads = random_gradients(network, random)
        for group, (name, tensor) in zip(sgd.param_groups, twin.named_parameters(), strict=True):
            group["lr"], tensor.grad = optimiser.factor * optimiser.base_rates[name], grads[name].clone()
        if section.clip_norm:
            assert float(torch.nn.utils.clip_grad_norm_(twin.parameters(), section.clip_norm)) > section.clip_norm
        optimiser.step(grads)
        sgd.step()
        for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
            assert torch.equal(ours, theirs)


def test_rates_warm_up_over_a_part_of_an_epoch() -> None:
    """In proportion to the updates, then as the schedule has it from its beginning."""
    for schedule in ("constant", "cosine"):
        section = TrainingSection(epochs=4, warmup=0.5, schedule=schedule)  # type: ignore[arg-type]
        optimiser = Optimiser(small_network(), None, section, updates=40)
        factors = []
        for optimiser.done in range(40):
            factors.append(optimiser.factor)
        assert factors[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
        if schedule == "constant":
            assert set(factors[5:]) == {1.0}
        else:
            assert factors[5:] == pytest.approx([0.5 * (1 + math.cos(math.pi * n / 35)) for n in range(35)])


def test_gradients_are_clipped_before_they_are_limited() -> None:
    """Where the clip is far below the limit it alone acts; where it is far above, the limit does."""
    random = torch.Generator().manual_seed(2)
    for clip_norm, update_limit in ((1e-3, 0.02), (1e6, 0.02), (1e-3, 0.0)):
        network = small_network()
        section = TrainingSection(
            clip_norm=clip_norm, update_limit=update_limit, momentum=0, weight_decay=0, learning_rate=0.1,
            schedule="constant",
        )  # fmt: skip
        before = [connection.weight.clone() for connection in network.connections]
        grads = random_gradients(network, random)
        whole = math.sqrt(sum(float(value.square().sum()) for value in grads.values()))
        optimiser = Optimiser(network, None, section, updates=1)
        rates = optimiser.pulse_rates(grads)
        norms = [float(grads[f"connections.{n}.weight"].norm()) for n in range(2)]
        optimiser.step(grads)
        for connection, old, norm, rate in zip(network.connections, before, norms, rates, strict=True):
            change = float((connection.weight - old).norm())
            expected = 0.02 * float(old.norm()) if clip_norm > 1 else 0.1 * norm * clip_norm / whole
            assert change == pytest.approx(expected, rel=1e-3)
            assert float(rate) * norm == pytest.approx(expected, rel=1e-3)  # of weights that pulses write


def test_a_layer_has_its_own_initial_scale() -> None:
    """The draws are those of one scale for all; the readout has the last one."""
    even, own = small_network(weight_scale=1.0), small_network(weight_scale=(0.25, 2.0))
    for ours, theirs in zip(own.parameters(), even.parameters(), strict=True):
        assert ours.shape == theirs.shape
    for owner, scale in (("connections.0", 0.25), ("connections.1", 2.0), ("readout", 2.0)):
        for name in (f"{owner}.weight", f"{owner}.bias"):
            assert torch.equal(own.get_parameter(name), even.get_parameter(name) * scale)
    with pytest.raises(ScenarioError, match=r"network.weight_scale = \[1.0\]: has 1 factor for 2 layers"):
        small_network(weight_scale=(1.0,))
