"""Fit an update model to measured potentiation and depression, and write it as a device file.

The mean response of the model is fitted to whole sweeps (pulses of one direction in a row), each from its first
reading, by least squares: noise of single readings does not bend the curve, as it would if steps were fitted. Noise
between cycles and between devices is then estimated from what the steps leave over. With "best", all models are fitted
and the one with the least AIC is taken. As steps add up, readings of a sweep are not independent: AIC counts only
N (1 - rho) / (1 + rho) of N readings, at least one per sweep, where rho is the correlation of neighbouring residuals of
the closest model. It remains a guide; the table shows all models.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from scipy.optimize import least_squares

from neurosim_ep.errors import DataError, UsageError
from neurosim_ep.registry import DEVICES
from neurosim_ep.tiles.devices.base import DeviceModel
from neurosim_ep.tiles.devices.families import STEP_RATIO, Family
from neurosim_ep.tiles.devices.file import parse_device
from neurosim_ep.tiles.devices.measurements import Measurements, Sweep, read_measurements

POINTS = 32
"""Pulses are taken in so many steps per sweep where a model has no closed form, with a spline between."""
EVALUATIONS = 40
SMALLEST_RESIDUAL = 1e-9
"""Standard deviation below which residuals are rounding, so that AIC does not rank rounding errors."""
LARGEST_RESIDUAL = 0.2
"""Of a range of 2: a model that leaves more over does not describe the data."""


@dataclass(frozen=True)
class Candidate:
    """One model fitted to the sweeps: mean constants, and what it leaves over of every reading (of a range of 2)."""

    kind: str
    constants: dict[str, Any]
    parameters: int
    residuals: np.ndarray
    converged: bool

    @property
    def residual(self) -> float:
        """Root mean square residual."""
        return math.sqrt(float((self.residuals**2).mean()))

    def aic(self, independent: float) -> float:
        """Akaike's criterion when so many readings are independent, up to a constant."""
        return 2 * independent * math.log(max(self.residual, SMALLEST_RESIDUAL)) + 2 * self.parameters

    @property
    def model(self) -> DeviceModel:
        model: DeviceModel = DEVICES[self.kind].model_validate({"preset": self.kind, **self.constants})
        return model


@dataclass(frozen=True)
class Estimate:
    """A number of the fitted device, with where it comes from."""

    value: Any
    source: str
    kind: str


