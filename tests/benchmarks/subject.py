"""The network the benchmarks run on: `python tests/benchmarks/subject.py RUN_DIR` trains it with the product.

Real CIFAR-10 images where the variable NEUROSIM_EP_DATA names a folder with ``train/<class>/`` and ``test/<class>/``,
procedural textures elsewhere.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import neurosim_ep
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.scenario.schema import Scenario
from neurosim_ep.train.checkpoint import load_checkpoint
from neurosim_ep.train.data import load_data, prepare
from neurosim_ep.train.model import Model, build_model
from neurosim_ep.train.optimiser import Optimiser

SCENARIO = Path(__file__).with_name("vgg11_alive.toml")


@dataclass(frozen=True)
class Subject:
    """A trained model with images (B, 3, 32, 32) it was not trained on, and their labels (B,)."""

    scenario: Scenario
    model: Model
    x: Tensor
    y: Tensor
    source: str

    def optimiser(self) -> Optimiser:
        """A fresh optimiser for its parameters."""
        return Optimiser(self.model.network, self.model.signals, self.scenario.training, updates=1000)


def load_model(
    scenario: Scenario, run_dir: Path, classes: int, image_shape: tuple[int, ...], device: torch.device
) -> Model:
    """The model of ``scenario`` with the weights that the run at ``run_dir`` ended with."""
    model = build_model(scenario, classes, image_shape)
    state = load_checkpoint(run_dir / "checkpoints", torch.device("cpu"))["trainer"]
    model.network.load_state_dict(state["network"])
    model.network.to(device)
    if model.signals is not None:
        model.signals.load_state_dict(state["signals"])
        model.signals.to(device)
    return model


def load_subject(run_dir: Path, batch: int, device: torch.device) -> Subject:
    """The model of a finished run with ``batch`` shuffled test images, on ``device``."""
    scenario = load_scenario(run_dir / "scenario.toml")
    data = load_data(scenario.data, scenario.scenario.seed)
    model = load_model(scenario, run_dir, data.num_classes, data.image_shape, device)
    chosen = torch.randperm(len(data.test_labels), generator=torch.Generator().manual_seed(1))[:batch]
    x = prepare(data.test_images[chosen].to(device), data.mean, data.std)
    return Subject(scenario, model, x, data.test_labels[chosen].to(device), data.source)


if __name__ == "__main__":
    overrides = [] if os.environ.get("NEUROSIM_EP_DATA") else ["data.kind=textures"]
    neurosim_ep.run(load_scenario(SCENARIO, [*overrides, *sys.argv[2:]]), sys.argv[1])
