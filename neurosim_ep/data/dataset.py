"""Images for training: loading, subsets and normalisation.

Images stay uint8 in memory; a batch becomes float32 on the device that trains.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from neurosim_ep.data.sources.base import Images, ImageSet, Labels
from neurosim_ep.ep.seeds import Stream, generator
from neurosim_ep.errors import DataError
from neurosim_ep.registry import SOURCES
from neurosim_ep.scenario.schema import DataSection


@dataclass(frozen=True, repr=False)
class Data:
    """Training and test images with what is needed to feed them to a network.

    Images are uint8 (N, C, H, W), labels int64 (N,), both on the CPU. ``mean`` and ``std`` are float32 (C,)
    in units of full scale (pixel 255 is 1). ``digest`` is the SHA-256 of all images and labels, ``train_digest`` that
    of the training images and labels alone.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    class_names: list[str]
    mean: Tensor
    std: Tensor
    source: str
    digest: str
    train_digest: str

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.image_shape))
        return (
            f"<images {shape} of {self.num_classes} classes: {len(self.train_labels):,} for training, "
            f"{len(self.test_labels):,} for tests; {self.source}>"
        )

    def noted(self) -> dict[str, Any]:
        """What ``run.json`` says of them; :meth:`unseen` takes it back."""
        return {
            "source": self.source, "digest": self.digest, "classes": self.num_classes, "shape": list(self.image_shape),
            "mean": self.mean.tolist(), "std": self.std.tolist(),
        }  # fmt: skip

    @classmethod
    def unseen(cls, noted: Mapping[str, Any]) -> Self:
        """No images at all, but with the shape, classes and normalisation of those that were :meth:`noted`."""
        images, labels = torch.empty(0, *noted["shape"], dtype=torch.uint8), torch.empty(0, dtype=torch.int64)
        mean, std = (torch.tensor(noted[name], dtype=torch.float32) for name in ("mean", "std"))
        names = [str(number) for number in range(noted["classes"])]
        return cls(images, labels, images, labels, names, mean, std, noted["source"], noted["digest"], "")


def load_data(section: DataSection, seed: int) -> Data:
    """The images that ``section`` asks for; ``seed`` matters to images that are made.

    Raises DataError for missing or malformed files and for more samples than there are.
    """
    found: ImageSet = SOURCES[section.kind](section).read(seed)
    train = _subset(found.train_images, found.train_labels, section.train_samples, "train_samples")
    test = _subset(found.test_images, found.test_labels, section.test_samples, "test_samples")
    tensors = [torch.from_numpy(array) for array in (*train, *test)]
    train_images, train_labels, test_images, test_labels = tensors
    mean, std = channel_statistics(train_images)
    if not section.normalise:
        mean, std = torch.zeros_like(mean), torch.ones_like(std)
    return Data(
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        class_names=found.class_names,
        mean=mean,
        std=std,
        source=found.source,
        digest=_digest(tensors),
        train_digest=_digest(tensors[:2]),
    )


def stand_in(section: DataSection, samples: int, tests: int, seed: int) -> Data:
    """``samples`` training images and ``tests`` test images of random pixels, in the shape of ``section``:
    in the place of those that are missing, where only their shape and number matter.
    """
    usual, random = SOURCES[section.kind](section).usual, generator(seed, Stream.ORDER, 0)
    images = torch.randint(256, (samples + tests, *usual.shape), generator=random, dtype=torch.uint8)
    labels = torch.arange(samples + tests) % usual.classes
    mean, std = channel_statistics(images)
    return Data(
        images[:samples], labels[:samples], images[samples:], labels[samples:], [str(n) for n in range(usual.classes)],
        mean, std, "random images", "", "",
    )  # fmt: skip


def sizes(section: DataSection) -> tuple[int, int]:
    """Numbers of training and test images that ``section`` would use of a data set of the usual size."""
    usual = SOURCES[section.kind](section).usual
    return section.train_samples or usual.train, section.test_samples or usual.test


def _subset(images: Images, labels: Labels, count: int, key: str) -> tuple[Images, Labels]:
    """``count`` images chosen by :func:`class_balanced`; 0: all.

    Raises DataError when there are fewer than ``count`` images.
    """
    if count == 0:
        return images, labels
    if count > len(labels):
        raise DataError(f"data.{key} = {count}: only {len(labels)} images exist; choose at most that, or 0 for all")
    chosen = class_balanced(labels, count)
    return images[chosen], labels[chosen]


def class_balanced(labels: Labels, count: int) -> np.ndarray:
    """Places of the first images of each class in equal numbers, ``count`` in all, in their original order.

    Classes are visited in turn, so their sizes differ by at most one as long as none runs out.
    """
    by_class = np.argsort(labels, kind="stable")
    first_of_class = np.searchsorted(labels[by_class], labels[by_class])
    rank = np.empty_like(labels)
    rank[by_class] = np.arange(len(labels)) - first_of_class
    return np.sort(np.lexsort((labels, rank))[:count])


def channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (C,) of uint8 images in units of full scale, from exact integer sums.

    A constant channel gets a deviation of one grey level, so dividing by it is safe.
    """
    total = torch.zeros(images.shape[1], dtype=torch.int64)
    squares = torch.zeros_like(total)
    for part in images.split(1000):
        pixels = part.to(torch.int32)
        total += pixels.sum(dim=(0, 2, 3))
        squares += pixels.square().sum(dim=(0, 2, 3))
    pixels_per_channel = images.numel() // images.shape[1]
    mean = total.double() / pixels_per_channel
    variance = squares.double() / pixels_per_channel - mean.square()
    return (mean / 255).float(), (variance.clamp_min(1).sqrt() / 255).float()


def _digest(tensors: list[Tensor]) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.numpy().data)
    return digest.hexdigest()


def prepare(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """float32 batch (B, C, H, W) of uint8 ``images``, (x / 255 - mean) / std per channel, on their device; floats are
    in units of full scale already.
    """
    mean, std = (values.to(images.device)[:, None, None] for values in (mean, std))
    scaled = images.to(torch.float32)
    if images.dtype == torch.uint8:
        scaled /= 255
    return (scaled - mean) / std
