"""Weights as conductances: differential pairs, a reference column, bit slices, off state and levels.

Conductances are in units of the on conductance, weights normalised to [-1, 1]. What a cell can hold runs from ``off``
(G_off / G_on) to 1. A *pair* holds a positive weight in its first cell and a negative one in its second, the other cell
being off, and the currents of both columns are subtracted before they are converted. A *single* cell holds the weight
above or below the middle of the range; the current of a reference column of middle conductances is subtracted, which is
taken as exact. With bit slices a pair holds the magnitude as a whole number in base ``levels``, one digit per slice,
and a single cell the weight + 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Encoding:
    """How weights are held.

    ``cells`` per weight and slice: 2, a pair, or 1; ``levels`` a cell can be set to (0: any, for one slice only).
    """

    cells: int
    off: float
    slices: int = 1
    levels: int = 0

    @property
    def shares(self) -> list[float]:
        """What each slice's digit counts for: weight = Σ shares · decoded digits. Digits run from -1 to 1."""
        if self.slices == 1:
            return [1.0]
        top = self.levels - 1
        return [top * self.levels**place / (self.levels**self.slices - 1) for place in range(self.slices)]

    @property
    def unit(self) -> float:
        """Conductance that a digit of 1 stands for."""
        return (1 - self.off) / (2 if self.cells == 1 else 1)

    def encode(self, weights: Tensor) -> Tensor:
        """Conductances (slices, cells, *shape) that stand for ``weights`` (any shape); with levels or slices there is
        none beyond [-1, 1]. No conductance is negative.
        """
        digits = self._digits(weights.clamp(-1, 1) if self.levels else weights)
        if self.cells == 1:
            share = (digits + 1) / 2
            if self.levels:
                share = (share * (self.levels - 1)).round_().div_(self.levels - 1)
            return (self.off + (1 - self.off) * share).clamp_(min=0).unsqueeze(1)
        pair = torch.stack([digits.clamp(min=0), (-digits).clamp_(min=0)], 1)
        if self.levels:
            pair.mul_(self.levels - 1).round_().div_(self.levels - 1)
        return pair.mul_(1 - self.off).add_(self.off)

    def decode(self, conductances: Tensor) -> Tensor:
        """What each slice multiplies its inputs with (slices, *shape), from conductances (slices, cells, *shape)."""
        if self.cells == 1:
            return (conductances[:, 0] - (1 + self.off) / 2) * (1 / self.unit)
        return (conductances[:, 0] - conductances[:, 1]) / self.unit

    def spread(self, deviations: Tensor) -> Tensor:
        """Variance of the decoded digits (slices, *shape) for deviations of each conductance, independent of others."""
        return (deviations / self.unit).square().sum(1)

    def _digits(self, weights: Tensor) -> Tensor:
        """Digits (slices, *shape) in [-1, 1], lowest first."""
        if self.slices == 1:
            return weights.unsqueeze(0)
        top = self.levels**self.slices - 1
        whole = ((weights + 1) / 2 if self.cells == 1 else weights.abs()).mul_(top).round_()
        digits = []
        for _ in range(self.slices):
            digit = whole.remainder(self.levels) / (self.levels - 1)
            digits.append(digit * 2 - 1 if self.cells == 1 else digit * weights.sign())
            whole = (whole / self.levels).floor_()
        return torch.stack(digits)
