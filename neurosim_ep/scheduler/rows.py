"""Which rows of a buffer belong to which samples, and how they lie in memory."""

from __future__ import annotations

import torch
from torch import Tensor


def memory_rows(value: Tensor) -> Tensor:
    """``value`` (R, ...) as a view (R, features) in the order its features lie in memory."""
    if value.dim() == 4 and not value.is_contiguous():
        value = value.permute(0, 2, 3, 1)
    return value.view(len(value), -1)


def rows_of(places: Tensor, copies: int) -> Tensor:
    """Rows of the samples at ``places``, ``copies`` neighbouring ones each."""
    if copies == 1:
        return places
    return (places[:, None] * copies + torch.arange(copies, device=places.device)).flatten()
