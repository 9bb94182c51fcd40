"""The processes that share one run: each computes its share of every batch, and all hold the same weights.

torchrun starts them, or Slurm's srun; where neither has, there is one process, :data:`ALONE`, which exchanges nothing.
Samples are shared by their place in the batch: process r of N takes ``[r::N]``. Sums are the same to the last bit in
all processes, as each number is added up in one of them. What only the first process needs is gathered there: it writes
and speaks, the others are silent.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
import socket
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from neurosim_ep.errors import LostRankError, NeurosimError, UsageError
from neurosim_ep.interrupts import interrupted

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed.distributed_c10d import Store

Value = TypeVar("Value")
TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""Variables of every process that torchrun starts."""
SLURM = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_NODELIST", "SLURM_JOB_ID")
"""Variables of every process that srun starts; a batch script outside srun lacks some of them."""
PORTS = range(10_000, 30_000)
"""Where the processes of a Slurm job meet: below the ports that systems give to connections."""
LAST_WORDS = "last words"
_runs = itertools.count()  # of this process, one after the other


@dataclass(frozen=True)
class Place:
    """Where a launcher has put this process: ``number`` of ``count``, ``local`` among those of its machine; ``meeting``
    is the address where they find each other, as PyTorch writes it.
    """

    number: int = 0
    count: int = 1
    local: int = 0
    meeting: str = "env://"


def place(environment: Mapping[str, str] = os.environ) -> Place:
    """The place that torchrun or srun has written into the ``environment``; the only one where neither has.

    Raises :class:`UsageError` where a variable is not the number it should be.
    """
    names = next((names for names in (TORCHRUN, SLURM) if all(environment.get(name) for name in names)), None)
    if names is None:
        return Place()
    try:
        number, count, local = (int(environment[name]) for name in names[:3])
        if names is TORCHRUN:
            return Place(number, count, local)
        port = PORTS[int(environment["SLURM_JOB_ID"]) % len(PORTS)]
    except ValueError:
        told = ", ".join(f"{name} = {environment[name]}" for name in names)
        raise UsageError(f"{told}: must be numbers as the launcher sets them; unset them to run one process") from None
    host = environment.get("MASTER_ADDR") or first_host(environment["SLURM_STEP_NODELIST"])
    return Place(number, count, local, f"tcp://{host}:{environment.get('MASTER_PORT') or port}")


def is_follower() -> bool:
    """Whether this process is one of several, and not the first: it is silent."""
    try:
        return place().number > 0
    except UsageError:
        return False


def first_host(hosts: str) -> str:
    """The first of the ``hosts`` of a Slurm job: ``node007`` of ``node[007-009,012],login1``."""
    return re.sub(r"\[(\d+)[^\]]*\]", r"\1", re.split(r",(?![^\[]*\])", hosts)[0])


