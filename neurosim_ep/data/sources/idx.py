"""MNIST-style IDX files: big-endian header, then unsigned bytes.

Source: LeCun, Cortes & Burges, "The MNIST database of handwritten digits".
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np

from neurosim_ep.data.sources.base import Images, ImageSet, Labels, Size, Source, data_root
from neurosim_ep.data.sources.files import read_bytes
from neurosim_ep.errors import DataError

UNSIGNED_BYTE = 8
WANTED = (
    "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, "
    "each as it is or with .gz (MNIST: https://ossci-datasets.s3.amazonaws.com/mnist/)"
)


class Idx(Source):
    """MNIST-style IDX files."""

    name = "idx"
    sentence = "MNIST-style IDX files"

    def read(self, seed: int) -> ImageSet:
        """One-channel images (N, 1, H, W) of the four IDX files; classes are the labels of training images, in order.

        Raises DataError for files that are missing, of another format, cut short, or do not fit together.
        """
        path = data_root(self.section.root, self.name, WANTED)
        train_images, train_labels = _read_split(path, "train")
        test_images, test_labels = _read_split(path, "t10k")
        if train_images.shape[1:] != test_images.shape[1:]:
            sizes = " and ".join("x".join(map(str, images.shape[2:])) for images in (train_images, test_images))
            raise DataError(f"{path}: training and test images differ in size ({sizes}); fetch the files again")
        known = np.unique(train_labels)
        if len(known) < 2:
            raise DataError(f"{path}: all training images have the label {known[0]}; at least 2 classes are needed")
        if len(unknown := np.setdiff1d(test_labels, known)):
            raise DataError(
                f"{path}: t10k-labels-idx1-ubyte: no training image has the label {unknown[0]}; "
                "the files are of different data sets: fetch them again"
            )
        train_labels, test_labels = (np.searchsorted(known, labels) for labels in (train_labels, test_labels))
        source = f"idx: {path}, {len(known)} classes, labels {known[0]} to {known[-1]}"
        return ImageSet(train_images, train_labels, test_images, test_labels, [str(one) for one in known], source)

    @property
    def usual(self) -> Size:
        """See :attr:`Source.usual`: that of MNIST."""
        return Size(10, (1, 28, 28), 60_000, 10_000)


def _read_split(folder: Path, prefix: str) -> tuple[Images, Labels]:
    images = _read_array(folder, f"{prefix}-images-idx3-ubyte", 3)
    labels = _read_array(folder, f"{prefix}-labels-idx1-ubyte", 1)
    if len(images) != len(labels):
        raise DataError(f"{folder}: {len(labels)} labels for {len(images)} {prefix} images; fetch the files again")
    if not images.size:
        raise DataError(f"{folder}: {prefix}-images-idx3-ubyte holds no images; fetch the file again")
    return images[:, None], labels.astype(np.int64)


def _read_array(folder: Path, name: str, dimensions: int) -> Images:
    """Array of ``dimensions`` axes in the IDX file ``name`` or ``name.gz``: magic 0 0 8 d, d sizes, bytes."""
    path = next((folder / found for found in (name, f"{name}.gz") if (folder / found).is_file()), None)
    if path is None:
        raise DataError(f"{folder}: no {name} or {name}.gz; data.root must hold {WANTED}")
    content = read_bytes(path)
    magic = bytes((0, 0, UNSIGNED_BYTE, dimensions))
    header = len(magic) + 4 * dimensions
    if content[:4] != magic or len(content) < header:
        raise DataError(f"{path}: starts with 0x{content[:4].hex()}, an IDX file of this kind with 0x{magic.hex()}")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    expected = header + math.prod(shape)
    if len(content) != expected:
        raise DataError(f"{path}: {len(content)} bytes, its header announces {expected}; fetch the file again")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()
