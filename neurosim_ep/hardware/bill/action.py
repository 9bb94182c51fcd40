"""One line of a bill before it is priced: how often a component acts, and what it costs each time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

UPDATE = "update"
"""The phase in which weights change, beside the read phases."""


@dataclass(frozen=True)
class Action:
    """``counts`` of a component in a phase: [tiles] if ``per_tile``, else [layers + 1], readout last.

    ``unit_energy_J``: one number, or one per entry of ``counts``.
    """

    phase: str
    component: str
    counts: np.ndarray
    unit_energy_J: float | np.ndarray
    per_tile: bool
