"""What is sent: over the mesh, over the networks inside cores and clusters, into input buffers, from outside the
chip.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
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
    hop, (core, cluster) = chip.hop_energy, chip.transfer_energies
    for part, crossings in carried.mesh.items():
        yield Action(phase, part, counted("bits x links", crossings, part.sentence), hop, per_tile=False)
    for part, bits, unit in (
        (Part.CORE_TRANSFER, carried.core, core), (Part.CLUSTER_TRANSFER, carried.cluster, cluster),
    ):  # fmt: skip
        yield Action(phase, part, counted("bits x transfers", bits, part.sentence), unit, per_tile=False)
    yield _input_buffers(recording, phase, style)
    fetched = counted("bits of images and targets", carried.outside)
    yield Action(phase, Part.DRAM, fetched, chip.model.term("dram.access_energy"), per_tile=False)


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
        by_layer, by_place = np.zeros(len(chip.neurons)), np.zeros(places)
        np.add.at(by_layer, layer[route], bits[route])
        np.add.at(by_place, place, bits[route])
        found.append((by_layer, by_place))
    (core, by_core), (cluster, by_cluster) = found
    if chip.model.shared("inputs") and style is not Style.SETTLING:
        fetched = fetched_bits(chip.plan, chip.model, recording.counts, phase, style).value
        np.add.at(core, chip.plan.layer_of_tile, fetched)
        np.add.at(by_core, levels.core_of, fetched)
    outside = _per_layer(recording, sent.payload, Part.TARGET)
    if phase == "free":
        image_bits = math.prod(chip.plan.geometries[0].in_shape) * chip.model.digital.state_bits.value
        outside[0] += recording.counts.samples * image_bits
    mesh = {part: _per_layer(recording, sent.bits * recording.mesh.links, part) for part in OVER_THE_MESH}
    link = busiest(recording.mesh.loads(sent.flits))
    return Carried(mesh, core, cluster, outside, link, float(by_core.max(initial=0)), float(by_cluster.max(initial=0)))


def network_time_s(recording: Recording, phase: str, style: Style, ends: int) -> float:
    """Time of everything sent in a phase: what comes from outside, then whole flits over the busiest link of the mesh,
    or the bits of the busiest core or cluster over its network, as these work at the same time, and ``ends`` times the
    way across the mesh.
    """
    return ways_s(recording, phase, style, ends).total_s


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
    """The parts of :func:`network_time_s`."""
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
        bits = bits + fetched_bits(chip.plan, chip.model, recording.counts, phase, style)
    return Action(phase, Part.INPUT_BUFFER, bits, chip.model.buffer_energy(chip.input_buffer_bits), per_tile=True)


def _per_layer(recording: Recording, amounts: np.ndarray, part: Component) -> np.ndarray:
    mine = recording.routes.component == part
    found = np.zeros(len(recording.chip.neurons))
    np.add.at(found, recording.routes.layer[mine], amounts[mine])
    return found
