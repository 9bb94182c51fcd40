"""Statistics of programmed cells, against the published formulas written out once more."""

from __future__ import annotations

from math import log, log10, sqrt
from pathlib import Path

import pytest
import torch
from torch import Tensor

from neurosim_ep.errors import HardwareModelError, UsageError
from neurosim_ep.resources import shipped_files
from neurosim_ep.tiles.statistics import load_cells

DEVICES = 200_000
SHARES = (0.05, 0.3, 0.6, 0.95)
DAY = 86400.0


def pcm_std(g: float) -> float:
    rho = g / 25
    return 0.26348 + 1.9650 * rho - 1.1731 * rho**2


def wan_std(g: float, seconds: float) -> float:
    c = {
        1.0: (0.348, 16.030, -43.853, 45.393, -16.815),
        DAY: (0.701, 22.086, -50.773, 47.095, -16.458),
        2 * DAY: (0.782, 20.274, -43.507, 37.062, -11.934),
    }[seconds]
    return sum(coefficient * (g / 40) ** power for power, coefficient in enumerate(c))


PROGRAMMING_STD = {  # uS, of g in uS
    "pcm": pcm_std,
    "pcm_joshi": lambda g: -0.00178767 * g**2 + 0.07585724 * g + 0.28638599,
    "rram_milo": lambda g: -0.009107 * g + 4.782321,
    "rram_wan": lambda g: wan_std(g, 1.0),
    "rram_cmo": lambda g: 0.00081107 + 0.00106879 * g,
}
RANGE = {"pcm": (0, 25), "pcm_joshi": (0.25, 25), "rram_milo": (50, 225), "rram_wan": (0, 40), "rram_cmo": (9, 88.19)}


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def devices(g_uS: float, g_max_uS: float) -> Tensor:
    return torch.full((DEVICES,), g_uS / g_max_uS, dtype=torch.float64)


def conductances(name: str) -> list[float]:
    """Some conductances within the range of the file, in uS."""
    low, high = RANGE[name]
    return [low + share * (high - low) for share in SHARES]


def test_all_shipped_files_are_tested() -> None:
    assert set(shipped_files("hwmodels/cells")) == set(RANGE) == set(PROGRAMMING_STD)
    for name, (low, high) in RANGE.items():
        cells = load_cells(name)
        assert cells.name == name
        assert (cells.g_min_S, cells.g_max_S) == pytest.approx((low * 1e-6, high * 1e-6))


@pytest.mark.parametrize("name", RANGE)
def test_programming_error(name: str) -> None:
    cells, high = load_cells(name), RANGE[name][1]
    for g in conductances(name):
        std = PROGRAMMING_STD[name](g)
        assert float(cells.programming_std(devices(g, high))[0]) * high == pytest.approx(std, rel=1e-9)
        found = cells.programmed(devices(g, high), generator()) * high
        if g > 4 * std:  # else the clamp at 0 is seen
            assert float(found.mean()) == pytest.approx(g, rel=0.02)
            assert float(found.std()) == pytest.approx(std, rel=0.02)


@pytest.mark.parametrize("name", RANGE)
def test_no_conductance_is_negative(name: str) -> None:
    cells = load_cells(name)
    g = torch.zeros(DEVICES)
    programmed = cells.programmed(g, generator())
    assert float(programmed.min()) == 0.0
    assert float((programmed == 0).float().mean()) == pytest.approx(0.5, abs=0.01)
    drifted = cells.drifted(g, cells.drift_exponents(g, generator()), DAY)
    assert float(drifted.min()) >= 0.0
    assert bool(torch.isfinite(cells.read_sigma(g, DAY)).all())


@pytest.mark.parametrize("name", RANGE)
def test_statistics_are_held_outside_the_fits(name: str) -> None:
    cells, (low, high) = load_cells(name), RANGE[name]
    outside, ends = torch.tensor([0.0, 1.5]), torch.tensor([low / high, 1.0])
    assert torch.allclose(cells.programming_std(outside), cells.programming_std(ends))


