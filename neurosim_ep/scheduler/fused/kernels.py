"""The fused passes as Triton kernels over NHWC memory. Importing this needs Triton; nothing else of the product does.

A program does a block of the values of one map row (pooling), or of one row of the batch (writing). Arithmetic is
float32 and in the order of PyTorch's operations, so results agree bit for bit.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _windows(sizes, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """This program's windows of 2x2, those of one row of windows: program (r · ⌈H/2⌉ + y, block).

    ``sizes``: H, W, C, ⌈H/2⌉ and ⌈W/2⌉. Returns where their upper left value, and the one of their pooled map, lie in
    memory; channels; and masks: which of them exist, have a right column, have a lower row, are whole.
    """
    height, width, channels, windows_down, windows_across = sizes
    line = tl.program_id(0)
    row, y = (line // windows_down).to(tl.int64), line % windows_down
    place = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    x, channel = place // channels, place % channels
    large = (row * height + 2 * y) * width * channels + 2 * x * channels + channel
    small = (row * (height // 2) + y) * (width // 2) * channels + place
    exists = place < windows_across * channels
    right = exists & (2 * x + 1 < width)
    lower = exists & (tl.full([BLOCK], 2 * y + 1, tl.int32) < height)
    return large, small, channel, (exists, right, lower, right & lower)


@triton.jit
def _value(where, mask, bias):  # type: ignore[no-untyped-def]
    """A value of each window, with the bias, if any, that its channel gets before pooling."""
    value = tl.load(where, mask=mask, other=0.0).to(tl.float32)
    if bias is not None:
        value += bias
    return value


@triton.jit
def _larger(best, code, value, number: tl.constexpr):  # type: ignore[no-untyped-def]
    """The largest value so far and its number: the first of equal ones, the last NaN if there is one."""
    takes = (value > best) | (value != value)
    return tl.where(takes, value, best), tl.where(takes, number, code)


@triton.jit
def _place(where, state, code, across, down, masks):  # type: ignore[no-untyped-def]
    """Write all four values of each window, of those that are cut by the edge what exists: the state at ``code``, or a
    quarter of it everywhere.
    """
    exists, right, lower, whole = masks
    if code is not None:
        v0, v1 = tl.where(code == 0, state, 0.0), tl.where(code == 1, state, 0.0)
        v2, v3 = tl.where(code == 2, state, 0.0), tl.where(code == 3, state, 0.0)
    else:
        v0 = state * 0.25
        v1, v2, v3 = v0, v0, v0
    tl.store(where, v0, mask=exists)
    tl.store(where + across, v1, mask=right)
    tl.store(where + down, v2, mask=lower)
    tl.store(where + down + across, v3, mask=whole)


@triton.jit
def pool_and_route_kernel(z, post, bias, pooled, routed, code, sizes, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """Pool ``z`` (R, H, W, C), plus ``bias`` (C,), and, if there is a ``post``, place it where ``z`` is largest, or,
    without a ``code``, a quarter of it everywhere. The last row and column of an odd map belong to no window; zeros are
    placed there.

    ``code`` is 2·row + column of the largest value in its window; ``sizes`` are those of :func:`_windows`.
    """
    large, small, channel, masks = _windows(sizes, BLOCK)
    across, down, whole = sizes[2], sizes[1] * sizes[2], masks[3]
    added = None
    if bias is not None:
        added = tl.load(bias + channel, mask=whole, other=0.0)
    v0 = _value(z + large, whole, added)
    v1 = _value(z + large + across, whole, added)
    v2 = _value(z + large + down, whole, added)
    v3 = _value(z + large + down + across, whole, added)
    largest = None
    if code is not None:
        best, largest = _larger(v0, tl.zeros([BLOCK], dtype=tl.int32), v1, 1)
        best, largest = _larger(best, largest, v2, 2)
        best, largest = _larger(best, largest, v3, 3)
        tl.store(code + small, largest.to(tl.uint8), mask=whole)
    else:
        best = (v0 + v1 + v2 + v3) * 0.25
    tl.store(pooled + small, best, mask=whole)
    if post is not None:
        state = tl.load(post + small, mask=whole, other=0.0)
        _place(routed + large, state, largest, across, down, masks)


@triton.jit
def route_kernel(post, code, routed, sizes, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """The routing of :func:`pool_and_route_kernel` by a remembered ``code``, or without one."""
    large, small, _, masks = _windows(sizes, BLOCK)
    whole, largest = masks[3], None
    if code is not None:
        largest = tl.load(code + small, mask=whole, other=0).to(tl.int32)
    state = tl.load(post + small, mask=whole, other=0.0)
    _place(routed + large, state, largest, sizes[2], sizes[1] * sizes[2], masks)


@triton.jit
def _clipped(drive, SHIFT: tl.constexpr, GAIN: tl.constexpr, LOWER: tl.constexpr, UPPER: tl.constexpr):  # type: ignore[no-untyped-def]
    """clip(GAIN (x + SHIFT), LOWER, UPPER), NaN where x is; a bound that is None clips nothing."""
    if SHIFT != 0.0:
        drive += SHIFT
    if GAIN != 1.0:
        drive *= GAIN
    if LOWER is not None:
        drive = tl.where(drive < LOWER, LOWER, drive)
    if UPPER is not None:
        drive = tl.where(drive > UPPER, UPPER, drive)
    return drive


@triton.jit
def write_state_kernel(state, drives, shared, bias, change, sizes, CLIP: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """``state`` (R, features) at σ of the sum of one or two ``drives`` (R, features), ``shared`` (R/copies, features),
    and ``bias`` (channels,), which belongs to the first; ``change`` gets the largest |step|. What there is not is None.

    ``sizes``: features, channels, copies and the stride of ``change``, whose values are the bits of non-negative
    floats, which are ordered as integers are, NaN above all: the largest over programs does not depend on their order.
    ``CLIP``: what :func:`_clipped` takes. Program (row, block).
    """
    features, channels, copies, change_stride = sizes
    first, second = drives
    row = tl.program_id(0).to(tl.int64)
    place = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = place < features
    drive = tl.load(first + row * features + place, mask=mask, other=0.0).to(tl.float32)
    if bias is not None:
        drive += tl.load(bias + place % channels, mask=mask, other=0.0)
    if second is not None:
        drive += tl.load(second + row * features + place, mask=mask, other=0.0).to(tl.float32)
    if shared is not None:
        drive += tl.load(shared + row // copies * features + place, mask=mask, other=0.0)
    new = _clipped(drive, CLIP[0], CLIP[1], CLIP[2], CLIP[3])
    where = state + row * features + place
    if change is not None:
        step = tl.abs(tl.load(where, mask=mask, other=0.0) - new)
        bits = tl.where(mask, step.to(tl.int32, bitcast=True), 0)
        tl.atomic_max(change + row * change_stride, tl.max(bits, axis=0))
    tl.store(where, new, mask=mask)
