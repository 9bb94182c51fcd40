"""Procedural textures: coloured 32x32 patterns whose class no single pixel tells.

A class is a spatial pattern (stripes, checks, dots, rings) painted along one colour axis. Phase, position,
contrast, polarity, background and noise are random, so the classes hardly differ in their mean image and a
linear classifier on pixels stays far below 50 %, while 3x3 filters tell them apart. Every pattern is closed
under horizontal flips. Pixels are computed in integers: a seed gives the same bytes on every machine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neurosim_ep.data.sources.base import Images, ImageSet, Labels, Size, Source

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


def _pattern(index: int, count: int, kept: int, rng: np.random.Generator) -> Field:
    """The first ``kept`` of ``count`` images (kept, 32, 32) of pattern ``index``, values in ±127."""
    _, wavelength, angle, combination = PATTERNS[index]
    row, column = np.mgrid[:SIZE, :SIZE].astype(np.int32)
    frequency = _TURN / (wavelength * rng.uniform(0.8, 1.2, count)[:kept])
    theta = np.radians(angle * rng.choice([-1, 1], count) + rng.uniform(-12, 12, count))[:kept]
    along, across = _per_image(frequency * np.cos(theta)), _per_image(frequency * np.sin(theta))
    first, second = (_per_image(rng.uniform(0, _TURN, count)[:kept]) for _ in range(2))
    if combination == "rings":
        centre_row, centre_column = (_per_image(rng.uniform(4, SIZE - 4, count)[:kept]) for _ in range(2))
        radius = np.sqrt((row - centre_row) ** 2 + (column - centre_column) ** 2)
        return _wave((frequency[:, None, None] * radius).astype(np.int32) + first)
    wave = _wave(along * column + across * row + first)
    if combination == "single":
        return wave
    crossing = _wave(along * row - across * column + second)
    if combination == "product":
        return wave * crossing // 127
    return np.clip(2 * np.minimum(wave, crossing) + 64, -127, 127)


def _render(pattern: int, palette: int, count: int, kept: int, rng: np.random.Generator) -> Images:
    """The first ``kept`` of ``count`` images (kept, 3, 32, 32) of one class; all are drawn from ``rng``."""
    shape = _pattern(pattern, count, kept, rng)
    polarity = rng.choice([-1, 1], count)
    contrast = _per_image(polarity * rng.uniform(50, 110, count))[:kept]
    painted = (shape * contrast // 127).astype(np.int16)
    background = rng.integers(96, 160, (count, 3, 1, 1), dtype=np.int16)[:kept]
    pixels = rng.integers(-32, 33, (count, 3, SIZE, SIZE), dtype=np.int16)[:kept]  # noise at first
    pixels += background
    for channel, sign in enumerate(PALETTES[palette][1]):
        pixels[:, channel] += sign * painted
    return np.clip(pixels, 0, 255, out=pixels).astype(np.uint8)


def _members(classes: int) -> list[tuple[int, int]]:
    """(pattern, palette) of each class: all 100 pairs, or the ten pairs of equal index."""
    if classes == 10:
        return [(index, index) for index in range(10)]
    return [(index // 10, index % 10) for index in range(100)]


def _draw(count: int, wanted: int, classes: int, rng: np.random.Generator) -> tuple[Images, Labels]:
    """Of ``count`` images, image i of class i mod ``classes``, as many of the first as hold ``wanted`` of them in equal
    parts of all classes (0, or more than there are: all), and their labels.
    """
    of_class = count // classes
    kept = min(-(-wanted // classes), of_class) if wanted else of_class
    images = np.empty((kept * classes, 3, SIZE, SIZE), np.uint8)
    for label, (pattern, palette) in enumerate(_members(classes)):
        images[label::classes] = _render(pattern, palette, of_class, kept, rng)
    return images, np.arange(kept * classes, dtype=np.int64) % classes


def load_textures(classes: int, seed: int, train_samples: int = 0, test_samples: int = 0) -> ImageSet:
    """10,000 training and 2,000 test images, drawn from disjoint random streams of ``seed``; or the first of them that
    hold the numbers of samples that are wanted, the same whatever the numbers.
    """
    train, test = (np.random.Generator(np.random.PCG64(s)) for s in np.random.SeedSequence(seed).spawn(2))
    train_images, train_labels = _draw(TRAIN_IMAGES, train_samples, classes, train)
    test_images, test_labels = _draw(TEST_IMAGES, test_samples, classes, test)
    return ImageSet(
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        class_names=[f"{PATTERNS[i][0]}, {PALETTES[j][0]}" for i, j in _members(classes)],
        source=f"textures: {classes} procedural classes of seed {seed}",
    )


class Textures(Source):
    """See :func:`load_textures`."""

    name = "textures"
    sentence = "procedural textures of 10 or 100 classes, made and not read"
    takes = ("classes",)
    fixed = True

    def read(self, seed: int) -> ImageSet:
        """The first of them that hold the samples that are wanted."""
        section = self.section
        return load_textures(section.classes, seed, section.train_samples, section.test_samples)

    @property
    def usual(self) -> Size:
        """See :attr:`Source.usual`."""
        return Size(self.section.classes, (3, SIZE, SIZE), TRAIN_IMAGES, TEST_IMAGES)
