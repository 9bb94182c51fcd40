"""How good must the tiles be, or anything else? Test accuracy of several runs against a number in which they differ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from neurosim_ep.analysis.against import Scale, draw_curve, seeds_shown, title_of
from neurosim_ep.analysis.groups import Group
from neurosim_ep.analysis.load import NothingToDraw, Run, settings
from neurosim_ep.analysis.points import ACCURACY, UNLIMITED, Curves, Points, setting
from neurosim_ep.analysis.style import GREY, INK, canvas, legend_columns

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
        return "real tiles" if self.other is None else setting(self.other, settings(run).get(self.other))


def method(run: Run) -> str:
    """How the network of ``run`` learns, with the gains of its feedback where it has any."""
    name = Group(run.name, [run]).method
    if not run.relaxes:
        return name
    mine = settings(run)
    gain, nudged = (mine.get(f"relaxation.{key}", 1) for key in ("feedback", "nudge_feedback"))
    return f"{name}, γ = {gain:g}, κ = {gain if nudged in ('feedback', None) else nudged:g}"


@dataclass(frozen=True)
class Beside:
    """What is drawn beside the curves: accuracies on ideal tiles, and (value, accuracy) of runs that are not done."""

    ideal: list[float]
    unfinished: list[tuple[Any, float]]


def varied(runs: Sequence[Run]) -> Sweep | None:
    """What a picture of ``runs`` can be drawn against: a number of the hardware in which they differ, and at most one
    other key, or several that change together, or those of the method. Runs on ideal tiles are the reference and do not
    count. None where there is no such number.
    """
    scenarios = [mine for run in runs if not _ideal(mine := settings(run))]
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
    curves, beside = _collect(runs, found)
    classes = {run.classes for run in runs}
    name = ", ".join(dict.fromkeys(run.name for run in runs))
    return _figure(name, found.key, curves, beside, classes.pop() if len(classes) == 1 else None)


def draw_points(points: Points, x: str) -> Figure:
    """:func:`draw` of the ``points`` of a sweep, against any key ``x``; where more vary than a picture can tell apart,
    points are dots. Raises :class:`NothingToDraw` without accuracies.
    """
    if not points.has(ACCURACY):
        raise NothingToDraw("no point has a test accuracy; estimates have none, runs at the end of an epoch")
    rows = points.frame[points.frame[ACCURACY].notna() & (points.frame["status"] != "done")]
    unfinished = [(row[x], float(row[ACCURACY])) for row in rows.to_dict("records")]
    curves = points.curves(x, ACCURACY)
    return _figure(points.name, x, curves, Beside([], unfinished), points.classes, loose=points.loose(x))


def _figure(name: str, key: str, curves: Curves, beside: Beside, classes: int | None, *, loose: bool = False) -> Figure:
    unlimited = key in UNLIMITED
    scale = Scale(key, [x for points in curves.values() for x in points], end=bool(beside.ideal))
    endless = unlimited and scale.endless
    figure = canvas(
        f"Accuracy against {title_of(key)}",
        name,
        "Test images classified correctly after the last epoch."
        + (" Right of the dotted line: ideal, without a limit." if endless else ""),
        width=8.5,
    )
    axes = figure.add_subplot()
    for number, (label, points) in enumerate(curves.items()):
        alone = "mean of the seeds" if seeds_shown([points]) and not loose else "runs"
        draw_curve(axes, scale, points, label or alone, number, loose=loose)
    scale.dress(axes)
    if beside.ideal:
        _draw_ideal(axes, beside.ideal, scale.end if unlimited else None)
    for x, accuracy in beside.unfinished:
        axes.plot(scale.place(x), accuracy, "x", color=INK, markersize=11, markeredgewidth=1.6, zorder=4)
    if classes is not None:
        axes.axhline(1 / classes, color=INK, linestyle=":", linewidth=1.4, label=f"chance: 1 of {classes} classes")
    axes.set_ylabel("test accuracy")
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.set_ylim(0, min(1.02, 1.12 * axes.get_ylim()[1]))
    axes.grid(axis="y")
    handles, names = axes.get_legend_handles_labels()
    if seeds_shown(curves.values()) and not loose:
        handles.append(Patch(color=GREY, alpha=0.25, linewidth=0, label=(text := "smallest to largest of the seeds")))
        names.append(text)
    if beside.unfinished:
        handles.append(Line2D([], [], color=INK, marker="x", linestyle="", label=(text := "run did not finish")))
        names.append(text)
    figure.legend(handles, names, loc="outside lower center", ncols=legend_columns(figure, 3))
    return figure


def _collect(runs: Sequence[Run], sweep: Sweep) -> tuple[Curves, Beside]:
    """Accuracies by curve and value, and what stands beside them."""
    curves: dict[str, dict[Any, list[float]]] = defaultdict(lambda: defaultdict(list))
    beside = Beside([], [])
    for run in runs:
        mine = settings(run)
        accuracy = run.info.get("metrics", {}).get("test_accuracy")
        if accuracy is None:
            raise NothingToDraw(f"{run.path} has no test accuracy yet; it is known at the end of an epoch")
        if _ideal(mine) and not (sweep.method and sweep.key in UNLIMITED):
            beside.ideal.append(float(accuracy))
            continue
        x = mine.get(sweep.key)
        if x is None:
            raise NothingToDraw(f"{run.path}: its scenario does not say {sweep.key}; set it in all runs compared")
        curves[sweep.label(run)][x].append(float(accuracy))
        if run.info.get("status") != "done":
            beside.unfinished.append((x, float(accuracy)))
    return {label: dict(points) for label, points in curves.items()}, beside


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
