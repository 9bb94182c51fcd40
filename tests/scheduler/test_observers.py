"""What the engine shows its observers: traffic against a literal recount, residuals, and settling ticks."""

from __future__ import annotations

import torch
from chips import counter_of
from nets import conv, custom, linear
from torch import Tensor

from neurosim_ep.ep.network import Network, build_network
from neurosim_ep.hardware.chip.phases import Phase
from neurosim_ep.scheduler.observers import Observer, ResidualObserver
from neurosim_ep.scheduler.presentation import Phases, ep_gradients
from neurosim_ep.scheduler.relaxation_state import RelaxationState
from neurosim_ep.scheduler.schedule import Schedule
from neurosim_ep.telemetry.traffic import TrafficObserver

SAMPLES, FREE, NUDGE = 3, 7, 4


class Tape(Observer):
    """Keeps the states of every tick, each nudge phase apart."""

    def __init__(self) -> None:
        self.states: dict[Phase, list[list[Tensor]]] = {}

    def begin(self, relaxing: RelaxationState) -> None:
        for index, phase in enumerate(relaxing.phases):
            mine = [relaxing.state(layer)[index :: relaxing.copies].clone() for layer in range(relaxing.layers)]
            self.states.setdefault(phase, []).append(mine)


def small_network() -> Network:
    return build_network(custom(conv(3, pool="max"), conv(4, pool="max"), linear(6)), 3, (2, 8, 8), seed=1)


def present(network: Network, x: Tensor, *observers: Observer, threshold: float = 0.0) -> None:
    y, schedule = torch.tensor([0, 1, 2]), Schedule(thresholds=threshold)
    ep_gradients(
        network, x, y, Phases(free_steps=FREE, nudge_steps=NUDGE, beta=0.5, schedule=schedule), observers=observers
    )


def images() -> Tensor:
    return torch.randn(SAMPLES, 2, 8, 8, generator=torch.Generator().manual_seed(2))


def sent_events(states: list[list[Tensor]], last: list[Tensor], threshold: float) -> list[list[int]]:
    """Events per tick and layer by the rule: send when the state is over ``threshold`` from the last value sent."""
    counts = []
    for tick in states:
        row = []
        for layer, state in enumerate(tick):
            sent = (state - last[layer]).abs() > threshold
            last[layer] = torch.where(sent, state, last[layer])
            row.append(int(sent.sum()))
        counts.append(row)
    return counts


def test_events_follow_the_sigma_delta_rule() -> None:
    """In every phase; both nudge phases start from the values sent in the free phase."""
    network, threshold, tape = small_network(), 0.01, Tape()
    counter = counter_of(network)
    present(network, images(), tape, TrafficObserver(network, counter, images()), threshold=threshold)
    events = counter.result(SAMPLES).events
    last = [torch.zeros(SAMPLES, *shape) for shape in network.state_shapes]
    assert events["free"].tolist() == sent_events(tape.states[Phase.FREE], last, threshold)
    for phase in (Phase.NUDGE_PLUS, Phase.NUDGE_MINUS):
        assert events[phase].tolist() == sent_events(tape.states[phase], list(last), threshold)


def test_receivers_are_never_off_by_more_than_the_threshold() -> None:
    network, threshold = small_network(), 0.05

    class Checking(TrafficObserver):
        def begin(self, relaxing: RelaxationState) -> None:
            super().begin(relaxing)
            assert relaxing.senders is not None
            for layer in range(relaxing.layers):
                assert (relaxing.state(layer) - relaxing.senders.last[layer]).abs().max() <= threshold

    present(network, images(), Checking(network, counter_of(network), images()), threshold=threshold)


def test_clocked_reads_count_every_sample_tick_and_position() -> None:
    """The static input is read forward once per presentation and never backwards."""
    network = small_network()
    counter = counter_of(network)
    present(network, images(), TrafficObserver(network, counter, images()), threshold=0.01)
    counts, plan = counter.result(SAMPLES), counter.plan
    ticks = {"free": FREE, "nudge_plus": NUDGE, "nudge_minus": NUDGE}
    for phase, steps in ticks.items():
        for direction in ("forward", "transposed"):
            reads = counts.of(phase, "clocked", direction, "reads")
            for tile in plan.tiles:
                presentations = steps
                if tile.layer == 0:
                    presentations = int(phase == "free" and direction == "forward")
                assert reads[tile.index] == SAMPLES * presentations * tile.reuse
            assert (counts.of(phase, "event", direction, "reads") <= reads).all()


def test_residuals_are_the_largest_changes() -> None:
    network, tape, residual = small_network(), Tape(), ResidualObserver()
    present(network, images(), tape, residual)
    free = tape.states[Phase.FREE]
    curve = residual.curves()[Phase.FREE]
    assert curve.shape == (FREE, SAMPLES)
    for tick in range(FREE - 1):
        changes = [(b - a).abs().flatten(1).amax(1) for a, b in zip(free[tick], free[tick + 1], strict=True)]
        assert torch.equal(curve[tick], torch.stack(changes).amax(0))
