"""Execution styles: three chips that do the same work in different ways, billed from the same counts."""

from __future__ import annotations

from enum import StrEnum


class Style(StrEnum):
    """How a chip relaxes its states.

    ``CLOCKED``: every tick reads every tile at every position and converts every result. ``EVENT``: a tile is read
    where an event arrived, its lines that brought one are driven. ``SETTLING``: analog neurons and tiles relax in
    continuous time, every position on tiles of its own, and are converted once, at the end of a phase.
    """

    CLOCKED = "clocked"
    EVENT = "event"
    SETTLING = "settling"

    @property
    def accounting(self) -> str:
        """The accounting whose counts tell which lines are driven."""
        return "event" if self is Style.EVENT else "clocked"
