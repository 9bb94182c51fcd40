"""Small files of exactly the official image formats, for the data tests."""

from __future__ import annotations

import gzip
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from neurosim_ep.data.dataset import Data, load_data
from neurosim_ep.scenario.schema import DataSection

Arrays = tuple[np.ndarray, np.ndarray]


def load(kind: Any, root: Path | str = "", **fields: Any) -> Data:
    return load_data(DataSection(kind=kind, root=str(root), **fields), seed=0)


def random_split(count: int, classes: int, shape: tuple[int, ...] = (3, 32, 32), seed: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, *shape), dtype=np.uint8), np.arange(count) % classes


def python2_pickle(entries: dict[str, Any]) -> bytes:
    """A protocol 2 pickle as Python 2 and NumPy 1 wrote it: byte strings, integer flags of the dtype."""

    def value(item: Any) -> bytes:
        if isinstance(item, str):
            return b"U" + bytes([len(item)]) + item.encode()
        if isinstance(item, int):
            return b"M" + struct.pack("<H", item)
        if isinstance(item, list):
            return b"](" + b"".join(map(value, item)) + b"e"
        rows, columns = item.shape
        dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        content = b"T" + struct.pack("<i", item.size) + item.tobytes()
        empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        return empty + b"(K\x01" + value(rows) + value(columns) + b"\x86" + dtype + b"\x89" + content + b"tb"

    return b"\x80\x02}(" + b"".join(value(key) + value(entry) for key, entry in entries.items()) + b"u."


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def pack(folder: Path, archive: Path) -> None:
    """``archive`` with ``folder`` inside, which is removed."""
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, arcname=folder.name)
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


def cifar_split(classes: int) -> tuple[Arrays, Arrays]:
    return random_split(5 * classes, classes), random_split(classes, classes, seed=1)


def cifar10_python(root: Path) -> Path:
    (images, labels), test = cifar_split(10)
    batches = [(images[10 * i : 10 * i + 10], labels[10 * i : 10 * i + 10]) for i in range(5)]
    files = {
        name: python2_pickle({"batch_label": name, "labels": y.tolist(), "data": x.reshape(len(x), -1)})
        for name, (x, y) in zip(
            [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"], [*batches, test], strict=True
        )
    }
    files["batches.meta"] = python2_pickle({"num_vis": 3072, "label_names": [f"c{i}" for i in range(10)]})
    return write_files(root / "cifar-10-batches-py", files)


def cifar10_binary(root: Path) -> Path:
    (images, labels), (test_images, test_labels) = cifar_split(10)

    def records(x: np.ndarray, y: np.ndarray) -> bytes:
        return b"".join(bytes([label]) + image.tobytes() for image, label in zip(x, y, strict=True))

    files = {f"data_batch_{i + 1}.bin": records(images[10 * i : 10 * i + 10], labels[:10]) for i in range(5)}
    files["test_batch.bin"] = records(test_images, test_labels)
    files["batches.meta.txt"] = "".join(f"c{i}\n" for i in range(10)).encode() + b"\n"
    return write_files(root / "cifar-10-batches-bin", files)


def cifar100_python(root: Path) -> Path:
    train, test = cifar_split(100)
    files = {
        name: python2_pickle({"coarse_labels": [0] * len(y), "fine_labels": y.tolist(), "data": x.reshape(len(x), -1)})
        for name, (x, y) in (("train", train), ("test", test))
    }
    names = {"fine_label_names": [f"c{i}" for i in range(100)], "coarse_label_names": ["all"]}
    return write_files(root / "cifar-100-python", files | {"meta": python2_pickle(names)})


def cifar100_binary(root: Path) -> Path:
    train, test = cifar_split(100)
    files = {
        name: b"".join(bytes([7, label]) + image.tobytes() for image, label in zip(x, y, strict=True))
        for name, (x, y) in (("train.bin", train), ("test.bin", test))
    }
    files["fine_label_names.txt"] = "".join(f"c{i}\n" for i in range(100)).encode()
    return write_files(root / "cifar-100-binary", files)


CIFAR = {
    "cifar10-python": ("cifar10", cifar10_python, "cifar-10-python.tar.gz"),
    "cifar10-binary": ("cifar10", cifar10_binary, "cifar-10-binary.tar.gz"),
    "cifar100-python": ("cifar100", cifar100_python, "cifar-100-python.tar.gz"),
    "cifar100-binary": ("cifar100", cifar100_binary, "cifar-100-binary.tar.gz"),
}


def idx_bytes(array: np.ndarray) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def idx_files(root: Path) -> Path:
    (images, labels), (test_images, test_labels) = (random_split(n, 4, (28, 28), seed=n) for n in (12, 8))
    files = {
        "train-images-idx3-ubyte": idx_bytes(images),
        "train-labels-idx1-ubyte": idx_bytes(labels),
        "t10k-images-idx3-ubyte.gz": gzip.compress(idx_bytes(test_images), mtime=0),
        "t10k-labels-idx1-ubyte.gz": gzip.compress(idx_bytes(test_labels), mtime=0),
    }
    return write_files(root, files)


def folder_images(root: Path) -> Path:
    """Two classes: red PNGs and blue images of other formats and sizes."""
    for split in ("train", "test"):
        for name in ("blue", "red"):
            (root / split / name).mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (32, 32), (250 - i, 0, 0)).save(root / split / "red" / f"{i}.png")
        Image.new("RGB", (64, 48), (0, 0, 200)).save(root / split / "blue" / "a.bmp")
        Image.new("RGB", (32, 32), (0, 0, 200)).save(root / split / "blue" / "b.JPG", quality=95)
        (root / split / "blue" / "notes.txt").write_text("not an image")
    return root
