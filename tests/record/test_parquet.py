"""Tables as Parquet: the same values as the frames, units in the metadata; and what is said without pyarrow."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
import pytest
from exporting import export
from tiny_run import narrow_run

import neurosim_ep as ns
from neurosim_ep.cli import main


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return narrow_run(tmp_path_factory.mktemp("parquet") / "run")


def test_without_pyarrow_the_extra_is_named(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["export", str(run_dir), "--format", "parquet", "--out", str(tmp_path / "out")]) == 2
    said = "error: --format parquet: needs the package pyarrow, which is not installed; install it with pip install "
    assert capsys.readouterr().err == f"{said}'neurosim-ep[parquet]'\n"
    assert not (tmp_path / "out").exists()


def test_every_table_and_its_units(run_dir: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    document, out, run = export(run_dir, "parquet", tmp_path / "out"), tmp_path / "out", ns.open_run(run_dir)
    traffic = run.traffic()
    frames = {f"traffic/{name}": frame for name, frame in traffic.items()} | {
        path.stem: getattr(run, path.stem) for path in run_dir.glob("*.csv")
    }
    assert {f"{name}.parquet" for name in frames} == set(document["files"])
    for name, frame in frames.items():
        path = out / f"{name}.parquet"
        back = pd.read_parquet(path)
        pd.testing.assert_frame_equal(back, frame)
        schema = parquet.read_schema(path)
        assert {field.name: field.metadata[b"unit"].decode() for field in schema} == frame.attrs["units"]
        assert json.loads(schema.metadata[b"neurosim_ep"])["table"] == name
    assert parquet.read_schema(out / "cost.parquet").field("energy_J").metadata == {b"unit": b"J"}
