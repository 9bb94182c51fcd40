"""Files that are either old or new, never half."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOM = 2**18


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write ``document`` atomically. Numbers that are not finite become null, as JSON has none."""
    write_atomic(path, json_bytes(document))


def json_bytes(document: Mapping[str, Any]) -> bytes:
    """``document`` as JSON in UTF-8; what is no text in paths is spelt out."""
    text = json.dumps(_finite(document), indent=2, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode(errors="backslashreplace")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_atomic(path: Path, content: bytes, temporary: Path | None = None) -> None:
    """Replace ``path`` by ``content`` so that a crash at any moment leaves the old file or the new one.

    ``temporary``: where it is prepared, when other commands may be writing ``path`` too. What a disk that is full has
    taken of it is given back.
    """
    temporary = temporary or temporary_of(path)
    try:
        temporary.write_bytes(content)
        replace_atomic(temporary, path)
    except BaseException as problem:
        temporary.unlink(missing_ok=True)
        if isinstance(problem, OSError):
            problem.filename = problem.filename or str(path)
        raise


def temporary_of(path: Path) -> Path:
    """Where the next version of ``path`` is prepared: beside it, so that renaming is atomic."""
    return path.with_name(f".{path.name}.tmp")


def replace_atomic(temporary: Path, path: Path) -> None:
    """Put the finished ``temporary`` in the place of ``path``: fsync, rename, fsync of the directory."""
    fsync(temporary)
    temporary.replace(path)
    fsync(path.parent)


def fsync(path: Path) -> None:
    """Let what was written to ``path`` reach the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_room(folder: Path, size: int) -> None:
    """Raise OSError, as a disk that is full does, unless ``folder`` has room for ``size`` bytes and what a file takes
    beside them: HDF5 does not survive that it runs out while it writes.
    """
    if shutil.disk_usage(folder).free < 1.2 * size + ROOM:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def file_digest(path: Path) -> str:
    """SHA-256 of the bytes of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
