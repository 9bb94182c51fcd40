"""The run directory: created once, never half-written, and back at any epoch."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from neurosim_ep.errors import CheckpointError, UsageError
from neurosim_ep.hardware.chip.counts import (
    ACCOUNTINGS,
    DIRECTIONS,
    READ_PHASES,
    READ_QUANTITIES,
    TICK_TABLES,
    TileCounts,
)
from neurosim_ep.hardware.chip.projections import Projection
from neurosim_ep.record import rundir
from neurosim_ep.record.logs import EPOCH_COLUMNS, MEMORY_COLUMNS, CsvTable, write_table
from neurosim_ep.record.rundir import RunDirectory, iso_time, versions, write_atomic, write_json
from neurosim_ep.record.traffic import TrafficWriter, read_traffic
from neurosim_ep.tiles.mapping import ArrayGeometry, ConnectionGeometry, TilePlan, plan_tiles


def test_create_names_the_directory_after_time_scenario_and_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = RunDirectory.create(None, "vgg11_le", "3f2a")
    time, name = run.path.name.split("_", 1)
    assert run.path.parent == Path("runs")
    assert name == "vgg11_le_3f2a"
    assert datetime.strptime(time, "%Y%m%d-%H%M%S")
    assert run.checkpoints.is_dir() and run.plots.is_dir()
    info = run.info()
    assert (info["schema_version"], info["status"], info["name"]) == (1, "running", "vgg11_le")


def test_create_uses_an_empty_directory_and_refuses_any_other(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    run = RunDirectory.create(empty, "smoke", "0")
    with pytest.raises(UsageError, match=f"neurosim-ep resume {run.path}"):
        RunDirectory.create(empty, "smoke", "0")

    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match=r"not empty.*choose another --out"):
        RunDirectory.create(other, "smoke", "0")
    assert [path.name for path in other.iterdir()] == ["thesis.tex"]

    with pytest.raises(UsageError, match="not a directory"):
        RunDirectory.create(other / "thesis.tex", "smoke", "0")
    with pytest.raises(UsageError, match="cannot be made"):
        RunDirectory.create(other / "thesis.tex" / "run", "smoke", "0")


def test_update_run_json_keeps_other_fields_and_writes_no_nan(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", "smoke", "0")
    run.update_run_json(status="diverged", metrics={"loss": math.nan, "history": [1.0, math.inf]})
    text = run.run_json.read_text()
    assert "NaN" not in text and "Infinity" not in text
    assert run.info()["metrics"] == {"loss": None, "history": [1.0, None]}
    assert run.info()["name"] == "smoke"
    assert RunDirectory.open(run.path).info()["status"] == "diverged"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "not a run directory"),
        ("{", "cannot be read as JSON"),
        ("[1]", "must be a JSON object"),
        ('{"schema_version": 99}', "schema_version = 99: this version reads 1 only"),
    ],
)
def test_open_refuses_what_is_no_run(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(CheckpointError, match=message):
        RunDirectory.open(tmp_path)
    with pytest.raises(CheckpointError, match="no such run directory"):
        RunDirectory.open(tmp_path / "missing")


def test_write_atomic_leaves_the_old_file_when_the_write_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint"
    write_atomic(path, b"old")

    def killed(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(rundir, "_fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            write_atomic(path, b"new, but torn")
    assert path.read_bytes() == b"old"
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint"]


def test_times_versions_and_log(tmp_path: Path) -> None:
    assert iso_time(datetime(2026, 1, 31, 8, 30, tzinfo=UTC)) == "2026-01-31T08:30:00Z"
    assert set(versions()) == {"neurosim_ep", "python", "torch", "numpy"}
    run = RunDirectory.create(tmp_path / "run", "smoke", "0")
    run.log("epoch 1")
    run.log("epoch 2")
    assert [line.split(" ", 1)[1] for line in (run.path / "run.log").read_text().splitlines()] == [
        "epoch 1",
        "epoch 2",
    ]


def test_json_is_utf8(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"unit": "µJ"})
    assert json.loads((tmp_path / "x.json").read_bytes()) == {"unit": "µJ"}
    assert "µJ" in (tmp_path / "x.json").read_text(encoding="utf-8")


def epoch_row(epoch: int) -> dict[str, object]:
    return {"epoch": epoch, "loss": 1 / 3 / epoch, "test_accuracy": 0.1 + 0.2, "mean_ticks": 60}


def test_csv_floats_read_back_exactly_and_absent_values_are_empty(tmp_path: Path) -> None:
    table = CsvTable(tmp_path / "epochs.csv", EPOCH_COLUMNS)
    table.append([epoch_row(1)])
    table.append([epoch_row(2)])
    lines = table.path.read_text().splitlines()
    assert lines[0] == ",".join(EPOCH_COLUMNS)
    assert lines[1] == "1,0.3333333333333333,,0.30000000000000004,,,60" + "," * 12  # and twelve empty cells
    assert float(lines[2].split(",")[1]) == 1 / 6
    with pytest.raises(ValueError, match="typo"):
        table.append([{"epoch": 3, "typo": 1}])


@pytest.mark.parametrize("torn", ["", "3,0.11", "epo", "3,0.1,0.2,0.3,,,60,,\n4,"])
def test_truncated_and_repeated_epochs_give_the_same_bytes_as_one_run(tmp_path: Path, torn: str) -> None:
    whole = CsvTable(tmp_path / "whole.csv", EPOCH_COLUMNS)
    killed = CsvTable(tmp_path / "killed.csv", EPOCH_COLUMNS)
    if torn == "epo":  # killed while the very first line was written
        killed.path.write_text(torn)
        saved = 0
    else:
        for epoch in (1, 2):
            killed.append([epoch_row(epoch)])
        with killed.path.open("a") as file:
            file.write(torn)
        saved = 1
    killed.truncate_to(saved)
    for epoch in range(saved + 1, 5):
        killed.append([epoch_row(epoch)])
    for epoch in range(1, 5):
        whole.append([epoch_row(epoch)])
    assert killed.path.read_bytes() == whole.path.read_bytes()


def test_truncate_refuses_a_foreign_table_and_ignores_a_missing_one(tmp_path: Path) -> None:
    table = CsvTable(tmp_path / "epochs.csv", EPOCH_COLUMNS)
    table.truncate_to(3)
    assert not table.path.exists()
    table.path.write_text("epoch,weight\n1,2\n")
    with pytest.raises(CheckpointError, match=r"first line is 'epoch,weight': must be 'epoch,loss"):
        table.truncate_to(3)
    table.path.write_text(",".join(EPOCH_COLUMNS) + "\none,2,,,,,,,\n")
    with pytest.raises(CheckpointError, match="epoch = 'one': must be a whole number"):
        table.truncate_to(3)


def test_write_table_takes_rows_or_frames_and_fixes_the_columns(tmp_path: Path) -> None:
    rows = [{"bits": 2**40, "item": "cells", "name": "conv1", "layer": 0, "method": "ep", "extra": 1}]
    for table in (rows, pd.DataFrame(rows)):
        write_table(tmp_path / "memory.csv", table, MEMORY_COLUMNS)
        assert (tmp_path / "memory.csv").read_text() == "method,layer,name,item,bits\nep,0,conv1,cells,1099511627776\n"


def test_cells_are_written_as_pandas_writes_them(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "text": ["plain", 'a "quoted", one', None, "two\nlines"], "number": [0.1, math.nan, -0.0, 1e-300],
            "whole": [1, -(2**62), 0, 3], "flag": [True, False, True, True], "mixed": [0, "", None, 2.5],
        }
    )  # fmt: skip
    write_table(tmp_path / "table.csv", frame, list(frame.columns))
    assert (tmp_path / "table.csv").read_text() == frame.to_csv(index=False, lineterminator="\n")


SIGNALS = (Projection(0, 96, 5), Projection(1, 10, 10, direct=True, off_chip_bits=320))
READOUT = Projection(1, 10, 5, learned=True)


@pytest.fixture
def plan() -> TilePlan:
    conv = ConnectionGeometry("conv1", "conv", (3, 8, 8), (6, 8, 8), (6, 4, 4), (3, 3), padding=1, pool="max")
    linear = ConnectionGeometry("fc1", "linear", (6, 4, 4), (10,), (10,))
    return plan_tiles([conv, linear], ArrayGeometry(16, 8))


def random_counts(plan: TilePlan, seed: int, ticks: int = 5) -> TileCounts:
    rng = np.random.default_rng(seed)
    counts = TileCounts.zeros(len(plan.tiles))
    counts.traffic += rng.integers(0, 2**40, counts.traffic.shape)
    counts.update += rng.integers(0, 2**40, counts.update.shape)
    for phase in READ_PHASES:
        counts.events[phase] = rng.integers(0, 100, (ticks, 2))
        counts.messages[phase] = rng.integers(0, 100, (ticks, 2))
        counts.presentations[phase] = rng.integers(0, 100, (ticks, 2))
        counts.needed[phase] = rng.integers(0, 100, (ticks, 2))
        counts.sends[phase] = rng.integers(0, 100, (ticks, len(plan.senders)))
    counts.samples, counts.batches = 7, 1
    return counts


def writer_at(path: Path, plan: TilePlan) -> TrafficWriter:
    return TrafficWriter(
        path, plan, scenario_name="smoke", seed=3, event_threshold=1e-3, signals=SIGNALS, readout=READOUT
    )


def append(writer: TrafficWriter, epoch: int, batches: list[tuple[int, TileCounts]]) -> None:
    table = pd.DataFrame({"src": [0, 1], "phase": ["free", "nudge_plus"], "messages": [epoch, 2]})
    writer.append(epoch, batches, {"noc": table, "cost": table.rename(columns={"messages": "energy_J"})})


def test_traffic_holds_every_count_of_every_recorded_batch(tmp_path: Path, plan: TilePlan) -> None:
    first, second, third = (
        random_counts(plan, 1),
        random_counts(plan, 2, ticks=3),
        random_counts(plan, 3, ticks=6),
    )
    writer = writer_at(tmp_path / "traffic.h5", plan)
    append(writer, 1, [(0, first), (50, second)])
    append(writer, 2, [])
    append(writer, 3, [(0, third)])
    with h5py.File(writer.path) as file:
        assert file.attrs["schema_version"] == 2
        meta = dict(file["meta"].attrs)
        assert (meta["scenario"], meta["seed"], meta["event_threshold"]) == ("smoke", 3, 1e-3)
        assert (meta["rows"], meta["columns"]) == (16, 8)
        assert file["batches/epoch"][:].tolist() == [1, 1, 3]
        assert file["batches/batch"][:].tolist() == [0, 50, 0]
        assert file["batches/samples"][:].tolist() == [7, 7, 7]
        for phase in READ_PHASES:
            for row, counts in enumerate((first, second, third)):
                for accounting in ACCOUNTINGS:
                    for direction in DIRECTIONS:
                        for quantity in READ_QUANTITIES:
                            stored = file[f"phases/{phase}/{accounting}/{direction}/{quantity}"]
                            expected = counts.of(phase, accounting, direction, quantity)
                            np.testing.assert_array_equal(stored[row], expected)
                events, ticks = file[f"phases/{phase}/events"], len(counts.events[phase])
                assert events.shape == (3, 6, 2)
                np.testing.assert_array_equal(events[row, :ticks], counts.events[phase])
                assert not events[row, ticks:].any()
                np.testing.assert_array_equal(file[f"phases/{phase}/sends"][row, :ticks], counts.sends[phase])
        np.testing.assert_array_equal(file["phases/update/pulses_up"][2], third.updates("pulses_up"))
        assert file["noc/messages"][:].tolist() == [3, 2]
        assert file["cost/phase"].asstr()[:].tolist() == ["free", "nudge_plus"]
        assert file["tiles/name"].asstr()[:].tolist() == [tile.name for tile in plan.tiles]
        assert file["layers/neurons"][:].tolist() == [96, 10]
    found, total = read_traffic(writer.path), first + second + third
    assert (found.plan, found.signals, found.readout) == (plan, SIGNALS, READOUT)
    np.testing.assert_array_equal(found.counts.traffic, total.traffic)
    np.testing.assert_array_equal(found.counts.update, total.update)
    for name in TICK_TABLES:
        for phase in READ_PHASES:
            np.testing.assert_array_equal(getattr(found.counts, name)[phase], getattr(total, name)[phase])
    assert (found.counts.samples, found.counts.batches) == (21, 3)


def test_every_dataset_has_a_unit_and_a_description(tmp_path: Path, plan: TilePlan) -> None:
    writer = writer_at(tmp_path / "traffic.h5", plan)
    append(writer, 1, [(0, random_counts(plan, 1))])
    datasets: list[h5py.Dataset] = []
    with h5py.File(writer.path) as file:
        file.visititems(lambda _, node: datasets.append(node) if isinstance(node, h5py.Dataset) else None)
        assert len(datasets) == 3 + 9 + 3 + 3 + 7 + 48 + 5 + 15 + 3 + 3
        assert all(dataset.attrs["description"] and "unit" in dataset.attrs for dataset in datasets)
        recorded = file["phases/free/clocked/forward/reads"]
        assert recorded.chunks and recorded.compression == "gzip" and recorded.dtype == np.int64


def test_traffic_truncated_to_an_epoch_goes_on_as_if_uninterrupted(tmp_path: Path, plan: TilePlan) -> None:
    batches = {epoch: [(0, random_counts(plan, epoch))] for epoch in (1, 2, 3)}
    whole, killed = writer_at(tmp_path / "whole.h5", plan), writer_at(tmp_path / "killed.h5", plan)
    killed.truncate_to(1)
    assert not killed.path.exists()
    for epoch in (1, 2):
        append(killed, epoch, batches[epoch])
    killed.truncate_to(1)
    for epoch in (2, 3):
        append(killed, epoch, batches[epoch])
    for epoch in (1, 2, 3):
        append(whole, epoch, batches[epoch])
    with h5py.File(whole.path) as expected, h5py.File(killed.path) as actual:

        def same(name: str, node: h5py.Group | h5py.Dataset) -> None:
            if isinstance(node, h5py.Dataset):
                np.testing.assert_array_equal(node[:], actual[name][:], err_msg=name)

        expected.visititems(same)


def test_tables_of_earlier_epochs_leave_no_room_behind(tmp_path: Path, plan: TilePlan) -> None:
    writer, table = writer_at(tmp_path / "traffic.h5", plan), pd.DataFrame({"energy_J": np.arange(1e5)})
    sizes = []
    for epoch in range(3):
        writer.append(epoch, [(0, random_counts(plan, epoch))], {"cost": table})
        sizes.append(writer.path.stat().st_size)
    assert sizes[-1] - sizes[0] < table["energy_J"].nbytes


def test_a_kill_while_traffic_is_written_leaves_the_last_epoch_whole(
    tmp_path: Path, plan: TilePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = writer_at(tmp_path / "traffic.h5", plan)
    append(writer, 1, [(0, random_counts(plan, 1))])
    before = writer.path.read_bytes()
    half = random_counts(plan, 2)
    del half.messages["nudge_minus"]
    with pytest.raises(KeyError):
        append(writer, 2, [(0, half)])
    assert writer.path.read_bytes() == before
    append(writer, 2, [(0, random_counts(plan, 2))])
    with h5py.File(writer.path) as file:
        assert file["batches/epoch"][:].tolist() == [1, 2]


def test_broken_traffic_is_a_clear_error(tmp_path: Path, plan: TilePlan) -> None:
    writer = writer_at(tmp_path / "traffic.h5", plan)
    writer.path.write_bytes(b"not HDF5")
    with pytest.raises(CheckpointError, match=r"traffic\.h5: cannot be read as recorded traffic"):
        writer.truncate_to(1)
    with pytest.raises(CheckpointError, match=r"traffic\.h5: cannot be read as recorded traffic"):
        read_traffic(writer.path)
    with pytest.raises(CheckpointError, match=r"no traffic was recorded there; run the scenario with telemetry"):
        read_traffic(tmp_path / "gone.h5")
    writer.path.unlink()
    append(writer, 1, [(0, random_counts(plan, 1))])
    with h5py.File(writer.path, "a") as file:
        file.attrs["schema_version"] = 1
    with pytest.raises(CheckpointError, match="schema_version = 1: this version reads 2 only"):
        read_traffic(writer.path)
