"""Checkpoints: everything a run needs to go on, in one atomically replaced file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch

from neurosim_ep.errors import CheckpointError, require_version
from neurosim_ep.record.atomic import write_atomic
from neurosim_ep.record.sealed import is_sealed, opened, sealed

FORMAT = 1
NAME = "last.pt"
WITHIN = "within.pt"
"""Of the epoch in progress, beside that of the last finished one."""
AGAIN = "start the run again"
EPOCH_AGAIN = f"remove {WITHIN} to go on after the last finished epoch"


def save_checkpoint(folder: Path, state: dict[str, Any], name: str = NAME) -> None:
    """Write ``state`` (tensors and plain values) to ``folder``; a kill leaves the old checkpoint or the new one."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    write_atomic(folder / name, sealed(buffer.getvalue()))


def load_checkpoint(folder: Path, device: torch.device, name: str = NAME, again: str = AGAIN) -> dict[str, Any]:
    """The checkpoint in ``folder``. Raises :class:`CheckpointError` when it is missing, damaged or of another format;
    the error says that one may ``again``.

    Nothing is read before the bytes have been found to be those that were written; only tensors and plain values are
    then: a checkpoint cannot run code.
    """
    path = folder / name
    if not path.is_file():
        raise CheckpointError(f"{path}: no checkpoint there; {again}")
    remedy = f"restore the file from a copy, or {again}"
    content = path.read_bytes()
    body = opened(content, path, remedy)
    if not is_sealed(content) and not _is_whole(body):
        raise CheckpointError(f"{path}: damaged or cut short; {remedy}")
    try:
        state = torch.load(io.BytesIO(body), map_location=device, weights_only=True)
    except Exception as problem:  # whatever reading a foreign file raises
        raise CheckpointError(
            f"{path}: holds something else than tensors and plain values ({type(problem).__name__}), which is never "
            f"loaded; {remedy}"
        ) from problem
    found = state.get("format") if isinstance(state, dict) else type(state).__name__
    require_version(path, found, FORMAT, CheckpointError, "use the neurosim-ep version that wrote it", "format")
    return state


def _is_whole(content: bytes) -> bool:
    """Whether ``content``, of an earlier version, is a zip archive whose checksums hold: `torch.load` checks none."""
    try:
        with ZipFile(io.BytesIO(content)) as archive:
            return archive.testzip() is None
    except Exception:  # damaged archives raise almost any exception
        return False
