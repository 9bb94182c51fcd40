"""From gradient estimates to weight changes: SGD with momentum and one rate per connection."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from neurosim_ep.ep.network import Network
from neurosim_ep.ep.signals import Signals
from neurosim_ep.errors import ScenarioError
from neurosim_ep.scenario.schema import TrainingSection


class Optimiser:
    """Applies EP gradients to the parameters of ``network`` and of learned ``signals``.

    Weight decay and momentum are those of ``torch.optim.SGD``. ``update_limit`` scales a connection's gradient down
    where, kept up, it would change the weights by more than that fraction of their norm per update:
    ``η‖g‖/(1 − momentum) ≤ limit·‖W‖``, η before the schedule; a bias is scaled like the weights beside it.
    """

    def __init__(self, network: Network, signals: Signals | None, section: TrainingSection, updates: int) -> None:
        self.section, self.updates, self.done = section, updates, 0
        self.parameters = dict(network.named_parameters())
        if signals is not None:
            names = [signals.matrix_name(layer) for layer in signals.learned]
            self.parameters |= {f"signals.{name}": signals.get_parameter(name) for name in names}
        rates = connection_rates(section, len(network.connections))
        self.base_rates = {name: self._base_rate(name, rates) for name in self.parameters}
        groups = [{"params": [tensor]} for tensor in self.parameters.values()]
        self.sgd = torch.optim.SGD(
            groups, lr=0.0, momentum=section.momentum, weight_decay=section.weight_decay, foreach=False
        )

    def _base_rate(self, name: str, rates: list[float]) -> float:
        owner, *rest = name.split(".")
        if owner == "connections":
            return rates[int(rest[0])]
        return self.section.readout_learning_rate if owner == "readout" else self.section.projection_learning_rate

    @property
    def factor(self) -> float:
        """Factor of the learning rates at this update: 1, or half a cosine over all updates."""
        if self.section.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * self.done / self.updates))

    @property
    def learning_rate(self) -> float:
        """Largest learning rate of the connections at this update."""
        return self.factor * max(rate for name, rate in self.base_rates.items() if name.startswith("connections"))

    def pulse_rates(self, grads: Mapping[str, Tensor]) -> list[Tensor]:
        """Learning rate of the weights of every connection at this update, as tensors, limited like any other: for
        weights that are written pulse by pulse, which know neither momentum nor decay.
        """
        rates = []
        for name in self.parameters:
            if name.startswith("connections") and name.endswith("weight"):
                limit = self._limit(name, grads, momentum=0.0)
                rate = self.factor * self.base_rates[name]
                rates.append(grads[name].new_tensor(rate) if limit is None else limit * rate)
        return rates

    @torch.no_grad()
    def step(self, grads: Mapping[str, Tensor], *, weights: bool = True) -> None:
        """One update with ``grads`` (parameter name → tensor), which are scaled in place where they are limited;
        without ``weights``, those of the connections stay as they are.
        """
        limits = {name: self._limit(name, grads, self.section.momentum) for name in self.parameters}
        for group, (name, tensor) in zip(self.sgd.param_groups, self.parameters.items(), strict=True):
            group["lr"] = self.factor * self.base_rates[name]
            limit = limits[name]
            if not weights and name.startswith("connections") and name.endswith("weight"):
                continue
            tensor.grad = grads[name] if limit is None else grads[name].mul_(limit)
        self.sgd.step()
        self.sgd.zero_grad(set_to_none=True)
        self.done += 1

    def _limit(self, name: str, grads: Mapping[str, Tensor], momentum: float) -> Tensor | None:
        """Factor ≤ 1 that keeps a connection's update below the limit, computed on the device; None: no limit."""
        if not self.section.update_limit or not name.startswith("connections") or self.base_rates[name] == 0:
            return None
        weight_name = name.rsplit(".", 1)[0] + ".weight"
        allowed = self.section.update_limit * self.parameters[weight_name].norm() * (1 - momentum)
        return (allowed / (self.base_rates[name] * grads[weight_name].norm() + 1e-30)).clamp(max=1.0)

    def state_dict(self) -> dict[str, object]:
        """Momentum and the number of updates done."""
        return {"sgd": self.sgd.state_dict(), "done": self.done}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Continue from :meth:`state_dict`."""
        self.sgd.load_state_dict(state["sgd"])  # type: ignore[arg-type]
        self.done = int(state["done"])  # type: ignore[call-overload]


def connection_rates(section: TrainingSection, connections: int) -> list[float]:
    """One learning rate per connection. Raises :class:`ScenarioError` when a list has another length."""
    rates = section.learning_rate
    if isinstance(rates, float):
        return [rates] * connections
    if len(rates) != connections:
        raise ScenarioError(
            f"training.learning_rate = {list(rates)}: has {len(rates)} rates for {connections} connections; "
            "give one rate for all, or exactly one per connection"
        )
    return list(rates)
