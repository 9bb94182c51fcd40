"""Reading packed and unpacked data files, never more of them than their format has."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from neurosim_ep.errors import DataError

INFLATED = 1100  # bytes that one compressed byte can become: Deflate's most, rounded up
_HEADERS = 2**20  # bytes of an archive that are no contents of files
_UNREADABLE = (OSError, EOFError, tarfile.TarError, zlib.error, ValueError, OverflowError)


class _Bounded:
    """What can be read of ``file``; raises :class:`EOFError` once that is more than ``most`` bytes."""

    def __init__(self, file: gzip.GzipFile, most: int) -> None:
        self.file, self.left = file, most

    def read(self, size: int) -> bytes:
        content = self.file.read(min(size, self.left + 1))
        self.left -= len(content)
        if self.left < 0:
            raise EOFError("it unpacks to more than such an archive holds")
        return content


def read_bytes(path: Path, most: int) -> bytes:
    """The first ``most`` bytes of ``path``, decompressed when its name ends in ``.gz``. Raises DataError when it cannot
    be read.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return file.read(most)
    except _UNREADABLE as error:
        raise DataError(f"{path}: cannot be read ({error}); fetch it again, the download may be cut short") from error


def can_hold(path: Path, size: int) -> bool:
    """Whether ``size`` bytes can lie in the file ``path``, compressed where its name ends in ``.gz``."""
    return size <= path.stat().st_size * (INFLATED if path.suffix == ".gz" else 1)


def read_members(place: Path, folder: str, names: Iterable[str], most: int) -> dict[str, bytes]:
    """Content of the files ``names``, of ``most`` bytes each, in ``place``: a directory, or a gzipped tar archive that
    holds ``folder``.

    Raises DataError when the archive is damaged or any of the files is missing or larger.
    """
    wanted = list(names)
    if place.is_dir():
        found = {name: read_bytes(place / name, most + 1) for name in wanted if (place / name).is_file()}
    else:
        found = _read_tar(place, {f"{folder}/{name}": name for name in wanted}, most)
    missing = [name for name in wanted if name not in found]
    if missing:
        raise DataError(f"{place}: {', '.join(missing)} missing; unpack or fetch the official archive again")
    for name, content in found.items():
        if len(content) > most:
            raise DataError(f"{place}: {name} has more than {most:,} bytes, which no such file has; fetch it again")
    return found


def _read_tar(archive: Path, wanted: dict[str, str], most: int) -> dict[str, bytes]:
    """Content of the members ``wanted`` (path in the archive -> name) that exist as plain files."""
    found = {}
    try:
        with gzip.open(archive) as packed:
            bounded = _Bounded(packed, len(wanted) * (most + 1) + _HEADERS)
            with tarfile.open(fileobj=bounded, mode="r|") as tar:  # type: ignore[call-overload]  # it only reads
                for member in tar:
                    path = member.name.removeprefix("./")
                    if path in wanted and member.isfile() and (content := tar.extractfile(member)):
                        found[wanted[path]] = content.read(most + 1)
    except _UNREADABLE as error:
        raise DataError(
            f"{archive}: cannot be read ({error}); fetch the archive again, the download may be cut short"
        ) from error
    return found
