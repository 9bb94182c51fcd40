"""Where the targets of a batch come from: the store, or the teacher itself."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from neurosim_ep import resources
from neurosim_ep.data.dataset import Data, prepare
from neurosim_ep.data.views import count_views, plain_view
from neurosim_ep.ep.network import Network, channels_last
from neurosim_ep.ep.transfers import to_device
from neurosim_ep.errors import CheckpointError, DataError, ScenarioError
from neurosim_ep.record.checkpoint import load_checkpoint
from neurosim_ep.scenario.schema import Scenario, TeacherSection
from neurosim_ep.teacher.classifier import Teacher, build_teacher, matching_layers
from neurosim_ep.teacher.store import StoreKey, TargetStore

WEIGHTS, STORE = "teacher.pt", "targets.h5"
AGAIN = "teach again with `neurosim-ep teach`"
AT_ONCE = 32  # images a teacher looks at together: always as many, so that an answer does not depend on its neighbours


class TargetSource(Protocol):
    """Gives a teacher's activations of every taught layer; ``teacher_accuracy``: on test images, where it is noted."""

    teacher_digest: str
    teacher_accuracy: float | None

    def of(self, chosen: Tensor, views: Tensor, images: Tensor) -> dict[int, Tensor]:
        """Activations float32 (B, *shape) by layer, for uint8 ``images`` (B, C, H, W): ``views`` (B,) of the training
        samples ``chosen`` (B,).
        """


class LiveTargets:
    """Asks the teacher. ``pairs``: layer of the student to the teacher's that teaches it."""

    teacher_accuracy: float | None = None

    def __init__(self, teacher: Teacher, pairs: Mapping[int, int], mean: Tensor, std: Tensor) -> None:
        self.teacher, self.pairs = teacher.eval(), pairs
        self.mean, self.std = (one.to(next(teacher.parameters()).device) for one in (mean, std))
        self.teacher_digest = weights_digest(teacher)

    def of(self, chosen: Tensor, views: Tensor, images: Tensor) -> dict[int, Tensor]:
        """See :class:`TargetSource`; the images are all that matters."""
        return self.look(images)

    @torch.no_grad()
    def look(self, images: Tensor) -> dict[int, Tensor]:
        """What the teacher shows for uint8 ``images`` (B, C, H, W), of the host or its device: float32 (B, *shape) by
        layer of the student.
        """
        parts = [self._look(part) for part in to_device(images, self.mean.device).split(AT_ONCE)]
        return {layer: torch.cat(found) for layer, found in zip(self.pairs, zip(*parts, strict=True), strict=True)}

    def _look(self, images: Tensor) -> list[Tensor]:
        full = images.new_zeros(AT_ONCE, *images.shape[1:])
        full[: len(images)] = images
        x = channels_last(prepare(full, self.mean, self.std))
        return [values[: len(images)] for values in self.teacher.activations(x, list(self.pairs.values()))]


class BlankTargets:
    """Zeros in the place of what a teacher shows."""

    teacher_digest = ""
    teacher_accuracy: float | None = None

    def __init__(self, scenario: Scenario, network: Network, device: torch.device) -> None:
        self.shapes = {layer: network.state_shapes[layer] for layer in scenario.signals.taught()}
        self.device = device

    def of(self, chosen: Tensor, views: Tensor, images: Tensor) -> dict[int, Tensor]:
        """See :class:`TargetSource`."""
        return {layer: torch.zeros(len(chosen), *shape, device=self.device) for layer, shape in self.shapes.items()}


def teacher_statistics(section: TeacherSection, data: Data) -> tuple[Tensor, Tensor]:
    """Mean and deviation (C,) of the colour channels that the teacher's images are normalised by.

    Raises :class:`ScenarioError` when the section has them for another number of channels.
    """
    if section.mean == "data":
        return data.mean, data.std
    channels = data.image_shape[0]
    for key, values in (("mean", section.mean), ("std", section.std)):
        if len(values) != channels:
            raise ScenarioError(
                f"teacher.{key} = {list(values)}: must have a value for each of the {channels} colour channels"
            )
    return torch.tensor(section.mean), torch.tensor(section.std)


