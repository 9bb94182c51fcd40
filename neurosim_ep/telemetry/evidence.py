"""What the verdict on a run is decided from: its tables, and what is measured of its images and its teacher."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from neurosim_ep.data.dataset import Data
from neurosim_ep.data.views import plain_view
from neurosim_ep.scenario.schema import Scenario
from neurosim_ep.teacher.targets import TargetSource

Row = Mapping[str, float | str | None]

SIGMAS = 3.0
"""Standard deviations of the number of right answers by which an accuracy counts as above chance."""
LOOKED_AT = 512
"""Training images of which deviation and targets are measured, at most."""


@dataclass(frozen=True)
class DataEvidence:
    """Of the images: right answers by chance, ``chance``, the share of the most frequent class among the
    ``test_images``; ``classes`` in name and ``classes_seen`` among the ``train_images``; ``deviation`` of a pixel
    across training images, mean over pixels, in grey levels of 255.
    """

    classes: int
    classes_seen: int
    train_images: int
    test_images: int
    chance: float
    deviation: float

    @classmethod
    def of(cls, data: Data) -> DataEvidence:
        """Measure ``data``."""
        frequent = float(torch.bincount(data.test_labels).max()) / len(data.test_labels)
        images = data.train_images[:LOOKED_AT].float()
        return cls(
            data.num_classes, len(data.train_labels.unique()), len(data.train_labels), len(data.test_labels), frequent,
            float(images.std(0, correction=0).mean()),
        )  # fmt: skip

    @property
    def above_chance(self) -> float:
        """The accuracy from which on a network knows something: chance and three standard deviations."""
        return self.chance + SIGMAS * math.sqrt(self.chance * (1 - self.chance) / self.test_images)


@dataclass(frozen=True)
class TeacherEvidence:
    """Of a teacher: its ``accuracy`` on test images, where its store says, and the share ``agreement`` of the
    ``images`` looked at whose label is that of the nearest class mean of its targets, in the layer where it is largest.
    """

    accuracy: float | None
    agreement: float
    images: int

    @classmethod
    def of(cls, targets: TargetSource, data: Data, view: int | None) -> TeacherEvidence:
        """Look at what ``targets`` shows of training images in ``view``, that without augmentation."""
        chosen = torch.arange(min(LOOKED_AT, len(data.train_labels)))
        labels = data.train_labels[chosen]
        shown = targets.of(chosen, torch.full_like(chosen, view or 0), data.train_images[chosen])
        agreement = max(nearest_mean_accuracy(values.flatten(1).cpu(), labels) for values in shown.values())
        return cls(targets.teacher_accuracy, agreement, len(chosen))


def nearest_mean_accuracy(values: Tensor, labels: Tensor) -> float:
    """Share of ``values`` (B, n) whose class (``labels``, (B,)) has the nearest mean, its own value left out of it."""
    classes, places = labels.unique(return_inverse=True)
    onehot = torch.nn.functional.one_hot(places, len(classes)).to(values.dtype)
    count = onehot.sum(0)
    means = (onehot.T @ values) / count[:, None]
    distance = torch.cdist(values, means)
    left = count[places]  # without the value itself its own mean is count / (count − 1) times as far away
    own = distance.gather(1, places[:, None])[:, 0] * left / (left - 1).clamp_min(1e-9)
    return float((distance.scatter(1, places[:, None], own[:, None]).argmin(1) == places).float().mean())


@dataclass(frozen=True)
class Evidence:
    """All of a run: its ``scenario``, rows of epochs.csv and layers.csv (without the readout), what is known of its
    images and its teacher, and whether it ``diverged``.
    """

    scenario: Scenario
    epochs: list[Row]
    layers: list[Row]
    data: DataEvidence
    teacher: TeacherEvidence | None = None
    diverged: bool = False

    @classmethod
    def read(
        cls,
        path: Path,
        scenario: Scenario,
        data: Data,
        targets: TargetSource | None = None,
        *,
        diverged: bool = False,
    ) -> Evidence:
        """That of the run directory ``path``, whose images are ``data``."""
        layers = [row for row in _rows(path / "layers.csv") if row["name"] != "readout"]
        teacher = None if targets is None else TeacherEvidence.of(targets, data, plain_view(scenario.data))
        return cls(scenario, _rows(path / "epochs.csv"), layers, DataEvidence.of(data), teacher, diverged)

    @cached_property
    def last(self) -> list[Row]:
        """The layers' rows of the last epoch."""
        return [row for row in self.layers if row["epoch"] == self.layers[-1]["epoch"]]

    @property
    def accuracy(self) -> float:
        """Test accuracy after the last epoch; NaN where none is finished."""
        return self.known("test_accuracy")[-1] if self.known("test_accuracy") else math.nan

    @property
    def learns(self) -> bool:
        """Whether the last accuracy is above chance."""
        return not self.diverged and self.accuracy > self.data.above_chance

    def known(self, column: str) -> list[float]:
        """The numbers of a column of epochs.csv."""
        return [float(value) for row in self.epochs if (value := row.get(column)) is not None]

    def of_layers(self, column: str) -> dict[str, float]:
        """The numbers of a column of layers.csv at the last epoch, by name of the layer."""
        return {str(row["name"]): float(value) for row in self.last if (value := row.get(column)) is not None}

    @cached_property
    def step_sizes(self) -> dict[str, list[float]]:
        """Change of a layer's weights by one update over their norm, by name of the layer, epoch by epoch: at the rate
        the epoch began with, momentum at its full, within ``training.update_limit``.
        """
        training, found = self.scenario.training, dict[str, list[float]]()
        given = training.learning_rate
        largest = max(given) if isinstance(given, tuple) else given
        rates = {row["epoch"]: row["learning_rate"] for row in self.epochs}
        for row in self.layers:
            gradient, weights, rate = row["norm_dW"], row["norm_W"], rates.get(row["epoch"])
            if not (isinstance(gradient, float) and isinstance(weights, float) and isinstance(rate, float)):
                continue
            own = given[int(float(row["layer"] or 0))] / largest if isinstance(given, tuple) and largest else 1.0
            size = own * rate * gradient / max(weights, 1e-30) / (1 - training.momentum)
            found.setdefault(str(row["name"]), []).append(min(size, training.update_limit or math.inf))
        return found


def _rows(path: Path) -> list[Row]:
    """The rows of a CSV file; None where a cell is empty or not finite. None at all where there is no file yet."""
    if not path.exists():
        return []
    frame = pd.read_csv(path)
    return [
        {
            str(name): None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in row.items()
        }
        for row in frame.to_dict("records")
    ]
