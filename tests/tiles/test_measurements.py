"""Measured pulses as people have them: other marks, units and encodings, sweeps counted anew, and bad fits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from neurosim_ep.cli import main
from neurosim_ep.errors import DataError
from neurosim_ep.tiles.devices.file import read_device_file
from neurosim_ep.tiles.devices.fit import fit_device
from neurosim_ep.tiles.devices.measurements import read_measurements

PULSES = 40
LOW_S, HIGH_S = 1e-9, 41e-9
Row = tuple[int, str, float]


def curve(count: int = PULSES) -> np.ndarray:
    """Conductances (count + 1,) under pulses with a step of a twentieth of the way left, with noise of a thousandth."""
    share = 1 - 0.95 ** np.arange(count + 1)
    noise = 1e-3 * np.random.default_rng(0).standard_normal(count + 1)
    return LOW_S + (HIGH_S - LOW_S) * (share / share[-1] + noise).clip(0)


def sweep(direction: str, values: np.ndarray, first: int = 0) -> list[Row]:
    return [(number, direction, float(value)) for number, value in enumerate(values, first)]


def cycle(up: str = "up", down: str = "down") -> list[Row]:
    """Up, then down again, counted through."""
    rising = curve()
    return sweep(up, rising) + sweep(down, LOW_S + HIGH_S - rising[1:], PULSES + 1)


def text_of(
    rows: Sequence[Row], separator: str = ",", mark: str = ".", name: str = "conductance_S", unit: float = 1
) -> str:
    lines = [separator.join(("pulse", "direction", name))]
    lines += [separator.join((str(n), way, f"{value / unit:.6e}".replace(".", mark))) for n, way, value in rows]
    return "\n".join(lines) + "\n"


def written(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "pulses.csv"
    path.write_bytes(text.encode(encoding))
    return path


READ = {
    "plain": (text_of(cycle()), "utf-8"),
    "byte order mark": (text_of(cycle()), "utf-8-sig"),
    "UTF-16": (text_of(cycle()), "utf-16"),
    "Windows": (text_of(cycle()).replace("\n", "\r\n"), "utf-8"),
    "semicolons": (text_of(cycle(), ";"), "utf-8"),
    "semicolons and decimal commas": (text_of(cycle(), ";", ","), "utf-8"),
    "tabs and decimal commas": (text_of(cycle(), "\t", ","), "utf-16"),
    "nanosiemens": (text_of(cycle(), name="conductance_nS", unit=1e-9), "utf-8"),
    "microsiemens": (text_of(cycle(), name="conductance_uS", unit=1e-6), "utf-8"),
    "the sign of micro": (text_of(cycle(), name="conductance [\u00b5S]", unit=1e-6), "utf-8"),
    "the letter mu": (text_of(cycle(), ";", ",", name="conductance (\u03bcS)", unit=1e-6), "utf-16"),
}


@pytest.mark.parametrize("case", READ)
def test_measurements_are_read_as_they_are_meant(tmp_path: Path, case: str) -> None:
    found = read_measurements(written(tmp_path, *READ[case]))
    assert found.range_S == pytest.approx((min(curve()), max(curve())), rel=1e-5)
    assert [(one.raising, len(one.w)) for one in found.sweeps] == [(True, PULSES + 1), (False, PULSES + 1)]
    measured = np.array(curve())
    wanted = 2 * (measured - measured.min()) / (measured.max() - measured.min()) - 1
    np.testing.assert_allclose(found.sweeps[0].w, wanted, atol=1e-4)


REFUSED = {
    "decimal commas between commas": (
        text_of(cycle(), ",", ","), "line 2: has 4 fields, the header 3; decimal commas? write points, or separate",
    ),
    "a field too few": ("pulse,direction,weight\n1,up\n", "line 2: has 2 fields, the header 3"),
    "points and commas": ("pulse;direction;weight\n1;up;0,5\n2;up;0.6\n", "some numbers have a point and some a comma"),
    "quoted commas": ('pulse,direction,weight\n1,up,"0,5"\n', 'line 2: weight = "0,5": must be a number'),
    "a piece of wire": (text_of(cycle(), unit=1e-9), "the largest is 41.0 S, and memory devices have 1e-14 to 0.1 S"),
    "nothing": (text_of(cycle(), name="conductance_nS"), "S, and memory devices have 1e-14 to 0.1 S; say the unit"),
    "no unit": (text_of(cycle(), name="conductance"), "either conductance_S (or _mS, _uS, _nS, _pS) or weight"),
    "two units": ("pulse,direction,conductance_S,conductance_nS\n", "either conductance_S"),
    "twice": ("pulse,direction,weight,pulse\n", "one is there twice"),
    "too many pulses": ("pulse,direction,weight\n1000000000000000000,up,0\n", "must be a whole number from 0 to 1e+09"),
    "UTF-16 without a mark": ("p\0u\0l\0s\0e\0", "is not text (byte 1 is 0); save it as UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_clear_is_refused(tmp_path: Path, case: str) -> None:
    text, message = REFUSED[case]
    with pytest.raises(DataError) as refused:
        read_measurements(written(tmp_path, text))
    assert message.replace("41.0", f"{max(curve()) * 1e9:g}") in str(refused.value)


def drop() -> list[Row]:
    """Down from where up ended, but for a drop between the two; counted anew."""
    rising = curve()
    return sweep("up", rising) + sweep("down", LOW_S + HIGH_S - 0.8 * rising[1:] - 0.2 * HIGH_S, 1)


def test_pulses_counted_anew_begin_a_new_sweep(tmp_path: Path) -> None:
    """The same readings as two cycles: what lies between them is no pulse."""
    rows = drop()
    counted_anew = fit_device(written(tmp_path, text_of(rows)), "soft_bounds")
    lines = [f"{1 + (way == 'down')},{n},{way},{value:.6e}" for n, way, value in rows]
    as_cycles = fit_device(written(tmp_path, "\n".join(["cycle,pulse,direction,conductance_S", *lines])), "soft_bounds")
    assert counted_anew.chosen.constants == as_cycles.chosen.constants
    assert counted_anew.chosen.residual < 0.02 and not counted_anew.doubts
    assert [len(one.w) for one in counted_anew.data.sweeps] == [PULSES + 1, PULSES]


def test_the_same_direction_counted_anew_begins_a_new_sweep_too(tmp_path: Path) -> None:
    found = read_measurements(written(tmp_path, text_of(sweep("up", curve()) * 3 + cycle()[PULSES + 1 :])))
    assert [one.raising for one in found.sweeps] == [True, True, True, False]
    assert all(one.w[0] < -0.99 for one in found.sweeps[:3])


BAD = {
    "directions swapped": (cycle("down", "up"), 'pulses "up" lower what is read'),
    "depression read backwards": (
        sweep("up", curve()) + sweep("down", curve()[1:], 1), 'pulses "down" raise what is read; is the column',
    ),
    "no device": (
        sweep("up", LOW_S + 2e-8 * (1 + np.sin(np.arange(60) / 3) + np.arange(60) / 600))
        + sweep("down", LOW_S + 2e-8 * (1 + np.cos(np.arange(60) / 3)), 1),
        "% of the range over; at most 10 % is a fit",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_fits_are_written_by_force_only(
    tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, message = BAD[case]
    data, out = written(tmp_path, text_of(rows)), tmp_path / "Mine.toml"
    monkeypatch.setattr("neurosim_ep.analysis.style.save", lambda draw, path: [])
    command = ["fit-device", str(data), "--model", "linear", "--out", str(out)]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert message in said and "nothing was written" in said and not out.exists()
    assert main([*command, "--force"]) == 0
    assert message in read_device_file(str(out)).constants["dw_min"].source
