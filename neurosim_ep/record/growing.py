"""A file that grows at its end, of which a checkpoint knows how much counts."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neurosim_ep.errors import CheckpointError

RESTORE = "restore the file from a copy, or start the run again"


def require_length(path: Path, length: int) -> None:
    """Raise :class:`CheckpointError` unless the file has this ``length`` in bytes; one that is missing has none."""
    if (path.stat().st_size if path.exists() else 0) != length:
        what = "changed" if path.exists() else "moved or deleted"
        raise CheckpointError(f"{path}: was {what} while a command wrote to it; {RESTORE}")


class GrowingFile:
    """Appends to the file at ``path``; :meth:`state_dict` goes into the checkpoint after it.

    A command that is killed in between leaves more than the checkpoint knows of: :meth:`cut` drops that.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.length, self._digest = path, 0, hashlib.sha256()

    def append(self, content: bytes) -> None:
        """Add ``content``. Raises :class:`CheckpointError` where the file is no longer as it was left."""
        self.check()
        try:
            with self.path.open("ab") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError as problem:
            problem.filename = problem.filename or str(self.path)
            raise
        self.length += len(content)
        self._digest.update(content)

    def check(self) -> None:
        """Raise :class:`CheckpointError` where the file is longer or shorter than it was left."""
        require_length(self.path, self.length)

    def state_dict(self) -> dict[str, Any]:
        """How long the file is, and the SHA-256 of it."""
        return {"bytes": self.length, "sha256": self._digest.hexdigest()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`, after :meth:`cut`; nothing is written.

        Raises :class:`CheckpointError` where the file does not begin with what the checkpoint knows of.
        """
        length, content = int(state["bytes"]), self.path.read_bytes() if self.path.exists() else b""
        digest = hashlib.sha256(content[:length])
        if digest.hexdigest() != state["sha256"]:
            what = "damaged or edited" if self.path.exists() else "missing"
            raise CheckpointError(f"{self.path}: {what}: not what the run's checkpoint knows of; {RESTORE}")
        self.length, self._digest = length, digest

    def cut(self) -> None:
        """Drop what was written after the checkpoint."""
        if self.path.exists() and self.path.stat().st_size != self.length:
            if self.length:
                os.truncate(self.path, self.length)
            else:
                self.path.unlink()
