"""A small chip with cores of two tiles, and what it spends with other numbers of its model."""

from __future__ import annotations

from typing import Any

from chips import GEOMETRIES, READOUT, SIGNALS, random_counts

from neurosim_ep.hardware.bill.cost import bill
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.file import merged, parse_hardware_model
from neurosim_ep.hardware.model.sections import HardwareModel
from neurosim_ep.resources import shipped_files
from neurosim_ep.tiles.mapping import plan_tiles

DOCUMENT = merged(shipped_files("hwmodels")["rram_32nm"])[0]


def model_with(**changes: Any) -> HardwareModel:
    """rram_32nm with other values, by dotted key with __ for the dot; a number keeps its interval's ends in step."""
    document = {section: dict(table) for section, table in DOCUMENT.items()}
    for key, value in changes.items():
        section, name = key.split("__")
        old = document[section].get(name)
        document[section][name] = {**old, "value": value} if isinstance(old, dict) else value
        if isinstance(old, dict) and "low" in old:
            document[section][name] |= {"low": value, "high": value}
    return parse_hardware_model(document, "test")


def number(value: float, unit: str = "1") -> dict[str, Any]:
    return {"value": value, "unit": unit, "source": "an example", "kind": "assumed", "node_nm": 32}


BASE = model_with(core__tiles=2)
PLAN = plan_tiles(GEOMETRIES, BASE.array_geometry())
COUNTS = random_counts(PLAN)


def recording(model: HardwareModel) -> Recording:
    return Recording.of(COUNTS, plan_tiles(GEOMETRIES, model.array_geometry()), model, SIGNALS, READOUT)


def spent(model: HardwareModel, component: str, style: Style = Style.CLOCKED, phase: str = "free") -> float:
    table = bill(recording(model), [style])
    return float(table[(table.component == component) & (table.phase == phase)].energy_J.sum())
