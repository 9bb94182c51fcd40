"""The phases of a presentation, which counts and bills are kept by."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """Free relaxation, the two nudged relaxations from its end point, and the weight update."""

    FREE = "free"
    NUDGE_PLUS = "nudge_plus"
    NUDGE_MINUS = "nudge_minus"
    UPDATE = "update"


UPDATE = Phase.UPDATE.value
READ_PHASES = tuple(phase.value for phase in Phase if phase is not Phase.UPDATE)
"""Those in which tiles are read."""
