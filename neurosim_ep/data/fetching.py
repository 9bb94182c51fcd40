"""Fetching the official archive of a data set: goes on where it was cut off, and gets its name once it is verified."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from neurosim_ep import __version__
from neurosim_ep.data.sources.base import Download
from neurosim_ep.errors import DataError
from neurosim_ep.registry import SOURCES
from neurosim_ep.units import format_si

PART, PATIENCE = 2**18, 60.0  # bytes read at once, and seconds without any after which the line counts as dead


def official() -> dict[str, Download]:
    """The archive of each data source that has one, by the name of the source."""
    found = {name: getattr(SOURCES[name], "download", None) for name in SOURCES.own}
    return {name: download for name, download in found.items() if download is not None}


def fetch(wanted: Download, folder: Path, given: Path | None, tell: Callable[[int], None]) -> Path:
    """The archive ``wanted`` in ``folder``, which is made; ``tell`` hears how many of its bytes are there.

    What a broken connection leaves stays as a hidden file, where the next call goes on; nothing has the archive's name
    that is not the archive, to the bit.

    Args:
        wanted: what to fetch, and from where.
        folder: where it is to lie.
        given: a copy to take instead of what the address sends.
        tell: called with the number of bytes, now and then.

    Returns:
        The archive.

    Raises:
        DataError: the address cannot be reached, sends something else or stops halfway; ``given`` is not the archive,
            or something else has its name in ``folder``.
        OSError: ``folder`` cannot be written.
    """
    target = folder / wanted.name
    if target.exists():
        if not _is(wanted, target):
            raise DataError(f"{target}: is not {wanted.name} as {wanted.page} has it; move it away, then ask again")
        return target
    if given is not None and not (given.is_file() and _is(wanted, given)):
        what = "is not" if given.is_file() else "no such file; it must be"
        raise DataError(f"--from {given}: {what} {wanted.name} as {wanted.page} has it (SHA-256 {wanted.sha256})")
    with _part(folder, wanted.name) as part:
        if given is not None:
            shutil.copyfile(given, part)
        else:
            _download(wanted, part, tell)
        if not _is(wanted, part):
            part.unlink()
            raise _another(wanted)
        part.replace(target)
    return target


def _is(wanted: Download, path: Path) -> bool:
    """Whether the file is the archive, to the bit."""
    if path.stat().st_size != wanted.size:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == wanted.sha256


def _another(wanted: Download) -> DataError:
    return DataError(
        f"{wanted.address}: sends something else than {wanted.name} ({wanted.size:,} bytes, SHA-256 {wanted.sha256}); "
        f"nothing of it was kept: try again, or {_by_hand(wanted)}"
    )


def _by_hand(wanted: Download) -> str:
    return f"get {wanted.name} from {wanted.page} with a browser and hand it over with --from FILE"


@contextmanager
def _part(folder: Path, name: str) -> Iterator[Path]:
    """Where the file grows; what stayed empty is removed again, with the folders that were made for it."""
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{name}.part"
    try:
        yield part
    finally:
        with suppress(OSError):
            if part.exists() and not part.stat().st_size:
                part.unlink()
            for place in made:
                place.rmdir()


def _download(wanted: Download, part: Path, tell: Callable[[int], None]) -> None:
    """Let ``part`` grow to the size of the archive."""
    have = part.stat().st_size if part.exists() else 0
    if have > wanted.size:
        part.unlink()
        have = 0
    if (free := shutil.disk_usage(part.parent).free) < wanted.size - have:
        raise DataError(
            f"{part.parent}: has room for {format_si(free, 'B')}, {wanted.name} takes {format_si(wanted.size, 'B')}; "
            "make room, or choose another --to"
        )
    try:
        with part.open("ab") as file:
            tell(have)
            for begins, content in _sent(wanted, have):
                if file.tell() and not begins:
                    file.truncate(0)  # the server does not go on where it was told to
                file.write(content)
                tell(begins + len(content))
    except OSError as problem:  # of the disk: what the network says has become a DataError
        problem.filename = str(part)
        raise


def _sent(wanted: Download, have: int) -> Iterator[tuple[int, bytes]]:
    """What the address sends after the first ``have`` bytes: where each part begins, and the part."""
    headers = {"User-Agent": f"neurosim-ep/{__version__}"} | ({"Range": f"bytes={have}-"} if have else {})
    place = have
    try:
        if have < wanted.size:
            with urlopen(Request(wanted.address, headers=headers), timeout=PATIENCE) as answer:
                place = have if answer.status == HTTPStatus.PARTIAL_CONTENT else 0
                if answer.length not in (None, wanted.size - place):
                    raise _another(wanted)
                while place <= wanted.size and (content := answer.read(PART)):
                    yield place, content
                    place += len(content)
    except HTTPError as problem:
        problem.close()
        raise DataError(
            f"{wanted.address}: answers {problem.code} {problem.reason}; try later, or {_by_hand(wanted)}"
        ) from problem
    except URLError as problem:
        raise DataError(
            f"{wanted.address}: cannot be reached ({_reason(problem)}); where there is a network, {_by_hand(wanted)}"
        ) from problem
    except (OSError, HTTPException) as problem:
        raise _cut_off(wanted, place, f" ({_reason(problem)})") from problem
    if place < wanted.size:
        raise _cut_off(wanted, place)


def _cut_off(wanted: Download, place: int, reason: str = "") -> DataError:
    return DataError(
        f"{wanted.address}: stopped after {place:,} of {wanted.size:,} bytes{reason}; "
        "the same command goes on from there"
    )


def _reason(problem: Exception) -> str:
    """What is behind ``problem``, in a few words."""
    inner = getattr(problem, "reason", problem)
    return getattr(inner, "strerror", None) or str(inner) or type(inner).__name__
