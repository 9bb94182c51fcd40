"""The run directory: where it is, how it is opened, and files that are either old or new, never half.

    run.json          what ran, on what, and how it ended (fields below)
    scenario.toml     the resolved scenario            source.toml    the file as the user wrote it
    hardware.toml     the hardware model it was priced with
    device.toml cells.toml                             copies of the files its memory devices and cells are from
    epochs.csv layers.csv residual.csv                 appended once per epoch, see ``logs``
    tiles.csv pulses.csv cost.csv memory.csv           written whole, see ``logs``
    traffic.h5        exact tile counts, see ``traffic``
    run.log           what was said, with times
    checkpoints/ plots/

``run.json`` holds ``schema_version``, ``status`` (running, done, interrupted, diverged or failed), ``name``,
``seed``, ``versions``, ``device``, ``threads`` (that PyTorch computes with), ``precision`` (of the convolutions),
``argv``, ``data``, ``started``, ``finished`` (ISO 8601, UTC), ``seconds``, ``peak_memory`` (``bytes``; ``where``: GPU
or process) and ``metrics``.
"""

from __future__ import annotations

import json
import math
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Self

from neurosim_ep import __version__
from neurosim_ep.errors import CheckpointError, UsageError

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class RunDirectory:
    """An existing run directory."""

    path: Path

    @classmethod
    def create(cls, out: Path | None, scenario_name: str, run_id: str) -> Self:
        """Make the directory that :meth:`target` names, with a ``run.json`` of status "running"."""
        path = cls.target(out, scenario_name, run_id)
        return cls._make(path, path, scenario_name)

    @staticmethod
    def target(out: Path | None, scenario_name: str, run_id: str) -> Path:
        """``out``, or ``runs/<YYYYmmdd-HHMMSS>_<scenario_name>_<run_id>`` (UTC) where the command runs.

        Raises :class:`UsageError` when something is there already; an empty directory is taken over.
        """
        path = out or Path("runs") / f"{datetime.now(UTC):%Y%m%d-%H%M%S}_{scenario_name}_{run_id}"
        try:
            if path.exists():
                _require_empty(path)
        except OSError as problem:
            raise _cannot_be_made(path, problem) from problem
        return path

    @classmethod
    @contextmanager
    def staged(cls, path: Path, scenario_name: str) -> Iterator[Self]:
        """A new run directory that appears at ``path`` whole, when the block ends without an exception.

        It is prepared under a hidden name beside ``path``; a kill leaves that behind, and the next attempt clears it.
        """
        staging = path.with_name(f".{path.name}.new")
        try:
            shutil.rmtree(staging, ignore_errors=True)
            yield cls._make(staging, path, scenario_name)
            staging.replace(path)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    @classmethod
    def _make(cls, path: Path, shown: Path, scenario_name: str) -> Self:
        run = cls(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            run.checkpoints.mkdir()
            run.plots.mkdir()
            document = {
                "schema_version": SCHEMA_VERSION,
                "status": "running",
                "name": scenario_name,
                "started": iso_time(datetime.now(UTC)),
            }
            write_json(run.run_json, document)
        except OSError as problem:
            raise _cannot_be_made(shown, problem) from problem
        return run

    @classmethod
    def open(cls, path: Path) -> Self:
        """The run directory at ``path``. Raises :class:`CheckpointError` when this version cannot read it."""
        if not path.is_dir():
            raise CheckpointError(
                f"{path}: no such run directory; give the directory `neurosim-ep run` printed at its end"
            )
        run = cls(path)
        version = run.info().get("schema_version")
        if version != SCHEMA_VERSION:
            raise CheckpointError(
                f"{run.run_json}: schema_version = {version}: this version reads {SCHEMA_VERSION} only; "
                "use the neurosim-ep version that made the run"
            )
        return run

    @property
    def run_json(self) -> Path:
        return self.path / "run.json"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def plots(self) -> Path:
        return self.path / "plots"

    def info(self) -> dict[str, Any]:
        """The contents of ``run.json``. Raises :class:`CheckpointError` when it is missing or broken."""
        try:
            document = json.loads(self.run_json.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise CheckpointError(
                f"{self.path}: is not a run directory (no run.json); give one that `neurosim-ep run` made"
            ) from None
        except (ValueError, OSError) as problem:
            raise CheckpointError(f"{self.run_json}: cannot be read as JSON ({problem})") from problem
        if not isinstance(document, dict):
            raise CheckpointError(f"{self.run_json}: must be a JSON object, not a {type(document).__name__}")
        return document

    def update_run_json(self, **fields: Any) -> None:
        """Replace these fields of ``run.json`` and keep the others."""
        write_json(self.run_json, {**self.info(), **fields})

    def log(self, message: str) -> None:
        """Append ``message`` to ``run.log`` with the time."""
        with (self.path / "run.log").open("a", encoding="utf-8") as file:
            file.write(f"{iso_time(datetime.now(UTC))} {message}\n")


def _cannot_be_made(path: Path, problem: OSError) -> UsageError:
    return UsageError(f"{path}: cannot be made ({problem.strerror}); choose a writable place with --out")


def _require_empty(path: Path) -> None:
    """Raise :class:`UsageError` unless ``path`` is an empty directory."""
    if not path.is_dir():
        raise UsageError(f"{path}: exists and is not a directory; choose another --out")
    if (path / "run.json").exists():
        raise UsageError(f"{path}: already holds a run; choose another --out or use `neurosim-ep resume {path}`")
    if any(path.iterdir()):
        raise UsageError(f"{path}: is not empty and holds no run that `neurosim-ep resume` reads; choose another --out")


def iso_time(moment: datetime) -> str:
    """ISO 8601 in UTC, to the second: ``2026-01-31T08:30:00Z``."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def versions() -> dict[str, str]:
    """The versions a result may depend on."""
    return {
        "neurosim_ep": __version__,
        "python": platform.python_version(),
        "torch": metadata.version("torch"),
        "numpy": metadata.version("numpy"),
    }


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write ``document`` atomically. Numbers that are not finite become null, as JSON has none."""
    text = json.dumps(_finite(document), indent=2, ensure_ascii=False, allow_nan=False)
    write_atomic(path, (text + "\n").encode())


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_atomic(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` so that a crash at any moment leaves the old file or the new one."""
    temporary = temporary_of(path)
    temporary.write_bytes(content)
    replace_atomic(temporary, path)


def temporary_of(path: Path) -> Path:
    """Where the next version of ``path`` is prepared: beside it, so that renaming is atomic."""
    return path.with_name(f".{path.name}.tmp")


def replace_atomic(temporary: Path, path: Path) -> None:
    """Put the finished ``temporary`` in the place of ``path``: fsync, rename, fsync of the directory."""
    _fsync(temporary)
    temporary.replace(path)
    _fsync(path.parent)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
