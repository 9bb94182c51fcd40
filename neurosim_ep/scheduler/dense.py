"""Convolutions on small maps as matrix products.

On a map of 2 x 2 most of a 3 x 3 kernel lies on the padding: of nine products four count. There every neuron is
connected with every one, and a read is a plain product with the matrix of all of them. On maps of 4 x 4 the values
under the kernel are gathered into rows, for processors whose 16-bit convolutions are slower there than their products.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from neurosim_ep.scheduler.onednn import multiply, pack_matrix


class DenseWeights:
    """The weights (C_out, C_in, k, k) of a convolution that keeps the size of a map (H, W), as one matrix.

    In float32 both reads share it; in 16 bits each has its own in oneDNN's layout. Its bias is always the same.
    """

    def __init__(self, weight: Tensor, padding: int, map_shape: tuple[int, int]) -> None:
        self.map_shape, self.channels, self.values = map_shape, weight.shape[:2], weight.dtype
        self._matrix = connection_matrix(weight, padding, map_shape)
        self._packed: tuple[Tensor, Tensor] | None = None
        if weight.dtype != torch.float32:
            self._packed = pack_matrix(self._matrix), pack_matrix(self._matrix.T)
        self._bias: Tensor | None = None

    def forward(self, pre: Tensor, bias: Tensor | None) -> Tensor:
        """``w ⋆ pre + b``: (R, C_in, H, W) -> (R, C_out, H, W)."""
        if bias is not None and self._bias is None:
            self._bias = bias.repeat(self.map_shape[0] * self.map_shape[1])
        added = None if bias is None else self._bias
        if self._packed is None:
            return self._image(F.linear(_flat(pre), self._matrix, added), self.channels[0])
        return self._image(multiply(_flat(pre), self._packed[0], added), self.channels[0])

    def feedback(self, routed: Tensor) -> Tensor:
        """``w ⋆ᵀ routed``: (R, C_out, H, W) -> (R, C_in, H, W)."""
        if self._packed is None:
            return self._image(_flat(routed) @ self._matrix, self.channels[1])
        return self._image(multiply(_flat(routed), self._packed[1], None), self.channels[1])

    def _image(self, flat: Tensor, channels: int) -> Tensor:
        return flat.view(-1, *self.map_shape, channels).permute(0, 3, 1, 2)


class GatheredWeights:
    """The weights (C_out, C_in, k, k) of a convolution with ``padding``, and mirrored for the transposed read."""

    def __init__(self, weight: Tensor, padding: int) -> None:
        self.kernel, self.padding, self.values = weight.shape[2], padding, weight.dtype
        self._packed = pack_matrix(_rows(weight)), pack_matrix(_rows(mirrored(weight)))

    def forward(self, pre: Tensor, bias: Tensor | None) -> Tensor:
        """``w ⋆ pre + b``: (R, C_in, H, W) -> (R, C_out, H', W')."""
        return self._read(pre, self._packed[0], bias, self.padding)

    def feedback(self, routed: Tensor) -> Tensor:
        """``w ⋆ᵀ routed``: (R, C_out, H', W') -> (R, C_in, H, W)."""
        return self._read(routed, self._packed[1], None, self.kernel - 1 - self.padding)

    def _read(self, value: Tensor, weights: Tensor, bias: Tensor | None, padding: int) -> Tensor:
        padded = F.pad(value.permute(0, 2, 3, 1), (0, 0, padding, padding, padding, padding))
        windows = padded.unfold(1, self.kernel, 1).unfold(2, self.kernel, 1).permute(0, 1, 2, 4, 5, 3)
        product = multiply(windows.flatten(3).flatten(0, 2), weights, bias)
        return product.view(*windows.shape[:3], -1).permute(0, 3, 1, 2)


def connection_matrix(weight: Tensor, padding: int, map_shape: tuple[int, int]) -> Tensor:
    """(H·W·C_out, H·W·C_in) of a convolution that keeps the size of a map, both sides in channels-last order."""
    height, width = map_shape
    matrix = weight.new_zeros(height, width, weight.shape[0], height, width, weight.shape[1])
    reach = range(-padding, padding + 1)
    for row, column in ((row, column) for row in range(height) for column in range(width)):
        for down, right in ((down, right) for down in reach for right in reach):
            if 0 <= row + down < height and 0 <= column + right < width:
                matrix[row, column, :, row + down, column + right] = weight[:, :, down + padding, right + padding]
    return matrix.view(height * width * weight.shape[0], -1)


def mirrored(weight: Tensor) -> Tensor:
    """Weights (C_in, C_out, k, k) whose convolution is the transposed read of ``weight`` (C_out, C_in, k, k)."""
    return weight.flip(2, 3).transpose(0, 1)


def _rows(weight: Tensor) -> Tensor:
    """(C_out, k·k·C_in)."""
    return weight.permute(0, 2, 3, 1).flatten(1)


def _flat(image: Tensor) -> Tensor:
    """``image`` (R, C, H, W) as (R, H·W·C), a view where it lies channels-last."""
    return image.permute(0, 2, 3, 1).flatten(1)
