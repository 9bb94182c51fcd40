"""Whether the fused passes can be trusted on a device: they are tried once, against PyTorch, before they are used."""

from __future__ import annotations

from functools import cache
from itertools import product

import torch
from torch import Tensor

from neurosim_ep.ep import primitive
from neurosim_ep.ep.network import channels_last
from neurosim_ep.registry import ACTIVATIONS
from neurosim_ep.scheduler.fused.passes import FusedPasses


@cache
def trusted_passes(device: torch.device) -> tuple[FusedPasses | None, str]:
    """The fused passes on PyTorch's current ``device``, or None and why they are not used there (empty where nobody
    would expect them).
    """
    if not FusedPasses.available(device):
        return None, ""
    try:
        passes = FusedPasses()
        agree = passes_agree(passes, device)
    except Exception as problem:  # a compiler that is missing, a driver that is too old: PyTorch does without
        return None, (str(problem).splitlines() or [repr(problem)])[0]
    return (passes, "") if agree else (None, "they give other numbers than PyTorch's operations")


def passes_agree(passes: FusedPasses, device: torch.device) -> bool:
    """Whether every pass gives PyTorch's numbers, bit for bit, on small random maps: with all that it may be given, and
    with as little as it may be, in float32 and from 16 bits.
    """
    random = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return channels_last(torch.randn(shape, generator=random).to(device))

    same = []
    bias = drawn(1, 24, 1, 1).flatten()
    for pool, (dtype, added) in product(("max", "avg"), ((torch.float32, None), (torch.float16, bias))):
        z, post = drawn(3, 24, 7, 6).to(dtype), drawn(3, 24, 3, 3)
        pooled, routing = primitive.pool_forward(z.float() if added is None else z.float() + added.view(-1, 1, 1), pool)
        routed = primitive.pool_adjoint(post, routing, pool, z.shape[1:]).to(dtype)
        at_once = passes.pool_and_route(z, post, pool, added)
        drive, code = passes.pool(z, pool, added)
        pairs = [(at_once[0], pooled), (at_once[1], routed), (drive, pooled)]
        pairs.append((passes.route(post, code, z.shape[1:], dtype), routed))
        same += [torch.equal(one, other) for one, other in pairs]
    for activation in filter(passes.writes, ACTIVATIONS.own.values()):
        state, drives, shared = drawn(6, 8, 3, 3), [drawn(6, 8, 3, 3), drawn(6, 8, 3, 3)], drawn(3, 8, 3, 3)
        change, sums = state.new_empty(6), drives[0] + drives[1] + shared.repeat_interleave(2, 0)
        new = activation.sigma_(sums)
        moved = (state - new).abs().flatten(1).amax(1)
        passes.write_state(activation, state, drives, shared=shared, change=change)
        same += [torch.equal(state, new), torch.equal(change, moved)]
        half = drawn(3, 24, 3, 3).half()
        state = torch.empty_like(half, dtype=torch.float32)
        passes.write_state(activation, state, [half], bias=bias)
        same.append(torch.equal(state, activation.sigma_(half.float() + bias.view(-1, 1, 1))))
    return all(same)
