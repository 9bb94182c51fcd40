"""The command line: what each command prints, where, and the exit code. The work behind it is faked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from paths import ROOT

import neurosim_ep
from neurosim_ep import errors, resources
from neurosim_ep.cli import main
from neurosim_ep.display import table
from neurosim_ep.progress import LineReporter, QuietReporter
from neurosim_ep.scenario.schema import Scenario


@dataclass(frozen=True)
class FakeResult:
    out: Path = Path("runs/x")
    status: str = "done"
    metrics: dict[str, float | int | None] = field(default_factory=lambda: {"test_accuracy": 0.5})
    epochs: int = 2
    seconds: float = 1.5

    def summary(self) -> list[tuple[str, str]]:
        return [("test accuracy", "50.0 %"), ("run", str(self.out))]


class Recorder:
    """Stands for `run`, `resume` or `plot_runs`: keeps its arguments, returns or raises what it was given."""

    def __init__(self, result: object = None, error: BaseException | None = None) -> None:
        self.result, self.error = result, error

    def __call__(self, *args: object, **kwargs: Any) -> object:
        self.args, self.kwargs = args, kwargs
        if self.error:
            raise self.error
        return self.result


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, object], None]:
    """Put a fake under a module's name."""

    def put(module_name: str, attribute: str, fake: object) -> None:
        module = ModuleType(module_name)
        setattr(module, attribute, fake)
        monkeypatch.setitem(sys.modules, module_name, module)

    return put


@pytest.fixture
def scenario_file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text('[scenario]\nname = "mine"\n[training]\nepochs = 3\n')
    return path


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Path]]:
    """One shipped file of each kind."""
    smoke, chip = tmp_path / "smoke.toml", tmp_path / "chip.toml"
    smoke.write_text('[scenario]\nname = "smoke"\ndescription = "Seconds."\n')
    chip.write_text('[model]\nname = "chip"\ndescription = "A chip."\n')
    cell = tmp_path / "Cell.toml"
    cell.write_text('[device]\nname = "Cell"\ndescription = "A cell."\n')
    pcm, eight, chips = tmp_path / "pcm.toml", tmp_path / "eight.toml", tmp_path / "chips.toml"
    chips.write_text('[sweep]\nname = "chips"\ndescription = "All chips."\n')
    pcm.write_text('[cell]\nname = "pcm"\ndescription = "Drifts."\n')
    eight.write_text('[converters]\ndescription = "Bits."\n')
    files = {
        "scenarios": {"smoke": smoke}, "hwmodels": {"chip": chip}, "hwmodels/devices": {"Cell": cell},
        "hwmodels/cells": {"pcm": pcm}, "hwmodels/converters": {"eight": eight}, "sweeps": {"chips": chips},
    }  # fmt: skip
    monkeypatch.setattr(resources, "shipped_files", files.__getitem__)
    return files


