"""The nonlinearity label of NeuroSim and the exponential curve it stands for.

The normalised curve ``g(p) = (1 - e^(-p/A)) / (1 - e^(-1/A))`` of a device with label NL leaves the diagonal by at most
``0.07 sqrt(2) NL``. With ``B = 1 / (1 - e^(-1/A))`` the largest distance is ``B - A - A ln(B/A)``, which is solved for
A. A negative label has the negative A: the same curve mirrored, convex.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from scipy.interpolate import CubicSpline

DISTANCE_PER_LABEL = 0.07 * math.sqrt(2)
LARGEST_NL = 9.5
"""A curve that leaves the diagonal by 0.94; a label of 10.1 would be a jump."""
SMALLEST_BEND = 1e-12
GRID = 4001
BISECTIONS = 60


def curve_parameter(label: Tensor) -> Tensor:
    """A of every label in [-9.5, 9.5], float64, relative error below 1e-7; about 1.2627 / NL for small labels."""
    bend = torch.from_numpy(np.asarray(_bend_of_label()(label.abs().cpu().double().numpy()))).to(label.device)
    return torch.where(label < 0, -1.0, 1.0) / bend.clamp_min(SMALLEST_BEND)


@cache
def _bend_of_label() -> CubicSpline:
    """1/A as a function of the label, smooth and 0 at 0."""
    from scipy.interpolate import CubicSpline  # as long to load as all of NumPy and pandas, and few devices need it

    label = np.linspace(0, LARGEST_NL, GRID)
    low, high = np.full(GRID, 1e-9), np.full(GRID, 1e3)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        below = largest_distance(middle) < DISTANCE_PER_LABEL * label
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    bend = (low + high) / 2
    bend[0] = 0.0
    return CubicSpline(label, bend)


def largest_distance(bend: np.ndarray) -> np.ndarray:
    """Largest distance of the curve with this 1/A from the diagonal, float64."""
    ratio = -bend / np.expm1(-bend)  # B / A
    return np.asarray((ratio - 1 - np.log(ratio)) / bend)
