"""Augmentation as a choice among numbered views of an image: flipped or not, and shifted.

A view is ``flip · n² + row · n + column``, n being the number of shifts in each direction. Numbered views are what a
target store can hold: one set of targets for each of them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from neurosim_ep.ep.transfers import to_device
from neurosim_ep.scenario.schema import DataSection

CROP_PADDING = 4


def shifts(section: DataSection) -> int:
    """Number of shifts in each direction: one every ``crop_step`` pixels up to 4 either way, or none."""
    return 2 * CROP_PADDING // section.crop_step + 1 if section.augment == "crop_flip" else 1


def count_views(section: DataSection) -> int:
    """Number of views of each training image."""
    return 1 if section.augment == "none" else 2 * shifts(section) ** 2


def plain_view(section: DataSection) -> int | None:
    """The view that shows an image as it is; None where every view is shifted."""
    n = shifts(section)
    return n // 2 * (n + 1) if n % 2 else None


def draw_views(section: DataSection, samples: int, generator: torch.Generator) -> Tensor:
    """A random view for each of ``samples`` images, int64 (B,), all equally likely; drawn on the CPU, so that every
    device sees the same.
    """
    if section.augment == "none":
        return torch.zeros(samples, dtype=torch.int64)
    n = shifts(section)
    flip = torch.rand((samples, 1, 1, 1), generator=generator).flatten() < 0.5
    row, column = torch.randint(0, n, (2, samples), generator=generator)
    return (flip * n + row) * n + column


def show(images: Tensor, views: Tensor, section: DataSection) -> Tensor:
    """``images``, uint8 (B, C, H, W) on any device, as their ``views`` (B,) show them, with black borders."""
    if section.augment == "none":
        return images
    n, (height, width), views = shifts(section), images.shape[2:], to_device(views, images.device)
    flip, row, column = views // n**2, views // n % n, views % n
    margin = CROP_PADDING if n > 1 else 0
    padded = torch.nn.functional.pad(images, (margin, margin, margin, margin))
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    shown = windows[
        torch.arange(len(images), device=images.device), :, row * section.crop_step, column * section.crop_step
    ]
    return torch.where(flip.bool()[:, None, None, None], shown.flip(-1), shown)
