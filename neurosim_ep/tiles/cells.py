"""The conductances of one connection: what they were programmed to, what they are, and what a read sees of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from neurosim_ep.scenario.schema import CellsSection
from neurosim_ep.tiles.conductance import Encoding
from neurosim_ep.tiles.statistics import CellStatistics


class Cells:
    """Conductances (slices, cells, rows, columns), in units of the on conductance, of a matrix of weights.

    What differs from device to device is drawn once, from ``construction``: the relative deviation ``variation`` of
    each cell, and which cells are stuck. A cell is programmed anew, with new noise, when its target changes.
    """

    def __init__(
        self,
        encoding: Encoding,
        section: CellsSection,
        statistics: CellStatistics | None,
        shape: Sequence[int],
        construction: torch.Generator,
    ) -> None:
        self.encoding, self.section, self.statistics = encoding, section, statistics
        whole = (encoding.slices, encoding.cells, *shape)
        self.gain: Tensor | None = None
        if section.variation:
            self.gain = (1 + section.variation * torch.randn(whole, generator=construction)).clamp_(min=0)
        self.stuck_off: Tensor | None = None
        self.stuck_on: Tensor | None = None
        if section.stuck_off or section.stuck_on:
            drawn = torch.rand(whole, generator=construction)
            self.stuck_off, self.stuck_on = drawn < section.stuck_off, drawn >= 1 - section.stuck_on
        self.targets = torch.full(whole, -1.0)
        self.programmed = torch.zeros(whole)
        self.drift: Tensor | None = None if statistics is None else torch.zeros(whole)

    def to(self, device: torch.device) -> None:
        """Move to ``device``."""
        for name in ("gain", "stuck_off", "stuck_on", "targets", "programmed", "drift"):
            value = getattr(self, name)
            if value is not None:
                setattr(self, name, value.to(device))

    def program(self, weights: Tensor, random: torch.Generator) -> None:
        """Hold normalised ``weights`` (rows, columns); cells whose target does not change are left alone."""
        targets = self.encoding.encode(weights)
        if self.statistics is None and not self.section.programming_noise:
            self.targets = self.programmed = targets
            return
        if self.statistics is None:
            noise = torch.randn(targets.shape, generator=random, device=targets.device)
            reached = targets + noise * self.section.programming_noise * (1 - self.encoding.off)
        else:
            reached = self.statistics.programmed(targets, random)
        changed = targets != self.targets
        self.programmed = torch.where(changed, reached.clamp_(min=0), self.programmed)
        if self.statistics is not None and self.drift is not None:
            self.drift = torch.where(changed, self.statistics.drift_exponents(targets, random), self.drift)
        self.targets = targets

    def conductances(self) -> Tensor:
        """Conductances (slices, cells, rows, columns) at the time of the reads."""
        found = self.programmed
        if self.statistics is not None and self.drift is not None:
            found = self.statistics.drifted(found, self.drift, self.section.time_s)
        if self.gain is not None:
            found = found * self.gain
        if self.stuck_off is not None and self.stuck_on is not None:
            found = found.masked_fill(self.stuck_off, self.encoding.off).masked_fill(self.stuck_on, 1.0)
        return found

    def read_variance(self, conductances: Tensor) -> Tensor | float:
        """Variance, from read to read, of what a slice multiplies its inputs with: one number where it is the same for
        all, else (slices, rows, columns).
        """
        if self.statistics is not None:
            return self.encoding.spread(self.statistics.read_sigma(conductances, self.section.time_s))
        deviation = conductances.new_full(
            (1, self.encoding.cells, 1), self.section.read_noise * (1 - self.encoding.off)
        )
        return float(self.encoding.spread(deviation))

    def state_dict(self) -> dict[str, Tensor]:
        """What programming has left."""
        kept = {"targets": self.targets, "programmed": self.programmed}
        return kept if self.drift is None else {**kept, "drift": self.drift}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from :meth:`state_dict`."""
        for name in self.state_dict():
            setattr(self, name, state[name].to(self.targets.device))
