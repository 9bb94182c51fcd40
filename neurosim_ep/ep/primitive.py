"""The primitive function Φ and the closed forms of its derivatives (arXiv 2508.15989, Eq 1).

``Φ(x, {s}) = Σ_conv s^n • P(w_n ⋆ s^{n-1} + b_n) + Σ_linear s^n • (w_n s^{n-1} + b_n)``, per sample.

A connection's part of ∂Φ/∂s is a forward read ``P(w ⋆ pre + b)`` for the layer above and a transposed read
``w ⋆ᵀ P⁻¹(post; κ)`` for the layer below, κ being the argmax of the forward read's pre-pool value. ∂Φ/∂w
correlates the pre state with ``P⁻¹(post; κ)``. Autograd of :func:`primitive` is the oracle of all three.

That is a chain's Φ. In general layers are joined by edges, of which Φ has the sum: ``s^target • P(w ⋆ s^source + b)``
for a connection, and ``s^target • P(s^source)`` for an identity, which has no weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from neurosim_ep.ep.edges import Edge


def preactivation(pre: Tensor, weight: Tensor, bias: Tensor | None, padding: int, stride: int = 1) -> Tensor:
    """``w ⋆ pre + b`` (weight of 4 dimensions) or ``w·vec(pre) + b`` (2 dimensions).

    pre (B, C_in, H, W) or (B, ...) -> (B, C_out, H', W') or (B, out).
    """
    if weight.dim() == 4:
        pre, stride = _without_stride(pre, weight, padding, stride)
        return F.conv2d(pre, weight, bias, stride, padding)
    return F.linear(pre.flatten(1), weight, bias)


def _without_stride(pre: Tensor, weight: Tensor, padding: int, stride: int) -> tuple[Tensor, int]:
    """The places of ``pre`` that a 1x1 kernel with a stride looks at, and a stride of 1; anything else as it is.

    PyTorch's derivative of such a convolution by its weights writes beyond its memory on some processors (oneDNN, 2 to
    7 channels), and there is nothing else to look at.
    """
    if not _skips_places(weight, padding, stride):
        return pre, stride
    places = pre[:, :, ::stride, ::stride]
    return places.contiguous(memory_format=torch.channels_last), 1


def _skips_places(weight: Tensor, padding: int, stride: int) -> bool:
    """Whether a convolution looks at some places of its input alone, one for each of its output."""
    return stride > 1 and not padding and weight.shape[2] == 1


def pool_forward(z: Tensor, pool: str | None) -> tuple[Tensor, Tensor | None]:
    """P: 2x2 pooling of z (B, C, H, W), and the argmax κ of each window (None unless max-pooled).

    Ties go to the first element in row order, as in autograd of ``max_pool2d``.
    """
    if pool == "max":
        pooled, routing = F.max_pool2d(z, 2, return_indices=True)
        return pooled, routing
    if pool == "avg":
        return F.avg_pool2d(z, 2), None
    return z, None


def pool_at(z: Tensor, routing: Tensor) -> Tensor:
    """P of z (B, C, H, W) with a given argmax κ: the value of each window that κ names, (B, C, H/2, W/2)."""
    pooled = torch.empty_like(routing, dtype=z.dtype)
    torch.gather(z.flatten(2), 2, routing.flatten(2), out=pooled.flatten(2))
    return pooled


def pool_adjoint(post: Tensor, routing: Tensor | None, pool: str | None, pre_pool: Sequence[int]) -> Tensor:
    """P⁻¹: post (B, C, H/2, W/2) placed at its argmax (max) or spread evenly (avg), zeros elsewhere.

    ``pre_pool`` is the (C, H, W) of the result; an odd last row or column that pooling drops stays zero.
    """
    if pool == "max":
        assert routing is not None
        return torch.ops.aten.max_unpool2d(post, routing, pre_pool[1:])  # F.max_unpool2d imports sympy for its checks
    if pool == "avg":
        spread = F.interpolate(post, scale_factor=2, mode="nearest").mul_(0.25)
        return F.pad(spread, (0, pre_pool[2] - spread.shape[3], 0, pre_pool[1] - spread.shape[2]))
    return post


def transposed_read(
    routed: Tensor, weight: Tensor, padding: int, stride: int = 1, in_shape: Sequence[int] = ()
) -> Tensor:
    """``w ⋆ᵀ routed`` (conv) or ``wᵀ routed`` (linear): the same synapses, driven from their outputs.

    ``in_shape`` (C, H, W) is needed with a stride, where several sizes of the input give the same output.
    """
    if weight.dim() != 4:
        return routed @ weight
    if weight.requires_grad and _skips_places(weight, padding, stride):  # see _without_stride
        read = F.conv_transpose2d(routed, weight)
        whole = read.new_zeros(len(read), *in_shape).contiguous(memory_format=torch.channels_last)
        whole[:, :, ::stride, ::stride] = read
        return whole
    over = [(side + 2 * padding - weight.shape[2]) % stride for side in in_shape[1:]] if stride > 1 else 0
    return F.conv_transpose2d(routed, weight, stride=stride, padding=padding, output_padding=over)


def weight_derivative(
    pre: Tensor, routed: Tensor, weight: Tensor, padding: int, stride: int = 1
) -> tuple[Tensor, Tensor]:
    """∂Φ/∂w and ∂Φ/∂b summed over the batch: correlation (conv) or outer product (linear) of pre and routed.

    Shapes as in :func:`preactivation`. Local: it sees its own pre and post signals only.
    """
    if weight.dim() == 4:
        pre, stride = _without_stride(pre, weight, padding, stride)
        _, grad_weight, grad_bias = torch.ops.aten.convolution_backward(
            routed, pre, weight, [weight.shape[0]], [stride, stride], [padding, padding], [1, 1], False, [0, 0], 1,
            [False, True, True],
        )  # fmt: skip
        return grad_weight, grad_bias
    return routed.T @ pre.flatten(1), routed.sum(0)


def primitive(edges: Sequence[Edge], x: Tensor, states: Sequence[Tensor]) -> Tensor:
    """Φ of each sample, (B,): Eq 1 written out, differentiable. Used as the test oracle, never on the hot path."""
    total = x.new_zeros(x.shape[0])
    for edge in edges:
        drive, _ = edge.forward(x if edge.source < 0 else states[edge.source])
        total = total + (states[edge.target] * drive).flatten(1).sum(1)
    return total
