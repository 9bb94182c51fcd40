"""The tiles of a whole network: every connection read and written through arrays of real cells."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from neurosim_ep.ep.edges import Connection
from neurosim_ep.ep.network import Network
from neurosim_ep.ep.plasticity import synaptic_activity
from neurosim_ep.ep.seeds import Stream, generator
from neurosim_ep.errors import HardwareModelError, ScenarioError, UsageError
from neurosim_ep.scenario.schema import CellsSection, DeviceSection, HardwareSection
from neurosim_ep.tiles.cells import Cells
from neurosim_ep.tiles.conductance import Encoding
from neurosim_ep.tiles.converters import Drivers
from neurosim_ep.tiles.crossbar import Circuit, TileArray
from neurosim_ep.tiles.devices.base import DeviceModel
from neurosim_ep.tiles.devices.file import Conductances, load_device, read_device_file
from neurosim_ep.tiles.mapping import TilePlan
from neurosim_ep.tiles.pulsed_update import Devices, PulseCounts, Term
from neurosim_ep.tiles.statistics import CellStatistics, load_cells


class ChipTiles:
    """Tile arrays of all connections of ``network``, which read them instead of their weights from now on, unless that
    is the same.

    Without a device the weights of the network are a digital copy, which :meth:`program` writes into the cells: the
    largest weight of a connection takes their whole range. With one they are what the devices hold, and only
    :meth:`write_difference` and :meth:`write_terms` change them.
    """

    def __init__(self, network: Network, arrays: Sequence[TileArray], devices: Sequence[Devices], seed: int) -> None:
        self.network, self.arrays, self.devices, self.seed = network, list(arrays), list(devices), seed
        for connection, array in zip(network.connections, self.arrays, strict=True):
            connection.tiles = None if array.exact else array
        self.device = torch.device("cpu")
        self.begin(Stream.TILES, 0)
        self.program()

    @property
    def pulsed(self) -> bool:
        """Whether weights are changed by pulses only."""
        return bool(self.devices)

    @property
    def by_difference(self) -> bool:
        """Whether devices get one number of pulses per weight and batch, not the terms of outer products."""
        return all(devices.by_difference for devices in self.devices)

    def to(self, device: torch.device) -> None:
        """Follow the network to ``device``."""
        self.device = device
        for array in self.arrays:
            array.cells.to(device)
        for devices in self.devices:
            devices.to(device)
        self.begin(Stream.TILES, 0)
        for array in self.arrays:
            array.refresh()

    def begin(self, stream: Stream, epoch: int, reader: int | None = None) -> None:
        """Draw what is random in reads and pulses from ``stream`` of ``epoch`` from now on.

        Where several processes read the same tiles, each with a number ``reader``, all of them write the same pulses,
        but each read has noise of its own.
        """
        seeds = torch.randint(2**62, (2 + (reader or 0),), generator=generator(self.seed, stream, epoch)).tolist()
        self.random = torch.Generator(self.device).manual_seed(seeds[0])
        self.noise = self.random if reader is None else torch.Generator(self.device).manual_seed(seeds[-1])
        for array in self.arrays:
            array.random = self.noise

    def random_state(self) -> list[Tensor]:
        """How far the random numbers of pulses and of reads have come since :meth:`begin`."""
        return [drawn.get_state() for drawn in (self.random, self.noise)]

    def set_random_state(self, state: Sequence[Tensor]) -> None:
        """Draw from :meth:`random_state` on, after the same :meth:`begin`."""
        for drawn, known in zip((self.random, self.noise), state, strict=True):
            drawn.set_state(known.cpu())

    @contextmanager
    def calibrating(self, active: bool = True) -> Iterator[None]:
        """Find the ranges of the converters anew from the reads inside the block."""
        for array in self.arrays if active else ():
            array.ranges.begin()
        yield
        for array in self.arrays if active else ():
            array.ranges.end()

    @contextmanager
    def counting(self, active: bool = True) -> Iterator[None]:
        """Count what the converters do inside the block, from nothing."""
        for array in self.arrays if active else ():
            array.counting = True
            array.conversions.clear()
        yield
        for array in self.arrays:
            array.counting = False

    def program(self) -> None:
        """Make the cells hold the weights of the network, or, with devices, both hold what these do."""
        for number, (connection, array) in enumerate(zip(self.network.connections, self.arrays, strict=True)):
            if self.devices:
                weights = self.devices[number].weights
                connection.weight.copy_(array.lines.weight(weights) * array.scale)
                array.hold(weights.to(connection.weight.dtype), self.random)
                continue
            array.scale = _largest(connection)
            array.hold(array.normalised(connection.weight), self.random)

    def write_difference(self, before: Sequence[Tensor]) -> None:
        """Write the change of each weight of the network since ``before`` into its device."""
        for connection, array, devices, old in zip(
            self.network.connections, self.arrays, self.devices, before, strict=True
        ):
            devices.write_difference(array.normalised(connection.weight - old), self.random)
        self.program()

    def write_terms(
        self,
        x: Tensor,
        ends: Sequence[tuple[int, Sequence[Tensor]]],
        rates: Sequence[Tensor],
        pre: Sequence[Tensor] | None = None,
    ) -> None:
        """Write the terms of a rule: ``rate · Σ sign · ∂Φ/∂w(end)`` for each connection.

        x (B, C, H, W) images; ``ends``: sign and states of every layer (B, *shape), or errors; ``rates``: one per
        connection, with the factors of the rule in them; ``pre``: states (B, *shape) that pre-synaptic factors are of,
        where these are not those of each end.
        """
        for number, (array, devices) in enumerate(zip(self.arrays, self.devices, strict=True)):
            terms = [Term(sign, *synaptic_activity(self.network, number, x, states, pre)) for sign, states in ends]
            devices.write_terms(terms, rates[number] / array.scale, self.random)
        self.program()

    def pulses(self) -> list[PulseCounts]:
        """Pulses of the last batch, connection by connection, in the layout of the weights."""
        return [
            PulseCounts(*(array.lines.weight(part) for part in (devices.counts.up, devices.counts.down)))
            for array, devices in zip(self.arrays, self.devices, strict=True)
        ]

    def state_dict(self) -> dict[str, Any]:
        """Hidden state of cells and devices, units and calibrated ranges."""
        return {
            "cells": [array.cells.state_dict() for array in self.arrays],
            "devices": [devices.state_dict() for devices in self.devices],
            "scale": [array.scale for array in self.arrays],
            "ranges": [{"/".join(key): ranges for key, ranges in array.ranges.found.items()} for array in self.arrays],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`; the network's weights must have been loaded before."""
        for array, cells, scale, ranges in zip(
            self.arrays, state["cells"], state["scale"], state["ranges"], strict=True
        ):
            array.scale = float(scale)
            array.cells.load_state_dict(cells)
            array.ranges.found = {(*key.split("/"),): list(found) for key, found in ranges.items()}
            array.refresh()
        for devices, kept in zip(self.devices, state["devices"], strict=True):
            devices.load_state_dict(kept)


