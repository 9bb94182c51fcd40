"""Every block of docs/python.md runs, in the order of the page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib.figure
import pytest
from paths import DOCS

import neurosim_ep as ns

TINY = "network.width=0.25", "data.train_samples=60", "data.test_samples=20", "telemetry.plots=false"


def test_all_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a network and images that are smaller than the page's."""
    load = ns.load_scenario
    monkeypatch.setattr(ns, "load_scenario", lambda name, overrides=(): load(name, [*overrides, *TINY]))
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", lambda figure, path: Path(path).touch())
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "python.md").read_text("utf-8"), re.DOTALL)
    assert len(blocks) > 6
    for block in blocks:
        exec(compile(block, "docs/python.md", "exec"), names)
    assert names["states"]["conv1"].shape == (8, *names["network"].state_shapes[0])
    assert len(names["run"].epochs) == 3 and Path("gradients.pdf").exists()
    assert names["ticks"]["tick"].min() == 0
