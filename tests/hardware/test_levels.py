"""Cores and clusters, packets, shared parts, and how every key of arrays and levels moves the bill, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from chips import GEOMETRIES, READOUT, SIGNALS, random_counts
from hardware_example import FLAT, MODEL, RECORDING, changed, example_counts
from hardware_models import load_hardware_model, tile_area_m2
from hypothesis import given
from hypothesis import strategies as st
from leveled import BASE, COUNTS, DOCUMENT, PLAN, model_with, number, recording, spent

from neurosim_ep.errors import HardwareModelError
from neurosim_ep.hardware.bill.cost import bill
from neurosim_ep.hardware.bill.latency import latencies_s, neuron_times_s, read_times_s, stages
from neurosim_ep.hardware.bill.network import carried_bits
from neurosim_ep.hardware.bill.reads import busy_s, read_time_s
from neurosim_ep.hardware.bill.sanity import sanity
from neurosim_ep.hardware.bill.settling import conversion_time_s, tile_copies
from neurosim_ep.hardware.bill.summary import Summary
from neurosim_ep.hardware.bill.writing import write_time_s
from neurosim_ep.hardware.chip.counts import ACCOUNTINGS, DIRECTIONS
from neurosim_ep.hardware.chip.levels import Levels, instances
from neurosim_ep.hardware.chip.memory import BUFFERED
from neurosim_ep.hardware.chip.packets import packed
from neurosim_ep.hardware.chip.phases import READ_PHASES
from neurosim_ep.hardware.chip.recording import Chip, Recording
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.chip.sums import forward_groups, steps_to, transposed_groups
from neurosim_ep.hardware.model.file import parse_hardware_model
from neurosim_ep.tiles.mapping import plan_tiles


@given(st.integers(1, 60), st.integers(1, 7), st.integers(1, 5), st.data())
def test_every_sum_reaches_its_home_once(tiles: int, per_core: int, per_cluster: int, data: st.DataObject) -> None:
    levels = Levels(tiles, per_core, per_cluster)
    sources = sorted(data.draw(st.sets(st.integers(0, tiles - 1), min_size=1)))
    home = data.draw(st.integers(0, tiles - 1))
    steps = steps_to(home, sources, levels)
    target = dict(steps)
    assert sorted(source for source, _ in steps) == sorted({*sources}), "every tile sends once"
    for tile in sources:
        crossed = 0
        while tile != home:
            crossed += levels.node_of[tile] != levels.node_of[target[tile]]
            tile = target[tile]
        assert crossed <= max(levels.nodes - 1, 0).bit_length()  # a tree over clusters
    leaving = [levels.core_of[source] for source, to in steps if levels.core_of[source] != levels.core_of[to]]
    assert len(leaving) == len(set(leaving)), "one sum leaves a core"


def test_sums_of_reads_are_grouped_by_what_they_add_to() -> None:
    for groups in (forward_groups(PLAN), transposed_groups(PLAN)):
        for tiles, home, share in groups:
            connections = {PLAN.tiles[tile].connection for tile in tiles}
            assert len(connections) == 1 and share > 0 and 0 <= home < len(PLAN.tiles)


def test_cores_and_clusters_are_filled_in_order() -> None:
    levels = Levels(9, 2, 2)
    assert levels.core_of.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4]
    assert (levels.cores, levels.nodes, levels.node_of.tolist()) == (5, 3, [0, 0, 0, 0, 1, 1, 1, 1, 2])
    assert levels.summed(np.arange(9), shared=True).tolist() == [1, 1, 5, 5, 9, 9, 13, 13, 8]
    assert instances(PLAN, 2).sum() == -(-len(PLAN.tiles) // 2)
    assert instances(PLAN, 1).tolist() == [np.prod(PLAN.grid(n)) for n in range(3)]


def test_packets_by_hand() -> None:
    """40 states of 8 bits are 320 bits: a packet of 8 x 32 bits carries 240 beside its header of 16, the next one the
    other 80 in three flits.
    """
    noc = load_hardware_model("rram_32nm").noc
    found = packed(np.array([120]), np.array([40]), np.array([8]), noc)
    assert [part.item() for part in found] == [960, 3 * (320 + 2 * 16), 3 * (8 + 3)]
    one = packed(np.array([7]), np.array([1]), np.array([13]), noc)  # events of 13 bits, one by one
    assert [part.item() for part in one] == [91, 7 * 29, 7]
    with pytest.raises(HardwareModelError, match=r"header_bits \(64\) fill the 64 bits of a packet"):
        model_with(noc__header_bits=64, noc__packet_flits=2)


def test_wider_flits_take_fewer_of_them_and_the_same_bits() -> None:
    times, energies = [], []
    for bits, flits in ((16, 16), (32, 8), (256, 1)):  # packets of 256 bits throughout
        model = model_with(core__tiles=1, noc__flit_bits=bits, noc__packet_flits=flits)
        found = recording(model)
        times.append(int(found.sent("free", Style.CLOCKED).flits.sum()))
        energies.append(spent(model, "message"))
        hop_s = stages(found, "free", Style.CLOCKED).network_s
        assert hop_s > 0
    assert times[0] > times[1] > times[2]
    assert times[0] == pytest.approx(2 * times[1], rel=0.1)
    assert energies[0] == pytest.approx(energies[1]) == pytest.approx(energies[2])
    assert spent(model_with(noc__header_bits=32, core__tiles=1), "message") > energies[1]


def test_converters_share_the_lines_of_a_tile() -> None:
    shared = model_with(core__tiles=2, adc__per_tile=4)
    apart_s, shared_s = (read_time_s(Chip(PLAN, model), "forward")[0] for model in (BASE, shared))
    columns = PLAN.columns[0]
    assert apart_s - shared_s == pytest.approx((columns - -(-columns // 4)) * 7.8125e-10)
    assert spent(shared, "adc") == spent(BASE, "adc")
    assert tile_area_m2(shared)["adc"] == 4 * tile_area_m2(BASE)["adc"]
    document = {**DOCUMENT, "adc": {key: value for key, value in DOCUMENT["adc"].items() if key != "per_tile"}}
    document["adc"] = {**document["adc"], "columns_each": number(8)}
    assert parse_hardware_model(document, "x").converters_per_tile() == 16
    document["adc"]["per_tile"] = number(1)  # of a base
    assert parse_hardware_model(document, "x").converters_per_tile() == 16
    document["adc"] = {key: value for key, value in document["adc"].items() if key not in ("per_tile", "columns_each")}
    with pytest.raises(HardwareModelError, match="give per_tile, converters of a tile, or columns_each"):
        parse_hardware_model(document, "x")


def test_rows_per_read_convert_every_group() -> None:
    """128 rows of which 32 may be active at once: four groups, each converted."""
    grouped = model_with(core__tiles=2, array__rows_per_read=number(32))
    groups = [-(-PLAN.rows // 32), -(-PLAN.columns // 32)]
    reads = [COUNTS.of("free", "clocked", way, "reads") for way in DIRECTIONS]
    expected = sum((n * r * s).sum() for n, r, s in zip(groups, reads, PLAN.sensed, strict=True))
    assert spent(grouped, "adc") == pytest.approx(expected * 2e-3 / 1.28e9)
    assert spent(grouped, "cell_read") == spent(BASE, "cell_read") and spent(grouped, "dac") == spent(BASE, "dac")
    chips = [Chip(PLAN, model) for model in (BASE, grouped)]
    for way, number_of in zip(DIRECTIONS, groups, strict=True):
        assert read_time_s(chips[1], way) == pytest.approx(number_of * read_time_s(chips[0], way))
    once, often = (spent(model, "adc", Style.EVENT) for model in (BASE, grouped))
    assert once <= often <= 4 * once


def test_events_take_the_time_of_the_groups_that_they_drive() -> None:
    """Two reads of 40 rows, three groups of 16 each, in which three lines brought an event: three groups at most."""
    counts = example_counts(RECORDING.chip.plan)
    for way, lines in (("forward", 3), ("transposed", 0)):
        where = (READ_PHASES.index("free"), ACCOUNTINGS.index("event"), DIRECTIONS.index(way))
        counts.traffic[where][:, 1] = [2 * (lines > 0), lines, 0, 8 * lines]
    found = Recording.of(counts, RECORDING.chip.plan, changed(MODEL, "array", rows_per_read=16))
    group_s = 8 * 10e-9 + 20 * 0.78125e-9
    assert busy_s(found, "free", Style.EVENT)[:, 1] == pytest.approx([3 * group_s, 0.0])
    assert busy_s(found, "free", Style.CLOCKED)[0, 1] == pytest.approx(3 * 3 * group_s)


def test_merged_columns_are_converted_together() -> None:
    sliced = model_with(array__slices=4, array__levels=16)
    merged_all = model_with(array__slices=4, array__levels=16, array__merged_columns=number(4))
    plans = [plan_tiles(GEOMETRIES, model.array_geometry()) for model in (sliced, merged_all)]
    assert (plans[0].conversions[0] == 4 * PLAN.columns).all()
    assert (plans[1].conversions[0] == 2 * -(-PLAN.columns // 2)).all()  # both columns of a pair, and two slices
    assert (plans[1].conversions[1] == plans[0].conversions[1]).all()
    with pytest.raises(HardwareModelError, match=r"merged_columns \(3\) must be a divisor of the 2 cells"):
        model_with(array__merged_columns=number(3))


def test_gating_leaves_the_idle_share() -> None:
    gated = model_with(core__tiles=2, leakage__idle_share=0.25)
    found = recording(BASE)
    latency_s, busy = latencies_s(found, Style.CLOCKED)["free"], busy_s(found, "free", Style.CLOCKED).sum(0)
    saved = (0.75 * (latency_s - np.minimum(busy, latency_s))).sum() * found.chip.static_power().tile_W
    assert spent(BASE, "leakage") - spent(gated, "leakage") == pytest.approx(saved)
    assert latencies_s(recording(gated), Style.CLOCKED) == latencies_s(found, Style.CLOCKED)


def test_duty_drives_cells_and_drivers_and_lines() -> None:
    double = model_with(core__tiles=2, cell__input_duty=1.0)
    for component in ("cell_read", "dac", "line"):
        assert spent(double, component) == pytest.approx(2 * spent(BASE, component)) and spent(BASE, component) > 0
    mean = model_with(core__tiles=2, dac__pulses="mean")
    assert spent(mean, "dac") == pytest.approx(2 * spent(BASE, "dac"))
    assert spent(double, "adc") == spent(BASE, "adc")


def test_drivers_of_more_bits_grow_by_the_step() -> None:
    wide = model_with(dac__bits=4)
    assert wide.driver_energy().value == pytest.approx(8 * BASE.driver_energy().value)
    assert tile_area_m2(wide)["driver"] == pytest.approx(8 * tile_area_m2(BASE)["driver"])
    with pytest.raises(HardwareModelError, match=r"dac: bits \(1000000\) with growth \(4\)"):
        model_with(dac__bits=1_000_000)


def test_lines_are_charged_by_c_v_squared() -> None:
    lines = [COUNTS.of("free", "clocked", way, "active_lines") for way in DIRECTIONS]
    crossings = (lines[0] * PLAN.columns + lines[1] * PLAN.rows).sum() * 8
    assert spent(BASE, "line") == pytest.approx(crossings * 0.5 * 2.8e-17 * 0.5**2)


def test_every_read_takes_its_inputs_and_leaves_its_sums() -> None:
    reads = [COUNTS.of("free", "clocked", way, "reads") for way in DIRECTIONS]
    states = reads[0] * PLAN.rows + reads[1] * PLAN.outputs  # both columns of a pair are driven by one state
    register_J = BASE.registers.access_energy.value
    assert spent(BASE, "line_register") == pytest.approx(2 * 8 * states.sum() * register_J)
    sums = (reads[0] * PLAN.columns + reads[1] * PLAN.rows).sum()
    assert spent(BASE, "drive_register") == pytest.approx(2 * 16 * sums * register_J)
    table = bill(recording(BASE), [Style.CLOCKED]).query("component == 'input_buffer' and phase == 'nudge_plus'")
    nudged = [COUNTS.of("nudge_plus", "clocked", way, "reads") for way in DIRECTIONS]
    taken = 8 * (nudged[0] * PLAN.rows + nudged[1] * PLAN.outputs).sum()
    arriving = sum(8 * 4 * 3 * sender.neurons * len(sender.destinations) for sender in PLAN.senders)
    assert table["count"].sum() == taken + arriving


def test_what_a_core_shares_is_there_once() -> None:
    apart, shared = BASE, model_with(core__tiles=2, core__shares=["converters", "neurons", "inputs", "accumulators"])
    areas = [recording(model).chip for model in (apart, shared)]
    assert areas[1].area_m2() < areas[0].area_m2()
    cores, tiles = areas[0].levels.cores, len(PLAN.tiles)
    assert (tiles - cores) * tile_area_m2(BASE)["adc"] < areas[0].area_m2() - areas[1].area_m2()
    assert (areas[1].accumulator_bits >= areas[0].accumulator_bits).all()
    kept = [sum(item.bits for item in chip.memory if item.item == "result registers") for chip in areas]
    assert kept == [tiles * 128 * 16, cores * 128 * 16], "they stand beside the converters"
    reads = [stages(recording(model), "free", Style.CLOCKED).read_s for model in (apart, shared)]
    assert reads[0] < reads[1] <= 2 * reads[0] * (1 + 1e-12)  # two tiles of a core in turn
    assert spent(shared, "core_transfer") > 0
    turns = [write_time_s(recording(model_with(core__tiles=2, core__shares=s))) for s in ([], ["multiply_adds"])]
    assert turns[0] < turns[1] <= 2 * turns[0]


@pytest.mark.parametrize("shares", [["neurons"], ["converters"], ["drivers"], ["converters", "neurons"]])
def test_all_layers_of_a_core_take_turns(shares: list[str]) -> None:
    """With all tiles in one core: the sum over tiles and layers of what they take, tick by tick."""
    one = recording(model_with(core__tiles=len(PLAN.tiles), core__shares=shares))
    worked, ticks = COUNTS.presentations["free"], len(COUNTS.presentations["free"])
    found = stages(one, "free", Style.CLOCKED)
    layers = np.array([layer.neurons for layer in PLAN.layers])
    unit_s = one.chip.model.digital.neuron_time.value / one.chip.model.digital.neuron_units.value
    if "neurons" in shares:
        assert found.neuron_s == pytest.approx((worked * layers).sum() * unit_s, rel=1e-3)
    else:
        assert found.neuron_s < (worked * layers).sum() * unit_s
    if shares != ["neurons"]:
        assert read_times_s(one, "free", Style.CLOCKED).shape == (ticks, 1)
        busy = busy_s(one, "free", Style.CLOCKED).copy()
        busy[1, PLAN.tile_range(0)] = 0.0  # the image's are never read backwards
        assert found.read_s == pytest.approx(busy.sum())


def test_states_that_settle_are_converted_in_turn_where_a_core_shares_converters() -> None:
    """Every core has the converters of one tile for all states that live beside its tiles."""
    base = recording(model_with()).chip
    each, copies, states = model_with().converters_per_tile(), tile_copies(base), base.neurons_beside.sum(1)
    slowest = max(-(-n // (c * each)) for n, c in zip(states, copies, strict=True))
    assert conversion_time_s(base) == pytest.approx(slowest * base.model.adc.time_s)
    one = recording(model_with(core__tiles=int(copies.sum()), core__shares=["converters"])).chip
    loads = (-(-states // copies) * copies).sum()
    assert conversion_time_s(one) == pytest.approx(-(-loads // each) * base.model.adc.time_s)


def test_the_unit_of_a_full_tile_takes_as_long_whatever_lives_beside_the_next() -> None:
    """Neurons live where their channel is gathered; the fullest tile is what a tick waits for."""
    one = recording(model_with())
    digital, times = one.chip.model.digital, neuron_times_s(one, "free")
    for place, layer in enumerate(PLAN.layers):
        homes, channels = np.unique(PLAN.home_tiles(place), return_counts=True)
        expected = np.zeros(len(PLAN.tiles))
        expected[homes] = channels * layer.neurons / channels.sum()
        np.testing.assert_array_equal(one.chip.neurons_beside[:, place], expected)
        fullest_s = np.ceil(expected.max() / digital.neuron_units.value) * digital.neuron_time.value
        assert times[:, place].max() == pytest.approx(fullest_s)


def test_rows_are_programmed_in_turn_where_a_core_shares_drivers() -> None:
    """Tiles of two accumulate at the same time, each as long as its own additions take, and then program in turn."""
    steps, adds = (COUNTS.updates(name) for name in ("write_steps", "accumulate_adds"))
    together = np.add.reduceat(steps, np.arange(0, len(steps), 2)).repeat(2)[: len(steps)]
    shared = recording(model_with(core__tiles=2, core__shares=["drivers"]))
    assert write_time_s(shared) == pytest.approx((adds / 16 * 1e-9 + together * 50e-9).max())


def test_fewer_bits_leave_larger_cores() -> None:
    crossings = []
    for tiles in (1, 2, 8):
        found = recording(model_with(core__tiles=tiles))
        sent = found.sent("free", Style.CLOCKED)
        crossings.append(int((sent.bits * found.mesh.links).sum()))
        assert (carried_bits(found, "free", Style.CLOCKED).core.sum() > 0) == (tiles > 1)
    assert crossings[0] > crossings[1] > crossings[2] == 0  # all eight tiles in one core


def test_clusters_share_a_router() -> None:
    document = {**DOCUMENT, "core": {**DOCUMENT["core"], "tiles": number(2)}}
    document["cluster"] = {"cores": number(2), "width_bits": number(64), "network": "htree"}
    model = parse_hardware_model(document, "x")
    chip = recording(model).chip
    assert (chip.levels.nodes, chip.levels.cores) == (-(-chip.levels.cores // 2), -(-len(PLAN.tiles) // 2))
    side = chip.pitches_m[2]
    assert chip.transfer_energies[1].value == pytest.approx(model.noc.link_energy.value * side)
    assert spent(model, "cluster_transfer") > 0


def test_a_memory_is_no_faster_than_its_port() -> None:
    adds = COUNTS.updates("accumulate_adds").max()
    narrow = model_with(core__tiles=2, buffer__port_bits=64)
    steps = COUNTS.updates("write_steps")
    expected = (COUNTS.updates("accumulate_adds") * 64 / 64 * 1e-9 + steps * 50e-9).max()
    assert adds > 0 and write_time_s(recording(narrow)) == pytest.approx(expected)
    assert write_time_s(recording(BASE)) == pytest.approx(
        (COUNTS.updates("accumulate_adds") / 16 * 1e-9 + steps * 50e-9).max()
    )
    width = 1024 / 64
    assert BASE.buffer.port_share == pytest.approx((0.7 * width + 0.3) / width)


def test_the_sanity_of_a_bill() -> None:
    found = recording(BASE)
    table = bill(found)
    seen = sanity(found, table[table["style"] == "clocked"], Style.CLOCKED)
    seconds = sum(latencies_s(found, Style.CLOCKED).values())
    total = table[table["style"] == "clocked"].energy_J.sum()
    assert seen.power_W == pytest.approx(total / seconds)
    assert seen.static_W == pytest.approx(found.chip.static_power().chip_W(len(PLAN.tiles)))
    assert sum(seen.levels.values()) == pytest.approx(1) and 0 < seen.cells_used < 1 and not seen.warnings
    weights, positions = PLAN.rows * PLAN.outputs, tile_copies(found.chip)
    once = 2 * 4 * 3 * (weights * positions * (1 + (PLAN.layer_of_tile > 0))).sum()  # samples, phases
    settled = table[table["style"] == "settling"]
    reads_J = settled[settled.phase != "update"].energy_J.sum()
    assert sanity(found, settled, Style.SETTLING).operations_per_J == pytest.approx(once / reads_J)
    cold = seen._replace(area_m2=seen.area_m2 * 1e-4, bit_operations_per_J=1e15)
    assert [warning.split(":")[1].strip()[:5] for warning in cold.warnings] == ["chips", "the l", "measu"]


def test_a_link_is_busy_for_whole_flits() -> None:
    """40 events in each of three ticks, each a packet of 8 bits, 6 of address and a header of 16: one flit of 32."""
    chip = FLAT.chip
    counts = example_counts(chip.plan)
    counts.sends["free"] = np.array([[40 * (sender.layer == 0) for sender in chip.plan.senders]] * 3)
    summary = Summary(Recording.on(chip, counts))
    said = dict(summary.chip_rows())["hottest link"]
    flits, bits = (
        120 * share * 1e-9 / sum(latencies_s(summary.recording, Style.EVENT).values()) for share in (1, 30 / 32)
    )
    assert said.startswith("3.60 kbit per sample from router (0, 0) to the east, busy ")
    assert f"{flits:.0%} of the time (event style)" in said and f"{bits:.0%}" not in said


def test_a_file_without_levels_has_a_router_per_tile() -> None:
    """What runs recorded before there were levels still loads: keys that are missing take their defaults."""
    new = {
        "noc": ("header_bits", "packet_flits"), "dac": ("bits", "growth", "pulses"), "digital": ("neuron_time",),
        "buffer": ("port_bits", "cycle_time", "energy_scale", "refresh"), "wire": ("cell_capacitance",),
    }  # fmt: skip
    document = {
        section: {key: value for key, value in table.items() if key not in new.get(section, ())}
        for section, table in DOCUMENT.items()
        if section not in ("core", "leakage")
    }
    document["leakage"] = {"tile": number(9.98e-5, "W")}
    model = parse_hardware_model(document, "old")
    chip = recording(model).chip
    assert chip.levels.nodes == len(PLAN.tiles) and model.core is None
    assert chip.static_power().tile_W == 9.98e-5
    assert spent(model, "line") == 0 and not bill(recording(model)).empty


def test_dynamic_memories_are_refreshed() -> None:
    """Every bit of the buffers of each layer, at its power, as long as the phase takes; and nothing of registers."""
    kept = model_with(core__tiles=2, buffer__refresh=1e-9)
    found = recording(kept)
    bits = sum(item.bits for item in found.chip.memory if item.item in BUFFERED)
    seconds = latencies_s(found, Style.CLOCKED)["free"]
    assert spent(kept, "refresh") == pytest.approx(1e-9 * bits * seconds)


@pytest.mark.parametrize("name", ["isaac", "sram_digital_65nm"])
def test_shipped_chips_with_levels_are_billed(name: str) -> None:
    model = load_hardware_model(name)
    plan = plan_tiles(GEOMETRIES, model.array_geometry())
    found = Recording.of(random_counts(plan), plan, model, SIGNALS, READOUT)
    table = bill(found)
    assert np.isfinite(table.energy_J).all() and (table.energy_low_J <= table.energy_high_J).all()
    assert table[table.component == "core_transfer"].energy_J.sum() > 0
    assert found.chip.levels.cores < len(plan.tiles) and model.cluster is not None
    assert ("refresh" in set(table.component)) == (name == "isaac")
    for style in Style:
        assert all(seconds >= 0 for seconds in latencies_s(found, style).values())
