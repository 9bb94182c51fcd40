"""The bill: what every line counts, that all views agree, and how it answers to the work."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from chips import GEOMETRIES, READOUT, SIGNALS, idle_counts, random_counts
from hardware_models import load_hardware_model, tile_area_m2
from hypothesis import given, settings
from hypothesis import strategies as st

from neurosim_ep.hardware.bill.cost import bill, energy_by
from neurosim_ep.hardware.bill.latency import latencies_s, stages
from neurosim_ep.hardware.bill.reads import read_time_s
from neurosim_ep.hardware.bill.settling import settling_time_s, tile_copies
from neurosim_ep.hardware.bill.writing import endurance_table, write_time_s
from neurosim_ep.hardware.chip.area import area_table
from neurosim_ep.hardware.chip.counts import DIRECTIONS, READ_QUANTITIES, TileCounts
from neurosim_ep.hardware.chip.memory import BUFFERED, CELLS, ep_memory
from neurosim_ep.hardware.chip.phases import READ_PHASES
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.adc import AdcSerial
from neurosim_ep.hardware.model.curves import Curve
from neurosim_ep.hardware.model.quantities import BOUNDS, Quantity, Strict
from neurosim_ep.hardware.model.sections import HardwareModel
from neurosim_ep.record.recost import SHAPE, on_array
from neurosim_ep.tiles.mapping import ConnectionGeometry, TilePlan, plan_tiles

ENERGIES = ["energy_J", "energy_low_J", "energy_high_J"]


def with_section(model: HardwareModel, section: str, **changes: object) -> HardwareModel:
    """``model`` with keys of a section replaced; a number gets a new value."""
    old = getattr(model, section)
    new = {
        name: getattr(old, name).model_copy(update={"value": value, "low": None, "high": None})
        if hasattr(getattr(old, name), "value") else value
        for name, value in changes.items()
    }  # fmt: skip
    return model.model_copy(update={section: old.model_copy(update=new)})


RRAM = with_section(load_hardware_model("rram_32nm"), "core", tiles=2)
PLAN = plan_tiles(GEOMETRIES, RRAM.array_geometry())
READS = (Style.CLOCKED, Style.EVENT)


def bill_of(counts: TileCounts, plan: TilePlan, model: HardwareModel, **projections: Any) -> pd.DataFrame:
    """The bill of ``counts`` on a chip of ``plan`` and ``model``."""
    return bill(Recording.of(counts, plan, model, **projections))


@pytest.fixture(scope="module")
def counts() -> TileCounts:
    return random_counts(PLAN)


@pytest.fixture(scope="module")
def table(counts: TileCounts) -> pd.DataFrame:
    return bill_of(counts, PLAN, RRAM, signals=SIGNALS, readout=READOUT)


def test_every_view_sums_to_the_same_total(table: pd.DataFrame) -> None:
    total = energy_by(table).set_index("style")
    assert list(total.index) == [style.value for style in Style]
    for keys in (["layer"], ["component"], ["phase"], ["tile"], ["layer", "component"], ["phase", "tile", "name"]):
        view = energy_by(table, *keys).groupby("style")[ENERGIES].sum()
        for style in Style:
            assert view.loc[style].to_numpy() == pytest.approx(total.loc[style].to_numpy(), rel=1e-12)
    assert not table.duplicated(["tile", "layer", "phase", "component", "style"]).any()
    assert (table.samples == 4).all()
    assert np.allclose(table["count"] * table.unit_energy_J, table.energy_J, rtol=1e-15)


def test_intervals_hold_every_line(table: pd.DataFrame) -> None:
    assert (table.energy_low_J <= table.energy_J).all()
    assert (table.energy_J <= table.energy_high_J).all()
    assert (table.energy_low_J < table.energy_high_J).any()


def test_lines_of_reads_equal_counts_tile_by_tile(table: pd.DataFrame, counts: TileCounts) -> None:
    lines = table.set_index(["phase", "style", "component", "tile", "layer"])["count"]
    for phase in READ_PHASES:
        for style in READS:
            found = {
                (way, quantity): counts.of(phase, style.accounting, way, quantity)
                for way in DIRECTIONS
                for quantity in READ_QUANTITIES
            }
            for tile in PLAN.tiles:
                i, key = tile.index, (phase, style.value)
                forward = {quantity: found["forward", quantity][i] for quantity in READ_QUANTITIES}
                transposed = {quantity: found["transposed", quantity][i] for quantity in READ_QUANTITIES}
                cells = forward["active_lines"] * tile.columns + transposed["active_lines"] * tile.rows
                assert lines[(*key, "cell_read", i, tile.layer)] == 8 * cells
                for component, quantity in (
                    ("adc", "adc_conversions"),
                    ("sample_hold", "adc_conversions"),
                    ("add", "adc_conversions"),
                    ("dac", "dac_conversions"),
                ):
                    assert lines[(*key, component, i, tile.layer)] == forward[quantity] + transposed[quantity]


def test_lines_of_every_tick(table: pd.DataFrame, counts: TileCounts) -> None:
    count = table[table.tile == -1].set_index(["phase", "style", "component", "layer"])["count"]
    for layer, geometry in enumerate(GEOMETRIES):
        for style, worked in ((Style.CLOCKED, counts.presentations), (Style.EVENT, counts.needed)):
            ticks = worked["free"][:, layer].sum()
            assert count["free", style.value, "neuron", layer] == ticks * geometry.neurons
            nudged = worked["nudge_plus"][:, layer].sum()
            bits = (2 * nudged + 4) * 8 + 2 * nudged * 2 * (geometry.pool == "max" and layer > 0)
            assert count["nudge_plus", style.value, "register", layer] == bits * geometry.neurons
    assert count["free", "clocked", "pool", 0] == 4 * 70 * 64  # static drive: once per sample
    assert ("nudge_plus", "clocked", "pool", 0) not in count.index
    assert count["nudge_plus", "clocked", "pool", 1] == 3 * 4 * 20 * 16
    assert count["free", "clocked", "readout", 3] == 4 * 50
    assert count["nudge_minus", "clocked", "readout", 3] == 2 * 50 * 3 * 4
    assert count["update", "clocked", "readout", 3] == 2 * 50 * 4
    assert count["nudge_minus", "clocked", "signal", 1] == 2 * 400 * 3 * 4
    assert count["nudge_minus", "settling", "signal", 1] == 2 * 400 * 4  # once, at the free state
    assert ("update", "clocked", "signal", 1) not in count.index  # fixed projections
    assert count["free", "event", "dram", 0] == 4 * 3 * 64 * 8


def test_lines_of_the_network_are_bits_times_links(table: pd.DataFrame, counts: TileCounts) -> None:
    recording = Recording.of(counts, PLAN, RRAM, SIGNALS, READOUT)
    area_m2 = area_table(recording.chip).area_m2.sum()
    hop_J = RRAM.noc.router_energy.value + RRAM.noc.link_energy.value * math.sqrt(area_m2 / 4)  # four cores
    for style in Style:
        for phase in READ_PHASES:
            crossings = recording.bits(phase, style) * recording.mesh.links
            for component in ("message", "partial_sum", "input"):
                mine = [n for n, route in enumerate(recording.routes.all) if route.component == component]
                lines = table.query("style == @style.value and phase == @phase and component == @component")
                assert lines["count"].sum() == crossings[mine].sum()
                assert lines.energy_J.sum() == pytest.approx(crossings[mine].sum() * hop_J)


def test_average_pooling_adds_and_max_pooling_compares(table: pd.DataFrame) -> None:
    pool = table[(table.component == "pool") & (table.phase == "free")].set_index("layer").unit_energy_J
    assert (pool[0] == RRAM.digital.compare_energy.value).all()
    assert (pool[1] == RRAM.digital.add_energy.value).all()


def test_leakage_is_power_times_latency(table: pd.DataFrame, counts: TileCounts) -> None:
    """Tiles by the area of what is not cells, four cores of two tiles with their bus, a router each, memories by bits,
    units of signal and readout; settling has cores and routers for all copies.
    """
    recording = Recording.of(counts, PLAN, RRAM, SIGNALS, READOUT)
    assert RRAM.core is not None
    memory_W = sum(
        item.bits * (RRAM.buffer if item.item in BUFFERED else RRAM.registers).leakage.value
        for item in ep_memory(recording.chip)
        if item.item != CELLS
    )
    density, areas = RRAM.leakage.density.value, tile_area_m2(RRAM)
    tile_W = density * (sum(areas.values()) - areas["array"])
    shared_W = density * RRAM.core.area.value + RRAM.noc.router_leakage.value
    units_W = 2 * density * areas["multiply_add"]
    for style in Style:
        tiles = int(tile_copies(recording.chip).sum()) if style is Style.SETTLING else len(PLAN.tiles)
        leaked = table[(table.component == "leakage") & (table["style"] == style)]
        seconds = sum(latencies_s(recording, style).values())
        static_W = tiles * tile_W + -(-tiles // 2) * shared_W + units_W + memory_W
        assert leaked.energy_J.sum() == pytest.approx(static_W * seconds)
    assert "refresh" not in set(table.component)


def test_a_bill_of_one_style_is_its_part_of_the_whole_bill(table: pd.DataFrame, counts: TileCounts) -> None:
    recording = Recording.of(counts, PLAN, RRAM, SIGNALS, READOUT)
    for style in Style:
        mine = table[table["style"] == style].reset_index(drop=True)
        pd.testing.assert_frame_equal(bill(recording, [style]), mine, check_exact=True)


def test_what_a_recording_keeps_is_of_its_own_numbers(counts: TileCounts) -> None:
    """Latencies and models are found once for each end of the intervals, and are those of a chip made anew."""
    hop_s = RRAM.noc.hop_time.value
    hop_time = RRAM.noc.hop_time.model_copy(update={"low": hop_s / 2, "high": 2 * hop_s})
    model = RRAM.model_copy(update={"noc": RRAM.noc.model_copy(update={"hop_time": hop_time})})
    recording = Recording.of(counts, PLAN, model, SIGNALS, READOUT)
    for _ in range(2):
        for bound in BOUNDS:
            fresh = Recording.of(counts, PLAN, model.at(bound), SIGNALS, READOUT)
            for style in Style:
                assert latencies_s(recording.at(bound), style) == latencies_s(fresh, style)
    assert recording.at("low") is recording.at("low") and recording.at("value") is recording
    assert latencies_s(recording.at("low"), Style.EVENT) != latencies_s(recording.at("high"), Style.EVENT)


def test_latency_is_that_of_the_slowest(counts: TileCounts) -> None:
    recording = Recording.of(counts, PLAN, RRAM)
    times = [read_time_s(recording.chip, direction) for direction in DIRECTIONS]
    tile = PLAN.tiles[0]
    assert times[0][0] == pytest.approx(8 * 10e-9 + tile.columns * 7.8125e-10)
    assert times[1][0] == pytest.approx(8 * 10e-9 + tile.rows * 7.8125e-10)
    found, expected = stages(recording, "free", Style.EVENT), 0.0
    busy = [counts.of("free", "event", way, "reads") * time for way, time in zip(DIRECTIONS, times, strict=True)]
    for tick in range(7):  # all layers are updated in every tick
        apart = []
        for layer in range(3):
            forward, transposed = (float(one[PLAN.tile_range(layer)].max()) for one in busy)
            apart.append((forward / 7 if layer else forward * (tick == 0)) + (transposed / 7 if layer else 0.0))
        expected += max(apart)
    assert found.read_s == pytest.approx(expected)
    assert found.neuron_s <= stages(recording, "free", Style.CLOCKED).neuron_s
    homes = [np.unique(PLAN.home_tiles(layer), return_counts=True)[1] for layer in range(3)]
    busiest = max(28 * g.neurons * n.max() // n.sum() for g, n in zip(GEOMETRIES, homes, strict=True))
    assert stages(recording, "free", Style.CLOCKED).neuron_s == pytest.approx(busiest * 1e-9)
    assert latencies_s(recording, Style.EVENT)["free"] == pytest.approx(sum(found))
    written_s = counts.updates("write_steps") * 50e-9 + counts.updates("accumulate_adds") * 1e-9 / 16
    assert latencies_s(recording, Style.EVENT)["update"] == pytest.approx(written_s.max())
    overlapping = Recording.of(counts, PLAN, with_section(RRAM, "array", overlap="pipelined"))
    assert latencies_s(overlapping, Style.EVENT)["free"] == pytest.approx(max(found))


def test_settling_takes_time_constants_per_layer(counts: TileCounts) -> None:
    recording = Recording.of(counts, PLAN, RRAM)
    assert settling_time_s(recording.chip) == pytest.approx(3 * 7 * 10e-9)
    given_time = RRAM.settling.neuron_time.model_copy(update={"value": 1e-6, "low": None, "high": None})
    given = RRAM.model_copy(update={"settling": RRAM.settling.model_copy(update={"phase_time": given_time})})
    assert settling_time_s(Recording.of(counts, PLAN, given).chip) == 1e-6
    lines = bill(recording).query("style == 'settling' and phase == 'free'").set_index(["component", "layer"])
    assert lines["count"]["adc", 1] == 4 * 80  # every state once
    assert lines["count"]["neuron", 1] == pytest.approx(4 * 80 * 210e-9)
    assert lines["unit_energy_J"]["neuron", 1] == RRAM.settling.neuron_power.value
    assert "add" not in lines.index.get_level_values("component")
    area, unrolled = (area_table(recording.chip, copies) for copies in (None, tile_copies(recording.chip)))
    tiles = PLAN.tiles[PLAN.tile_range(0)]
    for frame, times in ((area, 1), (unrolled, 64)):
        array = frame[(frame.component == "array") & (frame.layer == 0)]
        assert array.area_m2.item() == pytest.approx(len(tiles) * times * 128 * 128 * RRAM.cell.area.value)


def test_duplicated_periphery_costs_area_and_slices_side_by_side_cost_time(counts: TileCounts) -> None:
    shared = tile_area_m2(RRAM)
    both = tile_area_m2(with_section(RRAM, "array", periphery="duplicated"))
    assert both["adc"] == 2 * shared["adc"] and both["sample_hold"] == 2 * shared["sample_hold"]
    assert both["array"] == shared["array"]
    sliced = with_section(RRAM, "array", slices=4)
    plan = plan_tiles(GEOMETRIES, sliced.array_geometry())
    beside = with_section(sliced, "array", slice_reads="passes")
    apart_s, beside_s = (
        read_time_s(Recording.of(counts, plan, model).chip, "transposed")[0] for model in (sliced, beside)
    )
    assert beside_s - apart_s == pytest.approx(3 * 8 * 10e-9)
    dac = [
        bill_of(counts, plan, model)
        .query("component == 'dac' and style == 'clocked' and phase != 'update'")["count"]
        .sum()
        for model in (sliced, beside)
    ]
    forward, transposed = (
        sum(counts.of(phase, "clocked", way, "dac_conversions").sum() for phase in READ_PHASES) for way in DIRECTIONS
    )
    assert dac == [4 * forward + 4 * transposed, forward + 4 * transposed]  # arrays of their own have their own drivers
    driver = [tile_area_m2(model)["driver"] / sliced.dac.area.value for model in (sliced, beside)]
    assert driver == pytest.approx([4 * (128 + 128), 128 + 4 * 128])
    held = [tile_area_m2(model)["sample_hold"] / sliced.sample_hold.area.value for model in (sliced, beside)]
    assert held == pytest.approx([4 * 128, 4 * 128])


def test_results_converted_after_each_pulse(counts: TileCounts) -> None:
    each = with_section(RRAM, "array", conversions="per_pulse")
    found = [
        bill_of(counts, PLAN, model).query("phase == 'free' and style == 'event'").groupby("component")["count"].sum()
        for model in (RRAM, each)
    ]
    for component in ("adc", "sample_hold", "add"):
        assert found[1][component] == 8 * found[0][component]
    assert found[1]["cell_read"] == found[0]["cell_read"] and found[1]["dac"] == found[0]["dac"]
    converted_s = PLAN.columns * 7.8125e-10  # one converter for all lines, while the next pulse is driven
    read_s = read_time_s(Recording.of(counts, PLAN, each).chip, "forward")
    assert read_s == pytest.approx(8 * np.maximum(10e-9, converted_s))


def test_serial_converters_take_a_step_per_bit() -> None:
    femto, nano = (
        {"value": 2 * factor, "unit": unit, "source": "made up", "kind": "assumed", "node_nm": 32}
        for factor, unit in ((1e-15, "J"), (1e-9, "s"))
    )
    area = {**femto, "unit": "m^2"}
    serial = AdcSerial.model_validate({"energy_per_step": femto, "time_per_step": nano, "area": area})
    model = with_section(RRAM, "adc", kind="serial", serial=serial)
    assert model.adc_cost().energy_J == pytest.approx(8 * 2e-15)
    assert model.adc.time_s == pytest.approx(7.8125e-10 + 8 * 2e-9)
    longer = serial.model_copy(update={"steps": RRAM.adc.bits.model_copy(update={"value": 13})})
    model = with_section(RRAM, "adc", kind="serial", serial=longer)
    assert model.adc_cost().energy_J == pytest.approx(13 * 2e-15)


def test_schemes_of_writing(counts: TileCounts) -> None:
    def lines(scheme: str) -> pd.Series:
        table = bill_of(counts, PLAN, with_section(RRAM, "write", scheme=scheme))
        mine = table[(table.phase == "update") & (table["style"] == "event") & (table.component != "leakage")]
        return mine.groupby("component")["count"].sum()

    adds = counts.updates("accumulate_adds").sum()
    pulses = counts.updates("pulses_up").sum() + counts.updates("pulses_down").sum()
    plain, verified, outer, continual = map(lines, ("accumulate", "row_verify", "outer_product", "continual"))
    driven = (counts.updates("write_steps") * (1 + PLAN.columns)).sum()
    expected = {"cell_write": pulses, "dac": driven, "update_add": adds, "update_memory": 64 * adds}
    assert plain.to_dict() == expected
    steps = (counts.updates("write_steps") * PLAN.columns).sum()
    assert verified["adc"] == steps and verified["cell_read"] == 8 * steps
    assert verified["cell_write"] == pulses
    assert outer["cell_write"] == pytest.approx(adds * 10 * 0.25)
    assert "update_memory" not in outer.index
    assert continual["cell_write"] == pytest.approx(3 * outer["cell_write"])  # three nudge ticks
    times = {
        scheme: write_time_s(Recording.of(counts, PLAN, with_section(RRAM, "write", scheme=scheme)))
        for scheme in ("accumulate", "row_verify", "outer_product", "continual")
    }
    assert times["accumulate"] < times["row_verify"]
    assert times["outer_product"] == pytest.approx(4 * 64 * 2 * 10 * 50e-9)
    assert times["continual"] == pytest.approx(3 * times["outer_product"])


def test_wear_grows_with_training(counts: TileCounts) -> None:
    recording = Recording.of(counts, PLAN, RRAM)
    worn = endurance_table(recording, samples=1e6)
    pulses = counts.updates("pulses_up") + counts.updates("pulses_down")
    cells = PLAN.rows * PLAN.columns
    assert worn.pulses_per_cell.to_numpy() == pytest.approx(pulses / cells * 1e6 / 4)
    assert worn.endurance_used.to_numpy() == pytest.approx(worn.pulses_per_cell.to_numpy() / 1e9)


def test_nothing_happening_leaves_only_leakage() -> None:
    table = bill_of(idle_counts(PLAN), PLAN, RRAM, signals=SIGNALS, readout=READOUT)
    event = table[table["style"] == "event"]
    once_per_sample = {"core_transfer", "input_buffer", "dram", "pool", "register", "readout"}
    assert set(event[event.energy_J > 0].component) == {"leakage"} | once_per_sample
    count = event.groupby(["phase", "component"])["count"].sum()
    assert count["nudge_plus", "register"] == 4 * 8 * sum(geometry.neurons for geometry in GEOMETRIES)
    assert count["free", "readout"] == 4 * 50
    assert bill_of(TileCounts.zeros(len(PLAN.tiles)), PLAN, RRAM, signals=SIGNALS, readout=READOUT).empty
    waiting = idle_counts(PLAN)
    waiting.samples = 0  # ticks pass, and no sample is there
    for style, lines in bill_of(waiting, PLAN, RRAM, signals=SIGNALS, readout=READOUT).groupby("style"):
        if style == "event":
            assert set(lines.component) == {"leakage"} and lines.energy_J.sum() > 0
    assert event[event.component == "leakage"].energy_J.sum() > 0


def double(counts: TileCounts) -> TileCounts:
    return counts + counts


GROWING: dict[str, Callable[[HardwareModel], HardwareModel]] = {
    "converter bits": lambda m: with_section(m, "adc", bits=9),
    "state bits": lambda m: with_section(m, "digital", state_bits=9),
    "partial bits": lambda m: with_section(m, "digital", partial_bits=17),
    "accumulator bits": lambda m: with_section(m, "digital", accumulator_bits=33),
    "read time": lambda m: with_section(m, "cell", read_time=11e-9),
    "write pulse": lambda m: with_section(m, "cell", write_time=51e-9),
    "links": lambda m: with_section(m, "noc", router_energy=1e-13),
    "time constants": lambda m: with_section(m, "settling", time_constants=8),
}


@pytest.mark.parametrize("change", GROWING.values(), ids=GROWING)
def test_more_of_anything_costs_no_less(counts: TileCounts, change: Callable[[HardwareModel], HardwareModel]) -> None:
    base, more = (energy_by(bill_of(counts, PLAN, m, signals=SIGNALS, readout=READOUT)) for m in (RRAM, change(RRAM)))
    for energy in ENERGIES:
        assert (more[energy] >= base[energy]).all()
    assert (more.energy_J > base.energy_J).any()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_the_bill_of_two_recordings_is_the_sum_of_their_bills(first: int, second: int) -> None:
    """All lines but leakage: time is that of the slowest tile, which need not be the same in both."""
    one, other = random_counts(PLAN, seed=first), random_counts(PLAN, seed=second)
    bills = [bill_of(counts, PLAN, RRAM, signals=SIGNALS, readout=READOUT) for counts in (one, other, one + other)]
    keys = ["tile", "layer", "phase", "component", "style"]
    apart = pd.concat(bills[:2]).groupby(keys).energy_J.sum()
    together = bills[2].set_index(keys).energy_J
    assert set(apart.index) == set(together.index)
    timed = together.index.get_level_values("component") == "leakage"
    rounded = together.index.get_level_values("style") == "settling"  # mean ticks differ between the batches
    same = together[~timed & ~rounded]
    assert same.to_numpy() == pytest.approx(apart[same.index].to_numpy(), rel=1e-12)
    assert together.sum() <= apart.sum() * (1 + 1e-12)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 50), st.sampled_from(READ_PHASES), st.sampled_from(READS))
def test_more_activity_costs_more(seed: int, more: int, phase: str, style: Style) -> None:
    base = random_counts(PLAN, seed=seed)
    busy = random_counts(PLAN, seed=seed)
    busy.traffic[READ_PHASES.index(phase), int(style is Style.EVENT)] += more
    energies = [energy_by(bill_of(counts, PLAN, RRAM)).set_index("style").energy_J[style] for counts in (base, busy)]
    assert energies[1] >= energies[0]
    assert (energies[1] > energies[0]) == (more > 0)


def in_other_units(model: HardwareModel, joule: float, second: float) -> HardwareModel:
    """``model`` with its numbers in units ``joule`` and ``second`` times smaller; volt, metre and bit stay."""
    powers = {
        "J": (1, 0), "J/bit": (1, 0), "J/bit/m": (1, 0), "s": (0, 1), "W": (1, -1), "W/bit": (1, -1), "S": (1, -1),
        "F/m": (1, 0), "F": (1, 0), "bit/s": (0, -1), "W/m^2": (1, -1),
    }  # fmt: skip

    def change(part: Any) -> Any:
        energy, time = powers.get(getattr(part, "unit", ""), (0, 0))
        if isinstance(part, Quantity | Curve):
            node = getattr(part, "node_nm", None)
            return part.times(joule**energy * second**time, node) if energy or time else part
        if isinstance(part, dict):
            return {name: change(value) for name, value in part.items()}
        return part.model_copy(update={n: change(v) for n, v in part}) if isinstance(part, Strict) else part

    changed: HardwareModel = change(model)
    return changed


@pytest.mark.parametrize("scheme", ["accumulate", "row_verify", "outer_product", "continual"])
def test_a_joule_is_never_added_to_a_second(counts: TileCounts, scheme: str) -> None:
    """In other units of energy and time every energy is that many times larger, and every latency."""
    model = with_section(RRAM, "write", scheme=scheme)
    one, other = (Recording.of(counts, PLAN, m, SIGNALS, READOUT) for m in (model, in_other_units(model, 8.0, 3.0)))
    ours, theirs = bill(one), bill(other)
    for energy in ENERGIES:
        assert theirs[energy].to_numpy() == pytest.approx(8 * ours[energy].to_numpy(), rel=1e-9)
    for style in Style:
        times = [list(latencies_s(recording, style).values()) for recording in (one, other)]
        assert times[1] == pytest.approx([3 * seconds for seconds in times[0]])


def test_twice_the_work_takes_twice_the_time_and_energy(counts: TileCounts) -> None:
    once, twice = (
        energy_by(bill_of(c, PLAN, RRAM, readout=READOUT)).set_index("style") for c in (counts, double(counts))
    )
    assert twice.energy_J.to_numpy() == pytest.approx(2 * once.energy_J.to_numpy(), rel=1e-9)


def test_the_ideal_model_counts_cell_operations_in_femtojoules() -> None:
    ideal = load_hardware_model("ideal")
    plan = plan_tiles(GEOMETRIES, ideal.array_geometry())
    table = bill_of(random_counts(plan), plan, ideal, signals=SIGNALS, readout=READOUT)
    spent = table[(table.energy_J > 0) & (table["style"] != "settling")]
    assert set(spent.component) == {"cell_read", "cell_write"}
    assert spent.energy_J.sum() == pytest.approx(1e-15 * spent["count"].sum())


@pytest.mark.parametrize("name", ["rram_130nm", "pcm_90nm", "fefet_32nm", "ecram", "sram_22nm"])
def test_counts_of_one_chip_can_be_priced_on_another(name: str, counts: TileCounts) -> None:
    other = load_hardware_model(name)
    assert [getattr(other.array_geometry(), key) for key in SHAPE] == [getattr(PLAN.array, key) for key in SHAPE]
    plan = plan_tiles(GEOMETRIES, other.array_geometry())
    table = bill_of(on_array(counts, PLAN, plan), plan, other, signals=SIGNALS, readout=READOUT)
    assert np.isfinite(table[ENERGIES]).to_numpy().all()
    assert (table.energy_low_J <= table.energy_J).all() and (table.energy_J <= table.energy_high_J).all()
    found = energy_by(table, "component").set_index(["style", "component"]).energy_J
    for component in ("cell_read", "adc", "cell_write"):
        assert found["clocked", component] > 0


def test_address_width_covers_every_neuron() -> None:
    for neurons in (1, 2, 3, 128, 129):
        above = ConnectionGeometry("fc2", "linear", (neurons,), (4,), (4,))
        plan = plan_tiles(
            [ConnectionGeometry("fc1", "linear", (4,), (neurons,), (neurons,)), above], RRAM.array_geometry()
        )
        recording = Recording.of(random_counts(plan), plan, RRAM)
        bits = recording.routes.message_bits(RRAM, Style.EVENT)[0]
        assert bits == 8 + math.ceil(math.log2(neurons))
