"""``python -m neurosim_ep`` and the command ``neurosim-ep``: the command line as a process of its own."""

from __future__ import annotations

import gc
import sys

from neurosim_ep.cli import main


def program() -> int:
    """Run :func:`~neurosim_ep.cli.main` and return its exit code.

    PyTorch and matplotlib are a million objects that stay: the garbage collector looks at them less often than it
    would, and not once more when the process ends.
    """
    gc.set_threshold(10_000)
    try:
        return main()
    finally:
        gc.freeze()


if __name__ == "__main__":
    sys.exit(program())
