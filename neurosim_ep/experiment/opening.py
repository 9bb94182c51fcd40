"""An experiment: a scenario, or a run as it was left, with all that it takes to present images to its network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from neurosim_ep.data.dataset import Data, load_data
from neurosim_ep.ep.signals import alpha_at
from neurosim_ep.errors import CheckpointError, DataError, NeurosimError, UsageError
from neurosim_ep.experiment.copies import require, with_copies
from neurosim_ep.experiment.device import select_device
from neurosim_ep.experiment.model import Model, build_model
from neurosim_ep.ranks import ALONE, Ranks
from neurosim_ep.record.checkpoint import load_checkpoint
from neurosim_ep.record.kept import SCENARIO, require_kept
from neurosim_ep.record.rundir import RunDirectory
from neurosim_ep.record.trained import SHIPPED
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.scenario.schema import HardwareSection, Scenario
from neurosim_ep.scheduler.engine import Engine
from neurosim_ep.scheduler.schedule import Schedule
from neurosim_ep.teacher.targets import (
    BlankTargets,
    TargetSource,
    live_targets,
    stored_targets,
    stored_view,
    target_source,
    teacher_folder,
)
from neurosim_ep.threads import use_threads


@dataclass(frozen=True)
class Experiment:
    """``scenario`` on ``device``, with fresh weights or those of the last ``checkpoint`` of the run in ``directory``.

    The parts are made when they are first asked for. ``overridden``: the scenario is no longer that of the run.
    ``exact``: real tiles are left out. ``blank``: a teacher shows zeros. ``given``: images in the place of the
    scenario's. ``ranks``: the processes that share the samples.
    """

    scenario: Scenario
    device: torch.device
    directory: RunDirectory | None = None
    checkpoint: dict[str, Any] = field(default_factory=dict, repr=False)
    overridden: bool = False
    exact: bool = False
    blank: bool = False
    given: Data | None = field(default=None, repr=False)
    ranks: Ranks = ALONE

    @classmethod
    def open(
        cls,
        target: Scenario | Path | str,
        *,
        device: str = "auto",
        overrides: Sequence[str] = (),
        exact: bool = False,
        blank: bool = False,
        ranks: Ranks = ALONE,
    ) -> Self:
        """``target`` is a scenario, or a run directory, whose scenario ``overrides`` change; see the class. What a run
        takes from files about hardware comes from its own copies.

        Raises :class:`CheckpointError` where the directory or its checkpoint cannot be used, :class:`UsageError` for a
        device that this machine lacks, or other files of hardware.
        """
        if isinstance(target, Scenario):
            return cls(target, select_device(device), exact=exact, blank=blank, ranks=ranks)
        directory = RunDirectory.open(Path(target))
        require(directory.path, SCENARIO)
        scenario, place = load_scenario(directory.path / SCENARIO, overrides), select_device(device)
        if not exact:
            hardware = with_copies(scenario.hardware, directory.path, overrides)
            scenario = scenario.model_copy(update={"hardware": hardware})
        checkpoint = load_checkpoint(directory.checkpoints, place)
        if known := checkpoint.get("kept"):  # not of earlier versions
            as_it_is = load_scenario(directory.path / SCENARIO)
            require_kept(directory.path, as_it_is, known | {"files": {}} if exact else known, overrides)
        return cls(scenario, place, directory, checkpoint, bool(overrides), exact, blank, ranks=ranks)

    @property
    def run(self) -> RunDirectory:
        """The directory of the run that was opened."""
        assert self.directory is not None, "opened from a scenario"
        return self.directory

    @contextmanager
    def reading(self) -> Iterator[dict[str, Any]]:
        """``run.json``; raises :class:`CheckpointError` where the block looks for what a run writes there in vain."""
        try:
            yield self.run.info()
        except NeurosimError:
            raise
        except (KeyError, TypeError, AttributeError, ValueError) as problem:
            raise CheckpointError(
                f"{self.run.run_json}: lacks what a run writes there ({problem}); "
                "restore the file from a copy, or start the run again"
            ) from problem

    @contextmanager
    def fitting(self) -> Iterator[None]:
        """Raises :class:`CheckpointError` where the block puts the checkpoint into something that is not its own."""
        what, remedy = SCENARIO, "restore both from a copy, or start the run again"
        if self.overridden:
            what, remedy = "the scenario", "leave network and signals as the run had them"
        try:
            yield
        except NeurosimError:
            raise
        except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as problem:
            reason = " ".join(line.strip() for line in str(problem).splitlines()[:2])
            raise CheckpointError(
                f"{self.run.checkpoints}: the checkpoint does not fit {what} ({reason}); {remedy}"
            ) from problem

    @cached_property
    def data(self) -> Data:
        """The images. Raises :class:`DataError` for those that cannot be read, or are not those of the run; a trained
        network that ships takes any.
        """
        if self.given is not None:
            return self.given
        if self.directory is None or self.overridden:
            return load_data(self.scenario.data, self.scenario.scenario.seed)
        with self.reading() as info:
            learned, any_will_do = info["data"], SHIPPED in info
            began_with, digest = learned["source"], learned["digest"]
        data = load_data(self.scenario.data, self.scenario.scenario.seed)
        if data.digest != digest and not any_will_do:
            raise DataError(
                f"{data.source}: not the images this run started with ({began_with}); restore them, or start a new run"
            )
        return data

    @property
    def other_images(self) -> str:
        """Says so where the images are not, to the bit, those that the run in :attr:`directory` learned."""
        if self.directory is None:
            return ""
        with self.reading() as info:
            learned, digest = info["data"]["source"], info["data"]["digest"]
        known = self.data.digest == digest
        return "" if known else f"other images than the run learned ({learned}): {self.data.source}"

    @cached_property
    def model(self) -> Model:
        """Network, signals and tiles on the device.

        Raises :class:`ScenarioError` or :class:`HardwareModelError` for parts that do not fit together.
        """
        data, scenario = self.data, self.scenario
        if self.exact:
            scenario = scenario.model_copy(update={"hardware": HardwareSection()})
        model = build_model(scenario, data.num_classes, data.image_shape)
        if self.directory is not None:
            with self.fitting():
                model.load_state_dict(self.checkpoint["trainer"])
        return model.to(self.device)

    @cached_property
    def epoch(self) -> int:
        """Finished epochs."""
        if self.directory is None:
            return 0
        with self.fitting():
            return int(self.checkpoint["epoch"])

    @property
    def alpha(self) -> float:
        """α of the last finished epoch (Eq 16); of the first one where none is finished."""
        return alpha_at(self.scenario.signals, max(self.epoch - 1, 0), self.scenario.training.epochs)

    def engine(self, schedule: Schedule | None = None) -> Engine:
        """A new engine for the network with its gains of feedback, scheduled as the scenario says, or otherwise."""
        schedule = schedule or Schedule.of(self.scenario.scheduler, self.scenario.relaxation)
        return Engine(self.model.network, schedule, self.model.feedback)

    def require_phases(self) -> None:
        """Raise :class:`UsageError` where the network is a feed-forward pass, which has no phases to look at."""
        if not self.scenario.plasticity.relaxes:
            raise UsageError(
                f'plasticity.rule = "{self.scenario.plasticity.rule}": this network is a feed-forward pass, which has '
                "no phases to look at; train it by another rule"
            )

    def use_threads(self, threads: int | None, samples: int) -> int:
        """Compute with ``threads``, or with as many as fit this machine and ``samples`` images at once; returns the
        number.
        """
        return use_threads(threads, samples * self.model.network.largest_read_flops)

    @cached_property
    def targets(self) -> TargetSource | None:
        """Where targets of training images come from; None where no signal has a teacher.

        Raises :class:`DataError` or :class:`CheckpointError` when teacher or store are missing or another's.
        """
        network = self.model.network
        if self.blank:
            return BlankTargets(self.scenario, network, self.device) if self.scenario.signals.taught() else None
        source = target_source(self.scenario, network, self.data, self.device)
        if source is not None:
            self._refuse_other_teacher(source)
        return source

    def ask_teacher(self, images: Tensor) -> dict[int, Tensor]:
        """What the teacher shows for uint8 ``images`` (B, C, H, W), by layer; nothing where none is needed."""
        if not self.scenario.signals.taught():
            return {}
        live = live_targets(self.scenario, self.model.network, self.data, self.device)
        self._refuse_other_teacher(live)
        return live.look(images)

    def plain_targets(self, chosen: Tensor) -> dict[int, Tensor]:
        """What the teacher shows for the training images ``chosen`` (B,), not augmented, by layer; nothing where none
        is needed. Where only its target store is left, what is stored of them.
        """
        view, images = stored_view(self.scenario), self.data.train_images[chosen]
        if view is None:
            return self.ask_teacher(images)
        stored = stored_targets(self.scenario, self.model.network, self.data, self.device)
        self._refuse_other_teacher(stored)
        return stored.of(chosen, torch.full_like(chosen, view), images)

    def _refuse_other_teacher(self, source: TargetSource) -> None:
        """Raise :class:`CheckpointError` unless ``source`` is the teacher that the run started with."""
        if self.directory is None:
            return
        with self.reading() as info:
            known = (info.get("teacher") or {}).get("digest")
        if source.teacher_digest != known:
            raise CheckpointError(
                f"{teacher_folder(self.scenario)}: holds another teacher than the one this run started with; "
                "restore it, or start a new run"
            )
