"""The convolutional network of arXiv 2508.11659 (FRE-RNN) on files of MNIST's format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_files import idx_bytes, write_files

from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.train.run import run

NAME = "fre_rnn/mnist_conv"


def test_settings_are_the_published_ones() -> None:
    """Section 4 and Table 1 there, and the code published with it: CNN_EP_MNIST.ipynb."""
    scenario = load_scenario(NAME)
    phases, training = scenario.relaxation, scenario.training
    assert (phases.free_steps, phases.nudge_steps, phases.feedback, phases.beta) == (20, 10, 0.01, 0.1)
    assert (phases.nudging, phases.displacement_gain) == ("one_sided_plus", None)
    assert (training.epochs, training.batch_size, training.weight_decay) == (40, 128, 1e-5)
    assert [(layer.kind, layer.size, layer.kernel, layer.padding, layer.pool) for layer in scenario.network.layers] == [
        ("conv", 32, 5, 0, "max"),
        ("conv", 64, 5, 0, "max"),
    ]
    assert (scenario.network.activation, scenario.scheduler.policy) == ("hard_sigmoid", "synchronous")


def digits(count: int, seed: int) -> dict[str, bytes]:
    """IDX bytes of noisy 28x28 images: a bright bar for each of ten classes, at a place and a slope of its own."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 10
    images = random.integers(0, 60, (count, 28, 28))
    for image, label in zip(images, labels, strict=True):
        shift = random.integers(-1, 2)
        for step in range(16):
            row, column = (6 + step, 6 + 3 * (label % 5)) if label < 5 else (6 + 3 * (label % 5), 6 + step)
            image[row + shift : row + shift + 3, column + shift : column + shift + 3] = 255
    return {"images-idx3-ubyte": idx_bytes(images), "labels-idx1-ubyte": idx_bytes(labels)}


@pytest.mark.whole
def test_it_learns_from_idx_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = {"train": digits(320, 0), "t10k": digits(100, 1)}
    files = {f"{split}-{name}": data for split, found in splits.items() for name, data in found.items()}
    write_files(tmp_path / "mnist", files)

    monkeypatch.setenv("NEUROSIM_EP_DATA", str(tmp_path / "mnist"))
    sets = ["training.epochs=1", "training.batch_size=16", "telemetry.traffic_every=0"]
    result = run(load_scenario(NAME, sets), tmp_path / "run")
    assert result.metrics["test_accuracy"] > 0.3  # chance: 0.1
    assert result.metrics["not_converged"] == 0
