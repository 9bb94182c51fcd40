"""Exact counters of tile activity and events for one recorded batch.

Active lines come from convolving (multiplying, for linear layers) a 0/1 activity mask with 0/1 block
indicators. Every partial count is an integer far below 2^24, so float32 carries it exactly; sums over samples
and positions are int64 (float64 where they are matrix products, exact below 2^53). Nothing is copied to the
host before :meth:`TileCounter.result`.
"""

from __future__ import annotations

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
from neurosim_ep.tiles.mapping import TilePlan


class TileCounter:
    """Counts the reads, updates and events of one batch on the tiles of ``plan``.

    Phases are "free", "nudge_plus" and "nudge_minus"; values and masks have a leading sample dimension B.
    All masks are bool tensors on ``device``.
    """

    def __init__(self, plan: TilePlan, device: torch.device | str) -> None:
        self.plan = plan
        self.device = torch.device(device)
        layers = range(len(plan.geometries))
        self._row_indicator = [self._rows_in_block(layer) for layer in layers]
        self._column_indicator = [self._columns_in_block(layer) for layer in layers]
        self._weight_indicator = [self._weights_in_block(layer) for layer in layers]
        self._destinations = [torch.from_numpy(plan.event_destinations(layer)).to(device) for layer in layers]
        tiles = len(plan.tiles)
        axes = (len(READ_PHASES), len(ACCOUNTINGS), len(DIRECTIONS), 2, tiles)  # 2: reads, active lines
        self._reads = torch.zeros(axes, dtype=torch.int64, device=device)
        self._updates = torch.zeros((len(UPDATE_QUANTITIES), tiles), dtype=torch.int64, device=device)
        self._ticks: dict[str, dict[tuple[int, int], Tensor]] = {}

    @torch.no_grad()
    def forward(self, layer: int, phase: str, value: Tensor, sent: Tensor) -> None:
        """One forward read of every position: ``value`` (B, *in_shape) drives the rows of connection
        ``layer``; ``sent`` (same shape) marks the neurons that sent an event this tick.
        """
        lines = self._active_rows(layer, torch.cat([value != 0, sent]))
        self._record(layer, phase, "forward", lines)

    @torch.no_grad()
    def transposed(self, layer: int, phase: str, routed: Tensor, routed_sent: Tensor) -> None:
        """One transposed read of every position: ``routed`` (B, *pre_pool_shape) drives the columns.

        ``routed_sent`` (same shape) marks the places that hold a neuron that sent an event this tick. A
        channel drives all its ``cells_per_weight`` columns.
        """
        lines = self._active_columns(self._column_indicator[layer], torch.cat([routed != 0, routed_sent]))
        self._record(layer, phase, "transposed", lines)

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
    def events(self, layer: int, phase: str, tick: int, sent: Tensor) -> None:
        """Events of state layer ``layer`` in one tick; ``sent`` (B, *out_shape) marks who sent."""
        events = sent.sum(0)
        messages = (events * self._destinations[layer]).sum()
        counts = torch.stack([events.sum(), messages, torch.full_like(messages, len(sent))])
        self._ticks.setdefault(phase, {})[tick, layer] = counts

    def result(self, samples: int) -> TileCounts:
        """The counts of this batch of ``samples`` samples, read from the device once."""
        counts = TileCounts.zeros(len(self.plan.tiles))
        reads, lines = self._reads.cpu().unbind(3)
        sensed = torch.from_numpy(np.stack([self.plan.columns, self.plan.rows]))
        array = self.plan.array
        conversions = (reads * sensed * array.slices, lines * array.input_pulses)
        counts.traffic[:] = torch.stack([reads, lines, *conversions], 3).numpy()
        counts.update[:] = self._updates.cpu().numpy()
        for phase, entries in self._ticks.items():
            shape = (1 + max(tick for tick, _ in entries), len(self.plan.geometries))
            tables = np.zeros((3, *shape), np.int64)
            ticks, layers = np.array(list(entries)).T
            tables[:, ticks, layers] = torch.stack(list(entries.values()), 1).cpu().numpy()
            counts.events[phase], counts.messages[phase], counts.presentations[phase] = tables
        counts.samples, counts.batches = samples, 1
        return counts

    def _record(self, layer: int, phase: str, direction: str, lines: Tensor) -> None:
        """Add the active lines (2B, blocks, p), clocked samples first, then event samples."""
        clocked, event = lines.chunk(2)
        some = (event > 0).sum((0, 2))
        every = torch.full_like(some, clocked.shape[0] * clocked.shape[2])
        clocked_lines, event_lines = (part.sum((0, 2), dtype=torch.int64) for part in (clocked, event))
        blocks = torch.stack([torch.stack([every, clocked_lines]), torch.stack([some, event_lines])])
        row_blocks, col_blocks = self.plan.grid(layer)
        across = blocks[..., :, None] if direction == "forward" else blocks[..., None, :]
        tiles = across.expand(*blocks.shape[:2], row_blocks, col_blocks).flatten(2)
        index = READ_PHASES.index(phase), slice(None), DIRECTIONS.index(direction)
        self._reads[(*index, slice(None), self.plan.tile_range(layer))] += tiles

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


def _one_hot(blocks: Tensor, count: int) -> Tensor:
    return torch.stack([blocks == block for block in range(count)]).float()
