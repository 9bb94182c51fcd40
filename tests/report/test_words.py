"""What a report says in words follows from the tables, the log and run.json."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from reports import reported

from neurosim_ep.analysis.load import open_run
from neurosim_ep.report.markup import Html, defined, duration, join, show, tag
from neurosim_ep.report.scale import Scale
from neurosim_ep.report.words import findings, sentence


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A run that the test may change."""
    return Path(shutil.copytree(reported("smoke_tiles").source, tmp_path / "own"))


def said(path: Path, log: str = "") -> dict[str, tuple[str, str]]:
    return {one.title: (one.mood, one.sentence) for one in findings(open_run(path), log, None)}


def change(path: Path, **columns: float) -> None:
    """Overwrite columns of every row of layers.csv but the readout's."""
    frame = pd.read_csv(path / "layers.csv")
    for name, value in columns.items():
        frame.loc[frame["name"] != "readout", name] = value
    frame.to_csv(path / "layers.csv", index=False)


def tell(path: Path, **fields: object) -> None:
    info = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps({**info, **fields}))


def test_what_was_run() -> None:
    text = sentence(open_run(reported("smoke_tiles").source))
    begin = "A custom network of 3 layers learned by equilibrium propagation (LE) for 2 epochs from textures: 10 "
    assert text.startswith(begin) and ", seed 0, on cpu in " in text and text.endswith("UTC.")


def test_layers_that_fail_are_named(own: Path) -> None:
    change(own, dead_fraction=0.9, std_across_samples=1e-4, mean_abs_state=0.5)
    change(own, mean_abs_nudge_difference=1e-4, adc_step_nudge=1e-3)
    found = said(own)
    assert found["Dead neurons"] == (
        "bad", "at most 90.0% of the neurons of a layer (conv1) are silent, or at a bound, for a whole batch",
    )  # fmt: skip
    assert found["Input"][0] == "bad" and "2.0e-04 of their size" in found["Input"][1]
    assert found["Converters"][0] == "bad" and "by 0.1 conversion steps" in found["Converters"][1]
    change(own, dead_fraction=0.0, mean_abs_nudge_difference=1e-2)
    found = said(own)
    assert found["Dead neurons"][0] == found["Converters"][0] == "good"


def test_how_a_run_learned_is_taken_from_it(own: Path) -> None:
    tell(own, metrics={"test_accuracy": 0.11, "best_test_accuracy": 0.12}, learning=None)
    assert said(own)["Accuracy"] == (
        "bad", "11.0% of the test images are classified correctly, hardly more than chance (10.0%)",
    )  # fmt: skip
    tell(own, learning={"verdict": "not learning: at chance", "healthy": False, "findings": ["loss does not fall"]})
    found = said(own)
    assert found["Learning"] == ("bad", "not learning: at chance") and "Accuracy" not in found
    assert "loss does not fall" in [one.sentence for one in findings(open_run(own), "", None)]


def test_who_wins_and_how_a_run_ended(own: Path) -> None:
    tell(own, verdict=["EP wins"], status="interrupted")
    found = said(own)
    assert found["EP against backpropagation"] == ("", "EP wins")
    assert found["Status"][0] == "warn" and f"`neurosim-ep resume {own}`" in found["Status"][1]
    tell(own, status="diverged")
    log = "T start\nT the loss is not finite in epoch 2\nT diverged\n"
    assert said(own, log)["Status"] == ("bad", "the run is diverged: the loss is not finite in epoch 2")


def test_warnings_are_told_as_the_run_told_them(own: Path) -> None:
    told = [{"sentence": f"layer {name}", "epochs": epochs} for name, epochs in (("a is dead", [1]), ("b is", [1, 2]))]
    tell(own, warnings=told)
    found = [(one.mood, one.sentence) for one in findings(open_run(own), "", None) if one.title == "Warning"]
    assert found == [("", "layer a is dead; not since"), ("warn", "layer b is")]


def test_numbers_have_units() -> None:
    assert [show(0.1234, "fraction"), show(4e-4, "fraction"), show(2.5e-9, "J")] == ["12.3%", "0.04%", "2.50 nJ"]
    assert [show(8192 * 8, "bit"), show(2e-6, "m²"), show(12345.0), show(3)] == ["8.00 KiB", "2 mm²", "12,345", "3"]
    assert [show(None), show(float("nan"), "J"), show("a"), show(1e-7)] == ["", "", "a", "1.000e-07"]
    assert duration(130) == "2 min 10 s" and duration(None) == ""


def test_markup_escapes_what_is_no_markup() -> None:
    assert tag("td", "<b>", Html("<i></i>"), ["&", None], class_='"', x=1.005, hidden=False, open=True) == (
        '<td class="&quot;" x="1" open>&lt;b&gt;<i></i>&amp;</td>'
    )
    assert tag("rect", x=0.0) == '<rect x="0"/>' and join(1, " ", 2.5) == "1 2.5"
    assert defined("x", "") == "x" and 'tabindex="0"' in defined("x", "y")


def test_axes_have_few_round_ticks() -> None:
    assert [label for _, label in Scale.over([0, 1], 0, 100, unit="fraction").ticks()] == [
        "0%", "25%", "50%", "75%", "100%",
    ]  # fmt: skip
    assert [label for _, label in Scale.over([1, 3], 0, 1, whole=True).ticks()] == ["1", "2", "3"]
    assert [label for _, label in Scale.over([1e-7, 1e-4], 0, 1, unit="J", log=True).ticks()] == [
        "100 nJ", "1 µJ", "10 µJ", "100 µJ",
    ]  # fmt: skip
    for values in ([0.0], [5.0], [], [float("nan")], [-2.0, 3.0], [1e-30, 1e30]):
        for log in (True, False):
            scale = Scale.over(values, 0, 100, log=log)
            assert len(scale.ticks()) <= 9 and all(-1e-6 <= place <= 100 + 1e-6 for place, _ in scale.ticks())
