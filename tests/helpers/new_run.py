"""A run directory in which nothing has been computed yet."""

from __future__ import annotations

from pathlib import Path

from neurosim_ep.record.rundir import RunDirectory
from neurosim_ep.record.sealed import LENGTH, is_sealed


def new_run(path: Path, name: str) -> RunDirectory:
    """A run of this name, with the status "running", that nobody computes."""
    with RunDirectory.claimed(path) as run:
        run.begin(name)
    return RunDirectory(path)


def unseal(path: Path) -> None:
    """Make the file at ``path`` one of an earlier version, which wrote no digest at its end: it may be edited."""
    content = path.read_bytes()
    if is_sealed(content):
        path.write_bytes(content[:-LENGTH])
