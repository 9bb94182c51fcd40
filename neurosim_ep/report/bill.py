"""The largest lines of the bill, each with its formula, counts and the source of every number."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

from neurosim_ep.hardware.bill.explain import explain
from neurosim_ep.hardware.bill.explain_words import Told
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.record.recost import recorded_on
from neurosim_ep.report.markup import SHOWN, Html, join, show, tag

LINES = 8
"""Lines that are explained."""
FORMULA = 90
"""Letters of a formula beside its line."""


def explained(run_dir: Path, style: str) -> Html:
    """The :data:`LINES` largest lines of the bill of the run in ``style``, per training sample.

    Raises as :func:`~neurosim_ep.record.recost.recost` does.
    """
    recording, file, _ = recorded_on(run_dir)
    counts = f"recorded: {recording.counts.samples:,} samples"
    document = Told(explain(recording, Style(style)), file, counts).document()
    lines = sorted(document["parts"], key=lambda part: -float(part["energy_J"]))[:LINES]
    share = sum(float(line["share"]) for line in lines)
    lead = tag(
        "p",
        f"The {len(lines)} largest lines of the {style} bill on {document['hardware']}, {share:.0%} of "
        f"{show(document['total_J'], 'J')} per training sample ({counts}). Each opens to its formula and to every "
        "number that enters, with its source. All lines: ",
        tag("code", f"neurosim-ep explain RUN_DIR --style {style}"),
        class_="quiet",
    )
    return join(lead, [_line(line, number) for number, line in enumerate(lines)])


def _line(line: Mapping[str, Any], number: int) -> Html:
    energy, low, high = (show(line[key], "J") for key in ("energy_J", "energy_low_J", "energy_high_J"))
    interval = f" ({low} to {high})" if low != high else ""
    name = f"{line['component']}, {line['phase']}"
    formula = shorten(f"{line['count_is']} x {line['each_is']}", FORMULA, placeholder=" ...")
    head = tag(
        "summary", tag("b", energy), f"{interval}, {line['share']:.1%}: {name} ", tag("small", formula, class_="quiet")
    )
    timed = line["unit"] == "W"
    unit = "s" if timed else ""
    made = tag(
        "p",
        f"{line['counted']}. ",
        tag("br"),
        f"count {show(float(line['count']), unit)} = {line['count_is']}",
        tag("br"),
        f"each {show(line['each'], line['unit'])} = {line['each_is']}",
    )
    rows = [_number(one) for one in line["numbers"]]
    columns = tag("tr", [tag("th", words, scope="col") for words in ("number", "value", "what it is", "source")])
    caption = tag("caption", f"Numbers of {name}")
    body = tag("table", caption, tag("thead", columns), tag("tbody", rows), class_="plain", id=f"bill-{number}")
    table = tag("div", body, class_="scroll", tabindex=0, role="region", aria_label=f"numbers of {name}")
    return tag("details", head, made, table, class_="paper")


def _number(one: Mapping[str, Any]) -> Html:
    unit = "" if one["unit"] == "1" else one["unit"]
    low, high = float(one["low"]), float(one["high"])
    value = show(low, unit) if low == high else f"{show(low, unit)} to {show(high, unit)}"
    bare = unit and unit not in SHOWN
    model = one.get("model") or {}
    source = (
        f"{model['kind']}: {model['source']}"
        if model
        else {"counted": "counted in the recorded batches"}.get(one["from"], "")
    )
    about = "; ".join(filter(None, (one.get("is", ""), one["about"])))
    ends = (
        f"interval {model['low']} to {model['high']} {unit}".rstrip() if model.get("low") and model.get("high") else ""
    )
    words = "; ".join(filter(None, (about, ends)))
    cells = tag("td", f"{value} {unit}" if bare else value, class_="n"), tag("td", words), tag("td", source)
    return tag("tr", tag("th", one["name"], scope="row"), list(cells))
