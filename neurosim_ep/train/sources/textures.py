"""Procedural textures: coloured 32x32 patterns whose class no single pixel tells.

A class is a spatial pattern (stripes, checks, dots, rings) painted along one colour axis. Phase, position,
contrast, polarity, background and noise are random, so the classes hardly differ in their mean image and a
linear classifier on pixels stays far below 50 %, while 3x3 filters tell them apart. Every pattern is closed
under horizontal flips. Pixels are computed in integers: a seed gives the same bytes on every machine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neurosim_ep.train.sources.base import Images, ImageSet

SIZE = 32
TRAIN_IMAGES, TEST_IMAGES = 10_000, 2_000

Field = NDArray[np.int32]

# name, wavelength in pixels, angle of the wave vector in degrees (its sign is random), combination of waves
PATTERNS = (
    ("fine rows", 4.0, 90, "single"),
    ("fine columns", 4.0, 0, "single"),
    ("fine diagonals", 4.0, 45, "single"),
    ("broad rows", 10.0, 90, "single"),
    ("broad columns", 10.0, 0, "single"),
    ("broad diagonals", 10.0, 45, "single"),
    ("checks", 8.0, 0, "product"),
    ("diamonds", 8.0, 45, "product"),
    ("dots", 8.0, 0, "minimum"),
    ("rings", 7.0, 0, "rings"),
)
PALETTES = (
    ("red-green", (1, -1, 0)),
    ("green", (0, 1, 0)),
    ("blue-yellow", (1, 1, -1)),
    ("grey", (1, 1, 1)),
    ("red-blue", (1, 0, -1)),
    ("green-magenta", (-1, 1, -1)),
    ("red", (1, 0, 0)),
    ("green-blue", (0, 1, -1)),
    ("red-cyan", (1, -1, -1)),
    ("blue", (0, 0, 1)),
)

_TURN = 2**16  # phase of one wavelength
_SINE = np.rint(127 * np.sin(2 * np.pi * np.arange(256) / 256)).astype(np.int32)


def _wave(phase: Field) -> Field:
    """Sine of ``phase`` (65,536 per turn), steepened and clipped to ±127."""
    return np.clip(2 * _SINE[(phase >> 8) & 255], -127, 127)


def _per_image(values: NDArray[np.floating]) -> Field:
    """Rounded per-image values (n,) ready to broadcast over rows and columns."""
    return np.rint(values).astype(np.int32)[:, None, None]


def _pattern(index: int, count: int, rng: np.random.Generator) -> Field:
    """``count`` images (count, 32, 32) of pattern ``index``, values in ±127."""
    _, wavelength, angle, combination = PATTERNS[index]
    row, column = np.mgrid[:SIZE, :SIZE].astype(np.int32)
    frequency = _TURN / (wavelength * rng.uniform(0.8, 1.2, count))
    theta = np.radians(angle * rng.choice([-1, 1], count) + rng.uniform(-12, 12, count))
    along, across = _per_image(frequency * np.cos(theta)), _per_image(frequency * np.sin(theta))
    first, second = (_per_image(rng.uniform(0, _TURN, count)) for _ in range(2))
    if combination == "rings":
        centre_row, centre_column = (_per_image(rng.uniform(4, SIZE - 4, count)) for _ in range(2))
        radius = np.sqrt((row - centre_row) ** 2 + (column - centre_column) ** 2)
        return _wave((frequency[:, None, None] * radius).astype(np.int32) + first)
    wave = _wave(along * column + across * row + first)
    if combination == "single":
        return wave
    crossing = _wave(along * row - across * column + second)
    if combination == "product":
        return wave * crossing // 127
    return np.clip(2 * np.minimum(wave, crossing) + 64, -127, 127)


def _render(pattern: int, palette: int, count: int, rng: np.random.Generator) -> Images:
    """``count`` images (count, 3, 32, 32) of one class."""
    shape = _pattern(pattern, count, rng)
    polarity = rng.choice([-1, 1], count)
    contrast = _per_image(polarity * rng.uniform(50, 110, count))
    painted = shape * contrast // 127
    axis = np.array(PALETTES[palette][1], np.int16)[:, None, None]
    background = rng.integers(96, 160, (count, 3, 1, 1), dtype=np.int16)
    noise = rng.integers(-32, 33, (count, 3, SIZE, SIZE), dtype=np.int16)
    return np.clip(axis * painted.astype(np.int16)[:, None] + background + noise, 0, 255).astype(np.uint8)


def _members(classes: int) -> list[tuple[int, int]]:
    """(pattern, palette) of each class: all 100 pairs, or the ten pairs of equal index."""
    if classes == 10:
        return [(index, index) for index in range(10)]
    return [(index // 10, index % 10) for index in range(100)]


def _draw(count: int, classes: int, rng: np.random.Generator) -> Images:
    """``count`` images, image i of class i mod ``classes``."""
    images = np.empty((count, 3, SIZE, SIZE), np.uint8)
    for label, (pattern, palette) in enumerate(_members(classes)):
        images[label::classes] = _render(pattern, palette, count // classes, rng)
    return images


def load_textures(classes: int, seed: int) -> ImageSet:
    """10,000 training and 2,000 test images, drawn from disjoint random streams of ``seed``."""
    train, test = (np.random.Generator(np.random.PCG64(s)) for s in np.random.SeedSequence(seed).spawn(2))
    return ImageSet(
        train_images=_draw(TRAIN_IMAGES, classes, train),
        train_labels=np.arange(TRAIN_IMAGES, dtype=np.int64) % classes,
        test_images=_draw(TEST_IMAGES, classes, test),
        test_labels=np.arange(TEST_IMAGES, dtype=np.int64) % classes,
        class_names=[f"{PATTERNS[i][0]}, {PALETTES[j][0]}" for i, j in _members(classes)],
        source=f"textures: {classes} procedural classes of seed {seed}",
    )
