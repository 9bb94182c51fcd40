"""Programmed cells as published statistics have them: programming error, drift and read noise, all by conductance.

A cell file is TOML: ``[cell]`` name and description, ``[conductance]`` min and max the formulas were fitted for,
``[programming]``, and where they are published ``[drift]`` and ``[read]``, whose ``law`` chooses the formula. Every
number is a table ``{ value, unit, source, kind }`` with ``kind`` "measured", "model" (a published model or fit) or
"assumed" (a choice; ``source`` gives the reason). Lists are the coefficients c_0, c_1, ... of a polynomial. Formulas
are evaluated in the units of their sources, microsiemens and seconds; the interface has conductances g as shares of
``g_max_S``. Outside [min, max] of the file every statistic is held at its value at that end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Generic, Literal, Self, TypeVar

import torch
from pydantic import Field, ValidationError, model_validator
from pydantic_core import ErrorDetails
from torch import Tensor

from neurosim_ep import resources
from neurosim_ep.errors import HardwareModelError, UsageError, listed
from neurosim_ep.strict import NOT_EMPTY, Strict, broken_rule

SMALLEST_SHARE = 1e-7
"""Of g_max, in logarithms."""
SIEMENS_PER_UNIT = 1e-6

Text = Annotated[str, Field(pattern=NOT_EMPTY)]
NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Coefficients = Annotated[list[float], Field(min_length=1)]
Pair = Annotated[list[float], Field(min_length=2, max_length=2)]

Value = TypeVar("Value")
Unit = TypeVar("Unit")


class _Sourced(Strict, Generic[Value, Unit]):
    """A number or list of numbers, with where it comes from."""

    source: Text
    kind: Literal["measured", "model", "assumed"]
    value: Value
    unit: Unit


_Number = _Sourced[NotNegative, Literal["1"]]
_Conductance = _Sourced[NotNegative, Literal["uS"]]
_Time = _Sourced[Positive, Literal["s"]]
_Times = _Sourced[Annotated[list[Positive], Field(min_length=1)], Literal["s"]]
_Polynomial = _Sourced[Coefficients, Literal["uS"]]
_Polynomials = _Sourced[Annotated[list[Coefficients], Field(min_length=1)], Literal["uS"]]
_Line = _Sourced[Pair, Literal["1"]]  # intercept and slope
_ConductanceLine = _Sourced[Pair, Literal["uS"]]


class _Range(_Sourced[Pair, Literal["1"]]):
    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not 0 <= self.value[0] <= self.value[1]:
            raise ValueError(f"value = {self.value}: must be lower and upper end, both at least 0")
        return self


class _Cell(Strict):
    name: Text
    description: Text


class _Limits(Strict):
    min: _Conductance
    max: _Conductance

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.min.value < self.max.value:
            raise ValueError(f"min ({self.min.value:g} uS) must be below max ({self.max.value:g} uS)")
        return self


class _Programming(Strict):
    """Std in uS, a polynomial of ``variable``."""

    variable: Literal["g/g_max", "g/uS"]
    std: _Polynomial


class _PowerDrift(Strict):
    """g(t) = g (t / start)^-nu, nu = abs(mean + std N); mean and std lines of ln(g / g_max), kept in their ranges."""

    law: Literal["power"]
    start: _Time
    mean: _Line
    mean_range: _Range
    std: _Line
    std_range: _Range


class _LogarithmicDrift(Strict):
    """g(t) = g + mean + std N with one N per device; mean and std in uS, lines of ln(t / 1 s), from ``start`` on."""

    law: Literal["logarithmic"]
    start: _Time
    mean: _ConductanceLine
    std: _ConductanceLine


class _Spread(Strict):
    """At each of ``times`` the std in uS about the target, a polynomial of the variable of the programming error, which
    it includes and which holds at ``start``. No other time is known.
    """

    law: Literal["spread"]
    start: _Time
    times: _Times
    std: _Polynomials

    @model_validator(mode="after")
    def _one_polynomial_per_time(self) -> Self:
        times = [self.start.value, *self.times.value]
        if sorted(set(times)) != times:
            raise ValueError("times must grow, and all be after start")
        if len(self.std.value) != len(self.times.value):
            raise ValueError(f"std has {len(self.std.value)} polynomials, times has {len(self.times.value)} times")
        return self


class _ShareRead(Strict):
    """Std g Q sqrt(ln((t + read_time) / (2 read_time))), Q = min(scale / (g / g_max)^exponent, largest)."""

    law: Literal["share"]
    scale: _Number
    exponent: _Number
    largest: _Number
    read_time: _Time


class _LogarithmicRead(Strict):
    """Std scale log10(g / uS) sqrt(ln((t + read_time) / (2 read_time))) in uS, at least 0."""

    law: Literal["log10"]
    scale: _Conductance
    read_time: _Time


class _CellFile(Strict):
    cell: _Cell
    conductance: _Limits
    programming: _Programming
    drift: Annotated[_PowerDrift | _LogarithmicDrift | _Spread, Field(discriminator="law")] | None = None
    read: Annotated[_ShareRead | _LogarithmicRead, Field(discriminator="law")] | None = None


class CellStatistics:
    """Statistics of the cells of one file. All g are shares of ``g_max_S`` of any shape, dtype and device.

    ``random`` is a generator on the device of g. ``g_min_S``, ``g_max_S``: siemens the formulas were fitted for.
    """

    def __init__(self, file: _CellFile) -> None:
        self._file = file
        self._max_uS = file.conductance.max.value
        self._lowest = file.conductance.min.value / self._max_uS
        self.name, self.description = file.cell.name, file.cell.description
        self.g_max_S = self._max_uS * SIEMENS_PER_UNIT
        self.g_min_S = file.conductance.min.value * SIEMENS_PER_UNIT

    def programming_std(self, g: Tensor) -> Tensor:
        """Std of the programming error of cells with target g, as a share of g_max."""
        return self._std(self._file.programming.std.value, g)

    def programmed(self, g: Tensor, random: torch.Generator) -> Tensor:
        """Conductances of cells with targets g after programming, at least 0."""
        return (g + self.programming_std(g) * _normal(g, random)).clamp_(min=0)

    def drift_exponents(self, g: Tensor, random: torch.Generator) -> Tensor:
        """What each programmed cell draws once for :meth:`drifted`.

        That is the exponent nu of a power law. Where the file describes a relaxation that is no power law, it is the
        standard normal number that places the cell within its spread; without drift in the file it is 0.
        """
        drift = self._file.drift
        if drift is None:
            return torch.zeros_like(g)
        number = _normal(g, random)
        if not isinstance(drift, _PowerDrift):
            return number
        log_share = self._held(g).clamp(min=SMALLEST_SHARE).log()
        mean = _polynomial(drift.mean.value, log_share).clamp(*drift.mean_range.value)
        std = _polynomial(drift.std.value, log_share).clamp(*drift.std_range.value)
        return (mean + std * number).abs()

    def drifted(self, g: Tensor, exponent: Tensor, seconds: float) -> Tensor:
        """Conductances ``seconds`` after programming of cells that were programmed to g, at least 0.

        ``exponent``: what :meth:`drift_exponents` drew. Cells of a file without drift stay. Before the time at which
        the published drift starts they stay too, but where only some times are published, any other raises
        :class:`UsageError`.
        """
        _check_time(seconds)
        drift = self._file.drift
        if isinstance(drift, _Spread):
            return (g + exponent * self._added_std(drift, g, seconds)).clamp_(min=0)
        if drift is None or seconds < drift.start.value:
            return g.clone()
        if isinstance(drift, _PowerDrift):
            return g * (seconds / drift.start.value) ** -exponent
        log_time = torch.tensor(math.log(seconds), dtype=g.dtype, device=g.device)
        mean, std = (_polynomial(line.value, log_time) / self._max_uS for line in (drift.mean, drift.std))
        return (g + mean + exponent * std.clamp(min=0)).clamp_(min=0)

    def read_sigma(self, g: Tensor, seconds: float) -> Tensor:
        """Std of one read of cells of conductance g, ``seconds`` after programming, as a share of g_max.

        0 where the file describes no read noise.
        """
        _check_time(seconds)
        read = self._file.read
        if read is None:
            return torch.zeros_like(g)
        growth = (seconds + read.read_time.value) / (2 * read.read_time.value)
        root = math.sqrt(math.log(max(growth, 1.0)))
        held = self._held(g)
        if isinstance(read, _ShareRead):
            quotient = read.scale.value / held.clamp(min=SMALLEST_SHARE) ** read.exponent.value
            return g * quotient.clamp(max=read.largest.value) * root
        above_one = (held * self._max_uS).clamp(min=1)
        return above_one.log10() * (read.scale.value * root / self._max_uS)

    def _added_std(self, drift: _Spread, g: Tensor, seconds: float) -> Tensor:
        """Std that is added to the programming error up to a published time, as a share of g_max.

        Both are published of the target; here they are taken at the programmed g.
        """
        if seconds == drift.start.value:
            return torch.zeros_like(g)
        if seconds not in drift.times.value:
            known = ", ".join(f"{time:g}" for time in (drift.start.value, *drift.times.value))
            raise UsageError(f"seconds = {seconds:g}: {self.name} is published only at {known} s; take one of those")
        total = self._std(drift.std.value[drift.times.value.index(seconds)], g)
        return (total**2 - self.programming_std(g) ** 2).clamp_(min=0).sqrt_()

    def _std(self, coefficients: Sequence[float], g: Tensor) -> Tensor:
        in_uS = self._file.programming.variable == "g/uS"
        variable = self._held(g) * (self._max_uS if in_uS else 1.0)
        return _polynomial(coefficients, variable).clamp_(min=0) / self._max_uS

    def _held(self, g: Tensor) -> Tensor:
        """g within the range of the fits."""
        return g.clamp(self._lowest, 1.0)


def load_cells(name: str) -> CellStatistics:
    """The statistics of a shipped name ("pcm", "rram_wan", ...) or of a cell file.

    Raises :class:`HardwareModelError` with every problem found.
    """
    path, _ = resources.resolve(name, "hwmodels/cells", HardwareModelError)
    document = resources.read_toml(path, HardwareModelError)
    try:
        return CellStatistics(_CellFile.model_validate(document))
    except ValidationError as error:
        problems = [_explain(item) for item in error.errors()]
    raise HardwareModelError(listed(str(path), problems))


def _explain(item: ErrorDetails) -> str:
    """One problem of a cell file: key, value and rule."""
    place, kind = item["loc"], item["type"]
    if place[0] in ("drift", "read"):
        place = place[:1] + place[2:]  # without the name of the law
    key = ".".join(map(str, place))
    if kind == "missing":
        return f"{key}: is missing; every number needs value, unit, source and kind"
    if kind == "union_tag_not_found":
        return f"{key}.law: is missing; it chooses the formula"
    if kind == "extra_forbidden":
        return f"{key}: unknown key"
    if kind == "union_tag_invalid":
        return broken_rule(f"{key}.law", {**item, "input": item["ctx"]["tag"]})
    return broken_rule(key, item, 'value = {value}, unit = "...", source = "...", kind = "assumed"')


def _check_time(seconds: float) -> None:
    if not (math.isfinite(seconds) and seconds >= 0):
        raise UsageError(f"seconds = {seconds}: the time since programming must be finite and at least 0")


def _polynomial(coefficients: Sequence[float], variable: Tensor) -> Tensor:
    """Sum of c_k variable^k."""
    total = torch.full_like(variable, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * variable + coefficient
    return total


def _normal(g: Tensor, random: torch.Generator) -> Tensor:
    """Standard normal numbers of the shape of g."""
    return torch.randn(g.shape, generator=random, dtype=g.dtype, device=g.device)
