"""A trained network as its run left it: built from the run directory, with the weights of its last checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from neurosim_ep.ep.network import channels_last
from neurosim_ep.ep.seeds import Stream, generator
from neurosim_ep.ep.signals import alpha_at
from neurosim_ep.errors import CheckpointError, DataError, UsageError
from neurosim_ep.record.rundir import RunDirectory
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.scenario.schema import Scenario
from neurosim_ep.train.checkpoint import load_checkpoint
from neurosim_ep.train.data import Data, class_balanced, load_data, prepare
from neurosim_ep.train.device import select_device
from neurosim_ep.train.model import Model, build_model


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
        return alpha_at(self.scenario.signals, max(self.epoch - 1, 0), self.scenario.training.epochs)


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
    info = directory.info()
    for name in ("scenario.toml", "hardware.toml"):
        if not (run_dir / name).is_file():
            raise CheckpointError(f"{run_dir}: has no {name}; restore it from a copy, or start the run again")
    scenario = load_scenario(run_dir / "scenario.toml")
    target = select_device(device)
    state = load_checkpoint(directory.checkpoints, target)
    try:
        began_with, digest = info["data"]["source"], info["data"]["digest"]
    except (KeyError, TypeError) as problem:
        raise CheckpointError(
            f"{directory.run_json}: lacks what a run writes there ({problem}); "
            "restore the file from a copy, or start the run again"
        ) from problem
    data = load_data(scenario.data, scenario.scenario.seed)
    if data.digest != digest:
        raise DataError(
            f"{data.source}: not the images this run started with ({began_with}); restore them to diagnose it"
        )
    priced = scenario.hardware.model_copy(update={"model": str(run_dir / "hardware.toml")})
    model = build_model(scenario.model_copy(update={"hardware": priced}), data.num_classes, data.image_shape)
    try:
        model.network.load_state_dict(state["trainer"]["network"])
        if model.signals is not None:
            model.signals.load_state_dict(state["trainer"]["signals"])
        epoch = int(state["epoch"])
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as problem:
        reason = " ".join(line.strip() for line in str(problem).splitlines()[:2])
        raise CheckpointError(
            f"{directory.checkpoints}: the checkpoint does not fit scenario.toml ({reason}); "
            "restore both from a copy, or start the run again"
        ) from problem
    model.network.to(target)
    if model.signals is not None:
        model.signals.to(target)
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
