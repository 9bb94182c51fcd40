"""One command at a time writes to a folder."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from neurosim_ep.errors import UsageError

try:
    import fcntl
except ImportError:  # no such locks on this system: commands trust each other
    fcntl = None  # type: ignore[assignment]

LOCK = ".neurosim-ep.lock"
"""An empty file whose lock is what counts: the system releases it when the command ends, however it ends."""
_UNABLE = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOLCK}  # a file system without locks


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Inside the block no other command writes to ``folder``, which exists; gives the descriptor of the lock.

    Raises :class:`UsageError` where one does. Where the file system knows no locks, nothing is kept from anybody.
    """
    descriptor = _lock(folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def is_locked(folder: Path) -> bool:
    """Whether a command writes to ``folder``; True where the system cannot say."""
    if fcntl is None:
        return True
    try:
        with (folder / LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError as problem:
        return problem.errno in _UNABLE
    return False


def folder_of(descriptor: int, folder: Path) -> Path:
    """Where the locked ``folder`` is now, as far as the system can say: it may have been moved."""
    try:
        return Path(f"/proc/self/fd/{descriptor}").readlink().parent
    except OSError:
        return folder


def _lock(folder: Path) -> int:
    while True:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not lock_file(descriptor):
                raise UsageError(
                    f"{folder}: another neurosim-ep command is writing to it; wait until it ends, or choose another "
                    "place"
                )
            if _is_there(folder / LOCK, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # of a command that has just removed its folder


def lock_file(descriptor: int) -> bool:
    """Lock an open file for this command; whether it could, which no other command has done. True where the file system
    knows no locks: commands trust each other there.
    """
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as problem:
        if problem.errno not in _UNABLE:
            raise
    return True


def _is_there(path: Path, descriptor: int) -> bool:
    """Whether the file that is open still has its name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
