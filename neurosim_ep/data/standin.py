"""Random images in the place of those that are missing, where only their shape and number matter."""

from __future__ import annotations

import torch

from neurosim_ep.data.dataset import Data, channel_statistics
from neurosim_ep.ep.seeds import Stream, generator
from neurosim_ep.scenario.schema import DataSection

KINDS = {
    "textures": (10, 3, 32, 10_000, 2_000), "cifar10": (10, 3, 32, 50_000, 10_000),
    "cifar100": (100, 3, 32, 50_000, 10_000), "idx": (10, 1, 28, 60_000, 10_000), "folder": (10, 3, 0, 50_000, 10_000),
}  # fmt: skip
"""Classes, channels, side (0: ``data.image_size``), training and test images of each kind; of idx and folder, those of
MNIST and CIFAR-10.
"""


def stand_in(section: DataSection, samples: int, tests: int, seed: int) -> Data:
    """``samples`` training images and ``tests`` test images of random pixels, in the shape of ``section``."""
    classes, channels, side, _, _ = KINDS[section.kind]
    random, size = generator(seed, Stream.ORDER, 0), (channels, *(side or section.image_size,) * 2)
    images = torch.randint(256, (samples + tests, *size), generator=random, dtype=torch.uint8)
    labels = torch.arange(samples + tests) % classes
    mean, std = channel_statistics(images)
    return Data(
        images[:samples], labels[:samples], images[samples:], labels[samples:], [str(n) for n in range(classes)],
        mean, std, "random images", "", "",
    )  # fmt: skip


def sizes(section: DataSection) -> tuple[int, int]:
    """Numbers of training and test images that ``section`` would use of a data set of the usual size."""
    _, _, _, train, test = KINDS[section.kind]
    return section.train_samples or train, section.test_samples or test
