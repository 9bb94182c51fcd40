#!/usr/bin/env python3
"""Stands in for the Python of a sweep's commands: leaves what runs and estimates leave, and computes nothing.

``JOURNAL`` gets a line for every command and epoch. While a file with the name of a point lies in the folder ``HOLD``,
that point waits after its first epoch, a minute at most; what lies in ``FAIL`` fails before it begins.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from neurosim_ep.record.rundir import RunDirectory

EPOCHS = 3
COMPARISON = "style,energy_J,latency_s,backprop_J\nclocked,4.0,2.0,1.0\nevent,3.0,1.0,1.0\nsettling,2.0,0.5,1.0\n"


def main(command: str, target: str, *options: str) -> None:
    out = Path(options[options.index("--out") + 1]) if "--out" in options else Path(target)
    note(f"{command} {out.name} gpu={os.environ.get('CUDA_VISIBLE_DEVICES')} cores={os.environ['NEUROSIM_EP_CORES']}")
    if (Path(os.environ["FAIL"]) / out.name).exists():
        sys.exit("error: data.root: holds no images; name another folder")
    if command == "estimate":
        out.mkdir()
        (out / "comparison.csv").write_text(COMPARISON)
        return
    if command == "run":
        with RunDirectory.claimed(out) as directory:
            (out / "scenario.toml").write_bytes(Path(target).read_bytes())
            directory.begin(out.name, metrics={}, seconds=0.0)
    run = RunDirectory.open(out)
    done = max(0, (out / "epochs.csv").read_text().count("\n") - 1) if (out / "epochs.csv").exists() else 0
    run.update_run_json(status="running")
    for epoch in range(done + 1, EPOCHS + 1):
        with (out / "epochs.csv").open("a") as file:
            file.write("epoch\n" * (epoch == 1) + f"{epoch}\n")
        metrics = {"test_accuracy": epoch / 10, "best_test_accuracy": epoch / 10, "loss": 1 / epoch}
        run.update_run_json(metrics=metrics, seconds=float(epoch))
        note(f"epoch {out.name} {epoch}")
        deadline = time.monotonic() + 60
        while epoch == 1 and (Path(os.environ["HOLD"]) / out.name).exists() and time.monotonic() < deadline:
            time.sleep(0.01)
    (out / "comparison.csv").write_text(COMPARISON)
    run.update_run_json(status="done")


def note(line: str) -> None:
    with Path(os.environ["JOURNAL"]).open("a") as file:
        file.write(f"{line}\n")


if __name__ == "__main__":
    main(*sys.argv[3:])  # after -m neurosim_ep
