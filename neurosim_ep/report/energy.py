"""What the chip spent: energy by component, EP beside backpropagation, which numbers decide, memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from neurosim_ep.analysis.load import NothingToDraw, Run
from neurosim_ep.hardware.bill.action import known_components
from neurosim_ep.report.bars import Bar, bars
from neurosim_ep.report.figure import Figure, swatch
from neurosim_ep.report.markup import Html, show
from neurosim_ep.units import format_bits

LARGEST = 9
"""Components, or numbers of the model, that are drawn."""


@dataclass(frozen=True)
class Frugal:
    """The style that takes the least energy per training sample, what it takes, and that over backpropagation's with
    what lies ``between`` the ends of all intervals, in words.
    """

    style: str
    energy_J: float
    low_J: float
    high_J: float
    latency_s: float
    ratio: float
    between: str


def frugal(run: Run) -> Frugal:
    """The style that sensitivity.csv is about, or, before the run has ended, the one with the least energy of those
    that are not settling.
    """
    frame = run.table(
        "comparison.csv", ("style", "energy_J", "energy_low_J", "energy_high_J", "backprop_J", "latency_s")
    )
    rows = frame.set_index("style")
    try:
        style = str(run.table("sensitivity.csv", ("style",))["style"].iloc[0])
    except NothingToDraw:
        style = str(rows["energy_J"].drop(index="settling", errors="ignore").idxmin())
    row = rows.loc[[style]].iloc[0].astype(float)
    backprop_J, ends = row["backprop_J"], row.reindex(["ratio_low", "ratio_high"])
    return Frugal(
        style,
        row["energy_J"],
        row["energy_low_J"],
        row["energy_high_J"],
        row["latency_s"],
        row["energy_J"] / backprop_J if backprop_J else math.nan,
        "" if ends.isna().any() else f"{ends['ratio_low']:.3g} to {ends['ratio_high']:.3g}",
    )


def components(run: Run) -> Html:
    """Energy of the largest components per training sample, in the most frugal style."""
    style, per = frugal(run).style, by_component(run)
    mine = per[per["style"] == style].sort_values("energy_J", ascending=False)
    total = float(mine["energy_J"].sum())
    if not total:
        raise NothingToDraw("every energy is zero in the run's hardware model; rram_32nm is one with costs")
    meanings = {one.value: one.sentence for one in known_components()}
    rows = [
        _energy(str(row.component), row, total, meanings.get(str(row.component), ""))
        for row in mine.head(LARGEST).itertuples()
    ]
    rest = mine.iloc[LARGEST:]
    if rest["energy_J"].sum() > 0:
        summed = rest[["energy_J", "energy_low_J", "energy_high_J"]].sum()
        rows.append(_energy("all others", summed, total, ", ".join(rest["component"])))
    figure = Figure(
        "components",
        "Where the energy goes",
        f"Energy per training sample in {style} style, mean of the recorded batches.",
        f"{mine['component'].iloc[0]} takes {mine['energy_J'].iloc[0] / total:.0%} of {show(total, 'J')}.",
    )
    return bars(figure, [[row] for row in rows], "energy per training sample", unit="J")


def _energy(name: str, row: object, total: float, meaning: str) -> Bar:
    value, low, high = (float(getattr(row, key)) for key in ("energy_J", "energy_low_J", "energy_high_J"))
    share = f"{value / total:.1%}"
    said = f"{name}: {show(value, 'J')} ({show(low, 'J')} to {show(high, 'J')}), {share} of all. {meaning}"
    return Bar(name.replace("_", " "), 0.0, value, f"{show(value, 'J')}", said, None, 0)


def by_component(run: Run) -> pd.DataFrame:
    """Energy per training sample by style and component, with its ends."""
    columns = ("component", "style", "energy_J", "energy_low_J", "energy_high_J", "samples")
    frame = run.table("cost.csv", columns)
    energies = ["energy_J", "energy_low_J", "energy_high_J"]
    frame[energies] = frame[energies].div(frame["samples"], axis=0)
    return frame.groupby(["style", "component"], as_index=False)[energies].sum()


def component_table(run: Run) -> pd.DataFrame:
    """Energy per training sample of every component in every style, the dearest of the most frugal style first, with
    what is counted of it.
    """
    style = frugal(run).style
    wide = (
        by_component(run)
        .pivot(index="component", columns="style", values="energy_J")
        .add_prefix("energy_")
        .add_suffix("_J")
    )
    wide = wide.sort_values(f"energy_{style}_J", ascending=False).reset_index()
    meanings = {one.value: one.sentence for one in known_components()}
    wide["counted"] = [meanings.get(name, "") for name in wide["component"]]
    return wide


def against(run: Run) -> Html:
    """EP in every style beside backpropagation, with intervals."""
    frame = run.table("comparison.csv", ("style", "energy_J", "energy_low_J", "energy_high_J", "backprop_J"))
    backprop = frame.iloc[0]
    ends = ("energy_low_J", "energy_J", "energy_high_J"), ("backprop_low_J", "backprop_J", "backprop_high_J")
    if not backprop["backprop_J"]:
        raise NothingToDraw("every energy is zero in the run's hardware model; rram_32nm is one with costs")
    rows = [_side(f"EP, {row['style']}", [float(row[end]) for end in ends[0]], 0) for row in frame.to_dict("records")]
    rows.append(_side("backpropagation", [float(backprop[end]) for end in ends[1]], 1))
    best = frugal(run)
    figure = Figure(
        "against",
        "EP against backpropagation on the same tiles",
        "Energy per training sample, logarithmic; whiskers: all numbers of the hardware model at the ends of their "
        "intervals.",
        f"In {best.style} style EP takes {best.ratio:.3g} times the energy of backpropagation"
        f"{f', {best.between} within the intervals' if best.between else ''}.",
    )
    return bars(figure, [[row] for row in rows], "energy per training sample", unit="J", log=True)


def _side(name: str, ends: list[float], look: int) -> Bar:
    low, value, high = ends
    said = f"{name}: {show(value, 'J')} ({show(low, 'J')} to {show(high, 'J')}) per training sample"
    return Bar(name, 0.0, value, show(value, "J"), said, (low, high), look)


def deciding(run: Run) -> Html:
    """EP / backpropagation with one number of the model at a time at the ends of its interval."""
    columns = ("style", "key", "low", "high", "ratio_at_low", "ratio", "ratio_at_high")
    frame = run.table("sensitivity.csv", columns)
    rows = []
    middle = float(frame["ratio"].iloc[0])
    for row in frame.head(LARGEST).to_dict("records"):
        unit = "" if row.get("unit") == "1" else str(row.get("unit", ""))
        pair = []
        for look, end in enumerate(("low", "high")):
            ratio = float(row[f"ratio_at_{end}"])
            where = f"{row['key']} at its {end} end, {show(float(row[end]), unit)}"
            said = f"{where}: EP / backpropagation {ratio:.3g} instead of {middle:.3g}"
            pair.append(Bar(str(row["key"]), middle, ratio, "", said, None, look))
        rows.append(pair)
    figure = Figure(
        "deciding",
        "Which numbers decide",
        "Energy of EP / backpropagation with one number of the hardware model at a time at the ends of its interval. "
        "1 is a draw.",
        f"{rows[0][0].name} moves it most, from {rows[0][0].end:.3g} to {rows[0][1].end:.3g}.",
    )
    ends = [[swatch(look, line=False), f"at its {end} end"] for look, end in enumerate(("low", "high"))]
    return bars(figure, rows, f"EP / backpropagation, {frame['style'].iloc[0]}", log=True, middle=middle, legend=ends)


METHODS = {
    "ep": "EP",
    "bptt_K": "BPTT, K ticks kept",
    "bptt_T": "BPTT, T ticks kept",
    "backprop": "backpropagation",
    "off_chip": "targets, off the chip",
}


def memory(run: Run) -> Html:
    """Memory that each way of learning needs."""
    frame = run.table("memory.csv", ("method", "bits"))
    bits = frame.groupby("method")["bits"].sum()
    rows = [
        [
            Bar(
                name,
                0.0,
                float(bits[method]),
                format_bits(float(bits[method])),
                f"{name}: {format_bits(float(bits[method]))}",
                None,
                int(method != "ep"),
            )
        ]
        for method, name in METHODS.items()
        if bits.get(method, 0) > 0
    ]
    said = ", ".join(f"{row[0].name} {row[0].shown}" for row in rows)
    figure = Figure(
        "memory",
        "Memory",
        "On-chip memory of EP and of other ways to learn on the same tiles, for one sample at a time.",
        f"{said}.",
    )
    return bars(figure, rows, "memory", unit="bit")
