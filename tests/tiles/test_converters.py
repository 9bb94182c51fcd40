"""Converters of tile arrays: what drivers put on lines, what becomes of results, block by block, in both directions."""

from __future__ import annotations

import itertools

import pytest
import torch
from crossbars import (
    COLUMNS,
    IMAGES,
    MADE,
    ROWS,
    connection,
    dense,
    drives,
    read,
    relative,
    results,
    seeded,
    states,
    tile_array,
    windows,
)
from torch import Tensor

from neurosim_ep.ep.edges import Connection
from neurosim_ep.scenario.schema import ConvertersSection
from neurosim_ep.scenario.topology import LayerPlan
from neurosim_ep.tiles.converters import Drivers, Ranges
from neurosim_ep.tiles.crossbar import FORWARD, TRANSPOSED

CONV = connection(LayerPlan("conv", 4, 3, 1, None), (2, 5, 6))


def image(made: Connection, samples: int, seed: int = 0) -> Tensor:
    """Inputs of both signs and any size."""
    return 3 * torch.randn(samples, *made.in_shape, generator=seeded(seed), dtype=made.weight.dtype)


def values(made: Connection, direction: str, samples: int = 5, seed: int = 0) -> Tensor:
    return states(made, samples, seed, side="pre" if direction == FORWARD else "post")


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("direction", [FORWARD, TRANSPOSED])
def test_drivers_of_states_have_values_from_0_to_1(direction: str, bits: int) -> None:
    tiles, value, top = tile_array(MADE, ROWS, COLUMNS, dac_bits=bits), values(MADE, direction), 2**bits - 1
    codes = (value * top).round() / top
    assert relative(read(tiles, direction, value), sum(results(MADE, direction, codes)) * tiles.scale) < 1e-12


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_drivers_of_images_have_values_of_both_signs(bits: int) -> None:
    """2^bits - 1 values between plus and minus the largest pixel of each image."""
    tiles = tile_array(MADE, ROWS, COLUMNS, driven=(IMAGES, {}), dac_bits=bits)
    value, top = image(MADE, 5), 2 ** (bits - 1) - 1
    most = value.abs().amax(1, keepdim=True)
    codes = (value / most * top).round() / top * most
    assert relative(tiles.forward(value), codes @ MADE.weight.T) < 1e-12


def test_states_beyond_the_range_are_clipped_or_scaled() -> None:
    value = 2.5 * values(MADE, FORWARD)
    plain = tile_array(MADE, dac_bits=4).forward(value)
    assert relative(plain, (value * 15).round().clamp(max=15) / 15 @ MADE.weight.T) < 1e-12
    scaled = tile_array(MADE, dac_bits=4, noise_management="absmax").forward(value)
    most = value.amax(1, keepdim=True)
    assert relative(scaled, (value / most * 15).round() / 15 * most @ MADE.weight.T) < 1e-12


@pytest.mark.parametrize("direction", [FORWARD, TRANSPOSED])
@pytest.mark.parametrize("made", [MADE, CONV], ids=["linear", "conv"])
def test_bits_one_by_one_give_what_levels_give(made: Connection, direction: str) -> None:
    """As long as no result is converted."""
    value = values(made, direction)
    serial, levels = (tile_array(made, ROWS, COLUMNS, dac_bits=6, dac_coding=coding) for coding in CODINGS)
    assert relative(read(serial, direction, value), read(levels, direction, value)) < 1e-12
    signed = [tile_array(made, ROWS, COLUMNS, driven=(IMAGES, {}), dac_bits=6, dac_coding=coding) for coding in CODINGS]
    assert relative(*(tiles.forward(image(made, 4)) for tiles in signed)) < 1e-12


CODINGS = ("bit_serial", "multi_level")


@pytest.mark.parametrize("direction", [FORWARD, TRANSPOSED])
def test_every_bit_is_converted(direction: str) -> None:
    """Planes of 0 and 1, each converted block by block and weighted by its place."""
    bits, adc, bound = 5, 4, 3.0
    tiles = tile_array(
        MADE, ROWS, COLUMNS, dac_bits=bits, dac_coding="bit_serial", adc_bits=adc, adc_range="fixed", adc_bound=bound
    )
    value = values(MADE, direction)
    codes, step = (value * 31).round().long(), bound / 7
    total = 0
    for place in range(bits):
        plane = ((codes >> place) & 1).double()
        for part in results(MADE, direction, plane):
            total = total + (part / step).round().clamp(-7, 7) * step * 2**place / 31
    assert relative(read(tiles, direction, value), total * tiles.scale) < 1e-12


