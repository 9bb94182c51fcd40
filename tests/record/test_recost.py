"""Pricing recorded counts again: the same model gives the same bill, another one the bill of the same work."""

from __future__ import annotations

import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from chips import GEOMETRIES, random_counts
from synthetic_run import MODEL, synthetic_run, vgg11_plan
from tiny_run import tiny_run

from neurosim_ep.cli import main
from neurosim_ep.errors import CheckpointError, UsageError
from neurosim_ep.hardware.bill.cost import bill
from neurosim_ep.hardware.chip.counts import ACCOUNTINGS, DIRECTIONS
from neurosim_ep.hardware.chip.phases import READ_PHASES
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.model.file import read_model
from neurosim_ep.record.recost import on_array, recost
from neurosim_ep.record.traffic import read_traffic
from neurosim_ep.tiles.mapping import ArrayGeometry, ConnectionGeometry, TilePlan, plan_tiles


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_run(tmp_path_factory.mktemp("runs") / "run", epochs=1).path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run of the smoke scenario."""
    sizes = ("data.train_samples=48", "data.test_samples=20", "relaxation.free_steps=8")
    return tiny_run(tmp_path_factory.mktemp("runs") / "run", *sizes)


def changed(path: Path, **numbers: int) -> Path:
    """The model of the recorded run with other numbers of its arrays."""
    text = MODEL.to_toml()
    head, array = text.split("[array]\n", 1)
    for name, value in numbers.items():
        old = MODEL.document["array"][name]["value"]
        assert f"[array.{name}]\nvalue = {old}\n" in text
        array = array.replace(f"[array.{name}]\nvalue = {old}\n", f"[array.{name}]\nvalue = {value}\n")
    path.write_text(f"{head}[array]\n{array}")
    return path


@pytest.mark.parametrize("name", ["recorded", "trained"])
def test_its_own_model_gives_its_own_bill(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    run_dir: Path = request.getfixturevalue(name)
    found, notes = recost(run_dir, str(run_dir / "hardware.toml"), tmp_path / "out")
    assert notes == []
    assert (tmp_path / "out" / "cost.csv").read_bytes() == (run_dir / "cost.csv").read_bytes()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"cost.csv", "area.csv", "wear.csv", "hardware.toml"}
    own = read_model(str(run_dir / "hardware.toml"))
    assert read_model(str(tmp_path / "out" / "hardware.toml")).model == own.model
    with h5py.File(run_dir / "traffic.h5") as file:
        for column, values in found.bill.items():
            stored = file[f"cost/{column}"]
            stored = stored.asstr()[:] if h5py.check_string_dtype(stored.dtype) else stored[:]
            np.testing.assert_array_equal(values.to_numpy(), stored, err_msg=str(column))


@pytest.mark.parametrize(("key", "value"), [("rows", 64), ("columns", 256), ("cells_per_weight", 1)])
def test_arrays_of_another_shape_are_refused(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str, value: int
) -> None:
    model = changed(tmp_path / "other.toml", **{key: value})
    with pytest.raises(UsageError, match=rf"array\.{key} = {value}: the run was recorded on arrays with"):
        recost(recorded, str(model))
    assert main(["recost", str(recorded), "--hw", str(model), "--out", str(tmp_path / "out")]) == 2
    assert "use a model with such arrays" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_conversions_and_pulses_follow_the_array(recorded: Path, tmp_path: Path) -> None:
    own = read_traffic(recorded / "traffic.h5")
    array = own.plan.array
    model = changed(
        tmp_path / "other.toml",
        slices=array.slices + 2, input_pulses=array.input_pulses * 2, levels=array.levels * 4,
    )  # fmt: skip
    found, notes = recost(recorded, str(model))
    assert len(notes) == 1 and f"from the {array.levels} levels of the run to {array.levels * 4}" in notes[0]
    counts, plan = found.recording.counts, found.recording.chip.plan
    sensed = {"forward": plan.columns, "transposed": plan.rows}
    for phase in READ_PHASES:
        for accounting in ACCOUNTINGS:
            for way in DIRECTIONS:
                before, after = (
                    {
                        name: table.of(phase, accounting, way, name)
                        for name in ("reads", "active_lines", "adc_conversions", "dac_conversions")
                    }
                    for table in (own.counts, counts)
                )
                np.testing.assert_array_equal(after["reads"], before["reads"])
                np.testing.assert_array_equal(after["active_lines"], before["active_lines"])
                conversions = before["reads"] * sensed[way] * (array.slices + 2)
                np.testing.assert_array_equal(after["adc_conversions"], conversions)
                pulses = before["active_lines"] * array.input_pulses * 2
                np.testing.assert_array_equal(after["dac_conversions"], pulses)
        np.testing.assert_array_equal(counts.sends[phase], own.counts.sends[phase])
    for name in ("pulses_up", "pulses_down", "write_steps"):
        np.testing.assert_array_equal(counts.updates(name), 4 * own.counts.updates(name))
    np.testing.assert_array_equal(counts.updates("accumulate_adds"), own.counts.updates("accumulate_adds"))


def test_fewer_levels_round_and_the_recorded_counts_stay(recorded: Path) -> None:
    plan = vgg11_plan()
    counts = random_counts(plan)
    before = counts.update.copy(), counts.traffic.copy()
    third = plan_tiles(plan.geometries, ArrayGeometry(128, 128, 2, levels=plan.array.levels // 3))
    found = on_array(counts, plan, third)
    expected = np.rint(counts.updates("pulses_up") * (third.array.levels / plan.array.levels))
    np.testing.assert_array_equal(found.updates("pulses_up"), expected)
    np.testing.assert_array_equal(counts.update, before[0])
    np.testing.assert_array_equal(counts.traffic, before[1])


def test_counts_on_their_own_array_stay(recorded: Path) -> None:
    own = read_traffic(recorded / "traffic.h5")
    plan = plan_tiles(GEOMETRIES, ArrayGeometry(32, 48, 2, slices=3, input_pulses=8))
    counts = random_counts(plan)
    np.testing.assert_array_equal(on_array(counts, plan, plan).traffic, counts.traffic)
    np.testing.assert_array_equal(on_array(own.counts, own.plan, own.plan).update, own.counts.update)


def test_the_command_prices_and_explains(recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = changed(tmp_path / "other.toml", levels=32)
    assert main(["recost", str(recorded), "--hw", str(model)]) == 0
    said = capsys.readouterr().out
    assert "programming pulses scaled" in said and "mean of 64 samples in 2 recorded batches" in said
    assert main(["recost", str(recorded), "--hw", str(model), "--out", str(recorded)]) == 2
    assert "is not an empty folder; choose another --out" in capsys.readouterr().err
    with pytest.raises(CheckpointError, match="no traffic was recorded there"):
        recost(synthetic_run(tmp_path / "silent", epochs=1, traffic=False).path, str(model))
    cost = pd.read_csv(recorded / "cost.csv")
    assert cost["samples"].unique().tolist() == [64]


def vgg13_plan() -> TilePlan:
    """Tiles of VGG-13 at full width on 32 x 32 images."""
    geometries, shape = [], (3, 32, 32)
    for index, channels in enumerate((64, 64, 128, 128, 256, 256, 512, 512, 512, 512)):
        side, pooled = shape[1], index % 2 == 1
        out = (channels, *(2 * [side // 2 if pooled else side]))
        geometries.append(
            ConnectionGeometry(
                f"conv{index + 1}", "conv", shape, (channels, side, side), out, (3, 3), 1, "max" if pooled else None
            )
        )
        shape = out
    for index in range(2):
        geometries.append(ConnectionGeometry(f"fc{index + 1}", "linear", shape, (512,), (512,)))
        shape = (512,)
    return plan_tiles(geometries, MODEL.model.array_geometry())


@pytest.mark.slow
def test_the_bill_of_a_large_network_takes_no_time() -> None:
    plan = vgg13_plan()
    counts = random_counts(plan)
    started = time.perf_counter()
    cost = bill(Recording.of(counts, plan, MODEL.model))
    assert time.perf_counter() - started < 1
    assert (cost["energy_J"] >= 0).all() and cost["tile"].max() == len(plan.tiles) - 1
