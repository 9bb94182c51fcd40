"""How good must the tiles be? Test accuracy of several runs that differ in one number of their hardware."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from neurosim_ep.analysis.groups import Group
from neurosim_ep.analysis.load import NothingToDraw, Run
from neurosim_ep.analysis.style import GREY, INK, canvas, look
from neurosim_ep.registry import RULES

TITLES = {
    "hardware.converters.adc_bits": "bits of the converters (ADC)",
    "hardware.converters.dac_bits": "bits of the drivers (DAC)",
    "hardware.cells.levels": "levels of a cell",
    "hardware.device.constants.up_down": "the asymmetry of pulses (device constant up_down)",
}
UNLIMITED = {key for key in TITLES if not key.startswith("hardware.device")}
"""Keys whose 0 stands for any value: the ideal, at the right end."""
IRRELEVANT = ("scenario.", "telemetry.", "hardware.construction_seed")
METHOD = ("plasticity.", "signals.", "relaxation.feedback", "relaxation.nudge_feedback")
"""Keys that say how a network learns; a difference in any of them is one of the method."""

Settings = dict[str, Any]


@dataclass(frozen=True)
class Sweep:
    """``key``: the number in which runs differ; ``other``: the key that tells curves apart, if there is one; or they
    are told apart by the ``method``.
    """

    key: str
    other: str | None = None
    method: bool = False

    def label(self, run: Run) -> str:
        """The curve that ``run`` belongs to."""
        if self.method:
            return method(run)
        return "real tiles" if self.other is None else f"{self.other.split('.')[-1]} = {_settings(run).get(self.other)}"


def method(run: Run) -> str:
    """How the network of ``run`` learns, with the gains of its feedback where it has any."""
    name = Group(run.name, [run]).method
    if run.rule in RULES and not RULES[run.rule].relaxes:
        return name
    settings = _settings(run)
    gain, nudged = (settings.get(f"relaxation.{key}", 1) for key in ("feedback", "nudge_feedback"))
    return f"{name}, γ = {gain:g}, κ = {gain if nudged in ('feedback', None) else nudged:g}"


def varied(runs: Sequence[Run]) -> Sweep | None:
    """What a picture of ``runs`` can be drawn against: a number of the hardware in which they differ, and at most one
    other key, or several that change together, or those of the method. Runs on ideal tiles are the reference and do not
    count. None where there is no such number.
    """
    scenarios = [settings for run in runs if not _ideal(settings := _settings(run))]
    keys = dict.fromkeys(key for settings in scenarios for key in settings if not key.startswith(IRRELEVANT))
    distinct = {key: {str(settings.get(key)) for settings in scenarios} for key in keys}
    differing = [key for key, values in distinct.items() if len(values) > 1]
    numbers = [key for key in differing if key.startswith("hardware.") and _numeric(key, scenarios)]
    if not numbers:
        return None
    key = max(numbers, key=lambda number: len(distinct[number]))
    others = sorted((other for other in differing if other != key), key=lambda other: _numeric(other, scenarios))
    if others and all(other.startswith(METHOD) for other in others):
        return Sweep(key, method=True)
    patterns = {_pattern(other, scenarios) for other in others}
    if len(patterns) > 1 or (len(others) > 1 and _pattern(key, scenarios) in patterns):
        return None
    return Sweep(key, next(iter(others), None))


def draw(runs: Sequence[Run]) -> Figure:
    """Test accuracy after the last epoch against the number in which ``runs`` differ, a curve per value of another key
    or per method.

    Seeds of one setting are one point, their mean, with a bar from the smallest to the largest. Where 0 stands for no
    limit, it is drawn at the right end, and so are runs on ideal tiles, each in the curve of its method; elsewhere
    these are a line. Raises :class:`NothingToDraw` where :func:`varied` finds nothing, or a run lacks the number or its
    accuracy.
    """
    found = varied(runs)
    if found is None:
        raise NothingToDraw("accuracy is drawn against a number of the hardware of runs that differ in it")
    curves, ideal, unfinished = _collect(runs, found)
    unlimited, title = found.key in UNLIMITED, TITLES.get(found.key, found.key.removeprefix("hardware."))
    figure = canvas(
        f"Accuracy against {title}",
        ", ".join(dict.fromkeys(run.name for run in runs)),
        "Test images classified correctly after the last epoch." + (" inf: no limit." if unlimited else ""),
        width=8.5,
    )
    axes = figure.add_subplot()
    limited = [x for points in curves.values() for x in points if np.isfinite(x)]
    _scale(axes, found.key, limited, unlimited)
    for number, (label, points) in enumerate(curves.items()):
        colour, marker = look(number)
        values = sorted(points)
        places = [_place(found.key, x, limited) for x in values]
        mean = np.array([np.mean(points[x]) for x in values])
        ends = np.array([[min(points[x]), max(points[x])] for x in values]).T
        axes.errorbar(
            places, mean, np.abs(ends - mean), color=colour, marker=marker, capsize=3, elinewidth=1.2, label=label
        )
    if ideal:
        _draw_ideal(axes, ideal, _place(found.key, np.inf, limited) if unlimited else None)
    for x, accuracy in unfinished:
        place = _place(found.key, x, limited)
        axes.plot(place, accuracy, "x", color=INK, markersize=11, markeredgewidth=1.6, zorder=4)
    _draw_chance(axes, runs)
    axes.set_xlabel(title)
    axes.set_ylabel("test accuracy")
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.set_ylim(0, min(1.02, 1.12 * axes.get_ylim()[1]))
    axes.grid(axis="y")
    handles, names = axes.get_legend_handles_labels()
    if any(len(seeds) > 1 for points in curves.values() for seeds in points.values()):
        handles.append(Line2D([], [], color=GREY, marker="_", label=(text := "mean, smallest and largest of seeds")))
        names.append(text)
    if unfinished:
        handles.append(Line2D([], [], color=INK, marker="x", linestyle="", label=(text := "run did not finish")))
        names.append(text)
    figure.legend(handles, names, loc="outside lower center", ncols=3)
    return figure


def _collect(
    runs: Sequence[Run], sweep: Sweep
) -> tuple[dict[str, dict[float, list[float]]], list[float], list[tuple[float, float]]]:
    """Accuracies by curve and value, those of ideal tiles, and value and accuracy of runs that are not done."""
    curves: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    ideal, unfinished = [], []
    for run in runs:
        settings = _settings(run)
        accuracy = run.info.get("metrics", {}).get("test_accuracy")
        if accuracy is None:
            raise NothingToDraw(f"{run.path} has no test accuracy yet; it is known at the end of an epoch")
        if _ideal(settings) and not (sweep.method and sweep.key in UNLIMITED):
            ideal.append(float(accuracy))
            continue
        x = settings.get(sweep.key)
        if x is None:
            raise NothingToDraw(f"{run.path}: its scenario does not say {sweep.key}; set it in all runs compared")
        value = np.inf if sweep.key in UNLIMITED and x == 0 else float(x)
        curves[sweep.label(run)][value].append(float(accuracy))
        if run.info.get("status") != "done":
            unfinished.append((value, float(accuracy)))
    return {label: dict(points) for label, points in curves.items()}, ideal, unfinished


def _settings(run: Run) -> Settings:
    """Every key of the scenario, with its sections before it."""
    return dict(_flat(run.scenario, ""))


def _flat(section: Mapping[str, Any], before: str) -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _ideal(settings: Settings) -> bool:
    """Whether the tiles of a run read and write exactly."""
    converters = ("dac_bits", "adc_bits", "input_noise", "output_noise")
    exact = not any(settings.get(f"hardware.converters.{key}") for key in converters)
    cells = (value for key, value in settings.items() if key.startswith("hardware.cells.") and key[-7:] != ".time_s")
    return (
        exact
        and all(value in (0, "none") for value in cells)
        and settings.get("hardware.device.preset", "none") == "none"
    )


def _pattern(key: str, scenarios: Sequence[Settings]) -> tuple[int, ...]:
    """Which of the ``scenarios`` have the same value of ``key``: for each the first that has it."""
    values = [str(settings.get(key)) for settings in scenarios]
    return tuple(values.index(value) for value in values)


def _numeric(key: str, scenarios: Sequence[Settings]) -> bool:
    values = [settings[key] for settings in scenarios if key in settings]
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def _place(key: str, x: float, limited: Sequence[float]) -> float:
    """Where ``x`` stands; no limit stands a step to the right of the largest limit."""
    if np.isfinite(x):
        return x
    largest = max(limited, default=1.0)
    return largest * 4 if key.endswith("levels") else largest + 2


def _scale(axes: Axes, key: str, limited: Sequence[float], unlimited: bool) -> None:
    """The x axis: bits and levels have a tick for each value and one for no limit."""
    if not unlimited:
        return
    if key.endswith("levels"):
        axes.set_xscale("log", base=2)
    values = sorted(set(limited))
    end = _place(key, np.inf, limited)
    axes.set_xticks([*values, end], [*(f"{value:g}" for value in values), "inf"])
    axes.minorticks_off()
    between = np.sqrt(max(limited, default=1.0) * end) if key.endswith("levels") else end - 1
    axes.axvline(between, color=GREY, linestyle=(0, (1, 3)), linewidth=1)


def _draw_ideal(axes: Axes, accuracies: Sequence[float], place: float | None) -> None:
    """The mean of the runs on ideal tiles: a line, with a star at ``place`` where no limit is the ideal."""
    mean = float(np.mean(accuracies))
    axes.axhline(mean, color=GREY, linestyle="--", linewidth=1.2, label=None if place is not None else "ideal tiles")
    if place is not None:
        spread = [[mean - min(accuracies)], [max(accuracies) - mean]]
        axes.errorbar(
            [place], [mean], spread, color=GREY, marker="*", markersize=12, linestyle="--", capsize=3,
            label="ideal tiles",
        )  # fmt: skip


def _draw_chance(axes: Axes, runs: Sequence[Run]) -> None:
    classes = {run.classes for run in runs}
    if len(classes) == 1 and (count := classes.pop()) is not None:
        axes.axhline(1 / count, color=INK, linestyle=":", linewidth=1.4, label=f"chance: 1 of {count} classes")
