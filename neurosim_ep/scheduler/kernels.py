"""The two reads of an ideal connection, with its weights laid out for the machine that computes them.

A read is what :class:`~neurosim_ep.ep.network.Connection` defines; only its arrangement differs. On the CPU weights
are kept arranged for the size of the map and of the batch while they do not change. In reduced precision only the
inside of a convolution is affected: what enters it and what it gives are rounded, while states, drives and differences
stay float32.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from neurosim_ep.ep.edges import Connection, Edge
from neurosim_ep.ep.network import Network, channels_last
from neurosim_ep.ep.primitive import preactivation, transposed_read
from neurosim_ep.scheduler.arrangements import MAKE, PACKED_READS, Arranged, arrangement, matrix_tiles
from neurosim_ep.scheduler.onednn import layout_is_one

HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class Kernel:
    """The reads as the edge itself makes them: on any device, in the format of its weights."""

    def __init__(self, edge: Edge) -> None:
        self.edge = edge

    @property
    def reads_synapses(self) -> bool:
        """Whether there are any: an identity passes states on."""
        return isinstance(self.edge, Connection)

    @property
    def repeatable(self) -> bool:
        """Whether ideal synapses are read, whose reads of the same states are the same: real tiles draw noise and count
        what they convert.
        """
        return isinstance(self.edge, Connection) and self.edge.tiles is None

    def refresh(self) -> None:
        """The weights have changed."""

    def expect(self, reads: int) -> None:
        """So many times the weights will be read in each direction, as they are, by a free phase that begins."""

    def release(self) -> None:
        """Nothing will be read for a while."""

    def forward(self, pre: Tensor, bias: bool = True) -> Tensor:
        """``w ⋆ pre + b`` before any pooling, or without b: (R, *in_shape) -> (R, *pre_pool_shape)."""
        return self.edge.read(pre, bias)

    def feedback(self, routed: Tensor) -> Tensor:
        """``w ⋆ᵀ routed``: (R, *pre_pool_shape) -> (R, *in_shape)."""
        return self.edge.feedback(routed)


class HalfKernel(Kernel):
    """A convolution computed in ``dtype``, a format of 16 bits, on copies of the weights that keep their place."""

    def __init__(self, connection: Connection, dtype: torch.dtype) -> None:
        super().__init__(connection)
        self.connection = connection
        self.weight, self.bias = connection.weight.to(dtype), connection.bias.to(dtype)

    def refresh(self) -> None:
        self.weight.copy_(self.connection.weight)
        self.bias.copy_(self.connection.bias)

    def forward(self, pre: Tensor, bias: bool = True) -> Tensor:
        half, bias_or_none = pre.to(self.weight.dtype), self.bias if bias else None
        padding, stride = self.connection.padding, self.connection.stride
        return preactivation(half, self.weight, bias_or_none, padding, stride).to(pre.dtype)

    def feedback(self, routed: Tensor) -> Tensor:
        half, one = routed.to(self.weight.dtype), self.connection
        return transposed_read(half, self.weight, one.padding, one.stride, one.in_shape).to(routed.dtype)


class PackedKernel(Kernel):
    """A convolution on the CPU with its weights arranged for the size of what is read: see
    :mod:`~neurosim_ep.scheduler.arrangements`.

    Arrangements are made when they are first needed after the weights have changed, which is seen of changes in place.
    ``dtype``: float32 or a format of 16 bits.
    """

    def __init__(self, connection: Connection, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(connection)
        self.connection, self.dtype = connection, dtype
        self._arranged: dict[str, Arranged] = {}
        self._changes: object = None
        self._packs = False

    @staticmethod
    @cache
    def available(dtype: torch.dtype = torch.float32) -> bool:
        """Whether this PyTorch has oneDNN's layouts for ``dtype``: the operators are private, so each kind is tried."""
        if not torch.backends.mkldnn.is_available():
            return False
        value, weight = channels_last(torch.ones(1, 2, 2, 2)), torch.ones(2, 2, 3, 3)
        try:
            made = [MAKE[name](weight, 1, (2, 2), dtype) for name in ("packed", "gathered", "dense")]
            found = [one.forward(value.to(dtype), None) for one in made]
        except (AttributeError, RuntimeError, TypeError, ValueError):
            return False
        return all(torch.equal(one.float(), F.conv2d(value, weight, padding=1)) for one in found)

    def refresh(self) -> None:
        self._arranged.clear()

    def expect(self, reads: int) -> None:
        self._packs = reads >= PACKED_READS and layout_is_one(self.dtype)

    def release(self) -> None:
        self._arranged.clear()

    def forward(self, pre: Tensor, bias: bool = True) -> Tensor:
        arranged = self._arrange(pre)
        if arranged is None:
            return super().forward(pre, bias)
        added = self.connection.bias.to(arranged.values) if bias else None
        return arranged.forward(pre.to(arranged.values), added).to(pre.dtype)

    def feedback(self, routed: Tensor) -> Tensor:
        arranged = self._arrange(routed)
        if arranged is None:
            return super().feedback(routed)
        return arranged.feedback(routed.to(arranged.values)).to(routed.dtype)

    def _arrange(self, value: Tensor) -> Arranged | None:
        """The weights arranged for a read of ``value``, or None where they are best as they are."""
        weight, padding = self.connection.weight, self.connection.padding
        changes = None if weight.is_inference() else (weight._version, self.connection.bias._version)
        if changes != self._changes:
            self._arranged.clear()
            self._changes = changes
        half = self.dtype != torch.float32
        name = arrangement(weight.shape, padding, value.shape, half, matrix_tiles(), self._packs)
        if name not in self._arranged and name != "plain":
            self._arranged[name] = MAKE[name](weight, padding, (value.shape[2], value.shape[3]), self.dtype)
        return self._arranged.get(name)


