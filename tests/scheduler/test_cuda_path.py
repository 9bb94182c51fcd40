"""What the scheduler does otherwise on a CUDA device, with stand-ins for what only such a device has: captured blocks,
late verdicts, batches that shrink in halves, streams and events.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from chips import counter_of
from cuda_stand_ins import Waits, capturing
from nets import double_signals
from presentations import POLICIES, by_name, deep_network, images, present
from torch import Tensor

from neurosim_ep.ep.arithmetic import tf32
from neurosim_ep.ep.edges import Connection
from neurosim_ep.ep.nudge import Nudge
from neurosim_ep.ep.signals import Objective
from neurosim_ep.ep.transfers import to_device
from neurosim_ep.experiment.device import select_device
from neurosim_ep.hardware.chip.counts import TileCounts
from neurosim_ep.hardware.chip.phases import Phase
from neurosim_ep.scheduler.engine import Engine, Relaxation
from neurosim_ep.scheduler.graphs import BlockGraphs
from neurosim_ep.scheduler.kernels import supported_precision
from neurosim_ep.scheduler.observers import ResidualObserver
from neurosim_ep.scheduler.presentation import EPGradients, free_phase
from neurosim_ep.scheduler.quiescence import Motion, StoppingCriterion
from neurosim_ep.scheduler.relaxation_state import RelaxationState
from neurosim_ep.scheduler.schedule import Schedule
from neurosim_ep.scheduler.sigma_delta import repeat_rows
from neurosim_ep.telemetry.traffic import TrafficObserver


def on(engine: Engine, x: Tensor, y: Tensor, **options: Any) -> EPGradients:
    return by_name(engine.network, x, y, free_steps=80, nudge_steps=20, beta=0.2, engine=engine, **options)


@pytest.mark.parametrize("policy", POLICIES)
def test_persistent_buffers_and_late_answers_give_the_same_states(policy: str) -> None:
    """Samples leave in halves, a block after they were found at rest."""
    network = deep_network()
    engine, blocks = capturing(network, Schedule(policy, 1e-8, 1e-5, thresholds=1e-12))
    plain = Schedule(policy, 1e-10, 1e-7, thresholds=1e-12)
    kept: list[tuple[EPGradients, list[Tensor]]] = []
    for shift in range(3):
        x, y = images(64)
        x, y = x.roll(shift, 0), y.roll(shift, 0)
        ours, theirs = on(engine, x, y), present(network, x, y, plain)
        assert len(ours.free_phase.ticks.unique()) > 1
        kept.append((ours, [state.clone() for state in ours.free]))
        for one, other in zip(ours.free, theirs.free, strict=True):
            assert (one - other).abs().max() <= 1e-6
        for name, grad in theirs.grads.items():
            assert (ours.grads[name] - grad).norm() <= 1e-3 * grad.norm(), name
    assert blocks.sizes >= {(64, 64), (64, 32)}
    for result, states in kept:  # later batches leave earlier results alone
        assert all(torch.equal(one, other) for one, other in zip(result.free, states, strict=True))


def nudged(engine: Engine, x: Tensor, y: Tensor, free: list[Tensor]) -> Relaxation:
    network, beta = engine.network, torch.tensor([0.2, -0.2]).double().repeat(len(x))
    nudge = Nudge(network, Objective(torch.nn.functional.one_hot(y, network.num_classes).double()), beta)
    starts = [repeat_rows(state, 2) for state in free]
    return engine.relax(
        network.input_drive(x)[0], starts, 20, (Phase.NUDGE_PLUS, Phase.NUDGE_MINUS),
        stop=StoppingCriterion.nudge_phase(1e-2, free, len(free)), nudge=nudge, senders=engine.senders(starts),
    )  # fmt: skip


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("check_every", [1, 4])
def test_ticks_and_motion_mean_the_same_on_every_device(policy: str, check_every: int) -> None:
    """A sample's ticks are those at which it was found at rest, however long it is computed after that."""
    network, (x, y) = deep_network(), images(64)
    schedule = Schedule(policy, 1e-6, check_every=check_every, thresholds=1e-12)
    (engine, blocks), plain = capturing(network, schedule), Engine(network, schedule)
    ours, theirs = (free_phase(network, x, 60, engine=one) for one in (engine, plain))
    assert torch.equal(ours.ticks, theirs.ticks) and len(ours.ticks.unique()) > 1
    assert torch.equal(ours.motion, theirs.motion)
    ours, theirs = (nudged(one, x, y, theirs.states) for one in (engine, plain))
    assert torch.equal(ours.ticks, theirs.ticks) and len(ours.ticks.unique()) > 1
    assert torch.equal(ours.motion, theirs.motion)
    assert (64, 32) in blocks.sizes


