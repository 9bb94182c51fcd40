"""What the traces of all network simulators share: one mean sample of a run, as packets between routers.

The messages of the event style are summed over all recorded batches, divided by the recorded samples and rounded to
whole packets. Ticks become cycles of the network, one phase after the other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import pandas as pd

from neurosim_ep.errors import CheckpointError
from neurosim_ep.hardware.bill.latency import latencies_s
from neurosim_ep.hardware.chip.components import Part
from neurosim_ep.hardware.chip.counts import READ_PHASES
from neurosim_ep.hardware.chip.placement import Placement
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.chip.routes import PORT
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.file import read_model
from neurosim_ep.record.atomic import write_json
from neurosim_ep.record.rundir import RunDirectory, versions
from neurosim_ep.record.traffic import read_traffic
from neurosim_ep.record.whole_folder import DOCUMENT, new_folder, refuse_filled

FLOW_COLUMNS = ["src", "dst", "layer", "component", "bits"]
NOT_INCLUDED = (
    "multicast: a message with several destinations is one packet to each of them, not a tree",
    "what waits for what: packets leave at given times, however long others take",
    "programming of the cells, memory outside the chip, and the execution styles clocked and settling",
    "differences between samples: samples that come to rest early or late are averaged",
)


Found = TypeVar("Found")


class Exporter(ABC, Generic[Found]):
    """A file format of another simulator. ``name``: what `--format` calls it; ``sentence``: what it is; ``files``: what
    it writes beside export.json, as patterns.
    """

    name: ClassVar[str]
    sentence: ClassVar[str]
    files: ClassVar[tuple[str, ...]]

    @abstractmethod
    def read(self, run_dir: Path) -> Found:
        """What is to be written of the run in ``run_dir``. Raises :class:`NeurosimError` where it lacks that."""

    @abstractmethod
    def write(self, folder: Path, found: Found) -> dict[str, Any]:
        """Write what was :meth:`read` into ``folder``; returns what export.json says."""

    def told(self, document: dict[str, Any]) -> list[str]:
        """Lines about what was written, for the terminal."""
        return []

    def export(self, run_dir: Path, out: Path) -> dict[str, Any]:
        """Write the run in ``run_dir`` to the new folder ``out``; returns what export.json says.

        Raises :class:`UsageError` when ``out`` cannot be made, and what :meth:`read` raises.
        """
        refuse_filled(out)
        found = self.read(run_dir)
        with new_folder(out) as folder:
            document = self.write(folder, found)
            write_json(folder / DOCUMENT, document)
        return document


@dataclass(frozen=True)
class Phase:
    """A phase of the mean sample.

    ``messages``: int64 [flows, ticks]; ``local``: messages that stay at their router and are no packets;
    ``tick_cycles``: int64 [ticks], cycles that each tick takes; ``first_cycle``: the cycle in which the phase begins.
    """

    name: str
    messages: np.ndarray
    local: int
    tick_cycles: np.ndarray
    first_cycle: int

    @property
    def ticks(self) -> int:
        """Ticks of the phase."""
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
    def packets(self) -> int:
        """Messages that cross the network."""
        return int(self.messages.sum())


@dataclass(frozen=True)
class MeanSample:
    """The packets of one mean sample of ``recording``.

    ``flows``: what travels alike, one row per (src, dst, layer, component, bits): routers, the layer that pays, and
    the bits of one message. Routers are numbered ``y * width + x``; the port is at router 0.
    """

    recording: Recording
    flows: pd.DataFrame
    phases: tuple[Phase, ...]

    @property
    def placement(self) -> Placement:
        """Where the tiles lie."""
        return self.recording.mesh.placement

    @cached_property
    def flits(self) -> np.ndarray:
        """Flits of one message of every flow, int64 [flows]."""
        flit_bits = self.recording.chip.model.noc.flit_bits.value
        return -(-self.flows["bits"].to_numpy() // int(flit_bits))

    @cached_property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Every pair (src, dst) with a flow, int64 [pairs, 2] in ascending order, and the pair of each flow."""
        pairs, pair_of_flow = np.unique(self.flows[["src", "dst"]].to_numpy(), axis=0, return_inverse=True)
        return pairs.reshape(-1, 2), pair_of_flow.reshape(-1)

    def between(self, flow_values: np.ndarray) -> np.ndarray:
        """Sums over the flows of each pair of :attr:`ends`, int64 [pairs, ...], of values [flows, ...]."""
        pairs, pair_of_flow = self.ends
        sums = np.zeros((len(pairs), *flow_values.shape[1:]), np.int64)
        np.add.at(sums, pair_of_flow, flow_values)
        return sums

    def hops(self, pairs: np.ndarray) -> np.ndarray:
        """Links between the two routers of each pair, int64 [pairs]."""
        y, x = np.divmod(pairs, self.placement.width)
        return np.abs(np.diff(x, axis=1))[:, 0] + np.abs(np.diff(y, axis=1))[:, 0]

    @property
    def cycles(self) -> int:
        """Cycles of all phases."""
        return sum(phase.cycles for phase in self.phases)

    @property
    def packets(self) -> int:
        """Messages that cross the network."""
        return sum(phase.packets for phase in self.phases)

    @property
    def local(self) -> int:
        """Messages that stay at their router."""
        return sum(phase.local for phase in self.phases)


