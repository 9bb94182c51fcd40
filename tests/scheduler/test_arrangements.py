"""Arrangements of a convolution's weights on the CPU: all read the same numbers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from neurosim_ep.ep.edges import Connection
from neurosim_ep.ep.network import Network, channels_last, initialise
from neurosim_ep.scenario.topology import LayerPlan
from neurosim_ep.scheduler import kernels
from neurosim_ep.scheduler.arrangements import MAKE, PACKED_READS, arrangement
from neurosim_ep.scheduler.engine import Engine
from neurosim_ep.scheduler.kernels import PackedKernel
from neurosim_ep.scheduler.onednn import MOST_ROWS, multiply_groups, pack_groups
from neurosim_ep.scheduler.presentation import free_phase
from neurosim_ep.scheduler.schedule import Schedule
from neurosim_ep.scheduler.whole_map import line
from neurosim_ep.scheduler.winograd import WinogradWeights

pytestmark = pytest.mark.skipif(not PackedKernel.available(), reason="this build of PyTorch has no oneDNN layouts")

SIDES = {
    "dense": (1, 2),
    "gathered": (1, 3, 4, 6),
    "packed": (1, 2, 5, 8),
    "whole": (2, 4, 6, 8, 16),
    "whole_packed": (2, 4, 8),
    "winograd": (2, 4, 6, 8),
}


def drawn(out: int, inside: int, rows: int, height: int, width: int, kernel: int = 3) -> tuple[Tensor, ...]:
    """Weights (out, inside, k, k), biases, and a value for each of the two reads; states are in [0, 1)."""
    random = torch.Generator().manual_seed(out + inside + rows + height)
    weight = torch.randn(out, inside, kernel, kernel, generator=random) / (kernel * inside**0.5)
    values = (torch.rand(rows, channels, height, width, generator=random) for channels in (inside, out))
    return weight, torch.randn(out, generator=random), *map(channels_last, values)


def apart(found: Tensor, exact: Tensor) -> float:
    """Distance over norm."""
    return float((found - exact).norm() / exact.norm())


@pytest.mark.parametrize("name", sorted(MAKE))
@pytest.mark.parametrize(("out", "inside", "rows"), [(5, 3, 1), (12, 16, 7), (33, 8, 70)])
def test_both_reads_are_those_of_the_convolution(name: str, out: int, inside: int, rows: int) -> None:
    for height in SIDES[name]:
        for width in SIDES[name]:
            weight, bias, pre, post = drawn(out, inside, rows, height, width)
            weights = MAKE[name](weight, 1, (height, width), torch.float32)
            z = F.conv2d(pre.double(), weight.double(), padding=1)
            back = F.conv_transpose2d(post.double(), weight.double(), padding=1)
            assert apart(weights.forward(pre, None), z) < 2e-6
            assert apart(weights.forward(pre, bias), z + bias.double().view(-1, 1, 1)) < 2e-6
            assert apart(weights.feedback(post), back) < 2e-6
            assert weights.forward(pre, bias).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", [2, 4, 6, 8, 16, 32])
def test_a_line_takes_one_and_a_half_products_per_value(size: int) -> None:
    """``J T = Bᵀ diag(G w) B`` of the matrix T of a line; roundings are little larger than those of its sum."""
    vectors, weights = line(size)
    assert vectors.shape == (3 * size // 2, size)
    for tap in range(3):
        convolution = torch.eye(size, size + 2, dtype=torch.float64).roll(tap, 1)[:, 1:-1]
        torch.testing.assert_close((vectors.T * weights[:, tap]) @ vectors, convolution.flip(0), rtol=0, atol=1e-13)
    variances = (vectors.square().T * weights.square().sum(1) * vectors.square().sum(1)).sum()
    assert 1 < (variances / (3 * size - 2)).sqrt() < 1.14


@pytest.mark.parametrize("name", ["dense", "gathered", "packed"])
def test_a_larger_kernel(name: str) -> None:
    weight, bias, pre, post = drawn(6, 4, 3, 2, 2, kernel=5)
    weights = MAKE[name](weight, 2, (2, 2), torch.float32)
    assert apart(weights.forward(pre, bias), F.conv2d(pre.double(), weight.double(), bias.double(), padding=2)) < 2e-6
    assert apart(weights.feedback(post), F.conv_transpose2d(post.double(), weight.double(), padding=2)) < 2e-6


@pytest.mark.parametrize(("name", "side"), [("whole", 2), ("whole", 4), ("whole", 8), ("winograd", 4), ("winograd", 8)])
def test_fewer_products_round_less_than_the_direct_sum(name: str, side: int) -> None:
    weight, _, pre, post = drawn(128, 128, 8, side, side)
    weights = MAKE[name](weight, 1, (side, side), torch.float32)
    z = F.conv2d(pre.double(), weight.double(), padding=1)
    back = F.conv_transpose2d(post.double(), weight.double(), padding=1)
    assert apart(weights.forward(pre, None), z) < apart(F.conv2d(pre, weight, padding=1), z)
    assert apart(weights.feedback(post), back) < apart(F.conv_transpose2d(post, weight, padding=1), back)


@pytest.mark.parametrize("side", [2, 4])
def test_fewer_products_of_16_bits_round_little_more_than_the_direct_sum(side: int) -> None:
    weight, bias, pre, post = drawn(128, 128, 8, side, side)
    direct, weights = (MAKE[name](weight, 1, (side, side), torch.bfloat16) for name in ("packed", "whole"))
    half = torch.bfloat16
    z = F.conv2d(pre.double(), weight.double(), bias.double(), padding=1)
    assert apart(weights.forward(pre, bias), z) < 1.5 * apart(direct.forward(pre.to(half), bias.to(half)), z)
    back = F.conv_transpose2d(post.double(), weight.double(), padding=1)
    assert apart(weights.feedback(post), back) < 1.5 * apart(direct.feedback(post.to(half)), back)


def test_samples_are_found_at_rest_as_with_plain_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounding of the reads must not keep states in motion that would rest without."""
    plans = [*(LayerPlan("conv", size, pool="max") for size in (64, 128, 128)), LayerPlan("conv", 32)]
    network = Network([*plans, LayerPlan("linear", 10)], "hard_sigmoid", "cross_entropy", 10, (3, 16, 16))
    initialise(network, "he_uniform", 0.486, seed=0)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for connection in network.connections:
        connection.bias.add_(0.045)
    x = torch.rand(20, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    arranged = free_phase(network, x, 300, schedule=Schedule(tolerance=1e-4))
    assert arrangement(network.connections[2].weight.shape, 1, (20, 128, 4, 4), False, False) == "whole"
    monkeypatch.setattr(PackedKernel, "available", lambda *dtype: False)
    plain = free_phase(network, x, 300, schedule=Schedule(tolerance=1e-4))
    assert plain.ticks.float().mean() < 200
    assert abs(float(arranged.ticks.float().mean() - plain.ticks.float().mean())) < 8


def test_weights_that_change_in_place_are_seen_without_a_refresh() -> None:
    connection = Connection("conv", LayerPlan("conv", 128), (128, 8, 8))
    weight, bias, pre, _ = drawn(128, 128, 6, 8, 8)
    kernel = PackedKernel(connection)
    for scale in (1.0, 0.5):
        connection.weight.copy_(channels_last(scale * weight))
        connection.bias.copy_(scale * bias)
        z = F.conv2d(pre.double(), connection.weight.double(), connection.bias.double(), padding=1)
        assert apart(kernel.forward(pre), z) < 2e-6


def test_rows_do_not_depend_on_how_many_are_worked_on_together() -> None:
    weight, _, pre, post = drawn(64, 64, 300, 8, 8)
    weights = WinogradWeights(weight)
    alone = torch.cat([weights.forward(part, None) for part in pre.split(7)])
    torch.testing.assert_close(weights.forward(pre, None), alone, rtol=0, atol=1e-5)
    alone = torch.cat([weights.feedback(part) for part in post.split(7)])
    torch.testing.assert_close(weights.feedback(post), alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "padding", "value", "name"),
    [
        ((512, 512, 3, 3), 1, (4, 512, 2, 2), "whole"),
        ((512, 512, 3, 3), 1, (2, 512, 4, 4), "packed"),  # many weights for few rows
        ((128, 128, 3, 3), 1, (16, 128, 2, 2), "dense"),  # too small for any detour
        ((64, 64, 3, 3), 1, (64, 64, 2, 2), "dense"),
        ((192, 192, 5, 5), 2, (4, 192, 2, 2), "packed"),  # a matrix to be read from memory for few rows
        ((64, 64, 3, 3), 1, (4, 64, 2, 2), "dense"),
        ((8, 4, 3, 3), 0, (16, 4, 2, 2), "packed"),  # gives a smaller map
        ((512, 512, 3, 3), 1, (16, 512, 4, 4), "whole"),
        ((256, 128, 3, 3), 1, (16, 128, 8, 8), "winograd"),
        ((256, 128, 3, 3), 1, (48, 128, 8, 8), "whole"),
        ((256, 128, 3, 3), 1, (2, 128, 8, 8), "packed"),  # too few tiles
        ((64, 128, 3, 3), 1, (16, 128, 8, 8), "plain"),  # too few channels
        ((256, 128, 3, 3), 1, (16, 128, 7, 7), "plain"),
        ((256, 128, 5, 5), 2, (16, 128, 8, 8), "plain"),
        ((16, 8, 3, 3), 1, (24, 8, 16, 16), "plain"),
        ((16, 8, 3, 3), 1, (1, 8, 16, 16), "packed"),
    ],
)
def test_the_rule_in_float32(shape: tuple[int, ...], padding: int, value: tuple[int, ...], name: str) -> None:
    assert {arrangement(shape, padding, value, False, tiles) for tiles in (False, True)} == {name}


