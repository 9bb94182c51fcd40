"""The shipped devices: every published constant, and what one pulse does by the published formulas.

Constants are those of the presets of aihwkit (Rasch et al., arXiv 2104.02184) and of the defaults of NeuroSim V2.1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from neurosim_ep.resources import shipped_files
from neurosim_ep.tiles.devices.array import DeviceArray
from neurosim_ep.tiles.devices.file import load_device, read_device_file

SPREAD_3 = {"dw_min_dtod": 0.3, "dw_min_std": 0.3, "w_max": 1.0, "w_min": -1.0, "w_max_dtod": 0.3, "w_min_dtod": 0.3}
ECRAM = {
    "up_down": 0.0, "mult_noise": True, "dw_min_dtod": 0.1, "up_down_dtod": 0.01, "w_max_dtod": 0.05,
    "w_min_dtod": 0.05, "gamma_up_dtod": 0.05, "gamma_down_dtod": 0.05, "mean_bound_reference": True,
}  # fmt: skip
ARRAY = {
    "up_down": 0.0, "up_down_dtod": 0.01, "w_max": 1.0, "w_min": -1.0, "mult_noise": False,
    "dw_min_dtod_log_normal": True, "subtract_symmetry_point": True, "reference_std": 0.05,
    "corrupt_devices_range": 0.01, "corrupt_devices_prob": 0.0,
}  # fmt: skip
STUCK = {"corrupt_devices_range": 0.1}
PUBLISHED: dict[str, dict[str, Any]] = {
    "ReRamES": {
        "dw_min": 0.00135, "up_down": 0.259359, "w_max": 1.0, "w_min": -1.0, "a": -0.5, "b": -0.5, "gamma_up": 5.0,
        "gamma_down": 5.0, "A_up": -1.18445, "A_down": -0.081404, "dw_min_dtod": 0.2, "up_down_dtod": 0.05,
        "w_max_dtod": 0.3, "w_min_dtod": 0.3, "dw_min_std": 5.0, "write_noise_std": 75.0, **STUCK,
    },
    "ReRamSB": {
        "dw_min": 0.002, "up_down": 0.0, "w_max": 1.25, "w_min": -0.75, "mult_noise": False, "dw_min_dtod": 0.3,
        "up_down_dtod": 0.01, "w_max_dtod": 0.24, "w_min_dtod": 0.4, "dw_min_std": 3.75, "write_noise_std": 56.0,
        **STUCK,
    },
    "Capacitor": {
        "dw_min": 0.005, "up_down": 0.0, "w_max": 1.0, "w_min": -1.0, "mult_noise": False, "gamma_up": 0.05,
        "gamma_down": 0.05, "dw_min_dtod": 0.1, "up_down_dtod": 0.06, "w_max_dtod": 0.07, "w_min_dtod": 0.07,
        "gamma_up_dtod": 0.01, "gamma_down_dtod": 0.01, "dw_min_std": 0.3, "mean_bound_reference": True,
        "lifetime": 1e6, "lifetime_dtod": 0.3, **STUCK,
    },
    "EcRam": {
        "dw_min": 0.002, "w_max": 1.1724, "w_min": -0.8276, "gamma_up": 0.1153, "gamma_down": 0.5085,
        "dw_min_std": 0.3, **ECRAM, **STUCK,
    },
    "EcRamMO": {
        "dw_min": 2.8214e-4, "w_max": 1.1714, "w_min": -0.8286, "gamma_up": 0.4152, "gamma_down": 0.7342,
        "dw_min_std": 2.0, **ECRAM, **STUCK,
    },
    "Idealized": {"dw_min": 2e-4, "up_down": 0.0, "up_down_dtod": 0.0, **SPREAD_3, **STUCK},
    "GokmenVlasov": {"dw_min": 0.0016, "up_down": 0.0, "up_down_dtod": 0.01, **SPREAD_3, **STUCK},
    "PCM": {
        "dw_min": 0.01, "up_down": 0.0, "w_max": 2.0, "w_min": 0.0, "a": -1.0, "b": 0.0, "gamma_up": 2.5,
        "gamma_down": 2.5, "A_up": -27.235, "A_down": -2.235, "dw_min_dtod": 0.2, "up_down_dtod": 0.05,
        "w_max_dtod": 0.1, "w_min_dtod": 0.0, "dw_min_std": 0.6, "dw_min_std_add": 0.042, "dw_min_std_slope": 0.108,
        "reset": 0.01, "reset_dtod": 0.02, **STUCK,
    },
    "ReRamArrayOM": {
        "dw_min": 0.0949, "dw_min_dtod": 0.7829, "w_max_dtod": 0.3499, "w_min_dtod": 0.5695, "dw_min_std": 0.4158,
        "write_noise_std": 1.4113, **ARRAY,
    },
    "ReRamArrayHfO2": {
        "dw_min": 0.4622, "dw_min_dtod": 0.7125, "w_max_dtod": 0.4295, "w_min_dtod": 0.599, "dw_min_std": 0.2174,
        "write_noise_std": 0.5841, **ARRAY,
    },
    "NeuroSimNL": {
        "w_max": 1.0, "w_min": -1.0, "nl_ltp": 1.75, "nl_ltd": 1.46, "levels": 32.0, "c2c": 0.003, "d2d": 0.0,
    },
}  # fmt: skip
SMALL_BENDS = {1.75: 0.702081, 1.46: 0.848677}
"""A / levels of NeuroSim's labels."""