def weights_digest(network: torch.nn.Module) -> str:
    """SHA-256 of all weights and normalisation statistics."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def teacher_folder(scenario: Scenario) -> Path:
    """Where the scenario's teacher is: ``signals.teacher``, or ``teachers/`` and the name of the scenario."""
    return resources.at_home(scenario.signals.teacher or f"teachers/{scenario.scenario.name}")


def load_teacher(scenario: Scenario, data: Data, device: torch.device) -> Teacher:
    """The trained teacher in the scenario's teacher folder. Raises :class:`CheckpointError` where there is none."""
    folder = teacher_folder(scenario)
    if not (folder / WEIGHTS).is_file():
        raise CheckpointError(
            f"{folder}: holds no teacher ({WEIGHTS}), and only what it showed for training images is stored; train one "
            "with `neurosim-ep teach`"
            if (folder / STORE).is_file()
            else f"{folder}: holds no teacher ({WEIGHTS}); train one with `neurosim-ep teach`"
        )
    state = load_checkpoint(folder, device, WEIGHTS, AGAIN)
    teacher = build_teacher(scenario, data.num_classes, data.image_shape).to(device)
    try:
        teacher.load_state_dict(state["weights"])
    except (KeyError, RuntimeError, TypeError, AttributeError) as problem:
        reason = " ".join(line.strip() for line in str(problem).splitlines()[:2])
        raise CheckpointError(
            f"{folder / WEIGHTS}: is not the teacher of this scenario ({reason}); "
            "use the [network] and [teacher] sections it was trained with, or train another"
        ) from problem
    return teacher


def live_targets(scenario: Scenario, network: Network, data: Data, device: torch.device) -> LiveTargets:
    """The scenario's trained teacher, ready to be asked."""
    teacher = load_teacher(scenario, data, device)
    return LiveTargets(
        teacher, matching_layers(scenario, network, teacher), *teacher_statistics(scenario.teacher, data)
    )


def stored_view(scenario: Scenario) -> int | None:
    """Number of the view that is not augmented, where the target store is all that is left of the scenario's teacher
    and has it; else None.
    """
    folder = teacher_folder(scenario)
    stored_only = (folder / STORE).is_file() and not (folder / WEIGHTS).is_file()
    return plain_view(scenario.data) if scenario.signals.taught() and stored_only else None


def target_source(scenario: Scenario, network: Network, data: Data, device: torch.device) -> TargetSource | None:
    """Where this run's targets come from; None where no signal has a teacher.

    Raises :class:`DataError` or :class:`CheckpointError` when the teacher or its store is missing or another's.
    """
    taught = scenario.signals.taught()
    if not taught:
        return None
    if scenario.signals.live:
        return live_targets(scenario, network, data, device)
    stored = stored_targets(scenario, network, data, device)
    folder = teacher_folder(scenario)
    if (folder / WEIGHTS).is_file() and weights_digest(load_teacher(scenario, data, device)) != stored.teacher_digest:
        raise DataError(
            f"{folder}: {STORE} was not written by the teacher beside it ({WEIGHTS}); "
            "give `neurosim-ep teach` again, which writes the store anew"
        )
    return stored


def stored_targets(scenario: Scenario, network: Network, data: Data, device: torch.device) -> TargetStore:
    """The scenario's target store. Raises :class:`DataError` or :class:`CheckpointError` where it cannot be used."""
    return TargetStore(
        teacher_folder(scenario) / STORE, StoreKey.of(data, scenario.data),
        {layer: network.state_shapes[layer] for layer in scenario.signals.taught()},
        samples=len(data.train_labels), views=count_views(scenario.data), section=scenario.teacher, device=device,
    )  # fmt: skip
