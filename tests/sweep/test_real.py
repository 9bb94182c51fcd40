"""A sweep of real commands: estimates, and runs whose sweep is killed in the middle of one."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from paths import ROOT

from neurosim_ep.cli import main

FIXED = "[fixed]\ndata.train_samples = 32\ndata.test_samples = 20\ntelemetry.traffic_every = 2\n"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def table(out: Path) -> list[dict[str, str]]:
    with (out / "points.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_estimates_say_what_estimate_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    source = tmp_path / "two.toml"
    text = '[sweep]\nbase = "smoke"\nkind = "estimate"\n[estimate]\nsamples = 2\n'
    source.write_text(text + '[grid]\nhardware.model = ["rram_32nm", "ecram"]\n')
    assert main(["sweep", str(source), "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0
    rows = table(tmp_path / "out")
    for row in rows:
        folder = tmp_path / "out/runs" / row["point"]
        comparison = pd.read_csv(folder / "comparison.csv").set_index("style")
        for style in ("clocked", "event", "settling"):
            assert float(row[f"energy_{style}_J"]) == comparison["energy_J"][style]
            assert float(row[f"latency_{style}_s"]) == comparison["latency_s"][style]
        assert float(row["area_m2"]) == pytest.approx(pd.read_csv(folder / "area.csv")["area_m2"].sum())
        cost = pd.read_csv(folder / "cost.csv")
        clocked_J = cost[cost["style"] == "clocked"]["energy_J"].sum() / cost["samples"].iloc[0]
        assert float(row["energy_clocked_J"]) == pytest.approx(clocked_J)
    assert rows[0]["energy_event_J"] != rows[1]["energy_event_J"]


@pytest.mark.slow
def test_twelve_runs_killed_twice(tmp_path: Path) -> None:
    """As with commands that compute nothing, but these do."""
    source, out = tmp_path / "twelve.toml", tmp_path / "out"
    text = (
        f'[sweep]\nbase = "smoke"\nseeds = 2\n{FIXED}[grid.relaxation]\nbeta = [0.1, 0.2, 0.4]\nnudge_steps = [2, 4]\n'
    )
    source.write_text(text)
    command = [sys.executable, "-m", "neurosim_ep", "sweep", str(source), "--out", str(out), "--jobs", "2"]
    for done in (3, 8):
        process = subprocess.Popen([*command, "--device", "cpu"], env=ENVIRONMENT, stderr=subprocess.DEVNULL)
        while len(list(out.glob("runs/*/run.json"))) <= done:
            time.sleep(0.05)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
        process.wait()
        for child in children[:1]:
            os.kill(int(child), signal.SIGKILL)
    assert subprocess.run([*command, "--device", "cpu"], env=ENVIRONMENT, check=False).returncode == 0
    rows = table(out)
    assert len(rows) == 12 == len(list((out / "runs").iterdir()))
    for row in rows:
        folder = out / "runs" / row["point"]
        info, epochs = json.loads((folder / "run.json").read_text()), pd.read_csv(folder / "epochs.csv")
        assert row["status"] == info["status"] == "done" and epochs["epoch"].tolist() == [1, 2]
        for key in ("loss", "train_accuracy", "test_accuracy", "best_test_accuracy"):
            assert float(row[key]) == info["metrics"][key]
        for style in ("clocked", "event", "settling"):
            assert float(row[f"energy_{style}_J"]) == pytest.approx(info["metrics"][f"energy_{style}_J"])
            assert float(row[f"latency_{style}_s"]) == pytest.approx(info["metrics"][f"latency_{style}_s"])
