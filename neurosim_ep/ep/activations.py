"""The activation σ of every neuron layer (arXiv 2508.15989 §2.1; Courbariaux 2015 for the shifted one).

No derivative is needed to train: a fixed point of ``s = σ(∂Φ/∂s)`` is stationary for ``E = Σ G(s) − Φ`` with
``G' = σ⁻¹``, so weight updates see states only. :func:`slope` is for looking at what the dynamics do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from torch import Tensor

from neurosim_ep.errors import ScenarioError


def hard_sigmoid_(drive: Tensor) -> Tensor:
    """clip(x, 0, 1)."""
    return drive.clamp_(0, 1)


def hard_sigmoid_half_(drive: Tensor) -> Tensor:
    """clip(x/2, 0, 1), the form of published CIFAR-10 EP runs (Laborieux et al. 2021)."""
    return drive.mul_(0.5).clamp_(0, 1)


def hard_sigmoid_shifted_(drive: Tensor) -> Tensor:
    """clip((x+1)/2, 0, 1) (Courbariaux 2015)."""
    return drive.add_(1).mul_(0.5).clamp_(0, 1)


def relu_(drive: Tensor) -> Tensor:
    """max(x, 0)."""
    return drive.clamp_(min=0)


def sigmoid_(drive: Tensor) -> Tensor:
    """1/(1 + exp(2 − 4x)): the smooth function that touches ``hard_sigmoid`` with slope 1 at (1/2, 1/2)."""
    return drive.mul_(4).sub_(2).sigmoid_()


_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "hard_sigmoid": hard_sigmoid_,
    "hard_sigmoid_half": hard_sigmoid_half_,
    "hard_sigmoid_shifted": hard_sigmoid_shifted_,
    "relu": relu_,
    "sigmoid": sigmoid_,
}


def activate_(name: str, drive: Tensor) -> Tensor:
    """σ of ``drive`` (any shape), computed in place."""
    return _FUNCTIONS[name](drive)


_LINEAR_PARTS = {
    "hard_sigmoid": (0.0, 1.0, 1.0),
    "hard_sigmoid_half": (0.0, 2.0, 0.5),
    "hard_sigmoid_shifted": (-1.0, 1.0, 0.5),
    "relu": (0.0, math.inf, 1.0),
}
"""Drives between which a piecewise linear activation rises, and its slope there."""


def slope(name: str, drive: Tensor) -> Tensor:
    """σ' at ``drive``, of its shape; 0 where the state is held at a bound, the corners included."""
    if name == "sigmoid":
        state = sigmoid_(drive.clone())
        return 4 * state * (1 - state)
    low, high, rise = _LINEAR_PARTS[name]
    return ((drive > low) & (drive < high)).to(drive.dtype) * rise


def largest_slope(name: str) -> float:
    """Largest σ' the activation has anywhere: its Lipschitz constant."""
    return 1.0 if name == "sigmoid" else _LINEAR_PARTS[name][2]


def upper_bound(name: str) -> float:
    """Largest state the activation can give (infinite for ``relu``)."""
    return math.inf if name == "relu" else 1.0


def per_layer(names: str | Sequence[str], kinds: Sequence[str]) -> list[str]:
    """One activation name per layer; ``relu_conv`` means relu in conv layers and hard_sigmoid in linear ones.

    Raises :class:`ScenarioError` when a list has another length than ``kinds``.
    """
    if isinstance(names, str):
        names = [names] * len(kinds)
    if len(names) != len(kinds):
        raise ScenarioError(
            f"network.activation = {list(names)}: has {len(names)} names for {len(kinds)} layers; "
            "give one name for all layers or exactly one per layer"
        )
    mixed = {"conv": "relu", "linear": "hard_sigmoid"}
    return [mixed[kind] if name == "relu_conv" else name for name, kind in zip(names, kinds, strict=True)]
