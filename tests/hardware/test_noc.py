"""The network on chip: senders and routes of a tile plan, trees on the mesh, placement."""

from __future__ import annotations

import numpy as np
import pytest
from chips import GEOMETRIES, random_counts
from hardware_models import load_hardware_model
from hypothesis import given, settings
from hypothesis import strategies as st

from neurosim_ep.hardware.chip.levels import Levels
from neurosim_ep.hardware.chip.messages import message_table, tick_bin
from neurosim_ep.hardware.chip.noc import Mesh, busiest
from neurosim_ep.hardware.chip.phases import READ_PHASES
from neurosim_ep.hardware.chip.placement import Placement, annealed, serpentine
from neurosim_ep.hardware.chip.projections import Projection
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.chip.routes import PORT, Route, Routes
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.tiles.mapping import ArrayGeometry, TilePlan, plan_tiles

RRAM = load_hardware_model("rram_32nm")
PLANS = [
    plan_tiles(GEOMETRIES, array)
    for array in (RRAM.array_geometry(), ArrayGeometry(32, 48, 2), ArrayGeometry(17, 5, 2), ArrayGeometry(100, 100, 1))
]


@pytest.mark.parametrize("plan", PLANS, ids=[f"{len(plan.tiles)} tiles" for plan in PLANS])
def test_senders_reach_the_tiles_that_hold_their_rows_and_columns(plan: TilePlan) -> None:
    for layer, geometry in enumerate(plan.geometries):
        number = plan.sender_of(layer)
        assert number.shape == geometry.out_shape
        channels = [sender for sender in plan.senders if sender.layer == layer]
        assert sum(sender.neurons for sender in channels) == geometry.neurons
        reached = np.vectorize(lambda n: len(plan.senders[n].destinations))(number)
        assert (reached == plan.event_destinations(layer)).all()
        for place in [(0,) * len(number.shape), tuple(size - 1 for size in number.shape)]:
            assert set(plan.senders[number[place]].destinations) == brute_destinations(plan, layer, place)
            home = plan.tiles[plan.senders[number[place]].home]
            first_column = place[0] * plan.array.cells_per_weight
            assert (home.layer, home.row_block, home.col_block) == (layer, 0, first_column // plan.array.columns)


def brute_destinations(plan: TilePlan, layer: int, neuron: tuple[int, ...]) -> set[int]:
    """Tiles with a row or column of a neuron, by walking over every row and column of both connections."""
    array, found = plan.array, set()
    if layer > 0:
        for cell in range(array.cells_per_weight):
            block = (neuron[0] * array.cells_per_weight + cell) // array.columns
            found |= {tile.index for tile in plan.tiles if tile.layer == layer and tile.col_block == block}
    if layer + 1 < len(plan.geometries):
        above, shape = plan.geometries[layer + 1], plan.geometries[layer].out_shape
        if above.kind == "linear":
            rows = [int(np.ravel_multi_index(neuron, shape))]
        else:
            rows = [tap * shape[0] + neuron[0] for tap in range(above.kernel[0] * above.kernel[1])]
        blocks = {row // array.rows for row in rows}
        found |= {tile.index for tile in plan.tiles if tile.layer == layer + 1 and tile.row_block in blocks}
    return found


def walk(place: Placement, source: int, destinations: tuple[int, ...]) -> set[tuple[int, int, int, int]]:
    """Links of the tree, step by step: along x first, then along y."""
    links = set()
    for tile in destinations:
        x, y = (0, 0) if source == PORT else (int(place.x[source]), int(place.y[source]))
        while x != place.x[tile]:
            step = 1 if place.x[tile] > x else -1
            links.add((x, y, x + step, y))
            x += step
        while y != place.y[tile]:
            step = 1 if place.y[tile] > y else -1
            links.add((x, y, x, y + step))
            y += step
    return links


@settings(max_examples=60)
@given(st.data())
def test_trees_are_the_union_of_the_paths(data: st.DataObject) -> None:
    tiles = data.draw(st.integers(1, 30))
    place = serpentine(tiles)
    number = st.integers(0, tiles - 1)
    wanted = data.draw(
        st.lists(st.tuples(st.integers(-1, tiles - 1), st.sets(number, min_size=1, max_size=6)), min_size=1)
    )
    routes = [Route("message", 0, source, tuple(sorted(tiles)), 1) for source, tiles in wanted]
    amounts = np.array(data.draw(st.lists(st.integers(0, 9), min_size=len(routes), max_size=len(routes))), np.int64)
    mesh = Mesh(place, routes)
    loads = mesh.loads(amounts)
    expected: dict[tuple[int, int, int, int], int] = {}
    for route, links, amount in zip(routes, mesh.links, amounts, strict=True):
        tree = walk(place, route.source, route.destinations)
        assert links == len(tree)
        for link in tree:
            expected[link] = expected.get(link, 0) + int(amount)
    directions = {"east": (1, 0), "west": (-1, 0), "south": (0, 1), "north": (0, -1)}
    for side, (dx, dy) in directions.items():
        for (y, x), load in np.ndenumerate(loads[side]):
            assert load == expected.pop((x, y, x + dx, y + dy), 0)
    assert not any(expected.values())
    assert sum(int(side.sum()) for side in loads.values()) == int((amounts * mesh.links).sum())
    assert busiest(loads) == max(int(side.max()) for side in loads.values())


@given(st.integers(1, 200))
def test_a_serpentine_keeps_neighbours_together(tiles: int) -> None:
    place = serpentine(tiles)
    assert len(set(zip(place.x.tolist(), place.y.tolist(), strict=True))) == tiles
    assert place.x.max() < place.width and place.y.max() < place.height
    assert place.width * (place.height - 1) < tiles <= place.width * place.height
    assert (np.abs(np.diff(place.x)) + np.abs(np.diff(place.y)) == 1).all()


def wire_cost(placement: Placement, pairs: np.ndarray, bits: np.ndarray) -> float:
    """``Σ bits · distance`` of the talking ``pairs``, what annealing makes small."""
    (a, b), x, y = pairs.T, placement.x, placement.y
    return float((bits * (np.abs(x[a] - x[b]) + np.abs(y[a] - y[b]))).sum())


def test_annealing_shortens_wires_and_repeats_itself() -> None:
    random = np.random.default_rng(0)
    tiles = 36
    pairs = np.column_stack([np.arange(tiles), random.permutation(tiles)])
    bits = random.integers(1, 1000, tiles)
    start, found = serpentine(tiles), annealed(tiles, pairs, bits)
    assert sorted(zip(found.x, found.y, strict=True)) == sorted(zip(start.x, start.y, strict=True))
    assert wire_cost(found, pairs, bits) < 0.6 * wire_cost(start, pairs, bits)
    again = annealed(tiles, pairs, bits)
    assert (again.x == found.x).all() and (again.y == found.y).all()
    alone = annealed(1, np.array([[0, 0]]), np.array([0]))
    assert (alone.x.tolist(), alone.y.tolist()) == ([0], [0])


@pytest.mark.parametrize("sizes", [(1, 1), (3, 1), (2, 2)], ids=["flat", "cores", "clusters"])
@pytest.mark.parametrize("plan", PLANS[:2], ids=["128 x 128", "32 x 48"])
def test_what_is_sent_equals_what_was_counted(plan: TilePlan, sizes: tuple[int, int]) -> None:
    levels = Levels(len(plan.tiles), *sizes)
    counts = random_counts(plan)
    signals = (Projection(1, 80, 80, direct=True, off_chip_bits=1283),)
    routes = Routes(plan, levels, signals)
    for phase in READ_PHASES:
        for style in Style:
            messages = routes.messages(counts, phase, style)
            of = {
                name: [n for n, route in enumerate(routes.all) if route.component == name]
                for name in ("message", "partial_sum", "input", "target")
            }
            fan = np.array([len(routes.all[n].destinations) for n in of["message"]])
            received = (messages[of["message"]] * fan).sum()
            if style is Style.EVENT:
                assert received == counts.messages[phase].sum()
            elif style is Style.CLOCKED:
                every = sum(plan.event_destinations(layer).sum() for layer in range(3))
                assert received == counts.samples * len(counts.presentations[phase]) * every
            if style is Style.SETTLING:
                assert messages[of["partial_sum"]].sum() == 0
            else:
                forward = counts.of(phase, style.accounting, "forward", "reads") * plan.outputs
                transposed = counts.of(phase, style.accounting, "transposed", "reads") * plan.rows
                above = transposed[plan.layer_of_tile > 0].sum()
                assert messages[of["partial_sum"]].sum() == forward.sum() + above
            inputs = messages[of["input"]] * np.array([len(routes.all[n].destinations) for n in of["input"]])
            assert inputs.sum() == counts.samples * plan.input_destinations(0).sum() * (phase == "free")
            bits = (messages * routes.message_bits(RRAM, style))[of["target"]].sum()
            assert bits == 1283 * counts.samples * (phase == "nudge_plus")


def test_the_message_table_conserves_what_is_sent() -> None:
    plan = PLANS[1]
    counts = random_counts(plan)
    recording = Recording.of(counts, plan, RRAM)
    table = message_table(recording)
    routes = recording.routes
    for phase in READ_PHASES:
        mine = table[table.phase == phase]
        sent = routes.messages(counts, phase, Style.EVENT)
        fan = np.array([len(route.destinations) for route in routes.all])
        assert mine.messages.sum() == (sent * fan).sum()
        assert mine.bits.sum() == (sent * fan * routes.message_bits(RRAM, Style.EVENT)).sum()
        by_tick = mine[mine.tick >= 0].groupby("tick").messages.sum()
        assert by_tick.to_dict() == dict(enumerate(counts.messages[phase].sum(1)))
    assert (table.src >= PORT).all() and (table.dst >= 0).all() and (table.messages > 0).all()
    assert [tick_bin(ticks) for ticks in (1, 50, 51, 400)] == [1, 1, 2, 8]


def test_an_annealed_chip_has_shorter_ways() -> None:
    plan = PLANS[1]
    counts = random_counts(plan)
    document = RRAM.model_copy(update={"noc": RRAM.noc.model_copy(update={"placement": "annealed"})})
    lengths = []
    for model in (RRAM, document):
        recording = Recording.of(counts, plan, model)
        bits = sum(recording.bits(phase, Style.EVENT) for phase in READ_PHASES)
        lengths.append(int((bits * recording.mesh.links).sum()))
    assert lengths[1] < lengths[0]
