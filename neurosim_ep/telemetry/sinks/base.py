"""What every sink is, and the sinks of a run, none of which can stop it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from neurosim_ep.errors import explained
from neurosim_ep.extras import require_extra
from neurosim_ep.record.kept import dotted
from neurosim_ep.registry import SINKS
from neurosim_ep.scenario.schema import Scenario


@dataclass(frozen=True)
class Tracked:
    """The run that is reported: its directory, its name, the keys of its scenario with dots, and the epochs that were
    finished when it began, or went on.
    """

    path: Path
    name: str
    settings: Mapping[str, Any]
    finished: int


class Sink(ABC):
    """Takes the numbers of a run, epoch by epoch. ``name`` and ``sentence``: as of all that has a name; ``package``
    must be installed, which the ``extra`` of this package brings ("" where nothing is needed).

    Whatever a method raises is said once, and the run goes on without the sink.
    """

    name: ClassVar[str]
    sentence: ClassVar[str]
    package: ClassVar[str] = ""
    extra: ClassVar[str] = ""

    @abstractmethod
    def begin(self, run: Tracked) -> None:
        """``run`` begins, or goes on; what an epoch after ``run.finished`` had reported is void."""

    @abstractmethod
    def epoch(self, epoch: int, values: Mapping[str, float]) -> None:
        """``epoch`` (from 1) is done: columns of epochs.csv, energies in J and latencies in s per sample, and columns
        of layers.csv as "layer_column/name". All are finite.
        """

    @abstractmethod
    def end(self, status: str) -> None:
        """The run ends "done", "interrupted", "diverged" or "failed"."""


class Sinks:
    """All sinks that the ``scenario`` of the run in ``path`` asks for; ``warn`` is told of one that fails.

    Raises :class:`UsageError` where a package is missing.
    """

    def __init__(self, scenario: Scenario, path: Path, warn: Callable[[str], None]) -> None:
        self.scenario, self.path, self._warn = scenario, path, warn
        self._wanted: list[type[Sink]] = [SINKS[name] for name in scenario.telemetry.all_sinks]
        self._sinks: list[Sink] = []
        for kind in self._wanted:
            if kind.package:
                require_extra(f"telemetry: the sink {kind.name}", kind.extra, kind.package)

    def begin(self, finished: int) -> None:
        """See :meth:`Sink.begin`."""
        self._sinks = [kind() for kind in self._wanted]
        run = Tracked(self.path, self.scenario.scenario.name, dotted(self.scenario), finished)
        self._each(lambda sink: sink.begin(run))

    def epoch(self, row: Mapping[str, float | None], layers: Mapping[str, Mapping[str, float | None]]) -> None:
        """See :meth:`Sink.epoch`; ``layers``: columns of layers.csv by the name of the layer."""
        if not self._sinks:
            return
        of_layers = {f"layer_{column}/{layer}": value for layer, of in layers.items() for column, value in of.items()}
        values = {
            name: float(value)
            for name, value in {**row, **of_layers}.items()
            if name != "epoch" and value is not None and math.isfinite(value)
        }
        number = int(row["epoch"] or 0)
        self._each(lambda sink: sink.epoch(number, values))

    def end(self, status: str) -> None:
        """See :meth:`Sink.end`."""
        self._each(lambda sink: sink.end(status))

    def _each(self, tell: Callable[[Sink], None]) -> None:
        """Tell every sink; one that fails is warned of and told nothing any more."""
        for sink in list(self._sinks):
            try:
                tell(sink)
            except Exception as problem:  # whatever goes wrong in a package that is not ours
                self._sinks.remove(sink)
                reason = explained(problem) or " ".join(str(problem).split())[:400] or type(problem).__name__
                self._warn(f"the sink {sink.name} failed ({reason}); the run goes on without it")
