"""What a gradient check is made on: the network of a scenario as it is initialised, or that of a run as trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from neurosim_ep.ep.network import Network, build_network
from neurosim_ep.ep.seeds import Stream, generator
from neurosim_ep.ep.signals import Signals, alpha_at, build_signals
from neurosim_ep.errors import CheckpointError, UsageError
from neurosim_ep.record.rundir import RunDirectory
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.scenario.schema import Scenario
from neurosim_ep.train.checkpoint import load_checkpoint
from neurosim_ep.train.data import load_data, prepare
from neurosim_ep.train.device import select_device
from neurosim_ep.train.teacher.targets import ask_teacher


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
    epoch = 0 if run is None else _load_weights(network, signals, run)
    network.double().to(target)
    if signals is not None:
        signals.double().to(target)
    chosen = torch.randperm(len(data.train_labels), generator=generator(seed, Stream.ORDER, 0))[:samples]
    x = prepare(data.train_images[chosen].to(target), data.mean, data.std).double()
    start = network.initial_states(samples, scenario.relaxation.state_init, generator(seed, Stream.STATES, 0))
    alpha = alpha_at(scenario.signals, max(epoch - 1, 0), scenario.training.epochs)
    y = data.train_labels[chosen].to(target)
    shown = ask_teacher(scenario, network, data, target, data.train_images[chosen])
    teacher = {layer: values.double() for layer, values in shown.items()}
    return Subject(scenario, network, signals, x, y, start, alpha, epoch, data.digest, teacher)


def run_scenario(run: RunDirectory, overrides: Sequence[str]) -> Scenario:
    """The scenario of a run, with ``overrides``. Raises :class:`CheckpointError` when the run lacks it."""
    path: Path = run.path / "scenario.toml"
    if not path.is_file():
        raise CheckpointError(f"{run.path}: has no scenario.toml; restore it from a copy, or start the run again")
    return load_scenario(path, overrides)


def _load_weights(network: Network, signals: Signals | None, run: RunDirectory) -> int:
    """Take over the weights of the last checkpoint; returns the number of finished epochs."""
    state = load_checkpoint(run.checkpoints, torch.device("cpu"))
    try:
        network.load_state_dict(state["trainer"]["network"])
        if signals is not None:
            signals.load_state_dict(state["trainer"]["signals"])
        return int(state["epoch"])
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as problem:
        reason = " ".join(line.strip() for line in str(problem).splitlines()[:2])
        raise CheckpointError(
            f"{run.checkpoints}: the checkpoint does not fit the scenario ({reason}); leave network and signals as "
            "the run had them, or restore both files from a copy"
        ) from problem
