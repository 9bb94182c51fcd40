"""The notebooks of docs/notebooks run from top to bottom, small, and are kept without outputs."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from paths import DOCS

NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))


def cells(notebook: Path) -> list[dict]:
    return [cell for cell in json.loads(notebook.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]


@pytest.mark.whole
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEUROSIM_EP_SMALL", "1")
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    names: dict[str, object] = {"__name__": "notebook"}
    with plt.rc_context(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLBACKEND", "agg")
        plt.switch_backend("agg")
        for number, cell in enumerate(cells(notebook)):
            exec(compile("".join(cell["source"]), f"{notebook.name}, code cell {number}", "exec"), names)
    plt.close("all")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_kept_without_outputs(notebook: Path) -> None:
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells(notebook))
    assert 'os.environ.get("NEUROSIM_EP_SMALL")' in "".join(cells(notebook)[0]["source"])
    assert f"{{written}} notebook {notebook.stem}" in (DOCS / "notebooks.md").read_text("utf-8")
