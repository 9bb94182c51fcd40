"""oneDNN's reads on the CPU with weights in a layout of its own: operators that PyTorch keeps private."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

MOST_ROWS = 48
"""Rows of products side by side whose layout is one where it does not depend on their number at all."""
ASKED_ROWS = (1, 4, 5, 7, 16, 17, 40, MOST_ROWS)


def pack(weight: Tensor, padding: int, value: Tensor, groups: int = 1) -> Tensor:
    """``weight`` (C_out, C_in / groups, k, k) in the layout that is best for reads of values like ``value``."""
    plain = weight.contiguous(memory_format=torch.channels_last)
    return torch.ops.mkldnn._reorder_convolution_weight(plain, *_where(padding, groups), list(value.shape))


def convolve(value: Tensor, packed: Tensor, bias: Tensor | None, padding: int, groups: int = 1) -> Tensor:
    """``w ⋆ value + b`` with weights from :func:`pack`: (R, C_in, H, W) -> (R, C_out, H', W')."""
    return torch.ops.mkldnn._convolution_pointwise(value, packed, bias, *_where(padding, groups), "none", [], "")


def pack_matrix(weight: Tensor) -> Tensor:
    """``weight`` (out, in) in the layout that is best for products."""
    return torch.ops.mkldnn._reorder_linear_weight(weight.contiguous())


def multiply(rows: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    """``rows · weightᵀ + bias`` with a weight from :func:`pack_matrix`: (R, in) -> (R, out)."""
    return torch.ops.mkldnn._linear_pointwise(rows, packed, bias, "none", [], "")


@cache
def layout_is_one(dtype: torch.dtype) -> bool:
    """Whether weights of ``dtype`` of products side by side have the same layout whatever the number of rows, up to
    :data:`MOST_ROWS`: with AVX-512 they have. Asked of small ones; no where PyTorch lacks the operators.
    """
    weights = torch.ones(9, 256, 128, dtype=dtype)
    try:
        say = torch.ops.mkldnn._get_mkldnn_serialized_md
        found = multiply_groups(weights[:, :5].transpose(0, 1), pack_groups(weights))
        layouts = {bytes(say(pack_groups(weights, rows)).tolist()) for rows in ASKED_ROWS}
    except (AttributeError, RuntimeError, TypeError, ValueError):
        return False
    return len(layouts) == 1 and bool((found == weights.shape[2]).all())


def pack_groups(weights: Tensor, rows: int = 16) -> Tensor:
    """``weights`` (G, out, in) in the layout that is best for their products with this many ``rows``: those of a
    convolution of 1 x 1 in G groups, with the rows along its map.
    """
    groups, _, inputs = weights.shape
    value = _along_a_map(weights.new_empty(rows, groups, inputs))
    return pack(weights.reshape(-1, inputs, 1, 1), 0, value, groups)


def multiply_groups(rows: Tensor, packed: Tensor) -> Tensor:
    """``rows[:, g] · weights[g]ᵀ`` with weights from :func:`pack_groups`: (R, G, in) -> (R, G, out); with more than
    :data:`MOST_ROWS` rows another layout may be the best.
    """
    summed = convolve(_along_a_map(rows), packed, None, 0, groups=rows.shape[1])
    return summed.permute(0, 2, 3, 1).reshape(*rows.shape[:2], -1)


def _along_a_map(rows: Tensor) -> Tensor:
    """(R, G, in) as an image (1, G · in, 1, R) in channels-last layout."""
    return rows.reshape(1, 1, len(rows), -1).permute(0, 3, 1, 2)


def _where(padding: int, groups: int) -> tuple[list[int], list[int], list[int], int]:
    """Padding, stride, dilation and groups of a convolution."""
    return [padding, padding], [1, 1], [1, 1], groups
