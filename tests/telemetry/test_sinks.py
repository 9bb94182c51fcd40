"""Sinks: what they get, where a run that goes on continues, and that none can stop a run."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from examples import installed

from neurosim_ep.cli import main
from neurosim_ep.errors import RunInterrupted, UsageError
from neurosim_ep.progress import QuietReporter
from neurosim_ep.registry import SINKS
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.scenario.schema import Scenario
from neurosim_ep.train.resume import resume
from neurosim_ep.train.run import run

SMALL = (
    "data.train_samples=40", "data.test_samples=20", "relaxation.free_steps=2", "network.width=0.25",
    "training.epochs=2", "training.batch_size=20", "telemetry.traffic_every=2", "telemetry.plots=false",
)  # fmt: skip


def small(*sets: str) -> Scenario:
    return load_scenario("smoke", [*SMALL, *sets])


@pytest.fixture
def jsonl(tmp_path: Path) -> Iterator[Scenario]:
    """A scenario with the sink of docs/extending.md."""
    with installed("A sink", "sinks", "jsonl = json_lines:JsonLines", tmp_path):
        yield small('telemetry.sinks=["jsonl"]')


class Interrupting(QuietReporter):
    """Ctrl-C when the first epoch is over, which its sinks have heard of, and its checkpoint is saved."""

    warnings: list[str]

    def __init__(self) -> None:
        self.warnings = []

    def batch(self, epoch: int, batch: int) -> None:
        if (epoch, batch) == (2, 1):
            raise KeyboardInterrupt

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def test_the_numbers_of_every_epoch_once(jsonl: Scenario, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    with pytest.raises(RunInterrupted):
        run(jsonl, out, device="cpu", reporter=Interrupting())
    assert resume(out, device="cpu").status == "done"
    lines = [json.loads(line) for line in (out / "numbers.jsonl").read_text().splitlines()]
    epochs, layers = pd.read_csv(out / "epochs.csv"), pd.read_csv(out / "layers.csv")
    assert [line["epoch"] for line in lines] == [1, 2]
    assert [line["loss"] for line in lines] == epochs["loss"].tolist()
    first = layers[layers["name"] == "conv1"]
    assert [line["layer_mean_abs_dW/conv1"] for line in lines] == first["mean_abs_dW"].tolist()
    assert all(line["energy_event_J"] > 0 for line in lines)
    assert main(["list"]) == 0 and "a line of JSON per epoch" in capsys.readouterr().out
    assert main(["run", "smoke", "--set", 'telemetry.sinks=["tensorbord"]']) == 2
    assert 'did you mean "tensorboard"?' in capsys.readouterr().err


@pytest.mark.parametrize("method", ["begin", "epoch", "end"])
def test_a_sink_that_fails_is_warned_of_once(
    jsonl: Scenario, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any) -> None:
        raise RuntimeError("the server\nis gone")

    monkeypatch.setattr(SINKS["jsonl"], method, broken)
    reporter = Interrupting()
    reporter.batch = lambda epoch, batch: None  # type: ignore[method-assign]
    result = run(jsonl, tmp_path / "out", device="cpu", reporter=reporter)
    said = "the sink jsonl failed (the server is gone); the run goes on without it"
    assert result.status == "done" and [one for one in reporter.warnings if "sink" in one] == [
        f"epoch {2 if method == 'end' else 1}: {said}"
    ]
    assert (tmp_path / "out" / "run.log").read_text().count(said) == 1
    kept = json.loads((tmp_path / "out" / "run.json").read_text())["warnings"]
    assert [one["kind"] for one in kept if "sink" in one["kind"]] == [said] and len(kept) == len(result.warnings)
    assert len(pd.read_csv(tmp_path / "out" / "epochs.csv")) == 2


@pytest.mark.parametrize(
    ("package", "setting"),
    [("tensorboard", "telemetry.tensorboard=true"), ("mlflow", 'telemetry.sinks=["mlflow"]')],
)
def test_without_its_package_a_run_does_not_begin(
    package: str, setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError, match=rf"the sink {package}: needs .* pip install 'neurosim-ep\[{package}\]'"):
        run(small(setting), tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore")
def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "out"
    with pytest.raises(RunInterrupted):
        run(small("telemetry.tensorboard=true"), out, device="cpu", reporter=Interrupting())
    resume(out, device="cpu")
    found = EventAccumulator(str(out / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    epochs = pd.read_csv(out / "epochs.csv")
    assert [one.step for one in found.Scalars("loss")] == [1, 2]
    assert [one.value for one in found.Scalars("loss")] == pytest.approx(epochs["loss"].tolist())
    assert {"layer_mean_abs_dW/conv1", "energy_clocked_J", "test_accuracy"} <= set(found.Tags()["scalars"])
    assert len(epochs) == 2


class Client:
    """The part of MLflow's client that is used, on a server that lives as long as the class."""

    log: list[tuple[Any, ...]]

    def get_experiment_by_name(self, name: str) -> None:
        self.log.append(("experiment?", name))

    def create_experiment(self, name: str) -> str:
        return "7"

    def create_run(self, experiment: str, run_name: str) -> Any:
        self.log.append(("create", experiment, run_name))
        return SimpleNamespace(info=SimpleNamespace(run_id="abc"))

    def update_run(self, run_id: str, status: str) -> None:
        self.log.append(("update", run_id, status))

    def log_batch(self, run_id: str, metrics: Any = (), params: Any = ()) -> None:
        assert len(metrics) <= 100 and len(params) <= 100
        self.log.append(("batch", run_id, {one[0]: one[1:] for one in (*metrics, *params)}))

    def set_terminated(self, run_id: str, status: str) -> None:
        self.log.append(("end", run_id, status))


def test_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One run of MLflow, which goes on when the run does."""
    Client.log = []
    mlflow, entities = ModuleType("mlflow"), ModuleType("mlflow.entities")
    mlflow.MlflowClient, mlflow.__spec__ = Client, SimpleNamespace()  # type: ignore[attr-defined, assignment]
    entities.Metric = entities.Param = lambda *values: values  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    out = tmp_path / "out"
    with pytest.raises(RunInterrupted):
        run(small('telemetry.sinks=["mlflow"]'), out, device="cpu", reporter=Interrupting())
    resume(out, device="cpu")
    kinds = [entry for entry in Client.log if entry[0] != "batch"]
    assert kinds == [
        ("experiment?", "smoke"), ("create", "7", "out"), ("end", "abc", "KILLED"), ("update", "abc", "RUNNING"),
        ("end", "abc", "FINISHED"),
    ]  # fmt: skip
    logged: dict[Any, Any] = {}
    for _, _, values in (entry for entry in Client.log if entry[0] == "batch"):
        logged |= {(name, value[2] if len(value) > 1 else None): value[0] for name, value in values.items()}
    losses = pd.read_csv(out / "epochs.csv")["loss"].tolist()
    assert [logged["loss", epoch] for epoch in (1, 2)] == losses
    assert logged["training.epochs", None] == "2"
