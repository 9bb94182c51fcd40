"""Everything a scenario describes, built: network, signals, tiles and hardware."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import pandas as pd
import torch

from neurosim_ep.ep.feedback import Feedback
from neurosim_ep.ep.network import Network, build_network
from neurosim_ep.ep.signals import Signals, build_signals
from neurosim_ep.hardware.chip.area import area_table
from neurosim_ep.hardware.chip.counts import TileCounts
from neurosim_ep.hardware.chip.memory import memory_table
from neurosim_ep.hardware.chip.projections import Projection
from neurosim_ep.hardware.chip.recording import Chip, Recording
from neurosim_ep.hardware.model.file import ModelFile, read_model
from neurosim_ep.hardware.model.sections import HardwareModel
from neurosim_ep.scenario.schema import HardwareSection, RelaxationSection, Scenario, TeacherSection
from neurosim_ep.tiles.crossbar import Circuit
from neurosim_ep.tiles.mapping import ConnectionGeometry, TilePlan, plan_tiles
from neurosim_ep.tiles.network_tiles import ChipTiles, device_conductances, make_tiles

FEED_FORWARD = 0.0, 1.0
"""Gains of a pass without feedback, down whose edges only errors go, and those as they are."""


@dataclass(frozen=True)
class Model:
    """A network with its signals and the gains of its feedback, mapped onto the tiles of a hardware model; ``tiles``
    are real ones, where it has any.
    """

    network: Network
    feedback: Feedback
    signals: Signals | None
    hardware: HardwareModel
    plan: TilePlan
    teacher: TeacherSection
    tiles: ChipTiles | None = None

    @property
    def signal_projections(self) -> list[Projection]:
        """Shapes of the signals, for the cost model."""
        if self.signals is None:
            return []
        return [
            Projection(
                layer,
                features := math.prod(self.network.state_shapes[layer]),
                features if kind.taught else self.network.num_classes,
                learned=layer in self.signals.learned,
                direct=not kind.matrix,
                off_chip_bits=self.teacher.sample_bits(features) if kind.taught else 0,
            )
            for layer, kind in self.signals.kinds.items()
        ]

    @property
    def readout_projection(self) -> Projection | None:
        """Shape of the readout, for the cost model."""
        if self.network.readout is None:
            return None
        last = self.network.layers - 1
        return Projection(last, math.prod(self.network.state_shapes[last]), self.network.num_classes, True)

    def memory(self, relaxation: RelaxationSection) -> pd.DataFrame:
        """On-chip memory for one sample, item by item, against BPTT over the phases of ``relaxation``."""
        return memory_table(self._chip, free_steps=relaxation.free_steps, nudge_steps=relaxation.nudge_steps)

    def recording(self, counts: TileCounts) -> Recording:
        """``counts`` on the chip of this model."""
        return Recording.on(self._chip, counts)

    @cached_property
    def _chip(self) -> Chip:
        return Chip(self.plan, self.hardware, tuple(self.signal_projections), self.readout_projection)

    def to(self, device: torch.device, dtype: torch.dtype | None = None) -> Self:
        """Move all it holds to ``device``, network and signals in the number format ``dtype`` where it is given."""
        for module in (self.network, self.signals):
            if module is not None:
                module.to(device, dtype)
        if self.tiles is not None:
            self.tiles.to(device)
        return self

    def state_dict(self) -> dict[str, Any]:
        """Weights, learned projections, and what tiles hold."""
        return {
            "network": self.network.state_dict(),
            "signals": {} if self.signals is None else self.signals.state_dict(),
            "tiles": {} if self.tiles is None else self.tiles.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`. Raises KeyError or RuntimeError when it is another network's."""
        self.network.load_state_dict(state["network"])
        if self.signals is not None:
            self.signals.load_state_dict(state["signals"])
        if self.tiles is not None:
            self.tiles.load_state_dict(state["tiles"])

    def area(self) -> pd.DataFrame:
        """Area of the chip, part by part."""
        return area_table(self._chip)


def build_model(scenario: Scenario, num_classes: int, image_shape: tuple[int, ...]) -> Model:
    """Network, signals, hardware model and tile plan of ``scenario``, on the CPU.

    Raises :class:`ScenarioError` or :class:`HardwareModelError` where they do not fit together, :class:`UsageError` for
    a gain that leaves nothing of an error which is to be passed down.
    """
    relaxation = scenario.relaxation
    hardware = chip_model(scenario.hardware).model
    network = build_network(scenario.network, num_classes, image_shape, scenario.scenario.seed)
    signals = build_signals(scenario.signals, network, scenario.scenario.seed)
    gains = (relaxation.feedback, relaxation.displacement_gain) if scenario.plasticity.relaxes else FEED_FORWARD
    feedback = Feedback(network, *gains)
    if scenario.plasticity.on_tiles:
        feedback.check_nudge()
    if feedback.boosted:
        for edge in network.edges[1:]:  # a falling state is more than its share of the free one
            edge.signed = edge.signed[0], True
    connections, identities = (
        [ConnectionGeometry.from_connection(edge) for edge in edges]
        for edges in (network.connections, [edge for edge in network.edges if edge.kind == "identity"])
    )
    plan = plan_tiles(connections, hardware.array_geometry(), identities)
    circuit = Circuit(hardware.cell.on_conductance.value, hardware.wire.segment_resistance.value)
    off = hardware.cell.off_conductance.value / circuit.on_S
    seed, errors = scenario.scenario.seed, feedback.feedback == 0
    tiles = make_tiles(network, plan, scenario.hardware, circuit, off, seed, errors=errors)
    return Model(network, feedback, signals, hardware, plan, scenario.teacher, tiles)


def chip_model(section: HardwareSection) -> ModelFile:
    """The hardware model of a scenario, with the converters and the way of writing of tiles that are not ideal, and
    with the conductances of a device whose file says them.
    """
    file, converters = read_model(section.model), section.converters
    if section.ideal:
        return file
    changes: dict[str, Any] = {"array.subtraction": "analog"}
    if (found := device_conductances(section.device)) is not None:
        for key, given in (("cell.on_conductance", found.maximum_S), ("cell.off_conductance", found.minimum_S)):
            changes[key] = {**given.model_dump(), "unit": "S", "node_nm": file.given(key)["node_nm"]}
        changes["cell.read_energy"] = None  # of cells of other conductances
    if converters.adc_bits:
        changes["adc.bits"] = converters.adc_bits
    if converters.dac_bits:
        serial = converters.dac_coding == "bit_serial"
        changes["array.input_pulses"] = converters.dac_bits if serial else 1
        changes["dac.bits"] = 1 if serial else converters.dac_bits
        changes["array.conversions"] = "per_pulse" if serial else "per_read"
    device = section.device
    if not device.ideal and device.update == "difference" and file.model.write.parallel:
        changes["write.scheme"] = "accumulate"
    elif not device.ideal and device.update != "difference":
        changes |= {"write.scheme": "outer_product", "write.slots": device.desired_bl}
    return file.changed(changes, "tiles of the scenario")
