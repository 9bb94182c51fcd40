"""Pictures are the old ones or the new ones, never halves."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from neurosim_ep.analysis.style import canvas, save
from neurosim_ep.record import atomic


def draw(title: str) -> Figure:
    figure = canvas(title, "run", "explanation")
    figure.subplots().plot([1, 2])
    return figure


def test_a_kill_while_a_picture_is_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = save(lambda: draw("old"), tmp_path / "picture")
    before = [path.read_bytes() for path in paths]

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            save(lambda: draw("new"), tmp_path / "picture")
    assert [path.read_bytes() for path in paths] == before
    assert save(lambda: draw("new"), tmp_path / "picture") == paths
    assert [path.read_bytes() != old for path, old in zip(paths, before, strict=True)] == [True, True]
