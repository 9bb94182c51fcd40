"""Tile counters against a literal loop over samples, ticks, positions, rows and columns."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from brute_force import BATCH, BruteForce, column_vectors, mask, route, row_vectors, sparse

from neurosim_ep.hardware.chip.counts import (
    ACCOUNTINGS,
    READ_QUANTITIES,
    TileCounts,
    tile_table,
)
from neurosim_ep.hardware.chip.phases import Phase
from neurosim_ep.telemetry.counters import TileCounter
from neurosim_ep.tiles.mapping import ArrayGeometry, ConnectionGeometry, plan_tiles

ARRAYS = [
    ArrayGeometry(rows=7, columns=5, cells_per_weight=2, slices=3, input_pulses=8, levels=16),
    ArrayGeometry(rows=8, columns=4, cells_per_weight=1),
    ArrayGeometry(rows=128, columns=128, cells_per_weight=2),
    ArrayGeometry(rows=7, columns=5, cells_per_weight=2, slices=2, input_pulses=3, sign_passes=2),
]


def conv(name: str, in_shape: tuple, out: int, kernel: int, padding: int, pool: str | None) -> SimpleNamespace:
    """A connection as the network offers it, with random weights."""
    side = in_shape[1] + 2 * padding - kernel + 1
    state = side // 2 if pool else side
    weight = torch.randn(out, in_shape[0], kernel, kernel)
    return SimpleNamespace(
        name=name, kind="conv", pool=pool, padding=padding, weight=weight, in_shape=in_shape,
        pre_pool_shape=(out, side, side), out_shape=(out, state, state), signed=(False, False),
        stride=1, source=None, target=None,
    )  # fmt: skip


def linear(name: str, in_shape: tuple, out: int) -> SimpleNamespace:
    features = int(np.prod(in_shape))
    return SimpleNamespace(
        name=name, kind="linear", pool=None, padding=0, weight=torch.randn(out, features),
        in_shape=in_shape, pre_pool_shape=(out,), out_shape=(out,), signed=(False, False), source=None, target=None,
    )  # fmt: skip


def network(pool: str | None) -> list[SimpleNamespace]:
    """conv 3x3 padded, conv 2x2 unpadded, linear on a (C, H, W) state, linear. Images and the states of conv2 and fc1
    have a sign.
    """
    first = conv("conv1", (3, 5, 5), 4, 3, 1, pool)
    second = conv("conv2", first.out_shape, 3, 2, 0, None)
    third = linear("fc1", second.out_shape, 6)
    layers = [first, second, third, linear("fc2", (6,), 3)]
    for layer, signed in zip(layers, itertools.pairwise((True, False, True, True, False)), strict=True):
        layer.signed = signed
    return layers


@pytest.mark.parametrize(
    ("array", "pool"),
    [*((ARRAYS[0], pool) for pool in (None, "max", "avg")), *((a, "max") for a in ARRAYS[1:])],
)
def test_counter_equals_brute_force(array: ArrayGeometry, pool: str | None) -> None:
    torch.manual_seed(3)
    connections = network(pool)
    plan = plan_tiles([ConnectionGeometry.from_connection(c) for c in connections], array)
    counter, brute = TileCounter(plan, "cpu"), BruteForce(plan)
    for phase, ticks in (("free", 2), ("nudge_plus", 1)):
        for _ in range(ticks):
            for layer, connection in enumerate(connections):
                value, sent = sparse(connection.in_shape), mask(connection.in_shape)
                post, post_sent = sparse(connection.out_shape), mask(connection.out_shape)
                random = torch.randn(BATCH, *connection.pre_pool_shape)
                routed, routed_sent = (route(connection, state, random) for state in (post, post_sent))
                if value.dim() == 4:
                    value, sent = (v.contiguous(memory_format=torch.channels_last) for v in (value, sent))
                counter.forward(layer, [phase], counter.active(value, sent), sent)
                counter.transposed(layer, [phase], counter.active(post, post_sent), routed_sent)
                counter.update(layer, value, routed)
                masks = ((value, routed), (sent, routed_sent))
                for sample in range(BATCH):
                    for accounting, (ins, outs) in zip(ACCOUNTINGS, masks, strict=True):
                        rows = list(row_vectors(connection, ins[sample].numpy()))
                        columns = list(column_vectors(outs[sample].numpy(), array.cells_per_weight))
                        brute.read(layer, phase, "forward", accounting, rows)
                        brute.read(layer, phase, "transposed", accounting, columns)
                        if accounting == "clocked":
                            brute.update(layer, rows, columns)
    counts = counter.result(BATCH)
    frame = counts.to_frame().set_index(["phase", "accounting", "direction", "tile"])
    for (*key, quantity, tile), expected in brute.counts.items():
        assert frame.loc[(*key, tile), quantity] == expected
        assert counts.of(*key, quantity)[tile] == expected
    assert frame.to_numpy().sum() == sum(brute.counts.values())
    assert counts.updates("accumulate_adds").tolist() == [brute.adds[t.index] for t in plan.tiles]
    assert counts.updates("accumulate_adds").sum() > 0


@pytest.mark.parametrize("array", ARRAYS)
def test_pulses_equal_brute_force(array: ArrayGeometry) -> None:
    torch.manual_seed(5)
    connections = network("max")
    plan = plan_tiles([ConnectionGeometry.from_connection(c) for c in connections], array)
    counter, brute = TileCounter(plan, "cpu"), BruteForce(plan)
    up, down = np.zeros(len(plan.tiles), int), np.zeros(len(plan.tiles), int)
    longest: dict[tuple[int, int, int], int] = {}  # of (tile, row, direction)
    for layer, connection in enumerate(connections):
        old = connection.weight
        new = old + 0.3 * torch.randn_like(old)
        counter.programmed(layer, old, new)
        step = 2 * max(old.abs().max().item(), new.abs().max().item()) / array.levels
        for index in np.ndindex(*old.shape):
            out, inputs = index[0], index[1:]
            if connection.kind == "conv":
                c, i, j = inputs
                row = (i * old.shape[3] + j) * old.shape[1] + c
            else:
                row = inputs[0]
            pulses = round(new[index].item() / step) - round(old[index].item() / step)
            tile = brute.tile(layer, row, out * array.cells_per_weight)
            up[tile] += max(pulses, 0)
            down[tile] += max(-pulses, 0)
            key = tile, row, int(np.sign(pulses))
            longest[key] = max(longest.get(key, 0), abs(pulses))
    steps = np.zeros(len(plan.tiles), int)
    for (tile, _, _), pulses in longest.items():
        steps[tile] += pulses
    counts = counter.result(1)
    assert counts.updates("pulses_up").tolist() == up.tolist()
    assert counts.updates("pulses_down").tolist() == down.tolist()
    assert counts.updates("write_steps").tolist() == steps.tolist()
    assert up.sum() > 0 and down.sum() > 0


def test_all_zero_weights_take_no_pulses() -> None:
    connection = linear("fc1", (4,), 2)
    plan = plan_tiles([ConnectionGeometry.from_connection(connection)], ARRAYS[0])
    counter = TileCounter(plan, "cpu")
    counter.programmed(0, torch.zeros(2, 4), torch.zeros(2, 4))
    assert counter.result(1).update.sum() == 0


def test_events_messages_and_presentations() -> None:
    torch.manual_seed(7)
    connections = network("max")
    plan = plan_tiles([ConnectionGeometry.from_connection(c) for c in connections], ARRAYS[0])
    counter = TileCounter(plan, "cpu")
    expected = np.zeros((3, 2, len(connections)), int)
    sends = np.zeros((2, len(plan.senders)), int)
    for tick in range(2):
        for layer, connection in enumerate(connections):
            sent = sparse(connection.out_shape)[: 2 - tick] != 0
            counter.events(layer, [Phase.FREE], tick, sent.sum(0, keepdim=True))
            counter.updated(layer, [Phase.FREE], tick, len(sent), sent.flatten(1).any(1).sum()[None])
            reached = plan.event_destinations(layer)
            for sample in sent.numpy():
                expected[0, tick, layer] += sample.sum()
                expected[1, tick, layer] += reached[sample].sum()
                expected[2, tick, layer] += 1
                for number in plan.sender_of(layer)[sample]:
                    sends[tick, number] += 1
    counts = counter.result(BATCH)
    assert (counts.events["free"] == expected[0]).all()
    assert (counts.messages["free"] == expected[1]).all()
    assert (counts.presentations["free"] == expected[2]).all()
    assert (counts.sends["free"] == sends).all()


def test_addition_pads_the_shorter_phase() -> None:
    def counted(ticks: int) -> TileCounts:
        counts = TileCounts.zeros(3)
        counts.traffic += 1
        counts.update += 2
        counts.events["free"] = counts.messages["free"] = np.ones((ticks, 2), np.int64)
        counts.presentations["free"] = np.full((ticks, 2), 5)
        counts.samples, counts.batches = 5, 1
        return counts

    short, long = counted(1), counted(3)
    for total in (short + long, long + short):
        assert total.events["free"].tolist() == [[2, 2], [1, 1], [1, 1]]
        assert total.presentations["free"].sum() == 5 * 8
        assert (total.traffic == 2).all() and (total.update == 4).all()
        assert (total.samples, total.batches) == (10, 2)
    assert short.events["free"].tolist() == [[1, 1]]
    assert (TileCounts.zeros(3) + long).events["free"].sum() == 6


def test_wide_layers_count_exactly() -> None:
    """256 channels over many blocks: where fast convolution algorithms round."""
    torch.manual_seed(11)
    connection = conv("conv1", (256, 8, 8), 96, 3, 1, "max")
    plan = plan_tiles([ConnectionGeometry.from_connection(connection)], ArrayGeometry(rows=100, columns=33))
    value, sent = sparse((256, 8, 8)), mask((256, 8, 8))
    counter = TileCounter(plan, "cpu")
    counter.forward(0, ["free"], counter.active(value, sent), sent)
    counts = counter.result(BATCH)
    padded = F.pad(torch.stack([value != 0, sent != 0]).long(), (1, 1, 1, 1))
    taps = [padded[..., i : i + 8, j : j + 8] for i in range(3) for j in range(3)]
    rows = torch.cat(taps, 2)  # [accounting, sample, (kh, kw, c_in), y, x]
    for tile in plan.tiles:
        lines = rows[:, :, tile.row_block * 100 : tile.row_block * 100 + tile.rows].sum(2)
        for accounting, active in zip(ACCOUNTINGS, lines, strict=True):
            assert counts.of("free", accounting, "forward", "active_lines")[tile.index] == active.sum()
        assert counts.of("free", "event", "forward", "reads")[tile.index] == (lines[1] > 0).sum()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_counts_do_not_depend_on_the_device() -> None:
    def counted(device: str) -> TileCounts:
        torch.manual_seed(13)
        connection = conv("conv1", (64, 16, 16), 96, 3, 1, "max")
        plan = plan_tiles([ConnectionGeometry.from_connection(connection)], ARRAYS[2])
        counter = TileCounter(plan, device)
        value, post = sparse((64, 16, 16)).to(device), sparse(connection.out_shape)
        routed = route(connection, post, torch.randn(BATCH, *connection.pre_pool_shape)).to(device)
        sent, post = mask((64, 16, 16)).to(device), post.to(device)
        old, new = connection.weight, connection.weight + 0.1 * torch.randn_like(connection.weight)
        counter.forward(0, ["free"], counter.active(value, sent), sent)
        counter.transposed(0, ["free"], counter.active(post, post.sign().abs()), routed.sign().abs())
        counter.update(0, value, routed)
        counter.programmed(0, old.to(device), new.to(device))
        counter.events(0, ["free"], 0, counter.active(post, post.sign().abs())[1])
        return counter.result(BATCH)

    cpu, cuda = counted("cpu"), counted("cuda")
    assert (cpu.traffic == cuda.traffic).all()
    assert (cpu.update == cuda.update).all()
    assert (cpu.messages["free"] == cuda.messages["free"]).all()


def test_tile_table_joins_plan_and_counts() -> None:
    connections = network(None)
    plan = plan_tiles([ConnectionGeometry.from_connection(c) for c in connections], ARRAYS[1])
    counter = TileCounter(plan, "cpu")
    ones = torch.ones(1, 3, 5, 5)
    counter.forward(0, ["free"], counter.active(ones, ones), ones)
    table = tile_table(plan.to_frame(), counter.result(1))
    assert len(table) == len(plan.tiles) * 3 * 2 * 2
    assert list(table.columns[-4:]) == list(READ_QUANTITIES)
    keys = (table.phase == "free") & (table.direction == "forward") & (table.accounting == "clocked")
    assert (table[keys & (table.layer == 0)].reads == 25).all()
    assert (table[keys & (table.layer > 0)].reads == 0).all()
