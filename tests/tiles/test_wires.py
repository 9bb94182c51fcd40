"""Voltage drop on the wires of an array, against the resistor network solved directly and against its physics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from resistor_network import solve_direct
from torch import Tensor

from neurosim_ep.errors import UsageError
from neurosim_ep.tiles.wires import (
    closed_form_correction,
    effective_conductance,
    estimated_conductance,
    ir_drop_closed_form,
    ir_drop_iterative,
    position_weights,
)

DIRECTIONS = (False, True)


def random_case(
    rows: int, columns: int, g_max: float, reads: int, transposed: bool, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Conductances, a tenth of them 0, and inputs of both signs, float64."""
    random = torch.Generator().manual_seed(seed)
    G = torch.rand(rows, columns, generator=random, dtype=torch.float64)
    G = g_max * torch.where(G < 0.1, 0.0, G)
    x = torch.rand(reads, columns if transposed else rows, generator=random, dtype=torch.float64)
    return G, 2 * x - 1


def relative(found: Tensor, expected: np.ndarray | Tensor) -> float:
    """Largest difference over the largest expected current of the same read."""
    expected = torch.as_tensor(expected)
    return float(((found - expected).abs().amax(-1) / expected.abs().amax(-1)).max())


@pytest.mark.parametrize("transposed", DIRECTIONS)
@pytest.mark.parametrize(
    ("r", "g_max"), [(0.35, 5e-6), (0.35, 1e-4), (1.0, 1e-5), (2.0, 1e-4), (5.0, 1e-4), (5.0, 1e-3)]
)
def test_currents_are_those_of_the_network(r: float, g_max: float, transposed: bool) -> None:
    G, x = random_case(64, 64, g_max, 3, transposed)
    expected, _ = solve_direct(G.numpy(), x.numpy(), r, transposed)
    found = ir_drop_iterative(G, x, r, transposed=transposed)
    assert bool(found.converged.all())
    assert found.iterations <= 12
    assert relative(found.currents_A, expected) < 1e-4
    E = effective_conductance(G, r)
    assert relative(x @ (E.mT if transposed else E), expected) < 1e-9


@given(rows=st.integers(1, 9), columns=st.integers(1, 9), load=st.floats(1e-7, 10), transposed=st.booleans())
@settings(max_examples=40, deadline=None)
def test_every_shape_and_load(rows: int, columns: int, load: float, transposed: bool) -> None:
    G, x = random_case(rows, columns, 1e-4, 2, transposed)
    G += 1e-6
    expected, _ = solve_direct(G.numpy(), x.numpy(), load / 1e-4, transposed)
    found = ir_drop_iterative(G, x, load / 1e-4, transposed=transposed, tolerance=1e-8)
    assert bool(found.converged.all())
    error = (found.currents_A - torch.as_tensor(expected)).abs().amax(-1)
    largest = torch.as_tensor(expected).abs().amax(-1)
    assert bool((error <= 2e-8 * largest).all())


@pytest.mark.parametrize("transposed", DIRECTIONS)
def test_the_residual_bounds_the_error(transposed: bool) -> None:
    G, x = random_case(32, 32, 1e-3, 4, transposed)
    exact = ir_drop_iterative(G, x, 5.0, transposed=transposed, tolerance=1e-10).currents_A
    for steps in range(6):
        found = ir_drop_iterative(G, x, 5.0, transposed=transposed, tolerance=0.0, iterations=steps)
        error = (found.currents_A - exact).abs().amax(-1) / found.currents_A.abs().amax(-1)
        assert bool((error <= found.residual + 1e-9).all())


@pytest.mark.parametrize("transposed", DIRECTIONS)
def test_without_resistance_it_is_dense_algebra(transposed: bool) -> None:
    G, x = random_case(20, 30, 1e-4, 5, transposed)
    ideal = x @ (G.mT if transposed else G)
    for r, tolerance in ((0.0, 1e-14), (1e-9, 1e-9), (1e-3, 1e-3)):
        found = ir_drop_iterative(G, x, r, transposed=transposed)
        assert bool(found.converged.all())
        assert relative(found.currents_A, ideal) < tolerance
        E = effective_conductance(G, r)
        assert relative(x @ (E.mT if transposed else E), ideal) < tolerance


def test_reads_are_reciprocal() -> None:
    G, x = random_case(24, 40, 5e-4, 1, False)
    _, z = random_case(24, 40, 5e-4, 1, True, seed=1)
    forward = ir_drop_iterative(G, x, 5.0, tolerance=1e-10).currents_A
    back = ir_drop_iterative(G, z, 5.0, transposed=True, tolerance=1e-10).currents_A
    assert torch.allclose((forward * z).sum(), (x * back).sum(), rtol=1e-8, atol=0)
    assert not torch.allclose(forward, x @ G, rtol=0.05)


@pytest.mark.parametrize("transposed", DIRECTIONS)
def test_current_is_conserved(transposed: bool) -> None:
    G, x = random_case(32, 16, 1e-4, 3, transposed)
    _, driven = solve_direct(G.numpy(), x.numpy(), 5.0, transposed)
    sensed = ir_drop_iterative(G, x, 5.0, transposed=transposed, tolerance=1e-10).currents_A
    scale = torch.as_tensor(driven).abs().sum(1)
    assert bool(((sensed.sum(1) - torch.as_tensor(driven).sum(1)).abs() < 1e-9 * scale).all())


