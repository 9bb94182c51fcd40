"""Work shared between processes."""

from __future__ import annotations

import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from neurosim_ep.threads import free_cores

SMALLEST = 4  # jobs that are worth a process

Job = Callable[[], Any]


def do_all(jobs: Sequence[Job]) -> list[Any]:
    """What each of ``jobs`` gives, in their order; on Linux every free core takes a share of them.

    The others are copies of this process: jobs may be anything that computes without PyTorch and leaves what it does
    in files and in a result that can be pickled. A share whose process fails is done again here, and errors are raised
    here.
    """
    count = max(1, min(free_cores(), len(jobs) // SMALLEST)) if sys.platform == "linux" else 1
    mine, *others = (jobs[first::count] for first in range(count))
    helpers = [_Helper(share) for share in others]
    try:
        found = [[job() for job in mine], *(helper.results() for helper in helpers)]
    finally:
        for helper in helpers:
            helper.stop()
    return [found[number % count][number // count] for number in range(len(jobs))]


class _Helper:
    """A copy of this process that does a ``share`` of its jobs."""

    def __init__(self, share: Sequence[Job]) -> None:
        context = get_context("fork")
        self.share = share
        self.receiver, sender = context.Pipe(duplex=False)
        self.process = context.Process(target=_work, args=(share, sender), daemon=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # a copy has none of the threads, and needs none
            self.process.start()
        sender.close()

    def results(self) -> list[Any]:
        try:
            found: list[Any] = self.receiver.recv()
            return found
        except EOFError:
            return [job() for job in self.share]

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.receiver.close()


def _work(share: Sequence[Job], sender: Connection) -> None:
    """What a copy does: Ctrl-C is for the process it was made from, which stops it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(BaseException):  # the share is done again
        sender.send([job() for job in share])
