"""Does the network learn? Accuracy, loss and the weight α of the signals against the epoch, several runs at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from neurosim_ep.analysis.groups import Group, mark_every
from neurosim_ep.analysis.load import NothingToDraw
from neurosim_ep.analysis.style import FAINT, INK, canvas, epoch_axis, look

CHANCE = (":", "-.", (0, (1, 4)))
LOSSES = {"cross_entropy": "cross-entropy", "squared_error": "squared error"}


def draw(groups: Sequence[Group]) -> Figure:
    """Accuracy (training dashed, test solid, chance dotted) and training loss (arXiv 2508.15989, Fig 4).

    Several seeds of a scenario are one line, their mean, in a band from the smallest to the largest.
    """
    handles = _legend(groups)
    when = "Training: mean over the epoch, each batch seen before its weight update. Test: after the epoch."
    alone = len(groups) == 1
    figure = canvas(
        "Accuracy and loss over training",
        groups[0].described if alone else when,
        when
        if alone
        else "Share of the images whose class the readout names at the end of the free phase, and loss of the readout.",
        width=10.5,
        height=5.2 + 0.11 * len(handles),
    )
    accuracy, loss = figure.subplots(1, 2)
    for index, group in enumerate(groups):
        colour, marker = look(index)
        group.draw(accuracy, "train_accuracy", colour=colour, marker=marker, dash="--", band=False)
        group.draw(accuracy, "test_accuracy", colour=colour, marker=marker)
        group.draw(loss, "loss", colour=colour, marker=marker, dash="--")
    for axes, title in ((accuracy, "Accuracy"), (loss, "Training loss")):
        axes.set_title(title)
        axes.grid(axis="y")
        epoch_axis(axes, 10)
    _draw_chance(accuracy, groups)
    accuracy.set_ylabel("images classified correctly")
    accuracy.yaxis.set_major_formatter(PercentFormatter(1, 0))
    accuracy.set_ylim(0, min(1.02, 1.1 * accuracy.get_ylim()[1]))
    kinds = {group.runs[0].setting("network", "loss") for group in groups}
    kind = LOSSES.get(str(kinds.pop()), "of each scenario") if len(kinds) == 1 else "of each scenario"
    loss.set_ylabel(f"loss per image ({kind})")
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def draw_alpha(groups: Sequence[Group]) -> Figure:
    """α against the epoch (arXiv 2508.15989, Fig 6); runs without signals have none.

    Raises :class:`NothingToDraw` when no run has signals.
    """
    having = [group for group in groups if group.has_signals]
    if not having:
        raise NothingToDraw("no run has error signals; signals.kind is none in all of them")
    absent = [group.name for group in groups if group not in having]
    figure = canvas(
        "Weight α of the error signals over training",
        f"Without signals, and not drawn: {', '.join(absent)}." if absent else "All runs have signals.",
        "The layers' own errors count α times as much as the error of the readout.",
        height=4.6 + 0.2 * len(having),
    )
    axes = figure.add_subplot()
    for index, group in enumerate(groups):
        if group in having:
            colour, marker = look(index)
            curve = group.curves("alpha").iloc[:, 0]  # no seed changes it
            width = 1.8 + 2.2 * (len(having) - 1 - having.index(group))  # equal schedules lie in one another
            axes.plot(curve.index, curve, color=colour, linewidth=width, marker=marker, markevery=mark_every(curve))
    axes.set_ylim(0, 1.1 * axes.get_ylim()[1])
    axes.set_ylabel("signal weight α (no unit)")
    axes.grid(axis="y")
    epoch_axis(axes)
    handles = [
        Line2D([], [], color=look(index)[0], marker=look(index)[1], label=_schedule(group))
        for index, group in enumerate(groups)
        if group in having
    ]
    figure.legend(handles=handles, loc="outside lower left")
    return figure


def _schedule(group: Group) -> str:
    return f"{group.name} ({group.method}): {group.runs[0].setting('signals', 'alpha_schedule')} schedule"


def _legend(groups: Sequence[Group]) -> list[Line2D | Patch]:
    """Two columns: what each colour is, and what dashes, bands and the lines of chance are."""
    colours, meanings = _colours(groups), _meanings(groups)
    rows = max(len(colours), len(meanings))
    return [
        handle
        for column in (colours, meanings)
        for handle in [*column, *(Line2D([], [], linestyle="", label=" ") for _ in range(rows - len(column)))]
    ]


def _colours(groups: Sequence[Group]) -> list[Line2D | Patch]:
    """What each colour is."""
    handles: list[Line2D | Patch] = []
    for index, group in enumerate(groups):
        colour, marker = look(index)
        handles.append(Line2D([], [], color=colour, marker=marker, label=group.label + group.cut("loss")))
    return handles


def _meanings(groups: Sequence[Group]) -> list[Line2D | Patch]:
    """What dashes, bands and the lines of chance are."""
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=INK, label="test images"),
        Line2D([], [], color=INK, linestyle="--", linewidth=1.4, label="training images"),
    ]
    if any(len(group.runs) > 1 for group in groups):
        handles.append(
            Patch(color=FAINT, alpha=0.4, label="smallest to largest of the seeds (test accuracy, training loss)")
        )
    for classes, dash in _chances(groups).items():
        handles.append(
            Line2D([], [], color=INK, linestyle=dash, linewidth=1.4, label=f"chance: 1 of {classes} classes")
        )
    if any(group.runs[0].classes is None for group in groups):
        handles.append(Line2D([], [], linestyle="", label="chance is not drawn where run.json lacks the classes"))
    return handles


def _chances(groups: Sequence[Group]) -> dict[int, Any]:
    """The dash of every number of classes."""
    counts = sorted({classes for group in groups if (classes := group.runs[0].classes) is not None})
    return {classes: CHANCE[index % len(CHANCE)] for index, classes in enumerate(counts)}


def _draw_chance(axes: Axes, groups: Sequence[Group]) -> None:
    for classes, dash in _chances(groups).items():
        axes.axhline(1 / classes, color=INK, linestyle=dash, linewidth=1.4, zorder=3)
