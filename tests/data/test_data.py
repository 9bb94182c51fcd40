"""Data: subsets, normalisation, augmentation and the procedural textures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from data_files import folder_images, idx_files, load

from neurosim_ep.data.dataset import Data, channel_statistics, load_data, prepare
from neurosim_ep.data.sources.textures import PATTERNS, load_textures
from neurosim_ep.data.views import count_views, draw_views, show
from neurosim_ep.errors import DataError
from neurosim_ep.scenario.schema import DataSection


@pytest.fixture(scope="module")
def textures() -> Data:
    return load("textures")


def test_more_samples_than_there_are_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.train_samples = 13: only 12 images exist"):
        load("idx", idx_files(tmp_path), train_samples=13)
    with pytest.raises(DataError, match=r"data\.test_samples = 2001: only 2000 images exist"):
        load("textures", test_samples=2001)


def test_subset_is_balanced_and_takes_the_first_of_each_class(textures: Data) -> None:
    part = load("textures", train_samples=25, test_samples=10)
    assert part.train_labels.bincount().tolist() == [3] * 5 + [2] * 5
    assert torch.equal(part.train_images, textures.train_images[:25])
    assert part.digest != textures.digest


def test_subset_of_sorted_unequal_classes(tmp_path: Path) -> None:
    data = load("folder", folder_images(tmp_path), train_samples=4)
    assert data.train_labels.tolist() == [0, 0, 1, 1]
    assert (data.train_images[2:, 0, 0, 0] == torch.tensor([250, 249])).all()


def test_statistics_are_those_of_the_training_images_used() -> None:
    data = load("textures", train_samples=1500)
    pixels = data.train_images.double() / 255
    assert torch.allclose(data.mean.double(), pixels.mean(dim=(0, 2, 3)))
    assert torch.allclose(data.std.double(), pixels.std(dim=(0, 2, 3), correction=0))
    batch = prepare(data.train_images, data.mean, data.std)
    assert batch.dtype == torch.float32
    assert batch.mean().abs() < 1e-5 and (batch.square().mean() - 1).abs() < 1e-5


def test_constant_channel_normalises_to_zero() -> None:
    images = torch.full((4, 1, 8, 8), 51, dtype=torch.uint8)
    assert (prepare(images, *channel_statistics(images)).abs() < 1e-4).all()


def numbered_images(count: int) -> torch.Tensor:
    """Images (count, 2, 6, 7) whose pixels all differ."""
    return torch.arange(count * 2 * 6 * 7).remainder(251).add(1).to(torch.uint8).view(count, 2, 6, 7)


def augmented(images: torch.Tensor, mode: str, random: torch.Generator) -> torch.Tensor:
    """``images`` in views drawn as training draws them."""
    section = DataSection(augment=mode)  # type: ignore[arg-type]
    return show(images, draw_views(section, len(images), random), section)


def test_crop_and_flip_equal_a_loop_over_images() -> None:
    images = numbered_images(64)
    found = augmented(images, "crop_flip", torch.Generator().manual_seed(3))
    seen = set()
    for image, result in zip(images, found, strict=True):
        padded = torch.nn.functional.pad(image, (4, 4, 4, 4))
        windows = {
            (top, left, flip): window.flip(-1) if flip else window
            for top in range(9)
            for left in range(9)
            for window in [padded[:, top : top + 6, left : left + 7]]
            for flip in (False, True)
        }
        matches = [key for key, window in windows.items() if torch.equal(window, result)]
        assert matches
        seen.add(matches[0])
    assert len(seen) > 40 and {flip for _, _, flip in seen} == {False, True}


def test_flip_only_keeps_or_mirrors() -> None:
    images = numbered_images(40)
    found = augmented(images, "flip", torch.Generator().manual_seed(0))
    mirrored = [torch.equal(result, image.flip(-1)) for image, result in zip(images, found, strict=True)]
    kept = [torch.equal(result, image) for image, result in zip(images, found, strict=True)]
    assert all(a != b for a, b in zip(mirrored, kept, strict=True)) and 8 < sum(kept) < 32


def test_augmentation_follows_its_generator_and_none_draws_nothing() -> None:
    images = numbered_images(8)
    first, second = (augmented(images, "crop_flip", torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second) and first.dtype == torch.uint8 and first.is_contiguous()
    generator = torch.Generator().manual_seed(5)
    before = generator.get_state()
    assert augmented(images, "none", generator) is images
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize(("mode", "step", "views"), [("none", 1, 1), ("flip", 1, 2), ("crop_flip", 2, 50)])
def test_views_are_numbered_and_all_drawn(mode: str, step: int, views: int) -> None:
    section = DataSection(augment=mode, crop_step=step)  # type: ignore[arg-type]
    assert count_views(section) == views
    drawn = draw_views(section, 4000, torch.Generator().manual_seed(1))
    assert drawn.unique().tolist() == list(range(views))
    images = numbered_images(1).expand(views, -1, -1, -1)
    assert len(show(images, torch.arange(views), section).unique(dim=0)) == views


def test_textures_are_balanced_and_follow_the_seed(textures: Data) -> None:
    assert textures.train_images.shape == (10_000, 3, 32, 32)
    assert textures.test_images.shape == (2_000, 3, 32, 32)
    assert textures.train_labels.bincount().tolist() == [1000] * 10
    assert load("textures").digest == textures.digest
    assert load_data(DataSection(), seed=1).digest != textures.digest
    hundred = load("textures", classes=100)
    assert hundred.train_labels.bincount().tolist() == [100] * 100
    assert len(set(hundred.class_names)) == 100


def test_textures_are_the_same_bytes_on_every_machine(textures: Data) -> None:
    assert textures.digest == "6087e3887f7a42d08c9a904352768bfd61f11e581c1fa1ae6e5ac52a9ea5722f"


def test_train_and_test_textures_differ(textures: Data) -> None:
    train, test = (
        {image.numpy().tobytes() for image in images} for images in (textures.train_images, textures.test_images)
    )
    assert len(train) == 10_000 and len(test) == 2_000 and not train & test


def accuracy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    return float((logits.argmax(1) == labels).float().mean())


def test_linear_classifier_on_texture_pixels_stays_under_half(textures: Data) -> None:
    """L-BFGS at the weight decay that generalises best; 10,000 images instead of 2,500 give 0.39 to 0.42."""
    train, test = (
        prepare(images, textures.mean, textures.std).flatten(1)
        for images in (textures.train_images[:2500], textures.test_images)
    )
    weight = torch.zeros(10, train.shape[1], requires_grad=True)
    optimiser = torch.optim.LBFGS([weight], max_iter=25, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(train @ weight.T, textures.train_labels[:2500])
        loss = loss + weight.square().sum() / 2
        loss.backward()
        return loss

    optimiser.step(closure)
    assert 0.2 < accuracy(test @ weight.T, textures.test_labels) < 0.45


def test_small_convolutional_net_tells_textures_apart(textures: Data) -> None:
    """One pass over 1,500 augmented images."""
    torch.manual_seed(0)
    layers = torch.nn
    net = layers.Sequential(
        layers.Conv2d(3, 16, 3, padding=1), layers.MaxPool2d(2), layers.ReLU(),
        layers.Conv2d(16, 32, 3, padding=1), layers.MaxPool2d(2), layers.ReLU(),
        layers.Flatten(), layers.Linear(2048, 10),
    )  # fmt: skip
    optimiser = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    generator = torch.Generator().manual_seed(0)
    for index in torch.arange(1500).split(30):
        images = augmented(textures.train_images[index], "crop_flip", generator)
        loss = torch.nn.functional.cross_entropy(
            net(prepare(images, textures.mean, textures.std)), textures.train_labels[index]
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        logits = net(prepare(textures.test_images[:1000], textures.mean, textures.std))
    assert accuracy(logits, textures.test_labels[:1000]) > 0.8


def test_texture_classes_keep_their_meaning_when_mirrored() -> None:
    """Mirrored images of a class have its mean spectrum, so flips are fair augmentation."""
    data = load_textures(10, seed=0)
    for label, (name, *_) in enumerate(PATTERNS):
        images = data.train_images[data.train_labels == label][:300].astype(float)
        spectra = [
            np.abs(np.fft.fft2(x - x.mean(axis=(2, 3), keepdims=True))).mean(axis=(0, 1))
            for x in (images, images[..., ::-1])
        ]
        assert np.abs(spectra[0] - spectra[1]).sum() < 0.1 * spectra[0].sum(), name
