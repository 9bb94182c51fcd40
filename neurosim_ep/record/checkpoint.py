"""Checkpoints: everything a run needs to go on after its last finished epoch, in one atomically replaced file."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch

from neurosim_ep.errors import CheckpointError
from neurosim_ep.record.rundir import write_atomic

FORMAT = 1
NAME = "last.pt"
AGAIN = "start the run again"


def save_checkpoint(folder: Path, state: dict[str, Any], name: str = NAME) -> None:
    """Write ``state`` (tensors and plain values) to ``folder``; a kill leaves the old checkpoint or the new one."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    write_atomic(folder / name, buffer.getvalue())


def load_checkpoint(folder: Path, device: torch.device, name: str = NAME, again: str = AGAIN) -> dict[str, Any]:
    """The checkpoint in ``folder``. Raises :class:`CheckpointError` when it is missing, damaged or of another format;
    the error says that one may ``again``.

    Only tensors and plain values are read: a checkpoint cannot run code.
    """
    path = folder / name
    if not path.is_file():
        raise CheckpointError(f"{path}: no checkpoint there; {again}")
    if not _is_whole(path):
        raise CheckpointError(f"{path}: damaged or cut short; restore the file from a copy, or {again}")
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as problem:
        raise CheckpointError(
            f"{path}: holds something else than tensors and plain values ({type(problem).__name__}), which is never "
            f"loaded; restore the file from a copy, or {again}"
        ) from problem
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        found = state.get("format") if isinstance(state, dict) else type(state).__name__
        raise CheckpointError(
            f"{path}: format = {found}: this version reads format {FORMAT} only; "
            "use the neurosim-ep version that wrote it"
        )
    return state


def _is_whole(path: Path) -> bool:
    """Whether ``path`` is a zip archive, as checkpoints are, whose checksums all hold: ``torch.load`` checks none."""
    try:
        with ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, EOFError, BadZipFile):
        return False
