"""The pulse response of a device: as many pulses up as it has steps, then as many down."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from neurosim_ep.tiles.devices.array import DeviceArray
from neurosim_ep.tiles.devices.base import DeviceModel

POINTS = 120


@dataclass(frozen=True)
class Response:
    """Weights after ``pulses`` [P] pulses, the first half up: of the mean device ``mean`` [P] without noise, and of
    single ``samples`` [devices, P].
    """

    name: str
    pulses: np.ndarray
    mean: np.ndarray
    samples: np.ndarray


def pulse_response(model: DeviceModel, devices: int = 5, seed: int = 0) -> Response:
    """Response from the lower bound: ``(w_max - w_min) / dw_min`` pulses up, then as many down."""
    each = math.ceil((model.w_max - model.w_min) / model.dw_min)
    size = math.ceil(each / POINTS)
    rounds = math.ceil(each / size)
    random = torch.Generator().manual_seed(seed)
    array = DeviceArray(model, (devices,), random)
    array.program(torch.full((devices,), model.w_min))
    constants = model.draw((), None)
    mean = [constants["w_min"].reshape(1).clone()]
    samples = [array.w.clone()]
    for raising in (True,) * rounds + (False,) * rounds:
        w = mean[-1].clone()
        for _ in range(size):
            w = (w + model.step(w, constants, raising)).clamp_(constants["w_min"], constants["w_max"])
        mean.append(w)
        array.pulse(torch.full((devices,), float(size if raising else -size)), random)
        samples.append(array.w.clone())
    pulses = np.arange(2 * rounds + 1) * size
    return Response(model.preset, pulses, torch.cat(mean).numpy(), torch.stack(samples, 1).numpy())