def recording_of(run: RunDirectory) -> Recording:
    """What a run recorded, on its own chip. Raises :class:`CheckpointError` when a file of it is missing or broken."""
    recorded = read_traffic(run.path / "traffic.h5")
    path = run.path / "hardware.toml"
    if not path.is_file():
        raise CheckpointError(f"{run.path}: has no hardware.toml; restore it from a copy, or start the run again")
    return Recording.of(recorded.counts, recorded.plan, read_model(str(path)).model, recorded.signals, recorded.readout)


def mean_sample(recording: Recording) -> MeanSample:
    """One mean sample of what was recorded, in event style."""
    flows, flow_of_message = _flows(recording)
    travels = (flows["src"] != flows["dst"]).to_numpy()
    phases: list[Phase] = []
    for name in READ_PHASES:
        if name in recording.counts.presentations:
            messages = _messages(recording, name, flows, flow_of_message)
            away = messages[travels]
            start = phases[-1].first_cycle + phases[-1].cycles if phases else 0
            cycles = np.maximum(_tick_cycles(recording, name), _busiest_source(away, flows["src"][travels].to_numpy()))
            phases.append(Phase(name, away, int(messages[~travels].sum()), cycles, start))
    return MeanSample(recording, flows[travels].reset_index(drop=True), tuple(phases))


def _flows(recording: Recording) -> tuple[pd.DataFrame, np.ndarray]:
    """All flows, local ones too, and the one of every (route, destination)."""
    place, routes = recording.mesh.placement, recording.routes.all
    bits = recording.routes.message_bits(recording.chip.model, Style.EVENT)
    router = np.append(place.y * place.width + place.x, 0)  # the last one stands for the port, tile -1
    assert PORT == -1
    rows = [
        (router[route.source], router[tile], route.layer, route.component.value, width)
        for route, width in zip(routes, bits, strict=True)
        for tile in route.destinations
    ]
    messages = pd.DataFrame(rows, columns=FLOW_COLUMNS)
    groups = messages.groupby(FLOW_COLUMNS)
    flow_of_message = groups.ngroup().to_numpy()
    return groups.size().reset_index()[FLOW_COLUMNS], flow_of_message


def _messages(recording: Recording, phase: str, flows: pd.DataFrame, flow_of_message: np.ndarray) -> np.ndarray:
    """Messages of a phase of the mean sample, int64 [flows, ticks]."""
    counts, routes = recording.counts, recording.routes
    sends, states = counts.sends[phase], len(recording.chip.plan.senders)
    untimed = routes.messages(counts, phase, Style.EVENT)
    untimed[:states] = 0
    fan = np.array([len(route.destinations) for route in routes.all])
    totals = np.zeros((len(flows), 1 + len(sends)), np.int64)  # column 0: what is not counted tick by tick
    np.add.at(totals[:, 0], flow_of_message, untimed.repeat(fan))
    np.add.at(totals[:, 1:], flow_of_message[: fan[:states].sum()], sends.T.repeat(fan[:states], axis=0))
    rounded = largest_remainder(totals, counts.samples)
    component, layer = flows["component"].to_numpy(), flows["layer"].to_numpy()
    once = (component == Part.INPUT) | (component == Part.TARGET) | ((component == Part.PARTIAL_SUM) & (layer == 0))
    messages = rounded[:, 1:]
    messages[once, 0] += rounded[once, 0]
    messages[~once] += spread(rounded[~once, 0], counts.presentations[phase].max(1))
    return messages


def largest_remainder(totals: np.ndarray, samples: int, seed: int = 0) -> np.ndarray:
    """``totals / samples`` in whole numbers whose sum is that of ``totals`` over ``samples``, rounded.

    Every entry is rounded down; those that lost most get one more until the sum is right. Which of equal ones do is
    drawn from ``seed``, so that none is preferred for its place.
    """
    whole, lost = np.divmod(totals, samples)
    missing = round(int(totals.sum()) / samples) - int(whole.sum())
    chance = np.random.default_rng(seed).random(totals.size)
    whole.flat[np.lexsort((chance, -lost.ravel()))[:missing]] += 1
    return whole


