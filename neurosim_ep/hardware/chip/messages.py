"""The messages of recorded batches as a table, from tile to tile and bin of ticks."""

from __future__ import annotations

import numpy as np
import pandas as pd

from neurosim_ep.hardware.chip.phases import READ_PHASES
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.chip.styles import Style

BINS = 50
"""Bins of ticks per phase at most."""


def message_table(recording: Recording) -> pd.DataFrame:
    """Messages of the event style over all recorded batches: src, dst, phase, tick, messages, bits.

    A message with several destinations has a row for each. ``tick`` is the first of a bin's; what is not counted tick
    by tick (partial sums, input, targets) has tick -1. Source -1 is the chip's port.
    """
    routes, bits = recording.routes, recording.routes.message_bits(recording.chip.model, Style.EVENT)
    fan = np.array([len(route.destinations) for route in routes.all])
    src = np.array([route.source for route in routes.all]).repeat(fan)
    dst = np.array([tile for route in routes.all for tile in route.destinations], dtype=np.int64)
    states = len(recording.chip.plan.senders)
    parts = []
    for phase in READ_PHASES:
        if phase not in recording.counts.sends:
            continue
        sends = recording.counts.sends[phase]
        width = tick_bin(len(sends))
        whole = routes.messages(recording.counts, phase, Style.EVENT)
        whole[:states] = 0
        ticks = [-1, *range(0, len(sends), width)]
        binned = [np.pad(part.sum(0), (0, len(fan) - states)) for part in np.split(sends, ticks[2:])]
        for tick, amounts in zip(ticks, [whole, *binned], strict=True):
            messages = amounts.repeat(fan)
            kept = messages > 0
            frame = {"src": src, "dst": dst, "messages": messages, "bits": (amounts * bits).repeat(fan)}
            part = pd.DataFrame(frame)[kept]
            part.insert(2, "phase", phase)
            part.insert(3, "tick", tick)
            parts.append(part)
    columns = ["src", "dst", "phase", "tick", "messages", "bits"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def place_table(recording: Recording) -> pd.DataFrame:
    """Where every tile lies on the mesh: tile, x, y."""
    place = recording.mesh.placement
    return pd.DataFrame({"tile": np.arange(len(place.x)), "x": place.x, "y": place.y})


def link_table(recording: Recording) -> pd.DataFrame:
    """Bits over every link of the mesh in the event style, over all recorded batches: phase, side, x, y, bits.

    A link leaves the router (x, y) to its ``side``; links that carried nothing are left out.
    """
    rows = [
        (phase, side, x, y, int(bits))
        for phase in READ_PHASES
        for side, table in recording.mesh.loads(recording.bits(phase, Style.EVENT)).items()
        for (y, x), bits in np.ndenumerate(table)
        if bits
    ]
    return pd.DataFrame(rows, columns=["phase", "side", "x", "y", "bits"])


def tick_bin(ticks: int) -> int:
    """Ticks per bin of a phase of ``ticks`` ticks."""
    return -(-ticks // BINS)
