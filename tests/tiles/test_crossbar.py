"""Tile arrays: ideal ones read as the connection does; every imperfection of cells against dense algebra."""

from __future__ import annotations

import math

import pytest
import torch
from crossbars import CIRCUIT, connection, dense, drives, fully_connected, relative, states, tile_array, windows
from torch import Tensor

from neurosim_ep.ep.edges import Connection
from neurosim_ep.scenario.schema import HardwareSection
from neurosim_ep.scenario.topology import LayerPlan
from neurosim_ep.tiles.conductance import Encoding
from neurosim_ep.tiles.crossbar import FORWARD, TRANSPOSED, TileArray
from neurosim_ep.tiles.statistics import load_cells
from neurosim_ep.tiles.wires import effective_conductance, estimated_conductance, ir_drop_closed_form

LAYERS = [
    (LayerPlan("linear", 7), (13,)),
    (LayerPlan("linear", 5), (3, 4, 3)),
    (LayerPlan("conv", 4, 3, 1, None), (3, 6, 5)),
    (LayerPlan("conv", 3, 3, 0, "max"), (2, 7, 6)),
    (LayerPlan("conv", 5, 5, 1, "avg"), (2, 8, 9)),
    (LayerPlan("conv", 4, 1, 0, "max"), (5, 5, 4)),
    (LayerPlan("conv", 2, 1, 1, "avg"), (3, 3, 4)),
    (LayerPlan("conv", 4, 3, 1, None, stride=2), (3, 7, 6)),
    (LayerPlan("conv", 3, 1, 0, None, stride=2), (2, 6, 7)),
    (LayerPlan("conv", 3, 2, 1, "max", stride=3), (2, 9, 8)),
]  # fmt: skip
SHAPES = [(128, 128), (8, 6), (5, 2), (1, 4)]


@pytest.mark.parametrize("cells", [1, 2])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("plan", "in_shape"), LAYERS, ids=[f"{plan.kind}{n}" for n, (plan, _) in enumerate(LAYERS)])
def test_neutral_tiles_read_as_the_connection_does(
    plan: LayerPlan, in_shape: tuple[int, ...], shape: tuple[int, int], cells: int
) -> None:
    for dtype, close in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        made = connection(plan, in_shape, dtype=dtype)
        tiles = tile_array(made, *shape, cells_per_weight=cells)
        assert tiles.exact and HardwareSection().ideal
        pre, post = states(made, 3), states(made, 3, side="post")
        drive, back = tiles.forward(pre), tiles.feedback(post)
        assert drive.dtype == back.dtype == dtype
        assert relative(drive, made.read(pre, bias=False)) < close
        assert relative(back, made.feedback(post)) < close
        assert relative(tiles.weight(), made.weight) < close
        assert float((drive * post).sum()) == pytest.approx(float((pre * back).sum()), rel=close * 10)
        made.tiles = tiles
        ideal = connection(plan, in_shape, dtype=dtype)
        assert relative(made(pre)[0], ideal(pre)[0]) < close  # bias and pooling stay digital


def test_large_batches_are_read_in_parts() -> None:
    made = connection(LayerPlan("conv", 3, 3, 1, None), (4, 32, 32), dtype=torch.float32)
    tiles, pre = tile_array(made, 16, 4), states(made, 40)
    assert relative(tiles.forward(pre), made.read(pre, bias=False)) < 1e-6
    post = states(made, 40, side="post")
    assert relative(tiles.feedback(post), made.feedback(post)) < 1e-6


def both_ways(made: Connection, tiles: TileArray, matrix: Tensor, close: float = 1e-9) -> None:
    """The reads of ``tiles`` in both directions are products with one ``matrix`` (rows, columns)."""
    scale = float(made.weight.abs().max())
    pre, post = states(made, 4), states(made, 4, side="post")
    assert relative(tiles.forward(pre), drives(made, windows(made, pre) @ matrix * scale)) < close
    ideal = connection_with(made, matrix * scale)
    assert relative(tiles.feedback(post), ideal.feedback(post)) < close
    assert relative(tiles.weight(), ideal.weight) < close


def connection_with(made: Connection, matrix: Tensor) -> Connection:
    """A connection like ``made`` with the weights of ``matrix`` (rows, columns)."""
    plan = LayerPlan(made.kind, made.pre_pool_shape[0], made.weight.shape[-1], made.padding, made.pool)
    other = connection(plan, made.in_shape)
    if made.kind == "conv":
        kernel = made.weight.shape[2]
        other.weight.copy_(matrix.unflatten(0, (kernel, kernel, -1)).permute(3, 2, 0, 1))
    else:
        other.weight.copy_(matrix.T)
    return other


