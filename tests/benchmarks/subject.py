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
from neurosim_ep.data.dataset import prepare
from neurosim_ep.ep.network import channels_last
from neurosim_ep.errors import UsageError
from neurosim_ep.experiment.device import select_device
from neurosim_ep.experiment.model import Model, build_model
from neurosim_ep.experiment.opening import Experiment
from neurosim_ep.experiment.optimiser import Optimiser
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.scenario.schema import Scenario
from neurosim_ep.train.step import Batch

SCENARIO = Path(__file__).with_name("vgg11_alive.toml")


@dataclass(frozen=True)
class Subject:
    """A trained model with images (B, 3, 32, 32) it was not trained on, and their labels (B,)."""

    scenario: Scenario
    model: Model
    x: Tensor
    y: Tensor
    source: str

    @property
    def batch(self) -> Batch:
        """Its images, to be presented."""
        return Batch(self.x, self.y)

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


def random_subject(scenario: Scenario, classes: int, batch: int, device: torch.device) -> Subject:
    """The untrained model of ``scenario`` with random images of 32x32 pixels and labels, the same every time."""
    model = build_model(scenario, classes, (3, 32, 32)).to(device)
    random = torch.Generator().manual_seed(0)
    x = torch.randn(batch, 3, 32, 32, generator=random)
    y = torch.randint(classes, (batch,), generator=random)
    return Subject(scenario, model, channels_last(x).to(device), y.to(device), "random")


def load_subject(run_dir: Path, batch: int, device: torch.device) -> Subject:
    """The model of a finished run with ``batch`` shuffled test images, on ``device``."""
    run = Experiment.open(run_dir, device=str(device))
    data = run.data
    chosen = torch.randperm(len(data.test_labels), generator=torch.Generator().manual_seed(1))[:batch]
    x = prepare(data.test_images[chosen].to(device), data.mean, data.std)
    return Subject(run.scenario, run.model, x, data.test_labels[chosen].to(device), data.source)


if __name__ == "__main__":
    overrides = [] if os.environ.get("NEUROSIM_EP_DATA") else ["data.kind=textures"]
    neurosim_ep.run(load_scenario(SCENARIO, [*overrides, *sys.argv[2:]]), sys.argv[1])
