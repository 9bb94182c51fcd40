"""Check that a run directory holds every file a finished run leaves, each whole: python check_run.py RUN_DIR"""

from __future__ import annotations

import csv
import json
import sys
import tomllib
from pathlib import Path

import h5py

from neurosim_ep.record.columns import TABLES as COLUMNS

TABLES = ("epochs.csv", "layers.csv", "residual.csv", "tiles.csv", "cost.csv", "memory.csv")
PICTURES = ("states", "gradients", "residual", "events", "energy", "memory")
FILES = (
    "run.json", "scenario.toml", "source.toml", "hardware.toml", "run.log", "traffic.h5", "checkpoints/last.pt",
    *TABLES,
    *(f"plots/{name}.{suffix}" for name in PICTURES for suffix in ("svg", "png")),
)  # fmt: skip


def problems(run_dir: Path) -> list[str]:
    """What is missing or wrong in ``run_dir``."""
    lacking = [name for name in FILES if not (run_dir / name).is_file() or not (run_dir / name).stat().st_size]
    if lacking:
        return [f"{name}: missing or empty" for name in lacking]
    found = []
    info = json.loads((run_dir / "run.json").read_text("utf-8"))
    if info["status"] != "done":
        found.append(f"run.json: status = {info['status']}")
    scenario = tomllib.loads((run_dir / "scenario.toml").read_text("utf-8"))
    for name in TABLES:
        columns = list(COLUMNS[name])
        header, *rows = csv.reader((run_dir / name).read_text("utf-8").splitlines())
        if header != columns:
            found.append(f"{name}: columns {header}")
        if not rows or any(len(row) != len(columns) for row in rows):
            found.append(f"{name}: no rows, or rows of another length")
    epochs = (run_dir / "epochs.csv").read_text("utf-8").splitlines()
    if len(epochs) != 1 + scenario["training"]["epochs"]:
        found.append(f"epochs.csv: {len(epochs) - 1} rows for {scenario['training']['epochs']} epochs")
    with h5py.File(run_dir / "traffic.h5") as file:
        if not len(file["batches/epoch"]):
            found.append("traffic.h5: no recorded batch")
    return found


if __name__ == "__main__":
    faults = problems(Path(sys.argv[1]))
    print("\n".join(faults) if faults else f"{sys.argv[1]}: {len(FILES)} files, all there and whole")
    sys.exit(bool(faults))
