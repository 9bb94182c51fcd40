"""The optimiser takes the steps of ``torch.optim.SGD``, to the bit."""

from __future__ import annotations

import pytest
import torch
from nets import conv, custom, linear

from neurosim_ep.ep.network import build_network
from neurosim_ep.scenario.schema import TrainingSection
from neurosim_ep.train.optimiser import Optimiser


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 3e-4])
def test_steps_are_those_of_sgd(momentum: float, weight_decay: float) -> None:
    section = TrainingSection(
        learning_rate=(0.3, 0.01), readout_learning_rate=0.1, momentum=momentum, weight_decay=weight_decay,
        update_limit=0, schedule="cosine",
    )  # fmt: skip
    network, twin = (build_network(custom(conv(5), linear(7)), 3, (2, 6, 6), seed=0) for _ in range(2))
    optimiser = Optimiser(network, None, section, updates=6)
    groups = [{"params": [tensor]} for tensor in twin.parameters()]
    sgd = torch.optim.SGD(groups, lr=0.0, momentum=momentum, weight_decay=weight_decay, foreach=False)
    random = torch.Generator().manual_seed(1)
    for step in range(6):
        if step == 2:  # the checkpoint of a run that SGD itself had trained so far
            optimiser.load_state_dict({"sgd": sgd.state_dict(), "done": step})
        if step == 4:
            state = optimiser.state_dict()
            optimiser = Optimiser(network, None, section, updates=6)
            optimiser.load_state_dict(state)
        grads = {name: torch.randn(tensor.shape, generator=random) for name, tensor in network.named_parameters()}
        for group, (name, tensor) in zip(sgd.param_groups, twin.named_parameters(), strict=True):
            group["lr"], tensor.grad = optimiser.factor * optimiser.base_rates[name], grads[name].clone()
        optimiser.step(grads)
        sgd.step()
        for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
            assert torch.equal(ours, theirs)
