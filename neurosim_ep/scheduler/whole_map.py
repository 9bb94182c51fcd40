"""3x3 convolutions on whole maps of even sides with a quarter of the products, which spare what lies on the padding.

The convolution of a line of n values, n even, with zeros beside them is a product with an n x n matrix T that three
weights fill. With its rows in reverse order, J, it is symmetric, and a sum ``J T = Σ_r g_r b_r b_rᵀ`` with 1.5 n
vectors b and every g_r linear in the weights. So ``T x = J Bᵀ [(G w) ⊙ (B x)]`` takes 1.5 n products per pair of
channels, in two dimensions 2.25 per position, where the direct sum takes 9 and Winograd's filtering in tiles of 2x2
takes 4. The transposed read, as ``Tᵀ = J T J``, shares G.

The b follow from the parity of the line. In mirrored and antisymmetric lines, J T has three blocks:

- what outer weights have in common takes mirrored lines to mirrored ones, whose eigenvectors are the u_k, cosines of
  the frequencies (2k - 1)π/(n + 1);
- what they differ in takes mirrored lines to antisymmetric ones: u_k to v_k, the sine of the same frequency. The n
  vectors ``u_k ± t v_k`` give both these blocks;
- what is then left between antisymmetric lines is a pencil of two symmetric matrices, one of which is definite: its
  n/2 common vectors diagonalise both.

Any t will do; with 1/2, and sines of norm 1, rounding is magnified least: 1.07 times per dimension for n = 2, 1.11 for
4, 1.13 for 8, never more than 1.14, where Winograd's filtering magnifies it 1.29 times and its tiles of 4x4 at least
2.18 times. Shorter sums of channels more than make up for it: results lie closer to float64 than those of the direct
sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from neurosim_ep.scheduler.onednn import MOST_ROWS, multiply_groups, pack_groups

MIX = 0.5
"""t of the pairs."""


class Line(NamedTuple):
    """For lines of n values and their R = 1.5 n products, float64: ``vectors`` (R, n), B, and ``weights`` (R, 3), G."""

    vectors: Tensor
    weights: Tensor


@cache
def line(size: int) -> Line:
    """Of ``size`` values, an even number."""
    vectors = _vectors(size)
    shifts = torch.stack([torch.eye(size, size + 2, dtype=torch.float64).roll(tap, 1) for tap in range(3)])
    wanted = shifts[:, :, 1:-1].flip(1).flatten(1)  # J T of each weight alone
    squares = (vectors[:, :, None] * vectors[:, None]).flatten(1)
    return Line(vectors, torch.linalg.lstsq(squares.T, wanted.T).solution)


def _vectors(size: int) -> Tensor:
    """The b_r (R, n), float64."""
    half, places = size // 2, torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    angles = (2 * torch.arange(half) + 1).double()[:, None] * math.pi / (size + 1) * places
    even, odd = (wave / wave.norm(dim=1, keepdim=True) for wave in (angles.cos(), angles.sin()))
    neighbours = torch.diag(torch.ones(size - 1, dtype=torch.float64), 1)
    neighbours = neighbours + neighbours.T
    eigenvalues = (even @ neighbours * even).sum(1)
    flat = torch.eye(size, dtype=torch.float64)
    basis = (flat - flat.flip(1))[:half] / math.sqrt(2)  # of antisymmetric lines
    inside = odd @ basis.T
    definite = torch.eye(half, dtype=torch.float64) + MIX**2 * inside.T @ inside
    other = basis @ neighbours @ basis.T + MIX**2 * inside.T @ (eigenvalues[:, None] * inside)
    root = torch.linalg.cholesky(definite)
    whitened = torch.linalg.solve_triangular(root, other, upper=False)
    whitened = torch.linalg.solve_triangular(root, whitened.mT, upper=False)
    common = (root @ torch.linalg.eigh(whitened).eigenvectors).T @ basis
    return torch.cat([even + MIX * odd, even - MIX * odd, common])


class Transform(NamedTuple):
    """A matrix (p, H) along the height of a map and another (q, W) along its width."""

    down: Tensor
    across: Tensor

    def transposed(self) -> Transform:
        """With (H, p) and (W, q)."""
        return Transform(self.down.T.contiguous(), self.across.T.contiguous())

    def apply(self, value: Tensor, out: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """To values (R, H, W, C), with ``bias`` (C,) added at the end: (R, p, q, C), in ``out`` if given."""
        rows, _, width, channels = value.shape
        lines = (self.down @ value.flatten(2)).view(-1, width, channels)
        matrix = self.across.expand(len(lines), *self.across.shape)
        flat = None if out is None else out.flatten(0, 1)
        found = torch.bmm(matrix, lines, out=flat) if bias is None else torch.baddbmm(bias, matrix, lines, out=flat)
        return found.view(rows, -1, *found.shape[1:])


class Matrices(NamedTuple):
    """What a map is transformed with, float32: ``values``, B; ``mirrored``, B J; ``back``, Bᵀ; ``mirrored_back``, J Bᵀ;
    and ``weights`` (R, 9), G, of both dimensions at once.
    """

    values: Transform
    mirrored: Transform
    back: Transform
    mirrored_back: Transform
    weights: Tensor


@cache
def matrices(height: int, width: int) -> Matrices:
    """Of maps with these sides."""
    lines = line(height), line(width)
    values = Transform(*(one.vectors.float() for one in lines))
    mirrored = Transform(*(one.vectors.flip(1).float() for one in lines))
    weights = torch.kron(*(one.weights for one in lines)).float()
    return Matrices(values, mirrored, values.transposed(), mirrored.transposed(), weights)


class WholeMapWeights:
    """The weights (C_out, C_in, 3, 3) of a convolution with padding 1 on maps (H, W) of even sides, transformed, and
    its two reads. Weights and values are float32, the latter in channels-last layout; what is multiplied is rounded
    to ``dtype``.
    """

    values = torch.float32

    def __init__(self, weight: Tensor, map_shape: tuple[int, int], dtype: torch.dtype) -> None:
        self.matrices, self.dtype, self.channels = matrices(*map_shape), dtype, weight.shape[:2]
        taps = weight.permute(2, 3, 0, 1).reshape(9, -1)
        products = torch.mm(self.matrices.weights, taps).view(-1, *weight.shape[:2])  # G w, product by product
        self.products = products.to(dtype)

    def forward(self, pre: Tensor, bias: Tensor | None) -> Tensor:
        """``w ⋆ pre + b``: (R, C_in, H, W) -> (R, C_out, H, W)."""
        return _read(pre, self.matrices.values, self._forwards, self.matrices.mirrored_back, self.channels[0], bias)

    def feedback(self, routed: Tensor) -> Tensor:
        """``w ⋆ᵀ routed``: (R, C_out, H, W) -> (R, C_in, H, W)."""
        return _read(routed, self.matrices.mirrored, self._backwards, self.matrices.back, self.channels[1], None)

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
    value: Tensor,
    inside: Transform,
    multiply: Callable[[Tensor], Tensor],
    outside: Transform,
    channels: int,
    bias: Tensor | None,
) -> Tensor:
    """``outside [weights ⊙ (inside value)] + bias`` with so many ``channels``, some rows after the others, to stay in
    the cache.
    """
    images = value.permute(0, 2, 3, 1)
    result = value.new_empty(*images.shape[:3], channels)
    for part, end in zip(images.split(MOST_ROWS), result.split(MOST_ROWS), strict=True):
        inputs = inside.apply(part)
        summed = multiply(inputs.flatten(1, 2)).to(value.dtype)
        outside.apply(summed.view(*inputs.shape[:3], -1), end, bias)
    return result.permute(0, 3, 1, 2)
