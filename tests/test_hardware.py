"""Hardware models, the energy ledger and the memory table."""

from __future__ import annotations

import copy
import math
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurosim_ep.errors import HardwareModelError
from neurosim_ep.hardware.cost import energy_by, ledger
from neurosim_ep.hardware.counts import ACCOUNTINGS, DIRECTIONS, READ_PHASES, READ_QUANTITIES, TileCounts
from neurosim_ep.hardware.latency import phase_latency_s, read_time_s
from neurosim_ep.hardware.memory import memory_table
from neurosim_ep.hardware.model import HardwareModel, Quantity, load_hardware_model, parse_hardware_model
from neurosim_ep.hardware.projections import Projection
from neurosim_ep.resources import shipped_files
from neurosim_ep.tiles.mapping import ConnectionGeometry, TilePlan, plan_tiles

CONV = ConnectionGeometry("conv1", "conv", (3, 8, 8), (70, 8, 8), (70, 4, 4), (3, 3), 1, "max")
AVG = ConnectionGeometry("conv2", "conv", (70, 4, 4), (20, 4, 4), (20, 2, 2), (3, 3), 1, "avg")
LINEAR = ConnectionGeometry("fc1", "linear", (20, 2, 2), (10,), (10,))
READOUT = Projection(2, 10, 5, learned=True)
SIGNALS = [Projection(1, 80, 5)]


@pytest.fixture(scope="module")
def rram() -> HardwareModel:
    return load_hardware_model("rram_32nm")


@pytest.fixture(scope="module")
def plan(rram: HardwareModel) -> TilePlan:
    return plan_tiles([CONV, AVG, LINEAR], rram.array_geometry())


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return tomllib.loads(shipped_files("hwmodels")["rram_32nm"].read_text(encoding="utf-8"))


def random_counts(plan: TilePlan, samples: int = 4) -> TileCounts:
    """Counts with the relations real ones have, otherwise arbitrary."""
    rng = np.random.default_rng(1)
    counts = TileCounts.zeros(len(plan.tiles))
    reads, lines = rng.integers(1, 50, (2, *counts.traffic[:, :, :, 0].shape))
    sensed = np.stack([plan.columns, plan.rows])
    counts.traffic[:] = np.stack([reads, lines, reads * sensed, lines * plan.array.input_pulses], axis=3)
    counts.update[:] = rng.integers(0, 100, counts.update.shape)
    for phase, ticks in (("free", 7), ("nudge_plus", 3), ("nudge_minus", 3)):
        counts.events[phase] = rng.integers(0, 100, (ticks, 3))
        counts.messages[phase] = 3 * counts.events[phase]
        counts.presentations[phase] = np.full((ticks, 3), samples)
    counts.samples, counts.batches = samples, 1
    return counts


@pytest.mark.parametrize("name", sorted(shipped_files("hwmodels")))
def test_shipped_models_state_where_every_number_comes_from(name: str) -> None:
    model = load_hardware_model(name)
    assert model.model.name == name
    for section in ("array", "cell", "dac", "adc", "digital", "memory", "noc", "leakage"):
        for key, quantity in getattr(model, section):
            assert isinstance(quantity, Quantity)
            assert len(quantity.source) > 5, key


def test_cell_energies_follow_from_the_primaries(rram: HardwareModel) -> None:
    # 1.6 V, 50 ns, 100 kohm: the 1.28 pJ upper bound of the TaOx/HfOx device
    assert rram.cell_write_energy_J() == pytest.approx(1.28e-12)
    assert rram.cell_read_energy_J() == pytest.approx(0.5 * 0.25 * 5.5e-6 * 10e-9)
    assert rram.weight_bits() == 7
    ideal = load_hardware_model("ideal")
    assert ideal.cell_read_energy_J() == ideal.cell_write_energy_J() == pytest.approx(1e-15)


