"""A bill in few lines: what a designer reads first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from neurosim_ep.hardware.bill.comparison import Comparison, compare
from neurosim_ep.hardware.bill.cost import bill, energy_by
from neurosim_ep.hardware.bill.sanity import Sanity, sanity
from neurosim_ep.hardware.bill.sensitivity import Sensitivity, sensitivities
from neurosim_ep.hardware.bill.settling import copies_in
from neurosim_ep.hardware.bill.verdict import most_frugal, verdict
from neurosim_ep.hardware.bill.writing import endurance_table
from neurosim_ep.hardware.chip.phases import READ_PHASES, UPDATE
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.quantities import BOUNDS, Bound
from neurosim_ep.units import format_bits, format_si

PHASE_TITLES = {"free": "free", "nudge_plus": "nudge +", "nudge_minus": "nudge -", UPDATE: "update"}


@dataclass(frozen=True)
class Summary:
    """What the recorded batches cost on a chip, per training sample; ``given``: the counts of one were, by hand."""

    recording: Recording
    given: bool = False

    @cached_property
    def bill(self) -> pd.DataFrame:
        """See :func:`neurosim_ep.hardware.bill.cost.bill`."""
        return bill(self.recording)

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """EP against backpropagation in every style."""
        return compare(self.recording, self.bill, self.sensitivities)

    @cached_property
    def sensitivities(self) -> dict[Style, Sensitivity]:
        """What every number of the model moves, by style."""
        return sensitivities(self.recording)

    @property
    def best(self) -> Comparison:
        """The style that takes the least energy."""
        return most_frugal(self.comparisons, self.recording.chip.model)

    @property
    def verdict(self) -> str:
        """Who wins, EP or backpropagation, in a sentence."""
        return verdict(self.comparisons, self.best)

    def area_m2(self, style: Style, bound: Bound = "value") -> float:
        """Area of the chip, or an end of its interval; settling has tiles for every position."""
        chip = self.recording.at(bound).chip
        return chip.area_m2(copies_in(chip, style))

    @property
    def on_chip_bits(self) -> int:
        """All that EP keeps on the chip for one sample."""
        return sum(item.bits for item in self.recording.chip.memory)

    def chip_rows(self) -> list[tuple[str, str]]:
        """Lines (label, value) about the chip."""
        chip, place = self.recording.chip, self.recording.mesh.placement
        areas = [1e6 * self.area_m2(Style.EVENT, bound) for bound in BOUNDS]
        once, low, high = (f"{area:.3g}" for area in (areas[0], min(areas), max(areas)))
        unrolled = f"{1e6 * self.area_m2(Style.SETTLING):.3g} mm^2"
        image = math.prod(chip.plan.geometries[0].in_shape) * chip.model.digital.state_bits.value
        off_chip = sum(signal.off_chip_bits for signal in chip.signals)
        targets = f", {format_bits(off_chip)} of stored targets" if off_chip else ""
        rows = [
            ("hardware", f"{chip.model.model.name}: {chip.model.model.description}"),
            ("tiles", f"{self._parts} on a {place.width} x {place.height} mesh ({chip.model.noc.placement})"),
            ("area", f"{once} mm^2 ({low} - {high}); settling, with tiles for every position: {unrolled}"),
            ("sanity", f"{self.sanity(Style.CLOCKED).line} (clocked)"),
            ("energy goes to", f"{self.sanity(Style.CLOCKED).shares} (clocked)"),
            ("on chip", f"{format_bits(self.on_chip_bits)} for one sample"),
            ("hottest link", self._hottest_link()),
            ("wear", self._wear()),
        ]
        return [*rows, ("off chip", f"{format_bits(image)} of image{targets} per sample")]

    @property
    def _parts(self) -> str:
        levels = self.recording.chip.levels
        said = f"{levels.tiles}"
        for word, number, size, joined in (
            ("core", levels.cores, levels.per_core, "in"), ("cluster", levels.nodes, levels.per_cluster, "and"),
        ):  # fmt: skip
            if size > 1:
                said += f" {joined} {number} {word}{'s' if number > 1 else ''} of {size}"
        return said

    @property
    def wear(self) -> dict[str, float]:
        """The largest figures of :func:`endurance_table` over 1e6 training samples."""
        worn = endurance_table(self.recording, samples=1e6)
        return {name: float(worn[name].max()) for name in ("pulses_per_cell", "endurance_used")}

    def _wear(self) -> str:
        pulses, used = self.wear.values()
        if not pulses:
            return "no programming pulses"
        lasts = f", endurance reached after {1e6 / used:.2g}" if used > 0 else ""
        return f"{pulses:,.0f} pulses per cell in the hottest tile per 1e6 training samples{lasts}"

    def sanity(self, style: Style) -> Sanity:
        """See :func:`neurosim_ep.hardware.bill.sanity.sanity`."""
        return sanity(self.recording, self.bill[self.bill["style"] == style], style)

    def _hottest_link(self) -> str:
        """The link that carries most in event style, over all phases."""
        recording = self.recording
        if recording.chip.levels.nodes == 1:
            return "none: one router"
        sent = [recording.sent(phase, Style.EVENT) for phase in READ_PHASES]
        bits, flits = (
            recording.mesh.loads(np.sum(part, axis=0))
            for part in zip(*((one.bits, one.flits) for one in sent), strict=True)
        )
        side, load = max(bits.items(), key=lambda item: int(item[1].max()))
        y, x = np.unravel_index(int(load.argmax()), load.shape)
        busy_s = float(flits[side][y, x]) * recording.chip.model.noc.hop_time.value
        event = next(one for one in self.comparisons if one.style == Style.EVENT)
        share = busy_s / recording.counts.samples / event.latency_s if event.latency_s else 0.0
        carried = format_si(float(load.max()) / recording.counts.samples, "bit")
        return f"{carried} per sample from router ({x}, {y}) to the {side}, busy {share:.0%} of the time (event style)"

    def phases_J(self, style: str) -> dict[str, float]:
        """Energy of every phase per training sample."""
        found = energy_by(self.bill, "phase").set_index(["style", "phase"])["energy_J"] / self.recording.counts.samples
        return {phase: float(found.get((style, phase), 0.0)) for phase in PHASE_TITLES}

    def style_rows(self) -> list[dict[str, str]]:
        """One row per style: energy per training sample with its interval and phases, time, and backpropagation."""
        rows = []
        for found in self.comparisons:
            even = found.break_even_ticks
            apart = {PHASE_TITLES[phase]: format_si(part, "J") for phase, part in self.phases_J(found.style).items()}
            rows.append(
                {
                    "style": found.style,
                    "energy": format_si(found.energy_J, "J"),
                    "energy interval": f"{format_si(found.energy_low_J, 'J')} - {format_si(found.energy_high_J, 'J')}",
                    **apart,
                    "time": format_si(found.latency_s, "s"),
                    "time interval": f"{format_si(found.latency_low_s, 's')} - {format_si(found.latency_high_s, 's')}",
                    "EP / backprop": f"{found.ratio:.3g} ({found.ratio_low:.3g} - {found.ratio_high:.3g})",
                    "even at ticks": "-" if even is None else f"{even:.3g}",
                    "even at events": "-" if not (share := found.break_even_events) or share > 1 else f"{share:.1%}",
                }
            )
        return rows

    def doubts(self) -> list[str]:
        """What silicon has not shown, and who wins, EP or backpropagation."""
        doubts = [f"warning: {style} style: {doubt}" for style in Style for doubt in self.sanity(style).warnings]
        return [*doubts, self.verdict]

    def notes(self) -> list[str]:
        """What the figures are of."""
        counts, found = self.recording.counts, self.comparisons[0]
        by_phase = [counts.presentations[phase].max(1).sum() for phase in READ_PHASES if phase in counts.presentations]
        apart = " + ".join(f"{ticks / counts.samples:.1f}" for ticks in by_phase)
        return [
            *self.doubts(),
            "one sample as given, nothing is simulated" if self.given else _recorded(counts.samples, counts.batches),
            f"{found.ticks:.1f} ticks per sample ({apart})",
            f"backpropagation on the same tiles: {format_si(found.backprop_J, 'J')} "
            f"({format_si(found.backprop_low_J, 'J')} - {format_si(found.backprop_high_J, 'J')}) per sample, clocked, "
            f"in {format_si(found.backprop_latency_s, 's')}",
            "which numbers decide, and how far they move EP / backprop: `neurosim-ep explain`",
            "interval of EP / backprop: every component, and every number, anywhere in its interval, for both at the "
            "same end",
            "even at: where EP would cost as much as backpropagation; - where no number of ticks or events does",
            "time in event style is a lower bound: reads of a tile are taken to be spread evenly over its ticks",
        ]


def _recorded(samples: int, batches: int) -> str:
    return f"mean of {samples:,} sample{'s' * (samples > 1)} in {batches} recorded batch{'es' * (batches > 1)}"
