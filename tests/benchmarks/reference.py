"""A plain implementation of the published method, the baseline of every ratio in the benchmarks.

Every tick differentiates Φ with autograd, for all samples and all layers at once, in PyTorch's default memory layout;
the three phases run one after the other for their full T and K ticks (arXiv 2508.15989, §2 to §4). Nothing of the
product's computation is used, only its networks' weights and shapes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from neurosim_ep.ep.network import Network
from neurosim_ep.ep.signals import Signals

ACTIVATIONS = {
    "hard_sigmoid": lambda drive: drive.clamp(0, 1),
    "hard_sigmoid_half": lambda drive: (drive / 2).clamp(0, 1),
    "hard_sigmoid_shifted": lambda drive: ((drive + 1) / 2).clamp(0, 1),
    "hard_tanh": lambda drive: drive.clamp(-1, 1),
    "relu": torch.relu,
    "relu6": lambda drive: drive.clamp(0, 6),
    "sigmoid": lambda drive: torch.sigmoid(4 * drive - 2),
}


class Reference:
    """EP and BPTT on the weights of ``network`` and ``signals``, copied into contiguous tensors of its own."""

    def __init__(self, network: Network, signals: Signals | None = None) -> None:
        self.layers = [(layer.padding, layer.pool) for layer in network.connections]
        self.shapes = network.state_shapes
        self.activations = [ACTIVATIONS[activation.name] for activation in network.activations]
        self.weights = [_own(layer.weight) for layer in network.connections]
        self.biases = [_own(layer.bias) for layer in network.connections]
        assert network.readout is not None
        self.readout = _own(network.readout.weight), _own(network.readout.bias)
        self.projections = {}
        if signals is not None:
            self.projections = {layer: matrix.clone() for layer, matrix in signals.matrices.items()}
            self.temperature, self.exponent = signals.temperature, signals.exponent

    @property
    def parameters(self) -> list[Tensor]:
        """Weights, biases and the readout."""
        return [*self.weights, *self.biases, *self.readout]

    def primitive(self, x: Tensor, states: list[Tensor]) -> Tensor:
        """Φ summed over the batch (Eq 1)."""
        total, pre = x.new_zeros(()), x
        for (padding, pool), weight, bias, state in zip(self.layers, self.weights, self.biases, states, strict=True):
            if weight.dim() == 4:
                z = F.conv2d(pre, weight, bias, padding=padding)
                if pool is not None:
                    z = F.max_pool2d(z, 2) if pool == "max" else F.avg_pool2d(z, 2)
            else:
                z = F.linear(pre.flatten(1), weight, bias)
            total, pre = total + (state * z).sum(), state
        return total

    def loss(self, states: list[Tensor], y: Tensor, alpha: float) -> Tensor:
        """``l_out + α Σ l_l`` summed over the batch, hard targets (Eq 9)."""
        logits = F.linear(states[-1].flatten(1), *self.readout)
        total = F.cross_entropy(logits, y, reduction="sum")
        for layer, matrix in self.projections.items():
            z = states[layer].flatten(1) @ matrix.T
            scale = self.temperature**self.exponent
            total = total + alpha * scale * F.cross_entropy(z / self.temperature, y, reduction="sum")
        return total

    def tick(
        self, x: Tensor, y: Tensor, states: list[Tensor], beta: float, alpha: float, graph: bool = False
    ) -> list[Tensor]:
        """``σ(∂Φ_aug/∂s)`` of every layer; ``graph`` keeps it differentiable."""
        if not graph:
            states = [state.detach().requires_grad_(True) for state in states]
        phi = self.primitive(x, states)
        if beta:
            phi = phi - beta * self.loss(states, y, alpha)
        drives = torch.autograd.grad(phi, states, create_graph=graph)
        return [activation(drive) for activation, drive in zip(self.activations, drives, strict=True)]

    def relax(
        self, x: Tensor, y: Tensor, states: list[Tensor], steps: int, beta: float = 0.0, alpha: float = 1.0
    ) -> list[Tensor]:
        """``steps`` ticks from ``states``."""
        for _ in range(steps):
            states = self.tick(x, y, states, beta, alpha)
        return states

    def free_phase(self, x: Tensor, y: Tensor, steps: int) -> list[Tensor]:
        """``steps`` ticks from zero states."""
        zeros = [x.new_zeros(len(x), *shape) for shape in self.shapes]
        return self.relax(x, y, zeros, steps)

    def ep_gradients(
        self, x: Tensor, y: Tensor, free_steps: int, nudge_steps: int, beta: float, alpha: float
    ) -> list[Tensor]:
        """Three-phase estimate of the gradient of the mean loss for every parameter (Eq 12)."""
        free = self.free_phase(x, y, free_steps)
        grads = []
        for sign in (1, -1):
            states = self.relax(x, y, free, nudge_steps, sign * beta, alpha)
            for parameter in self.parameters:
                parameter.requires_grad_(True)
            phi = self.primitive(x, states) - sign * beta * self.loss(states, y, alpha)
            grads.append(torch.autograd.grad(phi, self.parameters))
            for parameter in self.parameters:
                parameter.requires_grad_(False)
        return [(minus - plus) / (2 * beta * len(x)) for plus, minus in zip(*grads, strict=True)]

    def bptt_gradients(self, x: Tensor, y: Tensor, free_steps: int, steps: int, alpha: float = 1.0) -> list[Tensor]:
        """Gradient of the mean loss through the last ``steps`` of ``free_steps`` free ticks (Eq 5)."""
        states = self.free_phase(x, y, free_steps - steps)
        for parameter in self.parameters:
            parameter.requires_grad_(True)
        states = [state.detach().requires_grad_(True) for state in states]
        for _ in range(steps):
            states = self.tick(x, y, states, 0.0, alpha, graph=True)
        grads = torch.autograd.grad(self.loss(states, y, alpha) / len(x), self.parameters)
        for parameter in self.parameters:
            parameter.requires_grad_(False)
        return list(grads)


def _own(value: Tensor) -> Tensor:
    return value.detach().clone(memory_format=torch.contiguous_format)
