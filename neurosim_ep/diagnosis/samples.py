"""The images that a network is examined on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neurosim_ep.data.dataset import class_balanced, prepare
from neurosim_ep.ep.network import channels_last
from neurosim_ep.ep.seeds import Stream, generator
from neurosim_ep.errors import UsageError
from neurosim_ep.experiment.opening import Experiment


@dataclass(frozen=True)
class Samples:
    """Images as the network gets them, not augmented.

    ``places`` (N,): their numbers in the test or training set. ``x`` (N, C, H, W), ``labels`` (N,) and the states their
    free phase starts from, per layer (N, *shape), on the device, in the number format of the network.
    """

    places: Tensor
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
    return _samples(run, places, images, labels, Stream.TEST_STATES)


def training_samples(run: Experiment, count: int) -> Samples:
    """The first ``count`` training images in the order of the first epoch. Raises :class:`UsageError` for too many."""
    images, labels = run.data.train_images, run.data.train_labels
    if count > len(labels):
        raise UsageError(f"--samples {count}: there are only {len(labels)} training images; ask for at most that many")
    order = torch.randperm(len(labels), generator=generator(run.scenario.scenario.seed, Stream.ORDER, 0))
    return _samples(run, order[:count], images, labels, Stream.STATES)


def _samples(run: Experiment, places: Tensor, images: Tensor, labels: Tensor, states: Stream) -> Samples:
    network = run.model.network
    x = prepare(images[places].to(run.device), run.data.mean, run.data.std).to(network.connections[0].weight.dtype)
    random = generator(run.scenario.scenario.seed, states)
    start = network.initial_states(len(places), run.scenario.relaxation.state_init, random)
    return Samples(places, channels_last(x), labels[places].to(run.device), start)