@pytest.mark.parametrize("transposed", DIRECTIONS)
def test_more_resistance_means_less_current(transposed: bool) -> None:
    G, x = random_case(32, 32, 1e-4, 4, transposed)
    totals = torch.stack(
        [ir_drop_iterative(G, x.abs(), r, transposed=transposed).currents_A.sum(-1) for r in (0.0, 0.1, 1.0, 5.0, 50.0)]
    )
    assert bool((totals.diff(dim=0) < 0).all())
    assert bool((totals > 0).all())


@pytest.mark.parametrize("transposed", DIRECTIONS)
def test_far_cells_lose_most(transposed: bool) -> None:
    """The sketch of the module: terminals of word lines beside column 0, of bit lines below the last row."""
    lost = 1 - effective_conductance(torch.full((16, 16), 1e-4), 5.0) / 1e-4
    assert lost.argmax() == 15  # row 0, last column
    assert lost.argmin() == 15 * 16  # last row, column 0
    one = torch.zeros(16)
    one[0 if not transposed else 15] = 1.0  # the driven line on which the far cell lies
    currents = ir_drop_iterative(torch.full((16, 16), 1e-4), one, 5.0, transposed=transposed).currents_A
    assert currents.argmin() == (15 if not transposed else 0)


def test_too_few_steps_are_reported() -> None:
    G, x = random_case(64, 64, 1e-3, 2, False)
    x[1] = 0
    found = ir_drop_iterative(G, x, 5.0, iterations=2)
    assert found.iterations == 2
    assert found.converged.tolist() == [False, True]
    assert float(found.residual[0]) > 1e-6
    assert not bool(ir_drop_iterative(G, x * torch.nan, 5.0).converged.any())


def test_batches_are_single_reads() -> None:
    random = torch.Generator().manual_seed(0)
    G = torch.rand(2, 1, 12, 7, generator=random) * 1e-4
    x = torch.rand(3, 5, 12, generator=random)
    found = ir_drop_iterative(G, x, 20.0)
    assert found.currents_A.shape == (2, 3, 5, 7)
    assert found.currents_A.dtype == x.dtype
    assert found.residual.shape == found.converged.shape == (2, 3, 5)
    single = ir_drop_iterative(G[1, 0], x[2, 4], 20.0)
    assert single.currents_A.shape == (7,)
    assert torch.allclose(found.currents_A[1, 2, 4], single.currents_A, rtol=1e-5, atol=0)
    assert torch.allclose(x @ effective_conductance(G, 20.0), found.currents_A, rtol=1e-5, atol=0)


@given(rows=st.integers(1, 12), columns=st.integers(1, 12), load=st.floats(1e-6, 1e-4))
@settings(max_examples=20, deadline=None)
def test_estimate_is_right_to_first_order(rows: int, columns: int, load: float) -> None:
    G, _ = random_case(rows, columns, 1.0, 1, False)
    exact, estimate = effective_conductance(G, load), estimated_conductance(G, load)
    second_order = (load * (rows + columns) ** 2) ** 2
    assert float((exact - estimate).abs().max()) <= second_order  # where G is 0, a sneak path of second order


def test_estimate_for_large_drops() -> None:
    G, x = random_case(128, 128, 1e-4, 10, False)
    exact, estimate = x @ effective_conductance(G, 1.0), x @ estimated_conductance(G, 1.0)
    scale = (x @ G).square().mean().sqrt()
    assert float((exact - x @ G).square().mean().sqrt() / scale) > 0.3
    assert float((exact - estimate).square().mean().sqrt() / scale) < 0.03


@pytest.mark.parametrize("transposed", DIRECTIONS)
def test_closed_form_is_the_drop_of_its_assumptions(transposed: bool) -> None:
    """Equal cells, equal inputs, wires of the driven lines left out by comparing with the drop of one sensed line."""
    n, load = 64, 1e-7
    shape = (n, 1) if not transposed else (1, n)  # a driven line has one cell and one segment
    W, x = torch.ones(shape, dtype=torch.float64), torch.ones(n, dtype=torch.float64)
    exact = ir_drop_iterative(W, x, load, transposed=transposed, tolerance=1e-12).currents_A
    estimate = ir_drop_closed_form(W, x, load, transposed=transposed)
    drop = n - float(exact) - load * n  # less what the single segments of the driven lines lose
    assert float(n - estimate) == pytest.approx(drop, rel=0.03)


def test_closed_form_of_products_the_caller_has() -> None:
    G, x = random_case(16, 8, 1.0, 3, False)
    W = G - 0.5
    weights = position_weights(16, far_first=True, like=x)
    assert float(weights[0]) == 1.0
    assert float(weights[-1]) == pytest.approx(1 - (15 / 16) ** 2)
    assert torch.equal(position_weights(16, far_first=False, like=x), weights.flip(0))
    given_products = closed_form_correction(x @ W, x.abs() @ W.abs(), x @ (weights[:, None] * W), 16, 1e-3)
    assert torch.allclose(given_products, ir_drop_closed_form(W, x, 1e-3))


@pytest.mark.parametrize(
    ("G", "x", "r", "message"),
    [
        (torch.ones(4), torch.ones(4), 1.0, "rows and columns"),
        (torch.ones(4, 3), torch.ones(3), 1.0, "the 4 driven lines"),
        (torch.ones(4, 3), torch.ones(4), -1.0, "r_ohm = -1.0"),
        (torch.ones(4, 3), torch.ones(4), float("nan"), "r_ohm = nan"),
        (-torch.ones(4, 3), torch.ones(4), 1.0, "at least 0 S"),
    ],
)
def test_bad_arrays(G: Tensor, x: Tensor, r: float, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ir_drop_iterative(G, x, r)
