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
from neurosim_ep.hardware.model.network import LevelSection

OVER_THE_MESH = (Part.MESSAGE, Part.PARTIAL_SUM, Part.INPUT, Part.TARGET)


def network_actions(recording: Recording, phase: str, style: Style) -> Iterator[Action]:
    """Bits times links of everything sent over the mesh, and times transfers inside cores and clusters, layer by layer;
    bits of input buffers; and what comes from outside the chip.
    """
    chip, sent = recording.chip, recording.sent(phase, style)
    crossings = sent.bits * recording.mesh.links
    for part in OVER_THE_MESH:
        yield Action(phase, part, _per_layer(recording, crossings, part), chip.hop_energy_J, per_tile=False)
    core_J, cluster_J = chip.transfer_energies_J
    carried = carried_bits(recording, phase, style)
    yield Action(phase, Part.CORE_TRANSFER, carried.core_by_layer, core_J, per_tile=False)
    yield Action(phase, Part.CLUSTER_TRANSFER, carried.cluster_by_layer, cluster_J, per_tile=False)
    yield _input_buffers(recording, phase, style)
    fetched = fetched_from_outside(recording, phase, style)
    yield Action(phase, Part.DRAM, fetched, chip.model.dram.access_energy.value, per_tile=False)


class Carried(NamedTuple):
    """Bits over the networks of cores and of clusters: by the layer that pays, float64 [layers + 1], and the most that
    any of them carries.
    """

    core_by_layer: np.ndarray
    cluster_by_layer: np.ndarray
    busiest_core: float
    busiest_cluster: float


def carried_bits(recording: Recording, phase: str, style: Style) -> Carried:
    """What the networks inside cores and clusters carry in a phase; where a core shares its input buffer, what its
    lines take from there too.
    """
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
        fetched = fetched_bits(chip.plan, chip.model, recording.counts, phase, style)
        np.add.at(core, chip.plan.layer_of_tile, fetched)
        np.add.at(by_core, levels.core_of, fetched)
    return Carried(core, cluster, float(by_core.max(initial=0)), float(by_cluster.max(initial=0)))


def fetched_from_outside(recording: Recording, phase: str, style: Style) -> np.ndarray:
    """Bits of images and stored targets that come from outside the chip, int64 [layers + 1]."""
    chip = recording.chip
    fetched = _per_layer(recording, recording.sent(phase, style).payload, Part.TARGET)
    if phase == "free":
        inputs = math.prod(chip.plan.geometries[0].in_shape)
        fetched[0] += recording.counts.samples * inputs * chip.model.digital.state_bits.value
    return fetched


def network_time_s(recording: Recording, phase: str, style: Style, ends: int) -> float:
    """Time of everything sent in a phase: what comes from outside, then whole flits over the busiest link of the mesh,
    or the bits of the busiest core or cluster over its network, as these work at the same time, and ``ends`` times the
    way across the mesh.
    """
    chip, noc = recording.chip, recording.chip.model.noc
    fetch_s = int(fetched_from_outside(recording, phase, style).sum()) / chip.model.dram.bandwidth.value
    mesh_s = busiest(recording.mesh.loads(recording.sent(phase, style).flits)) * noc.hop_time.value
    carried = carried_bits(recording, phase, style)
    core_s = _level_s(chip.model.core, carried.busiest_core)
    cluster_s = _level_s(chip.model.cluster, carried.busiest_cluster)
    return fetch_s + max(mesh_s, core_s, cluster_s) + ends * recording.mesh.placement.diameter * noc.hop_time.value


def _level_s(level: LevelSection | None, bits: float) -> float:
    return 0.0 if level is None else bits / level.width_bits.value * level.cycle_time.value


def _input_buffers(recording: Recording, phase: str, style: Style) -> Action:
    """Bits that arrive in the buffers of tiles, or of cores that share one, and that lines take from there."""
    chip, routes = recording.chip, recording.routes
    bits = recording.sent(phase, style).payload
    tile_bits = np.zeros(len(chip.plan.tiles))
    if style is not Style.SETTLING:
        route, tile = routes.arrivals(shared=chip.model.shared("inputs"))
        np.add.at(tile_bits, tile, bits[route])
        tile_bits += fetched_bits(chip.plan, chip.model, recording.counts, phase, style)
    sizes, which = np.unique(chip.input_buffer_bits, return_inverse=True)
    unit_J = np.array([chip.model.buffer_energy_J_per_bit(float(size)) for size in sizes])[which]
    return Action(phase, Part.INPUT_BUFFER, tile_bits, unit_J, per_tile=True)


def _per_layer(recording: Recording, amounts: np.ndarray, part: Component) -> np.ndarray:
    mine = recording.routes.component == part
    found = np.zeros_like(recording.chip.neurons)
    np.add.at(found, recording.routes.layer[mine], amounts[mine])
    return found
