"""Tables of a run directory as pandas frames, each with the units of its columns in ``frame.attrs["units"]``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from neurosim_ep.errors import CheckpointError
from neurosim_ep.hardware.chip.counts import ACCOUNTINGS, DIRECTIONS, READ_QUANTITIES, TICK_TABLES, UPDATE_QUANTITIES
from neurosim_ep.hardware.chip.phases import READ_PHASES
from neurosim_ep.record import columns
from neurosim_ep.record.traffic import open_traffic

TABLES = tuple(name.removesuffix(".csv") for name in columns.TABLES)
"""Tables of a run, each a CSV file of this name; docs/outputs.md explains their columns."""

_WITH_GAPS = ("updates", "updates_dense")
"""Columns of whole numbers in which cells may be empty."""


def read_csv(path: Path) -> pd.DataFrame:
    """The CSV file at ``path`` as pandas takes it. Raises :class:`CheckpointError` when it cannot be read."""
    try:
        return pd.read_csv(path)
    except (ValueError, OSError) as problem:
        raise CheckpointError(f"{path}: cannot be read as a CSV table ({problem})") from problem


def read_frame(path: Path) -> pd.DataFrame:
    """The table at ``path``: int64 for what is counted (Int64 where cells may be empty), float64 for what is measured,
    text for names. Raises :class:`CheckpointError` when it cannot be read.
    """
    frame = read_csv(path)
    whole = {name: "Int64" for name in _WITH_GAPS if name in frame}
    frame = frame.astype(whole)
    known = columns.TABLES.get(path.name, {})
    frame.attrs["units"] = {name: known[name].unit if name in known else "" for name in map(str, frame.columns)}
    return frame


_GROUPS = {
    "batches": "batches", "layers": "layers", "tiles": "tiles", "senders": "senders", "places": "places",
    "messages": "noc", "links": "links",
}  # fmt: skip
"""Tables that lie in a traffic file as they are, and their groups there."""
_SHAPES = ("layers/identities", "layers/geometry")
_NUMBERED = {"layers": "layer", "senders": "sender"}
"""Those whose rows other tables name by their number."""


class Traffic(Mapping[str, pd.DataFrame]):
    """The counts of every recorded batch of a traffic.h5 as tidy frames, each read when it is asked for.

    ``reads``: per batch, phase, accounting, direction and tile; ``updates``: per batch and tile; ``ticks``: events,
    messages, presentations and updates needed per batch, phase, tick and layer; ``sends``: events per batch, phase,
    tick and group of neurons; ``messages``: between tiles, ``links``: bits over each link of the mesh, both over all
    batches; ``batches``, ``layers``, ``tiles``, ``senders``, ``places``: what they are of. Counts are int64 and sums
    over the samples of a batch; ticks count from 0, as in the file (docs/traffic-format.md).
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __iter__(self) -> Iterator[str]:
        return iter(("reads", "updates", "ticks", "sends", *_GROUPS))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"<traffic of {self.path}: {', '.join(self)}>"

    def __getitem__(self, name: str) -> pd.DataFrame:
        """Raises KeyError for another name, :class:`CheckpointError` where the file is damaged."""
        if name not in list(self):
            raise KeyError(f"{name}: no such table of traffic; tables: {', '.join(self)}")
        with open_traffic(self.path) as file:
            return _framed(file, _columns(file, name) if name in _GROUPS else getattr(self, f"_{name}")(file))

    def _reads(self, file: h5py.File) -> dict[str, Any]:
        keys = list(product(READ_PHASES, ACCOUNTINGS, DIRECTIONS))
        counts = {
            quantity: np.stack([file["/".join(("phases", *key, quantity))][:] for key in keys])
            for quantity in READ_QUANTITIES
        }
        kind, batch, tile = (places.ravel() for places in np.indices(counts["reads"].shape))
        words = {
            name: np.array([key[place] for key in keys], object)[kind]
            for place, name in enumerate(("phase", "accounting", "direction"))
        }
        return {**_of_batch(file, batch), **words, **_of_tile(file, tile), **_flat(counts)}

    def _updates(self, file: h5py.File) -> dict[str, Any]:
        counts = {quantity: file[f"phases/update/{quantity}"][:] for quantity in UPDATE_QUANTITIES}
        batch, tile = (places.ravel() for places in np.indices(counts[UPDATE_QUANTITIES[0]].shape))
        return {**_of_batch(file, batch), **_of_tile(file, tile), **_flat(counts)}

    def _ticks(self, file: h5py.File) -> dict[str, Any]:
        names = file["layers/name"].asstr()[:]
        columns, layer = self._by_tick(file, [name for name in TICK_TABLES if name != "sends"])
        counts = {name: columns.pop(name) for name in list(columns) if name in TICK_TABLES}
        return {**columns, "layer": layer, "name": names[layer], **counts}

    def _sends(self, file: h5py.File) -> dict[str, Any]:
        columns, sender = self._by_tick(file, ["sends"])
        counts = columns.pop("sends")
        about = {"sender": sender, "layer": file["senders/layer"][:][sender], "home": file["senders/home"][:][sender]}
        return {**columns, **about, "sends": counts}

    def _by_tick(self, file: h5py.File, quantities: list[str]) -> tuple[dict[str, Any], np.ndarray]:
        """Columns of what is counted per tick, all phases below each other, and the last axis of each row."""
        parts = []
        for phase in READ_PHASES:
            if quantities[0] not in file[f"phases/{phase}"]:
                continue
            counts = {name: file[f"phases/{phase}/{name}"][:] for name in quantities}
            batch, tick, last = (places.ravel() for places in np.indices(counts[quantities[0]].shape))
            words = {"phase": np.full(len(batch), phase, object), "tick": tick}
            parts.append({**_of_batch(file, batch), **words, "last": last, **_flat(counts)})
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return columns, columns.pop("last")


