"""Folders that a command leaves: they appear, or are replaced, as a whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from tempfile import TemporaryDirectory

from neurosim_ep.errors import UsageError
from neurosim_ep.record.lock import locked

DOCUMENT = "export.json"
"""Says beside every export what it is."""


def refuse_filled(out: Path, deed: str = "written") -> None:
    """Raise :class:`UsageError` when something is at ``out`` already; an empty folder may be taken over."""
    with writable(out, deed):
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UsageError(f"{out}: is not an empty folder; choose another --out, or move it away")


@contextmanager
def new_folder(out: Path, deed: str = "written") -> Iterator[Path]:
    """:func:`replaced_folder` where nothing is at ``out`` yet; raises :class:`UsageError` otherwise."""
    refuse_filled(out, deed)
    with replaced_folder(out, deed) as staging:
        yield staging


@contextmanager
def replaced_folder(out: Path, deed: str = "written") -> Iterator[Path]:
    """A folder to fill, which takes the place of ``out`` when the block ends without an exception.

    It is prepared under a hidden name of its own beside ``out``; what a kill leaves behind is cleared by the next
    attempt. Raises :class:`UsageError`, that the folder cannot be ``deed``, where the system refuses.
    """
    place = out.resolve()
    with writable(out, deed):
        with suppress(FileExistsError):
            place.parent.mkdir(parents=True)
        _clear_abandoned(place)
        temporary = TemporaryDirectory(prefix=_prefix(place), dir=place.parent, ignore_cleanup_errors=True)
        with temporary as own, locked(Path(own)):
            staging = Path(own) / "new"
            staging.mkdir()
            yield staging
            _swap(staging, place, Path(own) / "old")


def _prefix(place: Path) -> str:
    return f".{place.name}.neurosim-ep."


def _clear_abandoned(place: Path) -> None:
    """Remove what commands that were killed have left beside ``place``; those that go on hold a lock."""
    for folder in place.parent.glob(f"{escape(_prefix(place))}*"):
        with suppress(UsageError, OSError), locked(folder):
            shutil.rmtree(folder)


def _swap(staging: Path, place: Path, old: Path) -> None:
    """Put ``staging`` in the ``place`` of a folder, or leave that where it is."""
    if place.exists():
        place.replace(old)
    try:
        staging.replace(place)
    except OSError:
        if old.exists():
            old.replace(place)
        raise


@contextmanager
def writable(out: Path, deed: str = "written") -> Iterator[None]:
    """Raises :class:`UsageError`, that ``out`` cannot be ``deed``, where the system refuses what the block does."""
    try:
        yield
    except OSError as problem:
        message = f"{out}: cannot be {deed} ({problem.strerror}); choose a writable place with --out"
        raise UsageError(message) from problem
