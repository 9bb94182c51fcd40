"""Reading a run directory."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from neurosim_ep.errors import CheckpointError
from neurosim_ep.record.frames import read_csv
from neurosim_ep.record.rundir import RunDirectory
from neurosim_ep.record.traffic import open_traffic
from neurosim_ep.registry import RULES
from neurosim_ep.strict import flat

TRAFFIC_FILES = {"cost.csv", "comparison.csv", "sensitivity.csv", "traffic.h5"}
IRRELEVANT = ("scenario.name", "scenario.description", "telemetry.", "data.root")
"""Keys that change nothing in what a picture shows."""
MOST_KEYS = 2
"""Keys that a legend names to tell runs of one scenario apart."""
TEXT_COLUMNS = {
    "name",
    "phase",
    "component",
    "style",
    "method",
    "item",
    "side",
    "key",
    "unit",
    "direction",
    "accounting",
}


class NothingToDraw(Exception):
    """The run recorded nothing for this picture; the message says what is missing and how to get it."""


class DoesNotConcern(NothingToDraw):
    """The picture is of something this run does not have by its scenario; nobody needs to be told."""


Found = TypeVar("Found")


def read_once(read: Callable[[Path], Found]) -> Callable[[Path], Found]:
    """``read``, which keeps what it found in a file for as long as that file stays as it is. Nobody may change it."""

    @lru_cache(maxsize=32)
    def kept(path: Path, *_: int) -> Found:
        return read(path)

    def once(path: Path) -> Found:
        try:
            file = path.stat()
        except OSError:
            return read(path)
        return kept(path, file.st_ino, file.st_size, file.st_mtime_ns)

    return once


def read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """The CSV file at ``path``. Raises :class:`CheckpointError` when it is broken or lacks one of ``columns``."""
    return _having(read_csv(path), path, columns)


@read_once
def _with_gaps(path: Path) -> pd.DataFrame:
    """The CSV file at ``path``, in which nothing stands for what is infinite."""
    frame = read_csv(path)
    if not isinstance(frame.index, pd.RangeIndex):
        raise CheckpointError(f"{path}: has a row with more cells than the header; was it edited?")
    return frame.replace([np.inf, -np.inf], np.nan)


def _having(frame: pd.DataFrame, path: Path, columns: Sequence[str]) -> pd.DataFrame:
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise CheckpointError(f"{path}: lacks the columns {', '.join(missing)}; was it edited?")
    return frame


@dataclass(frozen=True)
class Run:
    """A run directory opened for reading."""

    path: Path
    name: str
    scenario: dict[str, Any]
    info: dict[str, Any]

    @property
    def classes(self) -> int | None:
        """Number of classes of the run's images, where ``run.json`` or the kind of the data tells."""
        data = self.info.get("data")
        noted = data.get("classes") if isinstance(data, dict) else None
        known = {"textures": self.setting("data", "classes"), "cifar10": 10, "cifar100": 100}
        count = known.get(self.setting("data", "kind"), noted)
        return count if isinstance(count, int) and count > 0 else None

    @property
    def label(self) -> str:
        """The name of the scenario and, where it says more, of the directory."""
        return self.label_in(self.path.resolve().name)

    def label_in(self, directory: str) -> str:
        """:attr:`label` with another name for the directory."""
        directory = directory.encode(errors="backslashreplace").decode()  # names of folders need not be text
        return directory if self.name in directory else f"{self.name} ({directory})"

    def setting(self, section: str, key: str) -> Any:
        """A value of the run's scenario. Raises :class:`CheckpointError` when ``scenario.toml`` lacks it."""
        try:
            return self.scenario[section][key]
        except (KeyError, TypeError) as problem:
            raise CheckpointError(f"{self.path / 'scenario.toml'}: lacks {section}.{key}; was it edited?") from problem

    @property
    def rule(self) -> str | None:
        """``plasticity.rule``; None where the scenario does not say."""
        return self.scenario.get("plasticity", {}).get("rule")

    @property
    def relaxes(self) -> bool:
        """Whether the network has a free phase; one of a rule that is not known here counts as such."""
        return self.rule is None or self.rule not in RULES or RULES[self.rule].relaxes

    @property
    def nudges(self) -> bool:
        """Whether there are nudge phases, likewise."""
        return self.rule is None or self.rule not in RULES or RULES[self.rule].nudges

    def hardware(self, section: str, key: str, ideal: Any) -> Any:
        """A value of a section of the scenario's ``hardware``; ``ideal`` where it has none."""
        return self.scenario.get("hardware", {}).get(section, {}).get(key, ideal)

    def table(self, file: str, columns: Sequence[str], *, unique: Sequence[str] = ()) -> pd.DataFrame:
        """The rows of a CSV file of the run that have a finite value in all of ``columns``.

        Raises :class:`NothingToDraw` when the file is missing or has no such row, and :class:`CheckpointError` when it
        is broken, lacks one of ``columns``, holds text for a number or two rows with the same values of ``unique``.
        """
        path = self.existing(file)
        frame = _having(_with_gaps(path), path, columns).dropna(subset=list(columns))
        if frame.empty:
            raise NothingToDraw(f"{path} has no values of {columns[-1]}; it is filled at the end of an epoch")
        words = [name for name in columns if name not in TEXT_COLUMNS and not is_numeric_dtype(frame[name])]
        if words:
            raise CheckpointError(f"{path}: holds text in the columns {', '.join(words)}; was it edited?")
        if unique and frame.duplicated(list(unique)).any():
            raise CheckpointError(f"{path}: holds a row twice for one {' and '.join(unique)}; was it edited?")
        return frame

    def layers(self, column: str) -> pd.DataFrame:
        """``column`` of layers.csv: one row (layer, name) per layer in order of depth, one column per epoch; raises as
        :meth:`table` does.
        """
        frame = self.table("layers.csv", ("epoch", "layer", "name", column), unique=("epoch", "layer"))
        return frame.pivot(index=["layer", "name"], columns="epoch", values=column).sort_index()

    def events(self) -> tuple[dict[str, np.ndarray], list[str], int]:
        """Events per neuron, tick and sample of the last recorded epoch, from ``traffic.h5``; NaN in ticks in which a
        layer had nothing new to send, as it was not updated in the tick before.

        Returns ``{phase: array (ticks, layers)}``, the names of the layers and that epoch.
        Raises :class:`NothingToDraw` without recorded traffic and :class:`CheckpointError` for a broken file.
        """
        path = self.existing("traffic.h5")
        with open_traffic(path) as file:
            epochs = file["batches/epoch"][:]
            if not len(epochs):
                raise NothingToDraw(f"{path} holds no batch yet; it grows at the end of an epoch")
            last = epochs == epochs[-1]
            samples = file["batches/samples"][last].sum()
            neurons = file["layers/neurons"][:]
            names = file["layers/name"].asstr()[:].tolist()
            rates = {
                phase: _event_rates(counts["events"][last], counts["presentations"][last], samples * neurons)
                for phase, counts in file["phases"].items()
                if "events" in counts
            }
        return rates, names, int(epochs[-1])

    def existing(self, file: str) -> Path:
        """Path of a file of the run. Raises :class:`NothingToDraw` where there is none, saying why."""
        path = self.path / file
        if path.exists():
            return path
        if file in TRAFFIC_FILES and self.rule and self.rule in RULES and not RULES[self.rule].nudges:
            raise NothingToDraw(f'{path} does not exist; the chip does not compute plasticity.rule = "{self.rule}"')
        if file in TRAFFIC_FILES and not self.setting("telemetry", "traffic_every"):
            raise NothingToDraw(f"{path} does not exist; telemetry.traffic_every is 0, 1 or more records traffic")
        raise NothingToDraw(f"{path} does not exist; it is written at the end of an epoch")


