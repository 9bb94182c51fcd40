"""The network the benchmarks run on: `python tests/benchmarks/subject.py RUN_DIR` trains it with the product.

Real CIFAR-10 images where the variable NEUROSIM_EP_DATA names a folder with ``train/<class>/`` and ``test/<class>/``,
procedural textures elsewhere.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import neurosim_ep
from neurosim_ep.ep.network import channels_last
from neurosim_ep.errors import UsageError
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.scenario.schema import Scenario
from neurosim_ep.train.checkpoint import load_checkpoint
from neurosim_ep.train.data import load_data, prepare
from neurosim_ep.train.device import select_device
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


def add_device(parser: argparse.ArgumentParser) -> None:
    """The option ``--device``, a :class:`torch.device`, with convolutions set as the product sets them."""

    def selected(name: str) -> torch.device:
        try:
            return select_device(name)
        except UsageError as problem:
            raise argparse.ArgumentTypeError(str(problem)) from None

    parser.add_argument("--device", type=selected, default="cpu", help="cpu, cuda or cuda:N")


def device_name(device: torch.device) -> str:
    """What a report calls ``device``."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def load_model(
    scenario: Scenario, run_dir: Path, classes: int, image_shape: tuple[int, ...], device: torch.device
) -> Model:
    """The model of ``scenario`` with the weights that the run at ``run_dir`` ended with."""
    model = build_model(scenario, classes, image_shape)
    state = load_checkpoint(run_dir / "checkpoints", torch.device("cpu"))["trainer"]
    model.network.load_state_dict(state["network"])
    if model.signals is not None:
        model.signals.load_state_dict(state["signals"])
    return moved(model, device)


def moved(model: Model, device: torch.device) -> Model:
    """``model`` with all it holds on ``device``."""
    model.network.to(device)
    if model.signals is not None:
        model.signals.to(device)
    if model.tiles is not None:
        model.tiles.to(device)
    return model


def random_subject(scenario: Scenario, classes: int, batch: int, device: torch.device) -> Subject:
    """The untrained model of ``scenario`` with random images of 32x32 pixels and labels, the same every time."""
    model = moved(build_model(scenario, classes, (3, 32, 32)), device)
    random = torch.Generator().manual_seed(0)
    x = torch.randn(batch, 3, 32, 32, generator=random)
    y = torch.randint(classes, (batch,), generator=random)
    return Subject(scenario, model, channels_last(x).to(device), y.to(device), "random")


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
