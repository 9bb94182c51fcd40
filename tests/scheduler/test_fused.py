"""The fused passes agree with PyTorch's operations bit for bit: on CUDA, or in Triton's interpreter on the CPU."""

from __future__ import annotations

import math

import pytest
import torch
from nets import batch, conv, custom, linear
from torch import Tensor

from neurosim_ep.ep.activations import HARD_SIGMOID, RELU, Clip
from neurosim_ep.ep.network import build_network, channels_last
from neurosim_ep.ep.primitive import pool_adjoint, pool_forward
from neurosim_ep.registry import ACTIVATIONS
from neurosim_ep.scheduler.engine import Engine
from neurosim_ep.scheduler.fused.check import passes_agree, trusted_passes
from neurosim_ep.scheduler.fused.passes import FusedPasses
from neurosim_ep.scheduler.presentation import Phases, ep_gradients
from neurosim_ep.scheduler.rows import memory_rows
from neurosim_ep.scheduler.schedule import Schedule

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SHAPES = [
    (1, 5, 2, 2),
    (3, 7, 6, 4),
    (2, 8, 5, 7),
    (2, 3, 4, 1),
    (1, 1, 3, 3),
    (4, 130, 2, 2),
    (2, 64, 16, 32),
    (0, 4, 4, 4),
]
WRITTEN = list(filter(FusedPasses.writes, ACTIVATIONS.own.values()))


@pytest.fixture(scope="module")
def passes() -> FusedPasses:
    """The passes, interpreted where there is no CUDA (tests/conftest.py)."""
    pytest.importorskip("triton", reason="Triton is not installed (it comes with CUDA builds of PyTorch)")
    return FusedPasses()


def maps(*shape: int, seed: int = 0, values: int = 5) -> Tensor:
    """Maps with few different values, so that windows have ties."""
    random = torch.Generator().manual_seed(seed)
    return channels_last(torch.randint(-values, values, shape, generator=random) / 3).to(DEVICE)


def pooled_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:2], shape[2] // 2, shape[3] // 2)


def rounded(states: Tensor, dtype: torch.dtype) -> Tensor:
    """States that are exact in ``dtype`` where Triton's interpreter runs, as it cuts bfloat16 off."""
    return states if DEVICE == "cuda" else states.to(dtype).float()


def same(one: Tensor, other: Tensor) -> bool:
    """Bit for bit, NaN being NaN."""
    return torch.equal(one.isnan(), other.isnan()) and torch.equal(one.nan_to_num(), other.nan_to_num())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", SHAPES)
def test_pool_and_route_is_max_pool_and_unpool(passes: FusedPasses, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    z, post, other = maps(*shape).to(dtype), *(rounded(maps(*pooled_shape(shape), seed=s), dtype) for s in (1, 2))
    pooled, routed, code = passes.pool_and_route(z, post)
    theirs, routing = pool_forward(z.float(), "max") if z.numel() and post.numel() else (post.clone(), None)
    expected = torch.zeros_like(z) if routing is None else pool_adjoint(post, routing, "max", shape[1:]).to(dtype)
    assert same(pooled, theirs) and pooled.dtype == torch.float32
    assert same(routed, expected) and routed.dtype == dtype
    assert routed.is_contiguous(memory_format=torch.channels_last)
    assert code is not None and code.dtype == torch.uint8
    later = passes.route(other, code, shape[1:], dtype)
    expected = torch.zeros_like(z) if routing is None else pool_adjoint(other, routing, "max", shape[1:]).to(dtype)
    assert same(later, expected)


def test_the_first_of_equal_values_is_the_largest(passes: FusedPasses) -> None:
    z, post = torch.zeros(1, 1, 2, 2, device=DEVICE), torch.ones(1, 1, 1, 1, device=DEVICE)
    assert passes.pool_and_route(z, post)[1].flatten().tolist() == [1, 0, 0, 0]
    z[0, 0, 1] = 1
    assert passes.pool_and_route(z, post)[1].flatten().tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf, -0.0])
