"""One line of a bill before it is priced: how often a component acts, and what it costs each time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from neurosim_ep.hardware.chip.components import Component, Follows, Part
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.terms import Amount, Term, lift
from neurosim_ep.registry import ACTIONS

if TYPE_CHECKING:
    from neurosim_ep.hardware.chip.recording import Recording


@dataclass(frozen=True)
class Action:
    """A component acts in a phase: ``count`` times in each tile if ``per_tile``, else in each layer and the readout,
    at the energy ``unit`` each time [J, or W where seconds are counted].

    Either is a :class:`~neurosim_ep.hardware.model.terms.Term`, of which `explain` shows the formula, or plain numbers;
    ``unit``: one number, or one per entry.
    """

    phase: str
    component: Component
    count: Term | np.ndarray
    unit: Term | float | np.ndarray
    per_tile: bool

    @property
    def counts(self) -> np.ndarray:
        """Numbers of :attr:`count`, [tiles] if ``per_tile``, else [layers + 1], readout last."""
        found = lift(self.count).value
        assert isinstance(found, np.ndarray)
        return found

    @property
    def unit_energy_J(self) -> Amount:
        """Numbers of :attr:`unit`."""
        return lift(self.unit).value

    @property
    def energy_J(self) -> np.ndarray:
        """Energy of each entry, in the shape of :attr:`counts`."""
        return self.counts * self.unit_energy_J


@dataclass(frozen=True)
class Work:
    """A kind of actions: those ``in_phase`` of every read phase, and those ``afterwards``, of the update and of all
    phases together, in the ``styles`` that have it. ``components``: those of its own, beside the members of
    :class:`Part`.
    """

    name: str
    sentence: str
    in_phase: Callable[[Recording, str, Style], Iterable[Action]] = lambda recording, phase, style: ()
    afterwards: Callable[[Recording, Style], Iterable[Action]] = lambda recording, style: ()
    styles: tuple[Style, ...] = tuple(Style)
    components: Iterable[Component] = ()


def following(what: Follows) -> list[str]:
    """Names of the components whose energy follows ``what``."""
    return [component.value for component in known_components() if what in component.follows]


def known_components() -> list[Component]:
    """All that lines of a bill are spent on."""
    return [*Part, *(component for work in ACTIONS.values() for component in work.components)]
