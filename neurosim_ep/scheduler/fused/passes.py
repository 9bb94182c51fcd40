"""The fused passes as the scheduler calls them."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from importlib import import_module
from typing import Any, TypeGuard

import torch
from torch import Tensor

from neurosim_ep.ep.activations import Clip
from neurosim_ep.ep.network import channels_last

BLOCK = 1024  # values a program does at most
EXACT = {"enable_fp_fusion": False}  # no product and sum rounded as one, which PyTorch rounds one after the other


class FusedPasses:
    """Pooling with routing, and the writing of states, each in one pass over memory.

    The same numbers as :func:`~neurosim_ep.ep.primitive.pool_forward`, :func:`~neurosim_ep.ep.primitive.pool_adjoint`
    and :meth:`~neurosim_ep.scheduler.relaxation_state.RelaxationState.write` give, bit for bit. States and drives are
    float32 and lie in memory as :func:`~neurosim_ep.ep.network.channels_last` lays them out; reads may also be float16
    or bfloat16 and are taken as exact. Nothing waits for the device, and all of it can be captured in a CUDA graph once
    it has run.
    """

    def __init__(self) -> None:
        self._kernels: Any = import_module("neurosim_ep.scheduler.fused.kernels")

    @staticmethod
    def available(device: torch.device) -> bool:
        """Whether the passes can run on ``device``: Triton comes with CUDA builds of PyTorch and knows only CUDA."""
        return device.type == "cuda" and importlib.util.find_spec("triton") is not None

    @staticmethod
    def writes(activation: object) -> TypeGuard[Clip]:
        """Whether :meth:`write_state` knows ``activation``: an exponential would be the device's own."""
        return isinstance(activation, Clip)

    def pool(self, z: Tensor, pool: str = "max", bias: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """``P(z + b)`` and its argmax κ: :meth:`pool_and_route` without a state to route."""
        rows, channels, height, width = z.shape
        pooled = channels_last(z.new_empty(rows, channels, height // 2, width // 2, dtype=torch.float32))
        return pooled, self._pool(z, pooled, None, None, pool, bias)

    def pool_and_route(
        self, z: Tensor, post: Tensor, pool: str = "max", bias: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """``P(z + b)`` and ``P⁻¹(post; κ)``, κ being the argmax of ``z + b``, and κ itself.

        z (R, C, H, W) float32 or 16-bit, post (R, C, H//2, W//2) float32, bias (C,) float32. Returns the pooled drive,
        float32 in post's shape; the routed states in z's shape and format; and the code (R, C, H//2, W//2) uint8,
        2·row + column of the largest value in its window (None for ``pool`` = "avg").
        """
        _check_post(post, z.shape)
        pooled, routed = torch.empty_like(post), torch.empty_like(z)
        return pooled, routed, self._pool(z, pooled, post, routed, pool, bias)

    def _pool(
        self, z: Tensor, pooled: Tensor, post: Tensor | None, routed: Tensor | None, pool: str, bias: Tensor | None
    ) -> Tensor | None:
        """Fill ``pooled``, and ``routed`` where there is a ``post``; returns the code."""
        _check(z, (torch.float32, torch.float16, torch.bfloat16), "z")
        code = torch.empty_like(pooled, dtype=torch.uint8) if pool == "max" else None
        if z.numel():
            grid, sizes, block = _windows(z.shape)
            self._kernels.pool_and_route_kernel[grid](z, post, bias, pooled, routed, code, sizes, BLOCK=block, **EXACT)
        return code

    def route(
        self, post: Tensor, code: Tensor | None, pre_pool: Sequence[int], dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """``P⁻¹(post; code)`` (R, *pre_pool) of ``dtype``, by the code that :meth:`pool_and_route` gave (None: "avg").

        post (R, C, H//2, W//2) float32; ``pre_pool`` is (C, H, W).
        """
        shape = (len(post), *pre_pool)
        _check_post(post, shape)
        if code is not None:
            _check(code, (torch.uint8,), "code")
        routed = channels_last(post.new_empty(shape, dtype=dtype))
        if routed.numel():
            grid, sizes, block = _windows(shape)
            self._kernels.route_kernel[grid](post, code, routed, sizes, BLOCK=block, **EXACT)
        return routed

    def write_state(
        self,
        activation: Clip,
        state: Tensor,
        drives: Sequence[Tensor],
        *,
        shared: Tensor | None = None,
        bias: Tensor | None = None,
        change: Tensor | None = None,
    ) -> None:
        """Put ``state`` (R, *shape), float32, in place at σ of the sum of what drives it.

        ``drives``: one or two tensors (R, *shape), float32 or 16-bit. ``shared`` (B, *shape), float32, drives the R/B
        neighbouring rows of each sample; ``bias`` (C,) belongs to the first drive. ``change`` (R,), float32, of any
        stride, gets the largest |change| of each row.
        """
        _check(state, (torch.float32,), "state")
        for drive in drives:
            _check(drive, (torch.float32, torch.float16, torch.bfloat16), "drive")
        if shared is not None:
            _check(shared, (torch.float32,), "shared")
        if change is not None:
            change.zero_()
        if not state.numel():
            return
        features = state[0].numel()
        block = min(BLOCK, _power_of_two(features))
        copies = 1 if shared is None else len(state) // len(shared)
        bits, stride = (None, 0) if change is None else (change.view(torch.int32), change.stride(0))
        self._kernels.write_state_kernel[len(state), math.ceil(features / block)](
            state, (*drives, None)[:2], shared, bias, bits, (features, state.shape[1], copies, stride),
            CLIP=(activation.shift, activation.gain, *activation.ends), BLOCK=block, **EXACT,
        )  # fmt: skip


def _windows(shape: Sequence[int]) -> tuple[tuple[int, int], tuple[int, ...], int]:
    """Grid, sizes and block of a kernel over the windows of maps (R, C, H, W)."""
    rows, channels, height, width = shape
    down, across = -(-height // 2), -(-width // 2)
    block = min(BLOCK, _power_of_two(across * channels))
    return (rows * down, math.ceil(across * channels / block)), (height, width, channels, down, across), block


def _power_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()


def _check(value: Tensor, dtypes: Sequence[torch.dtype], name: str) -> None:
    """Kernels read memory as it lies: what lies otherwise would be read as something else."""
    dense = value.is_contiguous(memory_format=torch.channels_last) if value.dim() == 4 else value.is_contiguous()
    if value.dtype not in dtypes or not dense:
        raise ValueError(
            f"{name}: {value.dtype} with strides {value.stride()}: must be one of {', '.join(map(str, dtypes))} "
            "in channels_last memory; use ep.network.channels_last"
        )


def _check_post(post: Tensor, pre_pool: Sequence[int]) -> None:
    _check(post, (torch.float32,), "post")
    rows, channels, height, width = pre_pool
    if post.shape != (rows, channels, height // 2, width // 2):
        raise ValueError(f"post: shape {tuple(post.shape)} does not belong to pre-pool maps of {tuple(pre_pool)}")
