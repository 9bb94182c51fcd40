"""Reading packed and unpacked data files."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from neurosim_ep.errors import DataError

_UNREADABLE = (OSError, EOFError, tarfile.TarError, zlib.error)


def read_bytes(path: Path) -> bytes:
    """Content of ``path``, decompressed when its name ends in ``.gz``. Raises DataError when unreadable."""
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except _UNREADABLE as error:
        raise DataError(f"{path}: cannot be read ({error}); fetch it again, the download may be cut short") from error


def read_members(place: Path, folder: str, names: Iterable[str]) -> dict[str, bytes]:
    """Content of the files ``names`` in ``place``: a directory, or a tar archive that holds ``folder``.

    Raises DataError when the archive is damaged or any of the files is missing.
    """
    wanted = list(names)
    if place.is_dir():
        found = {name: read_bytes(place / name) for name in wanted if (place / name).is_file()}
    else:
        found = _read_tar(place, {f"{folder}/{name}": name for name in wanted})
    missing = [name for name in wanted if name not in found]
    if missing:
        raise DataError(f"{place}: {', '.join(missing)} missing; unpack or fetch the official archive again")
    return found


def _read_tar(archive: Path, wanted: dict[str, str]) -> dict[str, bytes]:
    """Content of the members ``wanted`` (path in the archive -> name) that exist as plain files."""
    found = {}
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                path = member.name.removeprefix("./")
                if path in wanted and member.isfile() and (content := tar.extractfile(member)):
                    found[wanted[path]] = content.read()
    except _UNREADABLE as error:
        raise DataError(
            f"{archive}: cannot be read ({error}); fetch the archive again, the download may be cut short"
        ) from error
    return found
