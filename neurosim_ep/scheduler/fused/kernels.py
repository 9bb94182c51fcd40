"""The fused passes as Triton kernels over NHWC memory. Importing this needs Triton; nothing else of the product does.

A program does a block of the values of one map row (pooling), or of one row of the batch (writing). Arithmetic is float32
and in the order of PyTorch's operations, so results agree bit for bit; of ``sigmoid`` only to rounding, as its
exponential is the device's own.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _window_value(z, base, column, width, channels, bias, HAS_BIAS: tl.constexpr, mask):  # type: ignore[no-untyped-def]
    """One of the four values of each window, with the bias that its channel gets before pooling."""
    value = tl.load(z + base + column, mask=mask, other=0.0).to(tl.float32)
    if HAS_BIAS:
        value += bias
    return value


@triton.jit
def pool_and_route_kernel(  # type: ignore[no-untyped-def]
    z, post, bias, pooled, routed, code,
    height, width, channels, windows_down, windows_across,
    MAX: tl.constexpr, HAS_BIAS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Pool ``z`` (R, H, W, C), plus ``bias`` (C,), in windows of 2x2, and place ``post`` where ``z`` is largest (MAX), or
    a quarter of it everywhere. The last row and column of an odd map belong to no window; zeros are placed there.

    ``code`` is 2·row + column of the largest value in its window: the first one in that order, or the last NaN. Program
    (r · ⌈H/2⌉ + y, block) does windows of row y; ``windows_down`` and ``windows_across`` are ⌈H/2⌉ and ⌈W/2⌉.
    """
    line = tl.program_id(0)
    row, y = line // windows_down, line % windows_down
    place = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    x, channel = place // channels, place % channels
    inside = place < windows_across * channels
    whole = inside & (2 * x + 1 < width) & (2 * y + 1 < height)
    top = (row.to(tl.int64) * height + 2 * y) * width * channels
    bottom = top + width * channels
    left = 2 * x * channels + channel
    right = left + channels
    small = (row.to(tl.int64) * (height // 2) + y) * (width // 2) * channels + place
    added = tl.load(bias + channel, mask=whole, other=0.0) if HAS_BIAS else 0.0
    v0 = _window_value(z, top, left, width, channels, added, HAS_BIAS, whole)
    v1 = _window_value(z, top, right, width, channels, added, HAS_BIAS, whole)
    v2 = _window_value(z, bottom, left, width, channels, added, HAS_BIAS, whole)
    v3 = _window_value(z, bottom, right, width, channels, added, HAS_BIAS, whole)
    state = tl.load(post + small, mask=whole, other=0.0)
    if MAX:
        best, where = v0, tl.zeros([BLOCK], dtype=tl.int32)
        larger = (v1 > best) | (v1 != v1)
        best, where = tl.where(larger, v1, best), tl.where(larger, 1, where)
        larger = (v2 > best) | (v2 != v2)
        best, where = tl.where(larger, v2, best), tl.where(larger, 2, where)
        larger = (v3 > best) | (v3 != v3)
        best, where = tl.where(larger, v3, best), tl.where(larger, 3, where)
        tl.store(code + small, where.to(tl.uint8), mask=whole)
    else:
        best, where = (v0 + v1 + v2 + v3) * 0.25, tl.zeros([BLOCK], dtype=tl.int32)
    tl.store(pooled + small, best, mask=whole)
    _place(routed, top, bottom, left, right, state, where, x, y, width, height, inside, whole, MAX)


@triton.jit
def route_kernel(  # type: ignore[no-untyped-def]
    post, code, routed,
    height, width, channels, windows_down, windows_across,
    MAX: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The routing of :func:`pool_and_route_kernel` by a remembered ``code``."""
    line = tl.program_id(0)
    row, y = line // windows_down, line % windows_down
    place = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    x, channel = place // channels, place % channels
    inside = place < windows_across * channels
    whole = inside & (2 * x + 1 < width) & (2 * y + 1 < height)
    top = (row.to(tl.int64) * height + 2 * y) * width * channels
    left = 2 * x * channels + channel
    small = (row.to(tl.int64) * (height // 2) + y) * (width // 2) * channels + place
    state = tl.load(post + small, mask=whole, other=0.0)
    where = tl.load(code + small, mask=whole, other=0).to(tl.int32) if MAX else tl.zeros([BLOCK], dtype=tl.int32)
    bottom, right = top + width * channels, left + channels
    _place(routed, top, bottom, left, right, state, where, x, y, width, height, inside, whole, MAX)


@triton.jit
def _place(  # type: ignore[no-untyped-def]
    routed, top, bottom, left, right, state, where, x, y, width, height, inside, whole, MAX: tl.constexpr
):  # fmt: skip
    """Write all four values of each window, those of a cut one as far as they exist."""
    if MAX:
        r0, r1 = tl.where(where == 0, state, 0.0), tl.where(where == 1, state, 0.0)
        r2, r3 = tl.where(where == 2, state, 0.0), tl.where(where == 3, state, 0.0)
    else:
        r0 = state * 0.25
        r1, r2, r3 = r0, r0, r0
    across, down = inside & (2 * x + 1 < width), 2 * y + 1 < height
    tl.store(routed + top + left, r0, mask=inside)
    tl.store(routed + top + right, r1, mask=across)
    tl.store(routed + bottom + left, r2, mask=inside & down)
    tl.store(routed + bottom + right, r3, mask=across & down)


@triton.jit
def _clipped(drive):  # type: ignore[no-untyped-def]
    """clip(x, 0, 1), NaN where x is."""
    drive = tl.where(drive < 0.0, 0.0, drive)
    return tl.where(drive > 1.0, 1.0, drive)


@triton.jit
def write_state_kernel(  # type: ignore[no-untyped-def]
    state, first, second, shared, bias, change,
    features, channels, copies, change_stride,
    ACTIVATION: tl.constexpr, HAS_SECOND: tl.constexpr, HAS_SHARED: tl.constexpr, HAS_BIAS: tl.constexpr,
    WATCHED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """``state`` (R, features) at σ of the sum of the drives ``first`` and ``second`` (R, features), ``shared`` (R/copies,
    features) and ``bias`` (channels,), which is added to the first; ``change`` gets the largest |step| of the row.

    ``change`` are the bits of non-negative floats, which are ordered as integers are, NaN above all: the largest over
    programs does not depend on their order. Program (row, block).
    """
    row = tl.program_id(0).to(tl.int64)
    place = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = place < features
    drive = tl.load(first + row * features + place, mask=mask, other=0.0).to(tl.float32)
    if HAS_BIAS:
        drive += tl.load(bias + place % channels, mask=mask, other=0.0)
    if HAS_SECOND:
        drive += tl.load(second + row * features + place, mask=mask, other=0.0).to(tl.float32)
    if HAS_SHARED:
        drive += tl.load(shared + row // copies * features + place, mask=mask, other=0.0)
    if ACTIVATION == "hard_sigmoid":
        new = _clipped(drive)
    elif ACTIVATION == "hard_sigmoid_half":
        new = _clipped(drive * 0.5)
    elif ACTIVATION == "hard_sigmoid_shifted":
        new = _clipped((drive + 1.0) * 0.5)
    elif ACTIVATION == "relu":
        new = tl.where(drive < 0.0, 0.0, drive)
    else:
        tl.static_assert(ACTIVATION == "sigmoid")
        new = 1.0 / (1.0 + tl.exp(2.0 - drive * 4.0))
    where = state + row * features + place
    if WATCHED:
        step = tl.abs(tl.load(where, mask=mask, other=0.0) - new)
        bits = tl.where(mask, step.to(tl.int32, bitcast=True), 0)
        tl.atomic_max(change + row * change_stride, tl.max(bits, axis=0))
    tl.store(where, new, mask=mask)
