"""Where numbers stand on an axis, and the ticks on it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from neurosim_ep.report.markup import show

TICKS = 5
DECADE = 10.0
NARROW = 6.0
"""Ends of a log scale that are closer than this have ticks as on a linear one."""


@dataclass(frozen=True)
class Scale:
    """From numbers ``low`` to ``high`` to places ``start`` to ``end`` of a picture; ``log``: by their ratios."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False
    unit: str = ""
    whole: bool = False

    @classmethod
    def over(
        cls,
        values: Iterable[float],
        start: float,
        end: float,
        *,
        unit: str = "",
        log: bool = False,
        zero: bool = False,
        whole: bool = False,
    ) -> Scale:
        """A scale that holds all finite ``values``, with ``zero`` 0 as well; of a ``log`` scale the positive ones."""
        kept = [value for value in values if math.isfinite(value) and (value > 0 or not log)] or [1.0 if log else 0.0]
        low, high = min(kept), max(kept)
        if log:
            margin = max((high / low) ** 0.04, 1.1)
            low, high = low / margin, high * margin
        else:
            low, high = (min(low, 0.0), max(high, 0.0)) if zero else (low, high)
            margin = 0.0 if whole else 0.04 * (high - low)
            if high == low:
                margin = 0.5 if whole or not high else 0.5 * abs(high)
            low, high = low - margin * (not zero or low < 0), high + margin
        return cls(low, high, start, end, log, unit, whole)

    def widened(self) -> Scale:
        """This scale; a log one whose ends are a decade apart at least, so that a level curve looks level."""
        margin = math.sqrt(max(1.0, DECADE * self.low / self.high)) if self.log else 1.0
        return replace(self, low=self.low / margin, high=self.high * margin)

    def __call__(self, value: float) -> float:
        """The place of ``value``; what a log scale cannot show lies at its low end."""
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(max(value, low))
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[tuple[float, str]]:
        """Places and labels."""
        values = self._log_ticks() if self.log and self.high >= NARROW * self.low else self._linear_ticks()
        return [(self(value), self._label(value)) for value in values]

    def _label(self, value: float) -> str:
        if self.unit == "fraction":
            return f"{value:.3g}" if self.log else f"{value:.4%}".rstrip("%").rstrip("0").rstrip(".") + "%"
        text = show(float(f"{value:.6g}"), self.unit)
        if not self.unit and self.log and not 1e-3 <= value < 1e4:
            return f"{value:.0e}"
        head, space, unit = text.partition(" ")
        return (head.rstrip("0").rstrip(".") if "." in head else head) + space + unit

    def _linear_ticks(self) -> list[float]:
        base = 8 * 1024 ** max(0, math.floor(math.log(self.high / 8, 1024))) if self.unit == "bit" else 1
        rough = (self.high - self.low) / base / TICKS
        power = DECADE ** math.floor(math.log10(rough))
        step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
        if self.whole:
            step = max(1.0, math.ceil(step))
        step *= base
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]

    def _log_ticks(self) -> list[float]:
        low, high = math.log10(self.low), math.log10(self.high)
        factors = (1, 2, 5) if high - low < 2 else (1,)
        decades = range(math.floor(low), math.ceil(high) + 1)
        values = [factor * DECADE**decade for decade in decades for factor in factors]
        inside = [value for value in values if self.low <= value <= self.high]
        every = -(-len(inside) // (TICKS + 2))
        return inside[::every]


@dataclass(frozen=True)
class Labelled:
    """A scale with ticks of its own: values and their labels."""

    scale: Scale
    labels: Sequence[tuple[float, str]]

    @property
    def start(self) -> float:
        return self.scale.start

    @property
    def end(self) -> float:
        return self.scale.end

    def __call__(self, value: float) -> float:
        return self.scale(value)

    def ticks(self) -> list[tuple[float, str]]:
        return [(self.scale(value), label) for value, label in self.labels]


@dataclass(frozen=True)
class Names:
    """Names side by side from place ``start`` to ``end``."""

    names: Sequence[str]
    start: float
    end: float

    @property
    def step(self) -> float:
        return (self.end - self.start) / max(1, len(self.names))

    def __call__(self, number: float) -> float:
        return self.start + (number + 0.5) * self.step

    def ticks(self) -> list[tuple[float, str]]:
        return [(self(number), name) for number, name in enumerate(self.names)]
