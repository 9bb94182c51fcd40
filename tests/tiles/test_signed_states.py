"""States with a sign on real tiles and in the bill: in one pass as images are, or in two."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from chips import GEOMETRIES, READOUT, SIGNALS, random_counts
from crossbars import COLUMNS, MADE, ROWS, read, relative, results, seeded, tile_array
from hardware_models import load_hardware_model
from tiny_run import tiny_run
from torch import Tensor

from neurosim_ep.ep.network import Network, build_network
from neurosim_ep.hardware.bill.backprop import BACKWARD, backprop_counts
from neurosim_ep.hardware.bill.cost import bill
from neurosim_ep.hardware.bill.latency import read_times_s
from neurosim_ep.hardware.chip.counts import DIRECTIONS
from neurosim_ep.hardware.chip.memory import ep_memory
from neurosim_ep.hardware.chip.recording import Chip, Recording
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.file import read_model
from neurosim_ep.record.recost import recost
from neurosim_ep.record.traffic import read_traffic
from neurosim_ep.scenario.schema import HardwareSection, NetworkSection
from neurosim_ep.scheduler.presentation import Phases, ep_gradients
from neurosim_ep.tiles.crossbar import FORWARD, TRANSPOSED, Circuit
from neurosim_ep.tiles.mapping import ArrayGeometry, ConnectionGeometry, TilePlan, plan_tiles
from neurosim_ep.tiles.network_tiles import make_tiles

ONE_PASS = load_hardware_model("rram_32nm")
TWO_PASSES = ONE_PASS.model_copy(update={"array": ONE_PASS.array.model_copy(update={"signed_inputs": "two_passes"})})
SIGNED = [  # an image, signed states above conv1 and fc1, unsigned ones above conv2
    replace(geometry, signed=signed)
    for geometry, signed in zip(GEOMETRIES, [(True, True), (True, False), (False, True)], strict=True)
]


def signed_values(direction: str, samples: int = 5) -> Tensor:
    shape = MADE.in_shape if direction == FORWARD else MADE.pre_pool_shape
    return torch.rand(samples, *shape, generator=seeded(3), dtype=MADE.weight.dtype) * 2 - 1


# -- reads


@pytest.mark.parametrize("coding", ["multi_level", "bit_serial"])
@pytest.mark.parametrize("direction", [FORWARD, TRANSPOSED])
def test_signed_states_have_codes_of_both_signs(direction: str, coding: str) -> None:
    """Over the bound that they have, not over their largest."""
    options = {"signed": True, "bound": 1.0}
    tiles = tile_array(MADE, ROWS, COLUMNS, driven=(options, options), dac_bits=5, dac_coding=coding)
    value = 0.7 * signed_values(direction)
    codes = (value * 15).round() / 15
    assert relative(read(tiles, direction, value), sum(results(MADE, direction, codes)) * tiles.scale) < 1e-12


@pytest.mark.parametrize("direction", [FORWARD, TRANSPOSED])
def test_two_passes_are_converted_each_and_subtracted(direction: str) -> None:
    """Each with all the values that the drivers have without a sign."""
    options = {"signed": True, "bound": 1.0, "passes": 2}
    tiles = tile_array(
        MADE, ROWS, COLUMNS, driven=(options, options), dac_bits=5, adc_bits=4, adc_range="fixed", adc_bound=3.0
    )
    tiles.counting = True
    value, step, total = signed_values(direction), 3.0 / 7, 0
    for sign in (1, -1):
        codes = ((sign * value).clamp(min=0) * 31).round() / 31
        for part in results(MADE, direction, codes):
            total = total + sign * (part / step).round().clamp(-7, 7) * step
    assert relative(read(tiles, direction, value), total * tiles.scale) < 1e-12
    counted = tiles.conversions["free", direction]
    assert counted.done == 2 * sum(part.numel() for part in results(MADE, direction, value))
    assert float(tiles.step("free", direction)) == pytest.approx(step * tiles.scale)


@pytest.mark.parametrize("direction", [FORWARD, TRANSPOSED])
def test_bits_in_two_passes_give_what_levels_give(direction: str) -> None:
    options = {"signed": True, "passes": 2}
    serial, levels = (
        tile_array(MADE, ROWS, COLUMNS, driven=(options, options), dac_bits=6, dac_coding=coding)
        for coding in ("bit_serial", "multi_level")
    )
    value = signed_values(direction)
    assert relative(read(serial, direction, value), read(levels, direction, value)) < 1e-12


def test_the_range_of_drivers_is_the_bound_of_the_states() -> None:
    """6 for relu6; absmax still follows the largest of each sample."""
    value = 3 * signed_values(FORWARD).abs()
    wide = tile_array(MADE, driven=({"bound": 6.0}, {}), dac_bits=4).forward(value)
    assert relative(wide, (value / 6 * 15).round() / 15 * 6 @ MADE.weight.T) < 1e-12
    scaled = tile_array(MADE, driven=({"bound": 6.0}, {}), dac_bits=4, noise_management="absmax").forward(value)
    most = value.amax(1, keepdim=True)
    assert relative(scaled, (value / most * 15).round() / 15 * most @ MADE.weight.T) < 1e-12


def on_tiles(activation: str, array: ArrayGeometry, converters: dict[str, Any]) -> tuple[Network, Network]:
    """A network, and the same on tiles with ``converters``."""
    layers = [
        {"kind": "conv", "size": 6, "pool": "max"}, {"kind": "conv", "size": 5, "pool": "avg"},
        {"kind": "linear", "size": 9},
    ]  # fmt: skip
    section = NetworkSection.model_validate(
        {"preset": "custom", "layers": layers, "activation": activation, "weight_scale": 1.2}
    )
    ideal, real = (build_network(section, 4, (2, 8, 8), 0) for _ in range(2))
    plan = plan_tiles([ConnectionGeometry.from_connection(one) for one in real.connections], array)
    hardware = HardwareSection.model_validate({"converters": converters})
    tiles = make_tiles(real, plan, hardware, Circuit(1e-5, 1.0), 0.1, 0)
    assert tiles is not None and all(connection.tiles is not None for connection in real.connections)
    return ideal, real


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("activation", ["hard_tanh", "relu6"])
def test_a_network_on_tiles_is_the_ideal_one_within_quantisation(activation: str, passes: int) -> None:
    """States of both phases and gradients; finer converters come nearer."""
    array = ArrayGeometry(16, 12, 2, columns_per_conversion=2, sign_passes=passes)
    x = torch.randn(4, 2, 8, 8, generator=seeded(1))
    y = torch.tensor([0, 1, 2, 3])
    apart = []
    for bits in (8, 14):
        ideal, real = on_tiles(activation, array, {"dac_bits": bits, "adc_bits": bits, "adc_range": "absmax"})
        exact, found = (
            ep_gradients(one, x, y, Phases(free_steps=20, nudge_steps=8, beta=0.5)) for one in (ideal, real)
        )
        assert (activation != "hard_tanh") or all(float(state.min()) < -0.1 for state in exact.free)
        assert exact.plus is not None and found.plus is not None
        pairs = zip([*exact.free, *exact.plus], [*found.free, *found.plus], strict=True)
        apart.append(max(float((one - other).abs().max()) for one, other in pairs))
    assert apart[0] < 0.06 and apart[1] < 1e-3
    for name in ("connections.1.weight", "connections.2.weight"):
        cosine = torch.cosine_similarity(exact.grads[name].flatten(), found.grads[name].flatten(), 0)
        assert float(cosine) > 0.9999


# -- the bill


def plans() -> tuple[TilePlan, TilePlan]:
    one, two = (plan_tiles(SIGNED, model.array_geometry()) for model in (ONE_PASS, TWO_PASSES))
    return one, two


def test_two_passes_convert_twice_what_has_a_sign() -> None:
    """By hand: conversions, their sample-and-holds, adders and time, of the reads that values of either sign drive;
    lines and cells as often as before, as each line is driven in one of the passes.
    """
    one, two = plans()
    counts = random_counts(one)
    doubled = random_counts(two)
    signed = np.array([SIGNED[layer].signed for layer in one.layer_of_tile]).T
    assert (two.passes == np.where(signed, 2, 1)).all() and (one.passes == 1).all()
    doubled.traffic[:, :, :, 2] = counts.traffic[:, :, :, 2] * two.passes
    first = Recording.of(counts, one, ONE_PASS, SIGNALS, READOUT)
    second = Recording.of(doubled, two, TWO_PASSES, SIGNALS, READOUT)
    before, after = (bill(recording) for recording in (first, second))
    for style in (Style.CLOCKED, Style.EVENT):
        for component in ("adc", "sample_hold", "add", "cell_read", "dac", "message", "partial_sum", "register"):
            query = f"phase == 'free' and style == '{style.value}' and component == '{component}'"
            old, new = (table.query(query)["count"].to_numpy() for table in (before, after))
            if component in ("adc", "sample_hold", "add"):
                by_way = [
                    counts.of("free", style.accounting, way, "adc_conversions") * (1 + signed[place])
                    for place, way in enumerate(DIRECTIONS)
                ]
                np.testing.assert_array_equal(new, sum(by_way))
                assert (new > old).any()
            else:
                np.testing.assert_array_equal(new, old)
    slow, slower = (read_times_s(recording, "free", Style.CLOCKED).sum(0) for recording in (first, second))
    assert slower[0] == pytest.approx(2 * slow[0]) and slower[1] > 1.2 * slow[1] and slower[1] < 2 * slow[1]
    assert ep_memory(Chip(one, ONE_PASS)) == ep_memory(Chip(two, TWO_PASSES))


def test_signed_states_cost_what_signed_images_cost() -> None:
    """On lines that carry a sign a read costs the same whatever drives it, as that of an image always has."""
    plain, signed = plan_tiles(GEOMETRIES, ONE_PASS.array_geometry()), plans()[0]
    counts = random_counts(plain)
    found = [bill(Recording.of(counts, plan, ONE_PASS, SIGNALS, READOUT)) for plan in (plain, signed)]
    assert found[0].equals(found[1])


def test_errors_have_a_sign_in_backpropagation_whatever_states_have() -> None:
    for geometries in (GEOMETRIES, SIGNED):
        plan = plan_tiles(geometries, TWO_PASSES.array_geometry())
        counts = random_counts(plan)
        counts.traffic[:, :, :, 2] = counts.traffic[:, :, :, 0] * plan.conversions
        found = backprop_counts(counts, plan)
        reads = found.of(BACKWARD, "clocked", "transposed", "reads")
        expected = reads * plan.sensed[1] * plan.array.slices * 2
        np.testing.assert_array_equal(found.of(BACKWARD, "clocked", "transposed", "adc_conversions"), expected)


def test_recorded_signs_are_priced_on_another_model(tmp_path: Path) -> None:
    sizes = ("data.train_samples=32", "data.test_samples=10", "relaxation.free_steps=4", "training.batch_size=16")
    out = tiny_run(tmp_path / "run", *sizes, 'network.activation=["hard_tanh", "hard_sigmoid", "hard_tanh"]')
    recorded = read_traffic(out / "traffic.h5")
    assert [geometry.signed for geometry in recorded.plan.geometries] == [(True, True), (True, False), (False, True)]
    other = read_model(str(out / "hardware.toml")).changed({"array.signed_inputs": "two_passes"}, "test")
    (tmp_path / "two.toml").write_text(other.to_toml())
    found, _ = recost(out, str(tmp_path / "two.toml"))
    before, after = (counts.traffic[:, :, :, 2] for counts in (recorded.counts, found.recording.counts))
    np.testing.assert_array_equal(after, before * found.recording.chip.plan.passes)
    assert after.sum() > before.sum()
    with h5py.File(out / "traffic.h5", "a") as file:  # as files were written before states had signs
        del file["layers"].attrs["signed"], file["meta"].attrs["sign_passes"]
    old = read_traffic(out / "traffic.h5")
    assert [geometry.signed for geometry in old.plan.geometries] == [(True, False), (False, False), (False, False)]
    assert old.plan.array.sign_passes == 1
