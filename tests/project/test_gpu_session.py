"""The session that measures a GPU, rehearsed on the CPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from paths import BENCHMARKS

SUPERVISED = """
import json, os, sys, time
names = sys.argv[sys.argv.index("--only") + 1 :]
def say(event, part, text=""):
    print(json.dumps({"elapsed_s": 0, "part": part, "event": event, "text": text, "values": {}}), flush=True)
for name in names:
    say("begin", name)
    if name == "replay":
        os._exit(9)
    if name == "twice":
        time.sleep(60)
    print("not a fact")
    say("fact", name, "done")
"""


def session(*arguments: object) -> tuple[list[str], int]:
    command = [sys.executable, str(BENCHMARKS / "gpu_session.py"), *map(str, arguments), "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.splitlines(), done.returncode


def facts(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "facts.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.whole
def test_a_rehearsal_measures_trains_and_goes_on_after_what_fails(tmp_path: Path) -> None:
    """A run that does not exist fails its part alone; a run of an earlier session is resumed where it stopped."""
    first, second = tmp_path / "first", tmp_path / "second"
    given = ("--tiny", "--set", "data.kind=textures")
    parts = ("waits", "train", "ticks", "reads", "profile")
    lines, status = session("paper/vgg7_le", "--out", first, *given, "--only", *parts)
    assert status == 0
    assert sum("SKIPPED: asks what only CUDA can answer" in line for line in lines) == 1
    found = facts(first)
    ticks = [one["values"] for one in found if one["part"] == "ticks"]
    assert {(one["policy"], one["precision"]) for one in ticks} >= {("synchronous", "float32"), ("alternating", "tf32")}  # type: ignore[index]
    assert all(one["ms"]["launched"] > 0 for one in ticks)  # type: ignore[index]
    assert sum("backwards best: " in line for line in lines) == 3
    assert "Self CPU" in (first / "profile_vgg7_le_synchronous_float32.txt").read_text("utf-8")
    run = first / "run_vgg7_le"
    assert json.loads((run / "run.json").read_text("utf-8"))["status"] == "interrupted"
    assert any(f"go on with neurosim-ep resume {run}" in line for line in lines)

    lines, status = session("nowhere", run, "--out", second, *given, "--only", "train", "machine")
    assert status == 1
    assert any("train: FAILED: " in line for line in lines)
    assert any("machine: nowhere: CANNOT BE TRAINED" in line for line in lines)

    epochs = [one["values"]["epoch"] for one in facts(second) if "epoch" in one["values"]]  # type: ignore[operator, index]
    assert epochs == [2]
    assert len((second / "run_vgg7_le/epochs.csv").read_text("utf-8").splitlines()) == 3


def test_a_process_that_dies_or_hangs_costs_its_part_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from gpu.plan import options
    from gpu.supervisor import Supervisor

    script = tmp_path / "script.py"
    script.write_text(SUPERVISED)
    names = ["machine", "replay", "twice", "exact"]
    given = options(["--minutes", "0.1", "--out", str(tmp_path), "--only", *names])
    assert Supervisor(given, str(script)).run() == 2
    assert [(one["part"], one["event"]) for one in facts(tmp_path)] == [
        ("machine", "fact"), ("replay", "died"), ("twice", "died"), ("exact", "fact"),
    ]  # fmt: skip
    said = capsys.readouterr().out
    assert "status 9" in said and "went on past its time" in said and "not a fact" in said


def test_predictions_count_what_a_tick_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads of a small network, written out by hand; fusing moves fewer bytes and launches less."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from gpu_predictions import tick

    from neurosim_ep.ep.network import build_network
    from neurosim_ep.scenario.load import load_scenario

    network = build_network(load_scenario("smoke").network, 4, (3, 32, 32), 0)
    plain, fused = (tick(network, 2, way, "float32") for way in ("plain", "fused"))
    conv, linear = 16 * 8 * 9 * 16 * 16, 32 * 16 * 8 * 8
    assert sum(one.flop for one in plain) == sum(one.flop for one in fused) == 2 * 2 * 2 * (conv + linear)
    assert sum(one.moved for one in fused) < 0.7 * sum(one.moved for one in plain)
    assert len(fused) < 0.6 * len(plain)


@pytest.mark.whole
def test_every_part_that_a_processor_can_answer_is_rehearsed(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "gpu_session.py"), "smoke", "--tiny", "--device", "cpu"]
    done = subprocess.run([*command, "--out", str(tmp_path / "out"), "--minutes", "4"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    said = {str(fact["part"]) for fact in facts(tmp_path / "out")}
    assert {"machine", "twice", "exact", "smoke", "steps", "ticks", "reads", "profile", "train"} <= said
    assert "equal bit for bit" in done.stdout and "DIFFER" not in done.stdout
    assert (tmp_path / "out" / "run_smoke" / "checkpoints" / "last.pt").exists()
