"""Broken image files, and what must be said about each."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from data_files import (
    cifar10_python,
    idx_bytes,
    idx_files,
    pack,
    python2_pickle,
)


class Malicious:
    """Unpickling this would create the file ``pwned`` in the working directory."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("pwned"),)


def shorten(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def broken_cifar(case: str, root: Path) -> None:
    folder = cifar10_python(root)
    batch = folder / "data_batch_3"
    pixels = np.zeros((2, 3072), np.uint8)
    match case:
        case "truncated archive":
            pack(folder, root / "cifar-10-python.tar.gz")
            shorten(root / "cifar-10-python.tar.gz", 100_000)
        case "archive of something else":
            pack(folder, root / "cifar-10-python.tar.gz")
            (root / "cifar-10-python.tar.gz").write_bytes(b"<html>404 not found</html>")
        case "missing batch":
            batch.unlink()
        case "garbage pickle":
            batch.write_bytes(b"\x80\x02garbage")
        case "truncated pickle":
            shorten(batch, 5000)
        case "malicious pickle":
            batch.write_bytes(pickle.dumps({"data": Malicious(), "labels": []}))
        case "pickled list":
            batch.write_bytes(pickle.dumps([1, 2]))
        case "no data":
            batch.write_bytes(python2_pickle({"labels": [0, 1]}))
        case "float data":
            batch.write_bytes(pickle.dumps({"data": pixels.astype(float), "labels": [0, 1]}))
        case "text labels":
            batch.write_bytes(python2_pickle({"data": pixels, "labels": ["a", "b"]}))
        case "too few labels":
            batch.write_bytes(python2_pickle({"data": pixels, "labels": [1]}))
        case "label out of range":
            batch.write_bytes(python2_pickle({"data": pixels, "labels": [1, 10]}))
        case "no images":
            batch.write_bytes(pickle.dumps({"data": pixels[:0], "labels": []}))
        case "too few names":
            (folder / "batches.meta").write_bytes(python2_pickle({"label_names": ["c0"]}))
        case "names are a number":
            (folder / "batches.meta").write_bytes(python2_pickle({"label_names": 10}))


# What each broken CIFAR file is told.
BROKEN_CIFAR = {
    "truncated archive": "cannot be read",
    "archive of something else": "cannot be read",
    "missing batch": "data_batch_3 missing",
    "garbage pickle": "data_batch_3: not a CIFAR pickle",
    "truncated pickle": "data_batch_3: not a CIFAR pickle",
    "malicious pickle": "touch, which no image file needs",
    "pickled list": "holds a list, not a dictionary",
    "no data": "no entry data",
    "float data": "its array is not one of uint8",
    "text labels": "labels are not a list of integers",
    "too few labels": "1 labels for 2 images",
    "label out of range": "label 10 is not a class",
    "no images": "holds no images",
    "too few names": "1 class names, not 10",
    "names are a number": "label_names is not a list",
}


def broken_idx(root: Path, name: str, content: bytes | None) -> None:
    idx_files(root)
    if content is None:
        (root / name).unlink()
    else:
        (root / name).write_bytes(content)


# File, its broken content (None: missing), and what is said about it.
BROKEN_IDX = [
    ("train-images-idx3-ubyte", None, "no train-images-idx3-ubyte or .*gz"),
    ("train-images-idx3-ubyte", idx_bytes(np.zeros(12)), "starts with 0x00000801, .* with 0x00000803"),
    ("train-labels-idx1-ubyte", idx_bytes(np.zeros(11)), "11 labels for 12 train images"),
    ("train-labels-idx1-ubyte", idx_bytes(np.zeros(12))[:-1], "19 bytes, its header announces 20"),
    ("train-labels-idx1-ubyte", b"", "starts with 0x,"),
    ("t10k-labels-idx1-ubyte", idx_bytes(np.full(8, 9)), "no training image has the label 9"),
    ("train-labels-idx1-ubyte", idx_bytes(np.full(12, 3)), "all training images have the label 3"),
    ("t10k-labels-idx1-ubyte.gz", gzip.compress(idx_bytes(np.zeros(8)), mtime=0)[:-9], "cannot be read"),
    ("t10k-images-idx3-ubyte", idx_bytes(np.zeros((8, 20, 20))), "differ in size .28x28 and 20x20"),
]