def make_tiles(
    network: Network,
    plan: TilePlan,
    section: HardwareSection,
    circuit: Circuit,
    off: float,
    seed: int,
    *,
    errors: bool = False,
) -> ChipTiles | None:
    """Tiles of ``network`` on the arrays of ``plan`` as ``section`` says; None where they are ideal.

    ``off``: off over on conductance; ``errors``: what columns are driven with has no part of a state. Raises
    :class:`ScenarioError` where arrays and cells do not fit, and what the files of device and cells raise.
    """
    if section.ideal:
        return None
    array = plan.array
    if array.cells_per_weight not in (1, 2):
        raise ScenarioError(
            f"hardware.model = {section.model}: has {array.cells_per_weight} cells per weight; tiles that are not "
            "ideal are modelled with 1 (and a reference column) or 2 (a differential pair); choose another model"
        )
    if array.slices > 1 and not section.device.ideal:
        raise ScenarioError(
            f"hardware.device.preset = {section.device.preset}: pulses write whole weights, but the hardware model "
            f"{section.model} has {array.slices} bit slices; choose a model with one, or preset = none"
        )
    if array.columns % array.cells_per_weight:
        raise ScenarioError(
            f"hardware.model = {section.model}: has arrays of {array.columns} columns, which would part the cells of a "
            "pair; on tiles that are not ideal give them an even number"
        )
    if off >= 1:
        raise ScenarioError(
            f"hardware.model = {section.model}: cells that are off conduct as much as those that are on, and hold no "
            "weight; on tiles that are not ideal choose another model"
        )
    levels = section.cells.levels
    if array.slices > 1:
        levels = max(2, round(array.levels ** (1 / array.slices)))
    encoding = Encoding(array.cells_per_weight, off, array.slices, levels)
    statistics, model = _statistics(section.cells), _device(section.device)
    arrays, devices = [], []
    for number, (connection, geometry) in enumerate(zip(network.connections, plan.geometries, strict=True)):
        construction = generator(section.construction_seed, Stream.CONSTRUCTION, number)
        shape = (geometry.fan_in, geometry.channels)
        cells = Cells(encoding, section.cells, statistics, shape, construction)
        drivers = _drivers(network, plan, section, number, errors)
        tiles = TileArray(geometry, array, section, circuit, cells, drivers)
        arrays.append(tiles)
        if model is not None:
            tiles.scale = _largest(connection) / section.device.weight_scaling_omega
            start = tiles.normalised(connection.weight.detach())
            devices.append(Devices(model, section.device, tiles.lines, start, construction))
    return ChipTiles(network, arrays, devices, seed)


