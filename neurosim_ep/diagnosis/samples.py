"""The test images that a trained network is diagnosed on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neurosim_ep.ep.network import channels_last
from neurosim_ep.ep.seeds import Stream, generator
from neurosim_ep.errors import UsageError
from neurosim_ep.train.data import class_balanced, prepare
from neurosim_ep.train.experiment import Experiment


@dataclass(frozen=True)
class Samples:
    """Test images as the network gets them.

    ``places`` (N,): their numbers in the test set. ``x`` (N, C, H, W), ``labels`` (N,) and the states their free
    phase starts from, per layer (N, *shape), on the device.
    """

    places: list[int]
    x: Tensor
    labels: Tensor
    start: list[Tensor]


def choose_samples(run: Experiment, count: int) -> Samples:
    """The first ``count`` test images, class-balanced: the first of each class in equal numbers, always the same.

    Raises :class:`UsageError` when the run has fewer.
    """
    images, labels = run.data.test_images, run.data.test_labels
    if count > len(labels):
        raise UsageError(f"samples = {count}: this run has {len(labels)} test images; ask for at most that many")
    places = torch.from_numpy(class_balanced(labels.numpy(), count))
    x = channels_last(prepare(images[places].to(run.device), run.data.mean, run.data.std))
    random = generator(run.scenario.scenario.seed, Stream.TEST_STATES)
    start = run.model.network.initial_states(count, run.scenario.relaxation.state_init, random)
    return Samples(places.tolist(), x, labels[places].to(run.device), start)
