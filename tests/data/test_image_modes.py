"""Images of all modes show what their format means, or are refused; what is hidden is no class; labels are as given."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_files import folder_images, idx_bytes, idx_files, load
from PIL import Image

from neurosim_ep.data.sources.image_folder import _coloured
from neurosim_ep.errors import DataError

SIZE = 16


def stripes(count: int, horizontal: bool, seed: int) -> np.ndarray:
    """``count`` images (SIZE, SIZE) of stripes with noise, between 0 and 1."""
    random = np.random.default_rng(seed)
    phase = random.integers(0, 4, (count, 1, 1))
    wave = ((np.arange(SIZE) + phase) // 2 % 2) * np.ones((1, SIZE, 1))
    clean = wave.transpose(0, 2, 1) if horizontal else wave
    return np.clip(0.15 + 0.6 * clean + 0.08 * random.standard_normal(clean.shape), 0, 1)


def write_stripes(root: Path, deep: bool) -> Path:
    """Two classes of PNG images in 8 or in 16 bits, the same but for rounding."""
    for split, count in (("train", 20), ("test", 10)):
        for horizontal in (False, True):
            folder = root / split / ("horizontal" if horizontal else "vertical")
            folder.mkdir(parents=True)
            for number, image in enumerate(stripes(count, horizontal, seed=2 * (split == "train") + horizontal)):
                values = np.rint(image * (65535 if deep else 255)).astype(np.uint16 if deep else np.uint8)
                Image.fromarray(values).save(folder / f"{number:03d}.png")
    return root


def test_images_of_16_bits_are_those_of_8_bits(tmp_path: Path) -> None:
    deep, plain = (load("folder", write_stripes(tmp_path / str(d), d), image_size=SIZE) for d in (True, False))
    for one, other in ((deep.train_images, plain.train_images), (deep.test_images, plain.test_images)):
        assert int((one.int() - other.int()).abs().max()) <= 1
        assert float((one != other).float().mean()) < 0.01
        assert len(one.unique()) > 100


def test_training_on_16_bits_is_as_good_as_on_8_bits(tmp_path: Path) -> None:
    from neurosim_ep.scenario.load import load_scenario
    from neurosim_ep.train.run import run

    sets = (
        "data.kind=folder", "data.image_size=16", "data.augment=none", "data.train_samples=0", "data.test_samples=0",
        'network.layers=[{kind="conv", size=4, pool="max"}, {kind="linear", size=16}]', "signals.layers=[0]",
        "training.batch_size=4", "training.epochs=2", "telemetry.plots=false",
        "telemetry.report=false", "telemetry.traffic_every=0",
    )  # fmt: skip
    reached = []
    for deep in (True, False):
        root = write_stripes(tmp_path / str(deep), deep)
        scenario = load_scenario("smoke", (*sets, f"data.root={root}"))
        reached.append(run(scenario, tmp_path / f"run{deep}", device="cpu").metrics["test_accuracy"])
    assert reached[0] == reached[1] == 1.0


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def grey_png(path: Path, bits: int, values: np.ndarray, *extra: bytes) -> None:
    """A grey PNG of 16, 8, 4, 2 or 1 bits, written from its definition; ``extra`` chunks before the pixels."""
    rows = values.astype(">u2").tobytes() if bits == 16 else None
    lines = []
    for number, row in enumerate(values):
        if rows is not None:
            lines.append(b"\0" + rows[number * 2 * len(row) : (number + 1) * 2 * len(row)])
        else:
            spread = [[(int(value) >> bit) & 1 for bit in range(bits - 1, -1, -1)] for value in row]
            lines.append(b"\0" + np.packbits(np.array(spread).reshape(-1)).tobytes())
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, 0, 0, 0, 0)
    chunks = (chunk(b"IHDR", header), *extra, chunk(b"IDAT", zlib.compress(b"".join(lines))), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def with_image(root: Path, name: str, write: Callable[[Path], None]) -> Path:
    """The images of ``folder_images`` with the class red replaced by the image that ``write`` makes."""
    folder_images(root)
    for split in ("train", "test"):
        for old in (root / split / "red").iterdir():
            old.unlink()
        write(root / split / "red" / name)
    return root


def shown(root: Path, size: int = 8) -> np.ndarray:
    """The image (size, size, 3) of the class red."""
    data = load("folder", root, image_size=size)
    return data.train_images[data.train_labels == 1][0].numpy().transpose(1, 2, 0)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_grey_of_any_depth_uses_its_whole_range(tmp_path: Path, bits: int) -> None:
    top = 2**bits - 1
    values = np.linspace(0, top, 64).round().reshape(8, 8)
    root = with_image(tmp_path, "grey.png", lambda path: grey_png(path, bits, values))
    np.testing.assert_allclose(shown(root), np.repeat(values[..., None] / top * 255, 3, 2), atol=0.51)


RAMP = np.linspace(0, 255, 64).round().astype(np.uint8).reshape(8, 8)
OPAQUE = np.full((8, 8), 255, np.uint8)
BLUE_TO_RED = np.stack([RAMP, RAMP // 2, 255 - RAMP], 2)


def layered(*layers: np.ndarray) -> Image.Image:
    """An image of grey or colours and how opaque they are, each (H, W)."""
    mode = "LA" if len(layers) == 2 else "RGBA"
    return Image.merge(mode, [Image.fromarray(np.ascontiguousarray(layer)) for layer in layers])


def palette(transparent: bool) -> Image.Image:
    image = Image.fromarray(BLUE_TO_RED).quantize(64)
    image.info["transparency"] = bytes([255] * 63 + [0 if transparent else 255])
    return image


SEEN: dict[str, tuple[str, Image.Image, np.ndarray, float]] = {
    "grey with alpha": ("a.png", layered(RAMP, OPAQUE), np.stack([RAMP] * 3, 2), 0),
    "colour with alpha": ("a.png", layered(*BLUE_TO_RED.transpose(2, 0, 1), OPAQUE), BLUE_TO_RED, 0),
    "palette": ("a.png", Image.fromarray(BLUE_TO_RED).quantize(64), BLUE_TO_RED, 4),
    "opaque palette": ("a.png", palette(transparent=False), BLUE_TO_RED, 4),
    "black and white": ("a.bmp", Image.fromarray(RAMP > 127), np.stack([(RAMP > 127) * 255] * 3, 2), 0),
    "ink": ("a.jpg", Image.new("CMYK", (8, 8), (255, 0, 0, 51)), np.full((8, 8, 3), (0, 204, 204)), 2),
}  # fmt: skip


@pytest.mark.parametrize("case", SEEN)
def test_every_mode_shows_its_colours(tmp_path: Path, case: str) -> None:
    name, image, wanted, tolerance = SEEN[case]
    root = with_image(
        tmp_path, name, lambda path: image.save(path, quality=98) if name == "a.jpg" else image.save(path)
    )
    np.testing.assert_allclose(shown(root), wanted, atol=tolerance)


def half_transparent(path: Path) -> None:
    clear = OPAQUE.copy()
    clear[0, 0] = 254
    layered(RAMP, clear).save(path)


HOLES: dict[str, Callable[[Path], None]] = {
    "alpha": half_transparent,
    "palette": lambda path: palette(transparent=True).save(path),
    "grey of 8 bits": lambda path: grey_png(path, 8, RAMP, chunk(b"tRNS", struct.pack(">H", int(RAMP[3, 3])))),
    "grey of 16 bits": lambda path: grey_png(path, 16, RAMP * 256.0, chunk(b"tRNS", struct.pack(">H", 256 * 255))),
}


@pytest.mark.parametrize("case", HOLES)
def test_transparent_pixels_are_refused(tmp_path: Path, case: str) -> None:
    with pytest.raises(DataError, match=r"a\.png: has transparent pixels"):
        shown(with_image(tmp_path, "a.png", HOLES[case]))


def test_a_mode_without_a_known_range_is_refused() -> None:
    with pytest.raises(DataError, match=r"a\.png: is an image of mode F, whose range is unknown"):
        _coloured(Image.new("F", (2, 2)), Path("a.png"))


@pytest.mark.parametrize(("orientation", "turn"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_photographs_are_upright(tmp_path: Path, orientation: int, turn: int) -> None:
    """Orientation 6: the camera was turned, and the picture has to be turned by a quarter clockwise."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.kron(np.array([[0, 80], [160, 240]], np.uint8), np.ones((8, 8), np.uint8)))
    root = with_image(tmp_path, "a.jpg", lambda path: image.save(path, quality=98, exif=exif))
    np.testing.assert_allclose(shown(root, 16)[..., 0], np.rot90(np.asarray(image), turn), atol=3)


