"""The phases of one presentation, in the order they run."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """Free relaxation, the two nudged relaxations from its end point, and the weight update."""

    FREE = "free"
    NUDGE_PLUS = "nudge_plus"
    NUDGE_MINUS = "nudge_minus"
    UPDATE = "update"


NUDGES: dict[str, tuple[tuple[Phase, float], ...]] = {
    "three_phase": ((Phase.NUDGE_PLUS, 1.0), (Phase.NUDGE_MINUS, -1.0)),
    "one_sided_plus": ((Phase.NUDGE_PLUS, 1.0),),
    "one_sided_minus": ((Phase.NUDGE_MINUS, -1.0),),
}
"""Nudge phases of each kind of nudging, with the sign of β; phases of one kind run as one batch."""
