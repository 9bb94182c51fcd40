"""An explanation as tables, blocks of text and JSON, with what the model file says of every number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from textwrap import shorten
from typing import Any

from neurosim_ep.hardware.bill.explain import Explained, Explanation, Ingredient, Wait
from neurosim_ep.hardware.model.curves import Curve
from neurosim_ep.hardware.model.file import ModelFile, numbers
from neurosim_ep.hardware.model.quantities import Quantity
from neurosim_ep.hardware.model.tables import Row, entry_row, number_entry
from neurosim_ep.hardware.model.terms import Origin, Term, lift
from neurosim_ep.units import format_si

PREFIXED = {"J", "J/bit", "W", "s", "F", "V", "S", "J/bit/m", "W/bit", "m"}
"""Units that are printed with a prefix."""
WIDEST = 110
"""Letters of a formula in a table."""


@dataclass(frozen=True)
class Told:
    """``found`` in words; ``file`` is the model of its chip, ``counts`` says where the counts come from."""

    found: Explanation
    file: ModelFile
    counts: str

    @cached_property
    def _given(self) -> dict[str, Row]:
        return {key: entry_row(number_entry(self.file, key, number)) for key, number in self._numbers.items()}

    @cached_property
    def _numbers(self) -> dict[str, Quantity | Curve]:
        return dict(numbers(self.file.model))

    def component_rows(self) -> list[dict[str, str]]:
        """One row per component, the dearest first, and their sum."""
        by_name: dict[str, list[Explained]] = {}
        for part in self.found.parts:
            by_name.setdefault(part.action.component.value, []).append(part)
        rows = [self._row(name, parts) for name, parts in by_name.items()]
        ordered = [row for _, row in sorted(rows, key=lambda row: -row[0])]
        return [*ordered, self._row("sum", self.found.parts, formula="")[1]]

    def _row(self, name: str, parts: list[Explained], formula: str | None = None) -> tuple[float, dict[str, str]]:
        value, low, high = (sum(ends) for ends in zip(*(part.energies_J for part in parts), strict=True))
        if formula is None:
            largest = max(parts, key=lambda part: part.energies_J[0])
            others = len({_formula(part) for part in parts}) - 1
            formula = shorten(_formula(largest), WIDEST, placeholder=" ...") + (
                f" (and {others} more)" if others else ""
            )
        return value, {
            "component": name, "energy": format_si(value, "J"),
            "interval": f"{format_si(low, 'J')} - {format_si(high, 'J')}", "share": f"{self._share(value):.2%}",
            "is": formula,
        }  # fmt: skip

    def _share(self, energy_J: float) -> float:
        """Of the whole bill."""
        return energy_J / self.found.total_J if self.found.total_J else 0.0

    def time_rows(self) -> list[dict[str, str]]:
        """One row per stage and phase, and their sum, or that of the longest ones."""
        waits = list(self.found.waits())
        total_s = sum(self._phase_times(waits).values())
        rows = [
            {
                "phase": one.phase, "stage": one.stage, "time": format_si(one.time_s, "s"),
                "share": f"{one.time_s / total_s if total_s else 0:.2%}", "is": one.about,
            }
            for one in waits
        ]  # fmt: skip
        meaning = "all of them, one after the other"
        if self.found.join == "max":
            meaning = "the longest stage of each phase, as stages overlap, and the update"
        return [*rows, {"phase": "all", "stage": "", "time": format_si(total_s, "s"), "share": "", "is": meaning}]

    def _phase_times(self, waits: list[Wait]) -> dict[str, float]:
        join = max if self.found.join == "max" else sum
        phases = dict.fromkeys(one.phase for one in waits)
        return {phase: join([one.time_s for one in waits if one.phase == phase]) for phase in phases}

    def blocks(self) -> Iterator[str]:
        """Every part of the bill with all that it is made of."""
        for part in self.found.parts:
            action, (value, low, high) = part.action, part.energies_J
            places = "tiles" if action.per_tile else "layers"
            head = (
                f"{action.component.value}, {action.phase}: {_interval(value, low, high, 'J')}, "
                f"{self._share(value):.2%} of the bill, in {len(part.entries)} {places}\n  {action.component.sentence}"
            )
            timed = _timed(action.unit)
            yield "\n".join(
                [
                    head,
                    *self._side("count", f"{part.count:,.6g}{' s' if timed else ''}", part, lift(action.count)),
                    *self._side("each", _interval(*part.units, "W" if timed else "J"), part, lift(action.unit)),
                ]
            )

    def _side(self, title: str, amount: str, part: Explained, term: Term) -> Iterator[str]:
        made = "" if term.words == amount else f" = {term.words}"
        yield f"  {title}: {amount}{made}"
        for one in part.ingredients(term):
            where = self._where(one.term)
            amount = _said(one.low, one.high, one.term.unit)
            yield f"    {one.term.words} = {amount}" + (f"; {where}" if where else "")

    def _where(self, term: Term) -> str:
        about = f"{term.about}" if term.about else ""
        if term.origin is Origin.MODEL and term.name in self._given:
            row, number = self._given[term.name], self._numbers[term.name]
            ends = ""
            if isinstance(number, Quantity) and number.at("low") < number.at("high"):
                ends = f"({_said(number.at('low'), number.at('high'), term.unit)})"
            given = row["given"] and f"given {row['given']}"
            words = [about, ends, given, f"{row['file']}: {row['kind']}, {row['source']}"]
            return "; ".join(word for word in words if word)
        if term.origin is Origin.COUNTED:
            return "; ".join(word for word in (self.counts, about) if word)
        if term.origin is Origin.FORMULA and term.parts:
            return f"{term.formula}" + (f"; {about}" if about else "")
        return about or "tiles of the network"

    def document(self) -> dict[str, Any]:
        """All of it for programs, per training sample."""
        waits = list(self.found.waits())
        value, low, high = self.found.energies_J if self.found.parts else (0.0, 0.0, 0.0)
        return {
            "hardware": self.file.model.model.name, "style": self.found.style.value, "counts": self.counts,
            "samples": self.found.recording.counts.samples, "total_J": self.found.total_J,
            "energy_J": value, "energy_low_J": low, "energy_high_J": high,
            "parts": [self._part(part) for part in self.found.parts],
            "time_s": sum(self._phase_times(waits).values()), "stages_joined_by": self.found.join,
            "stages": [one._asdict() for one in waits],
        }  # fmt: skip

    def _part(self, part: Explained) -> dict[str, Any]:
        (value, low, high), action = part.energies_J, part.action
        return {
            "component": action.component.value, "phase": action.phase, "per": "tile" if action.per_tile else "layer",
            "places": part.entries.tolist(), "counted": action.component.sentence, "count": part.count,
            "count_is": lift(action.count).words, "unit": "W" if _timed(action.unit) else "J",
            "each": part.units[0], "each_is": lift(action.unit).words, "energy_J": value, "energy_low_J": low,
            "energy_high_J": high, "share": self._share(value),
            "numbers": [
                self._number(one) for side in (action.count, action.unit) for one in part.ingredients(side)
            ],
        }  # fmt: skip

    def _number(self, one: Ingredient) -> dict[str, Any]:
        term = one.term
        found: dict[str, Any] = {
            "name": term.words, "from": term.origin.value, "low": one.low, "high": one.high, "unit": term.unit,
            "about": term.about,
        }  # fmt: skip
        if term.origin is Origin.MODEL:
            found["model"] = self._given.get(term.name, {})
        if term.origin is Origin.FORMULA:
            found["is"] = term.formula
        return found


def _formula(part: Explained) -> str:
    count, unit = (lift(side).words for side in (part.action.count, part.action.unit))
    return f"({count}) x ({unit})" if " " in unit else f"({count}) x {unit}"


def _timed(unit: object) -> bool:
    """Whether seconds are counted, at a power."""
    return any(atom.unit.startswith("W") for atom in lift(unit).atoms())  # type: ignore[arg-type]


def _interval(value: float, low: float, high: float, unit: str) -> str:
    ends = f" ({format_si(low, unit)} - {format_si(high, unit)})" if low < high else ""
    return f"{format_si(value, unit, 4)}{ends}"


def _said(low: float, high: float, unit: str) -> str:
    def say(number: float) -> str:
        if unit in PREFIXED:
            return format_si(number, unit, 4)
        end = f" {unit}" if unit not in ("", "1") else ""
        return (f"{number:,.0f}" if number == round(number) and abs(number) < 1e12 else f"{number:,.4g}") + end

    return say(low) if low == high else f"{say(low)} to {say(high)}"
