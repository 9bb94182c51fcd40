"""Images in one folder per class: ``root/train/<class>/*.png`` and ``root/test/<class>/*.png``."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from neurosim_ep.data.sources.base import Images, ImageSet, Labels, Source, data_root
from neurosim_ep.errors import DataError

WANTED = "one folder per class with png, jpg, jpeg or bmp images: train/<class>/... and test/<class>/..."
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp"}
FORMATS = ("PNG", "JPEG", "BMP")
COLOURS = {"1", "L", "P", "RGB", "CMYK", "I", "I;16", "I;16B", "LA", "PA", "RGBA", "RGBX"}
"""Modes of images whose values have a known range: 0 to 65535 for I, which only images of 16 bits have, else to 255."""


class Folder(Source):
    """A folder of images per class."""

    name = "folder"
    sentence = "a folder of images per class"
    takes = ("root", "image_size")

    def read(self, seed: int) -> ImageSet:
        """All images below the root, upright, converted to RGB and resized to ``image_size`` where they differ.

        Classes are the sorted folder names of ``train``; ``test`` must have the same. What is hidden, its name starting
        with a dot, is left alone. Raises DataError for missing folders, classes without images, files that are no
        images and images of which not all can be seen.
        """
        path, image_size = data_root(self.section.root, self.name, WANTED), self.section.image_size
        class_names = _class_names(path / "train")
        if (test_names := _class_names(path / "test")) != class_names:
            differing = sorted(set(class_names) ^ set(test_names))
            raise DataError(
                f"{path}: train and test need the same class folders; only one of them has {', '.join(differing)}"
            )
        train_images, train_labels = _read_split(path / "train", class_names, image_size)
        test_images, test_labels = _read_split(path / "test", class_names, image_size)
        source = f"folder: {path}, {len(class_names)} classes, {image_size}x{image_size} RGB"
        return ImageSet(train_images, train_labels, test_images, test_labels, class_names, source)


def _class_names(split: Path) -> list[str]:
    if not split.is_dir():
        raise DataError(f"{split}: no such folder; data.root must hold {WANTED}")
    names = sorted(entry.name for entry in split.iterdir() if entry.is_dir() and not _hidden(entry))
    if len(names) < 2:
        raise DataError(f"{split}: found {len(names)} class folders, at least 2 are needed: {WANTED}")
    return names


def _hidden(path: Path) -> bool:
    return path.name.startswith(".")


def _read_split(split: Path, class_names: list[str], image_size: int) -> tuple[Images, Labels]:
    """Images (N, 3, image_size, image_size) and labels (N,), by class, then by file name."""
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(class_names):
        found = sorted(
            entry
            for entry in (split / name).iterdir()
            if entry.suffix.lower() in SUFFIXES and entry.is_file() and not _hidden(entry)
        )
        if not found:
            raise DataError(f"{split / name}: no images in this class folder; it must hold png, jpg, jpeg or bmp")
        files += found
        labels += [label] * len(found)
    images = np.empty((len(files), 3, image_size, image_size), np.uint8)
    for index, file in enumerate(files):
        images[index] = _read_image(file, image_size)
    return images, np.array(labels, np.int64)


def _read_image(path: Path, image_size: int) -> Images:
    """One image (3, image_size, image_size)."""
    try:
        with Image.open(path, formats=FORMATS) as opened:
            image = ImageOps.exif_transpose(opened)
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: not a readable image ({error}); restore or remove this file") from error
    image = _coloured(image, path)
    if image.size != (image_size, image_size):
        image = image.resize((image_size, image_size), Image.Resampling.BILINEAR)
    return np.asarray(image).transpose(2, 0, 1)


def _coloured(image: Image.Image, path: Path) -> Image.Image:
    """``image`` in RGB, its format's whole range as 0 to 255."""
    if image.mode not in COLOURS:
        raise DataError(f"{path}: is an image of mode {image.mode}, whose range is unknown; convert it to RGB")
    if image.mode.startswith("I"):
        values, clear = np.asarray(image), image.info.get("transparency")
        opaque = clear is None or not bool((values == clear).any())
        image = Image.fromarray(np.rint(values / 257).clip(0, 255).astype(np.uint8))
    elif opaque := "A" not in image.mode and "transparency" not in image.info:
        return image.convert("RGB")
    else:
        image = image.convert("RGBA")
        opaque = bool((np.asarray(image)[..., 3] == 255).all())
    if not opaque:
        raise DataError(
            f"{path}: has transparent pixels, behind which nothing is known; lay the image over a background, and save "
            "it without transparency"
        )
    return image.convert("RGB")
