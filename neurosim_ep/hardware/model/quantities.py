"""Numbers of a hardware model: each with its unit, where it comes from, and how far it is to be trusted.

A number is a TOML table ``{ value, unit, source, kind, node_nm, low, high }``: ``kind`` is "measured" (on silicon),
"model" (published model or arithmetic on published numbers) or "assumed" (a choice; ``source`` gives the reason);
``node_nm`` is the technology node the number was given for; ``low`` and ``high`` enclose it where it is uncertain
(left out: both are the value). Units are SI, without prefixes.
"""

from __future__ import annotations

from typing import Annotated, Generic, Literal, NamedTuple, Self, TypeVar, get_args

from pydantic import Field, model_validator

from neurosim_ep.strict import NOT_EMPTY, Strict

Text = Annotated[str, Field(pattern=NOT_EMPTY)]
Unit = TypeVar("Unit", bound=str)
Bound = Literal["value", "low", "high"]
LARGEST = 1e15
"""Of all numbers: beyond any of them, and products of a few are still finite."""
BOUNDS: tuple[Bound, ...] = ("value", "low", "high")


class Key(NamedTuple):
    """What a key of a section means, and the ``lines`` it enters: components of the bill, or "time", "area", "memory",
    "static power", "wear". Stands in the annotation of the key, whose type tells unit and range.
    """

    meaning: str
    lines: tuple[str, ...] = ()


def key(meaning: str, *lines: str) -> Key:
    """See :class:`Key`."""
    return Key(meaning, lines)


class Quantity(Strict):
    """A number and where it comes from."""

    value: Annotated[float, Field(ge=0, le=LARGEST)]
    unit: str
    source: Text
    kind: Literal["measured", "model", "assumed"]
    node_nm: Annotated[float, Field(gt=0)]
    low: Annotated[float, Field(ge=0, le=LARGEST)] | None = None
    high: Annotated[float, Field(ge=0, le=LARGEST)] | None = None

    @model_validator(mode="after")
    def _bounds_enclose(self) -> Self:
        low, high = self.at("low"), self.at("high")
        if not low <= self.value <= high:
            raise ValueError(f"value ({self.value:g}) must lie between low ({low:g}) and high ({high:g})")
        return self

    @classmethod
    def default(cls, value: float, reason: str) -> Self:
        """The number of a key that a model file leaves out."""
        unit = get_args(cls.model_fields["unit"].annotation)[0]
        return cls(value=value, unit=unit, source=f"default: {reason}", kind="assumed", node_nm=32)

    def at(self, bound: Bound) -> float:
        """The number itself, or the end of its interval."""
        found: float | None = getattr(self, bound)
        return self.value if found is None else found

    def times(self, factor: float, node_nm: float) -> Self:
        """The number and its interval multiplied by ``factor``, as one for ``node_nm``."""
        changes: dict[str, float] = {
            bound: end * factor for bound in BOUNDS if (end := getattr(self, bound)) is not None
        }
        return self.model_copy(update=changes | {"node_nm": node_nm})

    def fixed(self, bound: Bound) -> Self:
        """The number at the end of its interval that makes costs ``low`` or ``high``, without an interval."""
        return self.model_copy(update={"value": self.at(bound), "low": None, "high": None})


class QuantityIn(Quantity, Generic[Unit]):
    """A number whose unit is that of its type."""

    unit: Unit


Factor = QuantityIn[Literal["1"]]
Volt = QuantityIn[Literal["V"]]
Siemens = QuantityIn[Literal["S"]]
Ohm = QuantityIn[Literal["ohm"]]
Second = QuantityIn[Literal["s"]]
Metre = QuantityIn[Literal["m"]]
SquareMetre = QuantityIn[Literal["m^2"]]
SquareMetrePerBit = QuantityIn[Literal["m^2/bit"]]
Farad = QuantityIn[Literal["F"]]
FaradPerMetre = QuantityIn[Literal["F/m"]]
Joule = QuantityIn[Literal["J"]]
JoulePerBit = QuantityIn[Literal["J/bit"]]
JoulePerBitMetre = QuantityIn[Literal["J/bit/m"]]
Watt = QuantityIn[Literal["W"]]
WattPerBit = QuantityIn[Literal["W/bit"]]
WattPerSquareMetre = QuantityIn[Literal["W/m^2"]]
CYCLE = Second.default(1e-9, "one cycle of a 1 GHz clock")


class Fraction(Factor):
    """A share between 0 and 1."""

    value: Annotated[float, Field(ge=0, le=1)]
    high: Annotated[float, Field(ge=0, le=1)] | None = None


class Exact(QuantityIn[Unit]):
    """A number without an interval."""

    low: None = None
    high: None = None


class Coefficient(Exact[Literal["1"]]):
    """A number of a formula; formulas are given as a whole, so it has no interval of its own."""


class Number(Exact[Literal["1"]]):
    """A whole number of things, at least one; a choice of design, which has no interval."""

    value: Annotated[int, Field(ge=1)]


class Bits(Exact[Literal["bit"]]):
    """A whole number of bits of a design, possibly none."""

    value: Annotated[int, Field(ge=0)]


class Merit(QuantityIn[Unit]):
    """A number that is the better the higher it is: its ``high`` makes costs low."""

    def fixed(self, bound: Bound) -> Self:
        """See :meth:`Quantity.fixed`."""
        opposite: dict[Bound, Bound] = {"low": "high", "high": "low", "value": "value"}
        return super().fixed(opposite[bound])


FigureOfMerit = Merit[Literal["dB"]]
BitPerSecond = Merit[Literal["bit/s"]]
