"""`neurosim-ep recost`: the counts of a finished run, priced with another hardware model."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np

from neurosim_ep.errors import UsageError
from neurosim_ep.hardware.bill.summary import Summary
from neurosim_ep.hardware.bill.writing import endurance_table
from neurosim_ep.hardware.chip.area import area_table
from neurosim_ep.hardware.chip.counts import PROGRAMMING, READ_QUANTITIES, UPDATE_QUANTITIES, TileCounts
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.model.file import ModelFile, read_model
from neurosim_ep.record.atomic import write_atomic
from neurosim_ep.record.logs import write_table
from neurosim_ep.record.rundir import RunDirectory
from neurosim_ep.record.traffic import read_traffic
from neurosim_ep.record.whole_folder import new_folder
from neurosim_ep.tiles.mapping import TilePlan, plan_tiles

SHAPE = ("rows", "columns", "cells_per_weight")
"""What decides which weight lies in which tile: counts are of tiles, so it must be the same."""


def recost(run_dir: Path, name: str, out: Path | None = None) -> tuple[Summary, list[str]]:
    """The bill of the batches that the run in ``run_dir`` recorded, on the chip of the model ``name``, and what to know
    about it. Leaves cost.csv, area.csv, wear.csv (per 1e6 training samples) and hardware.toml in ``out`` where it is
    given.

    Raises :class:`CheckpointError` when the run has no traffic, :class:`UsageError` when the arrays have another shape
    or ``out`` is not an empty folder.
    """
    recording, file, notes = recorded_on(run_dir, name)
    found = Summary(recording)
    if out is not None:
        _write(found, file, out)
    return found, notes


def recorded_on(run_dir: Path, name: str | None = None) -> tuple[Recording, ModelFile, list[str]]:
    """The batches that the run in ``run_dir`` recorded, on the chip of the model ``name``, or of the run itself; the
    model; and what to know about it. Raises as :func:`recost`.
    """
    recorded = read_traffic(RunDirectory.open(run_dir).path / "traffic.h5")
    file = read_model(name or str(run_dir / "hardware.toml"))
    array, wanted = recorded.plan.array, file.model.array_geometry()
    for key in SHAPE:
        if getattr(array, key) != getattr(wanted, key):
            raise UsageError(
                f"array.{key} = {getattr(wanted, key)}: the run was recorded on arrays with {getattr(array, key)}, and "
                "counts are of tiles; use a model with such arrays, or `neurosim-ep estimate` with hardware.model set"
            )
    plan = plan_tiles(recorded.plan.geometries, wanted, recorded.plan.identities)
    counts = on_array(recorded.counts, recorded.plan, plan)
    recording = Recording.of(counts, plan, file.model, recorded.signals, recorded.readout)
    notes = []
    if array.levels != wanted.levels:
        notes.append(
            f"programming pulses scaled from the {array.levels} levels of the run to {wanted.levels}; smaller weight "
            "changes than one step of the run were not recorded"
        )
    return recording, file, notes


def on_array(counts: TileCounts, plan: TilePlan, wanted: TilePlan) -> TileCounts:
    """``counts`` of tiles of ``plan`` as those of ``wanted`` count the same work: conversions follow the slices and
    passes, driver pulses the pulses per input, programming pulses the levels.
    """
    reads, lines = (counts.traffic[:, :, :, READ_QUANTITIES.index(name)] for name in ("reads", "active_lines"))
    derived = {
        "adc_conversions": reads * wanted.conversions,
        "dac_conversions": lines * wanted.array.input_pulses,
    }
    found = copy.deepcopy(counts)
    for name, table in derived.items():
        found.traffic[:, :, :, READ_QUANTITIES.index(name)] = table
    if plan.array.levels != wanted.array.levels and not counts.applied:
        pulses = [UPDATE_QUANTITIES.index(name) for name in PROGRAMMING]
        scaled = counts.update[pulses] * (wanted.array.levels / plan.array.levels)
        found.update[pulses] = np.rint(scaled).astype(np.int64)
    return found


def _write(found: Summary, file: ModelFile, out: Path) -> None:
    chip = found.recording.chip
    area = area_table(chip)
    with new_folder(out) as folder:
        write_table(folder / "cost.csv", found.bill)
        write_table(folder / "area.csv", area)
        worn = endurance_table(found.recording, samples=1e6)
        write_table(folder / "wear.csv", worn)
        write_atomic(folder / "hardware.toml", file.to_toml().encode())