class Ranks:
    """One process that has the whole run for itself: it takes every sample and exchanges nothing."""

    number, count = 0, 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.number == 0

    def share(self, values: Tensor) -> Tensor:
        """What this process takes of ``values`` (B, ...), one for each sample of a whole batch."""
        return values

    def summed(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The sums of such ``tensors`` of all processes, in one exchange; they are of one device, and have the same
        shapes everywhere.
        """
        return list(tensors)

    def mean(self, grads: Mapping[str, Tensor], like: Mapping[str, Tensor], share: float) -> Mapping[str, Tensor]:
        """Gradients of a whole batch, from those of this process, whose samples are a ``share`` of it; ``like``: the
        tensors they are gradients of.

        Raises KeyboardInterrupt in all processes once any of them was told to stop.
        """
        return grads

    def gathered(self, value: Value) -> list[Value]:
        """In the first process the values of all, in their order; elsewhere its own alone."""
        return [value]

    def exchanged(self, value: Value) -> list[Value]:
        """The values of all processes, in their order."""
        return [value]

    def told(self, value: Value) -> Value:
        """The value of the first process."""
        return value

    def agree(self) -> None:
        """Wait for all processes. Raises KeyboardInterrupt in all of them once any was told to stop."""


ALONE = Ranks()


class Group(Ranks):
    """Process ``number`` of ``count`` that have met; ``store`` is where they leave words for each other."""

    def __init__(self, number: int, count: int, store: Store) -> None:
        self.number, self.count, self.store = number, count, store

    def share(self, values: Tensor) -> Tensor:
        """See :class:`Ranks`."""
        return values[self.number :: self.count]

    def summed(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """See :class:`Ranks`."""
        import torch

        flat = torch.cat([tensor.flatten() for tensor in tensors])
        with self._together():
            torch.distributed.all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in tensors])
        return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]

    def mean(self, grads: Mapping[str, Tensor], like: Mapping[str, Tensor], share: float) -> Mapping[str, Tensor]:
        """See :class:`Ranks`; a process without samples has no gradients."""
        import torch

        stop = next(iter(like.values())).new_tensor([float(interrupted())])
        weighted = (grads[name] * share if share else torch.zeros_like(tensor) for name, tensor in like.items())
        *sums, stops = self.summed([*weighted, stop])
        if float(stops) > 0:
            raise KeyboardInterrupt
        return dict(zip(like, sums, strict=True))

    def gathered(self, value: Value) -> list[Value]:
        """See :class:`Ranks`."""
        import torch

        found: list[Any] = [value] * self.count if self.first else [value]
        with self._together():
            torch.distributed.gather_object(value, found if self.first else None)
        return found

    def exchanged(self, value: Value) -> list[Value]:
        """See :class:`Ranks`."""
        import torch

        found: list[Any] = [value] * self.count
        with self._together():
            torch.distributed.all_gather_object(found, value)
        return found

    def told(self, value: Value) -> Value:
        """See :class:`Ranks`."""
        import torch

        found = [value]
        with self._together():
            torch.distributed.broadcast_object_list(found)
        return found[0]

    def agree(self) -> None:
        """See :class:`Ranks`."""
        if any(self.exchanged(interrupted())):
            raise KeyboardInterrupt

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Raises :class:`LostRankError` where another process has left, in the first with the words that it left."""
        try:
            yield
        except RuntimeError as problem:
            reason = "it was killed, or its machine cannot be reached"
            if self.first and self.store.check([LAST_WORDS]):  # others may ask a store that has gone with the first
                reason = self.store.get(LAST_WORDS).decode()
            raise LostRankError(f"one of the {self.count} processes of this run has ended: {reason}") from problem

    def leave_word(self, problem: BaseException) -> None:
        """Let the others know what ended this process, unless it was that one of them has."""
        if not isinstance(problem, LostRankError):
            known = isinstance(problem, NeurosimError)
            words = str(problem) if known else traceback.format_exception_only(problem)[-1].strip()
            with suppress(RuntimeError):
                self.store.set(LAST_WORDS, f"process {self.number}: {words or type(problem).__name__}")


@contextmanager
def joined(device: str) -> Iterator[tuple[Ranks, str]]:
    """The processes of this run, and the device of this one, while the block lasts: of those that were launched, all
    come here. ``device`` is "auto", "cpu" or "cuda"; where there is one process alone, also "cuda:N".

    Raises :class:`UsageError` where the processes have devices that they cannot share the work with.
    """
    here = place()
    if here.count == 1:
        yield ALONE, device
        return
    import torch
    from torch.distributed.distributed_c10d import PrefixStore

    device = _own_device(device, here)
    store = PrefixStore(f"neurosim-ep/{next(_runs)}", _store(here))
    backend = "cpu:gloo,cuda:nccl" if device != "cpu" else "gloo"
    torch.distributed.init_process_group(backend, store=store, rank=here.number, world_size=here.count)
    group = Group(here.number, here.count, store)
    try:
        _require_own(group.exchanged(_identity(device)))
        yield group, device
    except BaseException as problem:
        group.leave_word(problem)
        raise
    finally:
        torch.distributed.destroy_process_group()


@functools.cache
def _store(here: Place) -> Store:
    """Where processes find each other; it lasts as long as they."""
    from torch.distributed.rendezvous import rendezvous

    return next(rendezvous(here.meeting, here.number, here.count))[0]


def _own_device(device: str, here: Place) -> str:
    """The device of this process: the GPU of its number on its machine, or the only one that it is shown."""
    import torch

    if device.startswith("cuda:"):
        raise UsageError(f"device = {device}: {here.count} processes take a GPU each; use --device cuda, or auto")
    if device == "cpu" or not torch.cuda.is_available():
        return device if device != "auto" else "cpu"
    return f"cuda:{here.local if torch.cuda.device_count() > 1 else 0}"


def _identity(device: str) -> tuple[str, str, str]:
    """Kind of ``device``, and what tells one GPU from another: the machine, and the number it was made with."""
    import torch

    if device == "cpu":
        return "cpu", "", ""
    return "cuda", socket.gethostname(), str(torch.cuda.get_device_properties(device).uuid)


def _require_own(found: Sequence[tuple[str, str, str]]) -> None:
    """Raise :class:`UsageError` unless all processes compute on CPUs, or on a GPU each."""
    kinds = {kind for kind, *_ in found}
    if len(kinds) > 1:
        raise UsageError("device = auto: some processes have a GPU and others none; use --device cpu for all of them")
    if "cuda" in kinds and len(set(found)) < len(found):
        raise UsageError(
            f"device = cuda: {len(found)} processes share {len(set(found))} GPUs; start one process per GPU"
        )
