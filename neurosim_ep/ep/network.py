"""Convergent networks: an ordered list of connections, one neuron layer above each, and a readout.

``build_network`` makes one from a scenario's ``[network]`` section. Weights start as PyTorch's default
Kaiming uniform (a = √5, biases too) or He uniform (He et al. 2015), times ``weight_scale``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from neurosim_ep.ep import activations, primitive
from neurosim_ep.ep.seeds import Stream, generator
from neurosim_ep.errors import ScenarioError
from neurosim_ep.scenario.architectures import LayerPlan
from neurosim_ep.scenario.schema import NetworkSection

LARGEST_LAYER = 2**28  # parameters or outputs: 1 GiB in float32, more than any layer of a VGG preset on 32x32 images


def refuse_oversize(name: str, **counts: int) -> None:
    """Raises :class:`ScenarioError` when one of the ``counts`` of ``name`` exceeds ``LARGEST_LAYER``."""
    for what, count in counts.items():
        if count > LARGEST_LAYER:
            raise ScenarioError(
                f"network: {name} would have {count:,} {what}, more than {LARGEST_LAYER:,}; "
                "make it or the layer below smaller, lower network.width, pool more, or use smaller images"
            )


class Tiles(Protocol):
    """Hardware that holds the synapses of a connection and reads them in both directions."""

    phase: str
    """Phase that reads belong to: "free" or "nudge"."""

    def weight(self) -> Tensor:
        """The weights that reads see."""

    def forward(self, pre: Tensor) -> Tensor:
        """``w ⋆ pre`` (B, *pre_pool_shape)."""

    def feedback(self, routed: Tensor) -> Tensor:
        """``w ⋆ᵀ routed`` (B, *in_shape)."""


class Connection(nn.Module):
    """The synapses from one layer to the next, read in both directions and updated locally.

    Attributes: ``name``; ``kind`` ("conv" | "linear"); ``weight`` (C_out, C_in, k, k) or (out, in); ``bias``;
    ``pool`` (None | "max" | "avg"); ``padding``; the shapes of one sample: ``in_shape`` (pre state),
    ``pre_pool_shape``, ``out_shape`` (post state); ``tiles`` that hold the synapses (None: ideal ones); and ``signed``,
    whether its inputs, and the states it drives, can be negative.
    """

    weight: Tensor
    bias: Tensor
    tiles: Tiles | None

    def __init__(self, name: str, plan: LayerPlan, in_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.name, self.kind, self.in_shape = name, plan.kind, in_shape
        self.tiles, self.signed = None, (False, False)
        self.pool = plan.pool
        self.padding = plan.padding if plan.kind == "conv" else 0
        if plan.kind == "conv":
            height, width = (side + 2 * plan.padding - plan.kernel + 1 for side in in_shape[1:])
            self.pre_pool_shape: tuple[int, ...] = (plan.size, height, width)
            shape: tuple[int, ...] = (plan.size, in_shape[0], plan.kernel, plan.kernel)
        else:
            self.pre_pool_shape = (plan.size,)
            shape = (plan.size, math.prod(in_shape))
        halve = 2 if plan.pool else 1
        self.out_shape = (plan.size, *(side // halve for side in self.pre_pool_shape[1:]))
        if min(self.out_shape) < 1:
            raise ScenarioError(
                f"network: layer {name} would have shape {self.out_shape} on inputs of {in_shape}; "
                "use larger images, fewer pooled layers, or more padding"
            )
        parameters, outputs = math.prod(shape) + plan.size, math.prod(self.pre_pool_shape)
        refuse_oversize(f"layer {name}", parameters=parameters, outputs=outputs)
        self.weight = nn.Parameter(torch.empty(shape), requires_grad=False)
        self.bias = nn.Parameter(torch.empty(plan.size), requires_grad=False)

    @property
    def read_flops(self) -> int:
        """Floating-point operations of one read of one sample, in either direction: a multiplication and an addition
        per weight and position, those on padding with them.
        """
        return 2 * self.weight.numel() * math.prod(self.pre_pool_shape[1:])

    def read(self, pre: Tensor, bias: bool = True) -> Tensor:
        """``w ⋆ pre + b`` (B, *pre_pool_shape) before any pooling, or without b, which is added digitally."""
        added = self.bias if bias else None
        if self.tiles is None:
            return primitive.preactivation(pre, self.weight, added, self.padding)
        z = self.tiles.forward(pre)
        return z if added is None else z.add_(added.view(-1, *(1,) * (z.dim() - 2)))

    def forward(self, pre: Tensor) -> tuple[Tensor, Tensor | None]:
        """Forward read: the drive ``P(w ⋆ pre + b)`` (B, *out_shape) and the argmax routing κ."""
        return primitive.pool_forward(self.read(pre), self.pool)

    def route(self, post: Tensor, routing: Tensor | None) -> Tensor:
        """``P⁻¹(post; κ)`` (B, *pre_pool_shape): what drives the columns in a transposed read."""
        return primitive.pool_adjoint(post, routing, self.pool, self.pre_pool_shape)

    def feedback(self, routed: Tensor) -> Tensor:
        """Transposed read ``w ⋆ᵀ routed`` (B, *in_shape)."""
        if self.tiles is not None:
            return self.tiles.feedback(routed)
        drive = primitive.transposed_read(routed, self.weight, self.padding)
        return drive if self.kind == "conv" else drive.view(-1, *self.in_shape)

    def update(self, pre: Tensor, routed: Tensor) -> tuple[Tensor, Tensor]:
        """∂Φ/∂w and ∂Φ/∂b of this connection, summed over the batch."""
        return primitive.weight_derivative(pre, routed, self.weight, self.padding)

    def extra_repr(self) -> str:
        return f"{self.name}: {self.kind} {self.in_shape} -> {self.out_shape}, pool={self.pool}"


class Readout(nn.Module):
    """Softmax readout outside the dynamics: ``ŷ = softmax(W s^N + b)`` with weight (C, features)."""

    weight: Tensor
    bias: Tensor

    def __init__(self, features: int, num_classes: int) -> None:
        super().__init__()
        refuse_oversize("the readout", parameters=num_classes * (features + 1))
        self.weight = nn.Parameter(torch.empty(num_classes, features), requires_grad=False)
        self.bias = nn.Parameter(torch.empty(num_classes), requires_grad=False)

    def forward(self, state: Tensor) -> Tensor:
        """Logits (B, C) of the last hidden layer's state."""
        return primitive.preactivation(state, self.weight, self.bias, 0)