def test_files_of_other_formats_are_refused(tmp_path: Path) -> None:
    root = with_image(tmp_path, "a.png", lambda path: Image.fromarray(RAMP).save(path, format="GIF"))
    with pytest.raises(DataError, match=r"a\.png: not a readable image"):
        load("folder", root)


def test_hidden_folders_and_files_are_no_classes_and_no_images(tmp_path: Path) -> None:
    folder_images(tmp_path)
    plain = load("folder", tmp_path)
    for split in ("train", "test"):
        hidden = tmp_path / split / ".ipynb_checkpoints"
        hidden.mkdir()
        Image.new("RGB", (8, 8)).save(hidden / "0-checkpoint.png")
        (tmp_path / split / "red" / "._0.png").write_bytes(b"resource fork")
        (tmp_path / split / "red" / "folder.png").mkdir()
    found = load("folder", tmp_path)
    assert found.class_names == plain.class_names == ["blue", "red"] and found.digest == plain.digest


def test_classes_of_idx_files_are_the_labels_that_occur(tmp_path: Path) -> None:
    """As of letters, 1 to 26, or of a choice of digits."""
    root = idx_files(tmp_path)
    first = load("idx", root)
    labels = np.array([1, 4, 7, 9] * 3)
    (root / "train-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    (root / "t10k-labels-idx1-ubyte.gz").unlink()
    (root / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(labels[:8]))
    found = load("idx", root)
    assert found.class_names == ["1", "4", "7", "9"] and found.num_classes == 4
    assert found.train_labels.tolist() == [0, 1, 2, 3] * 3 and found.digest == first.digest
    assert "4 classes, labels 1 to 9" in found.source
