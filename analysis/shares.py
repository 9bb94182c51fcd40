"""Work shared between processes."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import current_process, get_context
from multiprocessing.connection import Connection
from typing import Any

from neurosim_ep.threads import free_cores

SMALLEST = 4  # jobs that are worth a process
TICKET_BYTES = 4
PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>: the signal that a process gets when its parent has ended

Job = Callable[[], Any]
Found = dict[int, Any]


def do_all(jobs: Sequence[Job]) -> list[Any]:
    """What each of ``jobs`` gives, in their order; on Linux every free core does the next one once it has done one.

    The others are copies of this process: jobs may be anything that computes without PyTorch and leaves what it does
    in files and in a result that can be pickled. What a process that fails had taken is done again here, and errors are
    raised here.
    """
    count = max(1, min(_cores(), len(jobs) // SMALLEST))
    if count == 1:
        return [job() for job in jobs]
    reading, writing = os.pipe()
    for number in range(count, len(jobs)):
        os.write(writing, number.to_bytes(TICKET_BYTES, "little"))
    os.close(writing)
    helpers: list[_Copy] = []
    try:
        for first in range(1, count):
            helpers.append(_Copy(partial(_do, jobs, first, reading)))
        found = _do(jobs, 0, reading)
        for helper in helpers:
            found |= helper.result(dict)
    finally:
        os.close(reading)
        for helper in helpers:
            helper.stop()
    return [found[number] if number in found else job() for number, job in enumerate(jobs)]


def _do(jobs: Sequence[Job], first: int, tickets: int) -> Found:
    """What the ``first`` job gives, and those whose numbers this process draws from the pipe ``tickets``."""
    return {number: jobs[number]() for number in _numbers(first, tickets)}


def _numbers(first: int, tickets: int) -> Iterator[int]:
    yield first
    while ticket := os.read(tickets, TICKET_BYTES):  # all were written before, and a pipe gives each to one reader
        yield int.from_bytes(ticket, "little")


@contextmanager
def ahead(ready: Callable[[], object], job: Job) -> Iterator[Job]:
    """Do ``job`` by calling what this gives, later; until then a copy of this process makes ``ready`` for it, where a
    core is free for that. Jobs and errors are as those of :func:`do_all`.
    """
    if _cores() == 1:
        yield job
        return
    told, tell = os.pipe()

    def work() -> Any:
        os.close(tell)  # or this copy would wait for itself when the others have ended
        ready()
        if not os.read(told, 1):
            raise EOFError
        return job()

    def later() -> Any:
        os.write(tell, b"!")
        return copy.result(job)

    copy = _Copy(work, daemon=False)
    try:
        yield later
    finally:
        copy.stop()
        os.close(told)
        os.close(tell)


def _cores() -> int:
    """How many processes can work at once: this one alone where it may make no others."""
    return 1 if sys.platform != "linux" or current_process().daemon else free_cores()


class _Copy:
    """A copy of this process that does ``work``; one that is no ``daemon`` may make copies of its own."""

    def __init__(self, work: Job, *, daemon: bool = True) -> None:
        context = get_context("fork")
        self.receiver, sender = context.Pipe(duplex=False)
        self.process = context.Process(target=_work, args=(work, self.receiver, sender, os.getpid()), daemon=daemon)
        with warnings.catch_warnings(), suppress(OSError):  # of a system that allows no more processes
            warnings.simplefilter("ignore", DeprecationWarning)  # a copy has none of the threads, and needs none
            self.process.start()
        sender.close()

    def result(self, otherwise: Job) -> Any:
        """What its work gave; where it failed, what ``otherwise`` gives."""
        try:
            return self.receiver.recv()
        except EOFError:
            return otherwise()

    def stop(self) -> None:
        if self.process.pid is not None:
            self.process.kill()
            self.process.join()
        self.receiver.close()


def _work(work: Job, receiver: Connection, sender: Connection, maker: int) -> None:
    """What a copy does. Ctrl-C is for its ``maker``, the process it was made from, and with that it ends, or it would
    keep the lock of the run directory.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != maker:
        os._exit(1)
    receiver.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(BaseException):  # what it took is done again
        sender.send(work())
