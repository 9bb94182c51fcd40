"""What must the chip remember to learn? Memory of EP against backpropagation through time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from neurosim_ep.analysis.groups import Group
from neurosim_ep.analysis.load import Run
from neurosim_ep.analysis.scales import log_axis
from neurosim_ep.analysis.style import CLEAR, FAINT, PALETTE, REST, canvas, fill, legend_columns, on_paper
from neurosim_ep.errors import CheckpointError
from neurosim_ep.units import format_bits

METHODS = {
    "ep": "EP",
    "bptt_K": "BPTT over K = {nudge_steps} ticks",
    "bptt_T": "BPTT over T = {free_steps} ticks",
    "backprop": "feed-forward backprop",
}
COMPARED = {"ep": "EP", "bptt_K": "BPTT over K ticks (nudge phase)", "bptt_T": "BPTT over T ticks (free phase)"}
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
SMALL_SHARE = 0.02


def draw(run: Run) -> Figure:
    """Memory of EP, of BPTT over K and T ticks, and of feed-forward backpropagation: totals, and every item."""
    bits = _items(run, METHODS)
    steps = _steps(run)
    names = [name.format(**steps) for name in METHODS.values()]
    figure = canvas(
        "On-chip memory to train",
        run.label,
        "One image on the chip; BPTT: backprop through time." + _why(bits),
        height=4.2 + 0.28 * len(bits),
    )
    upper, lower = figure.subplots(2, 1, height_ratios=(1.5, 0.7 + 0.25 * len(bits)))
    _draw_totals(upper, bits, names)
    _draw_items(lower, bits, names)
    return figure


def _why(bits: pd.DataFrame) -> str:
    """What EP needs most of beyond BPTT over K ticks, where it needs more in all: nothing else surprises as much."""
    more = (bits["ep"] - bits["bptt_K"]).sort_values(ascending=False)
    if more.sum() <= 0:
        return ""
    return f" EP needs more than BPTT over K ticks, most of it for {more.index[0]}."


def compare(groups: Sequence[Group]) -> Figure:
    """Estimated on-chip memory of each scenario, EP against BPTT, and the memory its runs took where they noted it."""
    measured = {
        index: noted
        for index, group in enumerate(groups)
        if (noted := max((_peak(run) for run in group.runs), default=(0, ""))) != (0, "")
    }
    panels = 2 if measured else 1
    figure = canvas(
        "Memory to train",
        "Ratios are to the EP of the same network." + ("" if measured else " No run noted the memory it took."),
        "Estimate: one image on the chip, which is trained by EP or by backpropagation through time (BPTT).",
        width=10.5,
        height=2.3 + panels * 0.8 + len(groups) * (0.85 + 0.3 * (panels - 1)),
    )
    axes = figure.subplots(panels, 1, squeeze=False, height_ratios=(0.85, 0.3)[:panels] if panels > 1 else None)[:, 0]
    _draw_estimates(axes[0], groups)
    if measured:
        _draw_measured(axes[1], groups, measured)
    return figure


def _draw_estimates(axes: Axes, groups: Sequence[Group]) -> None:
    """A bar per method for each scenario, in one unit."""
    totals = [_items(group.runs[0], COMPARED).sum() for group in groups]
    power = int(math.log(max(total.max() for total in totals) / 8, 1024))
    for row, total in enumerate(totals):
        steps = _steps(groups[row].runs[0])
        for place, (method, colour) in enumerate(zip(COMPARED, PALETTE, strict=False)):
            size, level = total[method] / 8 / 1024**power, row + 0.27 * (place - 1)
            axes.barh(level, size, 0.25, color=colour, label=None if row else COMPARED[method])
            ticks = {"bptt_K": f" (K = {steps['nudge_steps']})", "bptt_T": f" (T = {steps['free_steps']})"}
            factor = "" if method == "ep" else f" = {total[method] / total['ep']:.2f} × EP{ticks[method]}"
            _note(axes, size, level, format_bits(total[method]) + factor)
    _finish(axes, groups, f"estimated on-chip memory ({UNITS[power]})")
    _legend(axes, 3)


def _draw_measured(axes: Axes, groups: Sequence[Group], measured: dict[int, tuple[int, str]]) -> None:
    """A bar for each scenario whose runs noted their peak, the largest of its runs."""
    for row, (size, what) in measured.items():
        axes.barh(row, size / 1e6, 0.5, color=FAINT)
        _note(axes, size / 1e6, row, f"{size / 1e6:,.0f} MB ({what})")
    for row in set(range(len(groups))) - set(measured):
        _note(axes, 0, row, "not recorded")
    _finish(axes, groups, "peak memory while training a whole batch (MB), largest of the seeds")
    axes.set_title("measured: a process with libraries and images, or what it allocated on a GPU", fontsize=9.5)


def _legend(axes: Axes, most: int) -> None:
    """Above the panel; on paper from the right, where the names of its rows leave room."""
    figure, right = axes.get_figure(root=True), on_paper()
    assert figure is not None
    axes.legend(
        loc="lower right" if right else "lower left", bbox_to_anchor=(int(right), 1), ncols=legend_columns(figure, most)
    )


def _note(axes: Axes, size: float, level: float, text: str) -> None:
    axes.annotate(text, (size, level), (5, 0), textcoords="offset points", va="center", fontsize=9, path_effects=CLEAR)


def _finish(axes: Axes, groups: Sequence[Group], label: str) -> None:
    axes.set_yticks(range(len(groups)), [group.heading for group in groups])
    axes.set_ylim(len(groups) - 0.4, -0.6)
    axes.set_xlim(0, 1.45 * axes.dataLim.x1)
    axes.set_xlabel(label)
    axes.grid(axis="x")


def _peak(run: Run) -> tuple[int, str]:
    """Bytes a run took at most and where ("process" or "GPU"), from ``run.json``; (0, "") where it does not say."""
    noted = run.info.get("peak_memory") or {}
    try:
        return int(noted["bytes"]), str(noted["where"])
    except (TypeError, KeyError, ValueError):
        return 0, ""


def _items(run: Run, methods: Iterable[str]) -> pd.DataFrame:
    """Bits of each item (rows, the largest first) for each of ``methods`` (columns)."""
    frame = run.table("memory.csv", ("method", "item", "bits"))
    if missing := set(methods) - set(frame["method"]):
        raise CheckpointError(
            f"{run.path / 'memory.csv'}: lacks the rows of {', '.join(sorted(missing))}; was it edited?"
        )
    bits = frame.pivot_table(index="item", columns="method", values="bits", aggfunc="sum", fill_value=0)
    return bits.loc[bits.max(axis=1).sort_values(ascending=False).index, list(methods)]


def _steps(run: Run) -> dict[str, int]:
    return {key: run.setting("relaxation", key) for key in ("nudge_steps", "free_steps")}


def _draw_totals(axes: Axes, bits: pd.DataFrame, names: Sequence[str]) -> None:
    """One bar per method, stacked by item; the items that are small in every method are one part."""
    small = (bits / bits.sum()).max(axis=1) < SMALL_SHARE
    parts = bits[~small].loc[lambda large: large.min(axis=1).sort_values(ascending=False).index]
    if small.any():
        parts = pd.concat([parts, bits[small].sum().to_frame(f"{small.sum()} smaller items").T])
    total = bits.sum()
    power = int(math.log(total.max() / 8, 1024))
    bits_per_unit = 8 * 1024**power
    left = np.zeros(len(names))
    for index, (item, row) in enumerate(zip(parts.index, parts.to_numpy() / bits_per_unit, strict=True)):
        style = fill(index) if item in bits.index else REST
        axes.barh(names, row, 0.7, left, label=item, edgecolor="white", linewidth=0.4, **style)
        left += row
    for row, (method, size) in enumerate((total / bits_per_unit).items()):
        factor = "" if method == "ep" else f"{total[method] / total['ep']:.2f} × EP"
        text = f"{size:.2f} {UNITS[power]}" + (f" = {factor}" if factor else "")
        text = factor if factor and on_paper() else text
        axes.annotate(text, (size, row), (6, 0), textcoords="offset points", va="center", path_effects=CLEAR)
    _legend(axes, 4)
    axes.invert_yaxis()
    axes.grid(axis="x")
    axes.set_xlim(0, (1.5 if on_paper() else 1.32) * left.max())
    axes.set_xlabel(f"total memory ({UNITS[power]})")


def _draw_items(axes: Axes, bits: pd.DataFrame, names: Sequence[str]) -> None:
    """One row per item with a dash for every method that needs it, one below the other."""
    rows = np.arange(len(bits))
    log_axis(axes.xaxis)
    axes.barh(rows[1::2], 1, 1.0, color="#F5F5F5", zorder=0, transform=axes.get_yaxis_transform())
    for place, (method, name) in enumerate(zip(bits.columns, names, strict=True)):
        needed = (bits[method] > 0).to_numpy()
        upper = (rows + 0.22 * (place - len(names) / 2))[needed]
        axes.vlines(bits[method][needed], upper, upper + 0.22, color=PALETTE[place], linewidth=5, label=name)
    _legend(axes, 4)
    axes.set_yticks(rows, bits.index.tolist())
    axes.set_ylim(len(bits) - 0.4, -0.6)
    axes.grid(axis="x")
    axes.xaxis.set_major_locator(FixedLocator([8 * 32**power for power in range(10)]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: format_bits(size).replace(".00", "")))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("memory of one item (logarithmic)")
