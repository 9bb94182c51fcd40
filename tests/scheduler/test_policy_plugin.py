"""The policy of docs/extending.md, added by another installed package: known to scenarios, commands and bill."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from examples import installed
from tiny_run import tiny_run

from neurosim_ep.cli import main
from neurosim_ep.registry import POLICIES
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.train.estimate import estimate_measured


@pytest.fixture
def package(tmp_path: Path) -> Iterator[None]:
    with installed("A policy", "policies", "upwards = upwards_policy:Upwards", tmp_path):
        yield


@pytest.mark.usefixtures("package")
def test_another_package_adds_a_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert POLICIES.names() == ["synchronous", "alternating", "sweep", "event", "upwards"]
    assert main(["list"]) == 0 and "one layer after the other, upwards" in capsys.readouterr().out
    sets = ("scheduler.policy=upwards", "data.train_samples=32", "data.test_samples=10", "telemetry.plots=false")
    out = tiny_run(tmp_path / "run", *sets)
    assert 'policy = "upwards"' in (out / "scenario.toml").read_text()
    counts = estimate_measured(load_scenario("smoke", sets), 8, "cpu").recording.counts
    updated = counts.presentations["free"]
    assert (updated == updated[0, 0]).all()  # every layer in every tick
    assert main(["diagnose", str(out), "--samples", "4", "--device", "cpu"]) == 0