@pytest.mark.parametrize(
    ("shape", "value", "name", "with_tiles"),
    [
        ((512, 512, 3, 3), (16, 512, 2, 2), "dense", "dense"),
        ((512, 512, 3, 3), (32, 512, 2, 2), "whole", "dense"),
        ((128, 128, 3, 3), (64, 128, 2, 2), "dense", "dense"),  # too small for any detour
        ((512, 512, 3, 3), (16, 512, 4, 4), "packed", "gathered"),  # many weights for few rows
        ((512, 512, 3, 3), (32, 512, 4, 4), "whole", "gathered"),
        ((64, 64, 3, 3), (64, 64, 4, 4), "packed", "gathered"),
        ((256, 128, 3, 3), (16, 128, 8, 8), "packed", "packed"),
    ],
)
def test_the_rule_in_16_bits(shape: tuple[int, ...], value: tuple[int, ...], name: str, with_tiles: str) -> None:
    assert arrangement(shape, 1, value, True, False) == name
    assert arrangement(shape, 1, value, True, True) == with_tiles


@pytest.mark.parametrize(
    ("shape", "value", "single", "half"),
    [
        ((512, 512, 3, 3), (4, 512, 2, 2), "whole_packed", "dense"),
        ((512, 512, 3, 3), (4, 512, 4, 4), "whole_packed", "whole_packed"),
        ((512, 512, 3, 3), (3, 512, 4, 4), "packed", "packed"),  # many weights for few rows
        ((128, 128, 3, 3), (32, 128, 4, 4), "whole", "whole"),  # small matrices
        ((256, 256, 3, 3), (6, 256, 8, 8), "whole_packed", "packed"),
        ((256, 256, 3, 3), (5, 256, 8, 8), "winograd", "packed"),
        ((128, 128, 3, 3), (16, 128, 8, 8), "whole_packed", "packed"),
        ((128, 128, 3, 3), (15, 128, 8, 8), "winograd", "packed"),  # little work
    ],
)
def test_the_rule_where_packing_pays(shape: tuple[int, ...], value: tuple[int, ...], single: str, half: str) -> None:
    assert [arrangement(shape, 1, value, narrow, False, True) for narrow in (False, True)] == [single, half]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, MOST_ROWS, 2 * MOST_ROWS + 5])
