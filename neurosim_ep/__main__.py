"""``python -m neurosim_ep`` and the command ``neurosim-ep``: the command line as a process of its own."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from contextlib import suppress

from neurosim_ep.interrupts import EXIT_CODE, ignore_from_now_on, listen


def program() -> int:
    """Run :func:`~neurosim_ep.cli.main` and return its exit code, with which the process ends; a signal that comes at
    any moment makes it 130.

    PyTorch and matplotlib are a million objects that stay: the garbage collector looks at them less often than it
    would, and when all that waits for the end of the process has had its turn, nobody takes them apart one by one. (But
    where somebody waits for it already, whose turn would come after ours.)
    """
    gc.set_threshold(10_000)
    code = 1

    def end() -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # it may be closed
                stream.flush()
        os._exit(code)

    if not atexit._ncallbacks():  # the first to be registered is the last to be called
        atexit.register(end)
    try:
        listen(patient=False)
        from neurosim_ep.cli.streams import prepare_streams

        prepare_streams()
        from neurosim_ep.cli import main

        code = main()
    except KeyboardInterrupt:
        code = EXIT_CODE
    finally:
        ignore_from_now_on()
    return code


if __name__ == "__main__":
    sys.exit(program())
