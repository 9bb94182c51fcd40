"""Hardware models by name, and numbers of theirs."""

from __future__ import annotations

from neurosim_ep.hardware.chip.area import tile_areas
from neurosim_ep.hardware.model.file import read_model
from neurosim_ep.hardware.model.sections import HardwareModel


def load_hardware_model(name: str) -> HardwareModel:
    """The model of a TOML file or of a shipped name, at its node."""
    return read_model(name).model


def tile_area_m2(model: HardwareModel) -> dict[str, float]:
    """Area of each part of a tile [m^2]."""
    return {part: float(area.value) for part, area in tile_areas(model).items()}
