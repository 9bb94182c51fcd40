"""From gradient estimates to weight changes: SGD with momentum and one rate per connection."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from neurosim_ep.ep.network import Network
from neurosim_ep.ep.signals import Signals
from neurosim_ep.scenario.schema import TrainingSection
from neurosim_ep.scenario.topology import per_layer


class Optimiser:
    """Applies EP gradients to the parameters of ``network`` and of learned ``signals``.

    Weight decay, momentum and Nesterov's are those of ``torch.optim.SGD``. ``clip_norm`` scales all gradients down
    where their norm together exceeds it, as ``torch.nn.utils.clip_grad_norm_`` does. ``update_limit``, a trust ratio,
    then scales a connection's gradient down where, kept up, it would change the weights by more than that fraction of
    their norm per update: ``η‖g‖/(1 − momentum) ≤ limit·‖W‖``, η before the schedule; a bias is scaled like the weights
    beside it.
    """

    def __init__(self, network: Network, signals: Signals | None, section: TrainingSection, updates: int) -> None:
        self.section, self.updates, self.done = section, updates, 0
        self.parameters = dict(network.named_parameters())
        if signals is not None:
            names = [signals.matrix_name(layer) for layer in signals.learned]
            self.parameters |= {f"signals.{name}": signals.get_parameter(name) for name in names}
        by_layer = per_layer(section.learning_rate, network.layers, "training.learning_rate", "rate")
        rates = [by_layer[connection.target] for connection in network.connections]
        self.base_rates = {name: self._base_rate(name, rates) for name in self.parameters}
        self.momenta: dict[str, Tensor] = {}

    def _base_rate(self, name: str, rates: list[float]) -> float:
        owner, *rest = name.split(".")
        if owner == "connections":
            return rates[int(rest[0])]
        return self.section.readout_learning_rate if owner == "readout" else self.section.projection_learning_rate

    @property
    def factor(self) -> float:
        """Factor of the learning rates at this update: in the warm-up, the part of it that is done with this update;
        then 1, or half a cosine over the updates that are left.
        """
        warmup = self.updates * self.section.warmup / self.section.epochs
        if self.done < warmup:
            return min(1.0, (self.done + 1) / warmup)
        if self.section.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * (self.done - warmup) / (self.updates - warmup)))

    @property
    def learning_rate(self) -> float:
        """Largest learning rate of the connections at this update."""
        return self.factor * max(rate for name, rate in self.base_rates.items() if name.startswith("connections"))

    def pulse_rates(self, grads: Mapping[str, Tensor]) -> list[Tensor]:
        """Learning rate of the weights of every connection at this update, as tensors, clipped and limited like any
        other: for weights that are written pulse by pulse, which know neither momentum nor decay.
        """
        rates, clip = [], self._clip(grads)
        for name in self.parameters:
            if name.startswith("connections") and name.endswith("weight"):
                limit = self._limit(name, grads, momentum=0.0, clip=clip)
                rate = self.factor * self.base_rates[name]
                rates.append(grads[name].new_tensor(rate) if limit is None else limit * rate)
        return rates

    @torch.no_grad()
    def step(self, grads: Mapping[str, Tensor], *, weights: bool = True) -> None:
        """One update with ``grads`` (parameter name → tensor), which are scaled in place where they are limited;
        without ``weights``, those of the connections stay as they are.
        """
        clip = self._clip(grads)
        limits = {name: self._limit(name, grads, self.section.momentum, clip) for name in self.parameters}
        for name, limit in limits.items():
            if not weights and name.startswith("connections") and name.endswith("weight"):
                continue
            self._descend(name, grads[name] if limit is None else grads[name].mul_(limit))
        self.done += 1

    def _descend(self, name: str, grad: Tensor) -> None:
        """Move a parameter against ``grad``, in the operations of ``torch.optim.SGD`` and to the same bits.

        The class itself loads PyTorch's compiler when the first one is made, half as much again as PyTorch.
        """
        section, tensor = self.section, self.parameters[name]
        if section.weight_decay and (section.decay_biases or not name.endswith("bias")):
            grad = grad.add(tensor, alpha=section.weight_decay)
        if section.momentum:
            if name in self.momenta:
                self.momenta[name].mul_(section.momentum).add_(grad)
            else:
                self.momenta[name] = grad.clone()
            velocity = self.momenta[name]
            grad = grad.add(velocity, alpha=section.momentum) if section.nesterov else velocity
        tensor.add_(grad, alpha=-self.factor * self.base_rates[name])

    def _clip(self, grads: Mapping[str, Tensor]) -> Tensor | None:
        """Factor ≤ 1 of all gradients that keeps their norm together below ``clip_norm``; None: no limit."""
        if not self.section.clip_norm:
            return None
        norms = torch.stack([torch.linalg.vector_norm(grads[name]) for name in self.parameters])
        return (self.section.clip_norm / (torch.linalg.vector_norm(norms) + 1e-6)).clamp(max=1.0)

    def _limit(self, name: str, grads: Mapping[str, Tensor], momentum: float, clip: Tensor | None) -> Tensor | None:
        """Factor ≤ 1 of a gradient, ``clip`` being a part of it, that keeps a connection's update below the limit,
        computed on the device; None: no limit.
        """
        if not self.section.update_limit or not name.startswith("connections") or self.base_rates[name] == 0:
            return clip
        weight_name = name.rsplit(".", 1)[0] + ".weight"
        norm = grads[weight_name].norm() if clip is None else clip * grads[weight_name].norm()
        allowed = self.section.update_limit * self.parameters[weight_name].norm() * (1 - momentum)
        limit = (allowed / (self.base_rates[name] * norm + 1e-30)).clamp(max=1.0)
        return limit if clip is None else clip * limit

    def state_dict(self) -> dict[str, object]:
        """Momentum of each parameter, where ``torch.optim.SGD`` has it in its state, and the number of updates done."""
        momenta = {
            number: {"momentum_buffer": self.momenta[name]}
            for number, name in enumerate(self.parameters)
            if name in self.momenta
        }
        return {"sgd": {"state": momenta}, "done": self.done}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`. Raises KeyError when it has other parameters."""
        names = dict(enumerate(self.parameters))
        self.momenta = {
            names[number]: entry["momentum_buffer"].clone() for number, entry in state["sgd"]["state"].items()
        }
        self.done = int(state["done"])
