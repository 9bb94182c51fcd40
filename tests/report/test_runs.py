"""Runs write a report at their end unless they are told not to, and none can spoil them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from reports import reported

from neurosim_ep.cli import main
from neurosim_ep.report import page
from neurosim_ep.sweep.directory import SweepDirectory

TINY = [
    word
    for override in (
        "data.train_samples=12", "data.test_samples=10", "training.epochs=1", "training.batch_size=6",
        "relaxation.free_steps=2", "relaxation.nudge_steps=1", "telemetry.traffic_every=0",
    )
    for word in ("--set", override)
]  # fmt: skip


def test_a_run_writes_one_when_it_is_done() -> None:
    found = reported("smoke_tiles")
    text = found.file.read_text(encoding="utf-8")
    assert 'class="status good">done<' in text
    assert json.loads((found.source / "run.json").read_text())["status"] == "done"


def test_a_failing_report_spoils_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(path: Path) -> Path:
        raise RuntimeError("no ink")

    monkeypatch.setattr(page, "write_report", fail)
    out = tmp_path / "run"
    assert main(["run", "smoke", "--no-plots", "--quiet", "--device", "cpu", *TINY, "--out", str(out)]) == 0
    assert json.loads((out / "run.json").read_text())["status"] == "done"
    said = capsys.readouterr().err
    assert f"warning: no report: no ink; `neurosim-ep report {out}` tries again" in said
    assert "no report: no ink" in (out / "run.log").read_text() and not (out / "report.html").exists()
    more = ["--set", "training.epochs=2", "--no-plots", "--no-report", "--quiet"]
    assert main(["resume", str(out), *more]) == 0 and "no report" not in capsys.readouterr().err
    assert "telemetry.report" not in str(json.loads((out / "run.json").read_text())["changes"])


def test_a_run_can_be_told_not_to(tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ["--no-plots", "--no-report", "--quiet", "--device", "cpu"]
    assert main(["run", "smoke", *options, *TINY, "--out", str(out)]) == 0
    assert not (out / "report.html").exists() and "report = false" in (out / "scenario.toml").read_text()


def test_points_of_sweeps_write_none() -> None:
    sweep = SweepDirectory.open(reported("sweep").source)
    assert [path.name for path in sweep.path.rglob("report.html")] == ["report.html"]
    assert all("report = false" in sweep.scenario(point).read_text() for point in sweep.points)