def test_a_sample_found_at_rest_is_settled_whatever_it_does_then() -> None:
    """Halving keeps it in the batch, where a later look may find a larger change than is allowed."""
    network, (x, _) = deep_network(), images(8)
    engine, _ = capturing(network, Schedule(tolerance=1e-3))

    class Disturbing(type(engine.policy)):  # type: ignore[misc]
        def step(self, relaxing: RelaxationState) -> None:
            super().step(relaxing)
            if relaxing.tick > 20:
                relaxing.change.fill_(1.0)

    engine.policy = Disturbing(network)
    end = free_phase(network, x, 60, engine=engine)
    assert end.ticks.unique().tolist() == [20, 60]
    assert ((end.motion == Motion.SETTLED).all(1) == (end.ticks < 60)).all()


def recorded(engine: Engine, x: Tensor, y: Tensor) -> tuple[TileCounts, ResidualObserver, EPGradients]:
    network = engine.network
    counter, residual = counter_of(network), ResidualObserver()
    result = on(engine, x, y, observers=[residual, TrafficObserver(network, counter, x)])
    return counter.result(len(y)), residual, result


@pytest.mark.parametrize("policy", POLICIES)
def test_recorded_batches_are_billed_alike_on_every_device(policy: str) -> None:
    network, (x, y) = deep_network(), images(40)
    schedule = Schedule(policy, 1e-5, 1e-3, thresholds=1e-6)
    (ours, our_residual, our_end), (theirs, their_residual, their_end) = (
        recorded(engine, x, y) for engine in (capturing(network, schedule)[0], Engine(network, schedule))
    )
    assert (ours.traffic == theirs.traffic).all() and (ours.update == theirs.update).all()
    for table in ("events", "messages", "presentations", "needed", "sends"):
        for phase, counts in getattr(theirs, table).items():
            assert (getattr(ours, table)[phase] == counts).all(), (table, phase)
    assert our_residual.active == their_residual.active
    assert torch.equal(our_end.nudge_phases.ticks, their_end.nudge_phases.ticks)
    assert len(their_end.free_phase.ticks.unique()) > 2


@pytest.mark.parametrize("policy", POLICIES)
def test_the_host_waits_for_verdicts_alone(policy: str) -> None:
    network, (x, y) = deep_network(), images(8)
    engine, blocks = capturing(network, Schedule(policy, 1e-18, 1e-18))
    free = free_phase(network, x, 40, engine=engine)
    with Waits() as waits:
        engine.relax(
            network.input_drive(x)[0], network.initial_states(8, "zeros"), 40, (Phase.FREE,),
            stop=StoppingCriterion.free_phase(1e-18), senders=engine.senders(free.states),
        )  # fmt: skip
        assert not waits.found
    with Waits() as waits:
        on(engine, x, y)
    assert set(waits.found) <= {"_local_scalar_dense"}  # the labels, which one_hot checks on the CPU alone
    assert len(blocks.keys) > 20


class Machine:
    """Stands for ``torch.cuda``: the current device and stream, the streams made, and whether a graph is captured."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failing: bool = False) -> None:
        self.device, self.stream, self.streams = 0, "default", 0
        self.captured: list[str] = []
        self.capturing, self.failing, self.replays = False, failing, 0
        for name in ("stream", "graph", "device"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, f"_{name}"))
        monkeypatch.setattr(torch.cuda, "Stream", self._made)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda: _Stream(self.stream))
        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: self)
        monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 1))
        monkeypatch.setattr(torch.cuda, "set_device", lambda device: setattr(self, "device", device.index))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    def _made(self, device: torch.device | None = None) -> _Stream:
        self.streams += 1
        return _Stream(f"stream {self.streams} of {self.device if device is None else device.index}")

    @contextmanager
    def _stream(self, stream: _Stream) -> Iterator[None]:
        before, self.stream = self.stream, stream.name
        try:
            yield
        finally:
            self.stream = before

    @contextmanager
    def _device(self, device: torch.device) -> Iterator[None]:
        before, self.device = self.device, device.index
        try:
            yield
        finally:
            self.device = before

    @contextmanager
    def _graph(self, graph: object, pool: object = None, stream: _Stream | None = None) -> Iterator[None]:
        """As PyTorch does it, a capture that fails leaves its stream current."""
        before, self.stream = self.stream, (stream or self._made()).name
        self.captured.append(self.stream)
        self.capturing = True
        try:
            yield
        finally:
            self.capturing = False
        if self.failing:
            raise RuntimeError("operation not permitted\nin a capture")
        self.stream = before

    def replay(self) -> None:
        self.replays += 1


class _Stream:
    def __init__(self, name: str) -> None:
        self.name = name

    def wait_stream(self, other: _Stream) -> None:
        pass


class Work:
    """A block of work, which a capture does not do."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.host, self.done = machine, 0, 0
        self.streams: list[str] = []

    def __call__(self) -> None:
        self.host += 1
        self.streams.append(self.machine.stream)
        if self.machine.capturing and self.machine.failing:
            self.host = -100
            raise RuntimeError("operation not permitted when stream is capturing")
        self.done += not self.machine.capturing


