"""Warm starts: the free state of every training sample, kept in float16 from one epoch to the next.

A sample is seen once per epoch, so what an epoch reads is what the epoch before it left. Each epoch leaves its states
in a file of its own beside the checkpoint, or in one per process where several share the samples: a process writes
what it has computed, and reads the samples of its next epoch from whoever had them. Older files are deleted once the
checkpoint that needs the newer ones is safe. A resumed run therefore starts from the very states the uninterrupted run
had, and with any number of processes.

The layers of a file are laid out when it is begun and filled in place, so what a checkpoint within an epoch has let
reach the disk stays readable whatever happens afterwards.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import h5py
import numpy as np
import torch
from torch import Tensor

from neurosim_ep.ep.network import channels_last
from neurosim_ep.errors import CheckpointError
from neurosim_ep.ranks import ALONE, Ranks
from neurosim_ep.record.atomic import file_digest, fsync, require_room
from neurosim_ep.record.checkpoint import EPOCH_AGAIN
from neurosim_ep.record.growing import RESTORE

HELD = "held"
"""Numbers of the samples whose states are in the file of one process of several."""

Rows = np.ndarray | slice


class _Part:
    """States of the samples ``numbers`` (n,), in rising order, of every layer (n, *shape), in memory or in a file."""

    def __init__(self, numbers: np.ndarray, layers: Sequence[np.ndarray | h5py.Dataset]) -> None:
        self.numbers, self.layers = numbers, layers

    def rows(self, chosen: np.ndarray) -> Rows:
        """Where the samples ``chosen`` (n,), which are among its own and rise, lie."""
        return slice(None) if len(chosen) == len(self.numbers) else np.searchsorted(self.numbers, chosen)


class _Growing:
    """The states that an epoch leaves, ``part``, and the file at ``path`` that gets them: at once where the part lies
    in it, else whenever they are saved.
    """

    def __init__(self, path: Path, part: _Part) -> None:
        self.path, self.part = path, part
        self.datasets: list[h5py.Dataset] = []  # none before the file is begun
        self.left: list[np.ndarray] = []  # numbers of the samples of each batch that is not saved yet
        self.digest = hashlib.sha256()  # of those that are, batch by batch

    def saved(self, chosen: np.ndarray) -> None:
        """The samples ``chosen`` (B,) are."""
        rows = self.part.rows(chosen)
        for layer in self.part.layers:
            self.digest.update(np.ascontiguousarray(layer[rows]).data)


class WarmStates:
    """Free states of ``samples`` training samples with layers of ``shapes``, in ``folder``.

    With ``in_memory`` states are read from and kept in memory and written out once per epoch; else they stay in the
    file. Each of several ``ranks`` has the states of its own samples.
    """

    def __init__(
        self,
        folder: Path,
        samples: int,
        shapes: Sequence[tuple[int, ...]],
        *,
        in_memory: bool,
        ranks: Ranks = ALONE,
    ) -> None:
        self.folder, self.samples, self.shapes, self.in_memory = folder, samples, list(shapes), in_memory
        self.ranks = ranks
        self._known: tuple[int, str | None] = 0, None
        self._old: list[_Part] | None = None
        self._new = _Growing(folder, _Part(np.arange(0), []))
        self._files: list[h5py.File] = []

    def path(self, epoch: int) -> Path:
        """The file that this process writes for ``epoch`` (from 0) to start from."""
        own = "" if self.ranks.count == 1 else f".{self.ranks.number}-of-{self.ranks.count}"
        return self.folder / f"warm-{epoch}{own}.h5"

    def paths(self, epoch: int) -> list[Path]:
        """All files that ``epoch`` (from 0) starts from, in the order of the processes that wrote them."""
        found = [(re.fullmatch(rf"warm-{epoch}(?:\.(\d+)-of-(\d+))?\.h5", path.name), path) for path in self._all()]
        return [path for _, path in sorted((int(name[1] or 0), path) for name, path in found if name)]

    def digest(self, epoch: int) -> str | None:
        """SHA-256 of the files that ``epoch`` (from 0) starts from; None for the first, which starts from none. Each
        process looks at some of them.
        """
        if self._known[0] != epoch:
            self._known = epoch, self._digest(epoch)
        return self._known[1]

    def _digest(self, epoch: int) -> str:
        paths, count = self.paths(epoch), self.ranks.count
        found = self.ranks.exchanged([file_digest(path) for path in paths[self.ranks.number :: count]])
        return ",".join(found[place % count][place // count] for place in range(len(paths)))

    def require(self, epoch: int, digest: str | None) -> None:
        """Raise :class:`CheckpointError` unless ``epoch`` (from 0) starts from the states with this :meth:`digest`."""
        if epoch and not self.paths(epoch):
            raise CheckpointError(f"{self.path(epoch)}: the states of the samples are missing; {RESTORE}")
        if self.digest(epoch) != digest:
            names = ", ".join(str(path) for path in self.paths(epoch))
            raise CheckpointError(f"{names}: damaged: not the states that the run left; {RESTORE}")

    @contextmanager
    def during(self, epoch: int, own: Tensor, done: Sequence[Tensor] = (), digest: str | None = None) -> Iterator[Self]:
        """``epoch`` (from 0) goes on inside the block, in which this process has the samples ``own`` (n,); the states
        of a finished one are left for the next. Its batches ``done`` (B,) have been saved before, with this ``digest``,
        see :meth:`save`.

        Raises :class:`CheckpointError` for states that are damaged or of another network.
        """
        numbers = np.sort(own.numpy())
        if epoch == 0:
            self._old = None
        elif not self.in_memory:
            self._old = self._open(epoch)
        elif self._old is None or self.ranks.count > 1:
            parts = self._open(epoch)
            self._old = [_Part(numbers, [self._read(parts, n, numbers) for n in range(len(self.shapes))])]
        try:
            self._new = self._going_on(epoch, numbers, done, digest) if done else self._begun(epoch, numbers)
            yield self
            self._write()
        finally:
            for file in self._files:
                file.close()
            self._files.clear()
            self._old = [self._new.part] if self.in_memory else None
        fsync(self.path(epoch + 1))

    def start(self, chosen: Tensor, device: torch.device) -> list[Tensor] | None:
        """States (B, *shape) in float32 that the samples ``chosen`` (B,) rested at; None in the first epoch."""
        if self._old is None:
            return None
        order, back = self._sorted(chosen)
        found = (self._read(self._old, layer, order)[back] for layer in range(len(self.shapes)))
        return [channels_last(torch.from_numpy(values).to(device).float()) for values in found]

    def keep(self, chosen: Tensor, states: Sequence[Tensor]) -> None:
        """Remember ``states`` (B, *shape) of the samples ``chosen`` (B,), which are among this process's."""
        if not len(chosen):
            return
        order, back = self._sorted(chosen)
        rows, forth = self._new.part.rows(order), np.argsort(back)
        for kept, state in zip(self._new.part.layers, states, strict=True):
            kept[rows] = state.to(torch.float16).cpu().numpy()[forth]
        self._new.left.append(order)

    def save(self) -> str:
        """Let what the batches of this epoch have left so far reach the disk; returns the SHA-256 of it."""
        self._write()
        for chosen in self._new.left:
            self._new.saved(chosen)
        self._new.left.clear()
        self._new.datasets[0].file.flush()
        fsync(self._new.path)
        return self._new.digest.hexdigest()

    def _write(self) -> None:
        """Bring what has not been saved from memory into the file."""
        new = self._new
        if not new.datasets:
            new.datasets = self._create(new.path, new.part.numbers)
        if self.in_memory:
            chosen = np.sort(np.concatenate([np.arange(0), *new.left]))
            if len(chosen):
                rows = new.part.rows(chosen)
                for dataset, values in zip(new.datasets, new.part.layers, strict=True):
                    dataset[rows] = values[rows]

    def _begun(self, epoch: int, numbers: np.ndarray) -> _Growing:
        """What ``epoch`` is going to leave of the samples ``numbers``."""
        path = self.path(epoch + 1)
        if self.in_memory:
            return _Growing(path, self._in_memory(numbers))
        new = _Growing(path, _Part(numbers, self._create(path, numbers)))
        new.datasets = list(new.part.layers)
        return new

    def _in_memory(self, numbers: np.ndarray) -> _Part:
        return _Part(numbers, [np.zeros((len(numbers), *shape), np.float16) for shape in self.shapes])

    def _going_on(self, epoch: int, numbers: np.ndarray, done: Sequence[Tensor], digest: str | None) -> _Growing:
        """The same after the batches ``done``, whose states are in the file."""
        path, saved = self.path(epoch + 1), [np.sort(chosen.numpy()) for chosen in done if len(chosen)]
        try:
            self._files.append(file := h5py.File(path, "r+"))
            datasets = [file[f"layer{n}"] for n in range(len(self.shapes))]
            new = _Growing(path, _Part(numbers, datasets))
            new.datasets = datasets
            for chosen in saved:
                new.saved(chosen)
        except (OSError, KeyError, ValueError, IndexError) as problem:
            raise CheckpointError(f"{path}: missing or damaged ({problem}); {EPOCH_AGAIN}") from problem
        if new.digest.hexdigest() != digest:
            raise CheckpointError(f"{path}: damaged: not the states that the run left; {EPOCH_AGAIN}")
        if self.in_memory:
            new.part = self._in_memory(numbers)
            rows = new.part.rows(np.sort(np.concatenate([np.arange(0), *saved])))
            for values, dataset in zip(new.part.layers, datasets, strict=True):
                values[rows] = dataset[rows]
        return new

    def forget_all_but(self, *epochs: int) -> None:
        """Delete what epochs other than these start from."""
        for path in set(self._all()).difference(*(self.paths(epoch) for epoch in epochs)):
            path.unlink()

    def _all(self) -> list[Path]:
        return sorted(self.folder.glob("warm-*.h5"))

    def _read(self, parts: Sequence[_Part], layer: int, chosen: np.ndarray) -> np.ndarray:
        """States (n, *shape) of a layer of the samples ``chosen`` (n,), in rising order, wherever they are."""
        if len(parts) == 1 and len(chosen):
            return parts[0].layers[layer][parts[0].rows(chosen)]
        found = np.zeros((len(chosen), *self.shapes[layer]), np.float16)
        for part in parts:
            if (mine := np.isin(chosen, part.numbers)).any():
                found[mine] = part.layers[layer][part.rows(chosen[mine])]
        return found

    def _open(self, epoch: int) -> list[_Part]:
        """What the files of ``epoch`` hold, which must be the states of all samples."""
        parts, path = [], self.path(epoch)
        try:
            for path in self.paths(epoch):
                self._files.append(file := h5py.File(path, "r"))
                datasets = [file[f"layer{n}"] for n in range(len(self.shapes))]
                parts.append(_Part(file[HELD][:] if HELD in file else np.arange(self.samples), datasets))
                if [dataset.shape for dataset in datasets] != [(len(parts[-1].numbers), *one) for one in self.shapes]:
                    raise CheckpointError(f"{path}: holds the states of another network or data set; {RESTORE}")
        except (OSError, KeyError) as problem:
            raise CheckpointError(f"{path}: damaged or of another network ({problem}); {RESTORE}") from problem
        if sum(len(part.numbers) for part in parts) != self.samples:
            raise CheckpointError(f"{path}: of the states of the samples some files are missing; {RESTORE}")
        return parts

    def _create(self, path: Path, numbers: np.ndarray) -> list[h5py.Dataset]:
        require_room(self.folder, 2 * len(numbers) * sum(math.prod(shape) for shape in self.shapes))
        file = h5py.File(path, "w")
        self._files.append(file)
        if self.ranks.count > 1:
            file[HELD] = numbers
        return [
            file.create_dataset(f"layer{n}", (len(numbers), *shape), np.float16) for n, shape in enumerate(self.shapes)
        ]

    @staticmethod
    def _sorted(chosen: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """``chosen`` in rising order, as HDF5 wants it, and the places there that give it back."""
        order = np.sort(chosen.cpu().numpy())
        return order, np.searchsorted(order, chosen.cpu().numpy())
