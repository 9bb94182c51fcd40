"""Drivers and converters on the lines of an array: how values enter a read, and what becomes of its results.

A driver of b bits puts one of 2^b values from 0 to its range on a line. Where values have a sign it is one of 2^b - 1
around 0, or, on lines that carry none, one of 2^b in each of two passes, positive values and then negative ones, whose
results are converted each and subtracted. A converter of b bits tells 2^b - 1 values around 0 apart, range /
(2^(b-1) - 1) from one to the next. Both are the same whether rows are driven and columns read, or the other way round.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from neurosim_ep.scenario.schema import ConvertersSection

SMALLEST = 1e-12  # range of results that are all 0
QUANTILE_OF = 2**16  # results of a read, evenly spaced, that a calibrated range is found from


def steps_of(bits: int) -> int:
    """Steps of a converter of ``bits`` on each side of 0."""
    return max(2 ** (bits - 1) - 1, 1)


def rounded(value: Tensor, random: torch.Generator | None) -> Tensor:
    """``value`` rounded in place to whole numbers: to the nearest, or up with the probability of the remainder."""
    if random is None:
        return value.round_()
    return value.add_(torch.rand(value.shape, generator=random, device=value.device)).floor_()


class Drivers:
    """Puts values on lines as ``section`` says, values of either sign (``signed``) in so many ``passes``.

    ``bound``: largest size a value can have; None where it is not known, as of images.
    """

    def __init__(
        self, section: ConvertersSection, *, signed: bool = False, bound: float | None = 1.0, passes: int = 1
    ) -> None:
        self.section, self.signed, self.bound = section, signed, bound
        self.apart = signed and passes == 2
        self.top = 0
        if section.dac_bits:
            self.top = steps_of(section.dac_bits) if signed and not self.apart else 2**section.dac_bits - 1

    def range(self, value: Tensor) -> Tensor | None:
        """Input range of each sample (B,) for ``value`` (B, *shape); None: 1 for all of them.

        It is the bound of the values, or, without one, the largest value of each sample.
        """
        if self.section.ideal:
            return None
        if self.bound is None or self.section.noise_management == "absmax":
            return value.flatten(1).abs().amax(1).clamp_(min=SMALLEST)
        return None if self.bound == 1 else value.new_full((len(value),), self.bound)

    def codes(self, value: Tensor, range_: Tensor | None, random: torch.Generator | None) -> Tensor:
        """``value`` (B, *shape) over its range, rounded to what the driver can put on a line; at most 1 in size."""
        if range_ is not None:
            value = value / range_.view(-1, *(1,) * (value.dim() - 1))
        if not self.top:
            return value
        return rounded(value * self.top, random).clamp_(-self.top if self.signed else 0, self.top).div_(self.top)

    def pulses(self, codes: Tensor) -> Iterator[tuple[Tensor, float, bool]]:
        """What is put on the lines at once, what the result of it counts for, and whether it counts for most: the
        codes, or bit after bit, lowest first; of values that are driven apart the negative ones first.
        """
        if self.apart:
            for driven, counts_for, _ in self._pulses(codes.clamp(max=0).neg_()):
                yield driven, -counts_for, False
            codes = codes.clamp(min=0)
        yield from self._pulses(codes)

    def _pulses(self, codes: Tensor) -> Iterator[tuple[Tensor, float, bool]]:
        """Those of one pass."""
        if self.section.dac_coding == "multi_level":
            yield codes, 1.0, True
            return
        whole, sign = (codes.abs() * self.top).round_(), codes.sign()
        for place in range(bits := self.top.bit_length()):
            yield whole.remainder(2) * sign, 2**place / self.top, place == bits - 1
            whole = (whole / 2).floor_()


@dataclass
class Conversions:
    """What happened to the results of the reads in one phase and direction while they were counted.

    ``done`` and ``clipped`` conversions; ``step``: sum over ``reads`` of the step of the highest slice and bit, in the
    unit of the drive.
    """

    done: int = 0
    clipped: Tensor | float = 0.0
    step: Tensor | float = 0.0
    reads: int = 0

    def __add__(self, other: Conversions) -> Conversions:
        """Those of both."""
        return Conversions(
            self.done + other.done, self.clipped + other.clipped, self.step + other.step, self.reads + other.reads
        )


@dataclass
class Ranges:
    """Calibrated ranges by phase and direction, one per block of lines; found while ``calibrating`` or when missing."""

    found: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    calibrating: bool = False
    _fresh: set[tuple[str, str]] = field(default_factory=set)

    def begin(self) -> None:
        """Find all ranges anew from the reads that follow."""
        self.calibrating = True
        self._fresh.clear()

    def end(self) -> None:
        """Keep the ranges as they are."""
        self.calibrating = False

    @property
    def fresh(self) -> dict[tuple[str, str], list[float]]:
        """The ranges that the last calibration has found."""
        return {key: self.found[key] for key in self._fresh}

    def widen(self, others: Sequence[Mapping[tuple[str, str], Sequence[float]]]) -> None:
        """Take the largest of the ranges that several calibrations have found."""
        for key in sorted({key for found in others for key in found}):
            each = [found[key] for found in others if key in found]
            self.found[key] = [max(of_block) for of_block in zip(*each, strict=True)]

    def of(self, key: tuple[str, str], block: int, blocks: int, results: Tensor, quantile: float) -> float:
        """Range of the ``results`` of a block, which widen it while calibrating: ``quantile`` of them lie inside."""
        if key not in self.found or (self.calibrating and key not in self._fresh):
            self.found[key] = [0.0] * blocks
            self._fresh.add(key)
        known = self.found[key]
        if self.calibrating or known[block] == 0.0:
            some = results.flatten()[:: max(1, results.numel() // QUANTILE_OF)].abs()
            inside = float(some.kthvalue(max(1, round(quantile * some.numel()))).values)
            known[block] = max(known[block], inside)  # results that are all 0 leave it to be found
        return max(known[block], SMALLEST)

    def known(self, key: tuple[str, str], block: int) -> float | None:
        """The range of a block, None while it is still to be found."""
        if self.calibrating or key not in self.found or self.found[key][block] == 0.0:
            return None
        return self.found[key][block]
