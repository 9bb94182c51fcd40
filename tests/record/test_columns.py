"""Every column and dataset has its unit and meaning in one place."""

from __future__ import annotations

from pathlib import Path

import h5py
from synthetic_run import synthetic_run

from neurosim_ep.hardware.bill.comparison import Comparison
from neurosim_ep.hardware.bill.sensitivity import Swing
from neurosim_ep.hardware.chip.area import AreaItem
from neurosim_ep.record.columns import TABLES

ROWS = {"comparison.csv": Comparison._fields, "sensitivity.csv": Swing._fields, "area.csv": AreaItem._fields}


def test_tables() -> None:
    for file, columns in TABLES.items():
        assert tuple(columns) == ROWS.get(file, tuple(columns)), file
        for name, column in columns.items():
            assert column.meaning, name
            assert name[-2:] not in ("_J", "_s") or column.unit == name[-1], name


def test_datasets(tmp_path: Path) -> None:
    unsaid = []

    def look(name: str, node: object) -> None:
        if isinstance(node, h5py.Dataset) and not name.startswith("cost/") and "cost.csv" in node.attrs["description"]:
            unsaid.append(name)

    with h5py.File(synthetic_run(tmp_path / "run", epochs=1).path / "traffic.h5") as file:
        file.visititems(look)
    assert not unsaid
