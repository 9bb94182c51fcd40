"""Weight changes of one connection, written into its devices by pulses.

| update | what is written |
| --- | --- |
| difference | the difference of the two terms of EP's rule, summed over the batch by an accumulator, as whole pulses |
| two_pass | every sample's two terms one after the other: the first raises weights, the second lowers them |
| transfer | the same into a fast array; every few batches part of it is added to a slow one, which holds the weights |

The two terms of ``two_pass`` and ``transfer`` nearly cancel: with nudging β they are about 1/β times as large as what
is left of them, and so is what an asymmetry of the devices adds to it. :class:`PulseCounts` shows both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from neurosim_ep.errors import DivergenceError
from neurosim_ep.scenario.schema import DeviceSection
from neurosim_ep.tiles.converters import rounded
from neurosim_ep.tiles.devices.array import DeviceArray
from neurosim_ep.tiles.devices.base import DeviceModel
from neurosim_ep.tiles.lines import Lines
from neurosim_ep.tiles.pulses import LOWER, Trains, coincidences, extents, make_trains

MOST_RANGES = 1000  # a device is at its bound long before
TRAINS_AT_ONCE = 2**24  # numbers of trains that are kept while the device is asked about all of them


@dataclass
class PulseCounts:
    """Pulses of one batch, up and down, of the device of each weight (rows, columns)."""

    up: Tensor
    down: Tensor

    def totals(self) -> Tensor:
        """Pulses up, pulses down, and what is left when those of a cell cancel, each summed over the cells, (3,)."""
        return torch.stack([self.up.sum(), self.down.sum(), (self.up - self.down).abs().sum()]).double()


@dataclass(frozen=True)
class Term:
    """One contrasted state: what stands on the inputs (B, *in_shape) and, routed, on the outputs (B, *pre_pool_shape)
    of a connection, and the ``sign`` with which its outer product is written.
    """

    sign: int
    pre: Tensor
    routed: Tensor


class Devices:
    """The devices of a connection with their hidden state, written as ``section`` says.

    Weights are normalised, (rows, columns). ``construction`` draws the devices; ``start`` is what they are programmed
    to.
    """

    def __init__(
        self,
        model: DeviceModel,
        section: DeviceSection,
        lines: Lines,
        start: Tensor,
        construction: torch.Generator,
    ) -> None:
        self.model, self.section, self.lines = model, section, lines
        self.slow = DeviceArray(model, start.shape, construction)
        self.slow.program(start)
        self.fast: DeviceArray | None = None
        self.rest: Tensor | None = None
        if section.update == "transfer":
            self.fast = DeviceArray(model, start.shape, construction)
            self.rest = model.symmetry_point(self.fast.constants).nan_to_num(0.0).float().expand(start.shape)
            self.fast.program(self.rest)
        self.waiting = torch.zeros_like(start)
        self.batches = 0
        self.range = float((self.slow.constants["w_max"] - self.slow.constants["w_min"]).max())
        self.counts = PulseCounts(torch.zeros_like(start), torch.zeros_like(start))

    @property
    def weights(self) -> Tensor:
        """What a read sees, (rows, columns)."""
        return self.slow.visible

    @property
    def by_difference(self) -> bool:
        """Whether changes come as one number per weight, not as the terms of outer products."""
        return self.section.update == "difference"

    @property
    def random_trains(self) -> bool:
        """Whether the numbers of pulses are those of coincidences of random trains."""
        return not self.by_difference and self.section.pulse_trains == "stochastic"

    def to(self, device: torch.device) -> None:
        """Move to ``device``."""
        self.slow.to(device)
        if self.fast is not None and self.rest is not None:
            self.fast.to(device)
            self.rest = self.rest.to(device)
        self.waiting = self.waiting.to(device)
        self.counts = PulseCounts(self.counts.up.to(device), self.counts.down.to(device))

    def write_difference(self, change: Tensor, random: torch.Generator) -> None:
        """Write ``change`` (rows, columns), in units of the device, as whole pulses of ``dw_min``.

        Raises :class:`DivergenceError` where that is many times what takes a device through its whole range.
        """
        self._begin()
        wanted = change / self.model.dw_min
        if not float(change.abs().max()) < MOST_RANGES * self.range:
            raise DivergenceError(
                f"diverged: a device is to change by more than {MOST_RANGES} times its range; {LOWER}"
            )
        if self.section.accumulator == "digital":
            self.waiting += wanted
            pulses = self.waiting.trunc()
            self.waiting -= pulses
        else:
            pulses = rounded(wanted, random)
        self._apply(self.slow, pulses, random)
        self.slow.relax(1, random)

    def write_terms(self, terms: list[Term], rate: Tensor, random: torch.Generator) -> None:
        """Write ``rate · Σ sign · preᵀ routed``, in units of the device: sample after sample, term after term."""
        self._begin()
        array = self.slow if self.fast is None else self.fast
        samples, each = len(terms[0].pre), self.lines.positions * (self.lines.rows + self.lines.columns)
        at_once = max(1, TRAINS_AT_ONCE // (len(terms) * each))
        for first in range(0, samples, at_once):
            some = range(first, min(first + at_once, samples))
            trains = [self._trains(term, sample, rate) for sample in some for term in terms]
            for train, extent in zip(trains, extents(trains), strict=True):
                if extent.slots > 0:
                    up, down = coincidences(train, self.section, random, extent)
                    self._apply(array, up, random)
                    if extent.signed:
                        self._apply(array, -down, random)
        for one in self._arrays():
            one.relax(1, random)
        self.batches += 1
        if self.fast is not None and self.batches % self.section.transfer_every == 0:
            self._transfer(random)

    def _trains(self, term: Term, sample: int, rate: Tensor) -> Trains:
        """Trains of all positions of one sample of ``term``."""
        rows = self.lines.on_rows(term.pre[sample : sample + 1])
        columns = self.lines.on_columns(term.routed[sample : sample + 1])
        return make_trains(rows, columns * term.sign, rate, self.model.dw_min, self.section)

    def _transfer(self, random: torch.Generator) -> None:
        """Pulses of the slow array in proportion to the fast one, read from its symmetry point, rounded at random."""
        assert self.fast is not None and self.rest is not None
        wanted = self.section.transfer_rate * (self.fast.visible - self.rest) / self.model.dw_min
        self._apply(self.slow, rounded(wanted, random), random)

    def _apply(self, array: DeviceArray, pulses: Tensor, random: torch.Generator) -> None:
        array.pulse(pulses, random)
        self.counts.up += pulses.clamp(min=0)
        self.counts.down -= pulses.clamp(max=0)

    def _begin(self) -> None:
        self.counts.up.zero_()
        self.counts.down.zero_()

    def _arrays(self) -> Iterator[DeviceArray]:
        yield self.slow
        if self.fast is not None:
            yield self.fast

    def state_dict(self) -> dict[str, Any]:
        """Hidden weights of all devices, and what waits to be written."""
        kept = {"slow": self.slow.state_dict(), "waiting": self.waiting, "batches": self.batches}
        return kept if self.fast is None else {**kept, "fast": self.fast.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.slow.load_state_dict(state["slow"])
        if self.fast is not None:
            self.fast.load_state_dict(state["fast"])
        self.waiting = state["waiting"].to(self.waiting.device)
        self.batches = int(state["batches"])
