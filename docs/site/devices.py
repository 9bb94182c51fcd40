"""Redraw docs/images/devices.png, the pulse responses of the shipped devices: ``python docs/site/devices.py``.

A device gets as many pulses up as ``dw_min`` fits into its range, then as many down.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neurosim_ep.analysis.style import FAINT, INK, PALETTE, Output, canvas, save
from neurosim_ep.resources import shipped_files
from neurosim_ep.tiles.devices.array import DeviceArray
from neurosim_ep.tiles.devices.base import DeviceModel
from neurosim_ep.tiles.devices.file import load_device

IMAGES = Path(__file__).parents[1] / "images"
COLUMNS, POINTS, DEVICES = 4, 120, 5


@dataclass(frozen=True)
class Response:
    """Weights after ``pulses`` [P] pulses, the first half up: of the mean device ``mean`` [P] without noise, and of
    single ``samples`` [devices, P].
    """

    name: str
    pulses: np.ndarray
    mean: np.ndarray
    samples: np.ndarray


def response(model: DeviceModel) -> Response:
    """Response from the lower bound: ``(w_max - w_min) / dw_min`` pulses up, then as many down."""
    each = math.ceil((model.w_max - model.w_min) / model.dw_min)
    size = math.ceil(each / POINTS)
    rounds = math.ceil(each / size)
    random = torch.Generator().manual_seed(0)
    array = DeviceArray(model, (DEVICES,), random)
    array.program(torch.full((DEVICES,), model.w_min))
    constants = model.draw((), None)
    mean = [constants["w_min"].reshape(1).clone()]
    samples = [array.w.clone()]
    for raising in (True,) * rounds + (False,) * rounds:
        w = mean[-1].clone()
        for _ in range(size):
            w = (w + model.step(w, constants, raising)).clamp_(constants["w_min"], constants["w_max"])
        mean.append(w)
        array.pulse(torch.full((DEVICES,), float(size if raising else -size)), random)
        samples.append(array.w.clone())
    pulses = np.arange(2 * rounds + 1) * size
    return Response(model.preset, pulses, torch.cat(mean).numpy(), torch.stack(samples, 1).numpy())


def draw(names: Iterable[str]) -> Figure:
    """A panel per device: weight against pulses, up and then down, of the mean device and of sample devices."""
    responses = [response(load_device(name)) for name in names]
    columns = min(COLUMNS, len(responses))
    rows = math.ceil(len(responses) / columns)
    figure = canvas(
        "Pulse response of memory devices",
        "Pulses up, as many as dw_min fits into the range of the device, then as many down (shaded).",
        "Weight after programming pulses. Thick: mean device without noise. Thin: devices with their variations.",
        width=3.0 * columns + 0.6,
        height=2.3 * rows + 1.3,
    )
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, one in zip(panels, responses, strict=False):
        _draw_response(axes, one)
    for axes in panels[len(responses) :]:
        axes.set_visible(False)
    figure.supxlabel("programming pulses", fontsize=10)
    figure.supylabel("weight", fontsize=10)
    return figure


def _draw_response(axes: Axes, one: Response) -> None:
    turn = one.pulses[-1] / 2
    axes.axvspan(turn, one.pulses[-1], color="#F2F2F2", zorder=0, lw=0)
    axes.axhline(0, color=FAINT, lw=0.8, zorder=0.5)
    for sample in one.samples:
        axes.plot(one.pulses, sample, color=PALETTE[5], lw=0.7, alpha=0.9)
    axes.plot(one.pulses, one.mean, color=INK, lw=2.0)
    axes.set_title(one.name)
    axes.set_xlim(0, one.pulses[-1])
    axes.set_xticks([0, turn, 2 * turn], ["0", f"{turn:.0f}", f"{2 * turn:.0f}"])


if __name__ == "__main__":
    save(lambda: draw(sorted(shipped_files("hwmodels/devices"))), IMAGES / "devices", Output(("png",)))
