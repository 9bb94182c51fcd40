"""What the traces of all network simulators share: one mean sample of a run, as messages or packets between routers.

What a style sends is summed over all recorded batches, divided by the recorded samples and rounded to whole messages,
or packets, which are those of the bill. Ticks become cycles of the network, one phase after the other. A phase is
never held as a whole: what every flow sends is found tick by tick, so that memory grows with the flows and not with
the ticks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np
import pandas as pd

from neurosim_ep.hardware.bill.latency import latencies_s
from neurosim_ep.hardware.chip.components import Part
from neurosim_ep.hardware.chip.noc import crossed
from neurosim_ep.hardware.chip.packets import packet_sizes
from neurosim_ep.hardware.chip.phases import READ_PHASES
from neurosim_ep.hardware.chip.placement import Placement
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.chip.routes import PORT
from neurosim_ep.hardware.chip.styles import Style

GOLDEN = 0.6180339887


class Unit(StrEnum):
    """What a trace counts: single messages, or the packets that they are sent in, with headers."""

    MESSAGES = "messages"
    PACKETS = "packets"


@dataclass(frozen=True)
class Course:
    """How what is sent in a phase, messages or packets, is spread over its ticks.

    ``sends``: int64 [ticks, senders] of all samples; ``sender``: int64 [flows], -1 where a flow is not counted tick by
    tick and ``passed`` tells how much of it has been sent: int64 [ticks], (sample, tick) so far; ``once``: bool
    [flows], those that are sent in the first tick; ``whole``: int64 [flows], what the mean sample sends in the phase.
    """

    sends: np.ndarray
    sender: np.ndarray
    passed: np.ndarray
    once: np.ndarray
    whole: np.ndarray

    def by(self, tick: int) -> np.ndarray:
        """What every flow has sent when ``tick`` has passed, int64 [flows].

        Each adds up to its whole number. Flows begin at different points of their pace, so that rare ones do not
        all fall into one tick.
        """
        done = np.where(self.sender < 0, self.passed[tick], self._sent[tick][self.sender])
        total = np.where(self.sender < 0, self.passed[-1], self._sent[-1][self.sender])
        start = (np.arange(len(total)) * GOLDEN % 1 * total).astype(np.int64)
        found = (self.whole * done + start) // np.maximum(total, 1)
        found[self.once] = self.whole[self.once]
        return found

    @cached_property
    def _sent(self) -> np.ndarray:
        """Events until each tick has passed, int64 [ticks, senders + 1]: the last column stands for no sender."""
        return np.pad(np.cumsum(self.sends, axis=0), ((0, 0), (0, 1)))


@dataclass(frozen=True)
class Phase:
    """A phase of the mean sample.

    ``course``: what crosses the network and when; ``local``: what stays at its router;
    ``tick_cycles``: int64 [ticks], cycles that each tick takes; ``first_cycle``: the cycle in which the phase begins.
    """

    name: str
    course: Course
    local: int
    tick_cycles: np.ndarray
    first_cycle: int

    @property
    def messages(self) -> np.ndarray:
        """Messages, or packets, of every flow in the whole phase, int64 [flows]."""
        return self.course.whole

    def sent(self, ticks: int = 1) -> Iterator[np.ndarray]:
        """What every flow sends in each tick, or in each bin of so many ``ticks``, int64 [flows]."""
        before = np.zeros_like(self.messages)
        for start in range(0, self.ticks, ticks):
            now = self.course.by(min(start + ticks, self.ticks) - 1)
            yield now - before
            before = now

    @property
    def ticks(self) -> int:
        """Ticks of the phase; where analog states settle, one for the whole phase."""
        return len(self.tick_cycles)

    @property
    def cycles(self) -> int:
        """Cycles of the phase."""
        return int(self.tick_cycles.sum())

    @property
    def tick_starts(self) -> np.ndarray:
        """First cycle of every tick, int64 [ticks]."""
        return self.first_cycle + np.cumsum(self.tick_cycles) - self.tick_cycles

    @property
    def exported(self) -> int:
        """What crosses the network."""
        return int(self.messages.sum())


@dataclass(frozen=True)
class MeanSample:
    """What one mean sample of ``recording`` sends on a chip of ``style``, in messages or packets.

    ``flows``: what travels alike, one row per route, router that it leads to, and size of packets: src, dst, the layer
    that pays, component, and bits and flits of a message or packet. Routers are numbered ``y * width + x``; the port is
    at router 0.
    """

    recording: Recording
    style: Style
    unit: Unit
    flows: pd.DataFrame
    phases: tuple[Phase, ...]

    @property
    def placement(self) -> Placement:
        """Where the tiles lie."""
        return self.recording.mesh.placement

    @property
    def flit_bits(self) -> int:
        """Bits of a flit."""
        return int(self.recording.chip.model.noc.flit_bits.value)

    @property
    def cycle_s(self) -> float:
        """Seconds of a cycle, which is one hop; 0 where the network of the model takes no time."""
        return self.recording.chip.model.noc.hop_time.value

    @property
    def hop_energy_J(self) -> float:
        """One bit across one router and one link."""
        return float(self.recording.chip.hop_energy.value)

    @cached_property
    def flits(self) -> np.ndarray:
        """Flits of a message or packet of every flow, int64 [flows]."""
        return self.flows["flits"].to_numpy()

    @cached_property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Every pair (src, dst) with a flow, int64 [pairs, 2] in ascending order, and the pair of each flow."""
        pairs, pair_of_flow = np.unique(self.flows[["src", "dst"]].to_numpy(), axis=0, return_inverse=True)
        return pairs.reshape(-1, 2), pair_of_flow.reshape(-1)

    def between(self, flow_values: np.ndarray) -> np.ndarray:
        """Sums over the flows of each pair of :attr:`ends`, int64 [pairs], of values [flows]."""
        pairs, pair_of_flow = self.ends
        return np.bincount(pair_of_flow, flow_values, len(pairs)).astype(np.int64)

    def hops(self, pairs: np.ndarray) -> np.ndarray:
        """Links between the two routers of each pair, int64 [pairs]."""
        y, x = np.divmod(pairs, self.placement.width)
        return np.abs(np.diff(x, axis=1))[:, 0] + np.abs(np.diff(y, axis=1))[:, 0]

    def busiest(self, pair_flits: np.ndarray) -> int:
        """The most flits that cross a link, or leave or reach a router, of ``pair_flits`` [pairs], x first, then y."""
        width, height = self.placement.width, self.placement.height
        (sy, sx), (dy, dx) = (np.divmod(end, width) for end in self.ends[0].T)
        most = [np.bincount(end, pair_flits, 1).max() for end in self.ends[0].T]
        for line, start, stop, shape in ((sy, sx, dx, (height, width)), (dx, sy, dy, (width, height))):
            for first, after, goes in ((start, stop, stop > start), (stop, start, stop < start)):
                loads = crossed(shape, line[goes], first[goes], after[goes], pair_flits[goes])
                most.append(loads.max(initial=0))
        return int(max(most))

    @property
    def cycles(self) -> int:
        """Cycles of all phases."""
        return sum(phase.cycles for phase in self.phases)

    @property
    def exported(self) -> int:
        """What crosses the network."""
        return sum(phase.exported for phase in self.phases)

    @property
    def local(self) -> int:
        """What stays at its router."""
        return sum(phase.local for phase in self.phases)


