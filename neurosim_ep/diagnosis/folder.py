"""Folders of diagnoses and gradient checks: they appear, or are replaced, as a whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from neurosim_ep.errors import UsageError

MARK = "diagnosis.json"


def refuse_foreign(folder: Path) -> None:
    """Raise :class:`UsageError` when something else than a diagnosis is at ``folder``: it would be overwritten."""
    try:
        if folder.exists() and not (folder / MARK).is_file() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{folder}: holds something else than a diagnosis; choose another --out, or move it away")
    except OSError as problem:
        raise unwritable(folder, problem) from problem


@contextmanager
def staged(folder: Path, deed: str = "written") -> Iterator[Path]:
    """A new folder to fill, which takes the place of ``folder`` when the block ends without an exception.

    It is prepared under a hidden name beside it; what a kill leaves behind is cleared by the next attempt. Raises
    :class:`UsageError`, that the folder cannot be ``deed``, where the system refuses.
    """
    staging, old = (folder.with_name(f".{folder.name}.{which}") for which in ("new", "old"))
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        yield staging
        _swap(staging, folder, old)
    except OSError as problem:
        raise unwritable(folder, problem, deed) from problem
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _swap(staging: Path, folder: Path, old: Path) -> None:
    """Put ``staging`` in the place of ``folder``, or leave that where it is."""
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.replace(old)
    try:
        staging.replace(folder)
    except OSError:
        if old.exists():
            old.replace(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def unwritable(folder: Path, problem: OSError, deed: str = "written") -> UsageError:
    """The error for a ``folder`` that the system refuses to write."""
    return UsageError(f"{folder}: cannot be {deed} ({problem.strerror}); choose a writable place with --out")
