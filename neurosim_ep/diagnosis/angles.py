"""The angle between two gradients."""

from __future__ import annotations

from torch import Tensor


def cosine(one: Tensor, other: Tensor) -> float | None:
    """Cosine of the angle between two tensors of the same shape, in float64; None where one of them is 0."""
    one, other = one.double().flatten(), other.double().flatten()
    product = float(one.norm()) * float(other.norm())
    return float(one @ other) / product if product > 0 else None
