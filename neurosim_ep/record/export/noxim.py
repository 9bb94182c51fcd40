"""Traffic tables of Noxim: ``src dst pir por t_on t_off t_period``, one line per pair of routers and phase.

Source: ``GlobalTrafficTable.cpp`` of Noxim (Catania et al., ACM TOMACS 2016). Noxim draws packets at random with these
rates, while ``t_on < cycle mod t_period < t_off``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from neurosim_ep.record.export.common import MeanSample, write_lines
from neurosim_ep.record.export.traffic import TrafficExporter

TABLE = "noxim.txt"


class Noxim(TrafficExporter):
    """Packets as the mean rate between two routers in each phase."""

    name = "noxim"
    sentence = "traffic table of Noxim, one line per pair of routers and phase"
    files = (TABLE,)

    def write_trace(self, folder: Path, sample: MeanSample) -> dict[str, Any]:
        """Write the table into ``folder``; returns what export.json says of it.

        ``pir`` is packets / cycles of the phase, so that ``pir * (t_off - t_on)`` adds up to the packets of the sample.
        """
        period, pairs = sample.cycles + 1, sample.ends[0]
        lines = [
            "% One mean training sample; see export.json. pir in packets per cycle, times in cycles.",
            "% src dst pir por t_on t_off t_period",
        ]
        entries = 0
        for phase in sample.phases:
            end = phase.first_cycle + phase.cycles
            lines.append(f"% {phase.name}: {phase.packets} packets in {phase.cycles} cycles")
            for (src, dst), packets in zip(pairs, sample.between(phase.messages.sum(1)), strict=True):
                if packets:
                    pir = repr(float(packets / phase.cycles))
                    lines.append(f"{src} {dst} {pir} {pir} {phase.first_cycle} {end} {period}")
                    entries += 1
        write_lines(folder / TABLE, lines)
        place = sample.placement
        return {
            "entries": entries,
            "command": f"noxim -topology MESH -dimx {place.width} -dimy {place.height} -routing XY -traffic table "
            f"{TABLE} -sim {period}",
            "not_included": [
                "ticks: packets are drawn at random, at the mean rate of their phase; one cycle per phase, t_on "
                "itself, draws none",
                "packet sizes: Noxim has one range for all, set with -size; components has the flits of each kind",
            ],
        }
