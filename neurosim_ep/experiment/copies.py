"""Files that a scenario names, copied into the directory of its run and used from there from then on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from neurosim_ep import resources
from neurosim_ep.errors import CheckpointError, HardwareModelError, UsageError
from neurosim_ep.scenario.schema import HardwareSection

HARDWARE = "hardware.toml"


class _Place(NamedTuple):
    """``key`` of a section of ``[hardware]`` that names a file of ``folder``, and what its copy is called."""

    section: str
    key: str
    folder: str
    copy: str


_PLACES = (
    _Place("device", "preset", "hwmodels/devices", "device.toml"),
    _Place("cells", "statistics", "hwmodels/cells", "cells.toml"),
)


def copies(hardware: HardwareSection) -> dict[str, bytes]:
    """What the files of devices and cells hold, by the names of their copies."""
    return {
        place.copy: resources.resolve(name, place.folder, HardwareModelError)[0].read_bytes()
        for place, name in _named(hardware)
    }


def with_copies(hardware: HardwareSection, directory: Path, overrides: Sequence[str] = ()) -> HardwareSection:
    """``hardware`` with the files in the run ``directory`` in place of those it names.

    Raises :class:`CheckpointError` where one is missing, :class:`UsageError` where ``overrides`` name others.
    """
    named = {f"hardware.{place.section}.{place.key}" for place, _ in _named(hardware)} | {"hardware.model"}
    for override in overrides:
        if (key := override.partition("=")[0].strip()) in named:
            raise UsageError(
                f"--set {override}: a run keeps copies of the files of its hardware and uses these; leave {key} away, "
                "price the run on another chip with `neurosim-ep recost`, or start another one"
            )
    changes = {
        place.section: getattr(hardware, place.section).model_copy(update={place.key: str(directory / place.copy)})
        for place, _ in _named(hardware)
    }
    require(directory, HARDWARE, *(place.copy for place, _ in _named(hardware)))
    return hardware.model_copy(update={**changes, "model": str(directory / HARDWARE)})


def require(directory: Path, *names: str) -> None:
    """Raise :class:`CheckpointError` where the run ``directory`` lacks one of these files."""
    for name in names:
        if not (directory / name).is_file():
            raise CheckpointError(f"{directory}: has no {name}; restore it from a copy, or start the run again")


def _named(hardware: HardwareSection) -> Iterator[tuple[_Place, str]]:
    for place in _PLACES:
        name = getattr(getattr(hardware, place.section), place.key)
        if name != "none":
            yield place, name
