"""The activation σ of every neuron layer (arXiv 2508.15989 §2.1), one object each.

A fixed point of ``s = σ(∂Φ/∂s)`` is stationary for ``E = Σ G(s) − Φ`` with ``G' = σ⁻¹``, which asks for a σ that never
falls. No derivative is needed to train, weight updates see states only; :meth:`Activation.slope` is for looking at what
the dynamics do. Nothing here imports PyTorch, so that scenarios can be checked without it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from neurosim_ep.registry import ACTIVATIONS
from neurosim_ep.scenario import topology

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Activation(ABC):
    """One σ, which never falls. ``name``: how scenarios spell it; ``sentence``: what it is.

    ``lower``, ``upper``: bounds of the state (infinite where there is none), with ``lower <= 0 < upper``. A state of 0
    drives no line of a tile. Where states have a sign it is a value like any other; else it is the lower bound, at
    which a neuron is silent.
    """

    name: str
    sentence: str
    lower: float = 0.0
    upper: float = 1.0

    @abstractmethod
    def sigma_(self, drive: Tensor) -> Tensor:
        """σ of ``drive`` (any shape), computed in place, by operations that PyTorch can derive."""

    @abstractmethod
    def slope(self, drive: Tensor) -> Tensor:
        """σ' at ``drive``, of its shape; 0 where the state is held at a bound, the corners included."""

    @property
    @abstractmethod
    def largest_slope(self) -> float:
        """Largest σ' anywhere: the Lipschitz constant of σ."""

    @property
    def signed(self) -> bool:
        """Whether states can be negative."""
        return self.lower < 0

    @property
    def bound(self) -> float:
        """Largest |state|: the range of the drivers that put states on lines."""
        return max(-self.lower, self.upper)

    @property
    def start(self) -> tuple[float, float]:
        """Between what random states of tick 0 are drawn: the bounds, but nothing beyond 1 in size."""
        return max(self.lower, -1.0), min(self.upper, 1.0)

    def of(self, kind: str) -> Activation:
        """The activation of a layer above a connection of ``kind`` ("conv" | "linear")."""
        return self

    def at_lower(self, state: Tensor) -> Tensor:
        """Where ``state`` is at the lower bound."""
        return state <= self.lower

    def at_upper(self, state: Tensor) -> Tensor:
        """Where ``state`` is at the upper bound."""
        return state >= self.upper

    def dead(self, state: Tensor) -> Tensor:
        """Which neurons (features,) of ``state`` (B, features) are held, in all samples, where they tell nothing and
        pass no error on: at the lower bound, or, where states have a sign, at either one.
        """
        below = self.at_lower(state).all(0)
        return below | self.at_upper(state).all(0) if self.signed else below


@dataclass(frozen=True)
class Clip(Activation):
    """``clip(gain (x + shift), lower, upper)``. Where the bounds are met it has PyTorch's derivative, the gain."""

    gain: float = 1.0
    shift: float = 0.0

    def sigma_(self, drive: Tensor) -> Tensor:
        """The sum, the product and the clipping that are needed, one after the other."""
        if self.shift:
            drive = drive.add_(self.shift)
        if self.gain != 1:
            drive = drive.mul_(self.gain)
        return drive if self.ends == (None, None) else drive.clamp_(*self.ends)

    def slope(self, drive: Tensor) -> Tensor:
        """The gain between the corners."""
        low, high = (bound / self.gain - self.shift for bound in (self.lower, self.upper))
        return ((drive > low) & (drive < high)).to(drive.dtype) * self.gain

    @property
    def largest_slope(self) -> float:
        """The gain."""
        return self.gain

    @property
    def ends(self) -> tuple[float | None, float | None]:
        """The bounds, None where there is none."""
        lower, upper = (bound if math.isfinite(bound) else None for bound in (self.lower, self.upper))
        return lower, upper


@dataclass(frozen=True)
class Sigmoid(Activation):
    """``1/(1 + exp(2 − 4x))``."""

    def sigma_(self, drive: Tensor) -> Tensor:
        """Of 4x − 2."""
        return drive.mul_(4).sub_(2).sigmoid_()

    def slope(self, drive: Tensor) -> Tensor:
        """4 s (1 − s), nowhere 0."""
        state = self.sigma_(drive.clone())
        return 4 * state * (1 - state)

    @property
    def largest_slope(self) -> float:
        """At 1/2."""
        return 1.0


@dataclass(frozen=True)
class Mixture:
    """Another activation above convolutions than above linear connections."""

    name: str
    sentence: str
    conv: Activation
    linear: Activation

    def of(self, kind: str) -> Activation:
        """See :meth:`Activation.of`."""
        return self.conv if kind == "conv" else self.linear


HARD_SIGMOID = ACTIVATIONS.add(Clip("hard_sigmoid", "clip(x, 0, 1)"))
ACTIVATIONS.add(
    Clip("hard_sigmoid_half", "clip(x/2, 0, 1), of published CIFAR-10 EP runs (Laborieux et al. 2021)", gain=0.5)
)
ACTIVATIONS.add(Clip("hard_sigmoid_shifted", "clip((x + 1)/2, 0, 1) (Courbariaux et al. 2015)", gain=0.5, shift=1.0))
ACTIVATIONS.add(Clip("hard_tanh", "clip(x, -1, 1): states have a sign", lower=-1.0))
RELU = ACTIVATIONS.add(Clip("relu", "max(x, 0)", upper=math.inf))
ACTIVATIONS.add(Clip("relu6", "clip(x, 0, 6)", upper=6.0))
ACTIVATIONS.add(
    Mixture("relu_conv", "relu above convolutions, hard_sigmoid above linear connections", RELU, HARD_SIGMOID)
)
ACTIVATIONS.add(Sigmoid("sigmoid", "1/(1 + exp(2 - 4x)), smooth: touches hard_sigmoid with slope 1 at (1/2, 1/2)"))


def per_layer(names: str | Sequence[str], kinds: Sequence[str]) -> list[Activation]:
    """The activation of each layer: of one name for all, or of one name per layer.

    Raises :class:`ScenarioError` when a list has another length than ``kinds``, and :class:`UsageError` when the
    package that an activation comes from cannot be loaded.
    """
    named = topology.per_layer(names, len(kinds), "network.activation", "name")
    return [ACTIVATIONS[name].of(kind) for name, kind in zip(named, kinds, strict=True)]
