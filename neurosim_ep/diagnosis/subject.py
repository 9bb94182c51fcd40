"""What a gradient check is made on: the network of a scenario as it is initialised, or that of a run as trained."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neurosim_ep.ep.network import Network, build_network
from neurosim_ep.ep.seeds import Stream, generator
from neurosim_ep.ep.signals import Signals, build_signals
from neurosim_ep.errors import UsageError
from neurosim_ep.record.rundir import RunDirectory
from neurosim_ep.scenario.schema import Scenario
from neurosim_ep.train.checkpoint import load_checkpoint
from neurosim_ep.train.data import load_data, prepare
from neurosim_ep.train.device import select_device
from neurosim_ep.train.reopen import alpha_after, fitting, load_weights
from neurosim_ep.train.teacher.targets import targets_of_training


@dataclass(frozen=True)
class Subject:
    """A network and a batch to check it on, in float64.

    ``x`` (N, C, H, W), ``y`` (N,) and ``start``, the states (N, *shape) the free phase begins at, are on the network's
    device. ``alpha`` is the weight of the signals after ``epoch`` finished epochs (0: untrained). ``digest`` is the
    SHA-256 of all images; ``teacher`` what a teacher shows, by layer.
    """

    scenario: Scenario
    network: Network
    signals: Signals | None
    x: Tensor
    y: Tensor
    start: list[Tensor]
    alpha: float
    epoch: int
    digest: str
    teacher: dict[int, Tensor]


def subject(scenario: Scenario, samples: int, device: str, run: RunDirectory | None = None) -> Subject:
    """The network of ``scenario``, with the weights of ``run``'s last checkpoint where it is given, and the first
    ``samples`` training images in the order of the first epoch, not augmented.

    Raises :class:`UsageError` when there are fewer images, :class:`CheckpointError` when the checkpoint does not fit.
    """
    target, seed = select_device(device), scenario.scenario.seed
    data = load_data(scenario.data, seed)
    if samples > len(data.train_labels):
        raise UsageError(
            f"--samples {samples}: there are only {len(data.train_labels)} training images; ask for at most that many"
        )
    network = build_network(scenario.network, data.num_classes, data.image_shape, seed)
    signals = build_signals(scenario.signals, network, seed)
    epoch = 0
    if run is not None:
        state = load_checkpoint(run.checkpoints, torch.device("cpu"))
        remedy = "leave network and signals as the run had them, or restore both files from a copy"
        with fitting(run, "the scenario", remedy):
            epoch = load_weights(network, signals, state)
    network.double().to(target)
    if signals is not None:
        signals.double().to(target)
    chosen = torch.randperm(len(data.train_labels), generator=generator(seed, Stream.ORDER, 0))[:samples]
    x = prepare(data.train_images[chosen].to(target), data.mean, data.std).double()
    start = network.initial_states(samples, scenario.relaxation.state_init, generator(seed, Stream.STATES, 0))
    alpha = alpha_after(scenario, epoch)
    y = data.train_labels[chosen].to(target)
    shown = targets_of_training(scenario, network, data, target, chosen, run)
    teacher = {layer: values.double() for layer, values in shown.items()}
    return Subject(scenario, network, signals, x, y, start, alpha, epoch, data.digest, teacher)
