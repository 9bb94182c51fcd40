"""Checkpoints within an epoch: a long one goes on where it stood minutes ago, not from its beginning.

They lie beside the checkpoint of the last finished epoch, which they go with and which is all that other commands read.
Of several processes the first writes what it gathers from each of them; as many must go on.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from neurosim_ep.ranks import Ranks
from neurosim_ep.record.atomic import file_digest, temporary_of
from neurosim_ep.record.checkpoint import EPOCH_AGAIN, NAME, WITHIN, load_checkpoint, save_checkpoint
from neurosim_ep.telemetry.alerts import Alert
from neurosim_ep.telemetry.epoch import EpochRecord
from neurosim_ep.train.trainer import Trainer
from neurosim_ep.train.underway import BEGINNING, Place, understood

EVERY_S = 300.0
"""Seconds between two checkpoints, at least."""
PAUSE = 50
"""Times as long as it takes to write one that none is written, at least."""


@dataclass(frozen=True)
class Within:
    """A checkpoint within ``epoch`` (from 0): the ``place``, as this process has it, the ``trainer`` there, the
    ``seconds`` that the epoch had taken, and the ``alerts`` of the run.
    """

    epoch: int
    place: Place
    trainer: Mapping[str, Any]
    seconds: float
    alerts: list[dict[str, Any]]


@dataclass
class Keeper:
    """Lets ``trainer`` train epochs, the first of them from where it was ``within`` it, and writes how far it has come
    into ``folder`` now and then, with the alerts so far.
    """

    trainer: Trainer
    folder: Path
    within: Within | None = None
    alerts: Callable[[], list[dict[str, Any]]] = list

    def __post_init__(self) -> None:
        self._began = self._due = 0.0

    @property
    def seconds(self) -> float:
        """Time that the epoch has taken."""
        return time.perf_counter() - self._began

    def train(self, epoch: int, on_batch: Callable[[int], None], warn: Callable[[Alert], None]) -> EpochRecord:
        """See :meth:`Trainer.train_epoch`; all processes of a run come here."""
        place, self._began = BEGINNING, time.perf_counter()
        self._due = self._began + EVERY_S
        if self.within is not None and self.within.epoch == epoch:
            place = self.within.place
            self._began -= self.within.seconds
        self.within = None  # and its tensors

        def batch_done(done: int) -> None:
            on_batch(done)
            if done < self.trainer.batches and self.trainer.ranks.told(time.perf_counter() >= self._due):
                self._save(epoch, done)

        return self.trainer.train_epoch(epoch, batch_done, warn, place)

    def _save(self, epoch: int, done: int) -> None:
        trainer, began = self.trainer, time.perf_counter()
        assert trainer.underway is not None
        parts = trainer.ranks.gathered(_packed(trainer.underway.state_dict()))
        if trainer.ranks.first:
            state = {
                "after": file_digest(self.folder / NAME), "device": trainer.device.type, "epoch": epoch, "done": done,
                "parts": parts, "trainer": trainer.state_dict(), "seconds": self.seconds, "alerts": self.alerts(),
            }  # fmt: skip
            save_checkpoint(self.folder, state, WITHIN)
        now = time.perf_counter()
        self._due = now + max(EVERY_S, PAUSE * (now - began))

    def forget(self) -> None:
        """The epoch is finished and saved: what is within it, whole or half written, is of no more use."""
        for path in (self.folder / WITHIN, temporary_of(self.folder / WITHIN)):
            path.unlink(missing_ok=True)


def read_within(
    folder: Path, epoch: int, ranks: Ranks, device: torch.device, say: Callable[[str], None]
) -> Within | None:
    """The checkpoint within ``epoch`` (from 0), which comes after the last finished one, in ``folder``; None where
    there is none, and where another number of processes or kind of device goes on than had begun, which is said.

    Raises :class:`CheckpointError` where the file is damaged.
    """
    if not ranks.told((folder / WITHIN).exists()):
        return None
    state = load_checkpoint(folder, device, WITHIN, EPOCH_AGAIN)
    with understood(folder / WITHIN):
        if state["after"] != file_digest(folder / NAME):
            return None  # that epoch has been finished
        parts, kind = state["parts"], state["device"]
        if (len(parts), kind) != (ranks.count, device.type):
            processes = "1 process" if len(parts) == 1 else f"{len(parts)} processes"
            say(f"{again(epoch, state['done'])}, which {processes} on {kind} had done")
            return None
        place = Place(int(state["done"]), _unpacked(parts[ranks.number], device))
        if state["epoch"] != epoch:
            raise ValueError(f"epoch {state['epoch'] + 1}, not {epoch + 1}")
        return Within(epoch, place, state["trainer"], float(state["seconds"]), list(state["alerts"]))


def again(epoch: int, done: int) -> str:
    """That ``done`` batches of ``epoch`` (from 0) are done once more."""
    batches = "batch" if done == 1 else f"{done} batches"
    return f"epoch {epoch + 1} begins again with its first {batches}"


def _packed(state: Mapping[str, Any]) -> bytes:
    """``state`` as bytes, which can be sent."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()


def _unpacked(content: bytes, device: torch.device) -> dict[str, Any]:
    """What was :func:`_packed`, with all tensors on ``device``."""
    return torch.load(io.BytesIO(content), map_location=device, weights_only=True)
