"""What is sent: over the mesh, over the networks inside cores and clusters, into input buffers, from outside the
chip.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from neurosim_ep.hardware.bill.action import Action
from neurosim_ep.hardware.chip.components import Component, Part
from neurosim_ep.hardware.chip.inputs import fetched_bits
from neurosim_ep.hardware.chip.noc import busiest
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.chip.transfers import Carried
from neurosim_ep.hardware.model.network import LevelSection
from neurosim_ep.hardware.model.terms import counted

OVER_THE_MESH = (Part.MESSAGE, Part.PARTIAL_SUM, Part.INPUT, Part.TARGET)


def network_actions(recording: Recording, phase: str, style: Style) -> Iterator[Action]:
    """Bits times links of everything sent over the mesh, and times transfers inside cores and clusters, layer by layer;
    bits of input buffers; and what comes from outside the chip.
    """
    chip, carried = recording.chip, carried_bits(recording, phase, style)
    hop, act = chip.hop_energy, partial(Action, phase, per_tile=False)
    for part, crossings in carried.mesh.items():
        yield act(part, counted("bits x links", crossings, part.sentence), hop)
    inside = {Part.CORE_TRANSFER: carried.core, Part.CLUSTER_TRANSFER: carried.cluster}
    for (part, bits), unit in zip(inside.items(), chip.transfer_energies, strict=True):
        yield act(part, counted("bits x transfers", bits, part.sentence), unit)
    yield _input_buffers(recording, phase, style)
    fetched = counted("bits of images and targets", carried.outside)
    yield act(Part.DRAM, fetched, chip.model.term("dram.access_energy"))


def carried_bits(recording: Recording, phase: str, style: Style) -> Carried:
    """What the networks carry in a phase; of cores that share their input buffer, what lines take from there too."""
    if (phase, style) not in recording.carried:
        recording.carried[phase, style] = _carried_bits(recording, phase, style)
    return recording.carried[phase, style]


def _carried_bits(recording: Recording, phase: str, style: Style) -> Carried:
    chip, sent, levels = recording.chip, recording.sent(phase, style), recording.chip.levels
    layer, found = recording.routes.layer, []
    for transfers, places, bits in (
        (chip.transfers.in_cores, levels.cores, sent.payload), (chip.transfers.in_clusters, levels.nodes, sent.bits),
    ):  # fmt: skip
        route, place = transfers.T
        by_layer = np.bincount(layer[route], bits[route], len(chip.neurons))
        found.append((by_layer, np.bincount(place, bits[route], places)))
    (core, by_core), (cluster, by_cluster) = found
    if chip.model.shared("inputs") and style is not Style.SETTLING:
        fetched = fetched_bits(recording, phase, style).value
        np.add.at(core, chip.plan.layer_of_tile, fetched)
        np.add.at(by_core, levels.core_of, fetched)
    outside = _per_layer(recording, sent.payload, Part.TARGET)
    if phase == "free":
        image_bits = math.prod(chip.plan.geometries[0].in_shape) * chip.model.digital.state_bits.value
        outside[0] += recording.counts.samples * image_bits
    mesh = {part: _per_layer(recording, sent.bits * recording.mesh.links, part) for part in OVER_THE_MESH}
    link = busiest(recording.mesh.loads(sent.flits))
    return Carried(mesh, core, cluster, outside, link, float(by_core.max(initial=0)), float(by_cluster.max(initial=0)))


class Ways(NamedTuple):
    """Time of what is sent: from outside, over the busiest link, core and cluster, and across the mesh [s]."""

    fetch_s: float
    mesh_s: float
    core_s: float
    cluster_s: float
    ends_s: float

    @property
    def total_s(self) -> float:
        """Mesh, cores and clusters work at the same time."""
        return self.fetch_s + max(self.mesh_s, self.core_s, self.cluster_s) + self.ends_s


def ways_s(recording: Recording, phase: str, style: Style, ends: int) -> Ways:
    """Time of everything sent in a phase: what comes from outside, then whole flits over the busiest link of the mesh,
    or the bits of the busiest core or cluster over its network, and ``ends`` times the way across the mesh.
    """
    chip, noc = recording.chip, recording.chip.model.noc
    carried = carried_bits(recording, phase, style)
    return Ways(
        float(carried.outside.sum()) / chip.model.dram.bandwidth.value,
        carried.busiest_link * noc.hop_time.value,
        _level_s(chip.model.core, carried.busiest_core),
        _level_s(chip.model.cluster, carried.busiest_cluster),
        ends * recording.mesh.placement.diameter * noc.hop_time.value,
    )


def _level_s(level: LevelSection | None, bits: float) -> float:
    return 0.0 if level is None else bits / level.width_bits.value * level.cycle_time.value


def _input_buffers(recording: Recording, phase: str, style: Style) -> Action:
    """Bits that arrive in the buffers of tiles, or of cores that share one, and that lines take from there."""
    chip, routes = recording.chip, recording.routes
    arriving = np.zeros(len(chip.plan.tiles))
    bits = counted("bits that arrive", arriving)
    if style is not Style.SETTLING:
        route, tile = routes.arrivals(shared=chip.model.shared("inputs"))
        np.add.at(arriving, tile, recording.sent(phase, style).payload[route])
        bits = bits + fetched_bits(recording, phase, style)
    return Action(phase, Part.INPUT_BUFFER, bits, chip.model.buffer_energy(chip.input_buffer_bits), per_tile=True)


def _per_layer(recording: Recording, amounts: np.ndarray, part: Component) -> np.ndarray:
    mine = recording.routes.component == part
    return np.bincount(recording.routes.layer[mine], amounts[mine], len(recording.chip.neurons))
