"""A bill taken apart: for every term of it how often what acts, what that costs each time, and of what either is made.

The terms are those that the bill was computed with (:class:`~neurosim_ep.hardware.bill.action.Action`), so they add up
to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from neurosim_ep.hardware.bill.action import Action
from neurosim_ep.hardware.bill.cost import acting, priced_actions
from neurosim_ep.hardware.bill.latency import latencies_s, neuron_times_s, read_times_s, reads_take_turns, stages
from neurosim_ep.hardware.bill.network import ways_s
from neurosim_ep.hardware.chip.phases import READ_PHASES, UPDATE
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.terms import Amount, Origin, Term, lift


class Ingredient(NamedTuple):
    """A number that a term is made of, over the chosen tiles or layers: ``low`` to ``high`` where it differs among
    them, or, of counts, its sum per training sample. ``term`` says the rest.
    """

    term: Term
    low: float
    high: float


@dataclass(frozen=True)
class Explained:
    """A component in a phase: ``count`` times the energy of one, summed over the chosen entries, tiles or layers.

    ``action`` and the two with the model's numbers at either end of their intervals; per training sample of
    ``samples``.
    """

    priced: tuple[Action, ...]
    entries: np.ndarray
    samples: int

    @property
    def action(self) -> Action:
        """That of the values."""
        return self.priced[0]

    @property
    def count(self) -> float:
        """How often it acts."""
        return float(self.action.counts[self.entries].sum()) / self.samples

    @property
    def energies_J(self) -> tuple[float, float, float]:
        """Value, low and high."""
        ends = np.stack([one.energy_J[self.entries] for one in self.priced])
        value, low, high = ends[0].sum(), ends.min(0).sum(), ends.max(0).sum()
        return float(value) / self.samples, float(low) / self.samples, float(high) / self.samples

    @property
    def units(self) -> tuple[float, float, float]:
        """Energy of one at value, low and high; the mean where it differs among entries."""
        value, low, high = (float((one.energy_J[self.entries]).sum()) for one in self.priced)
        counts = [float(one.counts[self.entries].sum()) for one in self.priced]
        ends = [energy / count if count else 0.0 for energy, count in zip((value, low, high), counts, strict=True)]
        return ends[0], min(ends), max(ends)

    def ingredients(self, side: Term | Amount) -> list[Ingredient]:
        """What ``side``, the count or the unit of the action, is made of, each number once."""
        seen = {atom.words: atom for atom in lift(side).atoms()}
        return [Ingredient(atom, *self._span(atom)) for atom in seen.values()]

    def _span(self, atom: Term) -> tuple[float, float]:
        value = atom.value
        if isinstance(value, np.ndarray) and value.ndim:
            value = value[self.entries]
        if atom.origin is Origin.COUNTED:
            found = float(np.sum(value)) / self.samples
            return found, found
        return float(np.min(value)), float(np.max(value))


class Wait(NamedTuple):
    """Time of a stage of a phase per training sample, and what takes it."""

    phase: str
    stage: str
    time_s: float
    about: str


@dataclass(frozen=True)
class Explanation:
    """The chosen ``parts`` of the bill of a style, and ``total_J``, that of the whole bill, per training sample."""

    recording: Recording
    style: Style
    parts: list[Explained]
    total_J: float

    @property
    def energies_J(self) -> tuple[float, float, float]:
        """Value, low and high of all chosen parts."""
        value, low, high = (sum(ends) for ends in zip(*(part.energies_J for part in self.parts), strict=True))
        return value, low, high

    @property
    def join(self) -> str:
        """How the stages of a phase become its time: "sum", or "max" where they overlap."""
        return "max" if self.recording.chip.model.array.overlap == "pipelined" else "sum"

    def waits(self) -> Iterator[Wait]:
        """Stages of all phases. By :attr:`join` they make the time of a phase, and phases follow one another."""
        recording, style, samples = self.recording, self.style, self.recording.counts.samples
        for phase in READ_PHASES:
            if phase in recording.counts.presentations:
                about = _about_stages(recording, phase, style)
                for name, seconds in stages(recording, phase, style)._asdict().items():
                    yield Wait(phase, name.removesuffix("_s"), seconds / samples, about[name])
        update_s = latencies_s(recording, style)[UPDATE]
        yield Wait(UPDATE, "write", update_s / samples, "the slowest tile: additions into its accumulator, then pulses")


def explain(
    recording: Recording,
    style: Style,
    *,
    component: str | None = None,
    layer: int | None = None,
    phase: str | None = None,
) -> Explanation:
    """The bill of ``recording`` in ``style``, or the part of it of a ``component``, ``layer`` (readout: the number
    after that of the last) and ``phase``. Without any of these, parts add up to the bill.
    """
    samples = recording.counts.samples
    parts, total = [], 0.0
    for priced in priced_actions(recording, style):
        action = priced[0]
        total += float(action.energy_J.sum())
        if component in (None, action.component.value) and phase in (None, action.phase):
            entries = _entries(recording, priced, layer)
            if len(entries):
                parts.append(Explained(priced, entries, samples))
    return Explanation(recording, style, parts, total / samples)


def _entries(recording: Recording, priced: tuple[Action, ...], layer: int | None) -> np.ndarray:
    """Tiles or layers in which an action takes place, of ``layer`` alone where it is given."""
    entries = acting(priced)
    if layer is None:
        return entries
    return entries[(recording.chip.plan.layer_of_tile[entries] if priced[0].per_tile else entries) == layer]


def _about_stages(recording: Recording, phase: str, style: Style) -> dict[str, str]:
    """What takes the time of each stage."""
    plan = recording.chip.plan
    about = {
        "projection_s": "multiply-adds of the slowest readout or signal",
        "read_s": "time constants of the layers that the signal crosses, or the given time",
        "neuron_s": "conversion of the states of the slowest layer",
    }
    if style is Style.SETTLING:
        ends = recording.counts.samples * (phase != "free")
    else:
        ends = int(recording.counts.presentations[phase].max(1).sum())
        slowest = int(read_times_s(recording, phase, style).sum(0).argmax())
        about["read_s"] = (
            f"in every tick the busiest core, its tiles in turn, most of all core {slowest}"
            if reads_take_turns(recording)
            else f"in every tick the slowest tile, most of all of {plan.geometries[slowest].name}"
        )
        times_s = neuron_times_s(recording, phase)
        about["neuron_s"] = (
            f"in every tick the busiest core, its layers in turn, most of all core {int(times_s.sum(1).argmax())}"
            if recording.chip.model.shared("neurons")
            else f"in every tick the slowest layer, {plan.layers[int(times_s.max(0).argmax())].name}"
        )
    ways = ways_s(recording, phase, style, ends)
    busiest = max(("mesh_s", "core_s", "cluster_s"), key=lambda way: getattr(ways, way)).removesuffix("_s")
    about["network_s"] = (
        f"images and targets from outside, the busiest {'link of the mesh' if busiest == 'mesh' else busiest}, and in "
        "every tick the way across the mesh"
    )
    return about
