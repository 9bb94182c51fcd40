"""What every image source delivers, and where it looks for its files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neurosim_ep.errors import DataError

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
    path = Path(given).expanduser()
    if not path.exists():
        key = "data.root" if root else ROOT_VARIABLE
        raise DataError(f"{key} = {given}: no such file or directory; it must hold {wanted}")
    return path


def check_labels(labels: Labels, classes: int, source: str) -> None:
    """Raises DataError unless every label of ``source`` lies in [0, classes)."""
    outside = (labels < 0) | (labels >= classes)
    if outside.any():
        raise DataError(
            f"{source}: label {labels[outside][0]} is not a class; labels must lie in 0..{classes - 1}; "
            "the file is damaged or of another data set: fetch it again"
        )
