"""Exact counters of tile activity and events for one recorded batch.

Most of what tiles do follows from sums: how often a line was active is the number of samples and ticks in which its
neuron was, so masks are summed over the batch, neuron by neuron, and turned into lines of tiles once, at the end. Only
whether a tile was read at all must be asked position by position; that is answered on channel groups, one for each
block of lines. Counts are integers: int64, or float32 and float64 far below where they would stop being exact. Nothing
is copied to the host before :meth:`TileCounter.result`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from neurosim_ep.hardware.counts import (
    ACCOUNTINGS,
    DIRECTIONS,
    READ_PHASES,
    UPDATE_QUANTITIES,
    TileCounts,
)
from neurosim_ep.scheduler.field import memory_rows
from neurosim_ep.scheduler.groups import ChannelGroups
from neurosim_ep.tiles.mapping import TilePlan


class TileCounter:
    """Counts the reads, updates and events of one batch on the tiles of ``plan``.

    Phases are "free", "nudge_plus" and "nudge_minus". Values and masks have leading rows: one per sample and phase, the
    phases of a sample side by side. All masks are bool tensors on ``device``.
    """

    def __init__(self, plan: TilePlan, device: torch.device | str) -> None:
        self.plan = plan
        self.device = torch.device(device)
        layers = range(len(plan.geometries))
        self._row_indicator = [self._rows_in_block(layer) for layer in layers]
        self._column_indicator = [self._columns_in_block(layer) for layer in layers]
        self._weight_indicator = [self._weights_in_block(layer) for layer in layers]
        self._row_groups = [self._groups_of_rows(layer) for layer in layers]
        self._column_groups = [ChannelGroups(columns > 0) for columns in self._column_indicator]
        self._destinations = [torch.from_numpy(plan.event_destinations(layer)).to(device) for layer in layers]
        tiles = len(plan.tiles)
        self._reads = torch.zeros(
            (len(READ_PHASES), len(ACCOUNTINGS), len(DIRECTIONS), tiles), dtype=torch.int64, device=device
        )
        self._updates = torch.zeros((len(UPDATE_QUANTITIES), tiles), dtype=torch.int64, device=device)
        self._lines: dict[tuple[int, str, str], Tensor] = {}
        self._events: dict[tuple[str, int, int], Tensor] = {}
        self._updated: dict[tuple[str, int, int], int] = {}
        self._needed: dict[tuple[str, int, int], Tensor] = {}

    @staticmethod
    def active(value: Tensor, sent: Tensor, copies: int = 1) -> Tensor:
        """Samples in which each neuron is active, int32 (accountings, copies, *shape), from ``value`` (rows, *shape),
        active where it is not zero, and ``sent`` (same shape), which marks the neurons that sent an event this tick.
        """
        return torch.stack([_sum_rows(mask, copies) for mask in (value != 0, sent)])

    @torch.no_grad()
    def forward(self, layer: int, phases: Sequence[str], active: Tensor, sent: Tensor) -> None:
        """One forward read of every position of connection ``layer``, whose rows its inputs drive.

        ``active``: :meth:`active` of the inputs; ``sent`` (rows, *in_shape) as there.
        """
        self._add_lines(layer, phases, "forward", active)
        geometry, groups = self.plan.geometries[layer], self._row_groups[layer]
        if groups is None:
            read = F.linear(sent.flatten(1).float(), self._row_indicator[layer].flatten(1)).unsqueeze(2) > 0
        else:
            blocks, indicator = groups
            read = F.conv2d(blocks.any(sent).float(), indicator, padding=geometry.padding) > 0.5
        self._add_reads(layer, phases, "forward", read)

    @torch.no_grad()
    def transposed(self, layer: int, phases: Sequence[str], active: Tensor, routed_sent: Tensor) -> None:
        """One transposed read of every position of connection ``layer``, whose columns its post states drive.

        ``active``: :meth:`active` of the post states; ``routed_sent`` (rows, *pre_pool_shape): not zero at the places
        that hold a neuron that sent an event this tick. A channel drives all its ``cells_per_weight`` columns.
        """
        self._add_lines(layer, phases, "transposed", active)
        self._add_reads(layer, phases, "transposed", self._column_groups[layer].any(routed_sent))

    @torch.no_grad()
    def update(self, layer: int, pre: Tensor, routed: Tensor) -> None:
        """Additions into the update accumulators: per sample and position the outer product pre x routed.

        Per tile the sum over (sample, p) of non-zero rows x non-zero weight columns. Call it once for each
        of the contrasted states: ``pre`` (B, *in_shape), ``routed`` (B, *pre_pool_shape).
        """
        rows = self._active_rows(layer, pre != 0).double()
        columns = self._active_columns(self._weight_indicator[layer], routed != 0).double()
        self._add_update("accumulate_adds", layer, torch.einsum("bip,bjp->ij", rows, columns))

    @torch.no_grad()
    def programmed(self, layer: int, old_weight: Tensor, new_weight: Tensor) -> None:
        """Programming pulses that take connection ``layer`` from its old weight to its new one.

        A pulse is one conductance step ``2 max|W| / levels``, max|W| taken over both weights: ``levels``
        pulses span the range. The cells hold each weight rounded to a whole number of steps, and a weight
        takes as many pulses as these roundings differ; smaller changes wait in the digital copy.
        """
        old, new = old_weight.double(), new_weight.double()
        step = 2 * torch.maximum(old.abs().max(), new.abs().max()) / self.plan.array.levels
        pulses = (new / step).round() - (old / step).round()
        pulses = torch.where(step > 0, pulses, torch.zeros_like(pulses))
        self._add_update("pulses_up", layer, self._sum_over_tiles(layer, pulses.clamp(min=0)))
        self._add_update("pulses_down", layer, self._sum_over_tiles(layer, (-pulses).clamp(min=0)))

    @torch.no_grad()
    def events(self, layer: int, phases: Sequence[str], tick: int, sent: Tensor) -> None:
        """Events of state layer ``layer`` in one tick; ``sent`` (copies, *out_shape): samples each neuron sent in."""
        totals = torch.stack([sent.flatten(1).sum(1), (sent * self._destinations[layer]).flatten(1).sum(1)], 1)
        for phase, total in zip(phases, totals, strict=True):
            self._events[phase, tick, layer] = total

    def updated(self, layer: int, phases: Sequence[str], tick: int, samples: int, needed: Tensor) -> None:
        """State layer ``layer`` of ``samples`` samples was updated in one tick; ``needed`` (copies,): of how many an
        input had changed since their last update.
        """
        for phase, count in zip(phases, needed, strict=True):
            self._updated[phase, tick, layer] = samples
            self._needed[phase, tick, layer] = count

    def result(self, samples: int) -> TileCounts:
        """The counts of this batch of ``samples`` samples, read from the device once."""
        counts = TileCounts.zeros(len(self.plan.tiles))
        reads, lines = self._reads.cpu(), self._tile_lines().cpu()
        sensed = torch.from_numpy(np.stack([self.plan.columns, self.plan.rows]))
        array = self.plan.array
        conversions = (reads * sensed * array.slices, lines * array.input_pulses)
        counts.traffic[:] = torch.stack([reads, lines, *conversions], 3).numpy()
        counts.update[:] = self._updates.cpu().numpy()
        for table, entries in (
            (counts.events, _read(self._events, 0)),
            (counts.messages, _read(self._events, 1)),
            (counts.presentations, self._updated),
            (counts.needed, _read(self._needed)),
        ):
            for (phase, tick, layer), count in entries.items():
                self._table(table, str(phase))[tick, layer] = count
        counts.samples, counts.batches = samples, 1
        return counts

    def _table(self, tables: dict[str, np.ndarray], phase: str) -> np.ndarray:
        """The table [tick, layer] of ``phase``, of the ticks that anything was entered for."""
        if phase not in tables:
            ticks = [tick for entry, tick, _ in (*self._events, *self._updated) if entry == phase]
            tables[phase] = np.zeros((1 + max(ticks), len(self.plan.geometries)), np.int64)
        return tables[phase]

    def _add_lines(self, layer: int, phases: Sequence[str], direction: str, active: Tensor) -> None:
        for phase, counts in zip(phases, active.unbind(1), strict=True):
            key = (layer, phase, direction)
            if key in self._lines:
                self._lines[key] += counts
            else:
                self._lines[key] = counts.long()

    def _add_reads(self, layer: int, phases: Sequence[str], direction: str, read: Tensor) -> None:
        """Add reads: event ones from the mask ``read`` (rows, blocks, *positions), clocked ones all there are."""
        read = read.reshape(-1, len(phases), read.shape[1], math.prod(read.shape[2:]))
        some = read.sum((0, 3))
        every = torch.full_like(some, read.shape[0] * read.shape[3])
        row_blocks, col_blocks = self.plan.grid(layer)
        for index, phase in enumerate(phases):
            blocks = torch.stack([every[index], some[index]])
            across = blocks[:, :, None] if direction == "forward" else blocks[:, None, :]
            tiles = across.expand(2, row_blocks, col_blocks).flatten(1)
            where = READ_PHASES.index(phase), slice(None), DIRECTIONS.index(direction), self.plan.tile_range(layer)
            self._reads[where] += tiles

    def _tile_lines(self) -> Tensor:
        """Active lines, int64 [phase, accounting, direction, tile], from the activity of each neuron."""
        lines = torch.zeros_like(self._reads)
        for (layer, phase, direction), counts in self._lines.items():
            row_blocks, col_blocks = self.plan.grid(layer)
            if direction == "forward":
                across = (self._rows_driven(layer, counts) @ self._row_indicator[layer].flatten(1).double().T)[
                    :, :, None
                ]
            else:
                across = (self._channels_driven(layer, counts) @ self._column_indicator[layer].double().T)[:, None, :]
            tiles = across.expand(2, row_blocks, col_blocks).flatten(1)
            where = READ_PHASES.index(phase), slice(None), DIRECTIONS.index(direction), self.plan.tile_range(layer)
            lines[where] = tiles.round().long()
        return lines

    def _rows_driven(self, layer: int, counts: Tensor) -> Tensor:
        """Activity of each row over all positions, float64 (2, inputs x kh x kw), from ``counts`` (2, *in_shape)."""
        geometry = self.plan.geometries[layer]
        if geometry.kind == "linear":
            return counts.flatten(1).double()
        (height, width), pad = geometry.pre_pool_shape[1:], geometry.padding
        padded = F.pad(counts, (pad, pad, pad, pad)).double()
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (2, C, kh, kw, H', W')
        return windows.sum((4, 5)).flatten(1)

    def _channels_driven(self, layer: int, counts: Tensor) -> Tensor:
        """Activity of each channel over all positions, float64 (2, C), from ``counts`` (2, *out_shape).

        An average-pooled state drives the four positions of its window, any other one position.
        """
        return counts.reshape(*counts.shape[:2], -1).sum(2).double() * (
            4 if self.plan.geometries[layer].pool == "avg" else 1
        )

    def _add_update(self, quantity: str, layer: int, per_tile: Tensor) -> None:
        """Add integers (float64) [row block, col block] to an update quantity of the layer's tiles."""
        counts = self._updates[UPDATE_QUANTITIES.index(quantity), self.plan.tile_range(layer)]
        counts += per_tile.flatten().long()

    def _active_rows(self, layer: int, mask: Tensor) -> Tensor:
        """Active rows (B, row blocks, p) of an input mask (B, *in_shape)."""
        geometry, indicator = self.plan.geometries[layer], self._row_indicator[layer]
        if geometry.kind == "conv":
            # fast convolution algorithms (Winograd) miss integers by rounding errors
            return F.conv2d(mask.float(), indicator, padding=geometry.padding).round_().flatten(2)
        return F.linear(mask.flatten(1).float(), indicator.flatten(1)).unsqueeze(2)

    def _active_columns(self, indicator: Tensor, mask: Tensor) -> Tensor:
        """Active columns (B, col blocks, p) of a mask (B, *pre_pool_shape)."""
        return indicator @ mask.float().reshape(*mask.shape[:2], -1)

    def _sum_over_tiles(self, layer: int, per_weight: Tensor) -> Tensor:
        """Sum a per-weight quantity (weight's shape, float64) over each tile [row block, col block]."""
        rows = self._row_indicator[layer].double().flatten(1)
        columns = self._weight_indicator[layer].double()
        return rows @ per_weight.flatten(1).T @ columns.T

    def _groups_of_rows(self, layer: int) -> tuple[ChannelGroups, Tensor] | None:
        """Channel groups that make up the row blocks of a convolution, and which groups at which taps make up which
        block, as a convolution weight [row blocks, groups, kh, kw]; None for a linear layer.
        """
        if self.plan.geometries[layer].kind == "linear":
            return None
        taps = self._row_indicator[layer].permute(0, 2, 3, 1).flatten(0, 2)  # (block, tap) x channels
        masks, group = torch.unique(taps, dim=0, return_inverse=True)
        blocks, _, *kernel = self._row_indicator[layer].shape
        indicator = F.one_hot(group, len(masks)).view(blocks, *kernel, -1).permute(0, 3, 1, 2)
        some = masks.any(1)
        return ChannelGroups(masks[some] > 0), indicator[:, some].float().contiguous()

    def _rows_in_block(self, layer: int) -> Tensor:
        """1 where a row lies in a row block: [row blocks, inputs, kh, kw], as a convolution weight."""
        blocks = torch.from_numpy(self.plan.row_blocks(layer)).permute(2, 0, 1)
        return _one_hot(blocks, self.plan.grid(layer)[0]).to(self.device)

    def _columns_in_block(self, layer: int) -> Tensor:
        """Physical columns of each channel in each column block: [col blocks, channels]."""
        blocks = torch.from_numpy(self.plan.column_blocks(layer))
        return _one_hot(blocks, self.plan.grid(layer)[1]).sum(2).to(self.device)

    def _weights_in_block(self, layer: int) -> Tensor:
        """1 where the first column of a channel lies in a column block: [col blocks, channels]."""
        blocks = torch.from_numpy(self.plan.column_blocks(layer)[:, 0])
        return _one_hot(blocks, self.plan.grid(layer)[1]).to(self.device)


def _sum_rows(mask: Tensor, copies: int) -> Tensor:
    """How many samples of a mask (rows, *shape) are set, int32 (copies, *shape), summed in the order of memory."""
    rows, shape = memory_rows(mask), mask.shape[1:]
    total = rows.view(-1, copies * rows.shape[1]).sum(0, dtype=torch.int32)
    if mask.dim() == 4 and not mask.is_contiguous():
        return total.view(copies, *shape[1:], shape[0]).permute(0, 3, 1, 2)
    return total.view(copies, *shape)


def _read(entries: dict[tuple[str, int, int], Tensor], part: int | None = None) -> dict[tuple[str, int, int], int]:
    """Device scalars, or element ``part`` of small device vectors, copied to the host in one piece."""
    values = [value if part is None else value[part] for value in entries.values()]
    return dict(zip(entries, torch.stack(values).tolist() if values else [], strict=True))


def _one_hot(blocks: Tensor, count: int) -> Tensor:
    return torch.stack([blocks == block for block in range(count)]).float()