def test_products_side_by_side_are_those_of_each_group(rows: int, dtype: torch.dtype) -> None:
    if not PackedKernel.available(dtype):
        pytest.skip(f"this processor computes no {dtype} products in oneDNN")
    random = torch.Generator().manual_seed(rows)
    values, weights = (torch.randn(*shape, generator=random).to(dtype) for shape in ((rows, 9, 32), (9, 24, 32)))
    exact = torch.einsum("rgi,goi->rgo", values.double(), weights.double())
    found = multiply_groups(values, pack_groups(weights))
    assert found.shape == exact.shape and apart(found, exact) < 2 * torch.finfo(dtype).eps


def test_weights_are_packed_in_phases_long_enough_to_pay_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network([LayerPlan("conv", 256), LayerPlan("conv", 256)], "hard_sigmoid", "cross_entropy", 10, (3, 4, 4))
    initialise(network, "he_uniform", 0.3, seed=0)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    monkeypatch.setattr(kernels, "layout_is_one", lambda dtype: True)
    x = torch.rand(16, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    ends = {}
    for steps in (2 * PACKED_READS - 1, 2 * PACKED_READS):
        engine = Engine(network, Schedule("alternating"))
        ends[steps] = free_phase(network, x, steps, engine=engine)
        assert list(engine.kernels[1]._arranged) == ["whole_packed" if steps == 2 * PACKED_READS else "whole"]
    packed = free_phase(network, x, 2 * PACKED_READS - 1, engine=engine)  # the same phase with other arrangements
    for one, other in zip(ends[2 * PACKED_READS - 1].states, packed.states, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    monkeypatch.setattr(kernels, "layout_is_one", lambda dtype: False)
    plain = free_phase(network, x, 2 * PACKED_READS, engine=Engine(network, Schedule("alternating")))
    for one, other in zip(ends[2 * PACKED_READS].states, plain.states, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_a_kernel_reads_alike_at_every_size_of_the_batch_until_its_weights_change() -> None:
    """A batch that shrinks passes through several arrangements."""
    connection = Connection("conv", LayerPlan("conv", 128), (128, 4, 4))
    weight, bias, pre, post = drawn(128, 128, 40, 4, 4)
    kernel = PackedKernel(connection)
    for scale in (1.0, -0.5):
        connection.weight.copy_(channels_last(scale * weight))
        connection.bias.copy_(scale * bias)
        kernel.refresh()
        for rows in (40, 13, 11, 3, 1):
            z = F.conv2d(pre[:rows].double(), connection.weight.double(), connection.bias.double(), padding=1)
            assert apart(kernel.forward(pre[:rows]), z) < 2e-6
            back = F.conv_transpose2d(post[:rows].double(), connection.weight.double(), padding=1)
            assert apart(kernel.feedback(post[:rows]), back) < 2e-6


def test_what_a_program_does_around_its_reads_does_not_spoil_the_memory_they_share() -> None:
    weight, _, pre, _ = drawn(64, 64, 3, 8, 8)
    wanted = WinogradWeights(weight).forward(pre, None)

    def in_a_thread() -> list[Tensor]:
        found = []
        with torch.inference_mode():
            found.append(WinogradWeights(weight).forward(pre, None).clone())
        found.append(WinogradWeights(weight).forward(pre, None))
        return found

    before = torch.get_default_dtype()
    with ThreadPoolExecutor(1) as threads:  # its memory is its own
        found = threads.submit(in_a_thread).result()
    torch.set_default_dtype(torch.float64)
    try:
        with ThreadPoolExecutor(1) as threads:
            found += threads.submit(in_a_thread).result()
    finally:
        torch.set_default_dtype(before)
    assert all(torch.equal(one, wanted) for one in found)
