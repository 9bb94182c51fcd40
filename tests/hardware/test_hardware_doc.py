"""docs/hardware.md: its figures are those of today, and what it lists is what there is."""

from __future__ import annotations

import numpy as np
import pytest
from hardware_example import (
    CHANGES,
    FLAT,
    INTERVALS,
    LINES,
    MODEL,
    NETWORK_S,
    NEURON_S,
    READ_S,
    RECORDING,
    Change,
    Line,
)
from hardware_models import tile_area_m2
from paths import DOCS

from neurosim_ep.hardware.bill.latency import latencies_s, stages
from neurosim_ep.hardware.chip.area import area_items
from neurosim_ep.hardware.chip.components import Part
from neurosim_ep.hardware.chip.memory import LINES as LINES_OF
from neurosim_ep.hardware.chip.memory import RESULTS
from neurosim_ep.hardware.chip.recording import Chip
from neurosim_ep.hardware.chip.static import static_power
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.sections import HardwareModel, WriteSection
from neurosim_ep.resources import shipped_files
from neurosim_ep.units import format_si

PAGE = (DOCS / "hardware.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line.component}-{line.style}-{line.tile}")
def test_lines_by_hand_are_the_billed_ones_and_on_the_page(line: Line) -> None:
    assert line.billed["count"] == pytest.approx(line.count)
    assert line.billed.energy_J == pytest.approx(line.count * line.billed.unit_energy_J)
    assert line.row in PAGE


@pytest.mark.parametrize("line", INTERVALS, ids=lambda line: line.component)
def test_intervals_are_on_the_page(line: Line) -> None:
    assert line.interval in PAGE


def test_unit_energies_by_hand() -> None:
    unit = {line.component: line.billed.unit_energy_J for line in LINES if line.style == "clocked"}
    assert unit["cell_read"] == pytest.approx(0.5 * 0.5**2 * 5.5e-6 * 10e-9)
    assert unit["adc"] == pytest.approx(2e-3 / 1.28e9)
    assert unit["message"] == pytest.approx(8.1e-14 + 4.05e-11 * FLAT.chip.pitches_m[2])
    assert f"{FLAT.chip.pitches_m[2] * 1e3:.3f} mm" in PAGE
    areas, density = tile_area_m2(MODEL), MODEL.leakage.density.value
    assert unit["leakage"] == pytest.approx(density * (sum(areas.values()) - areas["array"]))
    assert f"{1e3 * density * 1e-6:.1f} mW/mm2" in PAGE
    assert unit["line"] == pytest.approx(0.5 * 28e-18 * 0.5**2) and unit["dac"] == pytest.approx(0.5 * 3.9e-14)


def test_registers_beside_lines_by_hand() -> None:
    bits = [sum(item.bits for item in RECORDING.chip.memory if item.item == name) for name in (LINES_OF, RESULTS)]
    assert bits == [2 * (128 + 64) * 8, 2 * 128 * 16], "of two tiles"
    area, leakage, each = MODEL.registers.area.value, MODEL.registers.leakage.value, 3584
    beside = [item for item in RECORDING.chip.memory if item.item in (LINES_OF, RESULTS)]
    without = [item for item in RECORDING.chip.memory if item not in beside]
    chip = Chip(RECORDING.chip.plan, MODEL)
    memories = (RECORDING.chip.memory, without)
    areas = [sum(item.area_m2 for item in area_items(chip, memory)) for memory in memories]
    assert areas[0] - areas[1] == pytest.approx(2 * each * area)
    powers = [np.sum(static_power(chip, memory).beside.value) for memory in memories]
    assert powers[0] - powers[1] == pytest.approx(2 * each * leakage)
    row = f"3,584 x {1e12 * area:.3f} um2 = {1e6 * each * area:.5f} mm2 | 3,584 x {format_si(leakage, 'W', 4)} = "
    assert row + format_si(each * leakage, "W", 4) in PAGE


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: f"{change.key}-{change.value}")
def test_what_a_key_changes_by_hand_is_what_it_does_and_on_the_page(change: Change) -> None:
    assert change.found == pytest.approx(change.by_hand)
    assert change.row in PAGE


def test_times_by_hand() -> None:
    assert stages(RECORDING, "free", Style.CLOCKED) == pytest.approx((READ_S, NETWORK_S, NEURON_S, 0.0))
    for seconds in (READ_S, NETWORK_S, NEURON_S, latencies_s(RECORDING, Style.CLOCKED)["free"]):
        assert format_si(seconds, "s", 4) in PAGE


def test_the_page_names_every_section_component_style_scheme_and_model() -> None:
    schemes = WriteSection.model_fields["scheme"].annotation.__args__
    shipped = [name for name in shipped_files("hwmodels") if "/" not in name]
    for word in (*HardwareModel.model_fields, *schemes, *(style.value for style in Style), *shipped, *Part):
        assert f"`{word}`" in PAGE, word


def test_the_page_tells_the_scaling_of_the_model() -> None:
    logic = MODEL.scaling.logic_energy
    assert f"{logic.at(32) / logic.at(45):.2f}" in PAGE