MADE = [fully_connected(9, 6), connection(LayerPlan("conv", 4, 3, 1, "max"), (2, 5, 6))]


@pytest.mark.parametrize("made", MADE, ids=["linear", "conv"])
@pytest.mark.parametrize("off", [0.0, 0.1])
@pytest.mark.parametrize("levels", [2, 3, 8, 9])
def test_finite_levels(made: Connection, levels: int, off: float) -> None:
    """Each cell of a pair has ``levels`` conductances, so the weight has 2 levels - 1 values; a single cell, levels."""
    w = dense(made)
    pair = tile_array(made, 8, 6, off=off, cells={"levels": levels})
    both_ways(made, pair, (w * (levels - 1)).round() / (levels - 1))
    single = tile_array(made, 8, 6, off=off, cells_per_weight=1, cells={"levels": levels})
    both_ways(made, single, ((w + 1) / 2 * (levels - 1)).round() / (levels - 1) * 2 - 1)


def test_conductances_stay_between_off_and_on() -> None:
    w = torch.linspace(-1, 1, 41, dtype=torch.float64)
    for cells in (1, 2):
        for slices, levels in ((1, 0), (1, 5), (3, 4)):
            encoding = Encoding(cells, 0.2, slices, levels)
            found = encoding.encode(w)
            assert found.shape == (slices, cells, 41)
            assert float(found.min()) >= 0.2 - 1e-12 and float(found.max()) <= 1 + 1e-12
    beyond = torch.tensor([-3.0, 3.0])  # devices may go there
    assert Encoding(1, 0.2).encode(beyond).flatten().tolist() == pytest.approx([0, 1.8])
    assert Encoding(2, 0.2).encode(beyond).flatten().tolist() == pytest.approx([0.2, 2.6, 2.6, 0.2])
    pair = Encoding(2, 0.2).encode(w)[0]
    assert (pair[0][w < 0] == 0.2).all() and (pair[1][w > 0] == 0.2).all()  # the other cell is off
    assert torch.allclose(Encoding(1, 0.2).encode(w)[0, 0], 0.2 + 0.8 * (w + 1) / 2)


@pytest.mark.parametrize("cells", [1, 2])
@pytest.mark.parametrize(("slices", "levels"), [(2, 2), (3, 4), (8, 2), (2, 5)])
def test_bit_slices_hold_whole_numbers_exactly(cells: int, slices: int, levels: int) -> None:
    """A pair holds -top to top, top = levels^slices - 1; a single cell holds 0 to top, as -1 to 1."""
    top = levels**slices - 1
    whole = torch.arange(-top, top + 1, 2 if cells == 1 else 1, dtype=torch.float64)
    encoding = Encoding(cells, 0.05, slices, levels)
    conductances = encoding.encode(whole / top)
    steps = (conductances - 0.05) / 0.95 * (levels - 1)
    assert torch.allclose(steps, steps.round(), atol=1e-9)
    shares = torch.tensor(encoding.shares, dtype=torch.float64)
    assert torch.allclose(torch.einsum("s,sn->n", shares, encoding.decode(conductances)) * top, whole, atol=1e-9)
    assert torch.allclose(shares[1:] / shares[:-1], torch.full((slices - 1,), float(levels), dtype=torch.float64))


@pytest.mark.parametrize("cells", [1, 2])
def test_sliced_reads(cells: int) -> None:
    made = MADE[1]
    tiles = tile_array(made, 8, 6, cells_per_weight=cells, slices=3, levels=4, off=0.1)
    w = dense(made)
    both_ways(made, tiles, (w * 63).round() / 63 if cells == 2 else ((w + 1) / 2 * 63).round() / 63 * 2 - 1)


@pytest.mark.parametrize("cells", [1, 2])
def test_stuck_cells(cells: int) -> None:
    made, off = fully_connected(60, 40), 0.1
    tiles = tile_array(made, 16, 8, cells_per_weight=cells, off=off, cells={"stuck_off": 0.2, "stuck_on": 0.1})
    healthy = tile_array(made, 16, 8, cells_per_weight=cells, off=off).cells.conductances()
    found = tiles.cells.conductances()
    low, high = (found == off) & (healthy != off), (found == 1) & (healthy != 1)
    usual = healthy != off
    assert float(low[usual].double().mean()) == pytest.approx(0.2, abs=0.03)
    assert float(high.double().mean()) == pytest.approx(0.1, abs=0.02)
    assert torch.equal(found[~(low | high)], healthy[~(low | high)])
    if cells == 2:
        both_ways(made, tiles, (found[0, 0] - found[0, 1]) / (1 - off))
    else:
        both_ways(made, tiles, (found[0, 0] - (1 + off) / 2) * 2 / (1 - off))
    tiles.hold(tiles.normalised(-made.weight), tiles.random)
    again = tiles.cells.conductances()
    assert (again[low] == off).all() and (again[high] == 1).all()


