"""Files of pictures, for whoever writes what another process has drawn and needs no matplotlib."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from neurosim_ep.errors import UsageError
from neurosim_ep.record.atomic import write_atomic

File = tuple[Path, bytes]
"""A path and what is to be there."""


def write(pictures: Sequence[File]) -> list[Path]:
    """Write the files of ``pictures``; returns their paths. Raises :class:`UsageError` where it cannot."""
    for path, content in pictures:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, content, path.with_name(f".{path.name}.{os.getpid()}.tmp"))
        except OSError as problem:
            raise UsageError(
                f"{path.parent}: pictures cannot be written there ({problem.strerror}); choose another --out"
            ) from problem
    return [path for path, _ in pictures]
