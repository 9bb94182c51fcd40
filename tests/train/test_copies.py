"""What a run depends on lies in its directory: files of devices, cells and converters may change or go meanwhile."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
import tomli_w
from data_files import idx_files
from tiny_run import IDX_SCENARIO, InterruptingReporter, outcome

from neurosim_ep.errors import CheckpointError, RunInterrupted
from neurosim_ep.experiment.model import chip_model
from neurosim_ep.resources import read_toml, shipped_files
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.scenario.schema import DeviceSection, HardwareSection
from neurosim_ep.train.resume import resume
from neurosim_ep.train.run import run

CONVERTERS = "[converters]\ndac_bits = 8\nadc_bits = {}\n"


def written(folder: Path, kind: str, values: dict[str, float] | None = None, **tables: object) -> str:
    """A device or cell file of one's own, a shipped one but for these."""
    path = folder / f"{kind}.toml"
    shipped = shipped_files(f"hwmodels/{kind}")["EcRam" if kind == "devices" else "pcm"]
    document = read_toml(shipped, CheckpointError) | tables
    for key, value in (values or {}).items():
        section, _, name = key.partition(".")
        document[section][name]["value"] = value
    path.write_text(tomli_w.dumps(document))
    return str(path)


CASES: dict[str, tuple[str, str, dict[str, float]]] = {
    "devices": ("hardware.device.preset", "device.toml", {"constants.dw_min": 0.02}),
    "cells": ("hardware.cells.statistics", "cells.toml", {"conductance.max": 20.0}),
}


@pytest.mark.parametrize("kind", CASES)
def test_a_run_goes_on_with_the_files_it_began_with(tmp_path: Path, kind: str) -> None:
    idx_files(tmp_path / "data")
    (tmp_path / "tiny.toml").write_text(IDX_SCENARIO.replace("[data]", f"[data]\nroot = '{tmp_path / 'data'}'"))
    key, copy, change = CASES[kind]
    adc = tmp_path / "adc.toml"
    adc.write_text(CONVERTERS.format(8))
    sets = (f"{key}={written(tmp_path, kind)}", f"hardware.converters.preset={adc}", "training.batch_size=4")
    scenario = load_scenario(tmp_path / "tiny.toml", sets)
    whole = run(scenario, tmp_path / "whole", device="cpu").out
    for name in ("changed", "gone"):
        with pytest.raises(RunInterrupted):
            run(scenario, tmp_path / name, device="cpu", reporter=InterruptingReporter())
    other = Path(written(tmp_path, kind, change))
    adc.write_text(CONVERTERS.format(4))
    different = run(load_scenario(tmp_path / "tiny.toml", sets), tmp_path / "different", device="cpu").out
    assert outcome(different) != outcome(whole)
    assert outcome(resume(tmp_path / "changed", device="cpu").out) == outcome(whole)
    other.unlink()
    adc.unlink()
    assert outcome(resume(tmp_path / "gone", device="cpu").out) == outcome(whole)
    (whole / copy).unlink()
    with pytest.raises(CheckpointError, match=rf"has no {re.escape(copy)}; restore it from a copy"):
        resume(whole, device="cpu")


CONDUCTANCE = {
    "minimum_S": {"value": 1e-9, "source": "the smallest reading", "kind": "measured"},
    "maximum_S": {"value": 1e-3, "source": "the largest reading", "kind": "measured"},
}


def test_the_conductances_of_a_device_are_those_of_the_bill(tmp_path: Path) -> None:
    """Half of 1 nS + 1 mS in the place of half of 1 uS + 10 uS: cells read 90.9 times as dearly, wires with them."""
    preset = written(tmp_path, "devices", conductance=CONDUCTANCE)
    with_own, without = (
        chip_model(HardwareSection(model=model, device=DeviceSection(preset=name)))
        for model, name in (("rram_32nm", preset), ("rram_32nm", "EcRam"))
    )
    ratio = (1e-9 + 1e-3) / (1e-6 + 1e-5)
    assert with_own.model.cell_read_energy().value / without.model.cell_read_energy().value == pytest.approx(ratio)
    assert "the largest reading" in with_own.to_toml() and "the largest reading" not in without.to_toml()
    for model in ("ecram", "rram_130nm"):  # with an interval of its own; with an energy per read of its own
        found = chip_model(HardwareSection(model=model, device=DeviceSection(preset=preset))).model.cell
        assert (found.on_conductance.value, found.off_conductance.value) == (1e-3, 1e-9)
        assert found.on_conductance.high is None and found.read_energy is None


def test_a_run_pays_by_the_conductances_of_its_device(tmp_path: Path) -> None:
    idx_files(tmp_path / "data")
    (tmp_path / "tiny.toml").write_text(IDX_SCENARIO.replace("[data]", f"[data]\nroot = '{tmp_path / 'data'}'"))
    energies = []
    for number, preset in enumerate((written(tmp_path, "devices", conductance=CONDUCTANCE), "EcRam")):
        sets = (f"hardware.device.preset={preset}", "training.epochs=1")
        out = run(load_scenario(tmp_path / "tiny.toml", sets), tmp_path / str(number), device="cpu").out
        bill = pd.read_csv(out / "cost.csv")
        cells = bill[(bill["component"] == "cell_read") & (bill["phase"] == "free")]
        energies.append(float(cells["unit_energy_J"].mean()))
    assert energies[0] / energies[1] == pytest.approx((1e-9 + 1e-3) / (1e-6 + 1e-5))
