"""Commands of a sweep share cores and GPUs evenly."""

from __future__ import annotations

from pathlib import Path

import pytest

from neurosim_ep.sweep import local
from neurosim_ep.sweep.local import Slot, make_slots, visible_gpus


def test_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "free_cores", lambda: 7)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert make_slots(3, "auto") == [Slot(3), Slot(2), Slot(2)]
    assert make_slots(None, "auto") == [Slot(1)] * 7 and make_slots(9, "cpu") == [Slot(1)] * 9
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert make_slots(None, "auto") == [Slot(4, "2"), Slot(3, "5")]
    assert make_slots(3, "cuda") == [Slot(3, "2"), Slot(2, "5"), Slot(2, "2")]
    assert make_slots(1, "cuda:1") == [Slot(7)]
    assert Slot(4, "2").environment()["CUDA_VISIBLE_DEVICES"] == "2"


def test_the_driver_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus() == []
    tool = tmp_path / "nvidia-smi"
    for script, found in (("echo 0; echo 1", ["0", "1"]), ("echo no driver; exit 9", [])):
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)
        assert visible_gpus() == found
