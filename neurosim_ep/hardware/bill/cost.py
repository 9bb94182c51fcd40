"""The bill: counts times action costs, one line per (tile, layer, phase, component, style).

Every execution style is a bill of its own for the same batches; see :class:`~neurosim_ep.hardware.chip.styles.Style`.
Work that belongs to no tile has tile -1; the readout is layer N. Intervals: ``energy_low_J`` and ``energy_high_J`` are
the bill with every number of the model at the end of its interval that makes it low or high.

Each :class:`~neurosim_ep.hardware.chip.components.Component` says what is counted. In event style, layers work only in
the ticks in which an input had changed. Another package adds actions by a
:class:`~neurosim_ep.hardware.bill.action.Work`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd

from neurosim_ep.hardware.bill.action import Action, Work
from neurosim_ep.hardware.bill.digital import (
    projection_actions,
    projection_updates,
    stored_states,
    tick_actions,
)
from neurosim_ep.hardware.bill.leakage import leakage_actions
from neurosim_ep.hardware.bill.network import network_actions
from neurosim_ep.hardware.bill.reads import read_actions
from neurosim_ep.hardware.bill.settling import settling_actions
from neurosim_ep.hardware.bill.writing import writing_actions
from neurosim_ep.hardware.chip.phases import READ_PHASES
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.quantities import BOUNDS, Bound
from neurosim_ep.registry import ACTIONS
from neurosim_ep.tiles.mapping import TilePlan

ENERGIES: dict[Bound, str] = {"value": "energy_J", "low": "energy_low_J", "high": "energy_high_J"}


def bill(
    recording: Recording, styles: Sequence[Style] = tuple(Style), bounds: Sequence[Bound] = BOUNDS
) -> pd.DataFrame:
    """Energy of the recorded batches in every one of ``styles``; without its interval where ``bounds`` are the value
    alone.

    Columns: tile, layer, name, phase, component, style, count, unit_energy_J, energy_J = count x unit_energy_J,
    energy_low_J, energy_high_J, samples. Lines of zero count are left out.
    """
    plan = recording.chip.plan
    lines = [_lines(style, one, plan) for style in styles for one in priced_actions(recording, style, bounds)]
    columns = {column: np.concatenate([part[column] for part in lines]) for column in lines[0]}
    names = np.array([*(layer.name for layer in plan.layers), "readout"], dtype=object)
    of_tile = np.array([tile.name for tile in plan.tiles], dtype=object)
    frame = pd.DataFrame(columns)
    frame.insert(2, "name", np.where(columns["tile"] < 0, names[columns["layer"]], of_tile[columns["tile"]]))
    frame["samples"] = recording.counts.samples
    return frame


def energy_by(bill: pd.DataFrame, *keys: str) -> pd.DataFrame:
    """Energy of the lines that share ``keys``, always per style: columns style, *keys, energy_J, energy_low_J,
    energy_high_J.

    Whatever the keys, the energies of a style add up to the same total.
    """
    groups = bill.groupby(["style", *keys], sort=False)
    return groups[[name for name in ENERGIES.values() if name in bill]].sum().reset_index()


def actions(recording: Recording, style: Style, works: Iterable[Work]) -> Iterator[Action]:
    """Every action of ``works`` of a recording in one style."""
    works = [work for work in works if style in work.styles]
    for phase in READ_PHASES:
        for work in works:
            yield from work.in_phase(recording, phase, style)
    for work in works:
        yield from work.afterwards(recording, style)


def total_J(recording: Recording, style: Style, works: Iterable[Work]) -> float:
    """Energy of the recorded batches in one style, of ``works`` alone."""
    return float(sum(action.energy_J.sum() for action in actions(recording, style, works)))


def priced_actions(
    recording: Recording, style: Style, bounds: Sequence[Bound] = BOUNDS
) -> Iterator[tuple[Action, ...]]:
    """Every action with the numbers of the model, and with those at the ends of their intervals."""
    works = ACTIONS.values()
    return zip(*(actions(recording.at(bound), style, works) for bound in bounds), strict=True)


def acting(priced: tuple[Action, ...]) -> np.ndarray:
    """Tiles or layers in which an action takes place, at either end of the intervals."""
    return np.flatnonzero(np.any([one.counts > 0 for one in priced], axis=0))


def _lines(style: Style, priced: tuple[Action, ...], plan: TilePlan) -> dict[str, np.ndarray]:
    """Columns of the lines of an action; those whose count is zero at both ends of the intervals are left out."""
    action, entries = priced[0], acting(priced)
    words = {"phase": action.phase, "component": action.component.value, "style": style.value}
    ends = np.stack([one.energy_J[entries] for one in priced])
    energies = {ENERGIES["value"]: ends[0]}
    if len(ends) > 1:
        energies |= {ENERGIES["low"]: ends.min(0), ENERGIES["high"]: ends.max(0)}
    return {
        "tile": entries if action.per_tile else np.full_like(entries, -1),
        "layer": plan.layer_of_tile[entries] if action.per_tile else entries,
        **{column: np.full(len(entries), word, dtype=object) for column, word in words.items()},
        "count": action.counts[entries].astype(np.float64),
        "unit_energy_J": np.broadcast_to(action.unit_energy_J, action.counts.shape)[entries],
        **energies,
    }


CONVERTED = (Style.CLOCKED, Style.EVENT)
for _work in (
    Work(
        "settling",
        "tiles and neurons that settle",
        lambda recording, phase, style: settling_actions(recording, phase),
        styles=(Style.SETTLING,),
    ),
    Work("reads", "reads of the tiles, every result converted", read_actions, styles=CONVERTED),
    Work("ticks", "neurons, pooling and registers in every tick", tick_actions, styles=CONVERTED),
    Work("network", "what is sent over the mesh and fetched from outside", network_actions),
    Work("projections", "readout and signals", projection_actions),
    Work("writing", "weight changes", afterwards=writing_actions),
    Work(
        "learning", "updates of readout and signals", afterwards=lambda recording, style: projection_updates(recording)
    ),
    Work("stored states", "of backpropagation: states kept from pass to pass", stored_states, styles=(Style.CLOCKED,)),
    Work("leakage", "static power, and refresh of dynamic memories", afterwards=leakage_actions),
):
    ACTIONS.add(_work)
