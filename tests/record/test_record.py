"""The run directory: created once, never half-written, and back at any epoch."""

from __future__ import annotations

import errno
import json
import math
import shutil
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from new_run import new_run

from neurosim_ep.errors import CheckpointError, UsageError, explained
from neurosim_ep.hardware.chip.counts import ACCOUNTINGS, DIRECTIONS, READ_QUANTITIES, TICK_TABLES, TileCounts
from neurosim_ep.hardware.chip.phases import READ_PHASES
from neurosim_ep.hardware.chip.projections import Projection
from neurosim_ep.record import atomic, rundir, sealed
from neurosim_ep.record.atomic import write_atomic, write_json
from neurosim_ep.record.columns import TABLES
from neurosim_ep.record.lock import LOCK, locked
from neurosim_ep.record.logs import CsvTable, write_table
from neurosim_ep.record.rundir import RunDirectory, iso_time, versions
from neurosim_ep.record.sealed import finish_changes, journal_of, read_through, write_changes
from neurosim_ep.record.traffic import TrafficWriter, read_traffic
from neurosim_ep.tiles.mapping import ArrayGeometry, ConnectionGeometry, TilePlan, plan_tiles


def test_a_directory_is_named_after_time_scenario_and_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = new_run(RunDirectory.target(None, "vgg11_le", "3f2a"), "vgg11_le")
    time, name = run.path.name.split("_", 1)
    assert run.path.parent == Path("runs")
    assert name == "vgg11_le_3f2a"
    assert datetime.strptime(time, "%Y%m%d-%H%M%S")
    assert run.checkpoints.is_dir() and run.plots.is_dir()
    info = run.info()
    assert (info["schema_version"], info["status"], info["name"]) == (1, "running", "vgg11_le")


def test_an_empty_directory_is_taken_and_any_other_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    run = new_run(empty, "smoke")
    with pytest.raises(UsageError, match=f"neurosim-ep resume {run.path}"):
        new_run(empty, "smoke")

    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match=r"not empty.*choose another --out"):
        RunDirectory.target(other, "smoke", "0")
    assert [path.name for path in other.iterdir()] == ["thesis.tex"]

    with pytest.raises(UsageError, match="not a directory"):
        RunDirectory.target(other / "thesis.tex", "smoke", "0")
    with pytest.raises(UsageError, match="cannot be made"):
        new_run(other / "thesis.tex" / "run", "smoke")


def test_what_does_not_become_a_run_leaves_nothing(tmp_path: Path) -> None:
    """Neither in a folder that was there nor of folders that were not; nothing beside it is touched."""
    empty, beside = tmp_path / "empty", tmp_path / ".run.new"
    for folder in (empty, beside):
        folder.mkdir()
    (beside / "thesis.tex").write_text("mine")
    for out in (empty, tmp_path / "run", tmp_path / "some/where/else"):
        with pytest.raises(KeyError), RunDirectory.claimed(out) as run:
            (run.path / "scenario.toml").write_text("half")
            raise KeyError
    assert {path.name for path in tmp_path.rglob("*")} == {"empty", ".run.new", "thesis.tex"}


def test_a_run_takes_a_link_and_a_mount_point_with_nothing_in_it(tmp_path: Path) -> None:
    (tmp_path / "disk/lost+found").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    assert new_run(tmp_path / "link", "smoke").info()["name"] == "smoke"
    assert (tmp_path / "disk/run.json").exists()


def test_what_a_kill_leaves_before_the_run_began_is_cleared(tmp_path: Path) -> None:
    """And nothing else is: without its lock, or with anything that a run has later, the folder is somebody's."""
    for name in (LOCK, "scenario.toml", ".run.json.tmp"):
        (tmp_path / name).write_text("")
    (tmp_path / "checkpoints").mkdir()
    assert new_run(tmp_path, "smoke").info()["name"] == "smoke"
    (tmp_path / "run.json").unlink()
    (tmp_path / "epochs.csv").write_text("of a run")
    with pytest.raises(UsageError, match="is not empty"):
        new_run(tmp_path, "smoke")
    (tmp_path / "epochs.csv").unlink()
    (tmp_path / LOCK).unlink()
    with pytest.raises(UsageError, match="is not empty"):
        new_run(tmp_path, "smoke")


