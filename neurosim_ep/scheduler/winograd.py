"""3x3 convolutions with four ninths of the multiplications: Winograd's minimal filtering F(2x2, 3x3).

An output tile of 2x2 is ``y = Aᵀ [(G w Gᵀ) ⊙ (Bᵀ d B)] A`` of an input tile d of 4x4 (Lavin and Gray 2016, arXiv
1509.09308, Eq 8): 16 products per pair of channels where the direct sum takes 36. Summed over the input channels it is
one matrix product per place in the tile.

The matrices follow from the interpolation points 0, 1, -1 and infinity (Toom 1963, Cook 1966). A transposed read is the
convolution with mirrored weights, whose values at 1/p are those of the weights at p, so that both reads share one set
of transformed weights. Results lie closer to float64 than those of the direct sum. Tiles of 4x4 would take a quarter of
the products, but round so much that slow samples are never found at rest.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

POINTS = (0.0, 1.0, -1.0, math.inf)
TILE = 2  # side of a tile of outputs; the tile of inputs is larger by 2
CHUNK_BYTES = 2 * 2**20  # of transformed values that are worked on at a time, to stay in the cache
CHUNK_ROWS = 128  # rows from which a matrix product is about as fast as a large one


class Matrices(NamedTuple):
    """For whole tiles, both dimensions at once, float32: ``input`` (16, 16), ``output`` (4, 16)."""

    input: Tensor
    output: Tensor


@cache
def reading(mirrored: bool) -> Matrices:
    """Bᵀ ⊗ Bᵀ and Aᵀ ⊗ Aᵀ for the weights as they are or mirrored."""
    points = tuple(_inverse(point) for point in POINTS) if mirrored else POINTS
    inside = torch.linalg.inv(_evaluations(points, len(points))).T
    return Matrices(_both_dimensions(inside), _both_dimensions(_evaluations(points, TILE).T))


def _inverse(point: float) -> float:
    return math.inf if point == 0 else 1 / point


def _evaluations(points: tuple[float, ...], length: int) -> Tensor:
    """The first ``length`` monomials at each of ``points`` (at infinity: the last of them), float64."""
    last = [0.0] * (length - 1) + [1.0]
    rows = [last if math.isinf(point) else [point**power for power in range(length)] for point in points]
    return torch.tensor(rows, dtype=torch.float64)


def _both_dimensions(matrix: Tensor) -> Tensor:
    return torch.kron(matrix.contiguous(), matrix.contiguous()).float()


class WinogradWeights:
    """The weights (C_out, C_in, 3, 3) of a convolution with padding 1, transformed, and its two reads.

    The sides of maps must be even. Values are float32 in channels-last layout.
    """

    values = torch.float32

    def __init__(self, weight: Tensor) -> None:
        taps = weight.permute(2, 3, 0, 1).reshape(9, -1)
        transform = _both_dimensions(_evaluations(POINTS, 3))
        self.products = torch.mm(transform, taps).view(-1, *weight.shape[:2])  # G w Gᵀ, place by place

    def forward(self, pre: Tensor, bias: Tensor | None) -> Tensor:
        """``w ⋆ pre + b``: (R, C_in, H, W) -> (R, C_out, H, W)."""
        z = _convolve(pre, self.products.transpose(1, 2), reading(mirrored=False))
        return z if bias is None else z.add_(bias.view(-1, 1, 1))

    def feedback(self, routed: Tensor) -> Tensor:
        """``w ⋆ᵀ routed``: (R, C_out, H, W) -> (R, C_in, H, W)."""
        return _convolve(routed, self.products, reading(mirrored=True))


def _convolve(value: Tensor, products: Tensor, matrices: Matrices) -> Tensor:
    """Chunk of rows by chunk of rows: cut into tiles, transformed, multiplied, transformed back, put together."""
    rows, channels, height, width = value.shape
    result = value.new_empty(rows, height, width, products.shape[2]).permute(0, 3, 1, 2)
    for chunk in _chunks(value.shape, products):
        windows = _padded(value[chunk]).unfold(1, TILE + 2, TILE).unfold(2, TILE + 2, TILE).permute(4, 5, 0, 1, 2, 3)
        cut = _memory("cut", windows.shape).copy_(windows).view(len(products), -1, channels)
        inputs = _across(matrices.input, cut, "inputs")
        summed = torch.bmm(inputs, products, out=_memory("summed", (*inputs.shape[:2], products.shape[2])))
        tiles = result[chunk].unflatten(3, (-1, TILE)).unflatten(2, (-1, TILE)).permute(3, 5, 0, 2, 4, 1)
        tiles.copy_(_across(matrices.output, summed, "cut").view(tiles.shape))
    return result


def _padded(value: Tensor) -> Tensor:
    """``value`` (R, C, H, W) with a border of zeros, (R, H+2, W+2, C)."""
    rows, channels, height, width = value.shape
    padded = _memory("padded", (rows, height + 2, width + 2, channels))
    for border in (padded[:, 0], padded[:, -1], padded[:, :, 0], padded[:, :, -1]):
        border.zero_()
    padded[:, 1:-1, 1:-1].copy_(value.permute(0, 2, 3, 1))
    return padded


def _across(matrix: Tensor, planes: Tensor, name: str) -> Tensor:
    """``matrix`` (p, q) across the places in a tile: planes (q, tiles, C) -> (p, tiles, C), in memory ``name``."""
    result = _memory(name, (len(matrix), *planes.shape[1:]))
    torch.mm(matrix, planes.flatten(1), out=result.flatten(1))
    return result


_kept = threading.local()


def _memory(name: str, shape: Sequence[int]) -> Tensor:
    """Memory for an intermediate result, the same for every read of a thread: new pages cost as much as the work.

    It outlives the caller's inference mode, in which new tensors could never be written to again.
    """
    size = math.prod(shape)
    buffer = getattr(_kept, name, None)
    if buffer is None or buffer.numel() < size:
        with torch.inference_mode(False):
            buffer = torch.empty(size, dtype=torch.float32)
        setattr(_kept, name, buffer)
    return buffer[:size].view(shape)


def _chunks(shape: torch.Size, products: Tensor) -> list[slice]:
    """Rows of a value (R, C, H, W) that are worked on together."""
    tiles = shape[2] * shape[3] // TILE**2
    bytes_per_row = 4 * len(products) * max(products.shape[1:]) * tiles
    size = max(CHUNK_BYTES // bytes_per_row, -(-CHUNK_ROWS // tiles), 1)
    return [slice(first, first + size) for first in range(0, shape[0], size)]
