"""3x3 convolutions on maps of 2x2 and 4x4 whose products spare what lies on the padding.

The convolution of n values in a line with zeros beside them is a product with an n x n matrix T that three weights
fill. With its rows in reverse order, J, it is symmetric: ``J T = Σ_r g_r b_r b_rᵀ`` with 3 vectors b for n = 2, 6 for
n = 4, and each g_r linear in the weights. So ``T x = J Bᵀ [(G w) ⊙ (B x)]`` takes 3 and 6 products per pair of
channels, in two dimensions 9 and 36 per map, where the direct sum counts 36 and 144 and Winograd's filtering takes 16
and 64. The transposed read, as ``Tᵀ = J T J``, shares G.

Which vectors can be is free within limits. Those for n = 2 magnify rounding least, 1.07 times per dimension, those for
n = 4, to which even weights dictate the golden ratio, 1.12 times where 1.10 is the least (Winograd's filtering: 1.29).
Shorter sums of channels more than make up for it: results lie closer to float64 than those of the direct sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from neurosim_ep.scheduler.onednn import multiply_groups, pack_groups

GOLDEN = (1 + math.sqrt(5)) / 2
_LEFT = [(GOLDEN, 0, -GOLDEN, 1), (GOLDEN, GOLDEN, 1, 0)]
_ODD = [1 - GOLDEN / 4 + sign * math.sqrt(1 + GOLDEN**2 / 16) for sign in (1, -1)]
VECTORS: dict[int, list[tuple[float, ...]]] = {
    2: [(3, 1), (1, -1), (1, 3)],
    4: [*_LEFT, *(vector[::-1] for vector in _LEFT), *((outer, 1, -1, -outer) for outer in _ODD)],
}
"""The b_r of lines of n values."""


class Matrices(NamedTuple):
    """For a map of P places and its R products, float32: ``values`` (R, P), of B; ``mirrored``, of B J; and ``weights``
    (R, 9), of G.
    """

    values: Tensor
    mirrored: Tensor
    weights: Tensor


@cache
def matrices(height: int, width: int) -> Matrices:
    """Of both dimensions at once."""
    lines = [torch.tensor(VECTORS[size], dtype=torch.float64) for size in (height, width)]
    values = torch.kron(*lines).float()
    return Matrices(values, values.flip(1), torch.kron(*map(_of_weights, lines)).float())


def _of_weights(vectors: Tensor) -> Tensor:
    """G (R, 3) of the vectors (R, n)."""
    size = vectors.shape[1]
    shifts = torch.stack([torch.eye(size, size + 2, dtype=torch.float64).roll(tap, 1) for tap in range(3)])
    wanted = shifts[:, :, 1:-1].flip(1).flatten(1)
    squares = (vectors[:, :, None] * vectors[:, None]).flatten(1)
    return torch.linalg.lstsq(squares.T, wanted.T).solution


class WholeMapWeights:
    """The weights (C_out, C_in, 3, 3) of a convolution with padding 1 on maps (H, W) with sides of 2 or 4, transformed,
    and its two reads. Weights and values are float32, the latter in channels-last layout; what is multiplied is rounded
    to ``dtype``.
    """

    values = torch.float32

    def __init__(self, weight: Tensor, map_shape: tuple[int, int], dtype: torch.dtype) -> None:
        self.matrices, self.dtype = matrices(*map_shape), dtype
        taps = weight.permute(2, 3, 0, 1).reshape(9, -1)
        products = torch.mm(self.matrices.weights, taps).view(-1, *weight.shape[:2])  # G w, product by product
        self.products = products.to(dtype)

    def forward(self, pre: Tensor, bias: Tensor | None) -> Tensor:
        """``w ⋆ pre + b``: (R, C_in, H, W) -> (R, C_out, H, W)."""
        return _read(pre, self.matrices.values, self._forwards, self.matrices.mirrored, bias)

    def feedback(self, routed: Tensor) -> Tensor:
        """``w ⋆ᵀ routed``: (R, C_out, H, W) -> (R, C_in, H, W)."""
        return _read(routed, self.matrices.mirrored, self._backwards, self.matrices.values, None)

    def _forwards(self, inputs: Tensor) -> Tensor:
        """Sums over the input channels, product by product: (R, G, C_in) -> (R, G, C_out)."""
        return _multiply(inputs.to(self.dtype), self.products.mT)

    def _backwards(self, inputs: Tensor) -> Tensor:
        """Sums over the output channels: (R, G, C_out) -> (R, G, C_in)."""
        return _multiply(inputs.to(self.dtype), self.products)


class PackedWholeMapWeights(WholeMapWeights):
    """The same with what is multiplied in oneDNN's layout, each direction made when first read, which costs as much as
    some ten reads; once both are, nothing else is kept.
    """

    def __init__(self, weight: Tensor, map_shape: tuple[int, int], dtype: torch.dtype) -> None:
        super().__init__(weight, map_shape, dtype)
        self._packed: dict[str, Tensor] = {}

    def _forwards(self, inputs: Tensor) -> Tensor:
        return multiply_groups(inputs.to(self.dtype), self._pack("forward"))

    def _backwards(self, inputs: Tensor) -> Tensor:
        return multiply_groups(inputs.to(self.dtype), self._pack("transposed"))

    def _pack(self, direction: str) -> Tensor:
        if direction not in self._packed:
            self._packed[direction] = pack_groups(self.products if direction == "forward" else self.products.mT)
            if len(self._packed) == 2:
                del self.products
        return self._packed[direction]


def _multiply(inputs: Tensor, weights: Tensor) -> Tensor:
    """(R, G, a) and (G, a, b) -> (R, G, b)."""
    return torch.bmm(inputs.transpose(0, 1), weights).transpose(0, 1)


def _read(
    value: Tensor, inside: Tensor, multiply: Callable[[Tensor], Tensor], outside: Tensor, bias: Tensor | None
) -> Tensor:
    """``outsideᵀ [weights ⊙ (inside value)] + bias``."""
    rows, positions = len(value), inside.shape[1]
    inputs = _across(inside, value.permute(0, 2, 3, 1).reshape(rows, positions, -1), None)
    result = _across(outside.T, multiply(inputs).to(value.dtype), bias)
    return result.view(rows, *value.shape[2:], -1).permute(0, 3, 1, 2)


def _across(matrix: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
    """``matrix`` (p, q) across the places of values (R, q, C), and ``bias`` (C,) added: (R, p, C)."""
    added = values.new_zeros(1) if bias is None else bias
    return torch.baddbmm(added, matrix.expand(len(values), *matrix.shape), values, beta=float(bias is not None))
