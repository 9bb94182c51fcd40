"""Derivatives of 1x1 reads with a stride, which oneDNN writes beyond its memory for: they are never left to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from neurosim_ep.ep.primitive import preactivation, transposed_read

WEIGHT = torch.randn(5, 6, 1, 1, generator=torch.Generator().manual_seed(0))


class Strides(TorchDispatchMode):
    """Notes the strides of all convolutions that are differentiated."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[list[int]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.ops.aten.convolution_backward.default:
            self.seen.append(list(args[4]))
        return function(*args, **(kwargs or {}))


def upwards(weight: Tensor) -> Tensor:
    return preactivation(torch.ones(2, 6, 7, 8), weight, None, 0, stride=2)


def downwards(weight: Tensor) -> Tensor:
    return transposed_read(torch.ones(2, 5, 4, 4), weight, 0, 2, (6, 7, 8))


@pytest.mark.parametrize("read", [upwards, downwards])
def test_no_stride_is_differentiated(read: Callable[[Tensor], Tensor]) -> None:
    weight = WEIGHT.clone().requires_grad_()
    with Strides() as strides:
        drive = read(weight)
        drive.square().sum().backward()
    assert strides.seen == [[1, 1]]
    torch.testing.assert_close(drive, read(WEIGHT))
    assert weight.grad is not None and weight.grad.all()
