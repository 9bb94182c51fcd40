"""Samples that begin where others have ended relax as in a batch of their own."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from cuda_stand_ins import Waits, capturing
from presentations import POLICIES, deep_network, images
from torch import Tensor

from neurosim_ep.ep.network import Network
from neurosim_ep.ep.seeds import Stream
from neurosim_ep.experiment.opening import Experiment
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.scheduler.engine import Engine, Relaxation
from neurosim_ep.scheduler.kernels import Kernel
from neurosim_ep.scheduler.presentation import free_phase, free_phases
from neurosim_ep.scheduler.quiescence import Motion
from neurosim_ep.scheduler.schedule import Schedule
from neurosim_ep.train import trainer as trainers
from neurosim_ep.train.trainer import Trainer

Batch = tuple[Tensor, Sequence[Tensor] | None]


def batches(network: Network, sizes: Sequence[int], *, uniform: bool = True) -> list[Batch]:
    """Images, a third of them weak, with random states to start from, or zeros."""
    x, _ = images(sum(sizes))
    x[::3] *= 0.1
    starts = network.initial_states(len(x), "uniform", torch.Generator().manual_seed(3))
    parts = [list(part) for part in zip(*(start.split(list(sizes)) for start in starts), strict=True)]
    return [(part, states if uniform else None) for part, states in zip(x.split(list(sizes)), parts, strict=True)]


def refilled(engine: Engine, given: Sequence[Batch], steps: int) -> tuple[Relaxation, list[int]]:
    """Ends of all samples in their order, and how many came at a time."""
    numbers, ends = zip(*free_phases(engine.network, given, steps, engine=engine), strict=True)
    order = torch.cat(numbers).argsort()
    states, received = (
        [torch.cat(layer)[order] for layer in zip(*(getattr(end, name) for end in ends), strict=True)]
        for name in ("states", "received")
    )
    rest = (torch.cat([getattr(end, name) for end in ends])[order] for name in ("change", "ticks", "motion"))
    assert torch.equal(torch.cat(numbers)[order], torch.arange(len(order)))
    return Relaxation(states, received, *rest), [len(found) for found in numbers]


def alone(engine: Engine, given: Sequence[Batch], steps: int, size: int = 1) -> Relaxation:
    """Every sample relaxed by itself, or with ``size`` - 1 others."""
    ends = [
        free_phase(engine.network, part, steps, None if states is None else [s[n] for s in parts], engine=engine)
        for x, states in given
        for parts in [[state.split(size) for state in states or ()]]
        for n, part in enumerate(x.split(size))
    ]
    layers = range(len(ends[0].states))
    names = ("states", "received")
    states, received = ([torch.cat([getattr(e, name)[n] for e in ends]) for n in layers] for name in names)
    return Relaxation(
        states, received, *(torch.cat([getattr(e, name) for e in ends]) for name in ("change", "ticks", "motion"))
    )


def assert_same(ours: Relaxation, theirs: Relaxation, within: float) -> None:
    assert torch.equal(ours.ticks, theirs.ticks)
    assert torch.equal(ours.motion, theirs.motion)
    for one, other in zip([*ours.states, *ours.received], [*theirs.states, *theirs.received], strict=True):
        assert (one - other).abs().max() <= within


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("check_every", [1, 3, 4, 10])
@pytest.mark.parametrize("steps", [2, 41, 60])
def test_every_sample_ends_as_alone(policy: str, check_every: int, steps: int) -> None:
    """Whether it is found at rest or has had all its ticks, also where looks do not divide them."""
    network = deep_network()
    engine = Engine(network, Schedule(policy, 1e-6, check_every=check_every, thresholds=1e-7))
    given = batches(network, [16, 16, 7], uniform=steps == 41)
    ours, groups = refilled(engine, given, steps)
    theirs = alone(engine, given, steps)
    assert_same(ours, theirs, 1e-12)
    torch.testing.assert_close(ours.change, theirs.change, atol=1e-12, rtol=0)
    assert len(groups) > 3 or steps == 2 or (ours.ticks.bincount() > 16).any()


@pytest.mark.parametrize("scale", [1.5, 2.0])
def test_every_kind_of_motion_is_told_as_alone(scale: float) -> None:
    network = deep_network(scale=scale)
    engine = Engine(network, Schedule(tolerance=1e-6))
    given = batches(network, [4, 16, 16, 7])
    ours, _ = refilled(engine, given, 60)
    assert_same(ours, alone(engine, given, 60), 1e-11)
    assert set(ours.motion.flatten().tolist()) == {0, 1, 2, 3}


class Coarse(Kernel):
    """Rounds what enters its reads to 11 bits."""

    def forward(self, pre: Tensor, bias: bool = True) -> Tensor:
        return super().forward(pre.half().double(), bias)

    def feedback(self, routed: Tensor) -> Tensor:
        return super().feedback(routed.half().double())


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("captures", [False, True])
def test_anchors_are_those_of_each_sample(policy: str, captures: bool) -> None:
    network, schedule = deep_network(), Schedule(policy, 1e-6, check_every=3, thresholds=1e-7)
    plain, engine = (
        Engine(network, schedule),
        capturing(network, schedule)[0] if captures else Engine(network, schedule),
    )
    for one in (plain, engine):
        one.precision, one.kernels = "float16", [Coarse(connection) for connection in network.connections]
    given = batches(network, [16, 16, 7])
    ours, groups = refilled(engine, given, 60)
    assert_same(ours, alone(plain, given, 60), 1e-5 if captures else 1e-12)
    assert len(groups) > 3


@pytest.mark.parametrize("policy", POLICIES)
def test_captured_blocks_are_refilled(policy: str) -> None:
    """On buffers that stay, after late answers; whoever has had all its ticks is not computed any further."""
    network = deep_network()
    schedule = Schedule(policy, 1e-6, check_every=3, thresholds=1e-7)
    (engine, blocks), plain = capturing(network, schedule), Engine(network, schedule)
    for sizes in ([64, 64, 64, 30], [40, 64], [9]):
        given = batches(network, sizes)
        ours, groups = refilled(engine, given, 34)
        theirs = alone(plain, given, 34, size=64)
        assert_same(ours, theirs, 1e-5)
        late = theirs.motion.amax(1) != Motion.SETTLED
        assert late.any() or sizes == [9] or policy == "sweep"  # after which all are at rest
        for one, other in zip(ours.states, theirs.states, strict=True):
            torch.testing.assert_close(one[late], other[late], atol=1e-12, rtol=0)
        assert len(groups) > 2 or len(sizes) == 1
    assert {places for places, _ in blocks.sizes} == {64}


def test_a_queue_is_not_waited_for() -> None:
    network = deep_network()
    engine, _ = capturing(network, Schedule(tolerance=1e-6))
    given = batches(network, [16, 16, 7])
    with Waits() as waits:
        assert sum(len(numbers) for numbers, _ in free_phases(network, given, 60, engine=engine)) == 39
    assert set(waits.found) <= {"lift_fresh"}  # lists of the host that are on their way to the device


def test_fewer_ticks_are_launched() -> None:
    """A batch is not kept waiting for its slowest samples."""
    network = deep_network(scale=1.0)
    given = batches(network, [64] * 3)
    ticks = []
    for parts in ([given], [[batch] for batch in given]):
        engine, blocks = capturing(network, Schedule(tolerance=1e-6))
        for part in parts:
            refilled(engine, part, 300)
        ticks.append(sum(places * steps for _, _, places, steps in blocks.keys))
    assert ticks[0] < 0.85 * ticks[1]


def test_nothing_waits_or_less_than_a_batch() -> None:
    network = deep_network()
    engine = Engine(network, Schedule(tolerance=1e-6))
    assert list(free_phases(network, [], 20, engine=engine)) == []
    (x, states), *_ = given = batches(network, [5])
    (numbers, end), *more = free_phases(network, given, 60, engine=engine)
    assert not more and numbers.tolist() == [*range(5)]
    assert_same(end, free_phase(network, x, 60, states, engine=engine), 0.0)
    ends = [end for _, end in free_phases(network, batches(network, [4, 3]), 0, engine=engine)]
    assert [end.ticks.tolist() for end in ends] == [[0] * 4, [0] * 3]


def test_real_tiles_draw_as_batch_by_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their random numbers belong to rows of a batch: all places are filled at once."""
    scenario = load_scenario("smoke_tiles", ["data.test_samples=60", "hardware.cells.read_noise=0.02"])
    monkeypatch.setattr(trainers, "TEST_BATCH", 24)
    made = Trainer(Experiment.open(scenario, device="cpu"))
    made.engine = Engine(made.model.network, Schedule(tolerance=0.5))
    assert made.model.tiles is not None
    made.model.tiles.begin(Stream.TEST_TILES, 0)
    given = list(made._tests())
    ours, groups = refilled(made.engine, given, 15)
    made.model.tiles.begin(Stream.TEST_TILES, 0)
    ends = [free_phase(made.model.network, x, 15, engine=made.engine) for x, _ in given]
    assert groups == [24, 24, 12]
    for layer, state in enumerate(ours.states):
        assert torch.equal(state, torch.cat([end.states[layer] for end in ends]))


@pytest.mark.parametrize("start", ["zeros", "uniform"])
def test_evaluation_is_that_of_its_batches(monkeypatch: pytest.MonkeyPatch, start: str) -> None:
    scenario = load_scenario(
        "smoke", ["data.test_samples=60", f"relaxation.state_init={start}", "relaxation.tolerance=1e-3"]
    )
    monkeypatch.setattr(trainers, "TEST_BATCH", 24)
    made = Trainer(Experiment.open(scenario, device="cpu"))
    network, steps = made.model.network, scenario.relaxation.free_steps
    free = [free_phase(network, x, steps, states, engine=made.engine).received for x, states in made._tests()]
    logits = torch.cat([network.logits(received) for received in free])
    found = made.evaluate()
    assert found.accuracy == float((logits.argmax(1) == made.test.labels).double().mean())
    signals = made.model.signals
    assert signals is not None and found.layer_accuracy
    for layer, accuracy in found.layer_accuracy.items():
        shown = torch.cat([signals.logits(layer, received[layer]) for received in free]).argmax(1)
        assert accuracy == float((shown == made.test.labels).double().mean())
