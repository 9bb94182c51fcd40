"""Files that end in the SHA-256 of what stands before, so that no parser ever sees bytes that were not written.

The seal is a line of text behind the end that zip and HDF5 files name themselves, which their readers pass over. Files
of earlier versions have none.

A sealed file that grows is not written anew: what changed is first written to a journal beside it, whole or not at all,
then into the file, and the journal is removed. Whoever reads the file in between, or after a crash, reads it through
the journal.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from neurosim_ep.errors import CheckpointError
from neurosim_ep.record.atomic import write_atomic

MARK = b"\nneurosim-ep sha256 "
LENGTH = len(MARK) + 64 + 1
BLOCK = 512
TRIES, PART = 5, 2**20
_HEAD, _SPAN = struct.Struct("<Q"), struct.Struct("<QQ")


def seal_of(digest: str) -> bytes:
    """The last line of a file whose other bytes have this SHA-256."""
    return MARK + digest.encode() + b"\n"


def sealed(content: bytes) -> bytes:
    """``content`` with its seal."""
    return content + seal_of(hashlib.sha256(content).hexdigest())


def opened(content: bytes, path: Path, remedy: str) -> bytes:
    """``content`` of the file ``path`` without its seal, where it has one.

    Raises :class:`CheckpointError` with the ``remedy`` unless the bytes are those that were sealed.
    """
    body, seal = content[:-LENGTH], content[-LENGTH:]
    if not seal.startswith(MARK):
        return content
    if seal != seal_of(hashlib.sha256(body).hexdigest()):
        raise CheckpointError(f"{path}: damaged: its bytes are not those that were written; {remedy}")
    return body


def require_seal(path: Path, remedy: str) -> None:
    """Raise :class:`CheckpointError` with the ``remedy`` unless the file, which may be larger than memory, is sealed
    and its bytes are those that were sealed.
    """
    digest, left = hashlib.sha256(), path.stat().st_size - LENGTH
    with path.open("rb") as file:
        while left > 0 and (part := file.read(min(left, PART))):
            digest.update(part)
            left -= len(part)
        seal = file.read()
    if not seal.startswith(MARK):
        raise CheckpointError(f"{path}: has no digest at its end: cut short, or of an earlier version; {remedy}")
    if seal != seal_of(digest.hexdigest()):
        raise CheckpointError(f"{path}: damaged: its bytes are not those that were written; {remedy}")


def is_sealed(content: bytes) -> bool:
    """Whether ``content`` ends in a seal, right or wrong."""
    return content[-LENGTH:].startswith(MARK)


def journal_of(path: Path) -> Path:
    """Where changes of ``path`` are written first."""
    return path.with_name(f".{path.name}.journal")


def read_through(path: Path, remedy: str) -> bytes:
    """What a sealed file that grows holds, without its seal, whether or not somebody is changing it.

    Raises :class:`CheckpointError` with the ``remedy`` where it is damaged.
    """
    for _ in range(TRIES - 1):  # a change may begin between the two looks
        with suppress(CheckpointError):
            return opened(_through(path), path, remedy)
    return opened(_through(path), path, remedy)


def _through(path: Path) -> bytes:
    with suppress(FileNotFoundError):
        journal = journal_of(path).read_bytes()
        return _changed(path.read_bytes(), journal, journal_of(path))
    return path.read_bytes()


def write_changes(path: Path, content: bytes) -> None:
    """Make the file at ``path`` hold ``content``, sealed, by writing no more than what differs from what it holds."""
    new = sealed(content)
    if not path.exists():
        write_atomic(path, new)
        return
    finish_changes(path)
    write_atomic(journal_of(path), sealed(_journal(path.read_bytes(), new)))
    finish_changes(path)


def finish_changes(path: Path) -> None:
    """Carry out what a journal beside ``path`` says, where a crash left one; done twice, it is done once."""
    journal = journal_of(path)
    if not journal.exists():
        return
    size, spans = _read(journal.read_bytes(), journal)
    with path.open("r+b") as file:
        for start, part in spans:
            file.seek(start)
            file.write(part)
        file.truncate(size)
        file.flush()
        os.fsync(file.fileno())
    journal.unlink()


def _journal(old: bytes, new: bytes) -> bytes:
    """The length of ``new``, and what of it is not in ``old``: place, length and bytes of each span."""
    parts = [_HEAD.pack(len(new))]
    for start, end in _spans(old, new):
        parts += [_SPAN.pack(start, end - start), new[start:end]]
    return b"".join(parts)


def _spans(old: bytes, new: bytes) -> Iterator[tuple[int, int]]:
    """Ranges of ``new``, of whole blocks, that differ from ``old``."""
    common = min(len(old), len(new)) // BLOCK * BLOCK
    before, after = (np.frombuffer(one, np.uint8, common).reshape(-1, BLOCK) for one in (old, new))
    differ = np.flatnonzero((before != after).any(1))
    for run in np.split(differ, np.flatnonzero(np.diff(differ) > 1) + 1):
        if len(run):
            yield int(run[0]) * BLOCK, int(run[-1] + 1) * BLOCK
    if len(new) > common:
        yield common, len(new)


def _read(content: bytes, path: Path) -> tuple[int, list[tuple[int, bytes]]]:
    """Length and spans of a journal."""
    body = opened(content, path, "restore the run from a copy, or start it again")
    size, place, spans = _HEAD.unpack_from(body)[0], _HEAD.size, []
    while place < len(body):
        start, length = _SPAN.unpack_from(body, place)
        place += _SPAN.size + length
        spans.append((start, body[place - length : place]))
    return size, spans


def _changed(content: bytes, journal: bytes, path: Path) -> bytes:
    """``content`` after the changes of ``journal``."""
    size, spans = _read(journal, path)
    found = bytearray(content[:size].ljust(size, b"\0"))
    for start, part in spans:
        found[start : start + len(part)] = part
    return bytes(found)
