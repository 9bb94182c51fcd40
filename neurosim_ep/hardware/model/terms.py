"""Numbers that know how they come about: equations of a bill are written with them, and so can be shown.

A :class:`Term` is a number, or one per entry, beside its formula. ``rows * slices + 2 * reads`` computes as numbers do
and keeps what it was made of.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import reduce

import numpy as np

Amount = float | np.ndarray


class Origin(StrEnum):
    """Where a number comes from.

    ``COUNTED``: counted in the recorded batches, or estimated in their place; ``CHIP``: follows from the tiles of the
    network and the arrays of the model; ``MODEL``: stands in the model file; ``FORMULA``: made of other terms;
    ``CONSTANT``: stands in the equation.
    """

    COUNTED = "counted"
    CHIP = "chip"
    MODEL = "model"
    FORMULA = "formula"
    CONSTANT = "constant"


@dataclass(frozen=True, eq=False, slots=True)
class Term:
    """``value``, a number or an array with one per entry (tile or layer).

    ``name``: what it is called in formulas, of a number of the model its dotted key; ``about``: what is to be known
    besides; ``sign`` and ``parts``: the operation that made it, and of what. A term with a name and parts is a formula
    that has been given a name.
    """

    value: Amount
    name: str = ""
    origin: Origin = Origin.FORMULA
    unit: str = ""
    about: str = ""
    sign: str = ""
    parts: tuple[Term, ...] = ()

    __array_ufunc__ = None  # numpy leaves the arithmetic of arrays with terms to the terms

    def __add__(self, other: Term | Amount) -> Term:
        return _joined(operator.add, "+", self, other)

    def __mul__(self, other: Term | Amount) -> Term:
        if isinstance(other, int) and other == 1:
            return self
        return _joined(operator.mul, "x", self, other)

    def __rmul__(self, other: Amount) -> Term:
        return _joined(operator.mul, "x", lift(other), self)

    def __sub__(self, other: Term | Amount) -> Term:
        return _joined(operator.sub, "-", self, other)

    def __truediv__(self, other: Term | Amount) -> Term:
        return _joined(operator.truediv, "/", self, other)

    def __pow__(self, exponent: int | Term) -> Term:
        return _joined(operator.pow, "^", self, exponent)

    def named(self, name: str, unit: str = "") -> Term:
        """The same under a name of its own, by which formulas call it."""
        return replace(self, name=name, unit=unit, about="", origin=Origin.FORMULA)

    @property
    def formula(self) -> str:
        """How it is made of its parts, by their names; of an atom its name."""
        if not self.sign:
            return ", ".join(part.words for part in self.parts) or self.name
        rank = _RANK.index(self.sign)
        return f" {self.sign} ".join(_bracketed(part, rank, later=number > 0) for number, part in enumerate(self.parts))

    @property
    def words(self) -> str:
        """Its name, or else its formula."""
        return self.name or self.formula

    def atoms(self) -> Iterator[Term]:
        """Everything with a name that it is made of, each followed by what that is made of."""
        if self.name and self.origin is not Origin.CONSTANT:
            yield self
        for part in self.parts:
            yield from part.atoms()


_RANK = ("+", "-", "x", "/", "^")


def _bracketed(part: Term, rank: int, *, later: bool) -> str:
    if part.name or not part.sign:
        return part.words
    inner = _RANK.index(part.sign)
    loose = inner <= rank if later and _RANK[rank] == "-" else inner < rank and _RANK[rank] != "-"
    return f"({part.words})" if loose else part.words


def _joined(compute: Callable[[Amount, Amount], Amount], sign: str, one: Term, other: Term | Amount) -> Term:
    second = lift(other)
    parts = (*one.parts, second) if sign == one.sign and not one.name and sign in "+x" else (one, second)
    return Term(compute(one.value, second.value), sign=sign, parts=parts)


def lift(amount: Term | Amount) -> Term:
    """``amount`` as a term: a number stands for itself, an array has no name but "amount"."""
    if isinstance(amount, Term):
        return amount
    if isinstance(amount, np.ndarray):
        return Term(amount, "amount", Origin.COUNTED)
    return Term(amount, f"{amount:g}", Origin.CONSTANT)


def counted(name: str, value: Amount, about: str = "", unit: str = "") -> Term:
    """What was counted: sums over tiles and batches make sense of it."""
    return Term(value, name, Origin.COUNTED, unit, about)


def of_chip(name: str, value: Amount, about: str = "", unit: str = "") -> Term:
    """A size of the chip: of a tile, a layer or the whole."""
    return Term(value, name, Origin.CHIP, unit, about)


def total(terms: Iterable[Term]) -> Term:
    """The sum of ``terms``, those left out that are 0 throughout."""
    some = [term for term in terms if np.any(term.value)]
    return reduce(operator.add, some) if some else lift(0.0)
