"""Sections of a hardware model about what lies between arrays: the levels of the chip, its network, its static power.

A *tile* is one array with its slices, as the tile plan cuts matrices. Where a model says so, several tiles make a
*core*, several cores a *cluster*, and clusters lie on a mesh, one router each. Without these sections every tile has a
router of its own.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from neurosim_ep.hardware.model.quantities import (
    CYCLE,
    Bits,
    FaradPerMetre,
    Fraction,
    JoulePerBit,
    JoulePerBitMetre,
    Metre,
    Number,
    Second,
    SquareMetre,
    Watt,
    WattPerSquareMetre,
    key,
)
from neurosim_ep.strict import Strict

Part = Literal["drivers", "converters", "neurons", "multiply_adds", "inputs", "accumulators"]


class LevelSection(Strict):
    """What several parts of a chip have in common: a network among them, silicon and static power of its own."""

    network: Annotated[
        Literal["bus", "htree"],
        key("bus: a wire past all parts carries one transfer at a time; htree: a tree of wires to the middle", "time"),
    ] = "bus"
    transfer_energy: Annotated[
        JoulePerBit | None,
        key("one bit over the network; default: that of its wires, noc.link_energy times their length"),
    ] = None
    width_bits: Annotated[Number, key("bits that the network carries in a cycle", "time")]
    cycle_time: Annotated[Second, key("a cycle of the network", "time")] = CYCLE
    area: Annotated[SquareMetre, key("silicon beside the parts: network, control", "area")] = SquareMetre.default(
        0.0, "wires lie above the parts"
    )
    leakage: Annotated[
        Watt | None, key("static power beside that of the parts; default: leakage.density times area", "leakage")
    ] = None


class CoreSection(LevelSection):
    """Cores: several tiles, what they share, and the network among them."""

    tiles: Annotated[Number, key("tiles of a core", "area", "time", "core_transfer")]
    shares: Annotated[
        tuple[Part, ...],
        Field(strict=False),
        key(
            "what a core has once and its tiles use in turn: drivers (and registers of lines), converters (and adders, "
            "registers of results), neurons (their units, with the states), multiply_adds, inputs (one buffer for all "
            "lines), accumulators (one memory)",
            "area", "time", "core_transfer", "input_buffer", "update_memory",
        ),
    ] = ()  # fmt: skip
    buffer_bits: Annotated[
        Bits | None, key("input buffer as made; default: what the tiles need", "area", "input_buffer", "memory")
    ] = None

    @model_validator(mode="after")
    def _a_made_buffer_is_shared(self) -> Self:
        if self.buffer_bits is not None and "inputs" not in self.shares:
            raise ValueError('buffer_bits is the size of a buffer that tiles share; add "inputs" to shares')
        return self


class ClusterSection(LevelSection):
    """Clusters: several cores that share a router of the mesh."""

    cores: Annotated[Number, key("cores of a cluster", "area", "time", "cluster_transfer")]


class NocSection(Strict):
    """Network on chip: a mesh with a router for every cluster, core or tile, and links as long as one of them is
    wide.
    """

    placement: Annotated[
        Literal["serpentine", "annealed"],
        key("one after the other, or annealed for short ways", "message", "partial_sum", "time"),
    ]
    router_energy: Annotated[JoulePerBit, key("one bit across a router", "message", "partial_sum", "input", "target")]
    link_energy: Annotated[
        JoulePerBitMetre, key("one bit along a metre of wire", "message", "partial_sum", "input", "target")
    ]
    router_area: Annotated[SquareMetre, key("a router", "area")]
    router_leakage: Annotated[Watt, key("static power of a router", "leakage")]
    hop_time: Annotated[Second, key("a flit across one router and link", "time")]
    flit_bits: Annotated[Number, key("bits that a link carries at a time", "time", "message", "partial_sum")]
    header_bits: Annotated[
        Bits, key("bits of a packet beside what it carries", "message", "partial_sum", "input", "target", "time")
    ] = Bits.default(0, "what is sent carries its address")
    packet_flits: Annotated[Number, key("flits of a packet at most", "message", "partial_sum", "time")] = (
        Number.default(8, "packets of eight flits")
    )

    @model_validator(mode="after")
    def _packets_carry_something(self) -> Self:
        whole = self.packet_flits.value * self.flit_bits.value
        if self.header_bits.value >= whole:
            raise ValueError(
                f"header_bits ({self.header_bits.value}) fill the {whole} bits of a packet; widen flit_bits, or give "
                "more packet_flits"
            )
        return self

    @property
    def packet_payload_bits(self) -> int:
        """Bits that a full packet carries beside its header."""
        return self.packet_flits.value * self.flit_bits.value - self.header_bits.value


class PortSection(Strict):
    """The chip's links to the outside, which are always on."""

    power: Annotated[Watt, key("power of all links", "leakage")]
    area: Annotated[SquareMetre, key("area of all links", "area")]


class SettlingSection(Strict):
    """Analog relaxation without conversions: how fast lines and neurons settle, and what the neurons draw meanwhile."""

    wire_capacitance: Annotated[FaradPerMetre, key("capacitance of a line of the array", "time")]
    cell_pitch: Annotated[Metre, key("length of a line per cell", "time")]
    neuron_time: Annotated[Second, key("time constant of a neuron", "time")]
    neuron_power: Annotated[Watt, key("what a neuron draws while it settles", "neuron")]
    time_constants: Annotated[Number, key("time constants per layer that the signal crosses", "time")]
    phase_time: Annotated[
        Second | None, key("time of a phase; default: layers x time_constants x the slower of line and neuron", "time")
    ] = None


class LeakageSection(Strict):
    """Static power of silicon that has no figure of its own, and what is left of it in tiles that wait."""

    tile: Annotated[
        Watt, key("static power of the array of one tile with its periphery, given as a whole", "leakage")
    ] = Watt.default(0.0, "static power follows the area")
    density: Annotated[
        WattPerSquareMetre,
        key("static power of drivers, converters, logic and of what cores and clusters share, by area", "leakage"),
    ] = WattPerSquareMetre.default(0.0, "static power is given per tile")
    idle_share: Annotated[
        Fraction,
        key("static power of a tile that is not being read, over that of one that is; below 1: gated", "leakage"),
    ] = Fraction.default(1.0, "tiles are not gated")