def test_every_problem_of_a_model_file_is_named_at_once(document: dict[str, Any]) -> None:
    broken = copy.deepcopy(document)
    broken["cell"]["read_time"]["value"] = -1.0
    broken["adc"]["conversion_energy"]["unit"] = "pJ"
    broken["dac"]["pulse_enrgy"] = broken["dac"].pop("pulse_energy")
    broken["noc"]["link_energy"]["kind"] = "guess"
    broken["array"]["rows"]["value"] = 128.5
    broken["memory"]["access_energy"]["origin"] = "?"
    del broken["leakage"]["tile"]["source"]
    del broken["digital"]
    with pytest.raises(HardwareModelError) as caught:
        parse_hardware_model(broken, "mine.toml")
    message = str(caught.value)
    assert message.startswith("mine.toml: 9 problems")
    for part in (
        "cell.read_time.value = -1.0: ",
        "adc.conversion_energy.unit = 'pJ': Input should be 'J'",
        "dac.pulse_enrgy: unknown key; did you mean pulse_energy?",
        "dac.pulse_energy: key is missing",
        "noc.link_energy.kind = 'guess': ",
        "array.rows.value = 128.5: ",
        "memory.access_energy.origin: unknown key; known: value, unit, source, kind, node_nm",
        "leakage.tile.source: key is missing",
        "digital: section is missing",
    ):
        assert part in message


def test_off_conductance_must_not_exceed_on(document: dict[str, Any]) -> None:
    broken = copy.deepcopy(document)
    broken["cell"]["off_conductance"]["value"] = 1.0
    with pytest.raises(HardwareModelError, match=r"cell: off_conductance \(1 S\) must not exceed"):
        parse_hardware_model(broken, "mine.toml")


