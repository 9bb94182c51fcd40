"""Work shared between processes."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection, Pipe
from pickle import UnpicklingError
from typing import Any, NoReturn

from neurosim_ep.interrupts import NUMBERS, held
from neurosim_ep.threads import free_cores

SMALLEST = 4  # jobs that are worth a process
TICKET_BYTES = 4
PATIENCE_S = 60.0  # for which a copy waits to be told, whatever has become of who should
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
        if not select.select([told], [], [], PATIENCE_S)[0] or not os.read(told, 1):
            raise EOFError
        return job()

    def later() -> Any:
        os.write(tell, b"!")
        return copy.result(job)

    copy = _Copy(work)
    try:
        yield later
    finally:
        copy.stop()
        os.close(told)
        os.close(tell)


def _cores() -> int:
    """How many processes can work at once; this one alone where it has other threads: a copy has none of them, but what
    they have locked, as a library that they are loading, is locked in it for ever.
    """
    return free_cores() if sys.platform == "linux" and threading.active_count() == 1 else 1


class _Copy:
    """A copy of this process that does ``work``; it may make copies of its own."""

    def __init__(self, work: Job) -> None:
        self.receiver, sender = Pipe(duplex=False)
        self.number, maker = 0, os.getpid()
        try:
            with held(), warnings.catch_warnings(), suppress(OSError):  # of a system that allows no more processes
                warnings.simplefilter("ignore", DeprecationWarning)  # threads of libraries are at rest
                self.number = os.fork()
                if not self.number:
                    _work(work, self.receiver, sender, maker)
            sender.close()
        except BaseException:
            self.stop()
            raise

    def result(self, otherwise: Job) -> Any:
        """What its work gave; where it failed, what ``otherwise`` gives."""
        try:
            return self.receiver.recv()
        except (EOFError, OSError, UnpicklingError):
            return otherwise()

    def stop(self) -> None:
        if self.number:
            os.kill(self.number, signal.SIGKILL)
            os.waitpid(self.number, 0)
        self.receiver.close()


def _work(work: Job, receiver: Connection, sender: Connection, maker: int) -> NoReturn:
    """All that a copy does. Ctrl-C is for its ``maker``, the process it was made from, and with that it ends, or it
    would keep the lock of the run directory.
    """
    with suppress(BaseException):  # what it took is done again
        for number in NUMBERS:
            signal.signal(number, signal.SIG_IGN if number == signal.SIGINT else signal.SIG_DFL)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        receiver.close()
        if os.getppid() == maker:
            sender.send(work())
    os._exit(0)
