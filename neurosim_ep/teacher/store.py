"""The target store: what a teacher shows at every signal layer, for every training image and view, in one HDF5 file.

    /                     attrs schema_version, data_digest, teacher_digest, teacher_accuracy, augment, crop_step,
                          mean, std (of the normalisation), precision, teacher (section [teacher], JSON)
    /targets/<layer>      activations, features in (C, H, W) order        [samples, views, features]
                          attrs name, shape, unit, description
    /scales/<layer>       int8 only: activation of one step               [samples, views]

Datasets are chunked by sample and view, with a checksum (Fletcher-32) per chunk, and the file ends in the SHA-256 of
the rest (see ``record/sealed``), so that damage is found before it is read as HDF5. Only activations are stored, so the
temperature can be chosen later. The chip reads one view of each sample per epoch; the teacher itself is never on it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

from neurosim_ep.data.dataset import Data
from neurosim_ep.ep.transfers import to_device
from neurosim_ep.errors import CheckpointError, DataError, UsageError, require_version
from neurosim_ep.record.atomic import ROOM, file_digest, replace_atomic, temporary_of
from neurosim_ep.record.hdf5 import require_plain
from neurosim_ep.record.sealed import require_seal, seal_of
from neurosim_ep.scenario.describe import show
from neurosim_ep.scenario.schema import DataSection, TeacherSection
from neurosim_ep.units import format_bits

SCHEMA_VERSION = 2
INDEX_BYTES = 24  # of one chunk in the file beside its data: its place, size and checksum


@dataclass(frozen=True)
class StoreKey:
    """What a store belongs to: these images, shown in these views, normalised like this."""

    data_digest: str
    augment: str
    crop_step: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, data: Data, section: DataSection) -> StoreKey:
        """The key of the training images ``data`` as ``section`` shows them."""
        return cls(
            data.train_digest, section.augment, section.crop_step, tuple(data.mean.tolist()), tuple(data.std.tolist())
        )

    def attributes(self) -> dict[str, Any]:
        """As attributes of a file."""
        return {
            "data_digest": self.data_digest, "augment": self.augment, "crop_step": self.crop_step,
            "mean": np.array(self.mean), "std": np.array(self.std),
        }  # fmt: skip


def identity(section: TeacherSection) -> dict[str, Any]:
    """What of ``section`` makes the teacher, wherever its file lies."""
    made = section.model_dump(mode="json", exclude={"precision"})
    return made | {"state_dict": Path(section.state_dict).name}


def target_bytes(sample_bits: int, samples: int, views: int) -> dict[str, float]:
    """Bytes of targets by the names of ``teacher.json`` and ``run.json``: read per sample of ``sample_bits``, read per
    epoch of ``samples``, and of the store of all ``views``.
    """
    per_sample = sample_bits / 8
    per_epoch = per_sample * samples
    return {"bytes_per_sample": per_sample, "bytes_per_epoch": per_epoch, "store_bytes": per_epoch * views}


class StoreWriter:
    """Fills a store view by view; see :func:`write_store`."""

    def __init__(self, file: h5py.File, precision: str) -> None:
        self.file, self.precision = file, precision

    def put(self, view: int, first: int, activations: Mapping[int, Tensor]) -> None:
        """Activations (B, *shape) of each layer for ``view`` of the samples from ``first`` on."""
        for layer, values in activations.items():
            flat = values.flatten(1).cpu().numpy()
            where = slice(first, first + len(flat)), view
            if self.precision == "int8":
                scale = np.abs(flat).max(1, keepdims=True) / 127
                self.file[f"scales/{layer}"][where] = scale[:, 0]
                flat = np.rint(flat / np.where(scale > 0, scale, 1))
            with np.errstate(over="ignore"):
                stored = flat.astype(self.precision)
            if not np.isfinite(stored).all():
                raise UsageError(
                    f"layer {layer}: activations of the teacher do not fit {self.precision}; "
                    'set teacher.precision = "float32", or train the teacher with a lower rate'
                )
            self.file[f"targets/{layer}"][where] = stored


@contextmanager
def write_store(
    path: Path,
    key: StoreKey,
    layers: Mapping[int, tuple[str, Sequence[int]]],
    *,
    samples: int,
    views: int,
    section: TeacherSection,
    teacher: Mapping[str, Any],
) -> Iterator[StoreWriter]:
    """A store that appears at ``path`` whole when the block ends. ``layers``: number to name and shape.

    Raises :class:`UsageError` when the disk has no room for it or it cannot be written.
    """
    bits = sum(section.sample_bits(int(np.prod(shape))) + 8 * INDEX_BYTES for _, shape in layers.values())
    bits *= samples * views
    precision, temporary = section.precision, temporary_of(path)
    temporary.unlink(missing_ok=True)  # what a killed command left
    free = shutil.disk_usage(path.parent).free
    if bits / 8 + ROOM > free:  # HDF5 does not survive that it runs out while it writes
        raise UsageError(
            f"{path}: {samples:,} samples x {views} views need {format_bits(bits)}, but only {format_bits(8 * free)} "
            "are free; store fewer views (data.crop_step), fewer bits (teacher.precision) or fewer layers"
        )
    try:
        with h5py.File(temporary, "w", libver="v110") as file:  # chunks are found without a tree
            file.attrs.update({"schema_version": SCHEMA_VERSION, "precision": precision, **key.attributes(), **teacher})
            file.attrs["teacher"] = json.dumps(identity(section))
            for layer, (name, shape) in layers.items():
                features = int(np.prod(shape))
                dataset = file.create_dataset(
                    f"targets/{layer}", (samples, views, features), precision, chunks=(1, 1, features), fletcher32=True
                )
                dataset.attrs.update(
                    name=name, shape=list(shape), unit="1", description="activations of the teacher, (C, H, W) order"
                )
                if precision == "int8":
                    scales = file.create_dataset(f"scales/{layer}", (samples, views), "float32", fletcher32=True)
                    scales.attrs.update(unit="1", description="activation of one step of the stored integers")
            yield StoreWriter(file, precision)
        with temporary.open("ab") as written:
            written.write(seal_of(file_digest(temporary)))
        replace_atomic(temporary, path)
    except OSError as problem:
        raise UsageError(
            f"{path}: cannot be written ({problem.strerror or problem}); make room, or choose another --out"
        ) from problem
    finally:
        temporary.unlink(missing_ok=True)


class TargetStore:
    """An open store, read sample by sample, whose targets are wanted on ``device``.

    ``teacher_digest``: SHA-256 of the weights of the teacher that was asked; ``teacher_accuracy``: on the test images,
    in [0, 1]. Raises :class:`DataError` when the file at ``path`` is missing or damaged, belongs to other images or
    views, lacks one of ``layers`` (number to shape), or has the targets of another teacher than that of ``section``, or
    in another precision.
    """

    def __init__(
        self,
        path: Path,
        key: StoreKey,
        layers: Mapping[int, Sequence[int]],
        *,
        samples: int,
        views: int,
        section: TeacherSection,
        device: torch.device,
    ) -> None:
        self.path, self.device, self.layers = path, device, {layer: tuple(shape) for layer, shape in layers.items()}
        if not path.is_file():
            raise DataError(f"{path}: no target store there; write one with `neurosim-ep teach` on this scenario")
        try:
            require_seal(path, "write it again with `neurosim-ep teach`")
            self.file = require_plain(h5py.File(path, "r"))
            self._check(key, samples, views, section)
        except CheckpointError as problem:
            raise DataError(str(problem)) from problem
        except DataError:
            raise
        except (OSError, KeyError, TypeError, IndexError, AttributeError, ValueError, RecursionError) as problem:
            raise DataError(f"{path}: cannot be read as a target store ({problem}); write it again") from problem

    def _check(self, key: StoreKey, samples: int, views: int, section: TeacherSection) -> None:
        found = self.file.attrs
        require_version(self.path, found["schema_version"], SCHEMA_VERSION, DataError, "write the store again")
        for name, wanted in key.attributes().items():
            if not np.array_equal(found[name], wanted):
                what = "images" if name == "data_digest" else "views" if name in ("augment", "crop_step") else "colours"
                raise DataError(
                    f"{self.path}: {name} = {_short(found[name])}: holds targets of other {what}, this run has "
                    f"{_short(wanted)}; use the [data] section it was written with, or write a store for this one"
                )
        self.teacher_digest, self.precision = str(found["teacher_digest"]), str(found["precision"])
        self.teacher_accuracy: float | None = float(found["teacher_accuracy"])
        if self.precision != section.precision:
            raise DataError(
                f"{self.path}: holds {self.precision} numbers, but teacher.precision is {section.precision}; "
                "set it to what is stored, or write the store again"
            )
        for layer, shape in self.layers.items():
            if str(layer) not in self.file["targets"]:
                there = ", ".join(sorted(self.file["targets"]))
                raise DataError(f"{self.path}: has targets of layers {there}, not of layer {layer}; write it again")
            if tuple(self.file[f"targets/{layer}"].attrs["shape"]) != shape:
                raise DataError(
                    f"{self.path}: targets of layer {layer} have the shape "
                    f"{tuple(self.file[f'targets/{layer}'].attrs['shape'])}, the network's have {shape}; write it again"
                )
            stored = [self.file[f"targets/{layer}"].shape == (samples, views, int(np.prod(shape)))]
            if self.precision == "int8":
                stored.append(self.file[f"scales/{layer}"].shape == (samples, views))
            if not all(stored):
                raise DataError(f"{self.path}: targets of layer {layer} are not those of every sample; write it again")
        taught = json.loads(found["teacher"])
        for name, wanted in identity(section).items():
            if taught[name] != wanted:
                raise DataError(
                    f"{self.path}: holds targets of another teacher: teacher.{name} was {show(taught[name])} there, "
                    f"and is {show(wanted)} here; set it to what it was, or write a store for this one"
                )

    def of(self, chosen: Tensor, views: Tensor, images: Tensor) -> dict[int, Tensor]:
        """See :class:`~neurosim_ep.teacher.targets.TargetSource`; the images do not matter. Raises :class:`DataError`
        when the targets are damaged.
        """
        where = list(zip(chosen.tolist(), views.tolist(), strict=True))
        try:
            found = {layer: self._read(layer, where).view(-1, *shape) for layer, shape in self.layers.items()}
        except OSError as problem:
            raise DataError(
                f"{self.path}: is damaged ({problem}); write it again with `neurosim-ep teach`"
            ) from problem
        return {layer: to_device(values, self.device) for layer, values in found.items()}

    def _read(self, layer: int, where: Iterable[tuple[int, int]]) -> Tensor:
        dataset = self.file[f"targets/{layer}"]
        values = torch.from_numpy(np.stack([dataset[sample, view] for sample, view in where])).float()
        if self.precision == "int8":
            scales = self.file[f"scales/{layer}"]
            values *= torch.from_numpy(np.array([scales[sample, view] for sample, view in where]))[:, None]
        return values


def _short(value: object) -> str:
    text = str(value)
    return f"{text[:12]}..." if len(text) > 40 else text
