"""Standard streams that a command can rely on, whoever reads them."""

from __future__ import annotations

import io
import os
import sys
from typing import Any


class _Patient(io.TextIOWrapper):
    """Text for a reader that may leave: what follows is for nobody. What the encoding lacks is spelt out."""

    def write(self, text: str) -> int:
        if text == "":  # some ask so whether this is a stream of text, and are deaf to the answer of a full disk
            return 0
        try:
            return super().write(text)
        except OSError as problem:
            self._to_nobody(problem)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as problem:
            self._to_nobody(problem)

    def _to_nobody(self, problem: OSError) -> None:
        """Write nowhere from now on; raises ``problem`` where it is more than a reader that has left."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        if not isinstance(problem, BrokenPipeError):
            raise problem


def prepare_streams() -> None:
    """Make stdin, stdout and stderr of this process such streams.

    Closed ones are opened on the null device: files that are opened later must not take their numbers, which the
    libraries beneath print to.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    sys.stdout, sys.stderr = _patient(sys.stdout, 1), _patient(sys.stderr, 2)


def _patient(stream: Any, descriptor: int) -> _Patient:
    if stream is None:
        return _Patient(io.FileIO(descriptor, "w"), encoding="utf-8", errors="backslashreplace", write_through=True)
    encoding, by_line, at_once = stream.encoding, stream.line_buffering, stream.write_through
    return _Patient(stream.detach(), encoding, "backslashreplace", line_buffering=by_line, write_through=at_once)
