"""CIFAR-10 and CIFAR-100 from their official python and binary archives, packed or unpacked.

Both formats store an image as 3,072 bytes: red, green, blue plane, rows first (Krizhevsky 2009,
"Learning multiple layers of features from tiny images").
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurosim_ep.data.sources.base import (
    Download,
    Images,
    ImageSet,
    Labels,
    Size,
    Source,
    check_labels,
    data_root,
)
from neurosim_ep.data.sources.files import read_members
from neurosim_ep.data.sources.pickles import text, unpickle
from neurosim_ep.errors import DataError

SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32
MOST_BYTES = 50_000 * (PIXELS + 300)  # of a file: the largest has 50,000 images, with labels and file names
SITE = "https://www.cs.toronto.edu/~kriz"
HOME = f"{SITE}/cifar.html"
FETCH = f"it is damaged or of another data set: fetch the official archive from {HOME}"

Split = tuple[Images, Labels]


@dataclass(frozen=True)
class _Archive:
    """One official archive: its names packed and unpacked, its files, and how to read them."""

    packed: str
    folder: str
    train: tuple[str, ...]
    test: str
    names: str
    classes: int

    def pixels_and_labels(self, content: bytes, source: str) -> Split:
        """Pixels (N, 3072) and labels (N,) of one batch file."""
        raise NotImplementedError

    def class_names(self, content: bytes, source: str) -> list[str]:
        """Class names in the file ``names``, by label."""
        raise NotImplementedError


@dataclass(frozen=True)
class _PythonArchive(_Archive):
    """Batches are pickled dictionaries with ``data``, a uint8 array (N, 3072), and a list of labels."""

    label_key: str
    names_key: str

    def pixels_and_labels(self, content: bytes, source: str) -> Split:
        batch = unpickle(content, source)
        pixels, labels = (_entry(batch, key, source) for key in ("data", self.label_key))
        if not isinstance(pixels, np.ndarray) or pixels.shape[1:] != (PIXELS,):
            raise DataError(f"{source}: data is not a uint8 array of {PIXELS} columns; {FETCH}")
        if not isinstance(labels, list) or not all(type(label) is int for label in labels):
            raise DataError(f"{source}: labels are not a list of integers; {FETCH}")
        if len(labels) != len(pixels):
            raise DataError(f"{source}: {len(labels)} labels for {len(pixels)} images; {FETCH}")
        return pixels, np.array(labels, np.int64)

    def class_names(self, content: bytes, source: str) -> list[str]:
        names = _entry(unpickle(content, source), self.names_key, source)
        if not isinstance(names, list):
            raise DataError(f"{source}: {self.names_key} is not a list; {FETCH}")
        return [text(name) for name in names]


@dataclass(frozen=True)
class _BinaryArchive(_Archive):
    """Batches are records of ``label_bytes`` labels, the last of which counts, and 3,072 pixels."""

    label_bytes: int

    def pixels_and_labels(self, content: bytes, source: str) -> Split:
        record = self.label_bytes + PIXELS
        if len(content) % record:
            raise DataError(f"{source}: {len(content)} bytes are not records of {record} bytes; {FETCH}")
        records = np.frombuffer(content, np.uint8).reshape(-1, record)
        return records[:, self.label_bytes :], records[:, self.label_bytes - 1].astype(np.int64)

    def class_names(self, content: bytes, source: str) -> list[str]:
        return content.decode(errors="replace").split()


def _entry(pickled: dict[str, Any], key: str, source: str) -> Any:
    if key not in pickled:
        raise DataError(f"{source}: no entry {key}; {FETCH}")
    return pickled[key]


_BATCHES = tuple(f"data_batch_{index}" for index in range(1, 6))
ARCHIVES: dict[str, tuple[_Archive, ...]] = {
    "cifar10": (
        _PythonArchive(
            packed="cifar-10-python.tar.gz",
            folder="cifar-10-batches-py",
            train=_BATCHES,
            test="test_batch",
            names="batches.meta",
            classes=10,
            label_key="labels",
            names_key="label_names",
        ),
        _BinaryArchive(
            packed="cifar-10-binary.tar.gz",
            folder="cifar-10-batches-bin",
            train=tuple(f"{name}.bin" for name in _BATCHES),
            test="test_batch.bin",
            names="batches.meta.txt",
            classes=10,
            label_bytes=1,
        ),
    ),
    "cifar100": (
        _PythonArchive(
            packed="cifar-100-python.tar.gz",
            folder="cifar-100-python",
            train=("train",),
            test="test",
            names="meta",
            classes=100,
            label_key="fine_labels",
            names_key="fine_label_names",
        ),
        _BinaryArchive(
            packed="cifar-100-binary.tar.gz",
            folder="cifar-100-binary",
            train=("train.bin",),
            test="test.bin",
            names="fine_label_names.txt",
            classes=100,
            label_bytes=2,
        ),
    ),
}


class _Cifar(Source):
    """Either of them."""

    fixed = True

    def read(self, seed: int) -> ImageSet:
        """What lies below the root, or at the root itself.

        Unpacked folders come before archives and python before binary. Raises DataError when nothing is found,
        files are missing, or their content is not what the format says.
        """
        place, archive = _find(self.section.root, self.name)
        files = read_members(place, archive.folder, (*archive.train, archive.test, archive.names), MOST_BYTES)
        train_images, train_labels = _read_split(archive, files, archive.train, place)
        test_images, test_labels = _read_split(archive, files, (archive.test,), place)
        class_names = archive.class_names(files[archive.names], f"{place}: {archive.names}")
        if len(class_names) != archive.classes:
            raise DataError(
                f"{place}: {archive.names} has {len(class_names)} class names, not {archive.classes}; {FETCH}"
            )
        return ImageSet(train_images, train_labels, test_images, test_labels, class_names, f"{self.name}: {place}")

    @property
    def usual(self) -> Size:
        """See :attr:`Source.usual`."""
        return Size(ARCHIVES[self.name][0].classes, SHAPE, 50_000, 10_000)


class Cifar10(_Cifar):
    """CIFAR-10."""

    name = "cifar10"
    sentence = "CIFAR-10 from its official archives"
    download = Download(
        HOME, f"{SITE}/cifar-10-python.tar.gz", 170_498_071,
        "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    )  # fmt: skip


class Cifar100(_Cifar):
    """CIFAR-100 with its 100 fine labels."""

    name = "cifar100"
    sentence = "CIFAR-100 from its official archives, with its 100 fine labels"
    download = Download(
        HOME, f"{SITE}/cifar-100-python.tar.gz", 169_001_437,
        "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
    )  # fmt: skip


def _find(root: str, kind: str) -> tuple[Path, _Archive]:
    """Where ``kind`` lies below ``root``: an unpacked folder or a packed archive, and which archive it is."""
    archives = ARCHIVES[kind]
    names = " or ".join(name for archive in archives for name in (f"{archive.folder}/", archive.packed))
    wanted = f"{names} (`neurosim-ep data {kind} --to DIR` fetches it)"
    path = data_root(root, kind, wanted)
    for archive in archives:
        if (path / archive.folder).is_dir():
            return path / archive.folder, archive
        if (path / archive.packed).is_file():
            return path / archive.packed, archive
        if (path.name == archive.packed and path.is_file()) or (path / archive.names).is_file():
            return path, archive
    raise DataError(f"{path}: no {kind} data; looked for {wanted}")


def _read_split(archive: _Archive, files: dict[str, bytes], names: tuple[str, ...], place: Path) -> Split:
    """Images (N, 3, 32, 32) and labels (N,) of the batch files ``names``, one after the other."""
    pixels, labels = [], []
    for name in names:
        batch_pixels, batch_labels = archive.pixels_and_labels(files[name], f"{place}: {name}")
        if not len(batch_labels):
            raise DataError(f"{place}: {name} holds no images; {FETCH}")
        check_labels(batch_labels, archive.classes, f"{place}: {name}")
        pixels.append(batch_pixels)
        labels.append(batch_labels)
    return np.concatenate(pixels).reshape(-1, *SHAPE), np.concatenate(labels)
