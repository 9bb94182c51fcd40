"""The scheduler: policies against each other, samples that leave at rest, and what neurons send."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import batch, conv, custom, double_network, double_signals, linear, random_states, random_teacher, sections
from presentations import POLICIES, deep_network, images, present
from torch import Tensor

from neurosim_ep.ep.network import Network, build_network, channels_last
from neurosim_ep.ep.signals import Errors
from neurosim_ep.scenario.schema import NetworkSection
from neurosim_ep.scheduler.engine import Engine, Relaxation
from neurosim_ep.scheduler.kernels import make_kernels, supported_precision
from neurosim_ep.scheduler.observers import Observer
from neurosim_ep.scheduler.presentation import EPGradients, Phases, ep_gradients, free_phase
from neurosim_ep.scheduler.quiescence import Motion
from neurosim_ep.scheduler.relaxation_state import RelaxationState
from neurosim_ep.scheduler.schedule import Schedule


class Tape(Observer):
    """Copies of all states after every tick, samples in the order of the batch."""

    def __init__(self) -> None:
        self.states: list[list[Tensor]] = []

    def end(self, relaxing: RelaxationState) -> None:
        self.states.append([state.clone() for state in relaxing.states])


def assert_same_bits(first: EPGradients, second: EPGradients) -> None:
    for name, grad in first.grads.items():
        assert torch.equal(grad, second.grads[name]), name
    assert first.plus is not None and second.plus is not None
    for one, other in zip([*first.free, *first.plus], [*second.free, *second.plus], strict=True):
        assert torch.equal(one, other)
    assert torch.equal(first.logits, second.logits)
    assert torch.equal(first.free_phase.ticks, second.free_phase.ticks)
    assert torch.equal(first.nudge_phases.ticks, second.nudge_phases.ticks)


@settings(max_examples=15, deadline=None)
@given(
    section=sections(),
    seed=st.integers(0, 2**16),
    tolerance=st.sampled_from([0.0, 1e-3]),
    rule=st.sampled_from(["contrastive", "stdp"]),
)
def test_event_policy_with_threshold_zero_is_synchronous(
    section: NetworkSection, seed: int, tolerance: float, rule: str
) -> None:
    network = double_network(section, seed=seed).float()
    signals = double_signals(network, [0], learned=True, seed=seed)
    assert signals is not None
    x, y = batch(network, 4, seed)
    both = {"tolerance": tolerance, "nudge_tolerance": 10 * tolerance}
    results = [
        ep_gradients(
            network, x.float(), y,
            Phases(free_steps=12, nudge_steps=6, beta=0.3, rule=rule, schedule=Schedule(policy, **both)),
            Errors(signals.float()),
        )
        for policy in ("synchronous", "event")
    ]  # fmt: skip
    assert_same_bits(*results)


@settings(max_examples=15, deadline=None)
@given(
    section=sections(),
    seed=st.integers(0, 2**16),
    threshold=st.sampled_from([1e-3, 0.02, 0.3]),
    tolerance=st.sampled_from([0.0, 1e-2]),
)
def test_receivers_are_never_off_by_more_than_the_threshold(
    section: NetworkSection, seed: int, threshold: float, tolerance: float
) -> None:
    network = double_network(section, seed=seed)
    x, y = batch(network, 3, seed)
    checked = []

    class Checking(Observer):
        def begin(self, relaxing: RelaxationState) -> None:
            for layer in range(relaxing.layers):
                error = (relaxing.state(layer) - relaxing.received(layer)).abs()
                assert float(error.max()) <= threshold
                checked.append(float(error.max()))

    ep_gradients(
        network,
        x,
        y,
        Phases(
            free_steps=10,
            nudge_steps=6,
            beta=0.3,
            schedule=Schedule("event", tolerance, tolerance, thresholds=threshold),
        ),
        observers=[Checking()],
    )
    assert checked


def test_thresholds_may_differ_by_layer() -> None:
    """With an infinite threshold above, the layer below relaxes as if there were no feedback."""
    network, (x, _) = deep_network("avg"), images(3)
    schedule = Schedule("event", thresholds=(0.0, 1e9, 0.0, 0.0))
    first = free_phase(network, x, 10, schedule=schedule).states[0]
    drive, _ = network.input_drive(x)
    assert torch.equal(first, drive.clamp(0, 1))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("pool", ["none", "avg"])
def test_alternating_retraces_a_synchronous_trajectory(pool: str, dtype: torch.dtype) -> None:
    """Even layers of odd ticks and odd layers of even ticks, bit for bit, where no argmax depends on a state."""
    network, (x, _) = deep_network(pool, dtype=dtype), images(4, dtype)
    tapes = {policy: Tape() for policy in ("synchronous", "alternating")}
    for policy, tape in tapes.items():
        free_phase(network, x, 10, schedule=Schedule(policy), observers=[tape])
    dense, ours = tapes["synchronous"].states, tapes["alternating"].states
    for tick in range(10):
        for layer in range(tick % 2, 4, 2):
            assert torch.equal(ours[tick][layer], dense[tick][layer]), (tick, layer)


@pytest.mark.parametrize("policy", POLICIES)
def test_every_tick_is_run_without_a_tolerance(policy: str) -> None:
    network, (x, y) = deep_network(), images(3)
    result = present(network, x, y, Schedule(policy, thresholds=1e-6))
    assert result.free_phase.ticks.tolist() == [80] * 3
    assert result.nudge_phases.ticks.tolist() == [20] * 3


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("check_every", [1, 3, 4])
def test_samples_at_rest_leave_and_the_result_is_the_same(policy: str, check_every: int) -> None:
    network, (x, y) = deep_network(), images(9)
    full = present(network, x, y, Schedule(policy))
    saved = present(network, x, y, Schedule(policy, 1e-9, 1e-6, check_every))
    ticks = saved.free_phase.ticks
    assert len(ticks.unique()) > 1 and int(ticks.max()) < 80
    assert (saved.residual <= 1e-9).all()
    assert (saved.free_phase.motion == Motion.SETTLED).all()
    assert full.plus is not None and saved.plus is not None
    for ours, theirs in zip([*saved.free, *saved.plus], [*full.free, *full.plus], strict=True):
        assert (ours - theirs).abs().max() <= 1e-7
    for name, grad in full.grads.items():
        assert (saved.grads[name] - grad).norm() <= 1e-4 * grad.norm(), name


def test_leaving_samples_do_not_disturb_the_others() -> None:
    """Each sample of a batch rests where it rests alone, at the same tick."""
    network, (x, _) = deep_network(), images(7)
    schedule = Schedule(tolerance=1e-6)
    together = free_phase(network, x, 80, schedule=schedule)
    for sample in range(7):
        alone = free_phase(network, x[sample : sample + 1], 80, schedule=schedule)
        assert alone.ticks[0] == together.ticks[sample]
        for ours, theirs in zip(alone.states, together.states, strict=True):
            torch.testing.assert_close(ours[0], theirs[sample], rtol=0, atol=1e-12)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("nudging", ["three_phase", "one_sided_plus"])
def test_stdp_equals_contrastive_under_every_policy(policy: str, nudging: str) -> None:
    network, (x, y) = deep_network(), images(6)
    signals = double_signals(network, [0, 2], learned=True)
    schedule = Schedule(policy, 1e-5, 1e-3, thresholds=1e-3)
    first, second = (
        present(network, x, y, schedule, signals=signals, rule=rule, nudging=nudging)
        for rule in ("contrastive", "stdp")
    )
    for name, grad in first.grads.items():
        assert (grad - second.grads[name]).abs().max() <= 1e-9 * grad.abs().max().clamp(min=1e-3), name


def test_samples_that_do_not_move_at_all_leave() -> None:
    """No input, no bias: every state is 0 for ever."""
    network = coupled_pair(0.5, 0.0)
    assert ending(network, "synchronous", 40).ticks.tolist() == [8]


def coupled_pair(coupling: float, bias: float) -> Network:
    """Two neurons that drive each other with ``coupling``, both with ``bias``; the input is not connected."""
    network = build_network(custom(linear(1), linear(1)), 2, (1, 1, 1), seed=0).double()
    for connection, weight in zip(network.connections, (0.0, coupling), strict=True):
        connection.weight.fill_(weight)
        connection.bias.fill_(bias)
    return network


def ending(network: Network, policy: str, steps: int) -> Relaxation:
    x = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    return free_phase(network, x, steps, schedule=Schedule(policy, tolerance=1e-6))


def test_oscillation_is_told_from_slowness() -> None:
    """Neurons that silence each other flip together for ever when updated at once, and settle when updated in turn."""
    rivals, lazy = coupled_pair(-3.0, 1.0), coupled_pair(0.995, 0.001)
    assert ending(rivals, "synchronous", 40).motion.tolist() == [[Motion.PERIOD_2] * 2]
    assert ending(rivals, "alternating", 40).motion.tolist() == [[Motion.SETTLED] * 2]
    for policy in ("synchronous", "alternating"):
        end = ending(lazy, policy, 200)
        assert end.motion.tolist() == [[Motion.SLOW] * 2]
        assert end.ticks.tolist() == [200] and float(end.residual) > 1e-6


def test_a_sweep_takes_the_error_to_the_first_layer() -> None:
    network, (x, y) = deep_network("avg"), images(3)
    result = ep_gradients(network, x, y, Phases(free_steps=60, nudge_steps=1, beta=0.2, schedule=Schedule("sweep")))
    assert result.plus is not None and result.minus is not None
    assert float((result.plus[0] - result.minus[0]).abs().max()) > 1e-9


@pytest.mark.parametrize("policy", ["synchronous", "alternating", "event"])
@pytest.mark.parametrize("layers", [3, 4])
def test_the_error_reaches_the_first_layer_in_as_many_ticks_as_there_are_layers(policy: str, layers: int) -> None:
    section = custom(*[linear(5)] * layers, weight_scale=0.7, activation="sigmoid")
    network, (x, y) = build_network(section, 4, (3, 12, 12), seed=5).double(), images(3)
    for ticks, reached in ((layers - 1, False), (layers, True)):
        result = ep_gradients(
            network,
            x,
            y,
            Phases(
                free_steps=200,
                nudge_steps=2 * (ticks // 2) if policy == "alternating" else ticks,
                beta=0.2,
                schedule=Schedule(policy),
            ),
        )
        if policy == "alternating" and ticks % 2:
            continue  # its phases have an even number of ticks
        moved = (result.plus[0] - result.minus[0]).abs().max()  # type: ignore[index]
        assert bool(moved > 1e-9) is reached


@pytest.mark.parametrize("tolerance", [1e-5, 2e-6])
def test_rounding_keeps_no_sample_from_being_found_at_rest(tolerance: float) -> None:
    """Near the end of float32 changes shrink no more; the states are those of phases that were never stopped."""
    network = build_network(custom(conv(128), conv(128, pool="max"), linear(16), weight_scale=1.0), 10, (3, 8, 8), 0)
    x = channels_last(torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(1)))
    found = free_phase(network, x, 100, feedback=0.3, schedule=Schedule(tolerance=tolerance))
    assert found.ticks.max() <= 32 and not found.motion.any()
    whole = free_phase(network, x, 100, feedback=0.3)
    for state, end in zip(found.states, whole.states, strict=True):
        torch.testing.assert_close(state, end, rtol=0, atol=10 * tolerance)


def test_a_vanishing_error_is_not_cut_off_by_the_tolerance() -> None:
    """Whatever its size, the displacement reaches the first layer and is measured to a part of itself."""
    network, (x, y) = deep_network("avg", scale=0.05), images(3)
    full, saved = (present(network, x, y, Schedule(tolerance=1e-9, nudge_tolerance=t)) for t in (0.0, 1e-2))
    assert int(saved.nudge_phases.ticks.max()) < 20
    first = full.grads["connections.0.weight"]
    assert 0 < float(first.abs().max()) < 1e-6
    assert float((saved.grads["connections.0.weight"] - first).norm() / first.norm()) < 0.05


@pytest.mark.parametrize("policy", POLICIES)
def test_the_same_bytes_every_time(policy: str) -> None:
    network, (x, y) = deep_network(dtype=torch.float32), images(8, torch.float32)
    schedule = Schedule(policy, 1e-4, 1e-2, thresholds=1e-3)
    assert_same_bits(present(network, x, y, schedule), present(network, x, y, schedule))


def test_kernels_read_as_the_connections_do() -> None:
    """Whatever the layout of the weights, for batches that take it and batches that do not."""
    section = custom(conv(5, 3, 1), conv(7, 2, 0, "max"), conv(6, 1, 1), conv(4, 3, 0, "avg"), linear(3))
    network = build_network(section, 2, (3, 9, 9), seed=2)
    random = torch.Generator().manual_seed(0)
    for samples in (1, 40):
        kernels = make_kernels(network, "float32")
        for _ in range(2):
            for connection, kernel in zip(network.connections, kernels, strict=True):
                pre = channels_last(torch.rand(samples, *connection.in_shape, generator=random))
                routed = channels_last(torch.rand(samples, *connection.pre_pool_shape, generator=random))
                z = (
                    torch.nn.functional.linear(pre.flatten(1), connection.weight, connection.bias)
                    if (connection.kind == "linear")
                    else torch.nn.functional.conv2d(pre, connection.weight, connection.bias, padding=connection.padding)
                )
                torch.testing.assert_close(kernel.forward(pre), z)
                torch.testing.assert_close(kernel.feedback(routed), connection.feedback(routed))
                connection.weight.mul_(0.5)
                kernel.refresh()


def test_reduced_precision_rounds_inside_convolutions_only() -> None:
    if supported_precision("bfloat16", torch.device("cpu"))[1]:
        pytest.skip("this processor computes no bfloat16 convolutions")
    network, (x, y) = deep_network(dtype=torch.float32), images(6, torch.float32)
    exact = present(network, x, y, Schedule(tolerance=1e-6))
    rounded = present(network, x, y, Schedule(tolerance=1e-6, precision="bfloat16"))
    assert all(state.dtype == torch.float32 for state in rounded.free)
    differences = [(a - b).abs().max() for a, b in zip(exact.free, rounded.free, strict=True)]
    assert 0 < max(differences) < 0.05


def test_a_precision_the_machine_lacks_is_said_and_replaced() -> None:
    assert supported_precision("float32", torch.device("cpu")) == ("float32", "")
    given, reason = supported_precision("tf32", torch.device("cpu"))
    assert given == "float32" and "CUDA" in reason
    engine = Engine(deep_network(dtype=torch.float32), Schedule(precision="tf32"))
    assert engine.notes == ["convolutions are computed in float32: tf32 is a format of CUDA devices"]


def test_given_states_are_not_changed() -> None:
    network, (x, y) = deep_network(), images(3)
    states = network.initial_states(3, "uniform", torch.Generator().manual_seed(1))
    before = [state.clone() for state in states]
    present(network, x, y, Schedule(tolerance=1e-6), states=states)
    assert all(torch.equal(one, other) for one, other in zip(before, states, strict=True))


def test_given_tensors_may_lie_in_memory_in_any_order() -> None:
    """Images, states and what a teacher shows in PyTorch's default layout instead of channels_last."""
    network, (x, y) = deep_network(), images(8)
    signals = double_signals(network, [0, 1], ["kd", "le"])
    states, teacher = random_states(network, 8), random_teacher(signals, 8)
    first, second = (
        present(
            network, arranged(x), y, Schedule(tolerance=1e-6, nudge_tolerance=1e-2), signals=signals,
            teacher={layer: arranged(shown) for layer, shown in teacher.items()},
            states=[arranged(state) for state in states],
        )
        for arranged in (channels_last, Tensor.contiguous)
    )  # fmt: skip
    assert first.nudge_phases.ticks.unique().tolist() != [20]
    assert_same_bits(first, second)
