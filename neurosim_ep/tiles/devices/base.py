"""What all memory devices have in common: their constants, how they vary between devices, and what one pulse does.

Weights are normalised: without unit, usually between -1 and 1. Every device of an array has constants of its own,
drawn once; ``N`` below is a fresh standard normal number.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from neurosim_ep.strict import Strict
from neurosim_ep.tiles.devices.families import Family

Constants = dict[str, Tensor]
"""Constants by name, each a tensor with one element per device, or with none where all devices share the number."""

Positive = Annotated[float, Field(gt=0, le=1e6)]
Spread = Annotated[float, Field(ge=0, le=1e3)]
Share = Annotated[float, Field(ge=0, le=1)]
Real = Annotated[float, Field(ge=-1e6, le=1e6)]

MEAN_SHARE, STEEP_SHARE, NOISE_SHARE = 1 / 64, 1 / 16, 1 / 100
"""Shares of the weight range that pulses applied at once may move a device: steps ``dw_min``, largest steps, noise."""
BISECTIONS = 40


@dataclass(frozen=True)
class Draws:
    """Where constants come from: normal numbers of ``random``, or only the means where ``random`` is None."""

    shape: tuple[int, ...]
    random: torch.Generator | None = None

    @property
    def device(self) -> torch.device:
        return torch.device("cpu") if self.random is None else self.random.device

    def number(self, value: float) -> Tensor:
        """The same number for all devices."""
        return torch.tensor(value, dtype=torch.float64 if self.random is None else torch.float32, device=self.device)

    def normal(self, mean: float, std: float) -> Tensor:
        """``mean + std N``, a number per device unless ``std`` is 0."""
        if std == 0 or self.random is None:
            return self.number(mean)
        return torch.randn(self.shape, generator=self.random, device=self.device).mul_(std).add_(mean)

    def uniform(self) -> Tensor:
        """A number per device, between 0 and 1."""
        return torch.rand(self.shape, generator=self.random, device=self.device)


class DeviceModel(Strict, ABC):
    """How a kind of device answers to a programming pulse; all numbers normalised to weights.

    ``preset``: the device's own name. ``w_max``, ``w_min``: bounds of the weight, ``w_max (1 + w_max_dtod N)`` in
    each device. ``write_noise_std``: noise of what a read sees, in units of ``dw_min``. ``lifetime``: updates after
    which a weight has decayed towards ``reset + reset_dtod N`` by 1/e (0: never), ``lifetime (1 + lifetime_dtod
    N)``, at least 1, in each device. ``diffusion``: standard deviation that one update without pulses adds.
    ``corrupt_devices_prob``: share of stuck devices, whose weights lie within ``corrupt_devices_range`` of 0 and within
    their bounds. What is left out does not happen.
    """

    name: ClassVar[str]
    """What device files call the law; ``sentence``: what it is."""
    sentence: ClassVar[str]
    family: ClassVar[Family | None] = None
    """How it is fitted to measurements, if it is."""
    closed_form: ClassVar[bool] = False
    """Whether :meth:`advance` is exact for any number of pulses as long as they are free of noise."""

    preset: str
    w_max: Real
    w_min: Real
    w_max_dtod: Spread = 0.0
    w_min_dtod: Spread = 0.0
    write_noise_std: Spread = 0.0
    lifetime: Annotated[float, Field(ge=0, le=1e12)] = 0.0
    lifetime_dtod: Spread = 0.0
    reset: Real = 0.0
    reset_dtod: Spread = 0.0
    diffusion: Spread = 0.0
    diffusion_dtod: Spread = 0.0
    corrupt_devices_prob: Share = 0.0
    corrupt_devices_range: Spread = 1e3

    if TYPE_CHECKING:

        @property
        def dw_min(self) -> float:
            """Mean step of one pulse where the device is not saturated."""
            raise NotImplementedError

    @abstractmethod
    def up(self, w: Tensor, constants: Constants) -> Tensor:
        """Mean change of ``w`` by one pulse that raises it, a new tensor."""

    @abstractmethod
    def down(self, w: Tensor, constants: Constants) -> Tensor:
        """Mean change of ``w`` by one pulse that lowers it, as a rule negative; a new tensor."""

    @abstractmethod
    def noise(self, step: Tensor, w: Tensor, constants: Constants, raising: bool) -> Tensor | None:
        """Standard deviation of the change of ``w`` by one pulse whose mean is ``step``; None: no noise."""

    @property
    @abstractmethod
    def noise_scale(self) -> float:
        """Largest standard deviation of one pulse, of a device with mean constants."""

    @abstractmethod
    def draw_steps(self, constants: Constants, draws: Draws) -> None:
        """Add the constants of :meth:`up` and :meth:`down` to ``constants``, which has the bounds."""

    def draw(self, shape: Sequence[int], random: torch.Generator | None) -> Constants:
        """Constants of ``up``, ``down`` and of the bounds for devices of this shape; ``random`` None: their means.

        The bounds are ``w_max`` >= 0 and ``w_min`` <= 0 where the mean bounds enclose 0; a stuck device has two equal
        ones, drawn uniformly.
        """
        draws = Draws(tuple(shape), random)
        upper = draws.normal(self.w_max, abs(self.w_max) * self.w_max_dtod)
        lower = draws.normal(self.w_min, abs(self.w_min) * self.w_min_dtod)
        upper, lower = torch.maximum(upper, lower), torch.minimum(upper, lower)
        if self.w_max >= 0 >= self.w_min:
            upper, lower = upper.abs(), -lower.abs()
        constants = {"w_max": upper, "w_min": lower}
        self.draw_steps(constants, draws)
        if self.corrupt_devices_prob > 0 and random is not None:
            most = self.corrupt_devices_range
            self._stick(constants, lower.clamp(-most, most), upper.clamp(-most, most), draws)
        return constants

    def _stick(self, constants: Constants, lower: Tensor, upper: Tensor, draws: Draws) -> None:
        """Give some devices equal bounds between ``lower`` and ``upper``."""
        stuck = draws.uniform() < self.corrupt_devices_prob
        value = lower + (upper - lower) * draws.uniform()
        for bound in ("w_max", "w_min"):
            constants[bound] = torch.where(stuck, value, constants[bound])

    def draw_retention(self, shape: Sequence[int], random: torch.Generator) -> Constants:
        """``decay`` per update, ``reset`` (where it decays to) and ``diffusion`` of devices of this shape."""
        draws = Draws(tuple(shape), random)
        if self.lifetime == 0:
            decay = draws.number(1.0)
        else:
            lifetime = draws.normal(self.lifetime, self.lifetime * self.lifetime_dtod)
            decay = 1 - 1 / lifetime.clamp_min(1)
        return {
            "decay": decay,
            "reset": draws.normal(self.reset, self.reset_dtod),
            "diffusion": draws.normal(self.diffusion, self.diffusion * self.diffusion_dtod).abs(),
        }

    def step(self, w: Tensor, constants: Constants, raising: bool) -> Tensor:
        """:meth:`up` or :meth:`down`."""
        return self.up(w, constants) if raising else self.down(w, constants)

    def advance(self, w: Tensor, pulses: Tensor, constants: Constants, raising: bool) -> tuple[Tensor, Tensor]:
        """Mean change of ``w`` by ``pulses`` pulses one after another, and the mean step of one at their middle.

        The slope is taken half-way, where (pulses - 1) / 2 of them have been applied: exact for one pulse, of second
        order for more. The change is not clipped to the bounds.
        """
        middle = self.step(w, constants, raising).mul_((pulses - 1) * 0.5).add_(w)
        middle = torch.clamp(middle, constants["w_min"], constants["w_max"])
        step = self.step(middle, constants, raising)
        return step * pulses, step

    def pulses_at_once(self) -> float:
        """How many pulses :meth:`advance` may take in one step, at least 1; infinite without noise if it is exact."""
        span = self.w_max - self.w_min
        most = float("inf")
        if self.noise_scale > 0:
            most = (NOISE_SHARE * span / self.noise_scale) ** 2
        if not self.closed_form or self.noise_scale > 0:
            most = min(most, self._smooth_pulses(span))
        return max(most, 1.0)

    def _smooth_pulses(self, span: float) -> float:
        """Pulses over which the step of a device with mean constants stays nearly the same."""
        constants = self.draw((), None)
        grid = torch.linspace(float(constants["w_min"]), float(constants["w_max"]), 65, dtype=torch.float64)
        largest = max(float(self.step(grid, constants, raising).abs().max()) for raising in (True, False))
        return min(MEAN_SHARE * span / self.dw_min, STEEP_SHARE * span / largest)

    def asymmetry(self, w: Tensor, constants: Constants | None = None) -> Tensor:
        """(up - down) / (up + down) of the sizes of the mean steps at ``w``: 0 where they cancel, 1: only up moves."""
        constants = self._or_mean(constants)
        up, down = self.up(w, constants), self.down(w, constants)
        return (up + down) / (up - down)

    def symmetry_point(self, constants: Constants | None = None) -> Tensor:
        """Weight at which a pulse up and a pulse down cancel in the mean; NaN where there is none within the bounds."""
        constants = self._or_mean(constants)
        lower, upper = torch.broadcast_tensors(constants["w_min"], constants["w_max"])
        shape = torch.broadcast_shapes(*(value.shape for value in constants.values()))
        low, high = lower.expand(shape).clone(), upper.expand(shape).clone()
        found = self._drift(low, constants) * self._drift(high, constants) < 0
        rising = self._drift(high, constants) > 0
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            above = (self._drift(middle, constants) > 0) == rising
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        return torch.where(found, (low + high) / 2, torch.nan)

    def _drift(self, w: Tensor, constants: Constants) -> Tensor:
        return self.up(w, constants) + self.down(w, constants)

    def _or_mean(self, constants: Constants | None) -> Constants:
        return self.draw((), None) if constants is None else constants
