"""Routes of a chip that trains by backpropagation: states go up in its first pass, errors down in its second."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neurosim_ep.hardware.chip.components import Part
from neurosim_ep.hardware.chip.counts import TileCounts
from neurosim_ep.hardware.chip.phases import READ_PHASES
from neurosim_ep.hardware.chip.routes import Route, Routes
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.tiles.messages import Sender

FORWARD, BACKWARD = READ_PHASES[:2]
"""The two passes stand in the free and in the first nudge phase."""


@dataclass(frozen=True)
class PassRoutes(Routes):
    """Routes whose states are sent upwards in the pass ``FORWARD``, and errors downwards in the pass ``BACKWARD``."""

    @cached_property
    def _parted(self) -> list[tuple[Route, str]]:
        """Routes of states and errors, with their pass."""
        found = []
        for sender in self.plan.senders:
            up = tuple(tile for tile in sender.destinations if self._above(sender, tile))
            down = tuple(tile for tile in sender.destinations if tile not in up)
            for tiles, phase in ((up, FORWARD), (down, BACKWARD)):
                if tiles:
                    found.append((Route(Part.MESSAGE, sender.layer, sender.home, tiles, sender.neurons), phase))
        return found

    def _above(self, sender: Sender, tile: int) -> bool:
        source, target = self.plan.geometries[self.plan.tiles[tile].connection].ends
        return target > sender.layer or source == sender.layer

    @cached_property
    def _states(self) -> list[Route]:
        return [route for route, _ in self._parted]

    def _state_messages(self, counts: TileCounts, phase: str, style: Style) -> np.ndarray:
        shares = self._state_shares
        if phase not in counts.presentations:
            return np.zeros_like(shares)
        layers = [route.layer for route in self._states]
        mine = np.array([its == phase for _, its in self._parted], dtype=np.int64)
        return counts.presentations[phase].sum(0)[layers] * shares * mine
