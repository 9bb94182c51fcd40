"""The points of a sweep: named, checked, each with a whole scenario of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurosim_ep import resources
from neurosim_ep.errors import HardwareModelError, ScenarioError, SweepError, listed, nearest
from neurosim_ep.scenario.load import NO_PLOTS, NO_REPORT, parse_scenario
from neurosim_ep.scenario.schema import HardwareSection, Scenario
from neurosim_ep.sweep.axes import Settings, flat, settings_of, toml_text
from neurosim_ep.sweep.constraints import Constraint
from neurosim_ep.sweep.file import SweepFile, read_sweep

LONGEST_NAME, LONGEST_VALUE = 120, 24


@dataclass(frozen=True)
class Point:
    """One point: ``settings`` are the values of all keys that vary in the sweep."""

    name: str
    settings: Settings


@dataclass(frozen=True)
class Plan:
    """All points of a sweep file, with the scenario of each; ``left_out``: how many the constraints drop."""

    file: SweepFile
    keys: list[str]
    points: list[tuple[Point, Scenario]]
    left_out: int


def plan_sweep(path: Path) -> Plan:
    """What the sweep file at ``path`` asks for.

    Raises :class:`SweepError` with every problem of every point, and :class:`ScenarioError` where the base is wrong.
    """
    file = read_sweep(path)
    base = _base(path, file.sweep.base)
    document = resources.read_toml(base, ScenarioError)
    plain = parse_scenario(document, str(base))
    fixed = flat(file.fixed)
    try:
        every = settings_of(file, fixed.get("scenario.seed", plain.scenario.seed))
    except SweepError as problem:
        raise SweepError(f"{path}: {problem}") from problem
    kept = _constrained(path, file, every, fixed, plain)
    if not kept:
        raise SweepError(f"{path}: the constraints leave none of {len(every)} points; relax one of them")
    keys = list(dict.fromkeys(key for settings in kept for key in settings))
    scenarios = _scenarios(path, document, kept, fixed)
    resolved = [flat(scenario.model_dump(by_alias=True)) for scenario in scenarios]
    complete = [
        {key: settings.get(key, every_key.get(key)) for key in keys}
        for settings, every_key in zip(kept, resolved, strict=True)
    ]
    points = [Point(name, settings) for name, settings in zip(_names(keys, complete), complete, strict=True)]
    return Plan(file, keys, list(zip(points, scenarios, strict=True)), len(every) - len(kept))


def _base(path: Path, name: str) -> Path:
    """The base scenario: a file beside the sweep file or where the command runs, or a shipped one."""
    beside = path.parent / name
    if beside.is_file():
        return beside

    def not_found(message: str) -> SweepError:
        return SweepError(f'{path}: sweep.base = "{name}"{message.removeprefix(name)}')

    return resources.resolve(name, "scenarios", not_found)[0]


def _constrained(
    path: Path, file: SweepFile, every: Sequence[Settings], fixed: Settings, plain: Scenario
) -> list[Settings]:
    """Those of ``every`` point that fulfil the constraints; keys that no point sets are as in ``plain``."""
    base = flat(plain.model_dump(by_alias=True))
    kept, problems = list(every), []
    for number, text in enumerate(file.sweep.constraints):
        try:
            constraint = Constraint.parse(text)
            kept = [settings for settings in kept if constraint.holds(_Lookup({**base, **fixed, **settings}))]
        except ValueError as problem:
            problems.append(f'sweep.constraints[{number}] = "{text}": {problem}')
    if problems:
        raise SweepError(listed(str(path), problems))
    return kept


class _Lookup:
    """What a constraint is told of a key."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    def __call__(self, key: str) -> Any:
        if key not in self.values:
            raise KeyError(f"is no key; {nearest(key, self.values, cutoff=0.0)}")
        return self.values[key]


def _scenarios(path: Path, document: dict[str, Any], kept: Sequence[Settings], fixed: Settings) -> list[Scenario]:
    """The scenario of every point. Raises :class:`SweepError` with what is wrong, each problem once."""
    from neurosim_ep.experiment.model import chip_model  # loads PyTorch

    scenarios: list[Scenario] = []
    problems: dict[str, Settings] = {}
    chips: list[HardwareSection] = []
    for settings in kept:
        overrides = [f"{key}={toml_text(value)}" for key, value in (fixed | settings).items()]
        try:
            scenario = parse_scenario(document, str(path), [NO_PLOTS, NO_REPORT, *overrides])
            if scenario.hardware not in chips:
                chip_model(scenario.hardware)
                chips.append(scenario.hardware)
            scenarios.append(scenario)
        except ScenarioError as error:
            for problem in error.problems:
                problems.setdefault(problem.replace(" (--set)", ""), settings)
        except HardwareModelError as error:
            problems.setdefault(str(error), settings)
    if problems:
        lines = [f"{problem}{_where(settings)}" for problem, settings in problems.items()]
        raise SweepError(f"{listed(str(path), lines)}\n`neurosim-ep schema` lists all keys with their rules")
    return scenarios


def _where(settings: Settings) -> str:
    point = ", ".join(f"{key} = {toml_text(value)}" for key, value in settings.items())
    return f" (first with {point})" if point else ""


def _names(keys: Sequence[str], every: Sequence[Settings]) -> list[str]:
    """A folder name for every point: its number, and what is varied."""
    labels, width = short_labels(keys), len(str(len(every)))
    names = []
    for number, settings in enumerate(every, 1):
        parts = [f"{labels[key]}={_spelled(value)}" for key, value in settings.items()]
        names.append("_".join([f"{number:0{width}}", *parts])[:LONGEST_NAME].rstrip("._-="))
    return names


def short_labels(keys: Sequence[str]) -> dict[str, str]:
    """The shortest ends of the dotted ``keys`` that tell them apart."""
    found = {}
    for key in keys:
        parts = key.split(".")
        ends = (".".join(parts[-depth:]) for depth in range(1, len(parts) + 1))
        found[key] = next(
            end for end in ends if sum(other == end or other.endswith(f".{end}") for other in keys) == 1 or end == key
        )
    return found


def _spelled(value: Any) -> str:
    text = value if isinstance(value, str) else toml_text(value)
    if "/" in text or "\\" in text:
        text = Path(text).stem
    return re.sub(r"[^A-Za-z0-9_.+-]+", "-", text).strip("-")[:LONGEST_VALUE]