def test_run_passes_everything_on_and_prints_the_summary(
    install: Callable[..., None], scenario_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = Recorder(FakeResult())
    install("neurosim_ep.train.run", "run", fake)
    arguments = ["run", str(scenario_file), "--out", str(tmp_path / "out"), "--set", "training.epochs=5"]
    assert main([*arguments, "--set", "data.kind=cifar10", "--device", "cuda:1"]) == 0
    scenario, out = fake.args
    assert isinstance(scenario, Scenario)
    assert (scenario.scenario.name, scenario.training.epochs, scenario.data.kind) == ("mine", 5, "cifar10")
    assert out == tmp_path / "out"
    assert fake.kwargs["device"] == "cuda:1"
    assert fake.kwargs["source"] == scenario_file
    assert fake.kwargs["argv"][:3] == ["neurosim-ep", "run", str(scenario_file)]
    assert isinstance(fake.kwargs["reporter"], LineReporter)
    captured = capsys.readouterr()
    assert captured.out == "test accuracy  50.0 %\nrun            runs/x\n"
    assert captured.err == ""


def test_json_prints_exactly_one_object(
    install: Callable[..., None], scenario_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install("neurosim_ep.train.run", "run", Recorder(FakeResult()))
    assert main(["run", str(scenario_file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "schema_version": 1, "command": "run",
        "out": "runs/x", "status": "done", "metrics": {"test_accuracy": 0.5}, "epochs": 2, "seconds": 1.5,
    }  # fmt: skip


def test_quiet_prints_nothing(
    install: Callable[..., None], scenario_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = Recorder(FakeResult())
    install("neurosim_ep.train.run", "run", fake)
    assert main(["run", str(scenario_file), "--quiet"]) == 0
    assert type(fake.kwargs["reporter"]) is QuietReporter
    assert capsys.readouterr() == ("", "")


def test_a_shipped_scenario_is_announced_on_stderr(
    install: Callable[..., None], shipped: dict[str, dict[str, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    fake = Recorder(FakeResult())
    install("neurosim_ep.train.run", "run", fake)
    assert main(["run", "smoke"]) == 0
    path = shipped["scenarios"]["smoke"]
    assert fake.kwargs["source"] == path
    assert capsys.readouterr().err == f"using the shipped scenario smoke ({path})\n"


def test_quiet_does_not_announce_the_shipped_scenario(
    install: Callable[..., None], shipped: dict[str, dict[str, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    install("neurosim_ep.train.run", "run", Recorder(FakeResult()))
    assert main(["run", "smoke", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_resume(install: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake = Recorder(FakeResult())
    install("neurosim_ep.train.resume", "resume", fake)
    assert main(["resume", str(tmp_path), "--device", "cpu"]) == 0
    assert fake.args == (tmp_path,)
    assert fake.kwargs["device"] == "cpu" and fake.kwargs["plots"]
    assert "50.0 %" in capsys.readouterr().out


def test_check_prints_the_plan(
    install: Callable[..., None], scenario_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"layer": "conv1", "shape": "(16, 32, 32)", "neurons": "16384"},
        {"layer": "fc1", "shape": "(10,)", "neurons": "10"},
    ]
    inspection = SimpleNamespace(
        network=rows, tiles=[{"tile": "0"}], memory=[{"item": "cells"}], notes=[], missing=[], document={}
    )
    fake = Recorder(inspection)
    install("neurosim_ep.train.inspect", "inspect_scenario", fake)
    assert main(["check", str(scenario_file), "--set", "training.epochs=5"]) == 0
    assert fake.args[0].training.epochs == 5
    assert capsys.readouterr().out == (
        f"{scenario_file} is valid: mine.\n"
        "\nNetwork\n"
        "  layer  shape         neurons\n"
        "  conv1  (16, 32, 32)    16384\n"
        "  fc1    (10,)              10\n"
        "\nTiles\n  tile\n     0\n"
        "\nMemory\n  item\n  cells\n"
    )


def test_schema_lists_every_section_and_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    text = capsys.readouterr().out
    for section, model in Scenario.model_fields.items():
        assert f"[{section}]  # " in text
        for key, value in model.default.model_dump().items():
            inner = [f"{key}.{name}" for name in value] if isinstance(value, dict) else [key]
            assert all(f"\n  {name} = " in text for name in inner)
    assert "  layers[].size (required)\n" in text


def test_schema_of_one_section(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "relaxation"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("[relaxation]  # The phases")
    assert "  free_steps = 250 [tick]\n      ticks T of the free phase\n      an integer >= 1 and <= 1000000\n" in text
    assert "[training]" not in text


def test_list(
    shipped: dict[str, dict[str, Path]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    policies = SimpleNamespace(sentences=lambda: {"lazy": "No layer."})
    monkeypatch.setattr("neurosim_ep.cli.scenarios.LISTED", {"Policies": policies})
    assert main(["list"]) == 0
    assert capsys.readouterr().out == (
        "Scenarios\n  name   description\n  smoke  Seconds.\n\n"
        "Sweeps\n  name   description\n  chips  All chips.\n\n"
        "Hardware models\n  name  description\n  chip  A chip.\n\n"
        "Memory devices\n  name  description\n  Cell  A cell.\n\n"
        "Statistics of cells\n  name  description\n  pcm   Drifts.\n\n"
        "Converters\n  name   description\n  eight  Bits.\n\n"
        "Policies\n  name  description\n  lazy  No layer.\n\n"
    )


def test_only_columns_of_numbers_stand_to_the_right() -> None:
    rows = [
        {"what": "8-bit drivers", "grid": "1x1", "share": "2.6%", "energy": "48.0 µJ", "count": "1,024"},
        {"what": "16-bit inputs", "grid": "10x1", "share": "90.0%", "energy": "7.02 µJ", "count": "8"},
    ]
    assert table(rows).splitlines()[1:] == [
        "  8-bit drivers   1x1   2.6%  48.0 µJ  1,024",
        "  16-bit inputs  10x1  90.0%  7.02 µJ      8",
    ]


def test_copy_writes_once_and_never_over_a_file(
    shipped: dict[str, dict[str, Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert main(["copy", "smoke"]) == 0
    assert capsys.readouterr().out == "smoke.toml\n"
    assert (here / "smoke.toml").read_bytes() == shipped["scenarios"]["smoke"].read_bytes()
    assert main(["copy", "chip.toml", "new.toml"]) == 0
    assert (here / "new.toml").read_bytes() == shipped["hwmodels"]["chip"].read_bytes()
    assert main(["copy", "Cell"]) == 0
    assert (here / "Cell.toml").read_bytes() == shipped["hwmodels/devices"]["Cell"].read_bytes()
    (here / "new.toml").write_text("mine")
    assert main(["copy", "smoke", "new.toml"]) == 2
    assert "new.toml: exists already" in capsys.readouterr().err
    assert (here / "new.toml").read_text() == "mine"
    assert main(["copy", "smoke", "no/such/folder.toml"]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_plot_prints_the_pictures(
    install: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = Recorder([Path("a.svg"), Path("a.png")])
    install("neurosim_ep.analysis.plot", "plot_runs", fake)
    assert main(["plot", "one", "two", "--out", str(tmp_path)]) == 0
    assert fake.args == ([Path("one"), Path("two")], tmp_path)
    assert capsys.readouterr().out == "a.svg\na.png\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["rnu"], "did you mean run?"),
        (["zzz"], "known: bench, check, "),
        (["run"], "Missing argument 'SCENARIO'"),
        (["run", "smoke", "--device", "tpu"], '"tpu" is not one of auto, cpu, cuda, cuda:N'),
        (["run", "smoke", "--qiet"], "--quiet"),
        (
            ["run", "smokey"],
            "error: smokey: no such file and no shipped name of scenarios; did you mean smoke?",
        ),
        (["run", "chips"], "no shipped name of scenarios; chips is one of sweeps"),
        (["sweep", "smoke"], "no shipped name of sweeps; smoke is one of scenarios"),
        (["run", "smoke", "--set", "training.epoch=3"], "did you mean training.epochs?"),
        (["check", "."], "error: .: is a directory"),
        (["schema", "trainig"], 'error: no section "trainig"; did you mean training?'),
        (["copy", "smokey"], 'error: nothing shipped is called "smokey"; did you mean smoke?'),
        (["plot"], "Missing argument"),
    ],
)
def test_bad_commands_say_what_is_wrong_and_exit_with_2(
    arguments: list[str],
    expected: str,
    shipped: dict[str, dict[str, Path]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert expected in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    ("error", "code", "expected"),
    [
        (errors.DataError("no images"), 2, "error: no images\n"),
        (errors.CheckpointError("no checkpoint"), 2, "error: no checkpoint\n"),
        (errors.DivergenceError("loss is nan"), 3, "error: loss is nan\n"),
        (errors.RunInterrupted("resume it"), 130, "error: resume it\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_each_failure_has_its_exit_code(
    install: Callable[..., None],
    scenario_file: Path,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    expected: str,
) -> None:
    install("neurosim_ep.train.run", "run", Recorder(error=error))
    assert main(["run", str(scenario_file), "--json"]) == code
    assert capsys.readouterr() == ("", expected)


@pytest.mark.parametrize("error", [RuntimeError("boom"), EOFError("boom")])
def test_a_bug_shows_its_traceback(
    install: Callable[..., None], scenario_file: Path, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    install("neurosim_ep.train.run", "run", Recorder(error=error))
    assert main(["run", str(scenario_file)]) == 1
    text = capsys.readouterr().err
    assert "Traceback" in text and "boom" in text and "this is a bug" in text


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for command in ("run", "resume", "check", "schema", "list", "copy", "plot", "reproduce"):
        assert f"  {command} " in text
    assert main(["run", "-h"]) == 0
    assert "--set SECTION.KEY=VALUE" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"neurosim-ep, version {neurosim_ep.__version__}"


def test_python_m_survives_a_reader_that_leaves() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "neurosim_ep", "schema"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout and process.stderr
    process.stdout.close()
    with process.stderr as stream:
        assert stream.read() == b""
    assert process.wait() == 0


def test_what_processes_cannot_share_is_for_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (
        ("RANK", "0"),
        ("WORLD_SIZE", "2"),
        ("LOCAL_RANK", "0"),
        ("MASTER_ADDR", "x"),
        ("MASTER_PORT", "1"),
    ):
        monkeypatch.setenv(name, value)
    assert main(["schema"]) == 2
    assert capsys.readouterr().err == (
        "error: schema: is for one process, and there are 2; give it without torchrun or srun\n"
    )