def test_one_command_at_a_time_writes_to_a_folder(tmp_path: Path) -> None:
    with locked(tmp_path):
        with pytest.raises(UsageError, match=r"another neurosim-ep command is writing to it; wait"), locked(tmp_path):
            pass
        assert (tmp_path / LOCK).exists()
    with locked(tmp_path):
        pass


def test_how_a_run_ended_is_said_where_it_is_now_and_on_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RunDirectory.claimed(tmp_path / "run") as run:
        run.begin("smoke")
        (tmp_path / "run").rename(tmp_path / "moved")
        run.settle(["gone"], status="failed")
    assert RunDirectory(tmp_path / "moved").info()["status"] == "failed"

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(rundir, "write_atomic", full)
    moved = RunDirectory(tmp_path / "moved")
    moved.settle(["full"], status="interrupted")
    assert moved.info()["status"] == "interrupted"
    monkeypatch.undo()
    (tmp_path / "moved/run.json").unlink()
    moved.settle(["no run any more"], status="failed")
    assert not (tmp_path / "moved/run.json").exists()


def test_update_run_json_keeps_other_fields_and_writes_no_nan(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run", "smoke")
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
        patch.setattr(atomic, "fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            write_atomic(path, b"new, but torn")
    assert path.read_bytes() == b"old"
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint"]


def test_times_versions_and_log(tmp_path: Path) -> None:
    assert iso_time(datetime(2026, 1, 31, 8, 30, tzinfo=UTC)) == "2026-01-31T08:30:00Z"
    assert set(versions()) == {"neurosim_ep", "python", "torch", "numpy"}
    run = new_run(tmp_path / "run", "smoke")
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
    table = CsvTable(tmp_path / "epochs.csv")
    table.add([epoch_row(1)])
    table.add([epoch_row(2)])
    lines = table.path.read_text().splitlines()
    assert lines[0] == ",".join(TABLES["epochs.csv"])
    assert lines[1] == "1,0.3333333333333333,,0.30000000000000004,,,60" + "," * 12  # and twelve empty cells
    assert float(lines[2].split(",")[1]) == 1 / 6
    with pytest.raises(ValueError, match="typo"):
        table.add([{"epoch": 3, "typo": 1}])


@pytest.mark.parametrize("torn", ["", "3,0.11", "epo", "3,0.1,0.2,0.3,,,60,,\n4,"])
def test_cut_and_repeated_epochs_give_the_same_bytes_as_one_run(tmp_path: Path, torn: str) -> None:
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole, killed = (CsvTable(tmp_path / name / "epochs.csv") for name in ("whole", "killed"))
    saved = 0 if torn == "epo" else 1  # killed while the very first line was written, or later
    for epoch in range(1, saved + 1):
        killed.add([epoch_row(epoch)])
    state = killed.state_dict()
    with killed.path.open("a") as file:
        file.write(torn)
    again = CsvTable(killed.path)
    again.load_state_dict(state)
    again.cut()
    for epoch in range(saved + 1, 5):
        again.add([epoch_row(epoch)])
    for epoch in range(1, 5):
        whole.add([epoch_row(epoch)])
    assert killed.path.read_bytes() == whole.path.read_bytes()
    assert again.state_dict() == whole.state_dict()


def test_a_table_that_somebody_touched_is_not_gone_on_with(tmp_path: Path) -> None:
    table = CsvTable(tmp_path / "epochs.csv")
    table.add([epoch_row(1)])
    state, content = table.state_dict(), table.path.read_bytes()
    for changed, said in (
        (content.replace(b"1", b"2", 1), "damaged or edited"),
        (content[:-1], "damaged"),
        (None, "missing"),
    ):
        table.path.unlink()
        if changed is not None:
            table.path.write_bytes(changed)
        with pytest.raises(CheckpointError, match=rf"epochs\.csv: {said}.*restore the file from a copy"):
            CsvTable(table.path).load_state_dict(state)
    with pytest.raises(CheckpointError, match="was moved or deleted while a command wrote to it"):
        table.add([epoch_row(2)])
    table.path.write_bytes(content + b"mine")
    with pytest.raises(CheckpointError, match="was changed while a command wrote to it"):
        table.add([epoch_row(2)])


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomic(tmp_path / "run.json", b"old")

    def full(path: Path, content: bytes) -> None:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space") as caught:
        write_atomic(tmp_path / "run.json", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    assert explained(caught.value) == f"{tmp_path / 'run.json'}: No space left on device; make room on the disk"


@pytest.mark.parametrize(("old", "new"), [(0, 0), (0, 3), (700, 2000), (5000, 100), (4096, 4096), (513, 512)])
def test_changes_are_written_whole_or_not_at_all(tmp_path: Path, old: int, new: int) -> None:
    """A file whose change is cut short at any moment is read, and finished, as the new one."""
    rng = np.random.default_rng(0)
    before = rng.bytes(old)
    after = bytearray((before + rng.bytes(new))[:new])
    for place in range(0, new, 1500):
        after[place] ^= 1
    path, copy = tmp_path / "traffic.h5", tmp_path / "copy.h5"
    write_changes(path, before)
    assert read_through(path, "") == before
    shutil.copy(path, copy)
    write_changes(path, bytes(after))
    assert read_through(path, "") == after and not journal_of(path).exists()
    journal = sealed._journal(copy.read_bytes(), path.read_bytes())
    journal_of(copy).write_bytes(sealed.sealed(journal))
    for part in (0, new // 2):  # nothing of it carried out yet, or half
        copy.write_bytes(path.read_bytes()[:part] + copy.read_bytes()[part:])
        assert read_through(copy, "") == after
    finish_changes(copy)
    assert copy.read_bytes() == path.read_bytes()


def test_a_sealed_file_with_any_bit_changed_is_refused(tmp_path: Path) -> None:
    content = sealed.sealed(b"some weights")
    assert sealed.opened(content, tmp_path, "") == b"some weights"
    for place in range(len(content)):
        flipped = content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]
        try:
            assert sealed.opened(flipped, tmp_path, "start again") == flipped  # a seal that is none any more
            assert place >= len(b"some weights")
        except CheckpointError as problem:
            assert "damaged: its bytes are not those that were written; start again" in str(problem)


def test_write_table_takes_rows_or_frames_and_fixes_the_columns(tmp_path: Path) -> None:
    rows = [{"bits": 2**40, "item": "cells", "name": "conv1", "layer": 0, "method": "ep", "extra": 1}]
    for table in (rows, pd.DataFrame(rows)):
        write_table(tmp_path / "memory.csv", table)
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


def test_an_epoch_writes_as_many_bytes_late_as_early_and_leaves_no_gaps(
    tmp_path: Path, plan: TilePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []

    def counted(path: Path, content: bytes) -> None:
        written.append(len(content))
        write_atomic(path, content)

    monkeypatch.setattr(sealed, "write_atomic", counted)
    writer = writer_at(tmp_path / "traffic.h5", plan)
    for epoch in range(1, 121):
        append(writer, epoch, [(0, random_counts(plan, epoch, ticks=2))])
    early, late = sum(written[8:24]), sum(written[-16:])  # chunks hold eight batches
    assert late < 1.2 * early
    stored: list[int] = []
    with h5py.File(writer.path) as file:
        file.visititems(
            lambda _, node: stored.append(node.id.get_storage_size()) if isinstance(node, h5py.Dataset) else None
        )
    assert writer.path.stat().st_size < 2 * sum(stored)


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
    with pytest.raises(CheckpointError, match="was changed while a command wrote to it"):
        append(writer, 1, [(0, random_counts(plan, 1))])
    with pytest.raises(CheckpointError, match=r"traffic\.h5: cannot be read as recorded traffic"):
        writer.truncate_to(1)
    with pytest.raises(CheckpointError, match=r"traffic\.h5: cannot be read as recorded traffic"):
        read_traffic(writer.path)
    with pytest.raises(CheckpointError, match=r"no traffic was recorded there; run the scenario with telemetry"):
        read_traffic(tmp_path / "gone.h5")
    writer.path.unlink()
    writer.length = 0
    append(writer, 1, [(0, random_counts(plan, 1))])
    content = writer.path.read_bytes()
    writer.path.write_bytes(content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])
    with pytest.raises(CheckpointError, match="damaged: its bytes are not those that were written"):
        read_traffic(writer.path)
    writer.path.write_bytes(content)
    with h5py.File(writer.path, "a") as file:
        file.attrs["schema_version"] = 1
    with pytest.raises(CheckpointError, match="schema_version = 1: this version reads 2 only"):
        read_traffic(writer.path)
