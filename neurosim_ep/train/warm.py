"""Warm starts: the free state of every training sample, kept in float16 from one epoch to the next.

A sample is seen once per epoch, so what an epoch reads is what the epoch before it left. Each epoch leaves its states
in a file of its own beside the checkpoint; the older one is deleted once the checkpoint that needs the newer one is
safe. A resumed run therefore starts from the very states the uninterrupted run had.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import h5py
import numpy as np
import torch
from torch import Tensor

from neurosim_ep.ep.network import channels_last
from neurosim_ep.errors import CheckpointError
from neurosim_ep.record.atomic import file_digest
from neurosim_ep.record.growing import RESTORE


class WarmStates:
    """Free states of ``samples`` training samples with layers of ``shapes``, in ``folder``.

    With ``in_memory`` states are read from and kept in memory and written out once per epoch; else they stay in the
    file. Use it as a context for the length of an epoch.
    """

    def __init__(self, folder: Path, samples: int, shapes: Sequence[tuple[int, ...]], *, in_memory: bool) -> None:
        self.folder, self.samples, self.shapes, self.in_memory = folder, samples, list(shapes), in_memory
        self.epoch = 0
        self._old: list[np.ndarray | h5py.Dataset] | None = None
        self._new: list[np.ndarray | h5py.Dataset] = []
        self._files: list[h5py.File] = []

    def path(self, epoch: int) -> Path:
        """The file that ``epoch`` (from 0) starts from."""
        return self.folder / f"warm-{epoch}.h5"

    def digest(self, epoch: int) -> str | None:
        """SHA-256 of the file that ``epoch`` (from 0) starts from; None for the first, which starts from none."""
        return file_digest(self.path(epoch)) if epoch else None

    def require(self, epoch: int, digest: str | None) -> None:
        """Raise :class:`CheckpointError` unless ``epoch`` (from 0) starts from the states with this :meth:`digest`."""
        if epoch and not self.path(epoch).is_file():
            raise CheckpointError(f"{self.path(epoch)}: the states of the samples are missing; {RESTORE}")
        if self.digest(epoch) != digest:
            raise CheckpointError(f"{self.path(epoch)}: damaged: not the states that the run left; {RESTORE}")

    def begin(self, epoch: int) -> WarmStates:
        """Get ready for ``epoch`` (from 0). Raises :class:`CheckpointError` for states of another network."""
        self.epoch = epoch
        if epoch == 0:
            self._old = None
        elif not self.in_memory or self._old is None:
            datasets = self._open(self.path(epoch))
            self._old = [dataset[:] for dataset in datasets] if self.in_memory else datasets
        if self.in_memory:
            self._new = [np.zeros((self.samples, *shape), np.float16) for shape in self.shapes]
        else:
            self._new = self._create(self.path(epoch + 1))
        return self

    def __enter__(self) -> WarmStates:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the states of a finished epoch for the next one."""
        if kind is None and self.in_memory:
            for dataset, values in zip(self._create(self.path(self.epoch + 1)), self._new, strict=True):
                dataset[:] = values
        for file in self._files:
            file.close()
        self._files.clear()
        self._old = self._new if self.in_memory else None
        if kind is None:
            with self.path(self.epoch + 1).open("rb") as written:
                os.fsync(written.fileno())

    def start(self, chosen: Tensor, device: torch.device) -> list[Tensor] | None:
        """States (B, *shape) in float32 that the samples ``chosen`` (B,) rested at; None in the first epoch."""
        if self._old is None:
            return None
        order, back = self._sorted(chosen)
        return [channels_last(torch.from_numpy(values[order][back]).to(device).float()) for values in self._old]

    def keep(self, chosen: Tensor, states: Sequence[Tensor]) -> None:
        """Remember ``states`` (B, *shape) of the samples ``chosen`` (B,)."""
        order, back = self._sorted(chosen)
        forth = np.argsort(back)
        for kept, state in zip(self._new, states, strict=True):
            kept[order] = state.to(torch.float16).cpu().numpy()[forth]

    def forget_all_but(self, epoch: int) -> None:
        """Delete what epochs other than ``epoch`` start from."""
        for path in self.folder.glob("warm-*.h5"):
            if path != self.path(epoch):
                path.unlink()

    def _open(self, path: Path) -> list[h5py.Dataset]:
        try:
            self._files.append(h5py.File(path, "r"))
            datasets = [self._files[-1][f"layer{n}"] for n in range(len(self.shapes))]
            shapes = [dataset.shape for dataset in datasets]
        except (OSError, KeyError) as problem:
            raise CheckpointError(f"{path}: damaged or of another network ({problem}); {RESTORE}") from problem
        if shapes != [(self.samples, *shape) for shape in self.shapes]:
            raise CheckpointError(f"{path}: holds the states of another network or data set; {RESTORE}")
        return datasets

    def _create(self, path: Path) -> list[h5py.Dataset]:
        file = h5py.File(path, "w")
        self._files.append(file)
        return [
            file.create_dataset(f"layer{n}", (self.samples, *shape), np.float16, chunks=(1, *shape))
            for n, shape in enumerate(self.shapes)
        ]

    @staticmethod
    def _sorted(chosen: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """``chosen`` in rising order, as HDF5 wants it, and the places there that give it back."""
        order = np.sort(chosen.cpu().numpy())
        return order, np.searchsorted(order, chosen.cpu().numpy())