@pytest.mark.parametrize("g", [0.5, 2.0, 5.0, 12.0, 24.0])
def test_drift_of_pcm(g: float) -> None:
    cells, mean = load_cells("pcm"), min(max(-0.0155 * log(g / 25) + 0.0244, 0.049), 0.1)
    std = min(max(-0.0125 * log(g / 25) - 0.0059, 0.008), 0.045)
    nu = cells.drift_exponents(devices(g, 25), generator())
    folded = mean + std * torch.randn(1_000_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert float(nu.mean()) == pytest.approx(float(folded.abs().mean()), rel=0.02)
    assert float(nu.std()) == pytest.approx(float(folded.abs().std()), rel=0.02)
    hour = cells.drifted(devices(g, 25), nu, 3600.0) * 25
    expected = g * (3600 / 20) ** -folded.abs()
    assert float(hour.mean()) == pytest.approx(float(expected.mean()), rel=0.02)
    assert float(hour.std()) == pytest.approx(float(expected.std()), rel=0.02)
    assert torch.equal(cells.drifted(devices(g, 25), nu, 19.0), devices(g, 25))


@pytest.mark.parametrize("seconds", [20.0, 3600.0, 1e7])
def test_read_noise_of_pcm(seconds: float) -> None:
    for g in (0.01, 0.1, 1.0, 10.0, 25.0):
        share = min(0.0088 / max((g / 25) ** 0.65, 1e-3), 0.2)
        expected = g * share * sqrt(log((seconds + 250e-9) / (2 * 250e-9)))
        found = load_cells("pcm").read_sigma(devices(g, 25), seconds)[0] * 25
        assert float(found) == pytest.approx(expected, rel=1e-9)
    assert float(load_cells("pcm").read_sigma(devices(10, 25), 0.0)[0]) == 0.0


@pytest.mark.parametrize("seconds", [1.0, DAY, 2 * DAY])
def test_spread_of_wan(seconds: float) -> None:
    cells = load_cells("rram_wan")
    for g in (8.0, 16.0, 32.0):
        target = devices(g, 40)
        random = generator()
        error = cells.programmed(target, random) - target
        exponent = cells.drift_exponents(target, random)
        later = cells.drifted(target, exponent, seconds) - target
        assert float((error + later).std()) * 40 == pytest.approx(wan_std(g, seconds), rel=0.02)
    for share in torch.linspace(0, 1, 101).tolist():  # spread grows, so that what is added is a real number
        assert wan_std(40 * share, DAY) > wan_std(40 * share, 1.0)
        assert wan_std(40 * share, 2 * DAY) > wan_std(40 * share, 1.0)


def test_wan_is_known_at_three_times_only() -> None:
    cells, g = load_cells("rram_wan"), torch.ones(3)
    with pytest.raises(UsageError, match=r"seconds = 3600: rram_wan is published only at 1, 86400, 172800 s"):
        cells.drifted(g, g, 3600.0)


@pytest.mark.parametrize("seconds", [1.0, 3600.0, 1e6])
def test_relaxation_and_read_noise_of_cmo(seconds: float) -> None:
    cells = load_cells("rram_cmo")
    for g in (9.0, 20.0, 50.0, 88.0):
        target = devices(g, 88.19)
        later = cells.drifted(target, cells.drift_exponents(target, generator()), seconds) * 88.19
        assert float(later.mean()) == pytest.approx(g - 0.08900206 * log(seconds), rel=0.02)
        assert float((later - g).mean()) == pytest.approx(-0.08900206 * log(seconds), abs=0.005)
        assert float(later.std()) == pytest.approx(0.04201137 * log(seconds) + 0.41183342, rel=0.02)
        read = 0.0277316483 * log10(g) * sqrt(log((seconds + 1e-6) / 2e-6))
        assert float(cells.read_sigma(target, seconds)[0]) * 88.19 == pytest.approx(read, rel=1e-6)
    assert torch.equal(cells.drifted(target, torch.ones_like(target), 0.5), target)


@pytest.mark.parametrize("name", ["pcm_joshi", "rram_milo"])
def test_what_is_not_published_is_zero(name: str) -> None:
    cells, g = load_cells(name), torch.rand(100, generator=generator())
    exponents = cells.drift_exponents(g, generator())
    assert not bool(exponents.any())
    assert torch.equal(cells.drifted(g, exponents, 1e6), g)
    assert not bool(cells.read_sigma(g, 1e6).any())


def test_draws_are_repeatable_and_keep_the_dtype() -> None:
    cells, g = load_cells("pcm"), torch.rand(4, 5, generator=generator())
    assert torch.equal(cells.programmed(g, generator()), cells.programmed(g, generator()))
    for found in (
        cells.programmed(g, generator()),
        cells.drifted(g, cells.drift_exponents(g, generator()), 100.0),
        cells.read_sigma(g, 100.0),
    ):
        assert (found.shape, found.dtype) == (g.shape, g.dtype)


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_bad_times(seconds: float) -> None:
    cells, g = load_cells("pcm"), torch.ones(1)
    with pytest.raises(UsageError, match="the time since programming"):
        cells.drifted(g, g, seconds)
    with pytest.raises(UsageError, match="the time since programming"):
        cells.read_sigma(g, seconds)


BAD = {
    "no source": (
        "pcm",
        'source = "aihwkit, PCMLikeNoiseModel, t_read", ',
        "",
        "read.read_time.source: is missing",
    ),
    "other unit": ("pcm", 'value = 25.0, unit = "uS"', 'value = 25.0, unit = "S"', 'conductance.max.unit = "S"'),
    "unknown key": ("pcm", "[read]", "[read]\nmore = 1", "read.more: unknown key"),
    "unknown law": ("pcm", 'law = "power"', 'law = "exponential"', 'drift.law = "exponential": must be '),
    "no law": ("pcm", 'law = "power"', "", "drift.law: is missing"),
    "text for a number": ("pcm", "value = 20.0", 'value = "20"', 'drift.start.value = "20"'),
    "range upside down": ("pcm", "[0.049, 0.1]", "[0.1, 0.049]", "must be lower and upper end"),
    "limits upside down": ("rram_milo", "value = 50.0", "value = 500.0", "min (500 uS) must be below max (225 uS)"),
    "times that fall": ("rram_wan", "[86400.0, 172800.0]", "[172800.0, 86400.0]", "times must grow"),
    "a time too many": ("rram_wan", "172800.0]", "172800.0, 259200.0]", "std has 2 polynomials, times has 3 times"),
    "not TOML": ("pcm", "[cell]", "[cell", "is not valid TOML"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files(case: str, tmp_path: Path) -> None:
    name, old, new, message = BAD[case]
    text = shipped_files("hwmodels/cells")[name].read_text("utf-8")
    assert text.count(old) == 1
    path = tmp_path / "cells.toml"
    path.write_text(text.replace(old, new), "utf-8")
    with pytest.raises(HardwareModelError) as caught:
        load_cells(str(path))
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_unknown_name() -> None:
    with pytest.raises(HardwareModelError, match="did you mean rram_wan"):
        load_cells("rram_wann")