@pytest.mark.parametrize("failing", [False, True])
def test_a_block_is_done_once_and_leaves_the_callers_stream(monkeypatch: pytest.MonkeyPatch, failing: bool) -> None:
    machine = Machine(monkeypatch, failing)
    graphs, work = BlockGraphs(torch.device("cuda", 1)), Work(machine)
    for key in ("one", "another", "one"):
        graphs.run(key, work, work)
        assert machine.stream == "default"
    assert machine.streams == 1
    if failing:
        assert (work.done, work.host) == (3, 3)
        assert graphs.failure.startswith("operation not permitted") and "\n" not in graphs.failure
        assert machine.captured == ["stream 1 of 1"], "no further capture is tried"
        assert work.streams[2:] == ["default", "default"]
    else:
        assert (work.done, machine.replays, graphs.failure) == (2, 1, "")
        assert set(work.streams) == set(machine.captured) == {"stream 1 of 1"}
        assert work.host == 1, "a replay leaves what the first run of its block left"


@pytest.mark.parametrize("policy", POLICIES)
def test_a_failed_capture_changes_nothing(monkeypatch: pytest.MonkeyPatch, policy: str) -> None:
    network, (x, _) = deep_network(), images(6)
    machine = Machine(monkeypatch, failing=True)
    schedule = Schedule(policy, thresholds=1e-3)
    engine, plain = Engine(network, schedule), free_phase(network, x, 30, schedule=schedule)
    engine.graphs = BlockGraphs(torch.device("cuda", 0))
    step = engine.policy.step

    def halfway(relaxing: RelaxationState) -> None:
        if machine.capturing:
            relaxing.fresh, relaxing.step_over, relaxing.tick = [], False, relaxing.tick + 1
            raise RuntimeError("operation not permitted when stream is capturing")
        step(relaxing)

    monkeypatch.setattr(engine.policy, "step", halfway)
    end = free_phase(network, x, 30, engine=engine)
    assert "captured" in engine.notes[0]
    assert all(torch.equal(one, other) for one, other in zip(end.states, plain.states, strict=True))


def test_ticks_run_on_the_device_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    network, (x, _) = deep_network(), images(3)
    machine = Machine(monkeypatch)
    engine, _ = capturing(network, Schedule(tolerance=1e-6))
    engine.device = torch.device("cuda", 1)
    step, seen = engine.policy.step, set()

    def watched(relaxing: RelaxationState) -> None:
        seen.add(machine.device)
        step(relaxing)

    monkeypatch.setattr(engine.policy, "step", watched)
    free_phase(network, x, 20, engine=engine)
    assert seen == {1} and machine.device == 0


def test_the_chosen_device_becomes_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    assert select_device("cuda:1") == torch.device("cuda", 1) and machine.device == 1
    assert select_device("cuda") == torch.device("cuda") and machine.device == 1


def test_the_rest_of_a_data_set_lies_in_the_buffers_of_whole_batches() -> None:
    """It needs no graphs of its own, and each sample ends as in a batch of its own size."""
    network = deep_network()
    schedule = Schedule("alternating", 1e-6, 1e-4)
    engine, blocks = capturing(network, schedule)
    for samples in (64, 40, 64, 7, 64):
        x, y = images(samples)
        ours, theirs = on(engine, x, y), present(network, x, y, schedule)
        assert torch.equal(ours.free_phase.ticks, theirs.free_phase.ticks)
        assert torch.equal(ours.free_phase.motion, theirs.free_phase.motion)
        assert ours.nudge_phases.ticks.shape == (samples,)
        for one, other in zip(ours.free, theirs.free, strict=True):
            assert (one - other).abs().max() <= 1e-5
        for name, grad in theirs.grads.items():
            assert (ours.grads[name] - grad).norm() <= 1e-2 * grad.norm(), name
    assert {places for places, _ in blocks.sizes} == {64}
    assert {computed for _, computed in blocks.sizes} == {64, 32, 16}


