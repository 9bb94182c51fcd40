"""Everything that can go wrong for a user, each with the exit code the command line gives it.

    NeurosimError            exit code
      UsageError             2    a command that cannot be carried out as typed
      ScenarioError          2    a scenario file or override that is not understood
      HardwareModelError     2    a hardware model file that is not understood
      SweepError             2    a sweep that is not understood, or points of one that failed
      DataError              2    input images that are missing or malformed
      CheckpointError        2    a checkpoint or run directory that cannot be used
      MachineError           2    disk, memory or permissions that the machine does not grant
        LostRankError        2    of the processes that share a run, one has ended
      DivergenceError        3    the physics left the range of numbers
      RunInterrupted         130  stopped by the user; a checkpoint was saved

User errors derive from ``ValueError``; anything else that escapes is a bug and exits with 1.
"""

from __future__ import annotations

import difflib
import errno
import os
import re
from collections.abc import Callable, Iterable, Sequence


class NeurosimError(Exception):
    """Base of every error neurosim-ep raises on purpose."""

    exit_code = 2


class UsageError(NeurosimError, ValueError):
    """A command or call whose arguments do not fit together."""


class ScenarioError(NeurosimError, ValueError):
    """A scenario that is not understood; the message lists every problem found, ``problems`` has them one by one."""

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems) or (message,)


class HardwareModelError(NeurosimError, ValueError):
    """A hardware model file that is not understood."""


class SweepError(NeurosimError, ValueError):
    """A sweep file or directory that is not understood, or points of a sweep that failed."""


class DataError(NeurosimError, ValueError):
    """Input data that are missing or malformed; the message says what was looked for and where."""


class CheckpointError(NeurosimError, ValueError):
    """A checkpoint or run directory that cannot be used."""


class MachineError(NeurosimError):
    """Disk, memory or a file that the machine does not grant; nothing is wrong with the program."""


class LostRankError(MachineError):
    """Another of the processes that share a run has ended; ``aloud``: the first has, and this one speaks for it."""

    aloud = False


class DivergenceError(NeurosimError, ArithmeticError):
    """States, loss or weights stopped being finite numbers."""

    exit_code = 3


class RunInterrupted(NeurosimError):
    """The user stopped the run after its last checkpoint was saved."""

    exit_code = 130


def nearest(name: str, known: Iterable[str], lead: str = "known: ", cutoff: float = 0.6) -> str:
    """The remedy for a ``name`` that is none of those ``known``: the one most like it, or all of them."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=cutoff)
    return f"did you mean {close[0]}?" if close else f"{lead}{', '.join(names)}"


def listed(source: str, problems: Sequence[str]) -> str:
    """Every problem of ``source`` in a line of its own, each said once."""
    lines = list(dict.fromkeys(problems))
    count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
    return "\n  ".join([f"{source}: {count}", *lines])


def require_version(
    path: object, found: object, known: int, error: Callable[[str], NeurosimError], remedy: str, key: str = ""
) -> None:
    """Raise ``error(message)`` with the ``remedy`` unless the file at ``path`` is of the version ``known``: it says
    ``found`` by ``key``, or else by "schema_version".
    """
    if found != known:
        said = f"{key or 'schema_version'} = {found}: this version reads {f'{key} ' if key else ''}{known} only"
        raise error(f"{path}: {said}; {remedy}")


_REMEDIES = {
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room in your quota",
    errno.EACCES: "it needs permissions that this user lacks",
    errno.EPERM: "it needs permissions that this user lacks",
    errno.EROFS: "choose a place that can be written",
    errno.ENOENT: "it was moved or deleted, or never was there",
    errno.ENOTDIR: "something in its path is no folder",
    errno.EISDIR: "name a file",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "its links lead in a circle",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.EIO: "check the disk",
    errno.ESTALE: "it was replaced on its server",
}  # fmt: skip
_NO_MEMORY = re.compile(r"can't allocate memory|not enough memory|out of memory|std::bad_alloc", re.IGNORECASE)
_IN_TEXT = re.compile(r"errno = (\d+)")  # how HDF5 says it


def explained(problem: BaseException) -> str | None:
    """One sentence about what the machine refused, with a remedy; None where ``problem`` is not of this kind."""
    if isinstance(problem, MemoryError) or (isinstance(problem, RuntimeError) and _NO_MEMORY.search(str(problem))):
        reason = " ".join(str(problem).split())[:160]
        return f"not enough memory{f' ({reason})' if reason else ''}; make network, batch or data smaller, or free some"
    if isinstance(problem, UnicodeEncodeError):  # of a path that a file or a name is made of
        around = problem.object[max(problem.start - 40, 0) : problem.end + 20]
        return f"{around!r}: is not UTF-8 text; rename it"
    if isinstance(problem, ValueError) and "embedded null" in str(problem):
        return "a path holds a NUL, which no path has; take it out"
    within = _IN_TEXT.search(str(problem)) if isinstance(problem, OSError | RuntimeError) else None
    number: int | None
    if within is not None:
        number, name, reason = int(within[1]), "", os.strerror(int(within[1]))
    elif isinstance(problem, OSError):
        number, name = problem.errno or 0, "" if problem.filename is None else f"{problem.filename}: "
        reason = problem.strerror or " ".join(str(problem).split()) or type(problem).__name__
    else:
        return None
    return f"{name}{reason}{f'; {_REMEDIES[number]}' if number in _REMEDIES else ''}"
