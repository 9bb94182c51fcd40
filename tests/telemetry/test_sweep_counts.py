"""What sweeps do on the tiles, with and without gains, against a literal loop; and what they cost in time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from brute_force import BruteForce, column_vectors, row_vectors
from nets import batch, conv, custom, double_network
from torch import Tensor

from neurosim_ep.ep.losses import one_hot, readout_nudge
from neurosim_ep.ep.network import Network
from neurosim_ep.hardware.bill.latency import latencies_s, read_times_s
from neurosim_ep.hardware.bill.writing import write_pulses
from neurosim_ep.hardware.chip.counts import ACCOUNTINGS, TileCounts
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.scenario.schema import EdgeSpec, LayerSpec
from neurosim_ep.scheduler.presentation import Phases, ep_gradients
from neurosim_ep.scheduler.schedule import Schedule
from neurosim_ep.telemetry.counters import TileCounter
from neurosim_ep.telemetry.traffic import TrafficObserver
from neurosim_ep.tiles.mapping import ArrayGeometry, ConnectionGeometry, TilePlan, plan_tiles
from neurosim_ep.train.estimate import estimate_given, estimate_measured

SAMPLES, FREE, NUDGE, THETA, BETA = 2, 3, 2, 0.02, 0.3
ARRAY = ArrayGeometry(rows=7, columns=5, cells_per_weight=2, slices=2, input_pulses=3)


def small_network() -> Network:
    """With max-pooling above the first layer, and a connection over two layers."""
    top = LayerSpec(kind="linear", size=4).model_copy(update={"edges": (EdgeSpec(layer=1), EdgeSpec(layer=0))})
    return double_network(
        custom(conv(3, pool="max"), conv(3, pool="max"), top, activation="hard_tanh", weight_scale=1.5), image=(2, 9, 9)
    )


class Literal:
    """Sweeps as they are defined, one phase at a time, and every line they drive."""

    def __init__(self, network: Network, x: Tensor, plan: TilePlan, gains: tuple[float, float]) -> None:
        self.network, self.x, self.plan, self.gains = network, x, plan, gains
        self.brute = BruteForce(plan)
        self.events: dict[str, list[list[int]]] = {}
        self.states = network.initial_states(SAMPLES, "zeros")
        self.last = [torch.zeros_like(state) for state in self.states]
        self.sent = [torch.zeros_like(state) for state in self.states]
        self.routing = [edge(x if edge.source < 0 else self.states[edge.source])[1] for edge in network.edges]

    def phase(self, name: str, sweeps: int, beta: float, onehot: Tensor) -> None:
        network, layers = self.network, self.network.layers
        free, self.events[name] = [state.clone() for state in self.states], []
        fixed = list(self.routing)
        if name == "free":
            self.read(0, name, "forward", self.x, self.x != 0)
        else:
            fixed = [e(self.x if e.source < 0 else free[e.source])[1] for e in network.edges]
        fresh, apart = list(range(layers)), name != "free" and self.gains[0] != self.gains[1]
        for layer in list(range(layers) if name == "free" else reversed(range(layers))) * sweeps:
            self.send(name, fresh)
            drive = torch.zeros_like(self.states[layer])
            for number in network.incoming[layer]:
                edge = network.edges[number]
                pre = self.x if number == 0 else self.states[edge.source]
                if number > 0:
                    self.read(number, name, "forward", pre, self.sent[edge.source])
                z = edge.read(pre)
                part, self.routing[number] = edge(pre)
                if apart and edge.pool and number > 0:
                    self.routing[number] = fixed[number]
                    part = z.flatten(2).gather(2, fixed[number].flatten(2)).view_as(part)
                drive = drive + part
            for number in network.outgoing[layer]:
                edge, post = network.edges[number], self.states[network.edges[number].target]
                power = 2 if edge.target - edge.source == 2 else 1
                gain, own = (value**power for value in self.gains)
                driven = gain * free[edge.target] + own * (post - free[edge.target]) if apart else gain * post
                routed, mask = (edge.route(v, self.routing[number]) for v in (driven, self.sent[edge.target]))
                self.read(number, name, "transposed", routed, mask)
                drive = drive + edge.feedback(routed)
            if layer == layers - 1 and beta:
                drive = drive + beta * readout_nudge(self.states[layer], network.readout, onehot)
            self.states[layer] = network.activations[layer].sigma_(drive)
            fresh = [layer]

    def send(self, name: str, fresh: list[int]) -> None:
        counts = [0] * self.network.layers
        for layer in fresh:
            self.sent[layer] = ((self.states[layer] - self.last[layer]).abs() > THETA).double()
            self.last[layer] = torch.where(self.sent[layer] > 0, self.states[layer], self.last[layer])
            counts[layer] = int(self.sent[layer].sum())
        self.events[name].append(counts)

    def read(self, number: int, name: str, direction: str, value: Tensor, sent: Tensor) -> None:
        connection = self.network.edges[number]
        for accounting, lines in zip(ACCOUNTINGS, (value, sent), strict=True):
            for sample in lines.double().numpy():
                found = row_vectors(connection, sample) if direction == "forward" else column_vectors(sample, 2)
                self.brute.read(number, name, direction, accounting, list(found))


@pytest.mark.parametrize("gains", [(1.0, 1.0), (0.3, 0.3), (0.3, 1.0)])
def test_sweeps_equal_a_literal_loop(gains: tuple[float, float]) -> None:
    """A sweep has a moment per layer; each connection is read once forwards and once backwards in it."""
    network = small_network()
    x, y = batch(network, SAMPLES, 3)
    plan = plan_tiles([ConnectionGeometry.from_connection(edge) for edge in network.edges], ARRAY)
    counter, onehot = TileCounter(plan, "cpu"), one_hot(y, network.num_classes, x)
    result = ep_gradients(
        network,
        x,
        y,
        Phases(
            free_steps=FREE,
            nudge_steps=NUDGE,
            beta=BETA,
            feedback=gains[0],
            nudge_feedback=gains[1],
            schedule=Schedule("sweep", thresholds=THETA),
        ),
        observers=[TrafficObserver(network, counter, x)],
    )
    counts, literal = counter.result(SAMPLES), Literal(network, x, plan, gains)
    literal.phase("free", FREE, 0.0, onehot)
    start, last, sent, routing = literal.states, literal.last, literal.sent, literal.routing
    for name, beta, ours in (("nudge_plus", BETA, result.plus), ("nudge_minus", -BETA, result.minus)):
        literal.states, literal.last = [s.clone() for s in start], [s.clone() for s in last]
        literal.sent, literal.routing = [s.clone() for s in sent], list(routing)
        literal.phase(name, NUDGE, beta, onehot)
        assert ours is not None
        for state, expected in zip(ours, literal.states, strict=True):
            torch.testing.assert_close(state, expected, rtol=0, atol=1e-12)
    for (*key, quantity, tile), expected in literal.brute.counts.items():
        assert counts.of(*key, quantity)[tile] == expected, (key, quantity, tile)
    assert counts.traffic.sum() == sum(literal.brute.counts.values())
    for name, sweeps in (("free", FREE), ("nudge_plus", NUDGE), ("nudge_minus", NUDGE)):
        assert counts.events[name].tolist() == literal.events[name]
        turns = np.eye(network.layers, dtype=int)[:: 1 if name == "free" else -1]
        assert (counts.presentations[name] == SAMPLES * np.tile(turns, (sweeps, 1))).all()
        for tile in plan.tiles:
            for way in ("forward", "transposed"):
                once = name == "free" and way == "forward"
                times = sweeps if tile.connection else int(once)
                assert counts.of(name, "clocked", way, "reads")[tile.index] == SAMPLES * times * tile.reuse


@pytest.mark.parametrize("gains", [(0.3, None), (0.3, 0.5)])
def test_samples_that_leave_are_counted_no_longer(gains: tuple[float, float | None]) -> None:
    """The counts of a batch are the sum of those of its samples alone."""
    network, samples = small_network(), 12
    x, y = batch(network, samples, 4)
    x *= torch.linspace(0.05, 1.5, samples, dtype=torch.float64).view(-1, 1, 1, 1)
    plan = plan_tiles([ConnectionGeometry.from_connection(edge) for edge in network.edges], ARRAY)

    def counted(places: slice) -> TileCounts:
        counter = TileCounter(plan, "cpu")
        result = ep_gradients(
            network,
            x[places],
            y[places],
            Phases(
                free_steps=40,
                nudge_steps=8,
                beta=BETA,
                feedback=gains[0],
                nudge_feedback=gains[1],
                schedule=Schedule("sweep", 1e-3, 1e-2, check_every=1, thresholds=THETA),
            ),
            observers=[TrafficObserver(network, counter, x[places])],
        )
        ticks.append(result.free_phase.ticks)
        return counter.result(len(y[places]))

    ticks: list[Tensor] = []
    alone = sum((counted(slice(n, n + 1)) for n in range(1, samples)), counted(slice(0, 1)))
    together = counted(slice(samples))
    assert len(ticks[-1].unique()) > 2
    assert (together.traffic == alone.traffic).all()
    for table in ("events", "messages", "presentations", "needed", "sends"):
        for phase, counts in getattr(together, table).items():
            assert (counts == getattr(alone, table)[phase]).all(), (table, phase)


def test_continual_writing_takes_one_product_per_sweep() -> None:
    """As per tick of layers that are updated side by side, though a sweep has a moment for each layer."""
    pulses = []
    for policy in ("sweep", "synchronous"):
        scenario = load_scenario("smoke", (*SWEEPS[1:], f"scheduler.policy={policy}"))
        recording = estimate_given(scenario, 0.5, 0.1, 10, (3, 32, 32)).recording
        model = recording.chip.model
        write = model.write.model_copy(update={"scheme": "continual"})
        chip = replace(recording.chip, model=model.model_copy(update={"write": write}))
        pulses.append(write_pulses(replace(recording, chip=chip)))
    np.testing.assert_allclose(pulses[0], pulses[1])
    assert pulses[0].sum() > 0


SWEEPS = ("scheduler.policy=sweep", "relaxation.free_steps=3", "relaxation.nudge_steps=1", "data.train_samples=16")


def test_the_layers_of_a_sweep_take_their_time_one_after_the_other() -> None:
    """A tick of all layers side by side takes as long as its slowest tile; a sweep the sum of those of its layers."""
    sweep, synchronous = (
        estimate_measured(load_scenario("smoke", sets), 4, "cpu").recording
        for sets in (SWEEPS, ("scheduler.policy=synchronous", *SWEEPS[1:]))
    )
    layers = sweep.counts.presentations["free"].shape[1]
    for phase, sweeps in (("free", 3), ("nudge_plus", 1)):
        ours, theirs = (read_times_s(one, phase, Style.CLOCKED) for one in (sweep, synchronous))
        assert len(ours) == layers * sweeps and len(theirs) == sweeps
        np.testing.assert_allclose(ours.sum(0), theirs.sum(0))  # the same reads of the same tiles
        side_by_side, one_by_one = theirs.max(1).sum(), ours.max(1).sum()
        assert side_by_side < one_by_one <= theirs.sum()
    times = [latencies_s(one, Style.CLOCKED)["nudge_plus"] for one in (sweep, synchronous)]
    assert times[0] > times[1]


def test_a_given_activity_takes_the_ticks_of_sweeps() -> None:
    scenario = load_scenario("smoke", SWEEPS)
    given = estimate_given(scenario, 0.5, 0.1, 10, (3, 32, 32)).recording.counts
    measured = estimate_measured(scenario, 16, "cpu").recording.counts
    for phase in ("free", "nudge_plus", "nudge_minus"):
        ratio = given.samples / measured.samples
        assert (given.presentations[phase].sum(0) == measured.presentations[phase].sum(0) * ratio).all()
        assert given.presentations[phase].shape == measured.presentations[phase].shape
        assert ((given.events[phase] > 0) == (given.presentations[phase] > 0)).all()
        for way in ("forward", "transposed"):
            assert (
                given.of(phase, "clocked", way, "reads") == measured.of(phase, "clocked", way, "reads") * ratio
            ).all()
