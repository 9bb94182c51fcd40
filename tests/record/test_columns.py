"""Every column and dataset has its unit and meaning in one place."""

from __future__ import annotations

from pathlib import Path

import h5py
import pytest
from synthetic_run import synthetic_run

from neurosim_ep.hardware.bill.comparison import Comparison
from neurosim_ep.hardware.bill.sensitivity import Swing
from neurosim_ep.hardware.chip.area import AreaItem
from neurosim_ep.record import logs
from neurosim_ep.record.columns import POINTS, TABLES
from neurosim_ep.sweep.status import COLUMNS

WRITTEN = {
    "epochs.csv": logs.EPOCH_COLUMNS, "layers.csv": logs.LAYER_COLUMNS, "residual.csv": logs.RESIDUAL_COLUMNS,
    "tiles.csv": logs.TILE_COLUMNS, "pulses.csv": logs.PULSE_COLUMNS, "cost.csv": logs.COST_COLUMNS,
    "memory.csv": logs.MEMORY_COLUMNS, "comparison.csv": Comparison._fields, "sensitivity.csv": Swing._fields,
    "area.csv": AreaItem._fields,
}  # fmt: skip


@pytest.mark.parametrize("file", WRITTEN)
def test_tables(file: str) -> None:
    assert set(TABLES[file]) == set(WRITTEN[file])
    assert all(column.meaning for column in TABLES[file].values())
    for name, column in TABLES[file].items():
        if name[-2:] in ("_J", "_s"):
            assert column.unit == name[-1], name


def test_points_of_sweeps() -> None:
    assert set(POINTS) == {"point", *COLUMNS}


def test_datasets(tmp_path: Path) -> None:
    unsaid = []

    def look(name: str, node: object) -> None:
        if isinstance(node, h5py.Dataset) and not name.startswith("cost/") and "cost.csv" in node.attrs["description"]:
            unsaid.append(name)

    with h5py.File(synthetic_run(tmp_path / "run", epochs=1).path / "traffic.h5") as file:
        file.visititems(look)
    assert not unsaid
