"""The policy of docs/extending.md, added by another installed package: known to scenarios, commands and bill."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from examples import install, installed
from tiny_run import tiny_run

from neurosim_ep.cli import main
from neurosim_ep.registry import POLICIES
from neurosim_ep.scenario import describe
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
    sets = (
        "scheduler.policy=upwards",
        "data.train_samples=32",
        "data.test_samples=10",
        "telemetry.plots=false",
        "telemetry.report=false",
    )
    out = tiny_run(tmp_path / "run", *sets)
    assert 'policy = "upwards"' in (out / "scenario.toml").read_text()
    counts = estimate_measured(load_scenario("smoke", sets), 8, "cpu").recording.counts
    updated = counts.presentations["free"]
    assert (updated == updated[0, 0]).all()  # every layer in every tick
    assert main(["diagnose", str(out), "--samples", "4", "--device", "cpu"]) == 0


LACKING = """
class Half:
    name = "half"

    def step(self, relaxing): ...
"""


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (["half = halves:Half"], "lacks obeys_senders, prepare, sentence, ticks; mend that package, or uninstall it"),
        (["half = halves:Half", "half = other:Half"], "this name is taken; rename the entry point, or uninstall it"),
    ],
)
def test_policies_that_cannot_be_used_are_named(
    entries: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for number, entry in enumerate(entries):
        install(tmp_path, f"halves{number}", "halves", LACKING, f"[neurosim_ep.policies]\n{entry}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    describe._schema.cache_clear()
    assert main(["check", "smoke", "--set", "scheduler.policy=half"]) == 2
    assert f"of halves{len(entries) - 1}): {message}" in capsys.readouterr().err
    main(["list"])
    assert message in "".join(capsys.readouterr())
    sys.modules.pop("halves", None)
    describe._schema.cache_clear()
