"""A trained network as its run left it: built from the run directory, with the weights of its last checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from neurosim_ep.ep.network import channels_last
from neurosim_ep.ep.seeds import Stream, generator
from neurosim_ep.errors import UsageError
from neurosim_ep.record.rundir import RunDirectory
from neurosim_ep.scenario.schema import Scenario
from neurosim_ep.train.checkpoint import load_checkpoint
from neurosim_ep.train.data import Data, class_balanced, prepare
from neurosim_ep.train.device import select_device
from neurosim_ep.train.model import Model
from neurosim_ep.train.reopen import (
    HARDWARE,
    SCENARIO,
    alpha_after,
    fitting,
    load_weights,
    reading,
    run_data,
    run_model,
    run_scenario,
)


@dataclass(frozen=True)
class TrainedRun:
    """A run with its weights after ``epoch`` finished epochs (0: untrained)."""

    directory: RunDirectory
    scenario: Scenario
    model: Model
    data: Data
    device: torch.device
    epoch: int

    @property
    def alpha(self) -> float:
        """α of the last finished epoch (Eq 16); of the first one where none is finished."""
        return alpha_after(self.scenario, self.epoch)


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


def restore(run_dir: Path, device: str) -> TrainedRun:
    """Open the run in ``run_dir`` and build its network with the weights of its last checkpoint.

    Raises :class:`CheckpointError` when the directory or its checkpoint cannot be used, :class:`DataError` when the
    data are not those the run was trained on.
    """
    directory = RunDirectory.open(run_dir)
    scenario = run_scenario(directory, (SCENARIO, HARDWARE))
    target = select_device(device)
    state = load_checkpoint(directory.checkpoints, target)
    with reading(directory) as info:
        began_with, digest = info["data"]["source"], info["data"]["digest"]
    data = run_data(scenario, digest, began_with, " to diagnose it")
    model = run_model(directory, scenario, data)
    with fitting(directory):
        epoch = load_weights(model.network, model.signals, state, model.tiles)
    model.network.to(target)
    if model.signals is not None:
        model.signals.to(target)
    if model.tiles is not None:
        model.tiles.to(target)
    return TrainedRun(directory, scenario, model, data, target, epoch)


def choose_samples(run: TrainedRun, count: int) -> Samples:
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
