"""Runs that differ in nothing but their seed, taken together."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import pandas as pd

from neurosim_ep.analysis.load import NothingToDraw, Run, labels
from neurosim_ep.errors import UsageError
from neurosim_ep.registry import RULES, SIGNALS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKS = 30
"""Epochs up to which each has a marker; longer curves have ten."""


@dataclass(frozen=True)
class Group:
    """Runs of one scenario with different seeds, in the order of the seeds."""

    name: str
    runs: list[Run]

    @property
    def has_signals(self) -> bool:
        """Whether any layer has an error signal."""
        return self.runs[0].setting("signals", "kind") != "none"

    @property
    def method(self) -> str:
        """How it learns, in the paper's words: the kinds of its error signals, the rule where it is not EP, and whether
        the feedback has gains.
        """
        kinds = self.runs[0].setting("signals", "kind")
        kinds = kinds if isinstance(kinds, list) else [kinds]
        labels_of = [SIGNALS[kind].label if kind in SIGNALS else str(kind) for kind in kinds]
        signals = " + ".join(dict.fromkeys(labels_of)) if self.has_signals else ""
        rule = str(self.runs[0].rule)
        found = ", ".join(filter(None, (RULES[rule].label if rule in RULES else "", signals))) or "plain EP"
        return f"{found} with gains" if self.has_gains and self.runs[0].relaxes else found

    @property
    def has_gains(self) -> bool:
        """Whether the feedback is anything but the published one."""
        phases = self.runs[0].scenario.get("relaxation", {})
        return phases.get("feedback", 1.0) != 1.0 or phases.get("nudge_feedback", "feedback") not in ("feedback", 1.0)

    @property
    def heading(self) -> str:
        """Name and method in two lines."""
        return self._named("\n")

    @property
    def label(self) -> str:
        """Name and method and, of several seeds, which they are."""
        seeds = ", ".join(str(run.setting("scenario", "seed")) for run in self.runs)
        return self._named(" ") + (f": mean of seeds {seeds}" if len(self.runs) > 1 else "")

    @property
    def described(self) -> str:
        """The run and its directory or, of several seeds, which they are."""
        return self.label if len(self.runs) > 1 else self.runs[0].label

    def _named(self, between: str) -> str:
        """Name and method, the method once where the name has it."""
        has_method = f"({self.method})".casefold() in self.name.casefold()
        return self.name if has_method else f"{self.name}{between}({self.method})"

    def curves(self, column: str) -> pd.DataFrame:
        """``column`` of epochs.csv: one row per epoch that all runs have finished, one column per run.

        Raises :class:`NothingToDraw` when they have none in common.
        """
        tables = [run.table("epochs.csv", ("epoch", column), unique=("epoch",)) for run in self.runs]
        columns = [table.set_index("epoch")[column] for table in tables]
        common = pd.concat(columns, axis=1, join="inner", keys=range(len(columns))).sort_index()
        if common.empty:
            raise NothingToDraw(f"the runs of {self.name} have no epoch in common; let them train on")
        return common

    def cut(self, column: str) -> str:
        """What to say where some of the runs went on longer than :meth:`curves` goes, else nothing."""
        last = self.curves(column).index[-1]
        longest = max(run.table("epochs.csv", ("epoch", column))["epoch"].max() for run in self.runs)
        return f" (to epoch {last}, which all have)" if longest > last else ""

    def draw(self, axes: Axes, column: str, *, colour: str, marker: str, dash: str = "-", band: bool = True) -> None:
        """Mean of the runs against the epoch, in a band from the smallest to the largest."""
        curves = self.curves(column)
        values = curves.to_numpy()
        axes.plot(
            curves.index, values.mean(axis=1), color=colour, linestyle=dash, linewidth=1.4 if dash == "--" else 1.8,
            marker=marker, markevery=mark_every(curves), markerfacecolor="white" if dash == "--" else colour,
        )  # fmt: skip
        if band and len(self.runs) > 1:
            axes.fill_between(
                curves.index, values.min(axis=1), values.max(axis=1), color=colour, alpha=0.14, linewidth=0
            )


def mark_every(curve: pd.DataFrame | pd.Series) -> int:
    """Points of ``curve`` from one marker to the next."""
    return 1 if len(curve) <= MARKS else len(curve) // 10


def alone(runs: Sequence[Run]) -> list[Group]:
    """Each of ``runs`` for itself."""
    return [Group(name, [run]) for name, run in zip(labels(runs), runs, strict=True)]


def mean_table(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Mean of tables (layer by epoch) of seeds, over the epochs that all have."""
    if len(tables) == 1:
        return tables[0]
    common = sorted(set.intersection(*(set(table.columns) for table in tables)))
    if not common:
        raise NothingToDraw("the seeds of a scenario have no epoch in common; let them train on")
    return sum((table[common] for table in tables[1:]), tables[0][common]) / len(tables)


def grouped(runs: Sequence[Run]) -> list[Group]:
    """``runs`` by scenario, seeds aside, in the order in which each scenario came first. Where their methods tell them
    apart, their names say no more than that of the scenario.

    Raises :class:`UsageError` where a scenario comes twice with one seed: such runs are no sample of anything.
    """
    found: list[list[Run]] = []
    for run in runs:
        for others in found:
            if _without_seed(others[0]) == _without_seed(run):
                others.append(run)
                break
        else:
            found.append([run])
    for group in found:
        group.sort(key=lambda run: run.setting("scenario", "seed"))
        for one, two in pairwise(group):
            if (seed := one.setting("scenario", "seed")) == two.setting("scenario", "seed"):
                raise UsageError(
                    f"{one.path} and {two.path}: the same scenario with the same seed ({seed}); give only one of them"
                )
    groups = [Group(group[0].name, group) for group in found]
    if len({(group.name, group.method) for group in groups}) == len(groups):
        return groups
    return [Group(name, group) for name, group in zip(labels([group[0] for group in found]), found, strict=True)]


def _without_seed(run: Run) -> dict[str, object]:
    run.setting("scenario", "seed")
    scenario = deepcopy(run.scenario)
    del scenario["scenario"]["seed"]
    return scenario
