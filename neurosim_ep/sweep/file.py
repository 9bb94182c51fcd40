"""A sweep file: which scenario is varied, and how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from neurosim_ep import resources
from neurosim_ep.errors import SweepError, listed, nearest
from neurosim_ep.strict import Strict, broken_rule

FOLDER = "sweeps"
"""Where the shipped ones are."""
Table = dict[str, Any]


class SweepSection(Strict):
    """What is varied, and what is made of each point."""

    base: str
    description: str = ""
    kind: Literal["run", "estimate"] = "run"
    seeds: int = Field(default=1, ge=1, le=1000)
    constraints: tuple[str, ...] = Field(default=(), strict=False)


class RandomSection(Strict):
    """Points drawn at random: ``axes`` has for each key a list to choose from, or a range."""

    draws: int = Field(ge=1, le=10_000)
    seed: int = Field(default=0, ge=0, lt=2**31)
    axes: Table = Field(min_length=1)


class Range(Strict):
    """Numbers between ``low`` and ``high``: whole ones where both ends are."""

    low: int | float
    high: int | float
    scale: Literal["linear", "log"] = "linear"


class EstimateSection(Strict):
    """What `neurosim-ep estimate` is told beside the scenario."""

    samples: int = Field(default=8, ge=1)
    activity: float | None = Field(default=None, ge=0, le=1)
    events: float | None = Field(default=None, ge=0, le=1)


class SlurmSection(Strict):
    """``options`` of sbatch, and lines of shell that come before the command."""

    options: tuple[str, ...] = Field(default=(), strict=False)
    setup: tuple[str, ...] = Field(default=(), strict=False)


class SweepFile(Strict):
    """A whole sweep file. ``fixed`` holds for all points; points are the product of ``grid``, ``zip``, ``points``,
    ``random`` and the seeds.
    """

    sweep: SweepSection
    fixed: Table = Field(default_factory=dict)
    grid: Table = Field(default_factory=dict)
    zip: Table = Field(default_factory=dict)
    points: tuple[Table, ...] = Field(default=(), strict=False)
    random: RandomSection | None = None
    estimate: EstimateSection = EstimateSection()
    slurm: SlurmSection = SlurmSection()


def read_sweep(path: Path) -> SweepFile:
    """The sweep file at ``path``. Raises :class:`SweepError` with every problem found."""
    document = resources.read_toml(path, SweepError)
    try:
        found = SweepFile.model_validate(document)
    except ValidationError as error:
        problems = [_explain(item["loc"], item) for item in error.errors()]
        raise SweepError(listed(str(path), problems)) from error
    if problems := list(_broken_rules(found)):
        raise SweepError(listed(str(path), problems))
    return found


def find_sweep(name: str) -> Path:
    """The sweep file ``name``: a path, or the name of a shipped one; raises :class:`SweepError` otherwise."""
    return resources.resolve(name, FOLDER, SweepError)[0]


def parsed_range(key: str, value: Mapping[str, Any]) -> Range:
    """The range that a table gives ``key``. Raises :class:`SweepError`."""
    try:
        found = Range.model_validate(value)
    except ValidationError as error:
        problems = [_explain((key, *item["loc"]), item) for item in error.errors()]
        raise SweepError("; ".join(dict.fromkeys(problems))) from error
    if found.low >= found.high:
        raise SweepError(f"{key}.high = {found.high}: must be above low, which is {found.low}")
    if found.scale == "log" and found.low <= 0:
        raise SweepError(f'{key}.low = {found.low}: must be above 0 with scale = "log"')
    return found


def _broken_rules(found: SweepFile) -> Iterator[str]:
    if not (found.grid or found.zip or found.points or found.random or found.sweep.seeds > 1):
        yield "grid: is missing; say what varies in [grid], [zip], [[points]], [random] or sweep.seeds"
    if found.sweep.kind == "run" and found.estimate != EstimateSection():
        yield 'estimate: is for sweep.kind = "estimate"; remove it, or set the kind'
    if (found.estimate.activity is None) != (found.estimate.events is None):
        yield "estimate.activity and estimate.events: give both, or neither to measure them"


def _explain(path: tuple[int | str, ...], item: ErrorDetails) -> str:
    """One problem: key, value, rule and remedy."""
    kind, value = item["type"], item["input"]
    key = ".".join(map(str, path))
    if kind == "missing":
        return f"{key}: is missing; it must be given"
    if kind == "extra_forbidden":
        part: type[Strict] = Range if len(path) > 1 and "." in str(path[0]) else SweepFile
        for name in path[:-1] if part is SweepFile else ():
            part = part.part(str(name))
        what = "section" if isinstance(value, dict) and len(path) == 1 else "key"
        return f"{key}: unknown {what}; {nearest(str(path[-1]), part.keys())}"
    return broken_rule(key, item)
