"""Runs opened for reading: their tables as pandas frames, pictures, trained network and its states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurosim_ep.analysis.load import NothingToDraw
from neurosim_ep.analysis.load import open_run as open_for_pictures
from neurosim_ep.display import html_pairs, labelled
from neurosim_ep.errors import CheckpointError, UsageError
from neurosim_ep.record.frames import TABLES, Traffic, read_frame, read_traffic

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure
    from torch import Tensor

    from neurosim_ep.data.dataset import Data
    from neurosim_ep.ep.network import Network
    from neurosim_ep.experiment.dynamics import Dynamics
    from neurosim_ep.experiment.opening import Experiment
    from neurosim_ep.scenario.schema import Scenario

AT_ONCE = 250
"""Images that come to rest side by side."""


class RunReader:
    """A run directory, whatever state it is in; nothing in it is ever changed.

    Tables (docs/outputs.md): ``epochs``, ``layers``, ``residual``, ``tiles``, ``pulses``, ``cost``, ``comparison``,
    ``sensitivity``, ``memory`` and ``area``. Each is read anew when it is asked for, so that of a run which goes on it
    has the epochs that are finished; the units of its columns are in ``frame.attrs["units"]``.
    """

    epochs: pd.DataFrame
    layers: pd.DataFrame
    residual: pd.DataFrame
    tiles: pd.DataFrame
    pulses: pd.DataFrame
    cost: pd.DataFrame
    comparison: pd.DataFrame
    sensitivity: pd.DataFrame
    memory: pd.DataFrame
    area: pd.DataFrame

    def __init__(self, path: Path | str, *, device: str = "auto") -> None:
        self.path, self._device = Path(path), device
        self._pictured = open_for_pictures(self.path)

    def __getattr__(self, name: str) -> pd.DataFrame:
        """A table. Raises :class:`CheckpointError` where the run has none, saying why."""
        if name not in TABLES:
            raise AttributeError(f"a run has no {name!r}; tables: {', '.join(TABLES)}")
        try:
            return read_frame(self._pictured.existing(f"{name}.csv"))
        except NothingToDraw as reason:
            raise CheckpointError(str(reason)) from reason

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *TABLES})

    @property
    def info(self) -> dict[str, Any]:
        """The contents of run.json: seed, versions, device, times, metrics and so on."""
        return open_for_pictures(self.path).info

    @property
    def name(self) -> str:
        """The name of its scenario."""
        return self._pictured.name

    @property
    def status(self) -> str:
        """ "running", "done", "interrupted", "diverged" or "failed"."""
        return str(self.info.get("status"))

    @property
    def metrics(self) -> dict[str, float | None]:
        """Of the last finished epoch, as of :class:`~neurosim_ep.RunResult`; empty before there is one."""
        return dict(self.info.get("metrics") or {})

    @property
    def verdict(self) -> list[str]:
        """Who wins, EP or backpropagation, and which numbers of the hardware model decide, in sentences; empty where
        no traffic was recorded or the run is not done.
        """
        return list(self.info.get("verdict") or [])

    @property
    def learning(self) -> dict[str, Any] | None:
        """Whether the network learned, as run.json says: ``verdict`` (a sentence), ``healthy`` and ``findings``; None
        where it does not.
        """
        found = self.info.get("learning")
        return dict(found) if isinstance(found, Mapping) else None

    @property
    def warnings(self) -> list[str]:
        """What the run was warned of so far, each kind in one sentence with its layers, epochs and remedy."""
        return [str(one["sentence"]) for one in self.info.get("warnings") or []]

    @cached_property
    def scenario(self) -> Scenario:
        """The resolved scenario."""
        from neurosim_ep.scenario.load import load_scenario

        return load_scenario(self.path / "scenario.toml")

    @cached_property
    def data(self) -> Data:
        """The images, uint8 (N, C, H, W), and their labels, as the run was given them. Raises :class:`DataError` where
        they are gone, or others.
        """
        from neurosim_ep.experiment.opening import Experiment

        return Experiment.open(self.path, device="cpu").data

    @cached_property
    def network(self) -> Network:
        """The network with the weights of the last finished epoch. ``network(x)`` are the logits (B, C) of normalised
        images x (B, C, H, W) where it has come to rest on them as in a test of the run.
        """
        network = self._experiment.model.network
        network.dynamics = self._dynamics
        return network

    @cached_property
    def _dynamics(self) -> Dynamics:
        from neurosim_ep.experiment.dynamics import Dynamics

        return Dynamics(self.scenario)

    @cached_property
    def _experiment(self) -> Experiment:
        """The run without its images, where run.json says enough of them."""
        from neurosim_ep.data.dataset import Data
        from neurosim_ep.experiment.opening import Experiment

        experiment = Experiment.open(self.path, device=self._device)
        with experiment.reading() as info:
            noted = info["data"]
            return replace(experiment, given=Data.unseen(noted)) if "mean" in noted else experiment

    def states(self, images: Tensor | np.ndarray) -> dict[str, Tensor]:
        """Where the trained network rests on ``images``: the states of its free phase, or feed-forward pass.

        Args:
            images: (B, C, H, W), not normalised: uint8, or floats from 0 to 1. They are normalised as the run's are.

        Returns:
            States (B, *shape) by the name of the layer, from the lowest on, float32 on the CPU; no unit.

        Raises:
            UsageError: images of another shape or format.
        """
        import torch

        from neurosim_ep.ep.seeds import Stream

        network, tiles = self.network, self._experiment.model.tiles
        if tiles is not None:
            tiles.begin(Stream.TEST_TILES, 0)
        with torch.no_grad():
            ends = [self._dynamics.rest(network, x).states for x in self._normalised(images).split(AT_ONCE)]
        return {name: torch.cat(parts).cpu() for name, *parts in zip(network.layer_names, *ends, strict=True)}

    def _normalised(self, images: Tensor | np.ndarray) -> Tensor:
        """``images`` as the network gets them, on its device."""
        import torch

        from neurosim_ep.data.dataset import prepare

        given, shape = torch.as_tensor(images), self.network.image_shape
        if given.dim() != 4 or tuple(given.shape[1:]) != shape or not len(given):
            raise UsageError(
                f"images: have the shape {tuple(given.shape)}; this network takes (B, {', '.join(map(str, shape))}); "
                "put a single image into a batch by images[None]"
            )
        if given.dtype != torch.uint8 and not given.is_floating_point():
            raise UsageError(f"images: are {given.dtype}; give uint8, or floats from 0 to 1")
        if given.is_floating_point() and not (given.min() >= 0 and given.max() <= 1):
            raise UsageError(
                f"images: floats from {float(given.min()):.3g} to {float(given.max()):.3g}; must lie between 0 and 1, "
                "where pixel 255 is 1; those that are normalised already are for neurosim_ep.free_phase and network(x)"
            )
        data = self._experiment.data
        return prepare(given.to(self._experiment.device), data.mean, data.std)

    def traffic(self) -> Traffic:
        """What was counted on its tiles, as pandas frames by name. Raises :class:`CheckpointError` without traffic."""
        return read_traffic(self.path)

    def figure(self, name: str) -> Figure:
        """A picture of the run, drawn anew: "gradients", "states", "residual" and the others of its ``plots``.

        Raises :class:`UsageError` for another name, or where the run recorded nothing for it.
        """
        from neurosim_ep.analysis.plot import picture

        return picture(self._pictured, name)

    def summary(self) -> list[tuple[str, str]]:
        """Rows (label, value) for people."""
        info, metrics = self.info, self.metrics
        rows = [("status", self.status), ("scenario", self.scenario.scenario.description or self.name)]
        rows += [("images", str(data["source"]))] if isinstance(data := info.get("data"), dict) else []
        if metrics:
            best = metrics["best_test_accuracy"]
            rows.append(("test accuracy", f"{metrics['test_accuracy']:.1%} (best {best:.1%})"))
        if (learning := self.learning) is not None:
            rows.append(("verdict", str(learning.get("verdict"))))
        rows += labelled("warned of", self.warnings) + labelled("EP or backprop", self.verdict)
        return [*rows, ("run directory", str(self.path))]

    def __repr__(self) -> str:
        lines = [f"  {label:<14} {value}" for label, value in self.summary()]
        return "\n".join([f"<run {self.name}>", *lines])

    def _repr_html_(self) -> str:
        return html_pairs(self.summary(), f"run {self.name}")


def open_run(path: Path | str, *, device: str = "auto") -> RunReader:
    """A run directory, finished or not, for reading.

    Args:
        path: the directory that :func:`~neurosim_ep.run` or ``neurosim-ep run`` left.
        device: "auto", "cpu", "cuda" or "cuda:N", for the network and its states.

    Returns:
        Its scenario, tables, pictures, traffic and trained network; each is read when it is first asked for.

    Raises:
        CheckpointError: there is no run at ``path``, or one of another version.
    """
    return RunReader(path, device=device)


def load_network(path: Path | str, *, device: str = "auto") -> Network:
    """The trained network of a run directory; its images are not needed.

    Args:
        path: the directory that :func:`~neurosim_ep.run` or ``neurosim-ep run`` left.
        device: "auto", "cpu", "cuda" or "cuda:N".

    Returns:
        The network with the weights of the last finished epoch, as :attr:`RunReader.network`.

    Raises:
        CheckpointError: there is no run at ``path``, or its checkpoint is damaged.
    """
    return RunReader(path, device=device).network
