"""What every image source is and delivers, and where it looks for its files."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurosim_ep import resources
from neurosim_ep.errors import DataError

if TYPE_CHECKING:
    from neurosim_ep.scenario.schema import DataSection

ROOT_VARIABLE = "NEUROSIM_EP_DATA"

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class ImageSet:
    """All images of a source: images (N, C, H, W) uint8, labels (N,) int64 in [0, len(class_names))."""

    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels
    class_names: list[str]
    source: str


class Size(NamedTuple):
    """Classes, (C, H, W) of an image, and numbers of training and test images of a data set."""

    classes: int
    shape: tuple[int, int, int]
    train: int
    test: int


class Download(NamedTuple):
    """The official archive of a data set: its makers' page, its address there, its size in bytes and its SHA-256."""

    page: str
    address: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        return self.address.rpartition("/")[2]


class Source(ABC):
    """Images of one kind, as ``section`` asks for them; a class in a file of its own.

    ``name``: value of ``data.kind``; ``sentence``: what the images are. ``takes``: those of the keys ``root``,
    ``classes`` and ``image_size`` that it reads. ``fixed``: whether every data set of this kind has the classes and the
    shape of the :attr:`usual` one. ``download``: the archive that `neurosim-ep data` fetches for it.
    """

    name: ClassVar[str]
    sentence: ClassVar[str]
    takes: ClassVar[tuple[str, ...]] = ("root",)
    fixed: ClassVar[bool] = False
    download: ClassVar[Download | None] = None

    def __init__(self, section: DataSection) -> None:
        self.section = section

    @abstractmethod
    def read(self, seed: int) -> ImageSet:
        """All images; ``seed`` is for those that are made. Raises DataError for missing or malformed files."""

    @property
    def usual(self) -> Size:
        """Size of the data set that one thinks of: random images stand in for it where files are missing."""
        return Size(10, (3, self.section.image_size, self.section.image_size), 50_000, 10_000)


def data_root(root: str, kind: str, wanted: str) -> Path:
    """Directory (or archive) that ``data.root`` names, else the environment variable NEUROSIM_EP_DATA.

    ``wanted`` says what ``kind`` looks for there and how to get it. Raises DataError when neither names an
    existing path.
    """
    given = root or os.environ.get(ROOT_VARIABLE, "")
    if not given:
        raise DataError(
            f'data.root is empty and {ROOT_VARIABLE} is not set: data.kind = "{kind}" needs files; '
            f"set one of them to the place of {wanted}"
        )
    path = resources.at_home(given)
    if not path.exists():
        key, remedy = (ROOT_VARIABLE, "") if not root else ("data.root", "; --set data.root=DIR names another place")
        raise DataError(f"{key} = {given}: no such file or directory; it must hold {wanted}{remedy}")
    return path


def check_labels(labels: Labels, classes: int, source: str) -> None:
    """Raises DataError unless every label of ``source`` lies in [0, classes)."""
    outside = (labels < 0) | (labels >= classes)
    if outside.any():
        raise DataError(
            f"{source}: label {labels[outside][0]} is not a class; labels must lie in 0..{classes - 1}; "
            "the file is damaged or of another data set: fetch it again"
        )