def fastest_precision(device: torch.device) -> str:
    """The format of convolutions that ``device`` gains most from without a loss of differences, thanks to anchors.

    TF32 on CUDA, where a tick is bound by bytes and launches once products are rounded, so that 16 bits would gain no
    more; bfloat16 on a CPU with tiles for matrices of it (AMX). Instructions alone (AVX-512) gain a quarter of a long
    phase and lose as much of a short one to its anchors.
    """
    reduced = {"cuda": "tf32", "cpu": "bfloat16" if matrix_tiles() else "float32"}
    return supported_precision(reduced.get(device.type, "float32"), device)[0]


def supported_precision(precision: str, device: torch.device) -> tuple[str, str]:
    """The precision convolutions can have on ``device``, and why it is not the one asked for (empty where it is)."""
    if precision == "float32":
        return precision, ""
    if device.type == "cuda":
        if precision in ("bfloat16", "tf32") and torch.cuda.get_device_capability(device) < (8, 0):
            return "float32", f"{torch.cuda.get_device_name(device)} has no {precision} arithmetic"
        return precision, ""
    if precision == "tf32":
        return "float32", "tf32 is a format of CUDA devices"
    if PackedKernel.available():
        check = {"bfloat16": "_is_mkldnn_bf16_supported", "float16": "_is_mkldnn_fp16_supported"}[precision]
        if getattr(torch.ops.mkldnn, check, bool)() and PackedKernel.available(HALF[precision]):
            return precision, ""
    return "float32", f"this processor computes no {precision} convolutions"


def make_kernels(network: Network, precision: str) -> list[Kernel]:
    """One kernel per edge; reduced precision is for convolutions alone, and tiles read in their own way."""
    dtype, weight = HALF.get(precision), network.connections[0].weight
    packed = weight.device.type == "cpu" and weight.dtype == torch.float32 and PackedKernel.available()
    kernels: list[Kernel] = []
    for edge in network.edges:
        if not isinstance(edge, Connection) or edge.kind == "linear" or edge.tiles is not None:
            kernels.append(Kernel(edge))
        elif packed and edge.padding < edge.weight.shape[2] and edge.stride == 1:
            kernels.append(PackedKernel(edge, dtype or torch.float32))
        else:
            kernels.append(Kernel(edge) if dtype is None else HalfKernel(edge, dtype))
    return kernels