@pytest.mark.parametrize("cells", [1, 2])
def test_variation_between_devices(cells: int) -> None:
    """Conductances are multiplied with 1 + variation N, the same for every read and after every programming."""
    made, off = fully_connected(80, 50), 0.1
    tiles = tile_array(made, 32, 16, cells_per_weight=cells, off=off, cells={"variation": 0.1})
    found, target = tiles.cells.conductances(), tiles.cells.targets
    gain = found / target
    assert float(gain.mean()) == pytest.approx(1, abs=0.01) and float(gain.std()) == pytest.approx(0.1, rel=0.05)
    part = found[0, 0] - found[0, 1] if cells == 2 else (found[0, 0] - (1 + off) / 2) * 2
    both_ways(made, tiles, part / (1 - off))
    tiles.hold(tiles.normalised(-made.weight), tiles.random)
    assert torch.allclose(tiles.cells.conductances() / tiles.cells.targets, gain)
    other = tile_array(made, cells_per_weight=cells, off=off, cells={"variation": 0.1}, seed=5)
    assert not torch.allclose(other.cells.conductances(), found)


def test_programming_noise() -> None:
    """Deviations of the range between off and on; only cells with a new target are programmed anew."""
    made, off = fully_connected(100, 80), 0.2
    tiles = tile_array(made, 64, 32, cells_per_weight=1, off=off, cells={"programming_noise": 0.02})
    error = tiles.cells.programmed - tiles.cells.targets
    assert float(error.mean()) == pytest.approx(0, abs=1e-3)
    assert float(error.std()) == pytest.approx(0.02 * 0.8, rel=0.05)
    both_ways(made, tiles, (tiles.cells.programmed[0, 0] - (1 + off) / 2) * 2 / (1 - off))
    before = tiles.cells.programmed.clone()
    tiles.hold(tiles.normalised(made.weight), tiles.random)
    assert torch.equal(tiles.cells.programmed, before)
    weight = made.weight.clone()
    weight[3] *= 0.5
    tiles.hold(tiles.normalised(weight), tiles.random)
    changed = (tiles.cells.programmed != before)[0, 0]
    assert changed[:, 3].all() and int(changed.sum()) == 100


@pytest.mark.parametrize(("cells", "variance"), [(1, 4.0), (2, 2.0)])
def test_read_noise_of_both_directions(cells: int, variance: float) -> None:
    """A read has the variance Σ σ² x²: 2 read_noise² per weight of a pair, 4 read_noise² of a single cell."""
    made = fully_connected(20, 30)
    tiles = tile_array(made, 8, 6, cells_per_weight=cells, off=0.3, cells={"read_noise": 0.05})
    clean = tile_array(made, 8, 6, cells_per_weight=cells, off=0.3)
    scale = tiles.scale
    for read, exact, value in (
        (tiles.forward, clean.forward, states(made, 1)),
        (tiles.feedback, clean.feedback, states(made, 1, side="post")),
    ):
        error = read(value.expand(2000, -1)) - exact(value)
        expected = scale**2 * 0.05**2 * variance * float(value.square().sum())
        assert float(error.var()) == pytest.approx(expected, rel=0.05)
        assert float(error.mean()) == pytest.approx(0, abs=4 * math.sqrt(expected / error.numel()))


def test_read_noise_of_slices_counts_as_their_digits_do() -> None:
    made = fully_connected(20, 30)
    tiles = tile_array(made, slices=2, levels=4, cells={"read_noise": 0.05})
    clean = tile_array(made, slices=2, levels=4)
    value = states(made, 1)
    error = tiles.forward(value.expand(3000, -1)) - clean.forward(value)
    expected = tiles.scale**2 * 2 * 0.05**2 * (3**2 + 12**2) / 15**2 * float(value.square().sum())
    assert float(error.var()) == pytest.approx(expected, rel=0.05)


