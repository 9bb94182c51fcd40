"""Exact tile counts of the recorded batches, in one HDF5 file.

    /                     attrs schema_version
    /meta                 attrs scenario, seed, event_threshold
    /batches/             epoch, batch, samples                           [recorded]
    /tiles/               one dataset per column of the tile plan         [tiles]
    /layers/              name, neurons                                   [layers]
    /phases/<phase>/<accounting>/<direction>/<quantity>                   [recorded, tiles]
    /update/<quantity>                                                    [recorded, tiles]
    /events/<phase>  /messages/<phase>                                    [recorded, ticks, layers]
    /presentations/<phase>  /needed/<phase>                               [recorded, ticks, layers]

The first axis of every recorded dataset counts the recorded batches; row i belongs to row i of ``/batches``.
Counts are int64, chunked and compressed; every dataset says its ``unit`` and ``description``. A phase that
settled early has zeros in its remaining ticks.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import h5py
import numpy as np

from neurosim_ep.errors import CheckpointError
from neurosim_ep.hardware.counts import (
    ACCOUNTINGS,
    DIRECTIONS,
    READ_PHASES,
    READ_QUANTITIES,
    UPDATE_QUANTITIES,
    TileCounts,
)
from neurosim_ep.record.rundir import replace_atomic, temporary_of
from neurosim_ep.tiles.mapping import TilePlan

SCHEMA_VERSION = 1
TICK_GROUPS = ("events", "messages", "presentations", "needed")
RECORDED_GROUPS = ("batches", "phases", "update", *TICK_GROUPS)

_DESCRIPTIONS = {
    "batches/epoch": ("epoch", "epoch of the recorded batch"),
    "batches/batch": ("batch", "number of the batch within its epoch"),
    "batches/samples": ("sample", "samples of the batch; counts are sums over them"),
    "layers/name": ("", "name of the connection that drives the layer"),
    "layers/neurons": ("neuron", "neurons of the layer"),
    "tiles/tile": ("", "number of the tile"),
    "tiles/layer": ("", "connection the tile belongs to, counted from 0"),
    "tiles/name": ("", "name of that connection"),
    "tiles/row_block": ("", "block of matrix rows, counted from 0"),
    "tiles/col_block": ("", "block of physical columns, counted from 0"),
    "tiles/rows": ("row", "used rows"),
    "tiles/columns": ("column", "used physical columns"),
    "tiles/utilisation": ("1", "used cells / cells of the array"),
    "tiles/reuse": ("read", "output positions that read the tile per sample and tick"),
    "reads": ("read", "(sample, tick, position) that read the tile"),
    "active_lines": ("line", "driven lines, summed over reads"),
    "adc_conversions": ("conversion", "reads x sensed lines x slices"),
    "dac_conversions": ("conversion", "active lines x input pulses"),
    "accumulate_adds": ("addition", "additions into the update accumulators"),
    "pulses_up": ("pulse", "programming pulses that raised a weight"),
    "pulses_down": ("pulse", "programming pulses that lowered a weight"),
    "events": ("event", "events sent by the neurons of the layer in the tick"),
    "messages": ("message", "events x tiles each must reach"),
    "presentations": ("sample", "samples whose layer was updated in the tick"),
    "needed": ("sample", "those of them that an input had changed for since the last update"),
}


class TrafficWriter:
    """Appends the counts of recorded batches to the file at ``path``, epoch by epoch.

    Each epoch is added to a copy that then replaces the file, so a kill at any moment leaves a whole file.
    """

    def __init__(
        self, path: Path, plan: TilePlan, *, scenario_name: str, seed: int, event_threshold: float | Sequence[float]
    ) -> None:
        self.path = path
        self.plan = plan
        self.meta = {"scenario": scenario_name, "seed": seed, "event_threshold": event_threshold}

    def append(self, epoch: int, batches: Sequence[tuple[int, TileCounts]]) -> None:
        """Add the recorded batches of ``epoch``: (number within the epoch, counts of that batch alone)."""
        if not batches:
            return
        with _rewrite(self.path) as file:
            if "meta" not in file:
                self._write_plan(file)
            recorded = len(file["batches/epoch"]) if "batches" in file else 0
            counts = [batch_counts for _, batch_counts in batches]
            _extend(file, "batches/epoch", recorded, [np.int64(epoch)] * len(batches))
            _extend(file, "batches/batch", recorded, [np.int64(number) for number, _ in batches])
            _extend(file, "batches/samples", recorded, [np.int64(one.samples) for one in counts])
            for key in product(READ_PHASES, ACCOUNTINGS, DIRECTIONS, READ_QUANTITIES):
                _extend(file, "/".join(("phases", *key)), recorded, [one.of(*key) for one in counts])
            for quantity in UPDATE_QUANTITIES:
                _extend(file, f"update/{quantity}", recorded, [one.updates(quantity) for one in counts])
            for phase in counts[0].events:
                for group in TICK_GROUPS:
                    _extend(file, f"{group}/{phase}", recorded, [getattr(one, group)[phase] for one in counts])

    def truncate_to(self, epoch: int) -> None:
        """Drop the batches of epochs after ``epoch``. Raises :class:`CheckpointError` for a broken file."""
        if not self.path.exists():
            return
        try:
            with _rewrite(self.path) as file:
                kept = int((file["batches/epoch"][:] <= epoch).sum())
                for group in RECORDED_GROUPS:
                    file[group].visititems(
                        lambda _, node: node.resize(kept, axis=0) if isinstance(node, h5py.Dataset) else None
                    )
        except (OSError, KeyError) as problem:
            raise CheckpointError(
                f"{self.path}: cannot be read as recorded traffic ({problem}); restore the file or start a new run"
            ) from problem

    def _write_plan(self, file: h5py.File) -> None:
        file.attrs["schema_version"] = SCHEMA_VERSION
        file.create_group("meta").attrs.update(self.meta)
        for column, values in self.plan.to_frame().items():
            _write(file, f"tiles/{column}", values.to_list())
        _write(file, "layers/name", [geometry.name for geometry in self.plan.geometries])
        _write(file, "layers/neurons", [geometry.neurons for geometry in self.plan.geometries])


@contextmanager
def _rewrite(path: Path) -> Iterator[h5py.File]:
    """A copy of the file to change, which replaces ``path`` when the block ends without an exception."""
    temporary = temporary_of(path)
    temporary.unlink(missing_ok=True)
    if path.exists():
        shutil.copyfile(path, temporary)
    try:
        with h5py.File(temporary, "a") as file:
            yield file
        replace_atomic(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _write(file: h5py.File, name: str, values: Sequence[object]) -> None:
    """A dataset that never grows."""
    _describe(file.create_dataset(name, data=values))


def _extend(file: h5py.File, name: str, start: int, rows: Sequence[np.ndarray | np.int64]) -> None:
    """Put ``rows`` at ``start`` of the first axis; other axes grow to the largest row, padded with zeros."""
    shape = np.max([np.shape(row) for row in rows], axis=0).astype(int).tolist()
    if name not in file:
        _describe(
            file.create_dataset(
                name, (0, *shape), np.int64, maxshape=(None, *(None for _ in shape)), chunks=(8, *shape),
                compression="gzip", shuffle=True,
            )
        )  # fmt: skip
    dataset = file[name]
    dataset.resize((start + len(rows), *map(max, shape, dataset.shape[1:])))
    for index, row in enumerate(rows, start):
        dataset[(index, *map(slice, np.shape(row)))] = row


def _describe(dataset: h5py.Dataset) -> None:
    """Unit and meaning, looked up by the dataset's whole name, its last part or its group."""
    name = dataset.name.strip("/")
    group, *_, last = name.split("/")
    key = next(key for key in (name, last, group) if key in _DESCRIPTIONS)
    dataset.attrs["unit"], dataset.attrs["description"] = _DESCRIPTIONS[key]
