"""The devices of one connection: their constants, their hidden weights, and pulses that change these."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from neurosim_ep.tiles.devices.base import Constants, DeviceModel

EXACT_PULSES = 8
"""Up to this many pulses per device, each is applied by itself."""


class DeviceArray:
    """Devices of one connection: hidden normalised weights ``w`` of any shape, float32, and constants drawn once.

    ``random`` is the construction seed: with the same generator state the same devices are made. Weights start at 0,
    or at the nearest bound. All tensors lie on the device of ``random``.
    """

    def __init__(self, model: DeviceModel, shape: Sequence[int], random: torch.Generator) -> None:
        self.model = model
        self.constants = model.draw(shape, random)
        self.retention = model.draw_retention(shape, random)
        self.w = torch.zeros(tuple(shape), device=random.device)
        self._clip(self.w, self.constants)
        self._noise: Tensor | None = None
        if model.write_noise_std > 0:
            self._noise = self._write_noise(self.w.shape, random)
        self._pulses_at_once = model.pulses_at_once()

    @property
    def visible(self) -> Tensor:
        """Weights as a read sees them: ``w`` plus write noise, drawn anew whenever pulses touch the device."""
        return self.w if self._noise is None else self.w + self._noise

    def program(self, target: Tensor) -> None:
        """Set the weights to ``target``, clipped to the bounds of each device; stuck devices keep their value."""
        self.w.copy_(target)
        self._clip(self.w, self.constants)

    def pulse(self, counts: Tensor, random: torch.Generator) -> None:
        """Apply ``counts`` pulses per device: whole numbers, + up, - down; a float tensor of the shape of ``w``.

        By definition the pulses of a device come one after another: each step is that of the weight the last one
        left, has noise of its own and is clipped to the bounds. This is done literally while no device gets more
        than 8 pulses. Beyond, ``m`` pulses are applied at once, m so small that their steps of ``dw_min`` stay below
        1/64 of the weight range, their largest steps below 1/16 and their noise below 1/100: the mean change is that
        of the closed form where the model has one, else m times the step at the middle of the way; the noise of that
        step is multiplied by sqrt(m); the weight is clipped after each m. Constant steps need no m, nor do models
        with a closed form and no noise. Raises ValueError when the shapes differ.
        """
        if counts.shape != self.w.shape:
            raise ValueError(f"counts: shape {tuple(counts.shape)} must be that of the weights {tuple(self.w.shape)}")
        flat, weights = counts.reshape(-1).to(self.w.dtype), self.w.view(-1)
        for raising in (True, False):
            touched = (flat > 0 if raising else flat < 0).nonzero().squeeze(1)
            if len(touched):
                self._pulse_one_way(weights, touched, flat[touched].abs_(), raising, random)

    def _pulse_one_way(
        self, weights: Tensor, touched: Tensor, counts: Tensor, raising: bool, random: torch.Generator
    ) -> None:
        """Apply ``counts`` > 0 pulses of one direction to the elements ``touched`` of the flat ``weights``."""
        most = float(counts.max())
        at_once = 1.0 if most <= EXACT_PULSES else min(self._pulses_at_once, most) // 1
        if most > 1:
            counts, order = counts.sort(descending=True)
            touched = touched[order]
        constants = {
            name: value.reshape(-1)[touched] if value.ndim else value for name, value in self.constants.items()
        }
        w = weights[touched]
        for done, active in _rounds(counts, most, at_once):
            pulses = (counts[:active] - done).clamp_(max=at_once) if at_once > 1 else None
            part = {name: value[:active] if value.ndim else value for name, value in constants.items()}
            self._step(w[:active], pulses, part, raising, random)
        weights[touched] = w
        if self._noise is not None:
            self._noise.view(-1)[touched] = self._write_noise(touched.shape, random)

    def _step(
        self, w: Tensor, pulses: Tensor | None, constants: Constants, raising: bool, random: torch.Generator
    ) -> None:
        """Apply one pulse (None) or ``pulses`` pulses at once to ``w``, in place."""
        if pulses is None:
            change = step = self.model.step(w, constants, raising)
        else:
            change, step = self.model.advance(w, pulses, constants, raising)
        spread = self.model.noise(step, w, constants, raising)
        w.add_(change)
        if spread is not None:
            normal = torch.randn(w.shape, generator=random, device=w.device)
            w.addcmul_(normal if pulses is None else normal.mul_(pulses.sqrt()), spread)
        self._clip(w, constants)

    def relax(self, steps: int, random: torch.Generator) -> None:
        """Let ``steps`` updates pass: decay towards ``reset``, and diffusion, summed over the steps, then clipped."""
        decay, reset, diffusion = (self.retention[name] for name in ("decay", "reset", "diffusion"))
        if self.model.lifetime > 0:
            self.w.sub_(reset).mul_(decay**steps).add_(reset)
        if self.model.diffusion > 0:
            variance = torch.where(decay < 1, (1 - decay ** (2 * steps)) / (1 - decay**2), float(steps))
            normal = torch.randn(self.w.shape, generator=random, device=self.w.device)
            self.w.addcmul_(normal, diffusion * variance.sqrt())
        self._clip(self.w, self.constants)

    def to(self, device: torch.device | str) -> Self:
        """Move all tensors to ``device``, in place."""
        self.w = self.w.to(device)
        self._noise = None if self._noise is None else self._noise.to(device)
        for tensors in (self.constants, self.retention):
            tensors.update({name: value.to(device) for name, value in tensors.items()})
        return self

    def state_dict(self) -> dict[str, Any]:
        """Hidden weights and visible noise; the constants follow from the construction seed."""
        return {"w": self.w.clone(), "noise": None if self._noise is None else self._noise.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what :meth:`state_dict` gave. Raises ValueError when it belongs to devices of another kind."""
        noise = state["noise"]
        if state["w"].shape != self.w.shape or (noise is None) != (self._noise is None):
            raise ValueError(
                f"state of devices of shape {tuple(state['w'].shape)} does not fit these of {tuple(self.w.shape)}"
            )
        self.w.copy_(state["w"])
        if self._noise is not None:
            self._noise.copy_(noise)

    def _write_noise(self, shape: Sequence[int], random: torch.Generator) -> Tensor:
        scale = self.model.write_noise_std * self.model.dw_min
        return torch.randn(tuple(shape), generator=random, device=self.w.device).mul_(scale)

    @staticmethod
    def _clip(w: Tensor, constants: Constants) -> None:
        torch.clamp(w, constants["w_min"], constants["w_max"], out=w)


def _rounds(counts: Tensor, most: float, at_once: float) -> Iterator[tuple[float, int]]:
    """Pulses that are done before each round, and how many of the descending ``counts`` still have pulses left."""
    starts = torch.arange(0, most, at_once, dtype=counts.dtype, device=counts.device)
    active = torch.searchsorted(-counts, -starts) if most > 1 else torch.tensor([len(counts)])
    yield from zip(starts.tolist(), active.tolist(), strict=True)
