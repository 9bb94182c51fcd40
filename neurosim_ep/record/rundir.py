"""The run directory: where it is, how it comes into being, and how it is opened.

    run.json          what ran, on what, and how it ended (fields below)
    scenario.toml     the resolved scenario            source.toml    the file as the user wrote it
    hardware.toml     the hardware model it was priced with
    device.toml cells.toml                             copies of the files its memory devices and cells are from
    epochs.csv layers.csv residual.csv                 appended once per epoch, see ``columns``
    tiles.csv pulses.csv cost.csv memory.csv           written whole, likewise
    traffic.h5        exact tile counts, see ``traffic``
    run.log           what was said, with times
    checkpoints/ plots/

``run.json`` holds ``schema_version``, ``status`` (running, done, interrupted, diverged or failed), ``name``,
``seed``, ``versions``, ``device``, ``threads`` (that PyTorch computes with), ``precision`` (of the convolutions),
``argv``, ``data``, ``started``, ``finished`` (ISO 8601, UTC), ``seconds``, ``peak_memory`` (``bytes``; ``where``: GPU
or process) and ``metrics``.
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Self

from neurosim_ep import __version__
from neurosim_ep.errors import CheckpointError, UsageError, require_version
from neurosim_ep.record.atomic import json_bytes, write_atomic, write_json
from neurosim_ep.record.lock import LOCK, folder_of, locked
from neurosim_ep.record.whole_folder import writable
from neurosim_ep.resources import read_json

SCHEMA_VERSION = 1
NOBODYS = {LOCK, "lost+found"}
"""What may lie in a folder that counts as empty."""
BEGUN = {
    "checkpoints", "plots", "scenario.toml", "source.toml", "hardware.toml", "device.toml", "cells.toml", "memory.csv",
    "area.csv", "tiles.csv", "pulses.csv",
}  # fmt: skip
"""What a command that was killed before its first epoch may leave beside :data:`NOBODYS`, without a run.json."""


@dataclass(frozen=True)
class RunDirectory:
    """A run directory; ``lock``: the descriptor of its lock, where this command has it."""

    path: Path
    lock: int | None = None

    @staticmethod
    def target(out: Path | None, scenario_name: str, run_id: str) -> Path:
        """``out``, or ``runs/<YYYYmmdd-HHMMSS>_<scenario_name>_<run_id>`` (UTC) where the command runs.

        Raises :class:`UsageError` when something is there already; an empty directory is taken over.
        """
        path = out or Path("runs") / f"{datetime.now(UTC):%Y%m%d-%H%M%S}_{scenario_name}_{run_id}"
        with writable(path, "made"):
            if path.exists():
                _require_empty(path)
        return path

    @classmethod
    @contextmanager
    def claimed(cls, path: Path) -> Iterator[Self]:
        """The empty directory at ``path``, made where it is missing, for this command alone while the block lasts.

        It becomes a run with :meth:`begin`, to which everything must be there: where that does not happen, nothing of
        it stays. Raises :class:`UsageError` where it cannot be made, is not empty or another command has it.
        """
        with ExitStack() as stack:
            with writable(path, "made"):
                missing = [folder for folder in (path, *path.parents) if not folder.exists()]
                path.mkdir(parents=True, exist_ok=True)
                _require_empty(path)
                run = cls(path, stack.enter_context(locked(path)))
                _require_empty(path)
                _clear(path)
                stack.callback(run._forget, missing)
                run.checkpoints.mkdir()
                run.plots.mkdir()
            yield run

    def _forget(self, made: Sequence[Path]) -> None:
        """Leave nothing of a run that has not begun, nor the folders that were ``made`` for it."""
        if self.run_json.exists():
            return
        with suppress(OSError):
            _clear(self.path)
            (self.path / LOCK).unlink()
            for folder in made:
                folder.rmdir()

    def begin(self, scenario_name: str, **fields: Any) -> None:
        """Make a run of the directory: ``run.json`` with the status "running" and ``fields``."""
        document = {
            "schema_version": SCHEMA_VERSION,
            "status": "running",
            "name": scenario_name,
            "started": iso_time(datetime.now(UTC)),
        }
        write_json(self.run_json, document | fields)

    @classmethod
    def open(cls, path: Path) -> Self:
        """The run directory at ``path``. Raises :class:`CheckpointError` when this version cannot read it."""
        if not path.is_dir():
            raise CheckpointError(
                f"{path}: no such run directory; give the directory `neurosim-ep run` printed at its end"
            )
        run = cls(path)
        remedy = "use the neurosim-ep version that made the run"
        require_version(run.run_json, run.info().get("schema_version"), SCHEMA_VERSION, CheckpointError, remedy)
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

    @property
    def now(self) -> Self:
        """The directory where it is now, when it was moved while this command has its lock."""
        return self if self.lock is None else replace(self, path=folder_of(self.lock, self.path))

    def info(self) -> dict[str, Any]:
        """The contents of ``run.json``. Raises :class:`CheckpointError` when it is missing or broken."""
        if not self.run_json.exists():
            raise CheckpointError(
                f"{self.path}: is not a run directory (no run.json); give one that `neurosim-ep run` made"
            )
        return read_json(self.run_json, CheckpointError)

    def update_run_json(self, **fields: Any) -> None:
        """Replace these fields of ``run.json`` and keep the others."""
        write_json(self.run_json, {**self.info(), **fields})

    def settle(self, messages: Sequence[str], **fields: Any) -> None:
        """Say how the run ended, in ``run.log`` and ``run.json``, as well as the machine allows: where no new file
        fits, in the place that the old one has; where the directory was moved meanwhile, there.
        """
        run = self.now
        with suppress(OSError, CheckpointError):
            content = json_bytes({**run.info(), **fields})
            try:
                write_atomic(run.run_json, content)
            except OSError:
                with run.run_json.open("r+b") as file:
                    file.write(content)
                    file.truncate()
            for message in messages:
                run.log(message)

    def log(self, message: str) -> None:
        """Append ``message`` to ``run.log`` with the time."""
        with (self.path / "run.log").open("a", encoding="utf-8") as file:
            file.write(f"{iso_time(datetime.now(UTC))} {message}\n")


def _require_empty(path: Path) -> None:
    """Raise :class:`UsageError` unless ``path`` is a directory that holds nothing, or what :func:`_clear` removes."""
    if not path.is_dir():
        raise UsageError(f"{path}: exists and is not a directory; choose another --out")
    if (path / "run.json").exists():
        raise UsageError(f"{path}: already holds a run; choose another --out or use `neurosim-ep resume {path}`")
    names = {entry.name for entry in path.iterdir()}
    if names - NOBODYS - (_begun(path) if LOCK in names else set()):
        raise UsageError(f"{path}: is not empty and holds no run that `neurosim-ep resume` reads; choose another --out")


def _begun(path: Path) -> set[str]:
    """What a command that was killed before the run began has left, half-written files included."""
    names = {entry.name for entry in path.iterdir()}
    return names & (BEGUN | {f".{name}.tmp" for name in (*BEGUN, "run.json")})


def _clear(path: Path) -> None:
    """Remove what :func:`_begun` finds."""
    for name in _begun(path):
        if (path / name).is_dir():
            shutil.rmtree(path / name)
        else:
            (path / name).unlink()


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