def test_numbers_out_of_the_ordinary_pool_as_in_pytorch(passes: FusedPasses, special: float) -> None:
    z, post = maps(3, 6, 6, 5), maps(3, 6, 3, 2, seed=1)
    z[maps(*z.shape, seed=3) < -0.4] = special
    pooled, routed, _ = passes.pool_and_route(z, post)
    theirs, routing = pool_forward(z, "max")
    assert same(pooled, theirs)
    assert same(routed, pool_adjoint(post, routing, "max", (6, 6, 5)))


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if math.prod(pooled_shape(shape))])
def test_average_pooling_spreads_evenly(passes: FusedPasses, shape: tuple[int, ...]) -> None:
    z, post = maps(*shape), maps(*pooled_shape(shape), seed=1)
    pooled, routed, code = passes.pool_and_route(z, post, "avg")
    assert same(pooled, pool_forward(z, "avg")[0])
    assert same(routed, pool_adjoint(post, None, "avg", shape[1:]))
    assert code is None
    assert same(passes.route(post, None, shape[1:]), routed)


@pytest.mark.parametrize("pool", ["max", "avg"])
def test_bias_is_added_before_pooling(passes: FusedPasses, pool: str) -> None:
    """Also where rounding makes equal what differed without it."""
    z = 1 + 1e-7 * maps(2, 6, 4, 6, values=9)
    bias, post = torch.linspace(-3e3, 3e3, 6, device=DEVICE), maps(2, 6, 2, 3, seed=1)
    pooled, routed, _ = passes.pool_and_route(channels_last(z), post, pool, bias)
    theirs, routing = pool_forward(z + bias[:, None, None], pool)
    assert same(pooled, theirs)
    assert same(routed, pool_adjoint(post, routing, pool, (6, 4, 6)))


@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("activation", WRITTEN, ids=lambda activation: activation.name)
@pytest.mark.parametrize("shape", [(5, 3, 3), (512, 1, 1), (40,), (70, 8, 4)])
def test_write_state_is_add_activate_copy_and_change(
    passes: FusedPasses, shape: tuple[int, ...], activation: Clip, copies: int
) -> None:
    rows, random = 3 * copies, torch.Generator().manual_seed(0)
    made = (torch.randn(count, *shape, generator=random) for count in (rows, rows, rows, 3))
    state, forward, feedback, shared = (channels_last(value).to(DEVICE) for value in made)
    bias = torch.randn(shape[0], generator=random).to(DEVICE)
    changes = torch.full((rows, 4), -1.0, device=DEVICE)
    for drives, constant, added in (
        ([forward], None, None), ([forward, feedback], None, None), ([forward, feedback], None, bias),
        ([feedback], shared, None),
    ):  # fmt: skip
        drive = drives[0].clone()
        if added is not None:
            drive += added.view(-1, *(1,) * (len(shape) - 1))
        for other in drives[1:]:
            drive += other
        if constant is not None:
            drive += constant.repeat_interleave(copies, 0)
        new, ours = activation.sigma_(drive), state.clone()
        passes.write_state(activation, ours, drives, shared=constant, bias=added, change=changes[:, 2])
        assert same(ours, new)
        assert same(changes[:, 2], memory_rows((state - new).abs()).amax(1))
        assert bool((changes[:, [0, 1, 3]] == -1).all())


