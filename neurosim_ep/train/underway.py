"""An epoch in progress, and where within it a run goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from neurosim_ep.errors import CheckpointError, NeurosimError
from neurosim_ep.record.checkpoint import EPOCH_AGAIN
from neurosim_ep.telemetry.epoch import EpochTelemetry
from neurosim_ep.tiles.network_tiles import ChipTiles
from neurosim_ep.train.warm import WarmStates


@dataclass(frozen=True)
class Place:
    """After ``done`` batches of an epoch, with what :meth:`Underway.state_dict` gave then."""

    done: int
    state: Mapping[str, Any] | None


BEGINNING = Place(0, None)
"""Of an epoch: nothing is done."""


@dataclass
class Underway:
    """All that an epoch has, in this process, beside what :meth:`Trainer.state_dict` gives: its α, the
    ``learning_rate`` it began with, what it records, and where its random numbers and warm states stand.
    """

    alpha: float
    learning_rate: float
    telemetry: EpochTelemetry
    states_random: torch.Generator
    tiles: ChipTiles | None
    warm: WarmStates | None

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint between two batches; warm states are on the disk then."""
        return {
            "learning_rate": self.learning_rate, "telemetry": self.telemetry.state_dict(),
            "states_random": self.states_random.get_state(),
            "tiles_random": None if self.tiles is None else self.tiles.random_state(),
            "warm": None if self.warm is None else self.warm.save(),
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`, warm states apart, which begin with :meth:`WarmStates.during`."""
        self.learning_rate = state["learning_rate"]
        self.telemetry.load_state_dict(state["telemetry"])
        self.states_random.set_state(state["states_random"].cpu())
        if self.tiles is not None:
            self.tiles.set_random_state(state["tiles_random"])


@contextmanager
def understood(place: Path | str) -> Iterator[None]:
    """Raises :class:`CheckpointError` where the block finds something else in the checkpoint at ``place``."""
    try:
        yield
    except NeurosimError:
        raise
    except Exception as problem:  # whatever reading a foreign file raises
        reason = f"{type(problem).__name__}: {problem}".splitlines()[0]
        raise CheckpointError(f"{place}: not what this version leaves there ({reason}); {EPOCH_AGAIN}") from problem