class Network(nn.Module):
    """A convergent recurrent network: ``connections[n]`` drives neuron layer n, n = 0..N-1.

    ``loss`` is "cross_entropy" (``readout`` outside the dynamics) or "squared_error" (``readout`` is None and the
    last neuron layer is the class layer). ``activations``: the :class:`~neurosim_ep.ep.activations.Activation` of each
    layer.
    """

    connections: Sequence[Connection]
    readout: Readout | None

    def __init__(
        self,
        plans: Sequence[LayerPlan],
        activation: str | Sequence[str],
        loss: str,
        num_classes: int,
        image_shape: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.loss, self.num_classes, self.image_shape = loss, num_classes, tuple(image_shape)
        connections, shape, seen = [], self.image_shape, {"conv": 0, "linear": 0}
        for plan in plans:
            seen[plan.kind] += 1
            name = f"{'conv' if plan.kind == 'conv' else 'fc'}{seen[plan.kind]}"
            connections.append(Connection(name, plan, shape))
            shape = connections[-1].out_shape
        self.connections = nn.ModuleList(connections)  # type: ignore[assignment]
        self.activations = activations.per_layer(activation, [plan.kind for plan in plans])
        signs = [True, *(one.signed for one in self.activations)]  # images, which may be normalised, have one
        for connection, signed in zip(connections, itertools.pairwise(signs), strict=True):
            connection.signed = signed
        self.readout = Readout(math.prod(shape), num_classes) if loss == "cross_entropy" else None

    @property
    def state_shapes(self) -> list[tuple[int, ...]]:
        """Shape of one sample's state, layer by layer."""
        return [connection.out_shape for connection in self.connections]

    @property
    def layer_names(self) -> list[str]:
        """Names of the neuron layers (each named after the connection below it)."""
        return [connection.name for connection in self.connections]

    @property
    def largest_read_flops(self) -> int:
        """:attr:`Connection.read_flops` of the connection that has most of them."""
        return max(connection.read_flops for connection in self.connections)

    def initial_states(self, batch: int, kind: str, random: torch.Generator | None = None) -> list[Tensor]:
        """States at tick 0: zeros, or uniform between the bounds of the activation, but not beyond 1 in size, drawn
        from ``random`` (a generator on the CPU).
        """
        weight = self.connections[0].weight
        states = []
        for shape, activation in zip(self.state_shapes, self.activations, strict=True):
            if kind == "zeros":
                state = weight.new_zeros(batch, *shape)
            else:
                low, high = activation.start
                drawn = torch.rand(batch, *shape, generator=random, dtype=weight.dtype)
                state = drawn.mul_(high - low).add_(low).to(weight.device)
            states.append(channels_last(state))
        return states

    def logits(self, states: Sequence[Tensor]) -> Tensor:
        """Class scores (B, C): the readout's logits, or the class layer itself."""
        return states[-1] if self.readout is None else self.readout(states[-1])

    def input_drive(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """``P(w_1 ⋆ x + b_1)`` and its routing: constant during a sample's whole presentation."""
        return self.connections[0](channels_last(x))


def channels_last(value: Tensor) -> Tensor:
    """Images and conv states in the memory layout the convolutions run fastest in; others unchanged."""
    return value.contiguous(memory_format=torch.channels_last) if value.dim() == 4 else value


@torch.no_grad()
def initialise(network: Network, weight_init: str, weight_scale: float, seed: int) -> None:
    """Draw every weight and bias of ``network`` from the seed, connection by connection, then the readout."""
    random = generator(seed, Stream.WEIGHTS)
    layers: list[Connection | Readout] = [*network.connections]
    if network.readout is not None:
        layers.append(network.readout)
    for layer in layers:
        fan_in = layer.weight[0].numel()
        bound = math.sqrt(6 / fan_in) if weight_init == "he_uniform" else math.sqrt(1 / fan_in)
        bias_bound = 0.0 if weight_init == "he_uniform" else bound
        for tensor, limit in ((layer.weight, bound), (layer.bias, bias_bound)):
            drawn = torch.empty(tensor.shape).uniform_(-1, 1, generator=random)
            tensor.copy_(drawn * (limit * weight_scale))


def build_network(section: NetworkSection, num_classes: int, image_shape: Sequence[int], seed: int) -> Network:
    """The network of a scenario's ``[network]`` section, initialised from ``seed``, float32 on the CPU.

    ``image_shape`` is (C, H, W). Raises :class:`ScenarioError` when the layers do not fit the images.
    """
    plans = section.layer_plans(num_classes)
    network = Network(plans, section.activation, section.loss, num_classes, tuple(image_shape))
    initialise(network, section.weight_init, section.weight_scale, seed)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
