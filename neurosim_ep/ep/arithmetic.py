"""Whether CUDA devices compute float32 products in full or in TF32, which rounds what enters them to 10 bits.

PyTorch rounds the inputs of convolutions unless it is told not to. That would swallow the nudge differences, so here
everything is computed in full: input drives, ticks, learning rules. Only the convolutions of ticks are rounded, where a
schedule asks for that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch

_cudnn: Any = torch.backends.cudnn
_matmul = torch.backends.cuda.matmul
_BOTH, _NEW = {True: True, False: False}, {True: "tf32", False: "ieee"}
_CONVOLUTIONS: list[tuple[Any, str, dict[bool, Any]]] = [
    (_cudnn, "allow_tf32", _BOTH),
    (_cudnn.conv, "fp32_precision", _NEW),
    (_cudnn.rnn, "fp32_precision", _NEW),  # they go along, as else the older setting cannot be read
]
_PRODUCTS: list[tuple[Any, str, dict[bool, Any]]] = [(_matmul, "fp32_precision", _NEW)]


def set_tf32(convolutions: bool, products: bool = False) -> None:
    """From now on round what enters convolutions and matrix products, either or neither."""
    _replace(convolutions, products)


@contextmanager
def tf32(convolutions: bool, products: bool = False) -> Iterator[None]:
    """:func:`set_tf32` while the block runs; the product itself never rounds what enters matrix products."""
    changes = _replace(convolutions, products)
    try:
        yield
    finally:
        for owner, name, before, _ in changes:
            setattr(owner, name, before)


def _replace(convolutions: bool, products: bool) -> list[tuple[Any, str, Any, Any]]:
    """Change the settings; returns owner, name, old and new value of each, in the order to put them back in."""
    wanted = [(*setting, convolutions) for setting in _CONVOLUTIONS] + [(*setting, products) for setting in _PRODUCTS]
    changes = []
    for owner, name, values, allowed in wanted:
        with suppress(RuntimeError):  # the older setting, once a program has used the newer ones
            changes.append((owner, name, getattr(owner, name), values[allowed]))
    for owner, name, _, value in changes:
        setattr(owner, name, value)
    return changes
