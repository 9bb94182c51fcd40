"""Pictures of a diagnosis: does the network come to rest, contract, stay out of saturation, and answer to the nudge?"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from neurosim_ep.analysis.load import read_table
from neurosim_ep.analysis.scales import log_axis, log_line
from neurosim_ep.analysis.style import (
    GREY,
    INK,
    PALETTE,
    REST,
    SCREEN,
    SEQUENTIAL,
    Output,
    canvas,
    covered,
    fill,
    layer_axis,
    legend_columns,
    log_floor,
    on_paper,
    save,
    tick_axis,
)
from neurosim_ep.errors import CheckpointError

KINDS = {
    "at rest": ("at rest", PALETTE[0]),
    "slow": ("slow: still moves, but ever less", PALETTE[5]),
    "period-2": ("period 2: to and fro between two states", PALETTE[1]),
    "other": ("other: moves in another way", PALETTE[3]),
}
"""Label and colour of each kind of motion."""

NUDGE = {
    "displacement_plus": ("+β", PALETTE[1], "o", "-"),
    "displacement_minus": ("−β", PALETTE[2], "s", "-"),
    "drift": ("drift: no nudge (β = 0)", GREY, "v", "--"),
    "net_plus": ("+β, less what happens without a nudge", PALETTE[0], "D", ":"),
}
"""Label, colour, marker and dash of every curve of the nudge picture."""

PASSING = (("linear", "with a slope (linear)", PALETTE[0]), ("dead", "dead: at a bound for every sample", INK))
"""Column, label and colour of the lower bars of the saturation picture."""


def draw_diagnosis(folder: Path, output: Output = SCREEN) -> list[Path]:
    """Draw the pictures of the diagnosis in ``folder`` into its ``plots``; returns the files written, as ``output`` has
    them.

    Raises :class:`CheckpointError` when a table is missing or broken and :class:`UsageError` when nothing can be
    written.
    """
    label = _label(folder)
    pictures: dict[str, Callable[[], Figure]] = {
        "residual": partial(
            draw_residual, read_table(folder / "residual.csv", ("tick", "name", "median", "p90", "max")), label
        ),
        "saturation": partial(
            draw_saturation,
            read_table(folder / "layers.csv", ("name", "at_lower", "at_upper", "dead", "linear")),
            label,
        ),
        "nudge": partial(draw_nudge, read_table(folder / "layers.csv", ("name", *NUDGE)), label),
        "spectral_radius": partial(draw_radius, read_table(folder / "samples.csv", ("kind", "spectral_radius")), label),
    }
    return [path for name, draw in pictures.items() for path in save(draw, folder / "plots" / name, output)]


def draw_residual(frame: pd.DataFrame, label: str) -> Figure:
    """Residual against the tick: of all states median, 90th percentile and largest sample; of each layer the median.

    No change at all has no logarithm and lies on the lower edge.
    """
    measures = ["median", "p90", "max"]
    floor, stopped = log_floor(frame[measures].to_numpy()), bool((frame[measures] == 0).any(axis=None))
    frame = frame.assign(**{name: np.maximum(frame[name], floor) for name in measures})
    figure = canvas(
        "How the states settle in a free phase",
        label,
        "Largest change of a sample's states from one update of all layers to the next. A level line never comes to "
        "rest." + (" Lower edge: 0." if stopped else ""),
        height=5.0,
    )
    whole, layers = figure.subplots(1, 2, sharey=True)
    log_axis(whole.yaxis)
    whole.set_ylim(floor, 1.5 * frame["max"].max())
    everything = frame[frame["layer"].isna()]
    for name, dash, text in zip(measures, ("-", "--", ":"), ("median", "90th percentile", "largest"), strict=True):
        whole.plot("tick", name, data=everything, color=PALETTE[0], linestyle=dash, label=text)
    names = list(dict.fromkeys(frame.loc[frame["layer"].notna(), "name"]))
    colours = colormaps[SEQUENTIAL](np.linspace(0, 0.9, len(names)))
    for name, colour, dash in zip(names, colours, cycle(("-", "--")), strict=False):
        layers.plot("tick", "median", data=frame[frame["name"] == name], color=colour, linestyle=dash, label=name)
    for axes, title in ((whole, "all layers together"), (layers, "each layer, median")):
        axes.grid(axis="y")
        axes.set_title(title)
        tick_axis(axes)
    whole.set_ylabel("residual max |Δs|\nin a step  (state units)")
    whole.legend(loc="best")
    rows = math.ceil(len(names) / (4 if on_paper() else 8))
    figure.legend(
        handles=layers.get_lines(), loc="outside lower center", ncols=math.ceil(len(names) / rows),
        title="layers, from the input side on",
    )  # fmt: skip
    return figure


def draw_saturation(frame: pd.DataFrame, label: str) -> Figure:
    """Where the states of each layer lie, at a bound or between; how much of it passes an error, how much is dead."""
    figure = canvas(
        "Saturation of every layer",
        label,
        "End of the free phase, all neurons and samples. An error passes only where the activation has a slope.",
        height=6.6,
    )
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    places = np.arange(len(frame))
    below, above = frame["at_lower"].to_numpy(), frame["at_upper"].to_numpy()
    for height, bottom, text, look in (
        (above, 1 - above, "upper bound", fill(1)),
        (1 - below - above, below, "between", fill(5)),
        (below, 0 * below, "lower bound", REST),
    ):
        upper.bar(places, height, 0.7, bottom, label=text, edgecolor="white", **look)
    for number, (column, text, colour) in enumerate(PASSING):
        lower.bar(places + 0.36 * (number - 0.5), frame[column], 0.34, color=colour, label=text)
    for axes, said in ((upper, "states"), (lower, "neurons")):
        axes.set_ylim(0, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
        axes.set_ylabel(f"share of the {said}")
        axes.grid(axis="y")
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3)
        layer_axis(axes, frame["name"].tolist())
    lower.set_xlabel("layer (input side on the left)")
    return figure


def draw_nudge(frame: pd.DataFrame, label: str) -> Figure:
    """Displacement of each layer by +β and −β on a log scale, beside what it drifts without a nudge."""
    floor = log_floor(0.8 * frame[list(NUDGE)].to_numpy())
    figure = canvas(
        "How far the nudge displaces every layer",
        label,
        "‖s − s*‖ at the end of the nudge phase, s* that of the free phase, mean of samples. On the grey line it only "
        "goes on.",
    )
    axes = figure.add_subplot()
    log_axis(axes.yaxis)
    axes.grid(axis="y")
    places = np.arange(len(frame))
    for column, (text, colour, marker, dash) in NUDGE.items():
        look = {"color": colour, "marker": marker, "linestyle": dash, "label": text}
        log_line(axes, places, frame[column].to_numpy(), **(covered(look) if column == "displacement_plus" else look))
    axes.set_ylim(floor, 10 ** np.ceil(np.log10(1.5 * max(np.nanmax(frame[list(NUDGE)].to_numpy()), floor))))
    layer_axis(axes, frame["name"].tolist())
    axes.set_xlabel("layer (input side on the left)")
    axes.set_ylabel("displacement ‖s − s*‖  (state units)")
    handles = axes.get_legend_handles_labels()[0]
    if (frame[list(NUDGE)] == 0).any(axis=None):
        handles.append(Line2D([], [], color=INK, marker="x", linestyle="", label="exactly zero (lower edge)"))
    figure.legend(handles=handles, loc="outside lower center", ncols=legend_columns(figure, 4))
    return figure


def draw_radius(frame: pd.DataFrame, label: str) -> Figure:
    """Histogram of the local spectral radius over samples, coloured by how they move, with the line at 1."""
    figure = canvas(
        "Does the free map contract?",
        label,
        "Spectral radius of its Jacobian at the end of the free phase. Left of 1 small differences shrink, right of it "
        "they grow.",
    )
    axes = figure.add_subplot()
    values = frame["spectral_radius"]
    low, high = min(values.min(), 0.99), max(values.max(), 1.01)
    width = (high - low) / 30
    edges = 1 + width * np.arange(np.floor((low - 1) / width), np.ceil((high - 1) / width) + 1)  # 1 is one of them
    present = [kind for kind in KINDS if (frame["kind"] == kind).any()]
    axes.hist(
        [values[frame["kind"] == kind] for kind in present],
        bins=edges.tolist(),
        stacked=True,
        color=[KINDS[kind][1] for kind in present],
        edgecolor="white",
        label=[f"{KINDS[kind][0]} ({(frame['kind'] == kind).sum()})" for kind in present],
    )
    axes.axvline(1, color=INK, linewidth=1.4, linestyle="--", label="1: neither shrink nor grow")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("spectral radius, factor per tick")
    axes.set_ylabel("samples")
    figure.legend(
        loc="outside lower center", ncols=1 if on_paper() else 2, title="motion at the end of the free phase (samples)"
    )
    return figure


def _label(folder: Path) -> str:
    path = folder / "diagnosis.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        run, samples = document["run"], document["samples"]["count"]
        name, directory = run["name"], run["directory"]
        label = directory if name in directory else f"{name} ({directory})"
        return f"{label}, after epoch {run['epoch']}, {samples} test images"
    except (ValueError, OSError, KeyError, TypeError, RecursionError) as problem:
        raise CheckpointError(f"{path}: is not the diagnosis.json of a diagnosis ({problem!r})") from problem
