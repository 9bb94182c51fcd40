"""The update models: the mean change and the noise of one programming pulse, as a function of the weight.

``s_up``, ``s_down`` are the steps of a device, ``b_max``, ``b_min`` its bounds, ``c`` is ``dw_min_std`` and N a fresh
standard normal number; every pulse is clipped to the bounds. Definitions are those of the simulator aihwkit (Rasch et
al., arXiv 2104.02184), except :class:`NeuroSimNL`.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from neurosim_ep.tiles.devices import families
from neurosim_ep.tiles.devices.base import Constants, DeviceModel, Draws, Positive, Real, Spread
from neurosim_ep.tiles.devices.nonlinearity import LARGEST_NL, curve_parameter

SMALLEST_SLOPE = 1e-12
"""Stands for a slope of 0, so that the geometric series of many pulses needs no second formula."""
STEEPEST_SLOPE = -0.999999


class StepModel(DeviceModel):
    """Models whose pulses are multiples of ``dw_min``.

    Per device ``g = 1 + dw_min_dtod N`` (``exp(dw_min_dtod N)`` with ``dw_min_dtod_log_normal``) is shared by both
    directions and ``r = up_down_dtod N`` has opposite signs in them: ``s_up = (g + r + min(up_down, 0)) dw_min`` and
    ``s_down = (g - r - max(up_down, 0)) dw_min``, without their signs. ``dw_min_std``: noise of each pulse.
    """

    dw_min: Positive
    dw_min_dtod: Spread = 0.0
    dw_min_dtod_log_normal: bool = False
    dw_min_std: Spread = 0.0
    up_down: Annotated[float, Field(gt=-1, lt=1)] = 0.0
    up_down_dtod: Spread = 0.0

    def steps(self, draws: Draws) -> tuple[Tensor, Tensor]:
        """``s_up`` and ``s_down`` of every device."""
        shared = draws.normal(0.0 if self.dw_min_dtod_log_normal else 1.0, self.dw_min_dtod)
        shared = shared.exp() if self.dw_min_dtod_log_normal else shared
        opposed = draws.normal(0.0, self.up_down_dtod)
        up = (shared + opposed + min(self.up_down, 0.0)) * self.dw_min
        down = (shared - opposed - max(self.up_down, 0.0)) * self.dw_min
        return up.abs(), down.abs()

    def noise(self, step: Tensor, w: Tensor, constants: Constants, raising: bool) -> Tensor | None:
        return step.abs().mul_(self.dw_min_std) if self.dw_min_std > 0 else None

    @property
    def noise_scale(self) -> float:
        return self.dw_min_std * self.dw_min


class ConstantStep(StepModel):
    """The same step at every weight: ``w += s_up (1 + c N)``, ``w -= s_down (1 + c N)``."""

    name = "constant"
    sentence = "the same step at every weight"
    family = families.CONSTANT
    closed_form: ClassVar[bool] = True

    def up(self, w: Tensor, constants: Constants) -> Tensor:
        return torch.zeros_like(w).add_(constants["up"])

    def down(self, w: Tensor, constants: Constants) -> Tensor:
        return torch.zeros_like(w).sub_(constants["down"])

    def _smooth_pulses(self, span: float) -> float:
        return float("inf")

    def advance(self, w: Tensor, pulses: Tensor, constants: Constants, raising: bool) -> tuple[Tensor, Tensor]:
        step = self.step(w, constants, raising)
        return step * pulses, step

    def draw_steps(self, constants: Constants, draws: Draws) -> None:
        constants["up"], constants["down"] = self.steps(draws)


class AffineModel(DeviceModel):
    """Models whose steps are straight lines of the weight, ``up_step + up_slope w`` and ``down_step + down_slope w``.

    Many pulses of one direction are a geometric series: n of them change w by step(w) ((1 + slope)^n - 1) / slope.
    """

    closed_form: ClassVar[bool] = True

    def up(self, w: Tensor, constants: Constants) -> Tensor:
        return torch.addcmul(constants["up_step"].to(w.dtype), w, constants["up_slope"].to(w.dtype))

    def down(self, w: Tensor, constants: Constants) -> Tensor:
        return torch.addcmul(constants["down_step"].to(w.dtype), w, constants["down_slope"].to(w.dtype))

    def advance(self, w: Tensor, pulses: Tensor, constants: Constants, raising: bool) -> tuple[Tensor, Tensor]:
        slope = constants["up_slope" if raising else "down_slope"]
        series = slope.clamp_min(STEEPEST_SLOPE).log1p().mul(pulses).expm1_().div_(slope)
        change = self.step(w, constants, raising).mul_(series)
        return change, change / pulses

    def symmetry_point(self, constants: Constants | None = None) -> Tensor:
        """Weight at which a pulse up and a pulse down cancel in the mean; NaN where there is none within the bounds."""
        constants = self._or_mean(constants)
        slope = constants["up_slope"] + constants["down_slope"]
        point = -(constants["up_step"] + constants["down_step"]) / slope
        inside = (point >= constants["w_min"]) & (point <= constants["w_max"])
        return torch.where(inside & (slope.abs() > 3 * SMALLEST_SLOPE), point, torch.nan)

    @staticmethod
    def _set_lines(constants: Constants, up: tuple[Tensor, Tensor], down: tuple[Tensor, Tensor]) -> None:
        for name, (step, slope) in (("up", up), ("down", down)):
            constants[f"{name}_step"] = step
            constants[f"{name}_slope"] = torch.where(slope.abs() < SMALLEST_SLOPE, SMALLEST_SLOPE, slope)


class AffineStep(StepModel, AffineModel):
    """Affine models with noise on the whole step (``mult_noise``) or on its constant part only."""

    mult_noise: bool = True

    @model_validator(mode="after")
    def _bounds_enclose_zero(self) -> Self:
        if not self.w_min < 0 < self.w_max:
            raise ValueError(f"w_min ({self.w_min:g}) must be below 0 and w_max ({self.w_max:g}) above it")
        return self

    def noise(self, step: Tensor, w: Tensor, constants: Constants, raising: bool) -> Tensor | None:
        if self.mult_noise or self.dw_min_std == 0:
            return StepModel.noise(self, step, w, constants, raising)
        return constants["up_noise" if raising else "down_noise"].expand_as(w)

    def _keep_noise(self, constants: Constants, up: Tensor, down: Tensor) -> None:
        if not self.mult_noise and self.dw_min_std > 0:
            constants["up_noise"], constants["down_noise"] = up * self.dw_min_std, down * self.dw_min_std


class LinearStep(AffineStep):
    """Steps that shrink towards the bounds: ``w += (s_up + k_up w)(1 + c N)``, ``w -= (s_down + k_down w)(1 + c N)``.

    ``k_up = -|gamma_up + gamma_up_dtod N| s_up / w_max`` and ``k_down`` likewise with ``w_min``; bounds of the device
    itself unless ``mean_bound_reference``. Without ``mult_noise``: ``w += k_up w + s_up (1 + c N)``.
    """

    name = "linear"
    sentence = "steps that shrink towards the bounds, as a straight line of the weight"
    family = families.LINEAR

    gamma_up: Spread
    gamma_down: Spread
    gamma_up_dtod: Spread = 0.0
    gamma_down_dtod: Spread = 0.0
    mean_bound_reference: bool = True

    def draw_steps(self, constants: Constants, draws: Draws) -> None:
        up, down = self.steps(draws)
        upper: Tensor | float = self.w_max if self.mean_bound_reference else constants["w_max"]
        lower: Tensor | float = self.w_min if self.mean_bound_reference else constants["w_min"]
        up_slope = -draws.normal(self.gamma_up, self.gamma_up_dtod).abs() * up / upper
        down_slope = draws.normal(self.gamma_down, self.gamma_down_dtod).abs() * down / lower
        self._set_lines(constants, (up, up_slope), (-down, down_slope))
        self._keep_noise(constants, up, down)


class SoftBounds(AffineStep):
    """Steps that vanish at the bounds, measured from a reference device: with ``v = w + ref``,
    ``v += s_up (1 - v / b_max)(1 + c N)``, ``v -= s_down (1 - v / b_min)(1 + c N)``.

    Without ``mult_noise``: ``v += s_up (1 - v / b_max + c N)``. ``ref = reference_mean + reference_std N``, plus the
    symmetry point of the device, where up and down cancel, with ``subtract_symmetry_point``. Slopes vary as
    ``|1 + slope_up_dtod N|``, and the bound of the direction with them. Without a reference this is the soft-bounds
    device with the weight itself as ``v``.
    """

    name = "soft_bounds"
    sentence = "steps that vanish at the bounds, measured from a reference device"
    family = families.SOFT_BOUNDS

    slope_up_dtod: Spread = 0.0
    slope_down_dtod: Spread = 0.0
    reference_mean: Real = 0.0
    reference_std: Spread = 0.0
    subtract_symmetry_point: bool = False

    def draw_steps(self, constants: Constants, draws: Draws) -> None:
        up, down = self.steps(draws)
        upper = constants["w_max"] / draws.normal(1.0, self.slope_up_dtod).abs()
        lower = constants["w_min"] / draws.normal(1.0, self.slope_down_dtod).abs()
        reference = draws.normal(self.reference_mean, self.reference_std)
        if self.subtract_symmetry_point:
            reference = reference + (up - down) / (up / upper - down / lower)
        up_line = (up * (1 - reference / upper), -up / upper)
        down_line = (-down * (1 - reference / lower), down / lower)
        self._set_lines(constants, up_line, down_line)
        self._keep_noise(constants, up, down)
        constants["w_max"], constants["w_min"] = upper - reference, lower - reference


class BentStep(StepModel):
    """Models whose steps are a share of ``s_up`` and ``s_down`` that changes with the weight."""

    @abstractmethod
    def share(self, w: Tensor, constants: Constants, raising: bool) -> Tensor:
        """The share at ``w``, a new tensor."""

    def up(self, w: Tensor, constants: Constants) -> Tensor:
        return self.share(w, constants, raising=True).mul_(constants["up"])

    def down(self, w: Tensor, constants: Constants) -> Tensor:
        return self.share(w, constants, raising=False).mul_(constants["down"]).neg_()

    def draw_steps(self, constants: Constants, draws: Draws) -> None:
        """The steps, and 1 / (b_max - b_min), 0 where they are equal."""
        constants["up"], constants["down"] = self.steps(draws)
        span = constants["w_max"] - constants["w_min"]
        constants["per_span"] = torch.where(span > 0, 1 / span, 0.0)


class ExpStep(BentStep):
    """Steps that change exponentially with ``z = 2 a w / (b_max - b_min) + b``:
    ``w += s_up max(1 - A_up e^(gamma_up z), 0)(1 + c N)``,
    ``w -= s_down max(1 - A_down e^(-gamma_down z), 0)(1 + c N)``.

    With ``dw_min_std_add`` or ``dw_min_std_slope`` the noise of a step dw is
    ``c (|dw| + dw_min_std_add + dw_min_std_slope |w|)`` instead.
    """

    name = "exponential"
    sentence = "steps that change exponentially with the weight"
    family = families.EXPONENTIAL

    a: Real = 1.0
    b: Real = 0.0
    A_up: Real
    A_down: Real
    gamma_up: Real
    gamma_down: Real
    dw_min_std_add: Spread = 0.0
    dw_min_std_slope: Spread = 0.0

    def share(self, w: Tensor, constants: Constants, raising: bool) -> Tensor:
        amplitude, gamma = (self.A_up, self.gamma_up) if raising else (self.A_down, -self.gamma_down)
        z = (w * constants["per_span"]).mul_(2 * self.a).add_(self.b)
        return z.mul_(gamma).exp_().mul_(-amplitude).add_(1).clamp_min_(0)

    def noise(self, step: Tensor, w: Tensor, constants: Constants, raising: bool) -> Tensor | None:
        found = super().noise(step, w, constants, raising)
        if found is None or not (self.dw_min_std_add or self.dw_min_std_slope):
            return found
        found.add_(self.dw_min_std * self.dw_min_std_add)
        return found.add_(w.abs(), alpha=self.dw_min_std * self.dw_min_std_slope)

    @property
    def noise_scale(self) -> float:
        extreme = max(abs(self.w_max), abs(self.w_min))
        return self.dw_min_std * (self.dw_min + self.dw_min_std_add + self.dw_min_std_slope * extreme)


class PowStep(BentStep):
    """Steps that are a power of the way left to the bound:
    ``w += s_up ((b_max - w) / (b_max - b_min))^g_up (1 + c N)``,
    ``w -= s_down ((w - b_min) / (b_max - b_min))^g_down (1 + c N)``.

    ``g_up = |1 + min(pow_up_down, 0) + pow_gamma_dtod N + r| pow_gamma`` and ``g_down = |1 - max(pow_up_down, 0) +
    pow_gamma_dtod N - r| pow_gamma`` with ``r = pow_up_down_dtod N``; the N of ``pow_gamma_dtod`` is the same in both.
    """

    name = "power"
    sentence = "steps that are a power of the way left to the bound"
    family = families.POWER

    pow_gamma: Positive
    pow_gamma_dtod: Spread = 0.0
    pow_up_down: Real = 0.0
    pow_up_down_dtod: Spread = 0.0

    def share(self, w: Tensor, constants: Constants, raising: bool) -> Tensor:
        left = constants["w_max"] - w if raising else w - constants["w_min"]
        return left.mul_(constants["per_span"]).clamp_min_(0).pow_(constants["up_power" if raising else "down_power"])

    def draw_steps(self, constants: Constants, draws: Draws) -> None:
        super().draw_steps(constants, draws)
        shared, opposed = draws.normal(1.0, self.pow_gamma_dtod), draws.normal(0.0, self.pow_up_down_dtod)
        constants["up_power"] = (shared + opposed + min(self.pow_up_down, 0.0)).abs() * self.pow_gamma
        constants["down_power"] = (shared - opposed - max(self.pow_up_down, 0.0)).abs() * self.pow_gamma


class PiecewiseStep(BentStep):
    """Steps interpolated between nodes that are evenly spaced from ``b_min`` to ``b_max``:
    ``w += s_up v_up(w)(1 + c N)``, ``w -= s_down v_down(w)(1 + c N)``.
    """

    name = "piecewise"
    sentence = "steps interpolated between evenly spaced nodes"
    family = families.PIECEWISE

    v_up: Annotated[list[Spread], Field(min_length=2, max_length=1000)]
    v_down: Annotated[list[Spread], Field(min_length=2, max_length=1000)]

    def share(self, w: Tensor, constants: Constants, raising: bool) -> Tensor:
        nodes = self.v_up if raising else self.v_down
        place = (w - constants["w_min"]).mul_(constants["per_span"]).clamp_(0, 1).mul_(len(nodes) - 1)
        below = place.floor().clamp_max_(len(nodes) - 2)
        values = torch.tensor(nodes, dtype=w.dtype, device=w.device)
        index = below.long()
        return torch.lerp(values[index], values[index + 1], place.sub_(below))


class NeuroSimNL(AffineModel):
    """The saturating exponential of NeuroSim: ``w(P) = 2 (1 - e^(-P/A)) / (1 - e^(-levels/A)) - 1`` after P pulses.

    ``A / levels`` follows from the nonlinearity label, see :mod:`~neurosim_ep.tiles.devices.nonlinearity`; a negative
    label is a convex curve. Pulses up move P along the curve of ``nl_ltp`` (potentiation), pulses down along that of
    ``nl_ltd`` (depression). ``c2c``: every pulse adds ``2 c2c N``, so n pulses add ``2 c2c sqrt(n) N``. ``d2d``: every
    device has ``d2d N`` added to both labels. Weights lie in [-1, 1] in all devices, and ``dw_min = 2 / levels``.
    A pulse is a straight line of the weight, from which n pulses follow in closed form.
    """

    name = "neurosim_nl"
    sentence = "the saturating exponential of NeuroSim, by its nonlinearity labels"
    family = families.NEUROSIM_NL

    w_max: Annotated[float, Field(ge=1, le=1)] = 1.0
    w_min: Annotated[float, Field(ge=-1, le=-1)] = -1.0
    w_max_dtod: Annotated[float, Field(ge=0, le=0)] = 0.0
    w_min_dtod: Annotated[float, Field(ge=0, le=0)] = 0.0
    nl_ltp: Annotated[float, Field(ge=-9, le=9)]
    nl_ltd: Annotated[float, Field(ge=-9, le=9)]
    levels: Annotated[float, Field(ge=2, le=1e6)]
    c2c: Spread = 0.0
    d2d: Spread = 0.0

    @property
    def dw_min(self) -> float:
        """Mean step of a device with straight curves."""
        return 2 / self.levels

    def noise(self, step: Tensor, w: Tensor, constants: Constants, raising: bool) -> Tensor | None:
        return torch.full_like(w, 2 * self.c2c) if self.c2c > 0 else None

    @property
    def noise_scale(self) -> float:
        return 2 * self.c2c

    def draw_steps(self, constants: Constants, draws: Draws) -> None:
        shift = draws.normal(0.0, self.d2d)
        lines = []
        for label, direction in ((self.nl_ltp, 1.0), (self.nl_ltd, -1.0)):
            bend = 1 / curve_parameter((shift.double() + label).clamp_(-LARGEST_NL, LARGEST_NL))
            fraction = torch.expm1(-direction * bend / self.levels)
            whole = -torch.expm1(-bend)
            straight = bend.abs() < 1e-9
            step = torch.where(straight, direction * self.dw_min, -fraction * (2 / whole - 1))
            slope = torch.where(straight, 0.0, fraction)
            lines.append((step.to(shift.dtype), slope.to(shift.dtype)))
        self._set_lines(constants, *lines)