def _drivers(
    network: Network, plan: TilePlan, section: HardwareSection, connection: int, errors: bool
) -> tuple[Drivers, Drivers]:
    """Drivers of the rows and of the columns of a connection. Images, errors, and states that grow beyond any bound,
    have no range of their own; the last are as they are where drivers are exact.
    """
    geometry = plan.geometries[connection]
    bounds = [None, *(one.bound if math.isfinite(one.bound) else 1.0 for one in network.activations)]
    source, target = geometry.ends
    ends = bounds[source + 1], None if errors else bounds[target + 1]
    rows, columns = (
        Drivers(section.converters, signed=signed, bound=bound, passes=plan.array.sign_passes)
        for signed, bound in zip(geometry.signed, ends, strict=True)
    )
    return rows, columns


def _statistics(section: CellsSection) -> CellStatistics | None:
    """Statistics of the cells; raises :class:`HardwareModelError` where they know nothing of the time of the reads."""
    if section.statistics == "none":
        return None
    with _naming("hardware.cells.statistics", section.statistics):
        found = load_cells(section.statistics)
    with _naming("hardware.cells.time_s", section.time_s):
        found.drifted(torch.ones(1), torch.ones(1), section.time_s)
    return found


def device_conductances(section: DeviceSection) -> Conductances | None:
    """What the weights -1 and 1 of the devices stand for, where their file says so. Raises :class:`HardwareModelError`
    for a file that is not understood.
    """
    if section.ideal:
        return None
    with _naming("hardware.device.preset", section.preset):
        return read_device_file(section.preset).conductance


def _device(section: DeviceSection) -> DeviceModel | None:
    if section.ideal:
        return None
    with _naming("hardware.device.preset", section.preset):
        load_device(section.preset)
    with _naming("hardware.device.constants", section.constants):
        return load_device(section.preset, section.constants)


@contextmanager
def _naming(key: str, value: object) -> Iterator[None]:
    """Say of which key and value a problem is."""
    try:
        yield
    except (HardwareModelError, UsageError) as problem:
        raise HardwareModelError(f"{key} = {value}: " + str(problem).removeprefix(f"{value}: ")) from problem


def _largest(connection: Connection) -> float:
    """The largest weight of a connection, without its sign, above 0."""
    return max(float(connection.weight.detach().abs().max()), 1e-12)