@pytest.mark.parametrize("direction", [FORWARD, TRANSPOSED])
@pytest.mark.parametrize("made", [MADE, CONV], ids=["linear", "conv"])
@pytest.mark.parametrize(("bits", "bound"), [(3, 1.0), (5, 2.0), (8, 12.0)])
def test_fixed_ranges(made: Connection, bits: int, bound: float, direction: str) -> None:
    """Every block is rounded and clipped by itself, then they are added up; clipped conversions are counted."""
    tiles, steps = (
        tile_array(made, ROWS, COLUMNS, adc_bits=bits, adc_range="fixed", adc_bound=bound),
        2 ** (bits - 1) - 1,
    )
    tiles.counting = True
    value = values(made, direction)
    put = windows(made, value) if direction == FORWARD else value.flatten(2 if made.kind == "conv" else 1)
    put = (
        put.transpose(1, 2)
        if direction == TRANSPOSED and made.kind == "conv"
        else put.view(len(value), -1, put.shape[-1])
    )
    total, clipped, done = 0, 0, 0
    for part in results(made, direction, put):
        codes = (part * (steps / bound)).round()
        clipped, done = clipped + int((codes.abs() > steps).sum()), done + codes.numel()
        total = total + codes.clamp(-steps, steps) * (bound / steps)
    found = read(tiles, direction, value)
    counted = tiles.conversions["free", direction]
    assert (counted.done, int(counted.clipped)) == (done, clipped)
    assert float(tiles.step("free", direction)) == pytest.approx(bound / steps * tiles.scale)
    if direction == FORWARD:
        assert relative(found, drives(made, total) * tiles.scale) < 1e-12
    else:
        assert relative(found, rows_added(made, total) * tiles.scale) < 1e-12


def rows_added(made: Connection, result: Tensor) -> Tensor:
    """What rows give (B, positions, rows), added up for the inputs they belong to, by the adjoint of the windows."""
    if made.kind == "linear":
        return result.squeeze(1)
    pre = torch.zeros(len(result), *made.in_shape, dtype=result.dtype, requires_grad=True)
    (windows(made, pre) * result).sum().backward()
    assert pre.grad is not None
    return pre.grad


@pytest.mark.parametrize("direction", [FORWARD, TRANSPOSED])
def test_ranges_of_the_largest_result(direction: str) -> None:
    """Each block and sample has the range of its own largest result; other samples of the batch do not matter."""
    tiles, value = tile_array(MADE, ROWS, COLUMNS, adc_bits=4, adc_range="absmax"), values(MADE, direction)
    value = value * torch.tensor([1.0, 0.1, 0.01, 0.0, 0.5], dtype=value.dtype)[:, None]
    total = 0
    for part in results(MADE, direction, value):
        unit = (part.abs().amax(1, keepdim=True) / 7).clamp(min=1e-300)
        total = total + (part / unit).round() * unit
    found = read(tiles, direction, value)
    assert relative(found, total * tiles.scale) < 1e-9
    assert (found[3] == 0).all()
    for sample in range(5):
        assert torch.allclose(read(tiles, direction, value[sample : sample + 1])[0], found[sample], rtol=1e-12)
    mean = sum(part.abs().amax(1).mean() / 7 for part in results(MADE, direction, value)) / 3 * tiles.scale
    tiles.counting = True
    read(tiles, direction, value)
    assert float(tiles.step("free", direction)) == pytest.approx(float(mean))
    assert int(tiles.conversions["free", direction].clipped) == 0


def test_the_range_of_a_convolution_is_that_of_all_positions_of_a_sample() -> None:
    tiles, value = tile_array(CONV, ROWS, COLUMNS, adc_bits=5, adc_range="absmax"), values(CONV, FORWARD)
    total = 0
    for part in results(CONV, FORWARD, windows(CONV, value)):
        unit = part.abs().amax((1, 2), keepdim=True) / 15
        total = total + (part / unit).round() * unit
    assert relative(tiles.forward(value), drives(CONV, total) * tiles.scale) < 1e-12


def test_steps_are_in_the_unit_of_the_drive() -> None:
    """Where inputs are scaled to their largest value, a step counts as much."""
    value = image(MADE, 6)
    for options in ({"adc_range": "fixed", "adc_bound": 3.0}, {"adc_range": "absmax"}):
        tiles = tile_array(MADE, driven=(IMAGES, {}), dac_bits=8, adc_bits=6, **options)
        tiles.counting = True
        tiles.forward(value)
        most = value.abs().amax(1)
        codes = (value / most[:, None] * 127).round() / 127
        unit = 3.0 / 31 if "adc_bound" in options else (codes @ dense(MADE)).abs().amax(1) / 31
        assert float(tiles.step("free", FORWARD)) == pytest.approx(float((most * unit).mean() * tiles.scale))


