"""What was run, in a sentence, and what was found, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from neurosim_ep.analysis.groups import Group
from neurosim_ep.analysis.load import NothingToDraw, Run
from neurosim_ep.report.markup import Html, duration, join, plain, show, tag
from neurosim_ep.telemetry.health import DYING, INPUT_INDEPENDENT
from neurosim_ep.telemetry.resolution import RESOLVED

FAINT = 1e-4
"""Smallest over largest gradient of a layer below which errors hardly reach it."""
STATUS = {
    "done": ("done", "good"),
    "running": ("running", "warn"),
    "interrupted": ("interrupted", "warn"),
    "diverged": ("diverged", "bad"),
    "failed": ("failed", "bad"),
}


class Finding(NamedTuple):
    """A sentence; ``mood``: good, warn or bad, or nothing."""

    mood: str
    title: str
    sentence: str


def status_badge(status: object) -> Html:
    words, mood = STATUS.get(plain(status), (plain(status), "warn"))
    return tag("span", words, class_=f"status {mood}")


def sentence(run: Run) -> str:
    """What was run, how long and how it ended."""
    setting, data = run.setting, run.info.get("data") or {}
    epochs, layers = len(_epochs(run)), _last_layers(run)
    depth = len(layers[layers["name"] != "readout"]) if not layers.empty else None
    network = f"{setting('network', 'preset')} network" + (f" of {depth} layers" if depth else "")
    method = Group(run.name, [run]).method
    by = method if not run.nudges or method == "plain EP" else f"equilibrium propagation ({method})"
    wanted = setting("training", "epochs")
    trained = f"{epochs} of {wanted} epochs" if epochs != wanted else _counted(epochs, "epoch")
    seconds = duration(run.info.get("seconds"))
    parts = [
        f"A {network} learned by {by} for {trained}",
        f" from {data.get('source', setting('data', 'kind'))}",
        f" ({run.classes} classes)" if run.classes and "classes" not in str(data.get("source")) else "",
        f", seed {run.info.get('seed', setting('scenario', 'seed'))}",
        f", on {run.info.get('device', 'an unnamed device')}",
        f" in {seconds}" if seconds else "",
        f", {_day(run.info['started'])}" if run.info.get("started") else "",
    ]
    return "".join(map(plain, parts)) + "."


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"


def _day(moment: object) -> str:
    try:
        return f"{datetime.fromisoformat(str(moment)):%d %B %Y, %H:%M} UTC"
    except ValueError:
        return plain(moment)


def _epochs(run: Run) -> pd.DataFrame:
    try:
        return run.table("epochs.csv", ("epoch",))
    except NothingToDraw:
        return pd.DataFrame({"epoch": []})


def _last_layers(run: Run) -> pd.DataFrame:
    """Rows of the last epoch of layers.csv; none where there is none."""
    try:
        frame = run.table("layers.csv", ("epoch", "layer", "name"))
    except NothingToDraw:
        return pd.DataFrame({"epoch": [], "name": []})
    return frame[frame["epoch"] == frame["epoch"].max()]


def findings(run: Run, log: str, diagnosis: Mapping[str, Any] | None) -> list[Finding]:
    """What a run found out: how it ended, whether it learned, who wins, what it was warned of, and what its diagnosis
    says.
    """
    learning, status = run.info.get("learning"), run.info.get("status")
    found = []
    if status != "done":
        found.append(Finding(STATUS.get(plain(status), ("", "warn"))[1], "Status", _unfinished(run, log)))
    if isinstance(learning, Mapping):
        mood = "good" if learning.get("healthy") else "bad"
        found.append(Finding(mood, "Learning", plain(learning.get("verdict", ""))))
        found += [Finding("", "", plain(said)) for said in learning.get("findings") or []]
    found += [*_accuracy(run), *_rest(run), *_layers(run)]
    verdict = run.info.get("verdict") or []
    found += [Finding("", "EP against backpropagation" if not n else "", plain(said)) for n, said in enumerate(verdict)]
    found += _warnings(run)
    if diagnosis:
        found += [
            Finding("", "" if n else "Diagnosis", plain(said)) for n, said in enumerate(diagnosis.get("findings") or [])
        ]
    return [one for one in found if one.sentence]


def _capital(said: str) -> str:
    """``said`` as a sentence of its own; what begins with the name of a key stays."""
    head = said.split(" ", 1)[0]
    said = said if "." in head.rstrip(".,:") or "_" in head else said[0].upper() + said[1:]
    return said if said.endswith((".", "!", "?")) else f"{said}."


def _unfinished(run: Run, log: str) -> str:
    status = plain(run.info.get("status"))
    last = log.strip().splitlines()[-2:] if status in ("failed", "diverged") else []
    why = last[0].partition(" ")[2] if len(last) == 2 else ""
    hint = f"; go on with `neurosim-ep resume {run.path}`" if status == "interrupted" else ""
    return f"the run is {status}: {why}{hint}" if why else f"the run is {status}{hint}; figures are those so far"


def _accuracy(run: Run) -> Iterator[Finding]:
    metrics = run.info.get("metrics") or {}
    test, best = metrics.get("test_accuracy"), metrics.get("best_test_accuracy")
    if not isinstance(test, int | float) or not run.classes or isinstance(run.info.get("learning"), Mapping):
        return
    chance = 1 / run.classes
    if test < 1.5 * chance:
        yield Finding(
            "bad",
            "Accuracy",
            f"{test:.1%} of the test images are classified correctly, hardly more than chance ({chance:.1%})",
        )
    else:
        fallen = f", {best:.1%} at the best epoch" if isinstance(best, int | float) and best > test + 0.02 else ""
        yield Finding(
            "good",
            "Accuracy",
            f"{test:.1%} of the test images are classified correctly{fallen}; chance is {chance:.1%}",
        )


def _rest(run: Run) -> Iterator[Finding]:
    if not run.relaxes:
        return
    epochs = _epochs(run)
    if epochs.empty or "not_converged" not in epochs or pd.isna(epochs["not_converged"].iloc[-1]):
        return
    last = epochs.iloc[-1]
    moving = float(last["not_converged"])
    if not run.setting("relaxation", "tolerance"):
        return
    ticks = f"a free phase of at most {run.setting('relaxation', 'free_steps')} steps"
    if moving <= 0.01:
        who = f"all but {show(moving, 'fraction')} of the samples" if moving else "all samples"
        yield Finding("good", "Rest", f"{who} come to rest in {ticks}, after {last['mean_ticks']:.3g} ticks on average")
        return
    kinds = {"free_slow": "ever less", "free_period_2": "with period 2", "free_other": "otherwise"}
    known = [f"{last[key]:.0%} {words}" for key, words in kinds.items() if last.get(key, 0) > 0]
    how = f" ({', '.join(known)})" if known else ""
    mood = "warn" if moving > 0.5 else ""
    yield Finding(mood, "Rest", f"{moving:.1%} of the samples still move after {ticks}{how}")


def _layers(run: Run) -> Iterator[Finding]:
    """What the last epoch says about gradients, dead neurons, states that ignore the input, and converters."""
    rows = _last_layers(run)
    rows = rows[rows["name"] != "readout"]
    if found := _extremes(rows, rows.get("mean_abs_dW")):
        (smallest, low), (largest, high) = found
        ratio = low / high if high else 0.0
        far = f"the smallest mean weight gradient of a layer ({smallest}) is {ratio:.1e} of the largest ({largest})"
        yield (
            Finding("warn", "Gradients", f"{far}; errors hardly reach it")
            if ratio < FAINT
            else Finding("", "Gradients", far)
        )
    if found := _extremes(rows, rows.get("dead_fraction")):
        worst, share = found[1]
        who = (
            f"at most {show(share, 'fraction')} of the neurons of a layer ({worst}) are" if share else "no neurons are"
        )
        yield Finding(
            "bad" if share > DYING else "good", "Dead neurons", f"{who} silent, or at a bound, for a whole batch"
        )
    if found := _extremes(rows, _ratio(rows, "std_across_samples", "mean_abs_state")):
        worst, share = found[0]
        if share < INPUT_INDEPENDENT:
            said = f"the states of {worst} deviate across samples by {share:.1e} of their size"
            yield Finding("bad", "Input", f"{said}: they hardly depend on the input")
    if found := _extremes(rows, _ratio(rows, "mean_abs_nudge_difference", "adc_step_nudge")):
        worst, steps = found[0]
        said = f"the nudge moves the states of {worst} by {steps:.2g} conversion steps, least of all layers"
        coarse = f"; below {RESOLVED:g} both nudge phases mostly get the same codes, and the gradient is rounding"
        yield Finding("bad", "Converters", said + coarse) if steps < RESOLVED else Finding("good", "Converters", said)


def _ratio(rows: pd.DataFrame, column: str, per: str) -> pd.Series[float] | None:
    """One column over another, where both are and the second is not 0."""
    if column not in rows or per not in rows:
        return None
    return rows[column].where(rows[per] > 0) / rows[per]


def _extremes(rows: pd.DataFrame, values: pd.Series[Any] | None) -> tuple[tuple[str, float], tuple[str, float]] | None:
    """Name and value of the layers with the smallest and the largest of ``values``; None without any."""
    if values is None or values.isna().all():
        return None
    names, numbers = rows["name"].tolist(), values.to_numpy(float)
    low, high = int(np.nanargmin(numbers)), int(np.nanargmax(numbers))
    return (str(names[low]), float(numbers[low])), (str(names[high]), float(numbers[high]))


def _warnings(run: Run) -> Iterator[Finding]:
    """Each kind of warning of the run once; those that its last epoch had none of are over."""
    last = len(_epochs(run))
    for one in run.info.get("warnings") or []:
        over = one["epochs"][-1] < last
        yield Finding("" if over else "warn", "Warning", f"{one['sentence']}{'; not since' if over else ''}")


def findings_list(found: list[Finding]) -> Html:
    if not found:
        return tag("p", "Nothing was found yet; findings come with the first epoch.", class_="missing")
    items = [
        tag(
            "li",
            tag("b", f"{_sign(one.mood)}{one.title}", class_=one.mood or None) if one.title else None,
            _capital(one.sentence),
            class_=one.mood or None,
        )
        for one in found
    ]
    return tag("ul", join(items), class_="findings")


def _sign(mood: str) -> str:
    """Colour is not all that tells."""
    return {"good": "✓ ", "warn": "⚠ ", "bad": "✗ "}.get(mood, "")
