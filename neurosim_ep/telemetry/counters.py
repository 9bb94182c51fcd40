"""Exact counters of tile activity and events for one recorded batch.

Most of what tiles do follows from sums: how often a line was active is the number of samples and ticks in which its
neuron was, so masks are summed over the batch, neuron by neuron, and turned into lines of tiles once, at the end. Only
whether a tile was read at all must be asked position by position; that is answered on channel groups, one for each
block of lines. Counts are integers: int64, or float32 and float64 far below where they would stop being exact. Masks
are 0 and 1 in the states' number format, in which processors add and compare several times as fast as in bool. Nothing
is copied to the host before :meth:`TileCounter.result`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from neurosim_ep.hardware.chip.counts import ACCOUNTINGS, DIRECTIONS, UPDATE_QUANTITIES, TileCounts
from neurosim_ep.hardware.chip.phases import READ_PHASES
from neurosim_ep.scheduler.rows import memory_rows
from neurosim_ep.telemetry.groups import ChannelGroups
from neurosim_ep.tiles.mapping import TilePlan

CHANNELS_AT_ONCE = 32  # whose weights are compared at once, so that the differences stay in the cache

_Read = tuple[int, tuple[str, ...], str]
"""The reads of one connection, in one phase or in several side by side, in one direction."""


class TileCounter:
    """Counts the reads, updates and events of one batch after the other on the tiles of ``plan``.

    Phases are "free", "nudge_plus" and "nudge_minus". Values and masks have leading rows: one per sample and phase, the
    phases of a sample side by side. All tensors are on ``device``.
    """

    def __init__(self, plan: TilePlan, device: torch.device | str) -> None:
        self.plan = plan
        self.device = torch.device(device)
        connections, layers = range(len(plan.geometries)), range(len(plan.layers))
        self._row_indicator = [self._in_blocks(n, 0, plan.row_blocks(n).transpose(2, 0, 1)) for n in connections]
        columns = [self._in_blocks(n, 1, plan.column_blocks(n)) for n in connections]
        self._column_indicator = [of_channel.sum(2) for of_channel in columns]
        self._weight_indicator = [of_channel[..., 0].contiguous() for of_channel in columns]  # of the first column
        self._row_groups = [self._groups_of_rows(connection) for connection in connections]
        self._column_groups = [ChannelGroups(columns > 0) for columns in self._column_indicator]
        self._destinations = [torch.from_numpy(plan.event_destinations(layer)).to(device) for layer in layers]
        self._sender = [torch.from_numpy(plan.sender_of(layer)).to(device).flatten() for layer in layers]
        self._scratch = torch.empty(0, device=device)
        self.begin()

    def begin(self) -> None:
        """Forget what was counted: a batch begins."""
        shape = len(UPDATE_QUANTITIES), len(self.plan.tiles)
        self._updates = torch.zeros(shape, dtype=torch.int64, device=self.device)
        self._lines: dict[_Read, Tensor] = {}
        self._reads: dict[_Read, Tensor] = {}
        self._positions: dict[_Read, int] = {}
        self._applied = False
        self._events: dict[tuple[str, int, int], Tensor] = {}
        self._sends: dict[tuple[str, int], Tensor] = {}
        self._updated: dict[tuple[str, int, int], int] = {}
        self._needed: dict[tuple[str, int, int], Tensor] = {}

    def active(self, value: Tensor, sent: Tensor, copies: int = 1) -> Tensor:
        """Samples in which each neuron is active, int32 (accountings, copies, *shape), from ``value`` (rows, *shape),
        active where it is not zero, and the mask ``sent`` (same shape) of the neurons that sent an event this tick.
        """
        rows, shape = memory_rows(value), value.shape[1:]
        if self._scratch.numel() < rows.numel() or self._scratch.dtype != rows.dtype:
            self._scratch = torch.empty_like(rows).flatten()
        nonzero = self._scratch[: rows.numel()].view(rows.shape)
        torch.sign(rows, out=nonzero)
        masks = nonzero.abs_(), memory_rows(sent)
        totals = torch.stack([mask.view(-1, copies * mask.shape[1]).sum(0) for mask in masks]).int()
        if value.dim() == 4 and not value.is_contiguous():
            return totals.view(2, copies, *shape[1:], shape[0]).permute(0, 1, 4, 2, 3)
        return totals.view(2, copies, *shape)

    @torch.no_grad()
    def forward(self, connection: int, phases: Sequence[str], active: Tensor, sent: Tensor) -> None:
        """One forward read of every position of a connection, whose rows its inputs drive.

        ``active``: :meth:`active` of the inputs; the mask ``sent`` (rows, *in_shape) as there.
        """
        geometry, groups = self.plan.geometries[connection], self._row_groups[connection]
        if groups is None:
            read = sent.flatten(1) @ self._row_indicator[connection].flatten(1).to(sent.dtype).T
        else:
            blocks, indicator = groups
            some = blocks.any(sent).movedim(-1, 1)
            read = F.conv2d(some, indicator.to(sent.dtype), stride=geometry.stride, padding=geometry.padding).movedim(
                1, -1
            )
        # fast convolution algorithms (Winograd) miss integers by rounding errors
        self._add((connection, tuple(phases), "forward"), active, read.round_().clamp_(max=1))

    @torch.no_grad()
    def transposed(self, connection: int, phases: Sequence[str], active: Tensor, routed_sent: Tensor) -> None:
        """One transposed read of every position of a connection, whose columns its post states drive.

        ``active``: :meth:`active` of the post states; ``routed_sent`` (rows, *pre_pool_shape): positive at the places
        that hold a neuron that sent an event this tick, else 0. A channel drives all its ``cells_per_weight`` columns.
        """
        self._add((connection, tuple(phases), "transposed"), active, self._column_groups[connection].any(routed_sent))

    @torch.no_grad()
    def update(self, connection: int, pre: Tensor, routed: Tensor) -> None:
        """Additions into the update accumulators: per sample and position the outer product pre x routed.

        Per tile the sum over (sample, p) of non-zero rows x non-zero weight columns. Call it once for each
        of the contrasted states: ``pre`` (B, *in_shape), ``routed`` (B, *pre_pool_shape).
        """
        rows = self._active_rows(connection, pre != 0).double()
        mask = (routed != 0).float().reshape(*routed.shape[:2], -1)
        columns = (self._weight_indicator[connection] @ mask).double()  # (B, col blocks, p)
        self._add_update("accumulate_adds", connection, torch.einsum("bip,bjp->ij", rows, columns))

    @torch.no_grad()
    def programmed(self, connection: int, old_weight: Tensor, new_weight: Tensor) -> None:
        """Programming pulses that take a connection from its old weight to its new one.

        A pulse is one conductance step ``2 max|W| / levels``, max|W| taken over both weights: ``levels``
        pulses span the range. The cells hold each weight rounded to a whole number of steps, and a weight
        takes as many pulses as these roundings differ; smaller changes wait in the digital copy.
        """
        largest = torch.stack([*old_weight.aminmax(), *new_weight.aminmax()]).abs().max()
        step = 2 * largest.double() / self.plan.array.levels
        step = torch.where(step > 0, step, torch.ones_like(step))
        longest = []
        for place, (old, new) in enumerate(
            zip(old_weight.split(CHANNELS_AT_ONCE), new_weight.split(CHANNELS_AT_ONCE), strict=True)
        ):
            pulses = new.double().div(step).round_() - old.double().div(step).round_()
            longest.append(self._add_pulses(connection, place, pulses.clamp(min=0), pulses.clamp_(max=0).neg_()))
        self._add_steps(connection, longest)

    @torch.no_grad()
    def pulsed(self, connection: int, up: Tensor, down: Tensor) -> None:
        """Pulses up and down, whole numbers of the shape of the weight, that devices of a connection got."""
        self._applied = True
        parts = zip(up.split(CHANNELS_AT_ONCE), down.split(CHANNELS_AT_ONCE), strict=True)
        longest = [
            self._add_pulses(connection, place, *(part.double() for part in pair)) for place, pair in enumerate(parts)
        ]
        self._add_steps(connection, longest)

    def _add_pulses(self, connection: int, place: int, up: Tensor, down: Tensor) -> Tensor:
        """Add pulses (channels, ...) of a part of the channels; returns the most that a weight of each row takes up and
        down, one after the other, (2, column blocks, rows).
        """
        rows = self._row_indicator[connection].double().flatten(1)
        columns = self._weight_indicator[connection].double().split(CHANNELS_AT_ONCE, 1)[place]
        up, down = up.flatten(1), down.flatten(1)
        for quantity, pulses in (("pulses_up", up), ("pulses_down", down), ("pulses_net", (up - down).abs_())):
            self._add_update(quantity, connection, rows @ pulses.T @ columns.T)
        return torch.stack([_longest(part, columns) for part in (up, down)])

    def _add_steps(self, connection: int, longest: Sequence[Tensor]) -> None:
        rows = self._row_indicator[connection].double().flatten(1)
        self._add_update("write_steps", connection, rows @ torch.stack(list(longest)).amax(0).sum(0).T)

    @torch.no_grad()
    def events(self, layer: int, phases: Sequence[str], tick: int, sent: Tensor) -> None:
        """Events of state layer ``layer`` in one tick; ``sent`` (copies, *out_shape): samples each neuron sent in."""
        totals = torch.stack([sent.flatten(1).sum(1), (sent * self._destinations[layer]).flatten(1).sum(1)], 1)
        for phase, total, by_neuron in zip(phases, totals, sent.flatten(1), strict=True):
            self._events[phase, tick, layer] = total
            if (phase, tick) not in self._sends:
                self._sends[phase, tick] = torch.zeros(len(self.plan.senders), dtype=torch.int64, device=self.device)
            self._sends[phase, tick].index_add_(0, self._sender[layer], by_neuron.long())

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
        reads, lines = self._tile_reads().cpu(), self._tile_lines().cpu()
        conversions = (reads * torch.from_numpy(self.plan.conversions), lines * self.plan.array.input_pulses)
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
        for phase in dict.fromkeys(phase for phase, _ in self._sends):
            ticks = {tick: by_sender for (of, tick), by_sender in self._sends.items() if of == phase}
            sends = np.zeros((len(counts.events[str(phase)]), len(self.plan.senders)), np.int64)
            sends[list(ticks)] = torch.stack(list(ticks.values())).cpu().numpy()
            counts.sends[str(phase)] = sends
        counts.samples, counts.batches, counts.applied = samples, 1, self._applied
        return counts

    def _table(self, tables: dict[str, np.ndarray], phase: str) -> np.ndarray:
        """The table [tick, layer] of ``phase``, of the ticks that anything was entered for."""
        if phase not in tables:
            ticks = [tick for entry, tick, _ in (*self._events, *self._updated) if entry == phase]
            tables[phase] = np.zeros((1 + max(ticks), len(self.plan.layers)), np.int64)
        return tables[phase]

    def _add(self, key: _Read, active: Tensor, read: Tensor) -> None:
        """Add the reads of one tick: active lines by neuron, the mask ``read`` (rows, *positions, blocks) by block."""
        copies, blocks = len(key[1]), read.shape[-1]
        some = read.reshape(-1, copies, math.prod(read.shape[1:-1]), blocks).sum((0, 2)).long()
        if key not in self._lines:
            self._lines[key], self._reads[key], self._positions[key] = active.long(), some, 0
        else:
            self._lines[key] += active
            self._reads[key] += some
        self._positions[key] += read.numel() // (copies * blocks)

    def _tile_reads(self) -> Tensor:
        """Reads, int64 [phase, accounting, direction, tile]: clocked ones all there are."""
        return self._over_tiles(
            {key: torch.stack([torch.full_like(some, self._positions[key]), some]) for key, some in self._reads.items()}
        )

    def _tile_lines(self) -> Tensor:
        """Active lines, int64 [phase, accounting, direction, tile], from the activity of each neuron."""
        per_block = {}
        for key, active in self._lines.items():
            connection, _, direction = key
            if direction == "forward":
                driven, indicator = self._rows_driven(connection, active.flatten(0, 1)), self._row_indicator[connection]
            else:
                driven = self._channels_driven(connection, active.flatten(0, 1))
                indicator = self._column_indicator[connection]
            per_block[key] = (driven @ indicator.flatten(1).double().T).round().long().unflatten(0, active.shape[:2])
        return self._over_tiles(per_block)

    def _over_tiles(self, per_block: dict[_Read, Tensor]) -> Tensor:
        """Counts (accountings, copies, blocks) as [phase, accounting, direction, tile]: those of a block of rows are
        shared by all tiles that hold it, for all blocks of columns, and the other way round.
        """
        table = torch.zeros(
            (len(READ_PHASES), len(ACCOUNTINGS), len(DIRECTIONS), len(self.plan.tiles)),
            dtype=torch.int64, device=self.device,
        )  # fmt: skip
        for (connection, phases, direction), counts in per_block.items():
            across = counts.unsqueeze(-1 if direction == "forward" else -2)
            tiles = across.expand(*counts.shape[:2], *self.plan.grid(connection)).flatten(2)
            way, span = DIRECTIONS.index(direction), self.plan.tile_range(connection)
            for phase, of_phase in zip(phases, tiles.unbind(1), strict=True):
                table[READ_PHASES.index(phase), :, way, span] += of_phase
        return table

    def _rows_driven(self, connection: int, counts: Tensor) -> Tensor:
        """Activity of each row over all positions, float64 (N, inputs x kh x kw), from ``counts`` (N, *in_shape)."""
        geometry = self.plan.geometries[connection]
        if geometry.kind == "linear":
            return counts.flatten(1).double()
        pad, step, (tall, wide) = geometry.padding, geometry.stride, geometry.kernel
        height, width = ((side - 1) * step + 1 for side in geometry.pre_pool_shape[1:])  # from first to last position
        padded = F.pad(counts, (pad, pad, pad, pad)).double()
        windows = padded.unfold(2, height, 1)[:, :, :tall].unfold(3, width, 1)[:, :, :, :wide]  # (N, C, kh, kw, ...)
        return windows[..., ::step, ::step].sum((4, 5)).flatten(1)

    def _channels_driven(self, connection: int, counts: Tensor) -> Tensor:
        """Activity of each channel over all positions, float64 (N, C), from ``counts`` (N, *out_shape).

        An average-pooled state drives the four positions of its window, any other one position.
        """
        return counts.reshape(*counts.shape[:2], -1).sum(2).double() * (
            4 if self.plan.geometries[connection].pool == "avg" else 1
        )

    def _add_update(self, quantity: str, connection: int, per_tile: Tensor) -> None:
        """Add integers (float64) [row block, col block] to an update quantity of a connection's tiles."""
        counts = self._updates[UPDATE_QUANTITIES.index(quantity), self.plan.tile_range(connection)]
        counts += per_tile.flatten().long()

    def _active_rows(self, connection: int, mask: Tensor) -> Tensor:
        """Active rows (B, row blocks, p) of an input mask (B, *in_shape)."""
        geometry, indicator = self.plan.geometries[connection], self._row_indicator[connection]
        if geometry.kind == "conv":
            counts = F.conv2d(mask.float(), indicator, stride=geometry.stride, padding=geometry.padding)
            return counts.round_().flatten(2)
        return F.linear(mask.flatten(1).float(), indicator.flatten(1)).unsqueeze(2)

    def _groups_of_rows(self, connection: int) -> tuple[ChannelGroups, Tensor] | None:
        """Channel groups that make up the row blocks of a convolution, and which groups at which taps make up which
        block, as a convolution weight [row blocks, groups, kh, kw]; None for a linear layer.
        """
        if self.plan.geometries[connection].kind == "linear":
            return None
        taps = self._row_indicator[connection].permute(0, 2, 3, 1).flatten(0, 2)  # (block, tap) x channels
        masks, group = torch.unique(taps, dim=0, return_inverse=True)
        blocks, _, *kernel = self._row_indicator[connection].shape
        indicator = F.one_hot(group, len(masks)).view(blocks, *kernel, -1).permute(0, 3, 1, 2)
        some = masks.any(1)
        return ChannelGroups(masks[some] > 0), indicator[:, some].float().contiguous()

    def _in_blocks(self, connection: int, axis: int, blocks: np.ndarray) -> Tensor:
        """1 where ``blocks`` names a block of the rows (``axis`` 0) or columns (1) of a connection, [blocks, *shape].

        Rows are by inputs, kh and kw, as those of a convolution weight, columns by channels, several for each.
        """
        count, named = self.plan.grid(connection)[axis], torch.from_numpy(blocks)
        return torch.stack([named == block for block in range(count)]).float().to(self.device)


def _read(entries: dict[tuple[str, int, int], Tensor], part: int | None = None) -> dict[tuple[str, int, int], int]:
    """Device scalars, or element ``part`` of small device vectors, copied to the host in one piece."""
    values = [value if part is None else value[part] for value in entries.values()]
    return dict(zip(entries, torch.stack(values).tolist() if values else [], strict=True))


def _longest(pulses: Tensor, columns: Tensor) -> Tensor:
    """Most pulses that a weight of each row takes in each column block, (blocks, rows): ``pulses`` (channels, rows),
    and 1 where the first column of a channel lies in a block, ``columns`` (blocks, channels).
    """
    return torch.stack([(pulses * mine[:, None]).amax(0) for mine in columns])
