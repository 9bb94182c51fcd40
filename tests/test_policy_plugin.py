"""A policy that another installed package adds: one class, known to scenarios, commands, engine and bill."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_run import tiny_run

from neurosim_ep.cli import main
from neurosim_ep.registry import POLICIES
from neurosim_ep.scenario import describe
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.train.estimate import estimate_measured

PACKAGE = '''
class Upwards:
    """All layers in one tick, from the first to the last, each from fresh neighbours below it."""

    name, sentence = "upwards", "one layer after the other, upwards, from fresh states"
    ticks, obeys_senders = 1, False

    def __init__(self, network):
        self.network = network

    def prepare(self, field):
        for number, edge in enumerate(self.network.edges[1:], 1):
            if edge.pool == "max":
                field.remember(number, field.read(number)[1])

    def step(self, field):
        field.begin()
        for layer in range(self.network.layers):
            for edge in self.network.incoming[layer]:
                if edge > 0:
                    field.read_up(edge)
            for edge in self.network.outgoing[layer]:
                field.read_down(edge)
            field.write(layer)
        field.end()
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    about = tmp_path / "site" / "upwards-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: upwards\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[neurosim_ep.policies]\nupwards = upwards_policy:Upwards\n")
    (about.parent / "upwards_policy.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(str(about.parent))
    describe._schema.cache_clear()
    yield
    describe._schema.cache_clear()
    sys.modules.pop("upwards_policy", None)


@pytest.mark.usefixtures("package")
def test_another_package_adds_a_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert POLICIES.names() == ["synchronous", "alternating", "event", "upwards"]
    assert main(["list"]) == 0 and "one layer after the other, upwards" in capsys.readouterr().out
    sets = ("scheduler.policy=upwards", "data.train_samples=32", "data.test_samples=10", "telemetry.plots=false")
    out = tiny_run(tmp_path / "run", *sets)
    assert 'policy = "upwards"' in (out / "scenario.toml").read_text()
    counts = estimate_measured(load_scenario("smoke", sets), 8, "cpu").recording.counts
    updated = counts.presentations["free"]
    assert (updated == updated[0, 0]).all()  # every layer in every tick
    assert main(["diagnose", str(out), "--samples", "4", "--device", "cpu"]) == 0
