"""Trained networks that ship with the package: finished run directories without pictures, to be unpacked and tried.

They are ``neurosim_ep.trained``: inside the package in a wheel, beside it in a checkout. `tests/benchmarks/pack_run.py`
makes one of a run directory.
"""

from __future__ import annotations

import json
import shlex
import tomllib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from neurosim_ep.errors import CheckpointError, UsageError, nearest
from neurosim_ep.record.kept import SCENARIO
from neurosim_ep.record.whole_folder import new_folder
from neurosim_ep.units import format_time

SHIPPED = "shipped"
"""Field of ``run.json`` that says what was left out or changed when the run was packed."""


@dataclass(frozen=True)
class Trained:
    """The archive at ``path``. ``info``: its ``run.json``; ``description``: that of its scenario."""

    path: Path
    info: dict[str, Any]
    description: str

    @classmethod
    def named(cls, name: str) -> Trained:
        """The one called ``name``. Raises :class:`UsageError` where nothing is called so."""
        if name not in (known := trained_files()):
            raise UsageError(f"get {name}: no trained network of this name ships; {nearest(name, known)}")
        return cls.read(known[name])

    @classmethod
    def read(cls, path: Path) -> Trained:
        """Raises :class:`CheckpointError` where the archive is damaged."""
        with _opened(path) as archive:
            scenario = tomllib.loads(archive.read(SCENARIO).decode())["scenario"]
            return cls(path, json.loads(archive.read("run.json")), scenario["description"])

    def row(self) -> dict[str, str]:
        """Its line in a list of them."""
        return {"name": self.path.stem, "test accuracy": self._accuracy, "description": self.description}

    def provenance(self) -> list[tuple[str, str]]:
        """How it came into being."""
        info, versions = self.info, self.info["versions"]
        return [
            ("scenario", f"{info['name']}: {self.description}"),
            ("images", info["data"]["source"]),
            ("test accuracy", self._accuracy),
            ("command", shlex.join(info["argv"])),
            ("time", f"{format_time(info['seconds'])} on {info['device']}, threads: {info['threads']}"),
            ("versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
            ("left out", ", ".join(info[SHIPPED]["left_out"])),
        ]

    @property
    def _accuracy(self) -> str:
        return f"{self.info['metrics']['test_accuracy']:.1%}"

    def unpack(self, out: Path) -> None:
        """Make a run directory of it at ``out``, whole or not at all.

        Raises :class:`UsageError` where something is at ``out`` or nothing can be written there, and
        :class:`CheckpointError` where the archive is damaged.
        """
        with new_folder(out) as folder, _opened(self.path) as archive:
            archive.extractall(folder)


def trained_files() -> dict[str, Path]:
    """The archives that ship, by name."""
    folder = Path(str(resources.files("neurosim_ep.trained")))
    return {path.stem: path for path in sorted(folder.glob("*.zip"))}


@contextmanager
def _opened(path: Path) -> Iterator[ZipFile]:
    try:
        with ZipFile(path) as archive:
            yield archive
    except (BadZipFile, zlib.error, EOFError, KeyError) as problem:
        raise CheckpointError(f"{path}: damaged ({problem}); install neurosim-ep again") from problem
