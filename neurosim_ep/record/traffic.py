"""Everything that was counted on the tiles in the recorded batches, in one HDF5 file; see docs/traffic-format.md.

    /                     attrs schema_version
    /meta                 attrs scenario, seed, event_threshold; array: rows, columns, cells_per_weight, slices,
                          input_pulses, levels
    /batches/             epoch, batch, samples                                       [recorded]
    /layers/              name, neurons                                               [layers]
                          geometry (JSON)                                             [connections]
                          identities (JSON), where there are any                      [identities]
    /tiles/               one dataset per column of the tile plan                     [tiles]
    /senders/             layer, home, neurons                                        [senders]
    /projections/         role, layer, features, classes, learned, direct, off_chip_bits  [projections]
    /phases/<read phase>/<accounting>/<direction>/<quantity>                          [recorded, tiles]
    /phases/<read phase>/events, messages, presentations, needed                      [recorded, ticks, layers]
    /phases/<read phase>/sends                                                        [recorded, ticks, senders]
    /phases/update/<quantity>                                                         [recorded, tiles]
    /noc/                 src, dst, phase, tick, messages, bits                       [entries]
    /cost/                the columns of cost.csv                                     [lines]
    /places/              tile, x, y                                                  [tiles]
    /links/               phase, side, x, y, bits                                     [links in use]

The first axis of every recorded dataset counts the recorded batches; row i belongs to row i of ``/batches``. ``/noc``,
``/cost`` and ``/links`` are sums over all of them, written anew with every epoch. Counts are int64, chunked and
compressed; every dataset says its ``unit`` and ``description``. A phase that settled early has zeros in its remaining
ticks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pandas as pd

from neurosim_ep.errors import CheckpointError, NeurosimError, require_version
from neurosim_ep.hardware.chip.counts import (
    ACCOUNTINGS,
    DIRECTIONS,
    READ_QUANTITIES,
    TICK_TABLES,
    UPDATE_QUANTITIES,
    TileCounts,
)
from neurosim_ep.hardware.chip.phases import READ_PHASES
from neurosim_ep.hardware.chip.projections import Projection
from neurosim_ep.record.columns import TRAFFIC
from neurosim_ep.record.growing import RESTORE, require_length
from neurosim_ep.record.hdf5 import image, new_image, require_plain
from neurosim_ep.record.sealed import finish_changes, read_through, write_changes
from neurosim_ep.tiles.mapping import ArrayGeometry, ConnectionGeometry, TilePlan, plan_tiles

SCHEMA_VERSION = 2
RECORDED_GROUPS = ("batches", "phases")


class Recorded(NamedTuple):
    """What a traffic file holds: the counts of all its batches, and the tiles and projections they belong to."""

    counts: TileCounts
    plan: TilePlan
    signals: tuple[Projection, ...]
    readout: Projection | None


class TrafficWriter:
    """Appends the counts of recorded batches to the file at ``path``, epoch by epoch.

    What an epoch adds is written into the file through a journal (see ``sealed``), so a kill at any moment leaves a
    whole file, and an epoch costs as many bytes early and late.
    """

    def __init__(
        self,
        path: Path,
        plan: TilePlan,
        *,
        scenario_name: str,
        seed: int,
        event_threshold: float | Sequence[float],
        signals: Sequence[Projection] = (),
        readout: Projection | None = None,
    ) -> None:
        self.path, self.plan, self.signals, self.readout = path, plan, signals, readout
        self.meta = {"scenario": scenario_name, "seed": seed, "event_threshold": event_threshold}
        self.length = path.stat().st_size if path.exists() else 0
        self.written: dict[str, pd.Series] = {}  # columns of the summaries that the file has

    def append(
        self, epoch: int, batches: Sequence[tuple[int, TileCounts]], summaries: Mapping[str, pd.DataFrame]
    ) -> None:
        """Add the recorded batches of ``epoch``: (number within the epoch, counts of that batch alone), and put the
        tables ``summaries`` ("noc", "cost", "places" and "links") in the place of the last ones.

        Raises :class:`CheckpointError` where the file is no longer as it was left.
        """
        if not batches:
            return
        self.check()
        with self._editing() as file:
            if "meta" not in file:
                self._write_plan(file, batches[0][1].applied)
            recorded = len(file["batches/epoch"]) if "batches" in file else 0
            counts = [batch_counts for _, batch_counts in batches]
            _extend(file, "batches/epoch", recorded, [np.int64(epoch)] * len(batches))
            _extend(file, "batches/batch", recorded, [np.int64(number) for number, _ in batches])
            _extend(file, "batches/samples", recorded, [np.int64(one.samples) for one in counts])
            for key in product(READ_PHASES, ACCOUNTINGS, DIRECTIONS, READ_QUANTITIES):
                _extend(file, "/".join(("phases", *key)), recorded, [one.of(*key) for one in counts])
            for quantity in UPDATE_QUANTITIES:
                _extend(file, f"phases/update/{quantity}", recorded, [one.updates(quantity) for one in counts])
            for phase, name in product(counts[0].events, TICK_TABLES):
                _extend(file, f"phases/{phase}/{name}", recorded, [getattr(one, name)[phase] for one in counts])
            columns = {f"{name}/{column}": rows for name, table in summaries.items() for column, rows in table.items()}
            for name, values in columns.items():
                if name not in self.written or not values.equals(self.written[name]):  # text takes long to read back
                    _replace(file, name, values.to_numpy())
        self.written = columns

    def check(self) -> None:
        """Raise :class:`CheckpointError` where the file is longer or shorter than it was left."""
        require_length(self.path, self.length)

    def require(self, epoch: int, counts: TileCounts) -> None:
        """Raise :class:`CheckpointError` unless the file has the batches up to ``epoch`` that ``counts`` sums up."""
        require_counts(self.path, epoch, counts)

    def truncate_to(self, epoch: int) -> None:
        """Drop the batches of epochs after ``epoch``. Raises :class:`CheckpointError` for a broken file."""
        if not self.path.exists():
            return
        with open_traffic(self.path) as file:
            epochs = file["batches/epoch"][:]
        if (epochs <= epoch).all():
            finish_changes(self.path)
            self.length = self.path.stat().st_size
            return
        with self._editing() as file:  # the next epoch writes the summaries anew
            kept = int((epochs <= epoch).sum())
            for group in RECORDED_GROUPS:
                file[group].visititems(
                    lambda _, node: node.resize(kept, axis=0) if isinstance(node, h5py.Dataset) else None
                )

    @contextmanager
    def _editing(self) -> Iterator[h5py.File]:
        """The file in memory; what was changed of it is written when the block ends without an exception."""
        with image(read_through(self.path, RESTORE), writable=True) if self.length else new_image() as file:
            yield file
            file.flush()
            content = file.id.get_file_image()
        write_changes(self.path, content)
        self.length = self.path.stat().st_size

    def _write_plan(self, file: h5py.File, applied: bool) -> None:
        file.attrs["schema_version"] = SCHEMA_VERSION
        file.create_group("meta").attrs.update(self.meta | asdict(self.plan.array) | {"pulses_applied": applied})
        for column, values in self.plan.to_frame().items():
            _write(file, f"tiles/{column}", values.to_list())
        if any(tile.layer != tile.connection for tile in self.plan.tiles):
            file["tiles/layer"].attrs["description"] = "layer that the tile drives, counted from 0"
        _write(file, "layers/name", [layer.name for layer in self.plan.layers])
        _write(file, "layers/neurons", [layer.neurons for layer in self.plan.layers])
        shapes = [asdict(geometry) for geometry in self.plan.geometries]
        file["layers"].attrs["signed"] = [shape.pop("signed") for shape in shapes]
        _write(file, "layers/geometry", [json.dumps(_unlike_a_chain(n, shape)) for n, shape in enumerate(shapes)])
        if self.plan.identities:
            _write(file, "layers/identities", [json.dumps(asdict(identity)) for identity in self.plan.identities])
        for column in ("layer", "home", "neurons"):
            _write(file, f"senders/{column}", [getattr(sender, column) for sender in self.plan.senders])
        roles = [*(("signal", one) for one in self.signals), *([("readout", self.readout)] if self.readout else [])]
        _write(file, "projections/role", np.array([role for role, _ in roles], dtype=h5py.string_dtype()))
        for column in Projection._fields:
            _write(file, f"projections/{column}", [getattr(one, column) for _, one in roles])


@contextmanager
def open_traffic(path: Path) -> Iterator[h5py.File]:
    """The traffic file at ``path`` for reading. Raises :class:`CheckpointError` where there is none, or where it, or
    what the block looks for in it, is damaged.
    """
    if not path.is_file():
        raise CheckpointError(
            f"{path}: no traffic was recorded there; run the scenario with telemetry.traffic_every above 0"
        )
    try:
        with image(read_through(path, RESTORE)) as file:
            yield require_plain(file)
    except NeurosimError:
        raise
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError, IndexError) as problem:
        raise CheckpointError(
            f"{path}: cannot be read as recorded traffic ({problem}); restore the file or start a new run"
        ) from problem


def require_counts(path: Path, epoch: int, counts: TileCounts) -> None:
    """Raise :class:`CheckpointError` unless the file at ``path`` has the batches up to ``epoch`` that ``counts`` sums
    up.
    """
    if not counts.batches:
        return
    if not path.exists():
        raise CheckpointError(f"{path}: missing: not what the run's checkpoint knows of; {RESTORE}")
    with open_traffic(path) as file:
        found = _counts(file, counts.traffic.shape[-1], int((file["batches/epoch"][:] <= epoch).sum()))
    same = [np.array_equal(getattr(found, name), getattr(counts, name)) for name in ("traffic", "update")]
    if not all(same) or (found.samples, found.batches) != (counts.samples, counts.batches):
        raise CheckpointError(f"{path}: holds other counts than the run's checkpoint knows of; {RESTORE}")


def read_traffic(path: Path) -> Recorded:
    """The counts of all recorded batches of the file at ``path``, added up.

    Raises :class:`CheckpointError` when it is missing, broken or of another schema.
    """
    with open_traffic(path) as file:
        remedy = "use the neurosim-ep version that wrote it, or run the scenario again"
        require_version(path, file.attrs["schema_version"], SCHEMA_VERSION, CheckpointError, remedy)
        if not len(file["batches/samples"]):
            raise CheckpointError(f"{path}: holds no batch yet; go on with the run, or start it again")
        return _recorded(file)


def _recorded(file: h5py.File) -> Recorded:
    meta = file["meta"].attrs
    array = ArrayGeometry(**{name: int(meta[name]) for name in ArrayGeometry.__dataclass_fields__ if name in meta})
    shapes = file["layers/geometry"].asstr()[:]
    signs = file["layers"].attrs.get("signed", [(layer == 0, False) for layer in range(len(shapes))])
    geometries = [_geometry(text, signed) for text, signed in zip(shapes, signs, strict=True)]
    others = file["layers/identities"].asstr()[:] if "layers/identities" in file else []
    plan = plan_tiles(geometries, array, [_geometry(text) for text in others])
    counts = _counts(file, len(plan.tiles), len(file["batches/samples"]))
    columns = [file[f"projections/{column}"][:].tolist() for column in Projection._fields]
    projections = [Projection(*values) for values in zip(*columns, strict=True)]
    roles = file["projections/role"].asstr()[:].tolist()
    signals = tuple(one for role, one in zip(roles, projections, strict=True) if role == "signal")
    readout = next((one for role, one in zip(roles, projections, strict=True) if role == "readout"), None)
    return Recorded(counts, plan, signals, readout)


def _counts(file: h5py.File, tiles: int, batches: int) -> TileCounts:
    """The counts of the first recorded ``batches`` on so many tiles, added up."""
    counts = TileCounts.zeros(tiles)
    for axes in product(*map(enumerate, (READ_PHASES, ACCOUNTINGS, DIRECTIONS, READ_QUANTITIES))):
        places, names = zip(*axes, strict=True)
        counts.traffic[places] = file["/".join(("phases", *names))][:batches].sum(0)
    for place, quantity in enumerate(UPDATE_QUANTITIES):
        counts.update[place] = file[f"phases/update/{quantity}"][:batches].sum(0)
    for phase, name in product(READ_PHASES, TICK_TABLES):
        if name in file[f"phases/{phase}"]:
            getattr(counts, name)[phase] = file[f"phases/{phase}/{name}"][:batches].sum(0)
    counts.applied = bool(file["meta"].attrs["pulses_applied"])
    counts.samples, counts.batches = int(file["batches/samples"][:batches].sum()), batches
    return counts


def _unlike_a_chain(number: int, shape: dict[str, Any]) -> dict[str, Any]:
    """``shape`` of connection ``number`` without stride, source and target where these are those of a chain."""
    usual = {"stride": 1, "source": number - 1, "target": number}
    if all(shape[end] == usual[end] for end in ("source", "target")):
        return {name: value for name, value in shape.items() if name not in usual or value != usual[name]}
    return shape


def _geometry(text: str, signed: Sequence[bool] | None = None) -> ConnectionGeometry:
    fields = json.loads(text)
    if signed is not None:
        fields["signed"] = [bool(sign) for sign in signed]
    shapes: dict[str, Any] = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
    return ConnectionGeometry(**(fields | shapes))


def _write(file: h5py.File, name: str, values: Sequence[object] | np.ndarray) -> None:
    """A dataset that never grows."""
    text = isinstance(values, np.ndarray) and values.dtype == object
    _describe(file.create_dataset(name, data=values, dtype=h5py.string_dtype() if text else None))


def _replace(file: h5py.File, name: str, values: np.ndarray) -> None:
    """``values`` in the place of those that a dataset has, if there is one, where they differ."""
    if name in file and file[name].shape == values.shape:
        old = file[name].asstr()[:] if values.dtype == object else file[name][:]
        if not np.array_equal(old, values):
            file[name][...] = values
        return
    if name in file:
        del file[name]
    _write(file, name, values)


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
    """Unit and meaning, looked up by the dataset's whole name or its last part."""
    name = dataset.name.strip("/")
    last = name.split("/")[-1]
    unit = {"_J": "J", "_s": "s"}.get(last[-2:], "")
    fallback = (unit, "as in cost.csv")
    dataset.attrs["unit"], dataset.attrs["description"] = TRAFFIC.get(name, TRAFFIC.get(last, fallback))