def spread(amounts: np.ndarray, present: np.ndarray) -> np.ndarray:
    """``amounts`` [flows] over ticks, int64 [flows, ticks], evenly for the samples ``present`` [ticks] in each.

    Each row adds up to its amount. Rows begin at different points of the even pace, so that small amounts do not all
    fall into one tick.
    """
    passed = np.concatenate([[0], np.cumsum(present)])
    start = np.arange(len(amounts)) * 0.6180339887 % 1 * passed[-1]
    steps = (amounts[:, None] * passed + start.astype(np.int64)[:, None]) // passed[-1]
    return np.diff(steps, axis=1)


def _tick_cycles(recording: Recording, phase: str) -> np.ndarray:
    """Cycles of every tick, int64 [ticks]: its mean duration over all samples, 0 for those that are at rest already;
    none where the model's network takes no time.
    """
    present = recording.counts.presentations[phase].max(1)
    hop_s = recording.chip.model.noc.hop_time.value
    if hop_s == 0:
        return np.zeros(len(present), np.int64)
    per_sample_tick_s = latencies_s(recording, Style.EVENT)[phase] / present.sum()
    return np.ceil(per_sample_tick_s * present / recording.counts.samples / hop_s).astype(np.int64)


def _busiest_source(messages: np.ndarray, src: np.ndarray) -> np.ndarray:
    """Packets of the router that sends most in each tick, int64 [ticks]: it needs a cycle for each."""
    sent = np.zeros((int(src.max(initial=0)) + 1, messages.shape[1]), np.int64)
    np.add.at(sent, src, messages)
    return sent.max(0)


def document(run: RunDirectory, sample: MeanSample, form: str, **more: Any) -> dict[str, Any]:
    """What ``export.json`` says about a trace of format ``form``."""
    recording, place = sample.recording, sample.placement
    noc = recording.chip.model.noc
    return {
        "format": form,
        "run": {"name": run.info().get("name"), "directory": run.path.resolve().name},
        "versions": versions(),
        "scale": "one mean sample: totals of the recorded batches / samples, rounded to whole messages",
        "samples": recording.counts.samples,
        "batches": recording.counts.batches,
        "style": Style.EVENT.value,
        "hardware": recording.chip.model.model.name,
        "mesh": {
            "width": place.width,
            "height": place.height,
            "tiles": len(recording.chip.plan.tiles),
            "placement": noc.placement,
            "routing": "x first, then y",
            "router": "y * width + x",
            "port": "router 0",
        },
        "cycle_s": noc.hop_time.value or None,
        "cycle_note": CYCLE_NOTE if noc.hop_time.value else NO_CYCLE_NOTE,
        "flit_bits": noc.flit_bits.value,
        "cycles": sample.cycles,
        "phases": [_phase_document(phase) for phase in sample.phases],
        "messages": {"total": sample.packets + sample.local, "exported": sample.packets, "local": sample.local},
        "components": _component_document(sample),
        "within_a_phase": SPREAD_NOTE,
        **more,
        "not_included": [*NOT_INCLUDED, *more.get("not_included", ())],
    }


CYCLE_NOTE = (
    "a cycle is one hop; a tick takes its mean duration over all samples, and at least a cycle for every packet of the "
    "router that sends most in it"
)
NO_CYCLE_NOTE = (
    "the network of this hardware model takes no time; a tick takes a cycle for every packet of the router that sends "
    "most in it"
)
SPREAD_NOTE = (
    "events in the tick that sent them; input, targets and the partial sums of the first connection in the first tick; "
    "other partial sums, which are counted per phase, evenly over its ticks"
)


def _phase_document(phase: Phase) -> dict[str, Any]:
    lengths = phase.tick_cycles
    return {
        "name": phase.name,
        "first_cycle": phase.first_cycle,
        "cycles": phase.cycles,
        "ticks": phase.ticks,
        "tick_cycles": {
            "mean": phase.cycles / phase.ticks,
            "shortest": int(lengths.min()),
            "longest": int(lengths.max()),
        },
        "messages": {"total": phase.packets + phase.local, "exported": phase.packets, "local": phase.local},
    }


def _component_document(sample: MeanSample) -> Mapping[str, Any]:
    """Exported messages, and bits and flits of one, of each component of the ledger."""
    packets = sum((phase.messages.sum(1) for phase in sample.phases), np.zeros(len(sample.flows), np.int64))
    frame = sample.flows.assign(packets=packets, flits=sample.flits)
    return {
        str(name): {
            "exported": int(part["packets"].sum()),
            "bits": sorted({int(bits) for bits in part["bits"]}),
            "flits": sorted({int(flits) for flits in part["flits"]}),
        }
        for name, part in frame[packets > 0].groupby("component", sort=False)
    }


def write_lines(path: Path, lines: list[str]) -> None:
    """A text file of these lines."""
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
