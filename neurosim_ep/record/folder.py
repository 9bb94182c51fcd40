"""A folder that a command leaves: it appears whole, or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from neurosim_ep.errors import UsageError

DOCUMENT = "export.json"
"""Says beside every export what it is."""


def refuse_filled(out: Path) -> None:
    """Raise :class:`UsageError` when something is at ``out`` already; an empty folder may be taken over."""
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UsageError(f"{out}: is not an empty folder; choose another --out")
    except OSError as problem:
        raise _unwritable(out, problem) from problem


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to fill, which appears at ``out`` when the block ends without an exception.

    It is prepared under a hidden name beside ``out``; what a kill leaves behind is cleared by the next attempt. Raises
    :class:`UsageError` when something is at ``out`` already, or where the system refuses.
    """
    refuse_filled(out)
    place = out.resolve()
    staging = place.with_name(f".{place.name}.new")
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        yield staging
        staging.replace(place)
    except OSError as problem:
        raise _unwritable(out, problem) from problem
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _unwritable(out: Path, problem: OSError) -> UsageError:
    return UsageError(f"{out}: cannot be written ({problem.strerror}); choose a writable --out")
