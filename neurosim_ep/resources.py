"""Files that ship with the package: scenarios, hardware models, and what the tiles of a chip are made of.

They are ``neurosim_ep.scenarios`` and ``neurosim_ep.hwmodels``: inside the package in a wheel, beside it in a checkout.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

from neurosim_ep.errors import NeurosimError, UsageError

PARTS = ("devices", "cells", "converters")
"""Folders of ``hwmodels`` whose files describe parts of tiles, not whole chips."""


def shipped_files(folder: str) -> dict[str, Path]:
    """Shipped ``*.toml`` files of ``folder`` ("scenarios", "hwmodels", "hwmodels/devices", ...), keyed by name: "smoke"
    or "paper/vgg7_le".
    """
    package, *inner = folder.split("/")
    root = Path(str(resources.files(f"neurosim_ep.{package}"))).joinpath(*inner)
    files = sorted(root.rglob("*.toml"), key=lambda path: (len(path.parts), path))
    names = {path.relative_to(root).with_suffix("").as_posix(): path for path in files}
    return {name: path for name, path in names.items() if folder != "hwmodels" or name.split("/")[0] not in PARTS}


def read_toml(path: Path, error: Callable[[str], NeurosimError]) -> dict[str, Any]:
    """The tables of the TOML file at ``path``; raises ``error(message)`` where it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as problem:
        raise error(f"{path}: cannot be read: {problem.strerror}") from problem
    except UnicodeDecodeError as problem:
        raise error(f"{path}: is not UTF-8 text (byte {problem.start}); save it as UTF-8") from problem
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise error(f"{path}: {_explain_syntax(str(problem), text)}") from problem


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
    return f"line {number} is not valid TOML: {reason}\n  {lines[number - 1].strip()}"


def resolve(name: str, folder: str, error: Callable[[str], NeurosimError]) -> tuple[Path, bool]:
    """Path of ``name`` and whether it is a shipped file: an existing path, else a shipped name.

    Accepts ``vgg11_le``, ``vgg11_le.toml`` and ``scenarios/vgg11_le.toml``; ``paper/vgg7_le`` likewise. Raises
    ``error(message)`` with the closest shipped names otherwise.
    """
    path = Path(name)
    if path.is_file():
        return path, False
    shipped = shipped_files(folder)
    wanted = path.as_posix().removesuffix(".toml").removeprefix(f"{folder}/")
    if wanted in shipped:
        return shipped[wanted], True
    if path.is_dir():
        raise error(f"{name}: is a directory, not a TOML file; name the file inside it")
    close = difflib.get_close_matches(path.stem, shipped, n=3, cutoff=0.4)
    hint = f"did you mean {', '.join(close)}?" if close else f"shipped names: {', '.join(shipped)}"
    raise error(f"{name}: no such file and no shipped name of {folder}; {hint}")
