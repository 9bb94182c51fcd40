"""Files that ship with the package: scenarios, hardware models, and what the tiles of a chip are made of.

They are ``neurosim_ep.scenarios`` and ``neurosim_ep.hwmodels``: inside the package in a wheel, beside it in a checkout.
"""

from __future__ import annotations

import codecs
import difflib
import json
import re
import tomllib
from collections.abc import Callable
from errno import ELOOP, ENOENT, ENOTDIR
from importlib import resources
from pathlib import Path
from stat import S_ISREG
from typing import Any

from neurosim_ep.errors import NeurosimError, UsageError

PARTS = ("devices", "cells", "converters")
"""Folders of ``hwmodels`` whose files describe parts of tiles, not whole chips."""

HUGE = "holds a whole number of more than 64 bits, which TOML has not"
LONGEST, DEEPEST = 2**26, 32
"""Bytes of a text, and levels of tables and lists in one."""

BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
"""What texts that are not plain UTF-8 begin with; the mark of UTF-32 begins with that of UTF-16."""


def shipped_files(folder: str) -> dict[str, Path]:
    """Shipped ``*.toml`` files of ``folder`` ("scenarios", "hwmodels", "hwmodels/devices", ...), keyed by name: "smoke"
    or "paper/vgg7_le".
    """
    package, *inner = folder.split("/")
    root = Path(str(resources.files(f"neurosim_ep.{package}"))).joinpath(*inner)
    files = sorted(root.rglob("*.toml"), key=lambda path: (len(path.parts), path))
    names = {path.relative_to(root).with_suffix("").as_posix(): path for path in files}
    return {name: path for name, path in names.items() if folder != "hwmodels" or name.split("/")[0] not in PARTS}


def read_text(path: Path, error: Callable[[str], NeurosimError]) -> str:
    """The text at ``path``, in UTF-8 or in what its byte order mark says, lines ended by a line feed; raises
    ``error(message)`` where it cannot be read.
    """
    try:
        if path.exists() and not path.is_file():
            raise error(f"{path}: is no plain file; name one")
        if path.exists() and path.stat().st_size > LONGEST:
            raise error(f"{path}: is longer than {LONGEST:,} bytes, which no such file is")
        content = path.read_bytes()
    except OSError as problem:
        raise error(f"{path}: cannot be read: {problem.strerror}") from problem
    encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as problem:
        raise error(f"{path}: is not {encoding.upper()} text (byte {problem.start}); save it as UTF-8") from problem
    if "\0" in text:
        raise error(f"{path}: is not text (byte {text.index(chr(0))} is 0); save it as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_toml(path: Path, error: Callable[[str], NeurosimError]) -> dict[str, Any]:
    """The tables of the TOML file at ``path``; raises ``error(message)`` where it cannot be read."""
    text = read_text(path, error)
    try:
        document = tomllib.loads(text)
    except RecursionError as problem:
        raise error(f"{path}: its values are nested too deeply; {DEEPEST} levels are allowed") from problem
    except tomllib.TOMLDecodeError as problem:
        raise error(f"{path}: {_explain_syntax(str(problem), text)}") from problem
    except ValueError as problem:  # of the interpreter, which reads no more than some thousand digits
        raise error(f"{path}: {HUGE}") from problem
    if broken := broken_value(document):
        raise error(f"{path}: {broken}")
    return document


def read_json(path: Path, error: Callable[[str], NeurosimError]) -> dict[str, Any]:
    """The JSON object at ``path``; raises ``error(message)`` where it cannot be read."""
    text = read_text(path, error)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise error(f"{path}: cannot be read as JSON ({problem})") from problem
    if not isinstance(document, dict):
        raise error(f"{path}: must be a JSON object, not a {type(document).__name__}")
    return document


def broken_value(document: dict[str, Any]) -> str:
    """What of a TOML ``document`` no program can be expected to take; nothing where all is well."""
    waiting: list[tuple[str, Any, int]] = [("", document, 0)]
    while waiting:
        key, value, depth = waiting.pop()
        if depth > DEEPEST:
            return f"{key[:80]}...: its values are nested too deeply; {DEEPEST} levels are allowed"
        if isinstance(value, dict):
            waiting += [(f"{key}.{name}" if key else name, inner, depth + 1) for name, inner in value.items()]
        elif isinstance(value, list):
            waiting += [(key, inner, depth + 1) for inner in value]
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            return f"{key}: {HUGE}"
    return ""


def at_home(name: str) -> Path:
    """The path ``name``, homes in the place of ``~`` and ``~user`` where there are such."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return Path(name)


def write_new(path: Path, content: bytes) -> None:
    """Write a file that was not there; raises :class:`UsageError` where one was, or none can be written."""
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError as error:
        raise UsageError(f"{path}: exists already; name another file, or move it away") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error


def _explain_syntax(message: str, text: str) -> str:
    """The parser's message with the line it stopped at; ``message`` ends in "(at line 3, column 7)"."""
    reason, _, place = message.partition(" (at ")
    lines = text.splitlines()
    line = re.match(r"line (\d+)", place)
    number = int(line[1]) if line else len(lines)
    if reason.startswith(("Cannot overwrite a value", "Cannot declare")):
        reason += "; each key and section may appear only once"
    return f"line {number} is not valid TOML: {reason}\n  {lines[number - 1].strip()[:200]}"


def _is_file(path: Path) -> bool:
    """Whether a file is there. Raises :class:`OSError` where the machine does not say, as ``Path.is_file`` did before
    Python 3.14.
    """
    try:
        return S_ISREG(path.stat().st_mode)
    except ValueError:  # a name with a null character
        return False
    except OSError as problem:
        if problem.errno in (ENOENT, ENOTDIR, ELOOP):
            return False
        raise


def resolve(name: str, folder: str, error: Callable[[str], NeurosimError]) -> tuple[Path, bool]:
    """Path of ``name`` and whether it is a shipped file: an existing path, else a shipped name.

    Accepts ``vgg11_le``, ``vgg11_le.toml`` and ``scenarios/vgg11_le.toml``; ``paper/vgg7_le`` likewise. Raises
    ``error(message)`` with the closest shipped names otherwise.
    """
    path = Path(name)
    if _is_file(path):
        return path, False
    shipped = shipped_files(folder)
    wanted = path.as_posix().removesuffix(".toml").removeprefix(f"{folder}/")
    if wanted in shipped:
        return shipped[wanted], True
    if path.is_dir():
        inside = path / "scenario.toml"
        hint = f"{inside} repeats that run" if inside.is_file() else "name the file inside it"
        raise error(f"{name}: is a directory, not a TOML file; {hint}")
    hint = f"shipped names: {', '.join(shipped)}"
    if close := difflib.get_close_matches(path.stem, shipped, n=3, cutoff=0.4):
        hint = f"did you mean {', '.join(close)}?"
    if others := [other for other in ("scenarios", "sweeps", "hwmodels") if wanted in shipped_files(other)]:
        hint = f"{wanted} is one of {others[0]}"
    raise error(f"{name}: no such file and no shipped name of {folder}; {hint}")
