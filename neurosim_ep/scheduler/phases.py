"""Which phases nudge, by the kind of nudging."""

from __future__ import annotations

from neurosim_ep.hardware.chip.phases import Phase

NUDGES: dict[str, tuple[tuple[Phase, float], ...]] = {
    "three_phase": ((Phase.NUDGE_PLUS, 1.0), (Phase.NUDGE_MINUS, -1.0)),
    "one_sided_plus": ((Phase.NUDGE_PLUS, 1.0),),
    "one_sided_minus": ((Phase.NUDGE_MINUS, -1.0),),
}
"""Nudge phases of each kind of nudging, with the sign of β; phases of one kind run as one batch."""
