"""Exact activity counts of recorded batches: what the cost model multiplies with action costs.

Lines: a forward read drives rows, a transposed read drives physical columns. A line is active at (sample,
tick, p) in *clocked* accounting when its input is not zero, in *event* accounting when its neuron sent an
event this tick. Per tile, phase and direction:

- ``reads``: number of (sample, tick, p) with an active line in the tile; clocked: every (sample, tick, p);
- ``active_lines``: number of active (line, sample, tick, p);
- ``adc_conversions`` = reads x used lines on the sensing side x slices x passes, of which there are two where lines
  carry no sign and what drives them has one, see :attr:`~neurosim_ep.tiles.mapping.TilePlan.passes`;
- ``dac_conversions`` = active_lines x input pulses.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from neurosim_ep.hardware.chip.phases import READ_PHASES

ACCOUNTINGS = ("clocked", "event")
DIRECTIONS = ("forward", "transposed")
READ_QUANTITIES = ("reads", "active_lines", "adc_conversions", "dac_conversions")
PROGRAMMING = ("pulses_up", "pulses_down", "write_steps", "pulses_net")
UPDATE_QUANTITIES = ("accumulate_adds", *PROGRAMMING)
TICK_TABLES = ("events", "messages", "presentations", "needed", "sends")


@dataclass
class TileCounts:
    """Integer counts, summed over ``batches`` recorded batches of ``samples`` samples in all.

    ``traffic``: int64 [phase, accounting, direction, quantity, tile], axes in the order of ``READ_PHASES``,
    ``ACCOUNTINGS``, ``DIRECTIONS``, ``READ_QUANTITIES``.
    ``update``: int64 [quantity, tile] in the order of ``UPDATE_QUANTITIES``: additions into the digital
    update accumulators; programming pulses that raise and lower a weight; and pulses in a row when the weights of a row
    are written at once, those that rise before those that fall; and what is left of the pulses of each weight when
    those up and down cancel. Each weight counts once, in the tile of its first column. ``events``, ``messages``,
    ``presentations``, ``needed``: phase -> int64 [tick, layer]: events sent; events times the tiles each must reach,
    ``TilePlan.event_destinations``; samples whose layer was updated in the tick; and those of them that an input had
    changed for since the last update. ``terms``: outer products that the
    update of a sample adds up, one per contrasted state. ``applied``: the pulses are those that devices got, not
    those that the change of an exact weight would take. ``sends``: phase -> int64 [tick, sender]: events of the
    neurons of each of ``TilePlan.senders``.
    """

    traffic: np.ndarray
    update: np.ndarray
    events: dict[str, np.ndarray] = field(default_factory=dict)
    messages: dict[str, np.ndarray] = field(default_factory=dict)
    presentations: dict[str, np.ndarray] = field(default_factory=dict)
    needed: dict[str, np.ndarray] = field(default_factory=dict)
    sends: dict[str, np.ndarray] = field(default_factory=dict)
    samples: int = 0
    batches: int = 0
    terms: int = 2
    applied: bool = False

    @classmethod
    def zeros(cls, tiles: int) -> TileCounts:
        """Nothing recorded yet, for ``tiles`` tiles."""
        shape = (len(READ_PHASES), len(ACCOUNTINGS), len(DIRECTIONS), len(READ_QUANTITIES), tiles)
        return cls(np.zeros(shape, np.int64), np.zeros((len(UPDATE_QUANTITIES), tiles), np.int64))

    def __add__(self, other: TileCounts) -> TileCounts:
        """Counts of both recordings; the shorter phase is padded with zero ticks."""
        return TileCounts(
            traffic=self.traffic + other.traffic,
            update=self.update + other.update,
            **{name: _add_ticks(getattr(self, name), getattr(other, name)) for name in TICK_TABLES},
            samples=self.samples + other.samples,
            batches=self.batches + other.batches,
            terms=max(self.terms, other.terms),
            applied=self.applied or other.applied,
        )

    def of(self, phase: str, accounting: str, direction: str, quantity: str) -> np.ndarray:
        """One read quantity of every tile, int64 [tiles]."""
        return self.traffic[
            READ_PHASES.index(phase),
            ACCOUNTINGS.index(accounting),
            DIRECTIONS.index(direction),
            READ_QUANTITIES.index(quantity),
        ]

    def updates(self, quantity: str) -> np.ndarray:
        """One update quantity of every tile, int64 [tiles]."""
        return self.update[UPDATE_QUANTITIES.index(quantity)]

    def to_frame(self) -> pd.DataFrame:
        """One row per (tile, phase, direction, accounting) with the four read quantities."""
        axes = [READ_PHASES, ACCOUNTINGS, DIRECTIONS, range(self.traffic.shape[-1])]
        index = pd.MultiIndex.from_product(axes, names=["phase", "accounting", "direction", "tile"])
        table = np.moveaxis(self.traffic, 3, -1).reshape(-1, len(READ_QUANTITIES))
        frame = pd.DataFrame(table, index=index, columns=list(READ_QUANTITIES)).reset_index()
        keys = ["tile", "phase", "direction", "accounting"]
        return frame[keys + list(READ_QUANTITIES)].sort_values("tile", kind="stable", ignore_index=True)


def tile_table(tiles: pd.DataFrame, counts: TileCounts) -> pd.DataFrame:
    """``tiles``, as :meth:`TilePlan.to_frame` gives them, joined with the read counts: the rows of tiles.csv."""
    return tiles.merge(counts.to_frame(), on="tile", validate="one_to_many")


def pulse_table(tiles: pd.DataFrame, counts: TileCounts) -> pd.DataFrame:
    """Programming pulses of each of ``tiles``, as :meth:`TilePlan.to_frame` gives them: the rows of pulses.csv."""
    pulses = {name: counts.updates(name) for name in ("pulses_up", "pulses_down", "pulses_net")}
    return tiles[["tile", "layer", "name"]].assign(**pulses)


def _add_ticks(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    total = {phase: ticks.copy() for phase, ticks in first.items()}
    for phase, ticks in second.items():
        longer, shorter = sorted((total.get(phase, ticks[:0]), ticks), key=len, reverse=True)
        total[phase] = longer.copy()
        total[phase][: len(shorter)] += shorter
    return total
