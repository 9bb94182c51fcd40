"""Figures by which a bill is judged at a glance, and what speaks against it: power by area, operations per joule, how
much of the chip is used, and which level of it the energy goes to.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from neurosim_ep.hardware.bill.latency import latencies_s
from neurosim_ep.hardware.bill.reads import busy_s
from neurosim_ep.hardware.bill.settling import copies_in, tile_copies
from neurosim_ep.hardware.chip.components import Part
from neurosim_ep.hardware.chip.counts import DIRECTIONS
from neurosim_ep.hardware.chip.phases import READ_PHASES
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.units import format_si

LEVELS: dict[str, tuple[Part, ...]] = {
    "cores": (Part.CORE_TRANSFER,),
    "clusters": (Part.CLUSTER_TRANSFER,),
    "mesh": (Part.MESSAGE, Part.PARTIAL_SUM, Part.INPUT, Part.TARGET),
    "readout and signals": (Part.READOUT, Part.SIGNAL),
    "off chip": (Part.DRAM,),
    "static": (Part.LEAKAGE, Part.REFRESH),
}
"""Components beside those of the tiles, by the level of the chip that they belong to."""
COOLED_W_PER_MM2 = 1.0
"""About the most that is carried off a chip: 100 W/cm2."""
LEAKIEST_W_PER_MM2 = 0.084
"""Static power of the leakiest silicon that the models have a source for: small data memories of PUMA."""
BEST_BIT_OPERATIONS_PER_J = 400e12
"""Operations of one bit by one bit per joule of the most frugal chip of docs/validation.md: Jia et al., 0.85 V."""


class Sanity(NamedTuple):
    """Figures of one style. ``bit_operations_per_J``: multiplications and additions of the reads times the bits of
    either factor; ``cells_used``, ``time_used``: shares of cells that hold weights, and of the time that a mean tile is
    read; ``levels``: share of the energy by level.
    """

    power_W: float
    area_m2: float
    static_W: float
    operations_per_J: float
    bit_operations_per_J: float
    cells_used: float
    time_used: float
    levels: dict[str, float]

    @property
    def line(self) -> str:
        """All of them in a sentence."""
        density = f"{self.power_W / (1e6 * self.area_m2):.2g} W/mm^2" if self.area_m2 else "no area"
        return (
            f"{format_si(self.power_W, 'W')} ({density}), static {format_si(self.static_W, 'W')}; "
            f"{self.operations_per_J / 1e12:.3g} TOPS/W; cells used {self.cells_used:.0%}, tiles read "
            f"{self.time_used:.0%} of the time"
        )

    @property
    def shares(self) -> str:
        """Share of the energy by level, the largest first; those below 0.1 % are left out."""
        ordered = sorted(self.levels.items(), key=lambda level: -level[1])
        return ", ".join(f"{name} {share:.1%}" for name, share in ordered if share >= 0.001) or "nothing"

    @property
    def warnings(self) -> list[str]:
        """Figures that silicon has not shown."""
        found, mm2 = [], 1e6 * self.area_m2
        if mm2 and self.power_W / mm2 > COOLED_W_PER_MM2:
            found.append(f"{self.power_W / mm2:.3g} W/mm^2: chips are cooled up to about {COOLED_W_PER_MM2:g}")
        if mm2 and self.static_W / mm2 > LEAKIEST_W_PER_MM2:
            found.append(
                f"static power of {1e3 * self.static_W / mm2:.3g} mW/mm^2: the leakiest memories that models have a "
                f"source for have {1e3 * LEAKIEST_W_PER_MM2:g}"
            )
        if self.bit_operations_per_J > BEST_BIT_OPERATIONS_PER_J:
            found.append(
                f"{self.bit_operations_per_J / 1e12:.3g} TOPS/W of one bit by one bit: measured chips reach "
                f"{BEST_BIT_OPERATIONS_PER_J / 1e12:g}"
            )
        return found


def sanity(recording: Recording, lines: pd.DataFrame, style: Style) -> Sanity:
    """The figures of ``style``, whose ``lines`` of the bill these are."""
    chip = recording.chip
    plan, digital = chip.plan, chip.model.digital
    energy = lines.groupby("component")["energy_J"].sum()
    total, seconds = float(energy.sum()), sum(latencies_s(recording, style).values())
    operations = 2 * _multiply_adds(recording, style)
    reads_J = float(lines[lines["phase"].isin(READ_PHASES)]["energy_J"].sum())
    per_J = operations / reads_J if reads_J else 0.0
    levels = {name: float(energy.reindex(parts).fillna(0.0).sum()) for name, parts in LEVELS.items()}
    levels = {"tiles": total - sum(levels.values()), **levels}
    busy = sum((busy_s(recording, phase, style).sum(0) for phase in READ_PHASES), np.zeros(len(plan.tiles)))
    return Sanity(
        power_W=total / seconds if seconds else 0.0,
        area_m2=chip.area_m2(copies_in(chip, style)),
        static_W=levels["static"] / seconds if seconds else 0.0,
        operations_per_J=per_J,
        bit_operations_per_J=per_J * digital.state_bits.value * chip.model.weight_bits(),
        cells_used=float((plan.rows * plan.columns).mean()) / (plan.array.rows * plan.array.columns),
        time_used=1.0 if style is Style.SETTLING else float(busy.mean()) / seconds if seconds else 0.0,
        levels={name: part / total if total else 0.0 for name, part in levels.items()},
    )


def _multiply_adds(recording: Recording, style: Style) -> float:
    """Multiply-adds that the reads of a style stand for: all weights of every read, in event style those of lines that
    brought an event, in settling style those of one read each way at every position, sample and phase.
    """
    plan, counts = recording.chip.plan, recording.counts
    weights = plan.rows * plan.outputs
    if style is Style.SETTLING:
        once = counts.samples * tile_copies(recording.chip) * weights * (1 + (plan.layer_of_tile > 0))
        return float(once.sum() * len(counts.presentations))
    done, quantity = 0.0, "active_lines" if style is Style.EVENT else "reads"
    for phase in READ_PHASES:
        forward, transposed = (counts.of(phase, style.accounting, way, quantity) for way in DIRECTIONS)
        if style is Style.EVENT:
            done += float((forward * plan.outputs + transposed / plan.array.cells_per_weight * plan.rows).sum())
        else:
            done += float(((forward + transposed) * weights).sum())
    return done
