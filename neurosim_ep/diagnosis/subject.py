"""What a gradient check is made on: the network of a scenario as it is initialised, or that of a run as trained."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neurosim_ep.ep.seeds import Stream, generator
from neurosim_ep.errors import UsageError
from neurosim_ep.train.data import prepare
from neurosim_ep.train.experiment import Experiment


@dataclass(frozen=True)
class Subject:
    """A batch to check a network on, in float64 as the network is by now.

    ``x`` (N, C, H, W), ``y`` (N,) and ``start``, the states (N, *shape) the free phase begins at, are on its device;
    ``teacher`` is what a teacher shows, by layer.
    """

    x: Tensor
    y: Tensor
    start: list[Tensor]
    teacher: dict[int, Tensor]


def subject(experiment: Experiment, samples: int) -> Subject:
    """Turn the network of ``experiment`` into float64; the first ``samples`` training images in the order of the first
    epoch, not augmented.

    Raises :class:`UsageError` when there are fewer images.
    """
    data, device, seed = experiment.data, experiment.device, experiment.scenario.scenario.seed
    if samples > len(data.train_labels):
        raise UsageError(
            f"--samples {samples}: there are only {len(data.train_labels)} training images; ask for at most that many"
        )
    network = experiment.model.to(device, torch.float64).network
    chosen = torch.randperm(len(data.train_labels), generator=generator(seed, Stream.ORDER, 0))[:samples]
    x = prepare(data.train_images[chosen].to(device), data.mean, data.std).double()
    kind = experiment.scenario.relaxation.state_init
    start = network.initial_states(samples, kind, generator(seed, Stream.STATES, 0))
    teacher = {layer: values.double() for layer, values in experiment.plain_targets(chosen).items()}
    return Subject(x, data.train_labels[chosen].to(device), start, teacher)