@pytest.mark.parametrize("direction", [FORWARD, TRANSPOSED])
def test_bound_management_ends_without_clipped_results(direction: str) -> None:
    """Clipped samples, and no others, are read again with twice the input range."""
    options = {"adc_bits": 6, "adc_range": "fixed", "adc_bound": 0.6, "dac_bits": 8}
    value = values(MADE, direction, samples=12)
    value[:4] *= 0.1
    managed = tile_array(MADE, ROWS, COLUMNS, bound_management="iterative", **options)
    ranges = torch.ones(len(value), 1, dtype=value.dtype)
    for _ in range(8):
        codes = (value / ranges * 255).round() / 255
        over = torch.stack([((p / (0.6 / 31)).round().abs() > 31).any(1) for p in results(MADE, direction, codes)]).any(
            0
        )
        ranges[over] *= 2
    assert {1.0, 2.0} <= set(ranges.flatten().tolist())
    codes, total = (value / ranges * 255).round() / 255, 0
    for part in results(MADE, direction, codes):
        total = total + (part / (0.6 / 31)).round().clamp(-31, 31) * (0.6 / 31)
    found = read(managed, direction, value)
    assert relative(found, total * ranges * managed.scale) < 1e-9
    plain = read(tile_array(MADE, ROWS, COLUMNS, **options), direction, value)
    once = ranges.flatten() == 1
    assert torch.allclose(found[once], plain[once], rtol=1e-12)
    exact = MADE.read(value, bias=False) if direction == FORWARD else MADE.feedback(value)
    assert relative(found, exact) < 0.2 < relative(plain, exact)


def test_bound_management_gives_up_after_eight_doublings() -> None:
    tiles = tile_array(MADE, adc_bits=6, adc_range="fixed", adc_bound=1e-6, bound_management="iterative")
    tiles.counting = True
    found = tiles.forward(values(MADE, FORWARD))
    assert tiles.conversions["free", FORWARD].done == 9 * found.numel()
    assert bool(found.isfinite().all())


def test_calibrated_ranges_of_phases_and_directions() -> None:
    """The largest quantile over the calibrating reads, per phase, direction and block; then they stay."""
    tiles = tile_array(MADE, ROWS, COLUMNS, adc_bits=5, calibration_quantile=0.9)
    tiles.ranges.begin()
    largest = {}
    for phase, direction in itertools.product(("free", "nudge"), (FORWARD, TRANSPOSED)):
        tiles.phase, found = phase, []
        for seed in range(3):
            value = values(MADE, direction, seed=seed) * (0.5 if phase == "nudge" else 1)
            parts = results(MADE, direction, value)
            found.append([float(p.abs().flatten().sort().values[round(0.9 * p.numel()) - 1]) for p in parts])
            read(tiles, direction, value)
        largest[phase, direction] = [max(of_block) for of_block in zip(*found, strict=True)]
    tiles.ranges.end()
    assert tiles.ranges.found.keys() == largest.keys()
    for key, expected in largest.items():
        assert tiles.ranges.found[key] == pytest.approx(expected)
    tiles.phase, value = "nudge", values(MADE, FORWARD, seed=9)
    total = 0
    for part, bound in zip(results(MADE, FORWARD, value), largest["nudge", FORWARD], strict=True):
        total = total + (part / (bound / 15)).round().clamp(-15, 15) * (bound / 15)
    assert relative(tiles.forward(value), total * tiles.scale) < 1e-9
    assert tiles.ranges.found["nudge", FORWARD] == pytest.approx(largest["nudge", FORWARD])


def test_ranges_are_found_anew_by_the_next_calibration() -> None:
    tiles = tile_array(MADE, adc_bits=5, calibration_quantile=1.0)
    value = values(MADE, FORWARD)
    for factor in (1.0, 0.25):
        tiles.ranges.begin()
        tiles.forward(value * factor)
        tiles.ranges.end()
        assert tiles.ranges.found["free", FORWARD] == pytest.approx([factor * float((value @ dense(MADE)).abs().max())])


def test_a_line_that_was_silent_is_calibrated_when_it_speaks() -> None:
    """States start at 0: results that are all 0 say nothing of the range."""
    tiles, value = tile_array(MADE, adc_bits=8), values(MADE, FORWARD)
    for calibrating in (True, False):
        tiles.ranges = Ranges()
        if calibrating:
            tiles.ranges.begin()
        assert (tiles.forward(torch.zeros_like(value)) == 0).all()
        tiles.ranges.end()
        assert relative(tiles.forward(value), MADE.read(value, bias=False)) < 0.02


