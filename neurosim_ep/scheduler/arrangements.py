"""Which arrangement of its weights a convolution on the CPU is read fastest with.

All give the same numbers within rounding. The rule knows shapes only, so that a run computes the same numbers wherever
and whenever it is repeated on a processor; ``python tests/benchmarks/reads.py`` measures what it is made of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from neurosim_ep.scheduler.dense import DenseWeights, GatheredWeights, mirrored
from neurosim_ep.scheduler.onednn import convolve, pack
from neurosim_ep.scheduler.whole_map import PackedWholeMapWeights, WholeMapWeights
from neurosim_ep.scheduler.winograd import TILE, WinogradWeights

SMALL = 256  # rows x positions up to which a convolution in float32 gains from weights in oneDNN's layout
DENSE_POSITIONS = 4  # largest map that is read as one matrix
DENSE_ROWS, DENSE_BYTES = 8, 2**20  # rows from which that gains, or size of a matrix that always stays in the cache
GATHERED_POSITIONS = 16  # largest map whose values are gathered into rows, in 16 bits
WIDE = 128  # fewest channels on either side that gain from fewer products
WINOGRAD_TILES = 48  # fewest tiles of 2 x 2 in all that gain
WHOLE_SIDES, WHOLE_SIDES_HALF = {2, 4, 8}, {2, 4}  # of maps that may be read as a whole, in float32 and in 16 bits
WHOLE_SHARE, WHOLE_WORK = 3, 2**21  # most matrices per row, and fewest rows x positions x pairs of channels, that gain
PACKED_READS = 12  # reads of the same weights from which it pays to pack what a whole map is multiplied with
PACKED_SHARE, PACKED_ROWS = 9, 6  # most matrices per row, or rows, that gain from that
PACKED_PAIRS, PACKED_WORK = 2**16, 2**24  # fewest pairs of channels, or rows x positions x pairs, that do
HALF_ROWS, HALF_WORK = 24, 2**23  # fewest rows, and fewest rows x positions x pairs of channels, that gain in 16 bits


class Arranged(Protocol):
    """Weights of a convolution, laid out for its two reads."""

    @property
    def values(self) -> torch.dtype:
        """The format of what is read and of what comes out."""

    def forward(self, pre: Tensor, bias: Tensor | None) -> Tensor:
        """``w ⋆ pre + b`` before any pooling: (R, *in_shape) -> (R, *pre_pool_shape)."""

    def feedback(self, routed: Tensor) -> Tensor:
        """``w ⋆ᵀ routed``: (R, *pre_pool_shape) -> (R, *in_shape)."""


class PackedWeights:
    """The weights (C_out, C_in, k, k) of a convolution in oneDNN's layout, each direction made when first read.

    The transposed read is the convolution with mirrored weights.
    """

    def __init__(self, weight: Tensor, padding: int) -> None:
        self.weight, self.padding, self.values = weight, padding, weight.dtype
        self._packed: dict[str, Tensor] = {}

    def forward(self, pre: Tensor, bias: Tensor | None) -> Tensor:
        if "forward" not in self._packed:
            self._packed["forward"] = pack(self.weight, self.padding, pre)
        return convolve(pre, self._packed["forward"], bias, self.padding)

    def feedback(self, routed: Tensor) -> Tensor:
        padding = self.weight.shape[2] - 1 - self.padding
        if "transposed" not in self._packed:
            self._packed["transposed"] = pack(mirrored(self.weight), padding, routed)
        return convolve(routed, self._packed["transposed"], None, padding)


MAKE: dict[str, Callable[[Tensor, int, tuple[int, int], torch.dtype], Arranged]] = {
    "dense": lambda weight, padding, map_shape, dtype: DenseWeights(weight.to(dtype), padding, map_shape),
    "gathered": lambda weight, padding, map_shape, dtype: GatheredWeights(weight.to(dtype), padding),
    "whole": lambda weight, padding, map_shape, dtype: WholeMapWeights(weight, map_shape, dtype),
    "whole_packed": lambda weight, padding, map_shape, dtype: PackedWholeMapWeights(weight, map_shape, dtype),
    "winograd": lambda weight, padding, map_shape, dtype: WinogradWeights(weight),
    "packed": lambda weight, padding, map_shape, dtype: PackedWeights(weight.to(dtype), padding),
}
"""How weights (C_out, C_in, k, k) in float32 of a padding are arranged for a map (H, W) and products in a format;
``plain`` ones are left as they are.
"""


def matrix_tiles() -> bool:
    """Whether this processor has tiles for matrices of 16 bits (AMX), with which it multiplies small ones much faster
    than oneDNN convolves small maps: by PyTorch's own check, which is private, and no where it is gone.
    """
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())


def arrangement(
    weight_shape: Sequence[int], padding: int, value_shape: Sequence[int], half: bool, tiles: bool, packs: bool = False
) -> str:
    """Name of the arrangement for a read of a value (R, C, H, W) in float32, or in a format of 16 bits, on a processor
    with or without :func:`matrix_tiles`; ``packs``: whether packing the weights of whole maps pays.

    Dense matrices and fewer products need convolutions that keep the size of the map, the latter of 3 x 3.
    """
    rows, _, height, width = value_shape
    positions, same_size = height * width, weight_shape[2] == 2 * padding + 1
    filtering = same_size and padding == 1 and not (half and tiles) and min(weight_shape[:2]) >= WIDE
    if filtering and {height, width} <= (WHOLE_SIDES_HALF if half else WHOLE_SIDES):
        products, pairs = 9 * positions // 4, weight_shape[0] * weight_shape[1]
        work = rows * positions * pairs
        packs = packs and (pairs >= PACKED_PAIRS or work >= PACKED_WORK)
        fewest_rows = HALF_ROWS if half else products / WHOLE_SHARE
        if packs:
            fewest_rows = min(products / PACKED_SHARE, PACKED_ROWS)
        if rows >= fewest_rows and work >= (HALF_WORK if half else WHOLE_WORK):
            return "whole_packed" if packs else "whole"
    if same_size and padding and positions <= DENSE_POSITIONS:
        matrix_bytes = 4 * positions**2 * weight_shape[0] * weight_shape[1]
        return "dense" if half or rows >= DENSE_ROWS or matrix_bytes <= DENSE_BYTES else "packed"
    if half:
        return "gathered" if tiles and positions <= GATHERED_POSITIONS else "packed"
    if filtering and height % TILE == width % TILE == 0 and rows * positions >= WINOGRAD_TILES * TILE**2:
        return "winograd"
    return "packed" if rows * positions <= SMALL else "plain"
