"""oneDNN's reads on the CPU with weights in a layout of its own: operators that PyTorch keeps private."""

from __future__ import annotations

import torch
from torch import Tensor


def pack(weight: Tensor, padding: int, value: Tensor) -> Tensor:
    """``weight`` (C_out, C_in, k, k) in the layout that is best for reads of values like ``value``."""
    plain = weight.contiguous(memory_format=torch.channels_last)
    return torch.ops.mkldnn._reorder_convolution_weight(plain, *_where(padding), list(value.shape))


def convolve(value: Tensor, packed: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    """``w ⋆ value + b`` with weights from :func:`pack`: (R, C_in, H, W) -> (R, C_out, H', W')."""
    return torch.ops.mkldnn._convolution_pointwise(value, packed, bias, *_where(padding), "none", [], "")


def pack_matrix(weight: Tensor) -> Tensor:
    """``weight`` (out, in) in the layout that is best for products."""
    return torch.ops.mkldnn._reorder_linear_weight(weight.contiguous())


def multiply(rows: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    """``rows · weightᵀ + bias`` with a weight from :func:`pack_matrix`: (R, in) -> (R, out)."""
    return torch.ops.mkldnn._linear_pointwise(rows, packed, bias, "none", [], "")


def _where(padding: int) -> tuple[list[int], list[int], list[int], int]:
    """Padding, stride, dilation and groups of a convolution."""
    return [padding, padding], [1, 1], [1, 1], 1
