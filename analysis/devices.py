"""Memory devices: what was measured, and what the fitted model makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from neurosim_ep.analysis.style import INK, PALETTE, canvas

UP, DOWN = PALETTE[0], PALETTE[1]
MANY = 60
"""Readings per sweep above which dots become small."""


@dataclass(frozen=True)
class FittedSweep:
    """A measured sweep: pulses [P] from 0, weights measured and fitted [P]."""

    raising: bool
    pulses: np.ndarray
    measured: np.ndarray
    fitted: np.ndarray


def draw_fit(
    sweeps: Sequence[FittedSweep], title: str, subtitle: str, conductances: tuple[float, float] | None = None
) -> Figure:
    """Measured points and fitted curve of all sweeps, up and down; ``conductances`` in S that weights -1 and 1 are."""
    figure = canvas(
        title,
        subtitle,
        "Weight after each programming pulse. Dots: measured, a shade per sweep. Lines: mean response of the fitted "
        "model to each sweep.",
        width=10.0,
        height=4.8,
    )
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, raising, name in ((left, True, "pulses up (potentiation)"), (right, False, "pulses down (depression)")):
        _draw_sweeps(axes, [sweep for sweep in sweeps if sweep.raising == raising], UP if raising else DOWN)
        axes.set_title(name)
        axes.set_xlabel("pulses of this direction after the first reading")
        axes.grid(True)
    left.set_ylabel("weight (−1: smallest reading, 1: largest)" if conductances else "weight")
    if conductances is not None:
        low, high = (1e6 * end for end in conductances)
        other = right.secondary_yaxis(
            "right", functions=(lambda w: low + (w + 1) * (high - low) / 2, lambda g: 2 * (g - low) / (high - low) - 1)
        )
        other.set_ylabel("conductance [µS]")
    return figure


def _draw_sweeps(axes: Axes, sweeps: Sequence[FittedSweep], colour: str) -> None:
    size = 3 if max(len(sweep.pulses) for sweep in sweeps) > MANY else 5
    shades = np.linspace(0.7, 0.2, len(sweeps))
    for shade, sweep in zip(shades, sweeps, strict=True):
        axes.plot(sweep.pulses, sweep.measured, "o", ms=size, color=colour, alpha=shade, mec="none")
    for sweep in sweeps:
        axes.plot(sweep.pulses, sweep.fitted, color=INK, lw=1 if len(sweeps) == 1 else 0.5, alpha=len(sweeps) ** -0.25)
    count = "1 sweep" if len(sweeps) == 1 else f"{len(sweeps)} sweeps"
    handles = [
        Line2D([], [], ls="", marker="o", color=colour, label=f"measured, {count}"),
        Line2D([], [], color=INK, lw=1, label="fitted model"),
    ]
    axes.legend(handles=handles, loc="lower right" if colour == UP else "upper right")