def read_traffic(path: Path | str) -> Traffic:
    """The recorded traffic of a run as pandas frames, by name.

    Args:
        path: a traffic.h5, or the run directory that has one.

    Returns:
        A mapping of frames, see :class:`Traffic`; each is read when it is asked for.

    Raises:
        CheckpointError: nothing was recorded there, or the file is damaged.
    """
    path = Path(path)
    file = path / "traffic.h5" if path.is_dir() else path
    with open_traffic(file):
        return Traffic(file)


def _framed(file: h5py.File, columns: dict[str, Any]) -> pd.DataFrame:
    """A frame of ``columns``, with the units that the datasets of this name have, "" where there is none."""
    units: dict[str, str] = {}
    file.visititems(lambda name, node: units.update({name.rpartition("/")[2]: node.attrs.get("unit", "")}))
    frame = pd.DataFrame({name: pd.Series(values).infer_objects() for name, values in columns.items()})
    frame.attrs["units"] = {name: units.get(name, "") for name in columns}
    return frame


def _columns(file: h5py.File, name: str) -> dict[str, Any]:
    group = f"{_GROUPS[name]}/"
    named = [known for known in columns.TRAFFIC if known.startswith(group) and known not in _SHAPES]
    nodes = {known.removeprefix(group): file[known] for known in named}
    found = {column: node.asstr()[:] if node.dtype == object else node[:] for column, node in nodes.items()}
    return {_NUMBERED[name]: np.arange(len(found["neurons"])), **found} if name in _NUMBERED else found


def _of_batch(file: h5py.File, places: np.ndarray) -> dict[str, Any]:
    return {name: file[f"batches/{name}"][:][places] for name in ("epoch", "batch", "samples")}


def _of_tile(file: h5py.File, places: np.ndarray) -> dict[str, Any]:
    layers, names = file["tiles/layer"][:], file["tiles/name"].asstr()[:]
    return {"tile": places, "layer": layers[places], "name": names[places]}


def _flat(counts: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: table.ravel() for name, table in counts.items()}