def test_constants_are_the_published_ones() -> None:
    assert sorted(PUBLISHED) == sorted(shipped_files("hwmodels/devices"))
    for name, published in PUBLISHED.items():
        assert {key: found.value for key, found in read_device_file(name).constants.items()} == published, name


def one_pulse(name: str, w: float, raising: bool) -> tuple[float, float]:
    """Mean and standard deviation of the change of ``w`` before it is clipped, of the mean device."""
    c = PUBLISHED[name]
    if name == "NeuroSimNL":
        bend = 1 / SMALL_BENDS[c["nl_ltp"] if raising else c["nl_ltd"]]
        whole = 2 / (1 - math.exp(-bend))
        pulses = -math.log(1 - (w + 1) / whole) / bend + (1 if raising else -1) / c["levels"]
        return whole * (1 - math.exp(-bend * pulses)) - 1 - w, 2 * c["c2c"]
    noise = c["dw_min_std"]
    step = (1 + min(c["up_down"], 0)) * c["dw_min"] if raising else (1 - max(c["up_down"], 0)) * c["dw_min"]
    way, bound = ("up", c["w_max"]) if raising else ("down", c["w_min"])
    if "A_up" in c:
        z = (2 * c["a"] * w / (c["w_max"] - c["w_min"]) + c["b"]) * (1 if raising else -1)
        change = step * max(1 - c[f"A_{way}"] * math.exp(c[f"gamma_{way}"] * z), 0)
        added = c.get("dw_min_std_add", 0) + c.get("dw_min_std_slope", 0) * abs(w)
        return change if raising else -change, noise * (change + added)
    slope = c.get("gamma_up" if raising else "gamma_down", 1.0 if "mult_noise" in c else 0.0)
    change = step * (1 - slope * w / bound)
    return change if raising else -change, noise * (change if c.get("mult_noise", True) else step)


def clipped(mean: float, deviation: float, low: float, high: float) -> tuple[float, float]:
    """Mean and standard deviation of a normal number that is clipped to [low, high]."""
    normal = np.linspace(-8, 8, 40_001)
    weights = np.exp(-(normal**2) / 2)
    weights /= weights.sum()
    value = np.clip(mean + deviation * normal, low, high)
    found = float((weights * value).sum())
    return found, math.sqrt(float((weights * (value - found) ** 2).sum()))


@pytest.mark.parametrize("name", PUBLISHED)
def test_single_pulses_deviate_as_published(name: str) -> None:
    """40,000 devices without spread between them, near both bounds and in the middle."""
    spreads = {key: 0.0 for key in PUBLISHED[name] if key.endswith(("_dtod", "reference_std", "write_noise_std"))}
    model = load_device(name, spreads)
    for share in (0.05, 0.5, 0.95):
        w = model.w_min + share * (model.w_max - model.w_min)
        for raising in (True, False):
            array = DeviceArray(model, (40_000,), torch.Generator().manual_seed(0))
            array.program(torch.full((40_000,), w))
            array.pulse(torch.full((40_000,), 1.0 if raising else -1.0), torch.Generator().manual_seed(1))
            change, deviation = one_pulse(name, w, raising)
            mean, std = clipped(w + change, deviation, model.w_min, model.w_max)
            found = array.w.double()
            assert float(found.std()) == pytest.approx(std, rel=0.03, abs=1e-6), (w, raising)
            assert float(found.mean()) == pytest.approx(mean, abs=5 * std / 200 + 1e-6), (w, raising)


@pytest.mark.parametrize(("name", "wanted"), [("ReRamArrayOM", 0.039), ("ReRamArrayHfO2", 0.076)])
def test_noise_of_the_arrays_does_not_vanish_at_the_bounds(name: str, wanted: float) -> None:
    assert clipped(0.9 + one_pulse(name, 0.9, True)[0], one_pulse(name, 0.9, True)[1], -1, 1)[1] == pytest.approx(
        wanted, abs=5e-4
    )


@pytest.mark.parametrize(
    "name", [name for name, constants in PUBLISHED.items() if "corrupt_devices_range" in constants]
)
def test_stuck_devices_stay_near_zero(name: str) -> None:
    array = DeviceArray(load_device(name, {"corrupt_devices_prob": 1.0}), (2000,), torch.Generator().manual_seed(0))
    array.program(torch.full((2000,), 0.9))
    array.pulse(torch.full((2000,), 5.0), torch.Generator().manual_seed(1))
    most = PUBLISHED[name]["corrupt_devices_range"]
    assert 0.9 * most < float(array.w.abs().max()) <= most
    assert float(array.w.min()) < 0 or array.model.w_min == 0


def test_devices_without_a_lifetime_lose_their_weight_at_once() -> None:
    """``lifetime (1 + lifetime_dtod N)`` below 1: nothing is left after one update."""
    model = load_device("Capacitor", {"lifetime": 100.0, "lifetime_dtod": 1.0})
    decay = model.draw_retention((10_000,), torch.Generator().manual_seed(0))["decay"]
    assert float((decay == 0).float().mean()) == pytest.approx(0.161, abs=0.01)  # P(N < -0.99)
