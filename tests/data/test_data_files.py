"""Image files: each official format is read exactly, and broken files are refused with one clear message."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from bad_data import BROKEN_CIFAR, BROKEN_IDX, broken_cifar, broken_idx, shorten
from data_files import (
    CIFAR,
    cifar10_binary,
    cifar10_python,
    cifar_split,
    folder_images,
    idx_files,
    load,
    pack,
    random_split,
)

from neurosim_ep.errors import DataError


@pytest.mark.parametrize("packed", [False, True], ids=["unpacked", "packed"])
@pytest.mark.parametrize("archive", CIFAR)
def test_cifar_archives_give_their_images(tmp_path: Path, archive: str, packed: bool) -> None:
    kind, write, packed_name = CIFAR[archive]
    folder = write(tmp_path)
    if packed:
        pack(folder, tmp_path / packed_name)
    data = load(kind, tmp_path)
    train, test = cifar_split(data.num_classes)
    for found, expected in zip(
        (data.train_images, data.train_labels, data.test_images, data.test_labels),
        (*train, *test),
        strict=True,
    ):
        assert np.array_equal(found.numpy(), expected)
    assert data.class_names == [f"c{i}" for i in range(data.num_classes)]
    assert data.train_images.dtype == torch.uint8 and data.train_labels.dtype == torch.int64
    assert data.image_shape == (3, 32, 32)


def test_cifar_root_may_be_the_folder_or_the_archive(tmp_path: Path) -> None:
    folder = cifar10_python(tmp_path)
    digest = load("cifar10", tmp_path).digest
    assert load("cifar10", folder).digest == digest
    pack(folder, tmp_path / "cifar-10-python.tar.gz")
    assert load("cifar10", tmp_path / "cifar-10-python.tar.gz").digest == digest


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_cifar_pickled_again_by_python_3_is_the_same(tmp_path: Path, protocol: int) -> None:
    folder = cifar10_python(tmp_path)
    digest = load("cifar10", folder).digest
    _, (images, labels) = cifar_split(10)
    for batch in (
        {"data": images.reshape(10, -1), "labels": labels.tolist()},
        {b"data": images.reshape(10, -1), b"labels": labels.tolist()},
    ):
        (folder / "test_batch").write_bytes(pickle.dumps(batch, protocol=protocol))
        assert load("cifar10", folder).digest == digest


def test_idx_files_give_one_channel_images(tmp_path: Path) -> None:
    data = load("idx", idx_files(tmp_path))
    images, labels = random_split(8, 4, (28, 28), seed=8)
    assert data.image_shape == (1, 28, 28) and len(data.train_images) == 12
    assert np.array_equal(data.test_images.numpy()[:, 0], images)
    assert np.array_equal(data.test_labels.numpy(), labels)
    assert data.class_names == ["0", "1", "2", "3"]


def test_folder_images_are_sorted_converted_and_resized(tmp_path: Path) -> None:
    data = load("folder", folder_images(tmp_path), image_size=16, normalise=False)
    assert data.class_names == ["blue", "red"]
    assert data.train_labels.tolist() == [0, 0, 1, 1, 1]
    assert data.image_shape == (3, 16, 16)
    assert data.train_images[:, 0, 5, 5].tolist()[2:] == [250, 249, 248]
    assert (data.train_images[0, 2] == 200).all()
    assert data.mean.tolist() == [0, 0, 0] and data.std.tolist() == [1, 1, 1]


def test_root_falls_back_to_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEUROSIM_EP_DATA", str(idx_files(tmp_path)))
    assert load("idx").num_classes == 4


@pytest.mark.whole
def test_real_cifar10_folder() -> None:
    root = Path(os.environ.get("NEUROSIM_EP_DATA", "no data"))
    if not (root / "train" / "airplane").is_dir():
        pytest.skip("NEUROSIM_EP_DATA does not name CIFAR-10 as train/<class>/ and test/<class>/ images")
    data = load("folder", root)
    assert data.train_labels.bincount().tolist() == [5000] * 10
    assert data.test_labels.bincount().tolist() == [1000] * 10
    # Published channel means and deviations of the CIFAR-10 training images.
    assert torch.allclose(data.mean, torch.tensor([0.4914, 0.4822, 0.4465]), atol=1e-3)
    assert torch.allclose(data.std, torch.tensor([0.2470, 0.2435, 0.2616]), atol=2.5e-3)


@pytest.mark.parametrize(("case", "said"), BROKEN_CIFAR.items())
def test_broken_cifar_python_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    broken_cifar(case, tmp_path)
    with pytest.raises(DataError, match=said) as caught:
        load("cifar10", tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "fetch" in str(caught.value)
    assert not (tmp_path / "pwned").exists()


def test_binary_batch_cut_short_is_refused(tmp_path: Path) -> None:
    folder = cifar10_binary(tmp_path)
    shorten(folder / "data_batch_2.bin", 3073 + 17)
    with pytest.raises(DataError, match=r"data_batch_2\.bin: 3090 bytes are not records of 3073 bytes"):
        load("cifar10", tmp_path)


@pytest.mark.parametrize(("name", "content", "said"), BROKEN_IDX)
def test_broken_idx_files_are_refused(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    broken_idx(tmp_path, name, content)
    with pytest.raises(DataError, match=said):
        load("idx", tmp_path)


def test_broken_image_folders_are_refused(tmp_path: Path) -> None:
    folder_images(tmp_path)
    corrupt = tmp_path / "train" / "blue" / "b.JPG"
    shorten(corrupt, corrupt.stat().st_size // 2)
    with pytest.raises(DataError, match=r"b\.JPG: not a readable image"):
        load("folder", tmp_path)
    corrupt.write_text("no image at all")
    with pytest.raises(DataError, match=r"b\.JPG: not a readable image"):
        load("folder", tmp_path)
    corrupt.unlink()
    (tmp_path / "train" / "green").mkdir()
    with pytest.raises(DataError, match="only one of them has green"):
        load("folder", tmp_path)
    (tmp_path / "test" / "green").mkdir()
    with pytest.raises(DataError, match="green: no images in this class folder"):
        load("folder", tmp_path)
    with pytest.raises(DataError, match=r"train/train: no such folder; data\.root must hold one folder per"):
        load("folder", tmp_path / "train")


@pytest.mark.parametrize("kind", ["cifar10", "cifar100", "idx", "folder"])
def test_missing_data_says_what_where_and_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.delenv("NEUROSIM_EP_DATA", raising=False)
    with pytest.raises(DataError, match=r"data\.root is empty and NEUROSIM_EP_DATA is not set"):
        load(kind)
    with pytest.raises(DataError, match=r"data\.root = .*nowhere: no such file or directory; it must hold"):
        load(kind, tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"looked for cifar|must hold") as caught:
        load(kind, tmp_path)
    assert str(tmp_path) in str(caught.value)
