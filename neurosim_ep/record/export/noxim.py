"""Noxim: a traffic table, ``src dst pir por t_on t_off t_period``, with configuration and energies.

Sources: ``GlobalTrafficTable.cpp``, ``ConfigurationManager.cpp`` and ``Power.cpp`` of Noxim (Catania et al., ACM TOMACS
2016). Noxim draws packets at random with these rates, while ``t_on < cycle mod t_period < t_off``, cycles counted from
the beginning of the reset. A flit takes two cycles per link, as its handshake has an alternating bit, and a packet has
at least two flits.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from neurosim_ep.record.export.common import write_lines
from neurosim_ep.record.export.packets import MeanSample, Phase, Unit
from neurosim_ep.record.export.traffic import TrafficExporter

TABLE, CONFIG, POWER = "noxim.txt", "config.yaml", "power.yaml"
RESET = 10
SMALLEST_PACKET = 2
MOST_LOAD = 0.4
"""Flits per cycle of Noxim over the busiest link, of 0.5 that it can take: beyond, queues grow without bound."""
BUFFER = 8
MOST_PS = 2**31 - 1
"""Noxim multiplies cycles and picoseconds as 32-bit integers."""


class Noxim(TrafficExporter):
    """Packets as the mean rate between two routers in each phase."""

    name = "noxim"
    sentence = "traffic table of Noxim, one line per pair of routers and phase, with its configuration"
    files = (TABLE, CONFIG, POWER)
    unit = Unit.PACKETS

    def write_trace(self, folder: Path, sample: MeanSample) -> dict[str, Any]:
        """Write table, configuration and energies into ``folder``; returns what export.json says of them.

        ``pir`` is flits / flits of a packet / cycles of the phase, so that ``pir * (t_off - t_on - 1)`` packets have as
        many flits as the sample sends.
        """
        size = packet_flits(sample)
        flits = [sample.between(phase.messages * sample.flits) for phase in sample.phases]
        load = [sample.busiest(sent) / phase.cycles for sent, phase in zip(flits, sample.phases, strict=True)]
        stretch = max(2, int(np.ceil(max(load, default=0.0) / MOST_LOAD)))
        cycles = stretch * sample.cycles + 2 * (size + BUFFER) * (sample.placement.diameter + 2) + 1000
        lines = [
            "% One mean training sample; see export.json. pir in packets per cycle, times in cycles.",
            "% src dst pir por t_on t_off t_period",
        ]
        for phase, sent in zip(sample.phases, flits, strict=True):
            lines += _rates(sample, phase, sent / size, stretch, period=RESET + cycles + 1)
        write_lines(folder / TABLE, lines)
        clock_ps = clock(sample.cycle_s / stretch, RESET + cycles)
        write_lines(folder / CONFIG, configuration(sample, size, cycles, clock_ps))
        write_lines(folder / POWER, energies(sample))
        return {
            "entries": sum(not line.startswith("%") for line in lines),
            "flits": {phase.name: int(sent.sum()) for phase, sent in zip(sample.phases, flits, strict=True)},
            "packet_flits": size,
            "cycles_per_cycle": stretch,
            "clock_period_ps": clock_ps,
            "busiest_link_flits_per_cycle": {
                phase.name: share / stretch for phase, share in zip(sample.phases, load, strict=True)
            },
            "command": f"noxim -config {CONFIG} -power {POWER} -seed 1",
            "run_in": "this folder",
            "not_included": [
                "ticks: packets are drawn at random, at the mean rate of their phase",
                f"packet sizes: all packets have {size} flits, and are as many as have the flits of the sample; "
                "components has the sizes of each kind",
                f"{POWER} has the energy of a hop in its links, of whole flits, and no leakage: cost.csv has that",
            ],
        }


def packet_flits(sample: MeanSample) -> int:
    """Flits of a packet: those of most packets of the sample, and at least two."""
    packets = sum((phase.messages for phase in sample.phases), np.zeros(len(sample.flows), np.int64))
    by_size = np.bincount(sample.flits, packets, SMALLEST_PACKET + 1)
    return max(SMALLEST_PACKET, int(by_size.argmax()))


def clock(cycle_s: float, cycles: int) -> int:
    """Picoseconds of a cycle: as many as the network takes, as far as Noxim can count them, and at least two."""
    return max(2, min(round(cycle_s * 1e12) or 1000, MOST_PS // cycles))


def _rates(sample: MeanSample, phase: Phase, packets: np.ndarray, stretch: int, period: int) -> list[str]:
    """Lines of a phase with ``packets`` [pairs], which need not be whole."""
    cycles = stretch * phase.cycles
    start = RESET + stretch * phase.first_cycle
    lines = [f"% {phase.name}: {packets.sum():g} packets in {cycles} cycles"]
    for (src, dst), count in zip(sample.ends[0], packets, strict=True):
        if count:
            pir = repr(float(count / cycles))
            lines.append(f"{src} {dst} {pir} {pir} {start - 1} {start + cycles} {period}")
    return lines


def configuration(sample: MeanSample, size: int, cycles: int, clock_ps: int) -> list[str]:
    """What Noxim must be told: a mesh without radio hubs, whose buffers hold whole packets, measured from the start."""
    place, depth = sample.placement, max(BUFFER, size)
    settings = {
        "topology": "MESH", "mesh_dim_x": max(place.width, 2), "mesh_dim_y": max(place.height, 2),
        "buffer_depth": depth, "flit_size": sample.flit_bits, "r2r_link_length": 1.0, "r2h_link_length": 1.0,
        "n_virtual_channels": 1, "routing_algorithm": "XY", "routing_table_filename": '""',
        "selection_strategy": "RANDOM", "dyad_threshold": 0.6,
        "min_packet_size": size, "max_packet_size": size,
        "packet_injection_rate": 0.01, "probability_of_retransmission": 0.01,
        "traffic_distribution": "TRAFFIC_TABLE_BASED", "traffic_table_filename": TABLE,
        "traffic_hardcoded_filename": '""',
        "clock_period_ps": clock_ps, "reset_time": RESET, "simulation_time": cycles, "stats_warm_up_time": 0,
        "max_volume_to_be_drained": 0, "detailed": "false", "show_buffer_stats": "false",
        "use_winoc": "false", "winoc_dst_hops": 0, "use_wirxsleep": "false",
        "verbose_mode": "VERBOSE_OFF", "trace_mode": "false", "trace_filename": '""',
    }  # fmt: skip
    buffers = ("to_tile", "from_tile", "rx", "tx")
    return [
        "# One mean training sample on a mesh without radio hubs; see export.json.",
        *(f"{key}: {value}" for key, value in settings.items()),
        "Hubs:",
        "  defaults:",
        "    attached_nodes: []",
        "    rx_radio_channels: []",
        "    tx_radio_channels: []",
        *(f"    {name}_buffer_size: {depth}" for name in buffers),
        "RadioChannels:",
        "  defaults:",
        "    ber: [0, 0]",
        "    data_rate: 16",
        "    mac_policy: [TOKEN_PACKET]",
    ]


def energies(sample: MeanSample) -> list[str]:
    """The energy of one hop of the hardware model, all of it in the links; everything else takes none."""
    flit, depth = sample.flit_bits, max(BUFFER, packet_flits(sample))
    nothing = "[0.0, 0.0]"
    return [
        "Energy:",
        "  Buffer:",
        f"    - [{depth}, {flit}, 0.0, 0.0, 0.0, 0.0]",
        "  LinkBitLine:",
        f"    - [1.0, 0.0, {sample.hop_energy_J!r}]",
        "  Router:",
        "    crossbar:",
        f"      - [5, {flit}, 0.0, 0.0]",
        "    network_interface:",
        f"      - [{flit}, 0.0, 0.0]",
        "    routing:",
        f"      default: {nothing}",
        f"      XY: {nothing}",
        "    selection:",
        f"      default: {nothing}",
        "  Hub:",
        f"    transceiver_leakage: {nothing}",
        f"    transceiver_biasing: {nothing}",
        "    rx_dynamic: 0.0",
        "    rx_snooping: 0.0",
        "    default_tx_energy: 0.0",
        "    tx_attenuation_map: []",
    ]