def test_a_size_that_comes_again_gets_its_own_buffers() -> None:
    network = deep_network()
    engine, blocks = capturing(network, Schedule())
    for samples in (40, 20, 20, 40, 20):
        free_phase(network, images(samples)[0], 8, engine=engine)
    assert list(dict.fromkeys(blocks.keys)) == list(dict.fromkeys([*blocks.keys[:3], *blocks.keys[-3:]]))
    assert blocks.sizes == {(40, 40), (20, 20)}


def test_buffers_belong_to_one_set_of_signals() -> None:
    """An engine may serve batches with other signals, or none, one after the other."""
    network, (x, y) = deep_network(), images(6)
    engine, _ = capturing(network, Schedule())
    for signals in (double_signals(network, [0]), None, double_signals(network, [0], seed=1)):
        ours, theirs = on(engine, x, y, signals=signals), present(network, x, y, Schedule(), signals=signals)
        for name, grad in theirs.grads.items():
            assert (ours.grads[name] - grad).abs().max() <= 1e-9 * grad.abs().max().clamp(min=1e-3), name


def test_copies_to_a_cuda_device_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    empty = torch.empty

    def made(*shape: Any, pin_memory: bool = False, **options: Any) -> Tensor:
        asked.append(pin_memory)
        return empty(*shape, **options)

    def to(self: Tensor, *where: Any, **options: Any) -> Tensor:
        asked.append((*where, options))
        return self

    monkeypatch.setattr(torch, "empty", made)
    monkeypatch.setattr(Tensor, "to", to)
    device = torch.device("cuda", 1)
    assert to_device(torch.tensor([3, 1]), device).tolist() == [3, 1]
    assert asked == [True, (device, {"non_blocking": True})]


def rounding() -> tuple[bool, bool]:
    """Whether convolutions and matrix products may be rounded to TF32 now."""
    if hasattr(torch.backends.cudnn, "conv"):
        owners: tuple[Any, Any] = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)
        return owners[0].fp32_precision == "tf32", owners[1].fp32_precision == "tf32"
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


@pytest.fixture
def everything_rounded() -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.parametrize("precision", ["float32", "tf32"])
@pytest.mark.usefixtures("everything_rounded")
def test_only_ticks_are_rounded_to_tf32_whatever_the_process_does(
    monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    network, (x, y) = deep_network(), images(3)
    engine = Engine(network, Schedule())
    engine.precision = precision
    seen: dict[str, set[tuple[bool, bool]]] = {}

    def watch(owner: Any, name: str, kind: str) -> None:
        original = getattr(owner, name)

        def watched(*args: Any, **options: Any) -> Any:
            seen.setdefault(kind, set()).add(rounding())
            return original(*args, **options)

        monkeypatch.setattr(owner, name, watched)

    watch(network, "input_drive", "drive")
    watch(network, "logits", "logits")
    watch(Connection, "update", "update")
    watch(engine.policy, "step", "ticks")
    on(engine, x, y)
    assert seen.pop("ticks") == {(precision == "tf32", False)}
    assert seen == {kind: {(False, False)} for kind in ("drive", "logits", "update")}
    assert rounding() == (True, True)
    with tf32(False):
        assert rounding() == (False, False)
        with tf32(False, products=True):
            assert rounding() == (False, True)
        assert rounding() == (False, False)
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == (True, True)


def test_programs_may_use_either_of_pytorchs_settings() -> None:
    """PyTorch refuses to tell the older one once convolutions and recurrent layers differ in the newer one."""
    before = torch.backends.cudnn.conv.fp32_precision
    torch.backends.cudnn.conv.fp32_precision = "ieee"
    try:
        with tf32(True):
            assert rounding() == (True, False)
        assert torch.backends.cudnn.conv.fp32_precision == "ieee"
    finally:
        torch.backends.cudnn.conv.fp32_precision = before


@pytest.mark.parametrize(("capability", "given"), [((7, 5), "float32"), ((8, 0), None)])
def test_reduced_precision_needs_the_arithmetic_not_its_emulation(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], given: str | None
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *args, **options: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "some GPU")
    for precision in ("bfloat16", "tf32"):
        found, reason = supported_precision(precision, torch.device("cuda", 1))
        assert found == (given or precision)
        assert reason == (f"some GPU has no {precision} arithmetic" if given else "")
    assert supported_precision("float16", torch.device("cuda", 1)) == ("float16", "")