def test_a_state_that_is_no_number_is_a_change_that_is_none(passes: FusedPasses) -> None:
    state, drive = torch.zeros(2, 600, device=DEVICE), torch.ones(2, 600, device=DEVICE)
    change = torch.zeros(2, device=DEVICE)
    drive[1, 300] = math.nan
    passes.write_state(HARD_SIGMOID, state, [drive], change=change)
    assert change[0] == 1 and bool(change[1].isnan())
    assert int(state.isnan().sum()) == 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_drives_of_16_bits_are_taken_as_exact(passes: FusedPasses, dtype: torch.dtype) -> None:
    forward, feedback = maps(2, 4, 50, 1)[..., 0].to(dtype).contiguous()
    state = torch.zeros(4, 50, device=DEVICE)
    passes.write_state(RELU, state, [forward, feedback])
    assert same(state, (forward.float() + feedback.float()).clamp(min=0))


def test_only_the_first_rows_of_a_buffer_are_written(passes: FusedPasses) -> None:
    buffer, drive = maps(6, 3, 4, 4), maps(4, 3, 4, 4, seed=1)
    last = buffer[4:].clone()
    passes.write_state(RELU, buffer[:4], [drive])
    assert same(buffer[:4], drive.clamp(min=0)) and same(buffer[4:], last)


def test_maps_in_other_memory_are_refused(passes: FusedPasses) -> None:
    z, post = maps(2, 3, 4, 4), maps(2, 3, 2, 2)
    with pytest.raises(ValueError, match="channels_last"):
        passes.pool_and_route(z.contiguous(), post)
    with pytest.raises(ValueError, match="float64"):
        passes.write_state(RELU, post.double(), [post])
    with pytest.raises(ValueError, match="does not belong"):
        passes.route(post, None, (3, 6, 4))


def test_without_cuda_there_are_no_passes() -> None:
    assert not FusedPasses.available(torch.device("cpu"))


@pytest.mark.parametrize("policy", ["synchronous", "alternating", "event"])
@pytest.mark.parametrize("pool", ["max", "avg"])
def test_a_presentation_is_the_same_bit_for_bit(passes: FusedPasses, policy: str, pool: str) -> None:
    """Free phase with samples that leave, both nudge phases of all layers, and gradients."""
    section = custom(conv(4, 3, 1, pool), conv(6, 3, 1), conv(5, 3, 1, pool), linear(7))
    network = build_network(section, 3, (2, 10, 9), seed=1).to(DEVICE)
    x, y = (value.to(DEVICE) for value in batch(network.cpu(), 5))
    schedule = Schedule(policy, tolerance=1e-3, nudge_tolerance=1e-2, thresholds=1e-3)
    results = []
    for fused in (None, passes):
        engine = Engine(network, schedule)
        engine.fused, engine.graphs = fused, None
        results.append(
            ep_gradients(
                network.to(DEVICE), x.float(), y, Phases(free_steps=24, nudge_steps=8, beta=0.5), engine=engine
            )
        )
    plain, fused = results
    for one, other in zip([*plain.free, *plain.plus], [*fused.free, *fused.plus], strict=True):
        assert torch.equal(one, other)
    assert all(torch.equal(grad, fused.grads[name]) for name, grad in plain.grads.items())
    assert torch.equal(plain.free_phase.ticks, fused.free_phase.ticks)


def test_passes_are_used_where_they_give_pytorchs_numbers(passes: FusedPasses, monkeypatch: pytest.MonkeyPatch) -> None:
    assert passes_agree(passes, torch.device(DEVICE))
    monkeypatch.setattr(FusedPasses, "available", lambda device: True)
    right = FusedPasses.write_state

    def wrong(self: FusedPasses, activation: Clip, state: Tensor, drives: list[Tensor], **more: Tensor) -> None:
        right(self, activation, state, drives[:1], **more)

    monkeypatch.setattr(FusedPasses, "write_state", wrong)
    trusted_passes.cache_clear()
    found, reason = trusted_passes(torch.device(DEVICE))
    assert found is None and "other numbers" in reason
    monkeypatch.setattr(FusedPasses, "__init__", lambda self: 1 / 0)
    trusted_passes.cache_clear()
    assert trusted_passes(torch.device(DEVICE)) == (None, "division by zero")
    trusted_passes.cache_clear()
