"""Files that people save with other programs: byte order marks and UTF-16 in every kind of TOML file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hardware_models import load_hardware_model

from neurosim_ep.resources import shipped_files
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.tiles.devices.file import load_device
from neurosim_ep.tiles.statistics import load_cells


def load_converters(path: str) -> object:
    return load_scenario("smoke", [f"hardware.converters.preset={path}"]).hardware.converters.adc_bits


KINDS: dict[str, tuple[str, str, Callable[[str], object]]] = {
    "scenario": ("scenarios", "smoke", load_scenario),
    "hardware model": ("hwmodels", "ideal", load_hardware_model),
    "device": ("hwmodels/devices", "EcRam", load_device),
    "cells": ("hwmodels/cells", "pcm", lambda path: vars(load_cells(path))),
    "converters": ("hwmodels/converters", "eight_bit", load_converters),
}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_byte_order_mark_changes_nothing(tmp_path: Path, kind: str, encoding: str) -> None:
    folder, name, load = KINDS[kind]
    text = shipped_files(folder)[name].read_text("utf-8")
    path = tmp_path / "mine.toml"
    path.write_bytes(text.replace("\n", "\r\n").encode(encoding))
    assert load(str(path)) == load(str(shipped_files(folder)[name]))
