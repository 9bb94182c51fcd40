"""What stands on the lines of the arrays when a connection is read or written: values per position, rows and columns.

The matrix of a connection has the rows and output channels of :mod:`neurosim_ep.tiles.mapping`. In a forward read the
inputs seen at one output position drive the rows; in a transposed read the routed post state at a position drives the
columns, and what the rows then give is added to the inputs they belong to.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from neurosim_ep.tiles.mapping import ConnectionGeometry


class Lines:
    """Lines of a fully connected layer: one position, a row per input, a column per neuron."""

    def __init__(self, geometry: ConnectionGeometry) -> None:
        self.geometry = geometry
        self.rows, self.columns, self.positions = geometry.fan_in, geometry.channels, geometry.positions

    def matrix(self, weight: Tensor) -> Tensor:
        """``weight`` as matrix (rows, columns)."""
        return weight.T.contiguous()

    def weight(self, matrix: Tensor) -> Tensor:
        """Inverse of :meth:`matrix`."""
        return matrix.T

    def on_rows(self, pre: Tensor) -> Tensor:
        """Values (B · positions, rows) that inputs (B, *in_shape) put on the rows."""
        return pre.flatten(1)

    def on_columns(self, routed: Tensor) -> Tensor:
        """Values (B · positions, columns) that post states (B, *pre_pool_shape) put on the columns."""
        return routed.flatten(1)

    def from_columns(self, values: Tensor) -> Tensor:
        """What the columns give (B · positions, columns), as drives (B, *pre_pool_shape)."""
        return values

    def from_rows(self, values: Tensor) -> Tensor:
        """What the rows give (B · positions, rows), added up for each input, (B, *in_shape)."""
        return values.view(-1, *self.geometry.in_shape)


class ConvLines(Lines):
    """Lines of a convolution: a row per tap and input channel, read once for every output position."""

    def __init__(self, geometry: ConnectionGeometry) -> None:
        super().__init__(geometry)
        self.channels = geometry.in_shape[0]
        self.height, self.width = geometry.pre_pool_shape[1:]

    def matrix(self, weight: Tensor) -> Tensor:
        return weight.permute(2, 3, 1, 0).reshape(self.rows, self.columns).contiguous()

    def weight(self, matrix: Tensor) -> Tensor:
        return matrix.view(*self.geometry.kernel, self.channels, self.columns).permute(3, 2, 0, 1)

    def on_rows(self, pre: Tensor) -> Tensor:
        (tall, wide), pad, step = self.geometry.kernel, self.geometry.padding, self.geometry.stride
        padded = F.pad(pre.permute(0, 2, 3, 1), (0, 0, pad, pad, pad, pad)).contiguous()
        sample, line, pixel, _ = padded.stride()
        windows = padded.as_strided(
            (len(pre), self.height, self.width, tall, wide * self.channels),
            (sample, step * line, step * pixel, line, 1),
        )
        return windows.reshape(-1, self.rows)

    def on_columns(self, routed: Tensor) -> Tensor:
        return routed.permute(0, 2, 3, 1).reshape(-1, self.columns)

    def from_columns(self, values: Tensor) -> Tensor:
        return values.view(-1, self.height, self.width, self.columns).permute(0, 3, 1, 2)

    def from_rows(self, values: Tensor) -> Tensor:
        (tall, wide), pad, step = self.geometry.kernel, self.geometry.padding, self.geometry.stride
        _, inside_height, inside_width = self.geometry.in_shape
        taps = values.view(-1, self.height, self.width, tall, wide, self.channels)
        padded = values.new_zeros(len(taps), inside_height + 2 * pad, inside_width + 2 * pad, self.channels)
        height, width = ((side - 1) * step + 1 for side in (self.height, self.width))  # from first to last position
        for down in range(tall):
            for right in range(wide):
                seen = padded[:, down : down + height : step, right : right + width : step]
                seen += taps[:, :, :, down, right]
        inner = padded[:, pad : pad + inside_height, pad : pad + inside_width]
        return inner.permute(0, 3, 1, 2)


def lines_of(geometry: ConnectionGeometry) -> Lines:
    """The lines of a connection."""
    return ConvLines(geometry) if geometry.kind == "conv" else Lines(geometry)


def samples_at_once(geometry: ConnectionGeometry, values: int) -> int:
    """Samples whose row values are about ``values`` numbers, at least one."""
    return max(1, values // (geometry.positions * max(geometry.fan_in, math.prod(geometry.pre_pool_shape[:1]))))