def test_measured_statistics() -> None:
    """Programming error, drift and read noise are those of the file, as shares of the on conductance."""
    made, statistics = fully_connected(100, 80), load_cells("pcm")
    fresh = tile_array(made, 64, 32, off=0.01, cells={"statistics": "pcm"})
    target = fresh.cells.targets
    error = (fresh.cells.programmed - target) / statistics.programming_std(target)
    above = target > 0.2  # where nothing is cut off at 0
    assert float(error[above].std()) == pytest.approx(1, rel=0.03)
    late = tile_array(made, 64, 32, off=0.01, cells={"statistics": "pcm", "time_s": 1e4})
    drifted = late.cells.conductances()
    assert torch.allclose(late.cells.programmed, fresh.cells.programmed)
    assert float((drifted / late.cells.programmed)[above].mean()) < 0.85
    value = states(made, 1, side="post")
    error = late.feedback(value.expand(2000, -1)) - value @ late.weight()
    sigma = statistics.read_sigma(drifted, 1e4) / 0.99
    expected = late.scale**2 * (sigma.square().sum((0, 1)) @ value[0].square())
    assert relative(error.var(0), expected) < 0.25
    assert float(error.var(0).sum()) == pytest.approx(float(expected.sum()), rel=0.05)


@pytest.mark.parametrize("cells", [1, 2])
@pytest.mark.parametrize("method", ["exact", "estimated"])
@pytest.mark.parametrize("made", MADE, ids=["linear", "conv"])
def test_wires_of_every_array(made: Connection, method: str, cells: int) -> None:
    """Block by block the conductances seen from the terminals, the cells of a pair in neighbouring columns."""
    off, rows, columns = 0.1, 8, 6
    tiles = tile_array(made, rows, columns, cells_per_weight=cells, off=off, cells={"ir_drop": method})
    G = Encoding(cells, off).encode(dense(made))[0]
    physical = torch.stack(list(G), -1).flatten(1) * CIRCUIT.on_S
    solve = effective_conductance if method == "exact" else estimated_conductance
    seen = torch.empty_like(physical)
    for top in range(0, len(physical), rows):
        for left in range(0, physical.shape[1], columns):
            block = physical[top : top + rows, left : left + columns]
            seen[top : top + rows, left : left + columns] = solve(block, CIRCUIT.wire_ohm)
    seen = seen.unflatten(1, (-1, cells)) / CIRCUIT.on_S
    decoded = seen[..., 0] - seen[..., 1] if cells == 2 else (seen[..., 0] - (1 + off) / 2) * 2
    assert relative(decoded / (1 - off), dense(made)) > 1e-4  # wires do something here
    both_ways(made, tiles, decoded / (1 - off), close=1e-6)


@pytest.mark.parametrize("cells", [1, 2])
def test_closed_form_of_every_block(cells: int) -> None:
    """The formula in each block and direction, on weights in units of the on conductance."""
    made, rows, columns, off = fully_connected(11, 7), 4, 6, 0.1
    tiles = tile_array(made, rows, columns, cells_per_weight=cells, off=off, cells={"ir_drop": "closed_form"})
    unit = (1 - off) / (1 if cells == 2 else 2)  # conductance that a weight of 1 stands for
    w, ratio = dense(made) * unit, CIRCUIT.wire_ohm * CIRCUIT.on_S
    pre, post = states(made, 3), states(made, 3, side="post")
    forward = sum(
        ir_drop_closed_form(w[top : top + rows], pre[:, top : top + rows], ratio) for top in range(0, len(w), rows)
    )
    width = columns // cells
    transposed = sum(
        ir_drop_closed_form(w[:, left : left + width], post[:, left : left + width], ratio, transposed=True)
        for left in range(0, w.shape[1], width)
    )
    assert relative(tiles.forward(pre), forward / unit * tiles.scale) < 1e-9
    assert relative(tiles.feedback(post), transposed / unit * tiles.scale) < 1e-9
    assert relative(tiles.forward(pre), pre @ made.weight.T) > 1e-6


def test_blocks_are_those_of_the_arrays() -> None:
    tiles = tile_array(fully_connected(11, 7), 4, 6)
    assert [(part.start, part.stop) for part in tiles.blocks[FORWARD]] == [(0, 4), (4, 8), (8, 11)]
    assert [(part.start, part.stop) for part in tiles.blocks[TRANSPOSED]] == [(0, 3), (3, 6), (6, 7)]


def test_a_programmed_state_is_kept_and_found_again() -> None:
    made = fully_connected(12, 9)
    noisy = {"statistics": "pcm", "time_s": 100.0}
    tiles, other = tile_array(made, cells=noisy), tile_array(made, cells=noisy, seed=3)
    assert not torch.equal(tiles.matrix, other.matrix)
    other.cells.load_state_dict(tiles.cells.state_dict())
    other.refresh()
    assert torch.equal(tiles.matrix, other.matrix)


def test_nothing_is_drawn_where_nothing_is_noisy() -> None:
    made = fully_connected(12, 9)
    tiles = tile_array(made, dac_bits=4, adc_bits=5, cells={"levels": 4})
    before = tiles.random.get_state()
    tiles.forward(states(made, 2))
    tiles.feedback(states(made, 2, side="post"))
    assert torch.equal(before, tiles.random.get_state())
