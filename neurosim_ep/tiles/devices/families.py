"""Free parameters of each update model: where a fit starts, their bounds, and the constants they stand for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

NODES = 5
STEP_RATIO = math.log(1e3)
"""How far fitted steps may be from the mean steps of the data, as a logarithm."""
RANGE = {"w_max": 1.0, "w_min": -1.0}

Values = np.ndarray
Built = dict[str, Any]
Build = Callable[[float, float, Values], Built]


@dataclass(frozen=True)
class Family:
    """``starts``: shape parameters that a fit begins with, each a list; ``low`` and ``high``: their bounds; ``build``:
    constants of the model from the steps up and down and the shape. Steps are fitted as logarithms, before the shape.
    """

    starts: Sequence[Sequence[float]]
    low: Sequence[float]
    high: Sequence[float]
    build: Build
    steps: int = 2


def step_constants(up: float, down: float) -> Built:
    """``dw_min`` and ``up_down`` of a device with these steps: the larger is ``dw_min``."""
    largest = max(up, down)
    return {"dw_min": largest, "up_down": up / largest - 1 if up < down else 1 - down / largest}


def _by_name(*names: str, **fixed: float) -> Build:
    """Steps, numbers that are ``fixed``, and the shape, whose parameters are the constants of these ``names``."""

    def build(up: float, down: float, shape: Values) -> Built:
        return step_constants(up, down) | fixed | dict(zip(names, shape.tolist(), strict=True))

    return build


def _piecewise(up: float, down: float, shape: Values) -> Built:
    """The nodes hold the steps in units of the mean step; ``up`` and ``down`` are those of the data."""
    nodes_up, nodes_down = up * np.exp(shape[:NODES]), down * np.exp(shape[NODES:])
    mean = float(np.concatenate([nodes_up, nodes_down]).mean())
    nodes = {"v_up": (nodes_up / mean).tolist(), "v_down": (nodes_down / mean).tolist()}
    return {"dw_min": mean, "up_down": 0.0} | RANGE | nodes


def _neurosim_nl(up: float, down: float, shape: Values) -> Built:
    return RANGE | {"nl_ltp": float(shape[0]), "nl_ltd": float(shape[1]), "levels": float(np.exp(shape[2]))}


CONSTANT = Family([[]], [], [], _by_name(**RANGE))
LINEAR = Family([[0.5, 0.5]], [0, 0], [1, 1], _by_name("gamma_up", "gamma_down", **RANGE))
SOFT_BOUNDS = Family([[1.5, -1.5]], [1, -50], [50, -1], _by_name("w_max", "w_min"))
EXPONENTIAL = Family(
    [[0.2, 1.0, 0.2, 1.0], [-0.5, 1.0, -0.5, 1.0]],
    [-50, 0.01, -50, 0.01],
    [1, 10, 1, 10],
    _by_name("A_up", "gamma_up", "A_down", "gamma_down", **RANGE, a=1.0, b=0.0),
)
POWER = Family(
    [[1.0, 0.0, 1.1, -1.1]],
    [0.05, -0.95, 1, -3],
    [10, 0.95, 3, -1],
    _by_name("pow_gamma", "pow_up_down", "w_max", "w_min"),
)
"""Its exponents are ``(1 + min(d, 0)) g`` up and ``(1 - max(d, 0)) g`` down."""
PIECEWISE = Family([[0.0] * 2 * NODES], [-STEP_RATIO] * 2 * NODES, [STEP_RATIO] * 2 * NODES, _piecewise, 0)
NEUROSIM_NL = Family(
    [[1.0, 1.0, math.log(64)], [1.0, -1.0, math.log(64)]],
    [-9, -9, math.log(2)],
    [9, 9, math.log(1e6)],
    _neurosim_nl,
    0,
)
