"""The edges of a network: connections, which hold synapses, and identities, which pass states on as they are."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor, nn

from neurosim_ep.ep import primitive
from neurosim_ep.errors import ScenarioError
from neurosim_ep.scenario.topology import IMAGE, LayerPlan, Pool

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


class Edge(nn.Module):
    """From layer ``source``, or the image (-1), up to layer ``target``, and back.

    Attributes: ``name``; ``kind`` ("conv" | "linear" | "identity"); ``pool`` (None | "max" | "avg"); the shapes of one
    sample: ``in_shape`` (pre state), ``pre_pool_shape``, ``out_shape`` (post state); and ``signed``, whether the states
    that enter it from below, and those from above, can be negative.
    """

    kind: str

    def __init__(
        self,
        name: str,
        in_shape: tuple[int, ...],
        pre_pool_shape: tuple[int, ...],
        pool: Pool | None,
        source: int,
        target: int,
    ) -> None:
        super().__init__()
        self.name, self.in_shape, self.pre_pool_shape, self.pool = name, in_shape, pre_pool_shape, pool
        self.source, self.target, self.signed = source, target, (False, False)
        halve = 2 if pool else 1
        self.out_shape = (pre_pool_shape[0], *(side // halve for side in pre_pool_shape[1:]))
        if min(self.out_shape) < 1:
            raise ScenarioError(
                f"network: layer {name} would have shape {self.out_shape} on inputs of {in_shape}; "
                "use larger images, fewer pooled layers, or more padding"
            )

    @property
    def read_flops(self) -> int:
        """Floating-point operations of one read of one sample, in either direction."""
        return 0

    def read(self, pre: Tensor, bias: bool = True) -> Tensor:
        """What states ``pre`` (B, *in_shape) give before any pooling, (B, *pre_pool_shape): themselves."""
        return pre

    def forward(self, pre: Tensor) -> tuple[Tensor, Tensor | None]:
        """Forward read: the drive ``P(w ⋆ pre + b)`` (B, *out_shape) and the argmax routing κ."""
        return primitive.pool_forward(self.read(pre), self.pool)

    def route(self, post: Tensor, routing: Tensor | None) -> Tensor:
        """``P⁻¹(post; κ)`` (B, *pre_pool_shape): what drives the columns in a transposed read."""
        return primitive.pool_adjoint(post, routing, self.pool, self.pre_pool_shape)

    def feedback(self, routed: Tensor) -> Tensor:
        """What a routed post state gives the layer below, (B, *in_shape): itself."""
        return routed

    def extra_repr(self) -> str:
        return f"{self.name}: {self.kind} {self.in_shape} -> {self.out_shape}, pool={self.pool}"


class Identity(Edge):
    """The states of layer ``source`` added to the drive of layer ``target``, and the other way round."""

    kind = "identity"

    def __init__(self, name: str, in_shape: tuple[int, ...], pool: Pool | None, source: int, target: int) -> None:
        super().__init__(name, in_shape, in_shape, pool, source, target)


class Connection(Edge):
    """Synapses, read in both directions and updated locally.

    Beside what every :class:`Edge` has: ``weight`` (C_out, C_in, k, k) or (out, in); ``bias``; ``padding``; ``stride``;
    and ``tiles`` that hold the synapses (None: ideal ones).
    """

    weight: Tensor
    bias: Tensor
    tiles: Tiles | None

    def __init__(
        self, name: str, plan: LayerPlan, in_shape: tuple[int, ...], source: int = IMAGE, target: int = 0
    ) -> None:
        if plan.kind == "conv":
            sides = ((side + 2 * plan.padding - plan.kernel) // plan.stride + 1 for side in in_shape[1:])
            pre_pool_shape: tuple[int, ...] = (plan.size, *sides)
            shape: tuple[int, ...] = (plan.size, in_shape[0], plan.kernel, plan.kernel)
        else:
            pre_pool_shape = (plan.size,)
            shape = (plan.size, math.prod(in_shape))
        super().__init__(name, in_shape, pre_pool_shape, plan.pool, source, target)
        self.kind, self.tiles = plan.kind, None
        self.padding, self.stride = (plan.padding, plan.stride) if plan.kind == "conv" else (0, 1)
        parameters, outputs = math.prod(shape) + plan.size, math.prod(self.pre_pool_shape)
        refuse_oversize(f"layer {name}", parameters=parameters, outputs=outputs)
        self.weight = nn.Parameter(torch.empty(shape), requires_grad=False)
        self.bias = nn.Parameter(torch.empty(plan.size), requires_grad=False)

    @property
    def read_flops(self) -> int:
        """A multiplication and an addition per weight and position, those on padding with them."""
        return 2 * self.weight.numel() * math.prod(self.pre_pool_shape[1:])

    def read(self, pre: Tensor, bias: bool = True) -> Tensor:
        """``w ⋆ pre + b`` (B, *pre_pool_shape) before any pooling, or without b, which is added digitally."""
        added = self.bias if bias else None
        if self.tiles is None:
            return primitive.preactivation(pre, self.weight, added, self.padding, self.stride)
        z = self.tiles.forward(pre)
        return z if added is None else z.add_(added.view(-1, *(1,) * (z.dim() - 2)))

    def feedback(self, routed: Tensor) -> Tensor:
        """Transposed read ``w ⋆ᵀ routed`` (B, *in_shape)."""
        if self.tiles is not None:
            return self.tiles.feedback(routed)
        drive = primitive.transposed_read(routed, self.weight, self.padding, self.stride, self.in_shape)
        return drive if self.kind == "conv" else drive.view(-1, *self.in_shape)

    def update(self, pre: Tensor, routed: Tensor) -> tuple[Tensor, Tensor]:
        """∂Φ/∂w and ∂Φ/∂b of this connection, summed over the batch."""
        return primitive.weight_derivative(pre, routed, self.weight, self.padding, self.stride)
