"""Sweep files and sweep directories that are damaged, edited or meant ill are refused in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fuzzing import ESTIMATED, SWEEP

from neurosim_ep.cli import main
from neurosim_ep.errors import SweepError
from neurosim_ep.sweep import slurm
from neurosim_ep.sweep.boards import outcome
from neurosim_ep.sweep.command import open_sweep
from neurosim_ep.sweep.constraints import Constraint
from neurosim_ep.sweep.directory import SweepDirectory
from neurosim_ep.sweep.points import plan_sweep
from neurosim_ep.sweep.status import Progress

Document = dict[str, Any]


@pytest.fixture
def sweep(tmp_path: Path) -> SweepDirectory:
    """Estimates of two betas, the first of which is done."""
    source = tmp_path / "two.toml"
    source.write_text('[sweep]\nbase = "smoke"\nkind = "estimate"\n[grid]\nrelaxation.beta = [0.1, 0.2]\n')
    found = open_sweep(str(source), tmp_path / "out", print)
    (run := found.run(found.points[0])).mkdir()
    for name, text in ESTIMATED.items():
        (run / name).write_text(text)
    return found


def named(name: object) -> Callable[[Document], object]:
    return lambda document: document["points"][0].update(name=name)


DAMAGE: dict[str, tuple[Callable[[Document], object], str]] = {
    "no kind": (lambda document: document.pop("kind"), "kind: is missing"),
    "another kind": (lambda document: document.update(kind="x"), 'kind = "x": must be "run" or "estimate"'),
    "keys a number": (lambda document: document.update(keys=3), "keys = 3: must be a list"),
    "no points": (lambda document: document.update(points=[]), "its points must have the keys that vary"),
    "points null": (lambda document: document.update(points=None), "points = none: must be a list"),
    "points of numbers": (lambda document: document.update(points=[1]), "points.0 = 1: must be a table"),
    "a point without settings": (lambda document: document["points"][0].pop("settings"), "settings: is missing"),
    "other settings": (
        lambda document: document["points"][0].update(settings={"a.b": 1}),
        "must have the keys that vary",
    ),
    "one point twice": (lambda document: document["points"].append(document["points"][0]), "have one name"),
    "a name outside": (named("../../escaped"), 'name = "../../escaped": must be text that matches'),
    "an absolute name": (named("/tmp/escaped"), 'name = "/tmp/escaped": must be text that matches'),
    "a name with a NUL": (named("1\0"), "must be text that matches"),
    "a name that is no text": (named("1\ud800"), "must be text"),
    "another schema": (lambda document: document.update(schema_version=2), "schema_version = 2: this version reads 1"),
}


@pytest.mark.parametrize("case", DAMAGE)
@pytest.mark.parametrize("command", ["sweep", "plot"])
def test_damaged_sweeps_are_refused(
    sweep: SweepDirectory, case: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change, said = DAMAGE[case]
    path = sweep.path / "sweep.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    before = sorted(sweep.path.rglob("*"))
    assert main([command, str(sweep.path)]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: {path}: ") and said in told and "Traceback" not in told
    assert sorted(sweep.path.rglob("*")) == before


FILES = {
    "nested": ("sweep.json", b'{"schema_version": ' + 100_000 * b"[", "cannot be read as JSON"),
    "long number": ("sweep.json", b'{"schema_version": ' + 5000 * b"9" + b"}", "cannot be read as JSON"),
    "no text": ("sweep.json", b"\xff", "is not UTF-8 text"),
    "jobs without end": ("slurm.json", 100_000 * b"[", "cannot be read as JSON"),
    "jobs that are none": ("slurm.json", b'{"jobs": [["17"]]}', "must hold the numbers of jobs"),
    "comparison without columns": ("runs/{}/comparison.csv", b"style\nclocked\n", "damaged or edited (KeyError"),
    "comparison cut short": ("runs/{}/comparison.csv", b"style,energy_J,latency_s,backprop_J\nclocked,1\n", "damaged"),
    "comparison of text": ("runs/{}/comparison.csv", b"style,energy_J,latency_s,backprop_J\nclocked,x,1,1\n", "'x'"),
    "area no text": ("runs/{}/area.csv", b"\xfe\xff\xd8\0", "is not UTF-16 text"),
    "area without end": ("runs/{}/area.csv", b'component,area_m2\n"' + 200_000 * b"9", "field larger than"),
}


@pytest.mark.parametrize("case", FILES)
def test_damaged_files_of_a_sweep_are_refused(sweep: SweepDirectory, case: str) -> None:
    name, content, said = FILES[case]
    path = sweep.path / name.format(sweep.points[0].name)
    path.write_bytes(content)
    with pytest.raises(SweepError) as refused:
        slurm.submitted(found := SweepDirectory.open(sweep.path))
        Progress(found).refresh()
    assert str(refused.value).startswith(f"{path}: ") and said in str(refused.value)


def test_numbers_of_runs_that_are_none_are_not_shown(sweep: SweepDirectory) -> None:
    run = sweep.run(sweep.points[0])
    run.joinpath("run.json").write_text('{"status": 3, "seconds": {}, "metrics": {"loss": "x", "test_accuracy": 0.5}}')
    (progress := Progress(sweep)).refresh()
    row = progress.rows[sweep.points[0].name]
    assert row["test_accuracy"] == 0.5 and not {"loss", "seconds"} & row.keys()
    assert outcome(row) == "test 50.0%  10.0 µJ clocked"


HUGE = "9" * 400
ILL = {
    "whole numbers beyond 64 bits": (f"{{ low = 1, high = {HUGE}, scale = 'log' }}", "more than 64 bits"),
    "ends of two kinds": (f"{{ low = 0.5, high = {HUGE} }}", "more than 64 bits"),
    "an end that is none": ("{ low = nan, high = 1.0 }", "low"),
    "all numbers there are": ("{ low = -1.7e308, high = 1.7e308 }", "must be finite"),
}


@pytest.mark.parametrize("case", ILL)
def test_ranges_beyond_numbers_are_refused(tmp_path: Path, case: str) -> None:
    axis, said = ILL[case]
    path = tmp_path / "file.toml"
    path.write_text(f'[sweep]\nbase = "smoke"\n[random]\ndraws = 2\n[random.axes]\nrelaxation.beta = {axis}\n')
    with pytest.raises(SweepError, match=said):
        plan_sweep(path)


@pytest.mark.parametrize("text", [f"{HUGE} / 0.5 > 1", f"{HUGE} * 1.5 > 1", f"{HUGE} % 1.5 < 1"])
def test_constraints_beyond_numbers_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is beyond the range of numbers in"):
        Constraint.parse(text).holds(lambda key: 1)


def test_the_sweep_of_the_fuzz_is_right(tmp_path: Path) -> None:
    (tmp_path / "file.toml").write_text(SWEEP)
    assert len(plan_sweep(tmp_path / "file.toml").points) == 4
