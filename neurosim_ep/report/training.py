"""What a network did while it was trained: curves, gradients, states, rest."""

from __future__ import annotations

import numpy as np
import pandas as pd

from neurosim_ep.analysis.load import Run
from neurosim_ep.report.figure import Figure, span_words
from neurosim_ep.report.grids import heat_map
from neurosim_ep.report.lines import Curve, Lines
from neurosim_ep.report.markup import Html, show

PHASES = {"free": "free phase", "nudge_plus": "nudge +β", "nudge_minus": "nudge −β"}


def accuracy(run: Run) -> Html:
    """Test and training accuracy against the epoch."""
    frame = run.table("epochs.csv", ("epoch", "train_accuracy", "test_accuracy"), unique=("epoch",))
    curves = [_curve(frame, "test_accuracy", "test", 0), _curve(frame, "train_accuracy", "training", 1, "dashed")]
    last, best = float(frame["test_accuracy"].iloc[-1]), float(frame["test_accuracy"].max())
    rules = [(1 / run.classes, f"chance, 1 of {run.classes} classes")] if run.classes else []
    figure = Figure(
        "accuracy",
        "Accuracy",
        "Images classified correctly: test images after each epoch, training images before their update.",
        f"Test accuracy ends at {last:.1%} after {len(frame)} epochs, best {best:.1%}.",
    )
    return Lines(figure, curves, "epoch", "accuracy", "fraction", whole=True, zero=True, rules=rules).draw()


def loss(run: Run) -> Html:
    """Loss against the epoch."""
    frame = run.table("epochs.csv", ("epoch", "loss"), unique=("epoch",))
    values = frame["loss"]
    figure = Figure(
        "loss",
        "Loss",
        "Loss of the readout on the training images, before their update.",
        f"It goes from {values.iloc[0]:.4g} to {values.iloc[-1]:.4g}.",
    )
    wide = values.min() > 0 and values.max() > 10 * values.min()
    return Lines(
        figure, [_curve(frame, "loss", "training loss", 2)], "epoch", "loss", whole=True, log=wide, zero=not wide
    ).draw()


def _curve(frame: pd.DataFrame, column: str, name: str, look: int, dash: str = "") -> Curve:
    points = list(zip(frame["epoch"].astype(float), frame[column].astype(float), strict=True))
    return Curve(name, points, look, dash)


def gradients(run: Run) -> Html:
    """Mean |dW| of every layer at the first, middle and last epoch: the U-curve."""
    grid = run.layers("mean_abs_dW")
    names = list(grid.index.get_level_values("name"))
    epochs = list(grid.columns)
    chosen = dict.fromkeys([epochs[-1], epochs[len(epochs) // 2], epochs[0]])
    dashes = ["", "dashed", "dotted"]
    curves = []
    for look, epoch in enumerate(chosen):
        points = [(float(place), float(value)) for place, value in enumerate(grid[epoch]) if value > 0]
        curves.append(Curve(f"epoch {epoch}", points, look, dashes[look]))
    last = grid[epochs[-1]]
    silent = [name for name, value in zip(names, last, strict=True) if value == 0]
    none = f" Exactly zero, and not drawn: {', '.join(silent)}." if silent else ""
    hidden = last.drop(index="readout", level="name", errors="ignore")
    ratio = hidden.min() / hidden.max() if hidden.max() > 0 else 0.0
    figure = Figure(
        "gradients",
        "Weight gradient of every layer (U-curve)",
        "Input side on the left. Level: errors reach every layer; a valley, or decades less there: they vanish on the "
        f"way.{none}",
        f"At epoch {epochs[-1]} the smallest mean gradient is {ratio:.1e} of the largest, the readout aside.{none}",
    )
    return Lines(figure, curves[::-1], "layer", "mean |dW|, batch mean", names=names, log=True).draw()


def states(run: Run) -> Html:
    """Mean |s| of every layer and epoch."""
    about = "Mean |s| over neurons and samples at the end of the free phase. A row at 0 is a dead layer."
    return _over_epochs(run, "mean_abs_state", "mean |s|", "states", "State of every layer", about)


def spread(run: Run) -> Html:
    """Deviation of the states across samples, of every layer and epoch."""
    about = (
        "Deviation of a state across samples, mean over neurons, at the end of the free phase. A row at 0 ignores the "
        "input."
    )
    return _over_epochs(run, "std_across_samples", "deviation", "spread", "Do the states depend on the input?", about)


def _over_epochs(run: Run, column: str, what: str, name: str, title: str, about: str) -> Html:
    """A heat map of a ``column`` of layers.csv in state units, layers over epochs."""
    grid = run.layers(column)
    values = grid.to_numpy(float)
    between = span_words(values[np.isfinite(values)], show).replace(" to ", " and ")
    figure = Figure(name, title, about, f"Values lie between {between}.")
    layers = list(grid.index.get_level_values("name"))
    return heat_map(figure, values, layers, [str(epoch) for epoch in grid.columns], what=f"{what} (state units)")


def residuals(run: Run) -> Html:
    """Mean and largest residual of the phases of the last epoch, tick by tick."""
    frame = run.table("residual.csv", ("epoch", "phase", "tick", "mean_residual", "max_residual"))
    last = int(frame["epoch"].max())
    rows = frame[frame["epoch"] == last]
    curves = []
    for look, (phase, name) in enumerate(PHASES.items()):
        mine = rows[rows["phase"] == phase]
        for column, dash, which in (("mean_residual", "", "mean"), ("max_residual", "dotted", "largest")):
            ticks = zip(mine["tick"].astype(float), mine[column].astype(float), strict=True)
            if points := [(tick, value) for tick, value in ticks if value > 0]:
                curves.append(Curve(f"{name}, {which}", points, look, dash))
    tolerance = float(run.setting("relaxation", "tolerance"))
    free = rows[rows["phase"] == "free"]["mean_residual"]
    ends = " to ".join(show(float(free.iloc[end])) for end in (0, -1)) if len(free) else ""
    figure = Figure(
        "residuals",
        "How the states settle",
        f"Largest change of any state of a sample per step; mean and largest of the sampled batches of epoch {last}.",
        f"In the free phase the mean goes from {ends} within {len(free)} ticks." if len(free) else "",
    )
    rules = [(tolerance, f"at rest: below {tolerance:g}")] if tolerance > 0 else []
    return Lines(
        figure, curves, "tick of the phase", "residual (state units)", log=True, whole=True, rules=rules
    ).draw()


def resolution(run: Run) -> Html | None:
    """How many conversion steps the nudge moves each layer; None where tiles are ideal."""
    frame = run.table("layers.csv", ("epoch", "layer", "name"))
    needed = ("adc_step_nudge", "mean_abs_nudge_difference")
    if any(column not in frame for column in needed) or frame[needed[0]].isna().all():
        return None
    rows = frame[(frame["epoch"] == frame["epoch"].max()) & frame[needed[0]].notna()]
    steps = (rows[needed[1]] / rows[needed[0]]).tolist()
    figure = Figure(
        "resolution",
        "Nudge against the converters",
        "How far the nudge moves the states, in steps of the conversions that carry it, at the last epoch. Below "
        "half a step it is mostly rounded away.",
        f"Smallest {min(steps):.2g} steps, largest {max(steps):.2g}.",
    )
    points = [(float(place), value) for place, value in enumerate(steps) if value > 0]
    curve = Curve("nudge in steps", points, 3)
    rules = [(0.5, "half a step")]
    return Lines(figure, [curve], "layer", "conversion steps", names=list(rows["name"]), log=True, rules=rules).draw()
