"""``python -m neurosim_ep`` and the command ``neurosim-ep``: the command line as a process of its own."""

from __future__ import annotations

import gc
import sys

from neurosim_ep.interrupts import EXIT_CODE, ignore_from_now_on, listen


def program() -> int:
    """Run :func:`~neurosim_ep.cli.main` and return its exit code; a signal that comes at any moment makes it 130.

    PyTorch and matplotlib are a million objects that stay: the garbage collector looks at them less often than it
    would, and not once more when the process ends.
    """
    gc.set_threshold(10_000)
    try:
        listen(patient=False)
        from neurosim_ep.cli.streams import prepare_streams

        prepare_streams()
        from neurosim_ep.cli import main

        return main()
    except KeyboardInterrupt:
        return EXIT_CODE
    finally:
        ignore_from_now_on()
        gc.freeze()


if __name__ == "__main__":
    sys.exit(program())