def _event_rates(events: np.ndarray, updates: np.ndarray, per: np.ndarray) -> np.ndarray:
    """Events (batches, ticks, layers) summed over the batches ``per`` neuron and sample; NaN where a layer sent nothing
    and had no ``updates`` (likewise) in the tick before; in the first tick, where it sent nothing.
    """
    sent, updated = events.sum(axis=0), updates.sum(axis=0) > 0
    fresh = np.vstack([np.zeros_like(updated[:1]), updated[:-1]])
    return np.where(fresh | (sent > 0), sent / per, np.nan)


def directory_names(runs: Sequence[Run]) -> list[str]:
    """The shortest ends of the runs' paths, no two the same: ``r`` and ``s``, but ``A/r`` and ``B/r``."""
    parts = [run.path.resolve().parts[1:] for run in runs]
    ends = (["/".join(path[-depth:]) for path in parts] for depth in range(1, 1 + max(map(len, parts))))
    return next(names for names in ends if len(set(names)) == len(runs))


def labels(runs: Sequence[Run]) -> list[str]:
    """The scenario names where they differ; where they do not, with the keys that do and their values; with the
    directory names where those are too many, or none.
    """
    count, directories = Counter(run.name for run in runs), directory_names(runs)
    found = []
    for run, directory in zip(runs, directories, strict=True):
        keys = differing([other for other in runs if other.name == run.name])
        apart = ", ".join(f"{key.rpartition('.')[2]} = {_spelled(settings(run).get(key))}" for key in keys)
        named = f"{run.name}, {apart}" if 0 < len(keys) <= MOST_KEYS else run.label_in(directory)
        found.append(run.name if count[run.name] == 1 else named)
    return (
        found
        if len(set(found)) == len(found)
        else [run.label_in(name) for run, name in zip(runs, directories, strict=True)]
    )


def settings(run: Run) -> dict[str, Any]:
    """Every key of the scenario of ``run``, with its sections before it."""
    return dict(flat(run.scenario))


def differing(runs: Sequence[Run]) -> list[str]:
    """Keys in whose value ``runs`` differ, those left out that change no result."""
    known = [settings(run) for run in runs]
    keys = dict.fromkeys(key for one in known for key in one if not key.startswith(IRRELEVANT))
    return [key for key in keys if len({str(one.get(key)) for one in known}) > 1]


def _spelled(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def open_runs(paths: Sequence[Path]) -> list[Run]:
    """:func:`open_run` of each directory; one that is given twice counts once."""
    return [open_run(path) for path in {Path(path).resolve(): Path(path) for path in paths}.values()]


def open_run(path: Path) -> Run:
    """The run directory at ``path``; raises :class:`CheckpointError` when it is none this version reads."""
    run = RunDirectory.open(path)
    info = run.info()
    if not isinstance(info.get("name"), str):
        raise CheckpointError(f"{run.run_json}: lacks the name of the run; was it edited?")
    return Run(path, info["name"], _scenario(path / "scenario.toml"), info)


def _scenario(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as problem:
        raise CheckpointError(f"{path}: cannot be read as TOML ({problem})") from problem
