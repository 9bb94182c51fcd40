"""Losses, what they add to a drive, and the delta rule of the readout.

A nudge is −∂l/∂(its state): what is added to a layer's drive, once multiplied by the signed β.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from neurosim_ep.ep.network import Network, Readout


def one_hot(labels: Tensor, num_classes: int, like: Tensor) -> Tensor:
    """Labels (B,) as one-hot rows (B, C) of ``like``'s dtype."""
    return F.one_hot(labels, num_classes).to(like.dtype)


def cross_entropy(logits: Tensor, onehot: Tensor) -> Tensor:
    """``−Σ y log softmax(logits)`` of each sample, (B,)."""
    return -(onehot * F.log_softmax(logits, 1)).sum(1)


def squared_error(state: Tensor, onehot: Tensor) -> Tensor:
    """``½‖s^N − y‖²`` of each sample, (B,), the class layer being inside the dynamics."""
    return 0.5 * (state - onehot).square().sum(1)


def output_loss(network: Network, logits: Tensor, onehot: Tensor) -> Tensor:
    """``l_out`` of each sample, (B,), the loss that ``network`` is built for, at its ``logits`` (B, C)."""
    return (squared_error if network.readout is None else cross_entropy)(logits, onehot)


def readout_nudge(state: Tensor, readout: Readout | None, onehot: Tensor) -> Tensor:
    """``W_outᵀ(y − softmax(W_out s + b))``, or ``y − s`` where the class layer is inside; shape of ``state``."""
    if readout is None:
        return onehot - state
    error = onehot - torch.softmax(readout(state), 1)
    return (error @ readout.weight).view_as(state)


def readout_gradient(
    network: Network, state: Tensor, onehot: Tensor, weight_per_sample: Tensor
) -> Mapping[str, Tensor]:
    """``Σ_b w_b (softmax(W_out s_b + b) − y_b) s_bᵀ`` and its bias: the delta rule of the readout."""
    assert network.readout is not None
    error = (torch.softmax(network.readout(state), 1) - onehot) * weight_per_sample[:, None]
    return {"readout.weight": error.T @ state.flatten(1), "readout.bias": error.sum(0)}


def signal_loss(logits: Tensor, targets: Tensor, temperature: float, exponent: float) -> Tensor:
    """``τ^p · KL(q ‖ softmax(z/τ))`` of each sample, (B,), from logits z (B, n, ...) and targets q of the same shape.

    The softmax runs over dimension 1; the divergences of further dimensions add up.
    """
    divergence = F.kl_div(F.log_softmax(logits / temperature, 1), targets, reduction="none").flatten(1).sum(1)
    return temperature**exponent * divergence


def signal_error(logits: Tensor, targets: Tensor, temperature: float, exponent: float) -> Tensor:
    """``−∂l/∂z = τ^{p−1}(q − softmax(z/τ))``, shape of ``logits``."""
    return temperature ** (exponent - 1) * (targets - torch.softmax(logits / temperature, 1))
