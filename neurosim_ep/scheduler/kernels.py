"""The two reads of an ideal connection, with its weights laid out for the machine that computes them.

A read is what :class:`~neurosim_ep.ep.network.Connection` defines; only its arrangement differs. Small convolutions
on the CPU spend most of their time rearranging weights, so there weights are kept in oneDNN's own layout while they
do not change. In reduced precision only the inside of a convolution is affected: what enters it and what it gives are
rounded, while states, drives and differences stay float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from neurosim_ep.ep.network import Connection, Network
from neurosim_ep.ep.primitive import preactivation

HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}
SMALL = 256  # rows x output positions up to which a float32 convolution gains from weights in oneDNN's layout


class Kernel:
    """The reads as the connection itself makes them: on any device, in the format of its weights."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def refresh(self) -> None:
        """The weights have changed."""

    def release(self) -> None:
        """Nothing will be read for a while."""

    def forward(self, pre: Tensor, bias: bool = True) -> Tensor:
        """``w ⋆ pre + b`` before any pooling, or without b: (R, *in_shape) -> (R, *pre_pool_shape)."""
        return self.connection.read(pre, bias)

    def feedback(self, routed: Tensor) -> Tensor:
        """``w ⋆ᵀ routed``: (R, *pre_pool_shape) -> (R, *in_shape)."""
        return self.connection.feedback(routed)


class HalfKernel(Kernel):
    """A convolution computed in ``dtype``, a format of 16 bits, on copies of the weights that keep their place."""

    def __init__(self, connection: Connection, dtype: torch.dtype) -> None:
        super().__init__(connection)
        self.weight, self.bias = connection.weight.to(dtype), connection.bias.to(dtype)

    def refresh(self) -> None:
        self.weight.copy_(self.connection.weight)
        self.bias.copy_(self.connection.bias)

    def forward(self, pre: Tensor, bias: bool = True) -> Tensor:
        half = pre.to(self.weight.dtype)
        return preactivation(half, self.weight, self.bias if bias else None, self.connection.padding).to(pre.dtype)

    def feedback(self, routed: Tensor) -> Tensor:
        half = F.conv_transpose2d(routed.to(self.weight.dtype), self.weight, padding=self.connection.padding)
        return half.to(routed.dtype)


class PackedKernel(Kernel):
    """A convolution on the CPU through weights in oneDNN's layout, made when first needed after a refresh.

    The transposed read is the convolution with mirrored weights. In float32 (``dtype`` None) large batches are left
    to the plain reads: they gain nothing, and the copies would cost their memory.
    """

    def __init__(self, connection: Connection, dtype: torch.dtype | None) -> None:
        super().__init__(connection)
        self.dtype = dtype
        self.packed: dict[str, Tensor] = {}

    @staticmethod
    @cache
    def available() -> bool:
        """Whether this PyTorch has oneDNN's layouts: the operators for them are private, so one read is tried."""
        if not torch.backends.mkldnn.is_available():
            return False
        value, weight = torch.ones(1, 2, 3, 3), torch.ones(2, 2, 3, 3)
        try:
            found = _packed_convolution(value, _pack(weight, value, 1), None, 1)
        except (AttributeError, RuntimeError, TypeError, ValueError):
            return False
        return torch.equal(found, F.conv2d(value, weight, padding=1))

    def refresh(self) -> None:
        self.packed.clear()

    def release(self) -> None:
        self.packed.clear()

    def forward(self, pre: Tensor, bias: bool = True) -> Tensor:
        if self._large(pre):
            return super().forward(pre, bias)
        connection = self.connection
        added = connection.bias if bias else None
        return self._convolve("forward", pre, connection.weight, added, connection.padding)

    def feedback(self, routed: Tensor) -> Tensor:
        if self._large(routed):
            return super().feedback(routed)
        weight = self.connection.weight
        mirrored = weight.flip(2, 3).transpose(0, 1) if "transposed" not in self.packed else weight
        return self._convolve("transposed", routed, mirrored, None, weight.shape[2] - 1 - self.connection.padding)

    def _large(self, value: Tensor) -> bool:
        return self.dtype is None and value.shape[0] * value.shape[2] * value.shape[3] > SMALL

    def _convolve(self, name: str, value: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
        dtype = self.dtype or value.dtype
        if name not in self.packed:
            plain = weight.to(dtype).contiguous(memory_format=torch.channels_last)
            self.packed[name] = _pack(plain, value, padding)
        bias = None if bias is None else bias.to(dtype)
        return _packed_convolution(value.to(dtype), self.packed[name], bias, padding).to(value.dtype)


def _pack(weight: Tensor, value: Tensor, padding: int) -> Tensor:
    """``weight`` in the layout oneDNN likes best for convolutions of values of the shape of ``value``."""
    return torch.ops.mkldnn._reorder_convolution_weight(
        weight, [padding, padding], [1, 1], [1, 1], 1, list(value.shape)
    )


def _packed_convolution(value: Tensor, packed: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    """The convolution of ``value`` with weights that :func:`_pack` laid out."""
    where = [padding, padding], [1, 1], [1, 1], 1
    return torch.ops.mkldnn._convolution_pointwise(value, packed, bias, *where, "none", [], "")


def supported_precision(precision: str, device: torch.device) -> tuple[str, str]:
    """The precision convolutions can have on ``device``, and why it is not the one asked for (empty where it is)."""
    if precision == "float32":
        return precision, ""
    if device.type == "cuda":
        if precision == "bfloat16" and not torch.cuda.is_bf16_supported():
            return "float32", f"{torch.cuda.get_device_name(device)} has no bfloat16 arithmetic"
        return precision, ""
    if precision == "tf32":
        return "float32", "tf32 is a format of CUDA devices"
    if PackedKernel.available():
        check = {"bfloat16": "_is_mkldnn_bf16_supported", "float16": "_is_mkldnn_fp16_supported"}[precision]
        if getattr(torch.ops.mkldnn, check, bool)():
            return precision, ""
    return "float32", f"this processor computes no {precision} convolutions"


def make_kernels(network: Network, precision: str) -> list[Kernel]:
    """One kernel per connection; reduced precision is for convolutions alone, and tiles read in their own way."""
    dtype, weight = HALF.get(precision), network.connections[0].weight
    packed = weight.device.type == "cpu" and weight.dtype == torch.float32 and PackedKernel.available()
    kernels: list[Kernel] = []
    for connection in network.connections:
        if connection.kind == "linear" or connection.tiles is not None:
            kernels.append(Kernel(connection))
        elif packed and connection.padding < connection.weight.shape[2]:
            kernels.append(PackedKernel(connection, dtype))
        else:
            kernels.append(Kernel(connection) if dtype is None else HalfKernel(connection, dtype))
    return kernels


@contextmanager
def tf32_convolutions(allowed: bool) -> Iterator[None]:
    """Let CUDA convolutions round what enters them to TF32 while the block runs, or forbid it."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
