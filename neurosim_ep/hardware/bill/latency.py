"""How long the phases of the recorded batches take on the chip, one sample after the other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neurosim_ep.hardware.bill.digital import further_drives, projection_macs
from neurosim_ep.hardware.bill.network import ways_s
from neurosim_ep.hardware.bill.reads import busy_s
from neurosim_ep.hardware.bill.settling import conversion_time_s, settling_time_s
from neurosim_ep.hardware.bill.writing import write_time_s
from neurosim_ep.hardware.chip.phases import READ_PHASES, UPDATE
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.chip.styles import Style


class Stages(NamedTuple):
    """What a phase spends its time on, summed over the recorded samples [s]."""

    read_s: float
    network_s: float
    neuron_s: float
    projection_s: float


def latencies_s(recording: Recording, style: Style) -> dict[str, float]:
    """Seconds of each read phase, and of "update".

    The stages of a tick follow one another, or, where the model's ``array.overlap`` is "pipelined", work on different
    positions at the same time, so that the longest counts.
    """
    if style not in recording.latencies:
        join = max if recording.chip.model.array.overlap == "pipelined" else sum
        found = {phase: float(join(stages(recording, phase, style))) for phase in READ_PHASES}
        recording.latencies[style] = found | {UPDATE: write_time_s(recording)}
    return recording.latencies[style]


def stages(recording: Recording, phase: str, style: Style) -> Stages:
    """Time of the stages of a read phase.

    - read: tick by tick the slowest tile, its positions and directions in turn, tiles at the same time, but for those
      of a core that share drivers or converters, whatever layers they drive; settling: the settling time;
    - network: see :func:`~neurosim_ep.hardware.bill.network.ways_s`; in every tick the way across the mesh, by
      which the tick ends everywhere;
    - neuron: the slowest unit, the neurons beside it in turn, of all layers that are updated in the tick where the
      tiles of a core share it; settling: the conversion of all states;
    - projection: the multiply-adds of the slowest readout or signal.

    In event style the reads of a tile are spread evenly over the ticks in which it may be read, which is a lower bound.
    """
    counts, chip = recording.counts, recording.chip
    if phase not in counts.presentations:
        return Stages(0.0, 0.0, 0.0, 0.0)
    projection_s = projection_time_s(recording, phase, style)
    if style is Style.SETTLING:
        return Stages(
            counts.samples * settling_time_s(chip),
            ways_s(recording, phase, style, counts.samples * (phase != "free")).total_s,
            counts.samples * conversion_time_s(chip),
            projection_s,
        )
    ticks = int(counts.presentations[phase].max(1).sum())
    worked = (counts.needed if style is Style.EVENT else counts.presentations)[phase]
    neuron_s = float((worked @ neuron_times_s(recording, phase).T).max(1).sum())
    read_s = float(read_times_s(recording, phase, style).max(1).sum())
    return Stages(read_s, ways_s(recording, phase, style, ticks).total_s, neuron_s, projection_s)


def read_times_s(recording: Recording, phase: str, style: Style) -> np.ndarray:
    """Time that the slowest tile of each connection is read in each tick, float64 [ticks, connections], or where the
    tiles of a core share drivers or converters, that each core is, float64 [ticks, cores].

    A connection is read forwards when the layer it drives is updated (connection 0 once, at first) and backwards when
    the layer that drives it is. Its reads are spread over the ticks as these updates are, which is exact where every
    position is read.
    """
    counts, plan = recording.counts, recording.chip.plan
    updated = counts.presentations[phase].astype(np.float64)
    ticks, above = len(updated), plan.geometries[1:]
    first = np.zeros(ticks)
    first[0] = 1.0
    when = np.stack(
        [
            np.stack([first, *(updated[:, geometry.ends[1]] for geometry in above)]),
            np.stack([np.zeros(ticks), *(updated[:, geometry.ends[0]] for geometry in above)]),
        ]
    )
    shares, tiles_s = when / np.maximum(when.sum(2, keepdims=True), 1.0), busy_s(recording, phase, style)
    if not reads_take_turns(recording):
        slowest = np.maximum.reduceat(tiles_s, np.array(plan.starts[:-1]), axis=1)
        return np.asarray((shares * slowest[:, :, None]).sum(0).T)
    levels, connection = recording.chip.levels, np.array([tile.connection for tile in plan.tiles])
    places, width = connection * levels.cores + levels.core_of, len(plan.geometries) * levels.cores
    cores_s = np.stack([np.bincount(places, weights=each, minlength=width) for each in tiles_s])
    cores_s = cores_s.reshape(*shares.shape[:2], levels.cores)
    return np.einsum("dct,dck->tk", shares, cores_s)


def reads_take_turns(recording: Recording) -> bool:
    """Whether the tiles of a core share what a read takes."""
    return recording.chip.model.shared("drivers") or recording.chip.model.shared("converters")


def projection_time_s(recording: Recording, phase: str, style: Style) -> float:
    """Time the multiply-adds of the slowest readout or signal take in a phase, by the units it has."""
    digital = recording.chip.model.digital
    macs = max((part.max() for _, part in projection_macs(recording, phase, style)), default=0)
    return int(macs) * digital.multiply_add_time.value / digital.multiply_add_units.value


def neuron_times_s(recording: Recording, phase: str) -> np.ndarray:
    """Time the neurons of a layer that live beside a tile take in a tick, those of a unit in turn, each once, and again
    for every further drive, float64 [tiles, layers]; of all tiles of a core where these share them, [cores, layers].
    """
    chip, digital = recording.chip, recording.chip.model.digital
    owners = chip.levels.owners(shared=chip.model.shared("neurons"))
    turns = np.add.reduceat(chip.neurons_beside, owners, axis=0) * (1 + further_drives(recording, phase)[:-1])
    return np.ceil(turns / digital.neuron_units.value) * digital.neuron_time.value
