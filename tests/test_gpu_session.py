"""The session that measures a GPU, rehearsed on the CPU: every part says something, and a failure stops none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parent / "benchmarks" / "gpu_session.py"
ENVIRONMENT = {
    **{key: value for key, value in os.environ.items() if key != "NEUROSIM_EP_DATA"},
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": str(SCRIPT.parents[2]),
}


def rehearse(out: Path, *arguments: str) -> tuple[int, str, list[dict[str, Any]]]:
    """Exit status, what was printed, and the facts."""
    command = [sys.executable, str(SCRIPT), "--tiny", "--device", "cpu", "--out", str(out), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=300)
    facts = [json.loads(line) for line in (out / "facts.jsonl").read_text(encoding="utf-8").splitlines()]
    return done.returncode, done.stdout + done.stderr, facts


def test_every_part_is_rehearsed_and_training_can_go_on(tmp_path: Path) -> None:
    status, printed, facts = rehearse(tmp_path / "out", "smoke", "--minutes", "4")
    assert status == 0, printed
    said = {str(fact["part"]) for fact in facts}
    assert {"machine", "twice", "exact", "smoke", "steps", "ticks", "reads", "profile", "train"} <= said
    assert "equal bit for bit" in printed and "DIFFER" not in printed
    assert "replay: SKIPPED" in printed and "waits: SKIPPED" in printed
    assert (tmp_path / "out" / "run_smoke" / "checkpoints" / "last.pt").exists()


def test_a_part_that_fails_stops_no_other(tmp_path: Path) -> None:
    status, printed, facts = rehearse(
        tmp_path / "out", "no-such-scenario", "--only", "twice", "train", "--minutes", "2"
    )
    assert status == 1
    assert "train: FAILED" in printed and "no-such-scenario" in printed
    assert any(fact["part"] == "twice" and fact["values"].get("ticks_equal") for fact in facts)