def test_unreadable_model_files_are_one_clear_message(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(HardwareModelError, match="not UTF-8"):
        load_hardware_model(str(path))
    path.write_text("[array\n", encoding="utf-8")
    with pytest.raises(HardwareModelError, match="not valid TOML"):
        load_hardware_model(str(path))
    with pytest.raises(HardwareModelError, match="did you mean rram_32nm"):
        load_hardware_model("rram_32")
    with pytest.raises(HardwareModelError, match="directory"):
        load_hardware_model(str(tmp_path))


def test_every_view_sums_to_the_same_total(rram: HardwareModel, plan: TilePlan) -> None:
    table = ledger(random_counts(plan), plan, rram, signals=SIGNALS, readout=READOUT)
    total = energy_by(table).set_index("accounting").energy_J
    assert set(total.index) == set(ACCOUNTINGS)
    for keys in (
        ["layer"],
        ["component"],
        ["phase"],
        ["tile"],
        ["layer", "component"],
        ["phase", "tile", "name"],
    ):
        view = energy_by(table, *keys).groupby("accounting").energy_J.sum()
        for accounting in ACCOUNTINGS:
            assert view[accounting] == pytest.approx(total[accounting], rel=1e-12)
    assert not table.duplicated(["tile", "layer", "phase", "component", "accounting"]).any()
    assert (table.samples == 4).all()
    assert np.allclose(table["count"] * table.unit_energy_J, table.energy_J, rtol=1e-15)


def test_ledger_lines_equal_counts_times_costs_tile_by_tile(rram: HardwareModel, plan: TilePlan) -> None:
    counts = random_counts(plan)
    table = ledger(counts, plan, rram, signals=SIGNALS, readout=READOUT)
    lines = table.set_index(["phase", "accounting", "component", "tile", "layer"])["count"]
    for phase in READ_PHASES:
        for accounting in ACCOUNTINGS:
            found = {
                (direction, quantity): counts.of(phase, accounting, direction, quantity)
                for direction in DIRECTIONS
                for quantity in READ_QUANTITIES
            }
            for tile in plan.tiles:
                i, key = tile.index, (phase, accounting)
                forward = {quantity: found["forward", quantity][i] for quantity in READ_QUANTITIES}
                transposed = {quantity: found["transposed", quantity][i] for quantity in READ_QUANTITIES}
                cells = forward["active_lines"] * tile.columns + transposed["active_lines"] * tile.rows
                assert lines[(*key, "cell_read", i, tile.layer)] == 8 * cells
                for component, quantity in (
                    ("adc", "adc_conversions"),
                    ("add", "adc_conversions"),
                    ("dac", "dac_conversions"),
                ):
                    assert lines[(*key, component, i, tile.layer)] == forward[quantity] + transposed[quantity]
                results = forward["reads"] * (tile.columns // 2) * (tile.row_block > 0)
                results += transposed["reads"] * tile.rows * (tile.col_block > 0)
                assert lines.get((*key, "partial_sum", i, tile.layer), 0) == 16 * results
    for tile in plan.tiles:
        pulses = counts.update[1:, tile.index].sum()
        assert lines["update", "clocked", "cell_write", tile.index, tile.layer] == pulses
        adds = counts.update[0, tile.index]
        assert lines["update", "event", "update_add", tile.index, tile.layer] == adds
        assert lines["update", "event", "update_memory", tile.index, tile.layer] == 64 * adds


def test_tick_driven_lines(rram: HardwareModel, plan: TilePlan) -> None:
    counts = random_counts(plan)
    table = ledger(counts, plan, rram, signals=SIGNALS, readout=READOUT)
    count = table[table.tile == -1].set_index(["phase", "accounting", "component", "layer"])["count"]
    for accounting in ACCOUNTINGS:
        for layer, geometry in enumerate(plan.geometries):
            assert count["free", accounting, "neuron", layer] == 7 * 4 * geometry.neurons
            assert count["nudge_plus", accounting, "register", layer] == (2 * 3 * 4 + 4) * 8 * geometry.neurons
        assert count["free", accounting, "pool", 0] == 4 * 70 * 64  # static drive: once per sample
        assert ("nudge_plus", accounting, "pool", 0) not in count.index
        assert count["nudge_plus", accounting, "pool", 1] == 3 * 4 * 20 * 16
        assert count["free", accounting, "readout", 3] == 4 * 50
        assert count["nudge_minus", accounting, "readout", 3] == 2 * 50 * 3 * 4
        assert count["update", accounting, "readout", 3] == 2 * 50 * 4
        assert count["nudge_minus", accounting, "signal", 1] == 2 * 400 * 3 * 4
        assert ("update", accounting, "signal", 1) not in count.index  # fixed projections
    destinations = plan.event_destinations(0).sum()
    assert count["free", "clocked", "message", 0] == 7 * 4 * destinations * 8
    assert count["free", "event", "message", 0] == counts.messages["free"][:, 0].sum() * (8 + 11)
    assert count["free", "event", "input", 0] == 4 * plan.input_destinations(0).sum() * 8


def test_average_pooling_adds_and_max_pooling_compares(rram: HardwareModel, plan: TilePlan) -> None:
    table = ledger(random_counts(plan), plan, rram)
    pool = table[(table.component == "pool") & (table.phase == "free")].set_index("layer").unit_energy_J
    assert (pool[0] == rram.digital.compare_energy.value).all()
    assert (pool[1] == rram.digital.add_energy.value).all()


def test_leakage_is_power_times_latency(rram: HardwareModel, plan: TilePlan) -> None:
    counts = random_counts(plan)
    table = ledger(counts, plan, rram, readout=READOUT)
    memory = memory_table(plan, rram, free_steps=7, nudge_steps=3, readout=READOUT)
    bits = memory[(memory.method == "ep") & (memory.item != "synapse cells")].bits.sum()
    power_W = len(plan.tiles) * rram.leakage.tile.value + bits * rram.leakage.bit.value
    for accounting in ACCOUNTINGS:
        latency_s = phase_latency_s(counts, plan, rram, accounting)
        leaked = table[(table.component == "leakage") & (table.accounting == accounting)]
        assert leaked.energy_J.sum() == pytest.approx(power_W * sum(latency_s.values()))


def test_latency_is_that_of_the_slowest_tile(rram: HardwareModel, plan: TilePlan) -> None:
    counts = random_counts(plan)
    times = [read_time_s(plan, rram, direction) for direction in DIRECTIONS]
    tile = plan.tiles[0]
    assert times[0][0] == pytest.approx(8 * 10e-9 + tile.columns * 7.8125e-10)
    assert times[1][0] == pytest.approx(8 * 10e-9 + tile.rows * 7.8125e-10)
    slowest = max(
        sum(
            counts.of("free", "event", direction, "reads")[i] * time[i]
            for direction, time in zip(DIRECTIONS, times, strict=True)
        )
        for i in range(len(plan.tiles))
    )
    latency_s = phase_latency_s(counts, plan, rram, "event")
    assert latency_s["free"] == pytest.approx(slowest)
    assert latency_s["update"] == pytest.approx(counts.update[1:].sum(0).max() * 50e-9)


def test_the_ideal_model_counts_cell_operations_in_femtojoules() -> None:
    ideal = load_hardware_model("ideal")
    plan = plan_tiles([CONV, AVG, LINEAR], ideal.array_geometry())
    counts = random_counts(plan)
    table = ledger(counts, plan, ideal, signals=SIGNALS, readout=READOUT)
    spent = table[table.energy_J > 0]
    assert set(spent.component) == {"cell_read", "cell_write"}
    assert spent.energy_J.sum() == pytest.approx(1e-15 * spent["count"].sum())


def test_memory_items(rram: HardwareModel, plan: TilePlan) -> None:
    learned = Projection(0, 1120, 5, learned=True)
    table = memory_table(
        plan,
        rram,
        free_steps=30,
        nudge_steps=10,
        signals=[*SIGNALS, learned],
        readout=READOUT,
        batch_on_chip=2,
    )
    assert list(table.columns) == ["method", "layer", "name", "item", "bits"]
    bits = table.set_index(["method", "layer", "item"]).bits
    neurons = 70 * 16
    for method in ("ep", "bptt_T", "bptt_K"):
        assert bits[method, 0, "synapse cells"] == 27 * 70 * 7
        assert bits[method, 0, "biases"] == 70 * 32
        assert bits[method, 0, "state registers"] == 2 * neurons * 8
        assert bits[method, 0, "drive registers"] == bits[method, 0, "input drive"] == 2 * neurons * 16
        assert bits[method, 0, "input registers"] == 2 * 3 * 64 * 8
        assert bits[method, 0, "update accumulators"] == (27 * 70 + 70) * 32
        assert bits[method, 3, "readout"] == 2 * 50 * 32
        assert bits[method, 3, "targets"] == 2 * 5 * 8
    assert bits["ep", 0, "saved free state"] == 2 * neurons * 8
    assert bits["ep", 0, "routing"] == 2 * 2 * neurons
    assert bits["ep", 1, "projections"] == 400 * 8
    assert bits["ep", 0, "projections"] == 2 * 5600 * 32
    assert bits["ep", 1, "targets"] == 2 * 5 * 8
    assert bits["bptt_T", 0, "stored states"] == 2 * 30 * neurons * 8
    assert bits["bptt_K", 0, "stored states"] == 2 * 10 * neurons * 8
    assert bits["bptt_T", 0, "stored routing"] == 2 * 2 * neurons  # static drive: one argmax for all ticks
    assert bits["bptt_T", 0, "error states"] == 2 * neurons * 16
    assert set(table[(table.item == "routing")].layer) == {0}  # only the max-pooled layer routes


def test_backpropagation_through_time_stores_every_tick(rram: HardwareModel) -> None:
    pooled = ConnectionGeometry("conv2", "conv", (70, 4, 4), (20, 4, 4), (20, 2, 2), (3, 3), 1, "max")
    plan = plan_tiles([CONV, pooled, LINEAR], rram.array_geometry())
    table = memory_table(plan, rram, free_steps=30, nudge_steps=10, readout=READOUT)
    bits = table.set_index(["method", "layer", "item"]).bits
    assert bits["bptt_T", 1, "stored routing"] == 30 * 2 * 80
    assert bits["bptt_K", 1, "stored routing"] == 10 * 2 * 80
    totals = table.groupby("method").bits.sum()
    assert totals["ep"] < totals["bptt_K"] < totals["bptt_T"]


def test_address_width_covers_every_neuron(rram: HardwareModel) -> None:
    for neurons in (1, 2, 3, 128, 129):
        geometry = ConnectionGeometry("fc1", "linear", (4,), (neurons,), (neurons,))
        plan = plan_tiles([geometry], rram.array_geometry())
        counts = TileCounts.zeros(len(plan.tiles))
        for table in (counts.events, counts.messages, counts.presentations):
            table["free"] = np.ones((1, 1), np.int64)
        bill = ledger(counts, plan, rram)
        message = bill[(bill.component == "message") & (bill.accounting == "event")]
        assert message["count"].item() == 8 + math.ceil(math.log2(neurons))