def mean_sample(recording: Recording, style: Style = Style.EVENT, unit: Unit = Unit.MESSAGES) -> MeanSample:
    """One mean sample of what was recorded, as a chip of ``style`` sends it."""
    flows = _flows(recording, style, unit)
    travels = (flows["src"] != flows["dst"]).to_numpy()
    away = flows[travels].reset_index(drop=True)
    src, flits = away["src"].to_numpy(), away["flits"].to_numpy()
    phases: list[Phase] = []
    for name in READ_PHASES:
        if name in recording.counts.presentations:
            course, stays = _course(recording, style, name, flows, travels)
            start = phases[-1].first_cycle + phases[-1].cycles if phases else 0
            cycles = _tick_cycles(recording, style, name)
            phase = Phase(name, course, stays, cycles, start)
            for tick, sent in enumerate(phase.sent()):
                busiest = np.bincount(src, sent * flits, 1).max()  # a router needs a cycle for each flit it sends
                cycles[tick] = max(cycles[tick], int(busiest))
            phases.append(phase)
    return MeanSample(recording, style, unit, away, tuple(phases))


def _flows(recording: Recording, style: Style, unit: Unit) -> pd.DataFrame:
    """All flows, those that stay at their router too: every route to every router that it leads to, in packets once for
    each of their sizes.

    Beside the columns of :class:`MeanSample`: ``route``, ``burst``, messages that it sends at a time, and
    ``per_burst``, messages or packets of this flow that they are.
    """
    place, routes, noc = recording.mesh.placement, recording.routes, recording.chip.model.noc
    router = np.append(place.y * place.width + place.x, 0)  # the last one stands for the port, tile -1
    assert PORT == -1
    ends = [np.unique(router[list(route.destinations)]) for route in routes.all]
    frame = pd.DataFrame(
        {
            "src": router[[route.source for route in routes.all]],
            "layer": routes.layer,
            "component": [route.component.value for route in routes.all],
            "route": np.arange(len(ends)),
        }
    )
    width, burst = routes.message_bits(recording.chip.model, style), routes.bursts(style)
    sizes = [(width, np.ones_like(width), np.ones_like(width), -(-width // noc.flit_bits.value))]
    if unit is Unit.PACKETS:
        sizes = [(one.bits, burst, one.number, one.flits) for one in packet_sizes(burst * width, noc)]
    parts = [
        frame.assign(bits=bits, burst=of, per_burst=number, flits=flits).loc[number > 0]
        for bits, of, number, flits in sizes
    ]
    found = pd.concat(parts).sort_values("route", kind="stable", ignore_index=True)
    fan = np.array([len(one) for one in ends])[found["route"]]
    to = np.concatenate([ends[route] for route in found["route"]]) if len(found) else np.zeros(0, np.int64)
    return found.loc[found.index.repeat(fan)].reset_index(drop=True).assign(dst=to)


def _course(
    recording: Recording, style: Style, phase: str, flows: pd.DataFrame, travels: np.ndarray
) -> tuple[Course, int]:
    """What crosses the network in a phase, and how much stays at its router."""
    counts, states = recording.counts, len(recording.chip.plan.senders)
    names = ("route", "component", "layer", "burst", "per_burst")
    route, component, layer, burst, per_burst = (flows[name].to_numpy() for name in names)
    totals = recording.routes.messages(counts, phase, style)[route] // burst * per_burst
    whole = whole_numbers(totals, counts.samples)
    once = (component == Part.INPUT) | (component == Part.TARGET) | ((component == Part.PARTIAL_SUM) & (layer == 0))
    sender = np.where(route < states, route, -1)
    passed = np.cumsum(_present(recording, style, phase))
    return Course(_sends(recording, style, phase), sender[travels], passed, once[travels], whole[travels]), int(
        whole[~travels].sum()
    )


def _sends(recording: Recording, style: Style, phase: str) -> np.ndarray:
    """States that every sender sends in each tick, over all samples, int64 [ticks, senders]: its events; clocked, all
    its neurons whenever their layer works; settling, all of them at the end of a nudge phase, which is one tick.
    """
    counts, senders = recording.counts, recording.chip.plan.senders
    if style is Style.EVENT:
        return counts.sends[phase]
    if style is Style.SETTLING:
        return recording.routes.messages(counts, phase, style)[None, : len(senders)]
    neurons = np.array([sender.neurons for sender in senders], np.int64)
    return counts.presentations[phase][:, [sender.layer for sender in senders]] * neurons


def _present(recording: Recording, style: Style, phase: str) -> np.ndarray:
    """Samples that have not come to rest in each tick, int64 [ticks]."""
    if style is Style.SETTLING:
        return np.array([recording.counts.samples], np.int64)
    return recording.counts.presentations[phase].max(1)


def whole_numbers(totals: np.ndarray, samples: int) -> np.ndarray:
    """``totals / samples`` in whole numbers whose sum is that of ``totals`` over ``samples``, rounded.

    What one entry loses by rounding down the next ones get, so that every entry is within 1 of its exact value.
    """
    return np.diff((np.cumsum(totals, dtype=np.int64) + samples // 2) // samples, prepend=0)


def _tick_cycles(recording: Recording, style: Style, phase: str) -> np.ndarray:
    """Cycles of every tick, int64 [ticks]: its mean duration over all samples, 0 for those that are at rest already;
    none where the model's network takes no time.
    """
    present = _present(recording, style, phase)
    hop_s = recording.chip.model.noc.hop_time.value
    if hop_s == 0:
        return np.zeros(len(present), np.int64)
    per_sample_tick_s = latencies_s(recording, style)[phase] / present.sum()
    return np.ceil(per_sample_tick_s * present / recording.counts.samples / hop_s).astype(np.int64)
