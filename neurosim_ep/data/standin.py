"""Random images in the place of those that are missing, where only their shape and number matter."""

from __future__ import annotations

import torch

from neurosim_ep.data.dataset import Data, channel_statistics
from neurosim_ep.ep.seeds import Stream, generator
from neurosim_ep.registry import SOURCES
from neurosim_ep.scenario.schema import DataSection


def stand_in(section: DataSection, samples: int, tests: int, seed: int) -> Data:
    """``samples`` training images and ``tests`` test images of random pixels, in the shape of ``section``."""
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
