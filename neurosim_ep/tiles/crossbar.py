"""Tiles that hold the synapses of one connection, read in both directions through real converters and wires.

A read drives the lines of every tile of a block and converts what the crossing lines give; the results of the blocks
are added up digitally. A forward read has a block for every ``rows`` inputs, a transposed one for every ``columns``
columns, of the *same* conductances. In units: an input is a part of the range of its driver, a weight w in [-1, 1] a
part of ``scale``, so that a result of 1 is one full input times the largest weight.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from neurosim_ep.scenario.schema import HardwareSection
from neurosim_ep.tiles.cells import Cells
from neurosim_ep.tiles.converters import SMALLEST, Conversions, Drivers, Ranges, rounded, steps_of
from neurosim_ep.tiles.lines import lines_of, samples_at_once
from neurosim_ep.tiles.mapping import ArrayGeometry, ConnectionGeometry
from neurosim_ep.tiles.wires import (
    closed_form_correction,
    effective_conductance,
    estimated_conductance,
    position_weights,
)

VALUES_AT_ONCE = {"cpu": 2**19, "cuda": 2**25}  # numbers on the lines at once: what stays in the cache, or fills a GPU
MOST_DOUBLINGS = 8  # of the input range by bound management
FORWARD, TRANSPOSED = "forward", "transposed"


@dataclass(frozen=True)
class Circuit:
    """What the reads take from the hardware model: conductance of a cell that is on, and resistance of a wire from one
    cell to the next.
    """

    on_S: float
    wire_ohm: float


@dataclass(frozen=True)
class _Read:
    """One pulse on the lines of one slice: direction, place of the slice, what its results count for in the sum (most,
    where it is the ``top`` one), samples read at once, and their input ranges (samples,), where these are not 1.
    """

    direction: str
    place: int
    counts_for: float
    samples: int
    top: bool
    ranges: Tensor | None


class TileArray:
    """The tiles of one connection.

    ``matrix`` (slices, rows, columns) is what the conductances multiply inputs with, wires included where they are
    linear; ``drivers`` put values on its rows and on its columns; ``scale`` is the weight that 1 stands for. ``phase``
    is "free" or "nudge", ``random`` where the noise of reads comes from. With ``counting``, every conversion enters
    ``conversions``.
    """

    def __init__(
        self,
        geometry: ConnectionGeometry,
        array: ArrayGeometry,
        section: HardwareSection,
        circuit: Circuit,
        cells: Cells,
        drivers: tuple[Drivers, Drivers],
    ) -> None:
        self.geometry, self.section, self.circuit, self.cells = geometry, section, circuit, cells
        self.lines = lines_of(geometry)
        self.drivers = dict(zip((FORWARD, TRANSPOSED), drivers, strict=True))
        self.blocks = {
            FORWARD: _cuts(np.arange(geometry.fan_in) // array.rows),
            TRANSPOSED: _cuts(np.arange(geometry.channels) * array.cells_per_weight // array.columns),
        }
        self.scale = 1.0
        self.phase, self.random = "free", torch.Generator()
        self.ranges, self.counting = Ranges(), False
        self.conversions: dict[tuple[str, str], Conversions] = {}
        self.matrix = torch.empty(0)
        self.variance: Tensor | float = 0.0

    @property
    def exact(self) -> bool:
        """Whether a read is the product with the weights that were programmed, and nothing else."""
        return self.section.converters.ideal and self.section.cells.ideal

    def hold(self, weights: Tensor, random: torch.Generator) -> None:
        """Program the cells to normalised ``weights`` (rows, columns)."""
        self.cells.program(weights, random)
        self.refresh()

    def normalised(self, weight: Tensor) -> Tensor:
        """``weight``, in the layout of the connection's own, as (rows, columns) in units of :attr:`scale`."""
        return self.lines.matrix(weight) / self.scale

    def refresh(self) -> None:
        """The conductances have changed."""
        found = self.cells.conductances()
        if self.section.cells.ir_drop in ("estimated", "exact"):
            found = self._through_wires(found)
        self.matrix = self.cells.encoding.decode(found)
        self.variance = self.cells.read_variance(found)

    def weight(self) -> Tensor:
        """The weights that reads see, in the layout of the connection's own."""
        shares = self.matrix.new_tensor(self.cells.encoding.shares)
        return self.lines.weight(torch.einsum("s,src->rc", shares, self.matrix)) * self.scale

    def forward(self, pre: Tensor) -> Tensor:
        """``w ⋆ pre`` (B, *pre_pool_shape) for inputs (B, *in_shape), before bias and pooling."""
        return self._read(FORWARD, pre)

    def feedback(self, routed: Tensor) -> Tensor:
        """``w ⋆ᵀ routed`` (B, *in_shape) for routed post states (B, *pre_pool_shape)."""
        return self._read(TRANSPOSED, routed)

    def step(self, phase: str, direction: str) -> Tensor | float | None:
        """Mean conversion step over the counted reads and blocks, in the unit of the drive; None: nothing counted,
        or no converter.
        """
        counted = self.conversions.get((phase, direction))
        return None if counted is None or not counted.reads else counted.step / counted.reads

    def _read(self, direction: str, value: Tensor) -> Tensor:
        drivers = self.drivers[direction]
        range_ = drivers.range(value)
        result, clipped = self._read_once(direction, drivers, value, range_)
        if self.section.converters.bound_management == "none":
            return result
        range_ = value.new_ones(len(value)) if range_ is None else range_
        for _ in range(MOST_DOUBLINGS):
            again = clipped.nonzero().squeeze(1)
            if not len(again):
                break
            range_[again] *= 2
            result[again], clipped[again] = self._read_once(direction, drivers, value[again], range_[again])
        return result

    def _read_once(
        self, direction: str, drivers: Drivers, value: Tensor, range_: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Results, and which samples (B,) had one clipped (known where bound management asks for it)."""
        rounding = self.random if self.section.converters.stochastic_rounding else None
        codes = drivers.codes(value, range_, rounding)
        put, collect = (
            (self.lines.on_rows, self.lines.from_columns)
            if direction == FORWARD
            else (self.lines.on_columns, self.lines.from_rows)
        )
        shares = self.cells.encoding.shares
        managed = self.section.converters.bound_management != "none"
        clipped = torch.zeros(len(value), dtype=torch.bool, device=value.device)
        results = []
        at_once = samples_at_once(self.geometry, VALUES_AT_ONCE[value.device.type])
        for number, part in enumerate(codes.split(at_once)):
            lines, here = put(part), slice(number * at_once, number * at_once + len(part))
            total = lines.new_zeros(len(lines), self.matrix.shape[2 if direction == FORWARD else 1])
            for driven, counts_for, last in drivers.pulses(lines):
                for place, share in enumerate(shares):
                    top, ranges = last and place == len(shares) - 1, None if range_ is None else range_[here]
                    read = _Read(direction, place, share * counts_for, len(part), top, ranges)
                    over = self._add_blocks(read, driven, total)
                    if managed and over is not None:
                        clipped[here] |= over
            results.append(collect(total))
        result = torch.cat(results) if len(results) > 1 else results[0]
        if result.dim() == 4:
            result = result.contiguous(memory_format=torch.channels_last)
        if range_ is not None:
            return result.mul_((range_ * self.scale).view(-1, *(1,) * (result.dim() - 1))), clipped
        return result.mul_(self.scale), clipped

    def _add_blocks(self, read: _Read, driven: Tensor, total: Tensor) -> Tensor | None:
        """Add what all blocks of a slice give for the ``driven`` lines (N, lines) to ``total`` (N, lines read); returns
        which samples a conversion of fixed range clipped.
        """
        converters = self.section.converters
        matrix = _turned(self.matrix[read.place], read.direction)
        if converters.input_noise:
            driven = driven + converters.input_noise * self._normal(driven)
        over: Tensor | None = None
        for block, lines in enumerate(self.blocks[read.direction]):
            inputs, across = driven[:, lines], matrix[lines]
            known = self._unit(read.direction, block)
            in_steps = known or 1.0
            result = torch.addmm(total, inputs, across, beta=0, alpha=1 / in_steps)
            if self.section.cells.ir_drop == "closed_form":
                result = self._with_drop(result, inputs, across, read.direction, in_steps)
            self._add_noise(result, inputs, read, lines, in_steps)
            if not converters.adc_bits:
                total.add_(result, alpha=read.counts_for)
                continue
            by_sample = result.view(read.samples, -1)
            unit = self._found_unit(read.direction, block, by_sample) if known is None else known
            if known is None:
                by_sample.div_(unit)
            beyond = self._convert(by_sample, read.direction)
            if beyond is not None:
                over = beyond if over is None else over | beyond
            if self.counting and read.top:
                self._count_step(read, unit)
            if isinstance(unit, Tensor):
                total.view(read.samples, -1).addcmul_(by_sample, unit, value=read.counts_for)
            else:
                total.add_(result, alpha=unit * read.counts_for)
        return over

    def _unit(self, direction: str, block: int) -> float | None:
        """Step of the converters of a block where it is known before the read."""
        converters = self.section.converters
        if not converters.adc_bits or converters.adc_range == "absmax":
            return None
        if converters.adc_range == "fixed":
            return converters.adc_bound / steps_of(converters.adc_bits)
        known = self.ranges.known((self.phase, direction), block)
        return None if known is None else known / steps_of(converters.adc_bits)

    def _found_unit(self, direction: str, block: int, result: Tensor) -> Tensor | float:
        """Step of the converters that the results (samples, n) ask for: one per sample (samples, 1), or a calibrated
        one.
        """
        converters = self.section.converters
        steps = steps_of(converters.adc_bits)
        if converters.adc_range == "absmax":
            return result.abs().amax(1, keepdim=True).clamp_(min=SMALLEST) / steps
        blocks = len(self.blocks[direction])
        found = self.ranges.of((self.phase, direction), block, blocks, result, converters.calibration_quantile)
        return found / steps

    def _convert(self, result: Tensor, direction: str) -> Tensor | None:
        """Round ``result`` (samples, n), in steps, in place to what the converter tells apart; returns which samples it
        clipped, where bound management wants to know.
        """
        converters = self.section.converters
        steps = steps_of(converters.adc_bits)
        rounded(result, self.random if converters.stochastic_rounding else None)
        over = None
        if self.counting or converters.bound_management != "none":
            beyond = result.abs() > steps
            if self.counting:
                counted = self.conversions.setdefault((self.phase, direction), Conversions())
                counted.done += result.numel()
                counted.clipped = counted.clipped + beyond.sum()
            if converters.bound_management != "none":
                over = beyond.any(1)
        result.clamp_(-steps, steps)
        return over

    def _count_step(self, read: _Read, unit: Tensor | float) -> None:
        counted = self.conversions.setdefault((self.phase, read.direction), Conversions())
        if read.ranges is not None:
            unit = read.ranges.unsqueeze(1) * unit
        mean = unit.mean() if isinstance(unit, Tensor) else unit
        counted.step = counted.step + mean * (read.counts_for * self.scale)
        counted.reads += 1

    def _add_noise(self, result: Tensor, inputs: Tensor, read: _Read, lines: slice, unit: float) -> None:
        """Add the noise of cells and of the results, in steps of ``unit``, in place."""
        squares: Tensor | float = self.section.converters.output_noise**2
        if isinstance(self.variance, Tensor):
            of_cells = _turned(self.variance[read.place], read.direction)
            squares = squares + inputs.square() @ of_cells[lines]
        elif self.variance:
            squares = squares + inputs.square().sum(1, keepdim=True) * self.variance
        if isinstance(squares, Tensor):
            result.addcmul_(self._normal(result), squares.sqrt_(), value=1 / unit)
        elif squares:
            result.add_(self._normal(result), alpha=squares**0.5 / unit)

    def _with_drop(self, result: Tensor, inputs: Tensor, across: Tensor, direction: str, unit: float) -> Tensor:
        """``result``, in steps of ``unit``, less what the formula says the wires of the lines read take away."""
        weights = position_weights(inputs.shape[1], far_first=direction == FORWARD, like=inputs)
        found = closed_form_correction(
            result * unit,
            inputs.abs() @ across.abs(),
            (inputs * weights) @ across,
            length=inputs.shape[1],
            segment_ratio=self.circuit.wire_ohm * self.circuit.on_S * self.cells.encoding.unit,
        )
        return found.div_(unit)

    def _through_wires(self, conductances: Tensor) -> Tensor:
        """Conductances (slices, cells, rows, columns) as they are seen from the terminals of their arrays."""
        drop = effective_conductance if self.section.cells.ir_drop == "exact" else estimated_conductance
        seen = torch.empty_like(conductances)
        for rows in self.blocks[FORWARD]:
            for columns in self.blocks[TRANSPOSED]:
                block = conductances[:, :, rows, columns].movedim(1, -1)  # cells of a weight lie side by side
                across = drop(block.flatten(-2) * self.circuit.on_S, self.circuit.wire_ohm) / self.circuit.on_S
                seen[:, :, rows, columns] = across.unflatten(-1, block.shape[-2:]).movedim(-1, 1)
        return seen

    def _normal(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self.random, device=like.device, dtype=like.dtype)


def _turned(matrix: Tensor, direction: str) -> Tensor:
    """``matrix`` with the driven lines first."""
    return matrix if direction == FORWARD else matrix.T


def _cuts(block_of_line: np.ndarray) -> list[slice]:
    """The lines of each block."""
    ends = [0, *(np.flatnonzero(np.diff(block_of_line)) + 1).tolist(), len(block_of_line)]
    return [slice(start, stop) for start, stop in itertools.pairwise(ends)]