@pytest.mark.parametrize("options", [{}, {"adc_range": "absmax"}, {"noise_management": "absmax", "dac_bits": 8}])
def test_silent_samples_and_single_ones(options: dict[str, object]) -> None:
    tiles = tile_array(MADE, adc_bits=8, **options)
    for direction in (FORWARD, TRANSPOSED):
        silent = torch.zeros_like(values(MADE, direction, samples=1))
        assert (read(tiles, direction, silent) == 0).all()


def test_stochastic_rounding_is_right_in_the_mean() -> None:
    tiles = tile_array(MADE, ROWS, COLUMNS, adc_bits=3, adc_range="fixed", adc_bound=6.0, stochastic_rounding=True)
    for direction in (FORWARD, TRANSPOSED):
        value = values(MADE, direction, samples=1)
        found = read(tiles, direction, value.expand(4000, -1)) / tiles.scale
        exact, step = sum(results(MADE, direction, value)), 2.0
        assert float((found.mean(0) - exact).abs().max()) < 5 * step * (3 / 4) ** 0.5 / 4000**0.5
        remainders = torch.cat([(part / step) % 1 for part in results(MADE, direction, value)])
        variance = (remainders * (1 - remainders)).sum(0) * step**2
        assert torch.allclose(found.var(0), variance, rtol=0.2, atol=0.01)
        assert float((found / step - (found / step).round()).abs().max()) < 1e-9
    driven = tile_array(MADE, dac_bits=2, stochastic_rounding=True)
    value = values(MADE, FORWARD, samples=1)
    found = driven.forward(value.expand(4000, -1))
    assert relative(found.mean(0), MADE.read(value, bias=False)[0]) < 0.03


@pytest.mark.parametrize("direction", [FORWARD, TRANSPOSED])
def test_noise_of_drivers_and_results(direction: str) -> None:
    value = values(MADE, direction, samples=1)
    matrix = dense(MADE) if direction == FORWARD else dense(MADE).T
    exact = value @ matrix
    out = tile_array(MADE, ROWS, COLUMNS, output_noise=0.1)
    error = read(out, direction, value.expand(8000, -1)) / out.scale - exact
    assert torch.allclose(error.var(0), torch.full_like(exact[0], 3 * 0.1**2), rtol=0.12)  # three blocks
    assert float(error.mean().abs()) < 0.01
    driven = tile_array(MADE, ROWS, COLUMNS, input_noise=0.05)
    error = read(driven, direction, value.expand(8000, -1)) / driven.scale - exact
    assert torch.allclose(error.var(0), 0.05**2 * matrix.square().sum(0), rtol=0.12)
    covariance = error.T @ error / len(error)
    expected = 0.05**2 * matrix.T @ matrix  # a line is as noisy for all that it crosses
    assert float((covariance - expected).abs().max()) < 0.1 * float(expected.abs().max())


def test_noise_comes_before_the_conversion_in_its_steps() -> None:
    for bound in (2.0, 20.0):
        tiles = tile_array(MADE, adc_bits=12, adc_range="fixed", adc_bound=bound, output_noise=0.1)
        value = values(MADE, FORWARD, samples=1)
        error = tiles.forward(value.expand(6000, -1)) / tiles.scale - value @ dense(MADE)
        assert float(error.std()) == pytest.approx(0.1, rel=0.05)


def test_output_noise_of_scaled_inputs_is_scaled_with_them() -> None:
    """aihwkit: y = α f(W x / α), so noise after the division by α is multiplied by it."""
    tiles, value = tile_array(MADE, driven=(IMAGES, {}), output_noise=0.1), image(MADE, 1)
    error = tiles.forward(value.expand(6000, -1)) - value @ MADE.weight.T
    assert float(error.std()) == pytest.approx(0.1 * float(value.abs().max()) * tiles.scale, rel=0.05)


def test_drivers_round_half_steps_at_random_only_if_asked() -> None:
    section = ConvertersSection(dac_bits=2)
    codes = Drivers(section).codes(torch.tensor([[0.5, 0.49, 0.51]]), None, None)
    assert codes.tolist() == [[pytest.approx(2 / 3), pytest.approx(1 / 3), pytest.approx(2 / 3)]]


def test_counts_of_slices_and_pulses() -> None:
    """Every slice, input pulse and block is converted."""
    tiles = tile_array(
        MADE, ROWS, COLUMNS, slices=2, levels=4, dac_bits=5, dac_coding="bit_serial", adc_bits=8, adc_range="absmax"
    )
    tiles.counting = True
    tiles.forward(values(MADE, FORWARD, samples=3))
    tiles.feedback(values(MADE, TRANSPOSED, samples=2))
    assert tiles.conversions["free", FORWARD].done == 3 * 7 * 3 * 2 * 5
    assert tiles.conversions["free", TRANSPOSED].done == 2 * 11 * 3 * 2 * 5
