"""A scenario whose files are named so that it repeats the run from any directory."""

from __future__ import annotations

import os

from neurosim_ep import resources
from neurosim_ep.data.sources.base import ROOT_VARIABLE
from neurosim_ep.errors import HardwareModelError
from neurosim_ep.registry import SOURCES
from neurosim_ep.scenario.schema import Scenario, Section


def pinned(scenario: Scenario) -> Scenario:
    """``scenario`` with whole paths of its images, its teacher and the files of its hardware."""
    hardware = scenario.hardware
    tiles = hardware.model_copy(
        update={
            "model": _path(hardware.model, "hwmodels"),
            "converters": hardware.converters.model_copy(update={"preset": "none"}),  # all its keys are written
            "cells": _with_path(hardware.cells, "statistics", "hwmodels/cells"),
            "device": _with_path(hardware.device, "preset", "hwmodels/devices"),
        }
    )
    return pinned_data(scenario).model_copy(update={"hardware": tiles})


def pinned_data(scenario: Scenario) -> Scenario:
    """``scenario`` with whole paths of its images and its teacher."""
    changes: dict[str, Section] = {}
    root = scenario.data.root or os.environ.get(ROOT_VARIABLE, "")
    if "root" in SOURCES[scenario.data.kind].takes:
        changes["data"] = scenario.data.model_copy(update={"root": str(resources.at_home(root).resolve())})
    if scenario.signals.taught():
        from neurosim_ep.teacher.targets import teacher_folder  # loads PyTorch

        folder = str(teacher_folder(scenario).resolve())
        changes["signals"] = scenario.signals.model_copy(update={"teacher": folder})
    return scenario.model_copy(update=changes)


def _with_path(section: Section, key: str, folder: str) -> Section:
    return section.model_copy(update={key: _path(getattr(section, key), folder)})


def _path(name: str, folder: str) -> str:
    """``name`` of a shipped file of ``folder`` as it is, that of any other as a whole path."""
    if name == "none":
        return name
    path, shipped = resources.resolve(name, folder, HardwareModelError)
    return name if shipped else str(path.resolve())
