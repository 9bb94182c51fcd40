"""What it takes to open a run again: its scenario, its images, its model, and a checkpoint that fits them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from neurosim_ep.ep.network import Network
from neurosim_ep.ep.signals import Signals, alpha_at
from neurosim_ep.errors import CheckpointError, DataError
from neurosim_ep.record.rundir import RunDirectory
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.scenario.schema import Scenario
from neurosim_ep.tiles.chip import ChipTiles
from neurosim_ep.train.data import Data, load_data
from neurosim_ep.train.model import Model, build_model

SCENARIO, HARDWARE = "scenario.toml", "hardware.toml"


def run_scenario(directory: RunDirectory, files: Sequence[str], overrides: Sequence[str] = ()) -> Scenario:
    """The scenario of a run, with ``overrides``. Raises :class:`CheckpointError` when one of ``files`` is missing."""
    for name in files:
        if not (directory.path / name).is_file():
            raise CheckpointError(f"{directory.path}: has no {name}; restore it from a copy, or start the run again")
    return load_scenario(directory.path / SCENARIO, overrides)


@contextmanager
def reading(directory: RunDirectory) -> Iterator[dict[str, Any]]:
    """``run.json``; raises :class:`CheckpointError` where the block looks for what a run writes there in vain."""
    try:
        yield directory.info()
    except (KeyError, TypeError) as problem:
        raise CheckpointError(
            f"{directory.run_json}: lacks what a run writes there ({problem}); "
            "restore the file from a copy, or start the run again"
        ) from problem


def run_data(scenario: Scenario, digest: str, began_with: str, remedy: str) -> Data:
    """The images of a run. Raises :class:`DataError` unless they are those of ``digest``, which it ``began_with``."""
    data = load_data(scenario.data, scenario.scenario.seed)
    if data.digest != digest:
        raise DataError(f"{data.source}: not the images this run started with ({began_with}); restore them{remedy}")
    return data


def run_model(directory: RunDirectory, scenario: Scenario, data: Data) -> Model:
    """The untrained model of a run, with its own copy of the hardware model."""
    priced = scenario.hardware.model_copy(update={"model": str(directory.path / HARDWARE)})
    return build_model(scenario.model_copy(update={"hardware": priced}), data.num_classes, data.image_shape)


def load_weights(
    network: Network, signals: Signals | None, state: dict[str, Any], tiles: ChipTiles | None = None
) -> int:
    """Take over the weights of the checkpoint ``state``, and what its ``tiles`` hold; returns its number of finished
    epochs.
    """
    network.load_state_dict(state["trainer"]["network"])
    if signals is not None:
        signals.load_state_dict(state["trainer"]["signals"])
    if tiles is not None:
        tiles.load_state_dict(state["trainer"]["tiles"])
    return int(state["epoch"])


def alpha_after(scenario: Scenario, epoch: int) -> float:
    """α of the last of ``epoch`` finished epochs (Eq 16); of the first one where none is finished."""
    return alpha_at(scenario.signals, max(epoch - 1, 0), scenario.training.epochs)


@contextmanager
def fitting(
    directory: RunDirectory,
    scenario: str = SCENARIO,
    remedy: str = "restore both from a copy, or start the run again",
) -> Iterator[None]:
    """Raises :class:`CheckpointError` where the block puts a checkpoint into a network that is not its own."""
    try:
        yield
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as problem:
        reason = " ".join(line.strip() for line in str(problem).splitlines()[:2])
        raise CheckpointError(
            f"{directory.checkpoints}: the checkpoint does not fit {scenario} ({reason}); {remedy}"
        ) from problem