@dataclass(frozen=True)
class DeviceFit:
    """The model that was chosen for ``path``, and all that were tried, best first."""

    path: Path
    data: Measurements
    chosen: Candidate
    candidates: tuple[Candidate, ...]
    independent: float

    def rows(self) -> list[dict[str, str]]:
        """Table of the models that were fitted; ``*`` marks the chosen one."""
        return [
            {
                "": "*" if candidate is self.chosen else "",
                "model": candidate.kind,
                "parameters": str(candidate.parameters),
                "residual [% of range]": f"{50 * candidate.residual:.3f}",
                "AIC": f"{candidate.aic(self.independent):.1f}",
                "converged": "yes" if candidate.converged else "no",
            }
            for candidate in self.candidates
        ]

    def document(self) -> dict[str, Any]:
        """The fit for programs: the ``model`` that was chosen, the numbers of its device, and all that were fitted."""
        return {
            "data": self.path,
            "model": self.chosen.kind,
            "constants": {name: asdict(one) for name, one in self.estimates.items()},
            "models": [
                {
                    "model": one.kind,
                    "parameters": one.parameters,
                    "residual": one.residual / 2,
                    "aic": one.aic(self.independent),
                    "converged": one.converged,
                }
                for one in self.candidates
            ],
            "doubts": self.doubts,
        }

    @property
    def doubts(self) -> list[str]:
        """What speaks against the fit; nothing where it is a good one."""
        wrong = [
            f'pulses "{"up" if raising else "down"}" {"lower" if raising else "raise"} what is read; is the column '
            "direction right?"
            for raising in (True, False)
            if (_net_change(self.data.sweeps, raising) > 0) != raising
        ]
        if self.chosen.residual > LARGEST_RESIDUAL:
            wrong.append(
                f"model {self.chosen.kind} leaves {50 * self.chosen.residual:.2g} % of the range over; at most "
                f"{50 * LARGEST_RESIDUAL:g} % is a fit"
            )
        return wrong

    @cached_property
    def estimates(self) -> dict[str, Estimate]:
        """Every constant of the device file: those of the mean response, then the spreads."""
        sweeps = "a sweep" if len(self.data.sweeps) == 1 else f"{len(self.data.sweeps)} sweeps"
        source = f"fit to {sweeps} of {self.path.name}, residual {50 * self.chosen.residual:.2g} % of the range"
        source += "" if self.chosen.converged else "; stopped before it converged"
        source += "".join(f"; {doubt}" for doubt in self.doubts)
        found = {name: Estimate(value, source, "model") for name, value in self.chosen.constants.items()}
        spreads = {"dw_min_std": self._spread, "c2c": self._nl_spread}
        known = type(self.model).model_fields
        return found | next((spread() for name, spread in spreads.items() if name in known), {})

    def _nl_spread(self) -> dict[str, Estimate]:
        left, pulses, _ = self._steps_left()
        source = f"rest of {len(left)} steps of {self.path.name}, noise of the reading included"
        return {
            "c2c": Estimate(math.sqrt(float((left**2 / pulses).mean())) / 2, source, "measured"),
            "d2d": Estimate(0.0, "not estimated from pulses; give it if it is known", "assumed"),
        }

    def _spread(self) -> dict[str, Estimate]:
        left, pulses, step = self._steps_left()
        noise = math.sqrt(float((left**2).sum() / (pulses * step**2).sum()))
        found = {
            "dw_min_std": Estimate(
                noise, f"rest of {len(left)} steps of {self.path.name}, noise of the reading included", "measured"
            )
        }
        devices = self.data.devices
        if len(devices) < 2:
            nothing = "one device measured: no spread between devices is known"
            return found | {name: Estimate(0.0, nothing, "assumed") for name in ("dw_min_dtod", "up_down_dtod")}
        scales = np.array([[self._scale(name, raising) for raising in (True, False)] for name in devices])
        shared, opposed = scales[..., 0].mean(1), (scales[:, 0, 0] - scales[:, 1, 0]) / 2
        uncertainty = float(np.nanmean(scales[..., 1].sum(1))) / 4
        source = f"spread of the steps of {len(devices)} devices in {self.path.name}, less their uncertainty"
        for name, values in (("dw_min_dtod", shared), ("up_down_dtod", opposed)):
            spread = math.sqrt(max(float(np.nanvar(values, ddof=1)) - uncertainty, 0.0))
            found[name] = Estimate(spread, source, "measured")
        return found

    def _steps_left(self, sweeps: Sequence[Sweep] | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the model leaves over of every measured change, its pulses, and the mean step of one of these."""
        parts = [self._steps_of(sweep) for sweep in (self.data.sweeps if sweeps is None else sweeps)]
        change, pulses, predicted = (np.concatenate(part) for part in zip(*parts, strict=True))
        return change - predicted, pulses, predicted / pulses

    def _steps_of(self, sweep: Sweep) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Measured changes between readings, their pulses, and the changes predicted from the weights before."""
        pulses, before = np.diff(sweep.pulses), sweep.w[:-1]
        constants = self.model.draw((), None)
        predicted, _ = self.model.advance(torch.from_numpy(before), torch.from_numpy(pulses), constants, sweep.raising)
        after = np.clip(before + predicted.numpy(), float(constants["w_min"]), float(constants["w_max"]))
        return np.diff(sweep.w), pulses, after - before

    def _scale(self, device: str, raising: bool) -> tuple[float, float]:
        """Steps of a device relative to the fit, by least squares, and the variance of that ratio."""
        sweeps = [sweep for sweep in self.data.sweeps if sweep.device == device and sweep.raising == raising]
        if not sweeps:
            return math.nan, math.nan
        left, pulses, step = self._steps_left(sweeps)
        predicted = pulses * step
        power = float((predicted**2).sum())
        ratio = 1 + float((left * predicted).sum()) / power
        rest = left - (ratio - 1) * predicted
        return ratio, float((rest**2 * predicted**2).sum()) / power**2

    @cached_property
    def model(self) -> DeviceModel:
        """The mean device, without spreads."""
        return self.chosen.model

    def predicted(self, sweep: Sweep) -> np.ndarray:
        """Mean weights of the model at the readings of ``sweep``, from its first one."""
        return predict(self.model, [sweep])

    def to_toml(self, name: str) -> str:
        """The device file."""
        devices = len(self.data.devices)
        lines = [
            "[device]",
            f"name = {_text(name)}",
            f'model = "{self.chosen.kind}"',
            f"description = {_text(f'fitted to {self.path.name}')}",
            f"source = {_text(f'{self.data.readings} readings of {devices} device(s) in {self.path.name}')}",
            "",
            "[constants]",
            *(_number(key, found) for key, found in self.estimates.items()),
        ]
        if self.data.range_S is not None:
            lines += ["", "[conductance]"]
            for key, word, end in zip(
                ("minimum_S", "maximum_S"), ("smallest", "largest"), self.data.range_S, strict=True
            ):
                lines.append(_number(key, Estimate(end, f"{word} value in {self.path.name}", "measured")))
        return "\n".join(lines) + "\n"

    def write(self, path: Path) -> None:
        """Write the device file, whole or not at all. Raises :class:`UsageError` rather than write over a file, or one
        that would not be read.
        """
        refuse_existing(path)
        try:
            parse_device(tomllib.loads(self.to_toml(path.stem)), str(path))
        except (ValueError, RecursionError) as problem:
            raise UsageError(
                f"{path}: would not be read as a device file, so it is not written: {problem}"
            ) from problem
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            temporary.write_text(self.to_toml(path.stem), encoding="utf-8")
            temporary.replace(path)
        except OSError as error:
            raise UsageError(f"{path}: cannot be written ({error.strerror}); choose another --out") from error


def fit_device(path: Path, model: str = "best") -> DeviceFit:
    """Fit the update model of this name, or the best of all, to the readings of a CSV file.

    Columns: see :mod:`~neurosim_ep.tiles.devices.measurements`. Conductances become weights between -1 (smallest
    reading) and 1 (largest). Raises :class:`DataError` for data that are not understood, :class:`UsageError` for an
    unknown model.
    """
    families = {law.name: law.family for law in DEVICES.values() if law.family is not None}
    if model != "best" and model not in families:
        raise UsageError(f'model "{model}": must be best or one of {", ".join(families)}')
    data = read_measurements(path)
    kinds = list(families) if model == "best" else [model]
    candidates = [_fit(kind, families[kind], data) for kind in kinds]
    closest = min(candidates, key=lambda candidate: candidate.residual)
    independent = max(_independent(closest.residuals), float(len(data.sweeps)))
    candidates.sort(key=lambda candidate: candidate.aic(independent))
    return DeviceFit(path, data, candidates[0], tuple(candidates), independent)


def _independent(residuals: np.ndarray) -> float:
    """Number of independent readings among those with these residuals."""
    squares = float((residuals**2).sum())
    rho = float((residuals[1:] * residuals[:-1]).sum()) / squares if squares > 0 else 0.0
    return len(residuals) * (1 - max(rho, 0.0)) / (1 + max(rho, 0.0))


def refuse_existing(*paths: Path) -> None:
    """Raise :class:`UsageError` when one of the files exists."""
    for path in paths:
        if path.exists():
            raise UsageError(f"{path}: exists already; name another file with --out, or move it away")


def predict(model: DeviceModel, sweeps: Sequence[Sweep]) -> np.ndarray:
    """Mean weights at all readings of sweeps of one direction, one after another, float64."""
    raising, constants = sweeps[0].raising, model.draw((), None)
    low, high = float(constants["w_min"]), float(constants["w_max"])
    starts = np.clip([sweep.w[0] for sweep in sweeps], low, high)
    if model.closed_form:
        start = torch.from_numpy(np.repeat(starts, [len(sweep.w) for sweep in sweeps]))
        pulses = torch.from_numpy(np.concatenate([sweep.pulses for sweep in sweeps]))
        change, _ = model.advance(start, pulses, constants, raising)
        return np.clip((start + change).numpy(), low, high)
    most = max(float(sweep.pulses[-1]) for sweep in sweeps)
    rounds = min(int(most), POINTS)
    pulses = torch.tensor(most / rounds, dtype=torch.float64)
    path = [torch.from_numpy(starts)]
    for _ in range(rounds):
        change, _ = model.advance(path[-1], pulses, constants, raising)
        path.append((path[-1] + change).clamp_(low, high))
    at = np.linspace(0, most, rounds + 1)
    curve = CubicSpline(at, torch.stack(path).numpy()) if rounds > 2 else None
    found = []
    for column, sweep in enumerate(sweeps):
        if curve is None:
            found.append(np.interp(sweep.pulses, at, [float(point[column]) for point in path]))
        else:
            found.append(np.clip(curve(sweep.pulses)[:, column], low, high))
    return np.concatenate(found)


def _fit(kind: str, family: Family, data: Measurements) -> Candidate:
    """The mean response of one model, from the best of its starts."""
    ways = [[sweep for sweep in data.sweeps if sweep.raising == raising] for raising in (True, False)]
    measured = np.concatenate([sweep.w for way in ways for sweep in way])
    mean_steps = [_mean_step(way) for way in ways]

    def residuals(values: np.ndarray) -> np.ndarray:
        model = DEVICES[kind].model_validate({"preset": kind, **_constants(family, mean_steps, values)})
        return np.concatenate([predict(model, way) for way in ways]) - measured

    low = np.array([-STEP_RATIO] * family.steps + list(family.low))
    high = np.array([STEP_RATIO] * family.steps + list(family.high))
    found = [
        least_squares(
            residuals, [0.0] * family.steps + list(start), bounds=(low, high), x_scale="jac", max_nfev=EVALUATIONS
        )
        for start in family.starts
    ]
    best = min(found, key=lambda result: float(result.cost))
    constants = _constants(family, mean_steps, best.x)
    return Candidate(kind, constants, len(low), best.fun, bool(best.status > 0))


def _constants(family: Family, mean_steps: Sequence[float], values: np.ndarray) -> dict[str, Any]:
    up, down = mean_steps
    if family.steps:
        up, down = up * math.exp(values[0]), down * math.exp(values[1])
    return family.build(up, down, values[family.steps :])


def _net_change(sweeps: Sequence[Sweep], raising: bool) -> float:
    """Change of the weights by all pulses of one direction."""
    return sum(float(sweep.w[-1] - sweep.w[0]) for sweep in sweeps if sweep.raising == raising)


def _mean_step(sweeps: Sequence[Sweep]) -> float:
    """Mean size of the change by one pulse."""
    change = abs(_net_change(sweeps, sweeps[0].raising))
    if change == 0:
        direction = "up" if sweeps[0].raising else "down"
        raise DataError(f'pulses "{direction}" change nothing on average; is the column direction right?')
    return change / sum(float(sweep.pulses[-1]) for sweep in sweeps)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _number(key: str, found: Estimate) -> str:
    value = json.dumps(found.value)
    return f'{key} = {{ value = {value}, source = {_text(found.source)}, kind = "{found.kind}" }}'
