"""Graphs with skips, strides and identities on tiles: messages, counts, bill, memory, traffic and traces."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from brute_force import BATCH, BruteForce, column_vectors, mask, route, row_vectors, sparse
from chips import TICKS, random_counts
from hypothesis import given, settings
from hypothesis import strategies as st
from new_run import new_run

from neurosim_ep.cli import main
from neurosim_ep.ep.network import Network, initialise
from neurosim_ep.errors import ScenarioError
from neurosim_ep.hardware.bill.cost import bill
from neurosim_ep.hardware.bill.latency import neuron_times_s
from neurosim_ep.hardware.bill.settling import settling_time_s
from neurosim_ep.hardware.bill.summary import Summary
from neurosim_ep.hardware.chip.counts import ACCOUNTINGS, DIRECTIONS, READ_QUANTITIES, TileCounts
from neurosim_ep.hardware.chip.levels import Levels
from neurosim_ep.hardware.chip.memory import ep_memory, memory_table
from neurosim_ep.hardware.chip.phases import READ_PHASES
from neurosim_ep.hardware.chip.recording import Chip, Recording
from neurosim_ep.hardware.chip.routes import PORT, Routes
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.file import read_model
from neurosim_ep.record.export.neurosim import LayerTrace
from neurosim_ep.record.export.packets import Unit, mean_sample
from neurosim_ep.record.recost import recost
from neurosim_ep.record.rundir import RunDirectory
from neurosim_ep.record.traffic import TrafficWriter, read_traffic
from neurosim_ep.scenario.schema import ConvertersSection, DeviceSection, HardwareSection
from neurosim_ep.scenario.topology import IMAGE, EdgePlan, LayerPlan
from neurosim_ep.telemetry.counters import TileCounter
from neurosim_ep.tiles.crossbar import Circuit
from neurosim_ep.tiles.mapping import ArrayGeometry, ConnectionGeometry, TilePlan, plan_tiles
from neurosim_ep.tiles.network_tiles import make_tiles
from neurosim_ep.tiles.pulsed_update import Devices, Term

FILE = read_model("rram_32nm")
MODEL = FILE.model
ARRAYS = [ArrayGeometry(9, 5, 2), ArrayGeometry(16, 6, 2, slices=2, input_pulses=3), ArrayGeometry(128, 128, 2)]
LOWER = EdgePlan(0, "conv", 3, 1, 1)
RESIDUAL = [
    LayerPlan("conv", 4),
    LayerPlan("conv", 4, edges=(LOWER,)),
    LayerPlan("conv", 4, edges=(EdgePlan(1, "conv", 3, 1, 1), EdgePlan(0, "identity"))),
    LayerPlan(
        "conv",
        4,
        edges=(
            EdgePlan(2, "conv", 3, 1, 1, "max"),
            EdgePlan(1, "identity", pool="max"),
            EdgePlan(0, "conv", 1, 2, 0),
            EdgePlan(2, "conv", 3, 2, 1),
        ),
    ),
    LayerPlan("linear", 5, edges=(EdgePlan(3, "linear"), EdgePlan(2, "linear"))),
    LayerPlan("linear", 5, edges=(EdgePlan(4, "linear"), EdgePlan(4, "identity"))),
]
"""Skips of every kind: identities with and without a pool, 1x1 and 3x3 with stride 2, linear; some are parallel."""


def network_of(plans: list[LayerPlan], image: tuple[int, ...] = (3, 6, 6)) -> Network:
    return Network(plans, "hard_sigmoid", "cross_entropy", 3, image)


def plan_of(network: Network, array: ArrayGeometry) -> TilePlan:
    return plan_tiles(
        [ConnectionGeometry.from_connection(one) for one in network.connections],
        array,
        [ConnectionGeometry.from_connection(one) for one in network.edges if one.kind == "identity"],
    )


@st.composite
def graphs(draw: st.DrawFn) -> Network:
    """Random layers of two or three channels, each driven by one to three edges, and a linear layer at the top."""
    sides, size = [5 + draw(st.booleans())], draw(st.integers(2, 3))
    plans = [LayerPlan("conv", size)]
    for layer in range(1, draw(st.integers(2, 4))):
        source = draw(st.integers(0, layer - 1))
        stride, pool = draw(st.sampled_from([(1, None), (2, None), (1, "max"), (1, "avg")]))
        edges = [EdgePlan(source, "conv", 3, stride, 1, pool)]
        side = (sides[source] - 1) // stride + 1
        side = side // 2 if pool else side
        for other in range(layer):
            possible = []
            if sides[other] == side:
                possible += [EdgePlan(other, "identity"), EdgePlan(other, "conv", 3, 1, 1)]
            if (sides[other] - 1) // 2 + 1 == side:
                possible += [EdgePlan(other, "conv", 1, 2, 0), EdgePlan(other, "conv", 3, 2, 1)]
            if sides[other] // 2 == side:
                possible += [EdgePlan(other, "identity", pool=draw(st.sampled_from(["max", "avg"])))]
            if possible and draw(st.booleans()):
                edges.append(draw(st.sampled_from(possible)))
        plans.append(LayerPlan("conv", size, edges=tuple(edges)))
        sides.append(side)
    below = draw(st.sets(st.integers(0, len(plans) - 1), min_size=1, max_size=2))
    plans.append(LayerPlan("linear", 3, edges=tuple(EdgePlan(source, "linear") for source in sorted(below))))
    return network_of(plans, (2, sides[0], sides[0]))


def brute_home(plan: TilePlan, layer: int, channel: int) -> int:
    """The tile that holds the first column of a channel in the first row of the first connection into its layer."""
    first = min(n for n, geometry in enumerate(plan.geometries) if geometry.target == layer)
    block = channel * plan.array.cells_per_weight // plan.array.columns
    (home,) = (t.index for t in plan.tiles if (t.connection, t.row_block, t.col_block) == (first, 0, block))
    return home


def brute_destinations(plan: TilePlan, layer: int, neuron: tuple[int, ...]) -> set[int]:
    """Tiles that an event must reach, cell by cell: rows of all taps at which some position, in an image without
    borders, reads the neuron, columns of its channel, and homes of its counterparts.
    """
    array, found = plan.array, set()
    for number, geometry in enumerate(plan.geometries):
        blocks: set[tuple[str, int]] = set()
        if geometry.source == layer and geometry.kind == "linear":
            row = int(np.ravel_multi_index(neuron, geometry.in_shape))
            blocks.add(("row", row // array.rows))
        elif geometry.source == layer:
            (channel, y, x), (tall, wide), step = neuron, geometry.kernel, geometry.stride
            for top, left in itertools.product(range(-12, 13), repeat=2):
                down, right = y + geometry.padding - step * top, x + geometry.padding - step * left
                if 0 <= down < tall and 0 <= right < wide:
                    row = (down * wide + right) * geometry.in_shape[0] + channel
                    blocks.add(("row", row // array.rows))
        if geometry.target == layer and geometry.source != IMAGE:
            for cell in range(array.cells_per_weight):
                blocks.add(("column", (neuron[0] * array.cells_per_weight + cell) // array.columns))
        mine = [tile for tile in plan.tiles if tile.connection == number]
        found |= {t.index for t in mine if ("row", t.row_block) in blocks or ("column", t.col_block) in blocks}
    for identity in plan.identities:
        for here, there in (identity.ends, identity.ends[::-1]):
            if here == layer:
                found.add(brute_home(plan, there, neuron[0]))
    return found


def messages_equal_brute_force(plan: TilePlan) -> None:
    for layer, (_, shape) in enumerate(plan.layers):
        number, reached = plan.sender_of(layer), plan.event_destinations(layer)
        assert number.shape == reached.shape == shape
        for neuron in np.ndindex(*shape):
            sender = plan.senders[number[neuron]]
            assert sender.layer == layer and sender.home == brute_home(plan, layer, neuron[0])
            assert set(sender.destinations) == brute_destinations(plan, layer, neuron)
            assert len(sender.destinations) == len(set(sender.destinations)) == reached[neuron]
        for place, sender in enumerate(plan.senders):
            assert sender.layer != layer or sender.neurons == (number == place).sum()


@pytest.mark.parametrize("array", ARRAYS)
def test_events_reach_the_tiles_of_every_edge(array: ArrayGeometry) -> None:
    messages_equal_brute_force(plan_of(network_of(RESIDUAL), array))


@settings(max_examples=25, deadline=None)
@given(graphs(), st.sampled_from(ARRAYS))
def test_events_reach_the_tiles_of_every_edge_of_random_graphs(network: Network, array: ArrayGeometry) -> None:
    messages_equal_brute_force(plan_of(network, array))


def test_a_strided_image_is_sent_where_it_is_read() -> None:
    plan = plan_of(network_of([LayerPlan("conv", 3, 1, 0, None, 2), LayerPlan("linear", 2)], (2, 5, 6)), ARRAYS[0])
    found = plan.input_destinations(0)
    read = np.zeros((5, 6), bool)
    read[::2, ::2] = True
    assert (found[:, read] == 2).all() and (found[:, ~read] == 0).all()  # two column blocks, one row block
    sent = [route for route in Routes(plan, Levels(len(plan.tiles))).all if route.component == "input"]
    assert sum(route.share * len(route.destinations) for route in sent) == found.sum()
    assert all(route.source == PORT and route.destinations for route in sent)


def counted(network: Network, plan: TilePlan, seed: int) -> tuple[TileCounts, BruteForce]:
    """Random states and events through every connection, counted and written out line by line."""
    torch.manual_seed(seed)
    counter, brute = TileCounter(plan, "cpu"), BruteForce(plan)
    for number, made in enumerate(network.connections):
        value, sent = sparse(made.in_shape), mask(made.in_shape)
        post, post_sent = sparse(made.out_shape), mask(made.out_shape)
        random = torch.randn(BATCH, *made.pre_pool_shape)
        routed, routed_sent = (route(made, state, random) for state in (post, post_sent))
        counter.forward(number, ["free"], counter.active(value, sent), sent)
        counter.transposed(number, ["free"], counter.active(post, post_sent), routed_sent)
        counter.update(number, value, routed)
        for accounting, (ins, outs) in zip(ACCOUNTINGS, ((value, routed), (sent, routed_sent)), strict=True):
            for sample in range(BATCH):
                rows = list(row_vectors(made, ins[sample].numpy()))
                columns = list(column_vectors(outs[sample].numpy(), plan.array.cells_per_weight))
                brute.read(number, "free", "forward", accounting, rows)
                brute.read(number, "free", "transposed", accounting, columns)
                if accounting == "clocked":
                    brute.update(number, rows, columns)
    for layer, (_, shape) in enumerate(plan.layers):
        counter.events(layer, ["free"], 0, mask(shape).sum(0, keepdim=True))
        counter.updated(layer, ["free"], 0, BATCH, torch.tensor([BATCH]))
    return counter.result(BATCH), brute


def counts_equal_brute_force(network: Network, array: ArrayGeometry, seed: int) -> None:
    plan = plan_of(network, array)
    counts, brute = counted(network, plan, seed)
    for (*key, quantity, tile), expected in brute.counts.items():
        assert counts.of(*key, quantity)[tile] == expected
    assert counts.traffic.sum() == sum(brute.counts.values())
    assert counts.updates("accumulate_adds").tolist() == [brute.adds[tile.index] for tile in plan.tiles]
    torch.manual_seed(seed)
    assert counts.events["free"].shape == counts.presentations["free"].shape == (1, len(plan.layers))
    fan = [len(sender.destinations) for sender in plan.senders]
    of_layer = np.zeros(len(plan.layers), int)
    np.add.at(of_layer, [sender.layer for sender in plan.senders], counts.sends["free"][0] * fan)
    assert of_layer.tolist() == counts.messages["free"][0].tolist()


@pytest.mark.parametrize("array", ARRAYS)
def test_counts_of_every_connection_equal_brute_force(array: ArrayGeometry) -> None:
    counts_equal_brute_force(network_of(RESIDUAL), array, 3)


@settings(max_examples=6, deadline=None)
@given(graphs(), st.sampled_from(ARRAYS[:2]), st.integers(0, 99))
def test_counts_of_random_graphs_equal_brute_force(network: Network, array: ArrayGeometry, seed: int) -> None:
    counts_equal_brute_force(network, array, seed)


def chain_and(*edges: EdgePlan) -> list[LayerPlan]:
    """Four convolutions in a row, and other edges from layer 0 or 1 into layer 2."""
    layers = [LayerPlan("conv", 20) for _ in range(4)]
    return [*layers[:2], LayerPlan("conv", 20, edges=(EdgePlan(1, "conv", 3, 1, 1), *edges)), layers[3]]


def priced(plans: list[LayerPlan]) -> Recording:
    plan = plan_of(network_of(plans, (3, 8, 8)), MODEL.array_geometry())
    return Recording.of(random_counts(plan), plan, MODEL)


def of_component(recording: Recording, component: str, tiles: bool = False) -> dict[tuple[str, int], float]:
    """Counts of a component per phase and layer, in clocked style, beside the tiles."""
    table = bill(recording, [Style.CLOCKED])
    mine = table[(table.component == component) & ((table.tile >= 0) == tiles)]
    return dict(Counter(mine.groupby(["phase", "layer"])["count"].sum().to_dict()))


@pytest.mark.parametrize("pool", [None, "max", "avg"])
def test_an_identity_costs_its_sums_pooling_routing_and_messages(pool: str | None) -> None:
    """The same counts, with and without the identity: the tiles are the same."""
    identity = EdgePlan(0, "identity", pool=pool)  # type: ignore[arg-type]
    plans = chain_and(identity)
    if pool:
        plans[2] = plans[2]._replace(edges=(EdgePlan(1, "conv", 3, 2, 1), identity))
    with_it = priced(plans)
    without = priced([*plans[:2], plans[2]._replace(edges=plans[2].edges[:1]), plans[3]])
    neurons, before = with_it.chip.neurons, [len(one.chip.plan.tiles) for one in (with_it, without)]
    assert before[0] == before[1]
    samples, outputs = 4, math.prod(with_it.chip.plan.layers[0].shape)
    for phase, ticks in TICKS.items():
        sums = of_component(with_it, "add")
        assert sums[phase, 2] == samples * ticks * neurons[2]  # of the drive
        assert sums[phase, 0] == samples * ticks * neurons[0]  # of the feedback
        assert set(sums) == {(name, layer) for name in TICKS for layer in (0, 2)}
        pooled = of_component(with_it, "pool").get((phase, 2), 0)
        assert pooled == (samples * ticks * outputs if pool else 0)
        routing = of_component(with_it, "register")[phase, 2] - of_component(without, "register")[phase, 2]
        assert routing == (2 * 2 * samples * ticks * neurons[2] if pool == "max" else 0)
        sent = [of_style(one, phase) for one in (with_it, without)]
        homes = {layer: with_it.chip.plan.home_tiles(layer) for layer in (0, 2)}
        assert sent[0] - sent[1] == extra_messages(without.chip.plan, homes, phase)
    assert of_component(without, "add") == {}


def of_style(recording: Recording, phase: str) -> int:
    """Messages received in a phase, clocked."""
    routes = recording.routes
    fan = np.array([len(route.destinations) for route in routes.all])
    kinds = np.array([route.component == "message" for route in routes.all])
    return int((routes.messages(recording.counts, phase, Style.CLOCKED) * fan)[kinds].sum())


def extra_messages(plan: TilePlan, homes: dict[int, np.ndarray], phase: str) -> int:
    """Clocked messages that an identity between layers 0 and 2 adds to those of the ``plan`` without it."""
    found = 0
    for here, there in ((0, 2), (2, 0)):
        number = plan.sender_of(here)
        for neuron in np.ndindex(*plan.layers[here].shape):
            found += int(homes[there][neuron[0]]) not in plan.senders[number[neuron]].destinations
    return 4 * TICKS[phase] * found


def test_a_connection_costs_its_tiles_reads_sums_and_partial_sums() -> None:
    added = priced(chain_and(EdgePlan(0, "conv", 3, 1, 1)))
    without = priced(chain_and())
    plan, counts = added.chip.plan, added.counts
    mine = plan.tile_range(3)
    assert [geometry.name for geometry in plan.geometries] == ["conv1", "conv2", "conv3", "conv3_from_conv1", "conv4"]
    table = bill(added, [Style.CLOCKED])
    lines = table[(table.tile >= mine.start) & (table.tile < mine.stop)]
    assert set(lines.layer) == {2} and set(lines.name) == {"conv3_from_conv1"}
    for phase in READ_PHASES:
        forward, back = (
            {name: counts.of(phase, "clocked", way, name)[mine] for name in READ_QUANTITIES} for way in DIRECTIONS
        )
        part = lines[lines.phase == phase].groupby("component")["count"].sum()
        cells = forward["active_lines"] * plan.columns[mine] + back["active_lines"] * plan.rows[mine]
        assert part["cell_read"] == cells.sum() * MODEL.array.slices.value * MODEL.array.input_pulses.value
        results = (forward["adc_conversions"] + back["adc_conversions"]).sum() * MODEL.conversions_per_result()
        assert part["adc"] == part["add"] == results
        sums = of_component(added, "add")
        assert sums[phase, 2] == sums[phase, 0] == 4 * TICKS[phase] * added.chip.neurons[2]
        routes = [
            (route, amount)
            for route, amount in zip(added.routes.all, added.routes.messages(counts, phase, Style.CLOCKED), strict=True)
            if route.component == "partial_sum" and mine.start <= route.source < mine.stop
        ]
        to = {2: forward["reads"] * plan.outputs[mine], 0: back["reads"] * plan.rows[mine]}
        for layer, expected in to.items():
            homes = set(plan.home_tiles(layer).tolist())
            assert sum(amount for route, amount in routes if set(route.destinations) <= homes) == expected.sum()
    assert of_component(without, "add") == {}
    slower = neuron_times_s(added, "free").max(0) / neuron_times_s(without, "free").max(0)
    assert slower[[0, 2]] == pytest.approx([2, 2], rel=0.05) and slower[1] == 1, "every further drive takes a turn"
    area = [one.chip.plan.tiles for one in (added, without)]
    assert len(area[0]) - len(area[1]) == math.prod(plan.grid(3))


def test_backpropagation_reads_every_connection_but_that_of_the_image_backwards() -> None:
    found = Summary(priced(chain_and(EdgePlan(0, "conv", 3, 1, 1), EdgePlan(0, "identity"))))
    for compared in found.comparisons:
        assert compared.backprop_J > 0 and compared.latency_s > 0
        assert 0 < compared.ticking_J < compared.energy_J or compared.style == "settling"
    assert found.style_rows() and found.chip_rows()


def test_the_longest_way_settles() -> None:
    chain, skipping = priced(chain_and()), priced(chain_and(EdgePlan(0, "identity")))
    assert settling_time_s(chain.chip) == settling_time_s(skipping.chip)
    beside = chain_and()
    beside[2] = beside[2]._replace(edges=(EdgePlan(0, "conv", 3, 1, 1),))
    beside[3] = beside[3]._replace(edges=(EdgePlan(1, "conv", 3, 1, 1), EdgePlan(2, "conv", 3, 1, 1)))
    assert settling_time_s(priced(beside).chip) == pytest.approx(3 / 4 * settling_time_s(chain.chip))
    cells = [
        (table[(table.component == "cell_read") & (table.tile < 0)])["count"].sum() / settling_time_s(one.chip)
        for one in (chain, skipping)
        for table in [bill(one, [Style.SETTLING])]
    ]
    assert cells == [0, pytest.approx(len(READ_PHASES) * 4 * 2 * 20 * 8 * 8)]  # one cell each way for every state


def test_memory_counts_connections_layers_and_pooled_edges() -> None:
    plan = plan_of(network_of(RESIDUAL, (3, 6, 6)), MODEL.array_geometry())
    digital = MODEL.digital
    state, wide = digital.state_bits.value, digital.accumulator_bits.value
    items = ep_memory(Chip(plan, MODEL))
    bits = Counter({name: 0 for name in {item.item for item in items}})
    for item in items:
        bits[item.item] += item.bits
    neurons = 3 * 4 * 36 + 4 * 9 + 5 + 5
    weights = 27 * 4 + 36 * 4 + 36 * 4 + (36 * 4 + 4 * 4 + 36 * 4) + (36 * 5 + 144 * 5) + 25
    assert bits["synapse cells"] == weights * MODEL.weight_bits()
    assert bits["biases"] == (3 * 4 + 3 * 4 + 2 * 5 + 5) * wide
    assert bits["state registers"] == bits["saved free state"] == neurons * state
    assert bits["routing"] == 2 * 2 * 36  # of a connection and of an identity
    routed = [(item.layer, item.name) for item in items if item.item == "routing"]
    assert routed == [(3, "conv4"), (3, "conv4_from_conv2")]
    names = [(item.layer, item.name) for item in items if item.item == "biases"]
    assert names == [(one.target, one.name) for one in plan.geometries]
    table = memory_table(Chip(plan, MODEL), free_steps=7, nudge_steps=3)
    stored = table[(table.method == "bptt_T") & (table.item == "stored states")]
    assert stored.bits.sum() == 7 * neurons * state and list(stored.layer) == list(range(6))


def recorded_run(path: Path) -> tuple[RunDirectory, TilePlan]:
    """A run of the residual network with two recorded batches."""
    plan = plan_of(network_of(RESIDUAL, (3, 6, 6)), MODEL.array_geometry())
    run = new_run(path, "residual")
    (path / "hardware.toml").write_text(FILE.to_toml())
    writer = TrafficWriter(path / "traffic.h5", plan, scenario_name="residual", seed=0, event_threshold=0)
    writer.append(1, [(0, random_counts(plan)), (1, random_counts(plan, seed=2))], {})
    run.update_run_json(status="done")
    return run, plan


def test_traffic_holds_the_graph_and_is_priced_again(tmp_path: Path) -> None:
    run, plan = recorded_run(tmp_path / "run")
    recorded = read_traffic(run.path / "traffic.h5")
    assert recorded.plan == plan
    assert recorded.plan.senders == plan.senders
    total = random_counts(plan) + random_counts(plan, seed=2)
    assert (recorded.counts.traffic == total.traffic).all()
    found, notes = recost(run.path, "rram_32nm")
    assert not notes
    expected = bill(Recording.of(total, plan, MODEL))
    assert found.bill.equals(expected)


def test_a_chain_is_kept_as_before(tmp_path: Path) -> None:
    """Fields that only graphs need are left out, so that its file stays readable for all."""
    layers = [LayerPlan("conv", 3), LayerPlan("conv", 3, stride=2), LayerPlan("linear", 2)]
    plan = plan_of(network_of(layers), ARRAYS[0])
    writer = TrafficWriter(tmp_path / "traffic.h5", plan, scenario_name="chain", seed=0, event_threshold=0)
    writer.append(1, [(0, random_counts(plan))], {})
    with h5py.File(tmp_path / "traffic.h5") as file:
        shapes = [json.loads(text) for text in file["layers/geometry"].asstr()[:]]
        assert "identities" not in file["layers"]
    assert [set(shape) & {"stride", "source", "target", "pool"} for shape in shapes] == [
        {"pool"}, {"pool", "stride"}, {"pool"},
    ]  # fmt: skip
    assert read_traffic(tmp_path / "traffic.h5").plan == plan


def test_traces_conserve_messages_and_bits(tmp_path: Path) -> None:
    run, plan = recorded_run(tmp_path / "run")
    counts = random_counts(plan) + random_counts(plan, seed=2)
    recording = Recording.of(counts, plan, MODEL)
    sample, routes, node = mean_sample(recording), recording.routes, recording.chip.levels.node_of
    bits = sum(int((phase.messages * sample.flows["bits"]).sum()) for phase in sample.phases)
    reached = [{int(node[tile]) for tile in route.destinations} for route in routes.all]
    home = [0 if route.source == PORT else int(node[route.source]) for route in routes.all]
    away = np.array([len(found - {start}) for found, start in zip(reached, home, strict=True)])
    width, expected = routes.message_bits(MODEL, Style.EVENT), 0
    for phase in sample.phases:
        sent = routes.messages(counts, phase.name, Style.EVENT)
        expected += (sent * width * away).sum()
        every = (sent * [len(found) for found in reached]).sum()
        assert phase.exported + phase.local == round(every / counts.samples)
    assert bits == pytest.approx(expected / counts.samples, rel=0.01)
    for form in ("booksim", "messages-csv", "noxim", "sonata"):
        assert main(["export", str(run.path), "--format", form, "--out", str(tmp_path / form)]) == 0
        document = json.loads((tmp_path / form / "export.json").read_text())
        found = mean_sample(recording, unit=Unit.PACKETS if form in ("booksim", "noxim") else Unit.MESSAGES)
        assert sum(phase[found.unit]["exported"] for phase in document["phases"]) == found.exported > 0


def test_neurosim_reads_the_windows_of_a_stride() -> None:
    made = network_of(RESIDUAL).connections[5]
    assert (made.stride, made.kind) == (2, "conv")
    torch.nn.init.normal_(made.weight)
    inputs = torch.rand(1, *made.in_shape)
    weight = made.weight.detach().numpy()
    trace = LayerTrace(ConnectionGeometry.from_connection(made), weight, weight, inputs[0].numpy(), signed=False)
    assert trace.network_row == (8, 8, 4, 3, 3, 4, 0, 2)  # with the padding
    result = trace.matrix(weight).T @ trace.windows
    expected = made.read(inputs, bias=False)[0].flatten(1)
    np.testing.assert_allclose(result, expected.numpy(), atol=1e-5)


def geometry(name: str, source: int, target: int, size: int = 4) -> ConnectionGeometry:
    shape = (4,)
    return ConnectionGeometry(name, "linear", shape, (size,), (size,), source=source, target=target)


@pytest.mark.parametrize(
    ("connections", "identities", "message"),
    [
        ([("a", -1, 0), ("b", -1, 1)], [], "b leads from layer -1 to layer 1"),
        ([("a", -1, 0), ("b", 0, 2)], [], r"drive the layers \[0, 2\]"),
        ([("a", -1, 0), ("b", 0, 2), ("c", 0, 1)], [], r"drive the layers \[0, 2, 1\]"),
        ([("a", -1, 0), ("b", 0, 1), ("c", 0, 1, 5)], [], r"c gives layer b the shape \(5,\), not \(4,\)"),
        ([("a", -1, 0), ("b", 0, 1)], [("i", 1, 1)], "i leads from layer 1 to layer 1"),
        ([("a", -1, 0), ("b", 0, 1)], [("i", 1, 2)], "i leads from layer 1 to layer 2"),
    ],
)
def test_edges_without_a_place_on_the_chip_are_refused(
    connections: list[tuple], identities: list[tuple], message: str
) -> None:
    made = [geometry(*one) for one in connections]
    others = [replace(geometry(*one), kind="identity") for one in identities]
    with pytest.raises(ScenarioError, match=message):
        plan_tiles(made, ARRAYS[0], others)


@pytest.mark.parametrize("cells", [1, 2])
def test_real_tiles_carry_every_edge(cells: int) -> None:
    """States of the network on tiles of many levels are those without; drivers have the bounds of the two ends."""
    own = ["relu6", "hard_sigmoid", "hard_tanh", "hard_sigmoid", "relu6", "hard_sigmoid"]
    ideal, real = (Network(RESIDUAL, own, "cross_entropy", 3, (3, 6, 6)) for _ in range(2))
    for network in (ideal, real):
        initialise(network, "kaiming_uniform", 1.0, 0)
    section = HardwareSection(converters=ConvertersSection(adc_bits=16, dac_bits=16, adc_range="absmax"))
    tiles = make_tiles(real, plan_of(real, ArrayGeometry(9, 6, cells)), section, Circuit(1e-5, 1.0), 0.0, 0)
    assert tiles is not None
    bounds = {number: one.bound for number, one in enumerate(real.activations)} | {IMAGE: None}
    for array, connection in zip(tiles.arrays, real.connections, strict=True):
        ends = (connection.source, connection.target)
        assert [driver.bound for driver in array.drivers.values()] == [bounds[end] for end in ends]
        assert [driver.signed for driver in array.drivers.values()] == [end in (IMAGE, 2) for end in ends]
    random = torch.Generator().manual_seed(0)
    for edge, held in zip(ideal.edges, real.edges, strict=True):
        pre, post = (torch.rand(2, *shape, generator=random) for shape in (edge.in_shape, edge.pre_pool_shape))
        torch.testing.assert_close(held.read(pre), edge.read(pre), atol=2e-3, rtol=0)
        torch.testing.assert_close(held.feedback(post), edge.feedback(post), atol=2e-3, rtol=0)


def test_devices_are_written_the_outer_products_of_every_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows and columns of a write hold what gives the update that the connection itself computes."""
    network = network_of(RESIDUAL)
    initialise(network, "kaiming_uniform", 1.0, 0)
    section = HardwareSection(device=DeviceSection(preset="Idealized", update="two_pass"))
    tiles = make_tiles(network, plan_of(network, ArrayGeometry(9, 6, 2)), section, Circuit(1e-5, 1.0), 0.0, 0)
    assert tiles is not None
    written: list[list[Term]] = []
    monkeypatch.setattr(Devices, "write_terms", lambda _, terms, rate, random: written.append(terms))
    random = torch.Generator().manual_seed(0)
    states, x = [torch.rand(2, *shape, generator=random) for shape in network.state_shapes], torch.rand(2, 3, 6, 6)
    tiles.write_terms(x, [(1, states)], [torch.tensor(0.1)] * len(network.connections))
    for (term,), array, made in zip(written, tiles.arrays, network.connections, strict=True):
        assert term.pre is (x if made.source == IMAGE else states[made.source])
        rows, columns = array.lines.on_rows(term.pre), array.lines.on_columns(term.routed)
        expected = made.update(term.pre, made.route(states[made.target], made(term.pre)[1]))[0]
        torch.testing.assert_close(array.lines.weight(rows.T @ columns), expected, atol=1e-4, rtol=1e-4)
