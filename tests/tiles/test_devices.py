"""Memory devices: pulses against their formulas, statistics of arrays, files, fits."""

from __future__ import annotations

import csv
import math
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neurosim_ep.cli import main
from neurosim_ep.errors import DataError, HardwareModelError, UsageError
from neurosim_ep.registry import DEVICES
from neurosim_ep.resources import shipped_files
from neurosim_ep.tiles.devices.array import DeviceArray
from neurosim_ep.tiles.devices.base import DeviceModel
from neurosim_ep.tiles.devices.file import load_device, parse_device, read_device_file
from neurosim_ep.tiles.devices.fit import fit_device
from neurosim_ep.tiles.devices.nonlinearity import curve_parameter, largest_distance

PRESETS = sorted(shipped_files("hwmodels/devices"))
SPREADS = ("w_max_dtod", "w_min_dtod", "dw_min_dtod", "up_down_dtod", "gamma_up_dtod", "gamma_down_dtod", "d2d",
           "pow_gamma_dtod", "pow_up_down_dtod", "reference_std", "lifetime_dtod")  # fmt: skip
CYCLES = ("dw_min_std", "dw_min_std_add", "dw_min_std_slope", "c2c", "write_noise_std")
W = np.linspace(-0.9, 0.9, 7)


def device(kind: str, **constants: Any) -> DeviceModel:
    common = {"w_max": 1.0, "w_min": -1.0} | ({} if kind == "neurosim_nl" else {"dw_min": 0.01})
    return DEVICES[kind].model_validate({"preset": kind, **common, **constants})


def without(model: DeviceModel, *names: str) -> DeviceModel:
    """The model with these spreads at 0."""
    return model.model_copy(update={name: 0.0 for name in names if name in type(model).model_fields})


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def array_at(model: DeviceModel, w: np.ndarray | torch.Tensor, seed: int = 0) -> DeviceArray:
    array = DeviceArray(model, tuple(w.shape), seeded(seed))
    array.program(torch.as_tensor(w, dtype=torch.float32))
    return array


def w_of_P(P: np.ndarray, A: float, levels: float) -> np.ndarray:
    return 2 / (1 - np.exp(-levels / A)) * (1 - np.exp(-P / A)) - 1


def P_of_w(w: np.ndarray, A: float, levels: float) -> np.ndarray:
    return -A * np.log(1 - (w + 1) * (1 - np.exp(-levels / A)) / 2)


# Steps up and down written out by hand: model, then both changes at W. dw_min = 0.01 and up_down = 0.2 throughout.
S_UP, S_DOWN = 0.01, 0.008
FORMULAS: list[tuple[DeviceModel, np.ndarray, np.ndarray]] = [
    (device("constant", up_down=0.2), 0 * W + S_UP, 0 * W - S_DOWN),
    (
        device("linear", up_down=0.2, gamma_up=0.3, gamma_down=0.6, w_max=1.5, w_min=-1.2),
        S_UP - 0.3 * S_UP / 1.5 * W,
        -(S_DOWN + 0.6 * S_DOWN / 1.2 * W),
    ),
    (
        device("soft_bounds", up_down=0.2, w_max=1.25, w_min=-1.75),
        S_UP * (1 - W / 1.25),
        -S_DOWN * (1 - W / -1.75),
    ),
    (
        device("soft_bounds", up_down=0.2, w_max=1.25, w_min=-1.75, reference_mean=0.1),
        S_UP * (1 - (W + 0.1) / 1.25),
        -S_DOWN * (1 - (W + 0.1) / -1.75),
    ),
    (
        device("exponential", up_down=0.2, a=0.7, b=-0.1, A_up=0.2, A_down=-0.3, gamma_up=2.0, gamma_down=3.0),
        S_UP * np.maximum(1 - 0.2 * np.exp(2 * (0.7 * W - 0.1)), 0),
        -S_DOWN * np.maximum(1 + 0.3 * np.exp(-3 * (0.7 * W - 0.1)), 0),
    ),
    (
        device("power", up_down=0.2, pow_gamma=2.0, pow_up_down=-0.25),
        S_UP * ((1 - W) / 2) ** 1.5,
        -S_DOWN * ((W + 1) / 2) ** 2,
    ),
    (
        device("piecewise", up_down=0.2, v_up=[1.0, 3.0, 0.5], v_down=[0.5, 2.0]),
        S_UP * np.interp(W, [-1, 0, 1], [1, 3, 0.5]),
        -S_DOWN * np.interp(W, [-1, 1], [0.5, 2]),
    ),
    (
        device("neurosim_nl", nl_ltp=1.75, nl_ltd=3.0, levels=32.0),
        w_of_P(P_of_w(W, 0.702081 * 32, 32) + 1, 0.702081 * 32, 32) - W,
        w_of_P(P_of_w(W, 0.386830 * 32, 32) - 1, 0.386830 * 32, 32) - W,
    ),
    (
        device("neurosim_nl", nl_ltp=1.0, nl_ltd=-1.75, levels=64.0),
        w_of_P(P_of_w(W, 1.251653 * 64, 64) + 1, 1.251653 * 64, 64) - W,
        w_of_P(P_of_w(W, -0.702081 * 64, 64) - 1, -0.702081 * 64, 64) - W,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("model", "up", "down"), FORMULAS, ids=lambda value: getattr(value, "kind", ""))
def test_one_pulse_is_its_formula(model: DeviceModel, up: np.ndarray, down: np.ndarray) -> None:
    for sign, change in ((1.0, up), (-1.0, down)):
        array = array_at(model, W)
        array.pulse(torch.full(W.shape, sign), seeded())
        np.testing.assert_allclose(array.w.numpy(), np.clip(W + change, *bounds(model)), atol=2e-6)


def bounds(model: DeviceModel) -> tuple[float, float]:
    constants = model.draw((), None)
    return float(constants["w_min"]), float(constants["w_max"])


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (device("constant", dw_min_std=0.3), lambda w: 0.3 * 0.01),
        (device("linear", gamma_up=0.5, gamma_down=0.5, dw_min_std=0.3), lambda w: 0.3 * 0.01 * (1 - 0.5 * w)),
        (device("linear", gamma_up=0.5, gamma_down=0.5, dw_min_std=0.3, mult_noise=False), lambda w: 0.3 * 0.01),
        (device("soft_bounds", dw_min_std=0.3, mult_noise=False), lambda w: 0.3 * 0.01),
        (
            device("exponential", A_up=0.0, A_down=0.0, gamma_up=1.0, gamma_down=1.0, dw_min_std=0.5,
                   dw_min_std_add=0.02, dw_min_std_slope=0.1),
            lambda w: 0.5 * (0.01 + 0.02 + 0.1 * abs(w)),
        ),
        (device("neurosim_nl", nl_ltp=1.0, nl_ltd=1.0, levels=100.0, c2c=0.003), lambda w: 0.006),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)  # fmt: skip
def test_noise_of_one_pulse(model: DeviceModel, expected: Any) -> None:
    for w in (0.0, 0.4):
        array = array_at(model, torch.full((40_000,), w))
        array.pulse(torch.ones(40_000), seeded(1))
        assert float(array.w.std()) == pytest.approx(expected(w), rel=0.02)


EXTRA = [
    device("power", pow_gamma=1.5, pow_gamma_dtod=0.1, dw_min_dtod=0.2, dw_min_std=0.3),
    device("piecewise", v_up=[1.0, 2.0, 0.3], v_down=[0.3, 1.0, 1.5], dw_min_dtod=0.2, dw_min_std=0.3, w_max_dtod=0.2),
    device("neurosim_nl", nl_ltp=3.0, nl_ltd=-2.0, levels=500.0, c2c=0.0005, d2d=0.2),
    device("exponential", A_up=0.2, A_down=0.1, gamma_up=1.5, gamma_down=2.0, dw_min_std=0.3, dw_min_dtod=0.2),
]
MANY = [*(load_device(name) for name in PRESETS), *EXTRA]


@pytest.mark.parametrize("model", MANY, ids=lambda model: model.name)
def test_many_pulses_at_once_agree_with_one_after_another(model: DeviceModel) -> None:
    """Mean over devices within 0.5 % of the range, and the same spread; the same devices in both arrays."""
    span, size = model.w_max - model.w_min, 4000
    most = min(int(span / model.dw_min), 1000)
    for start, sign in ((model.w_min + 0.2 * span, 1.0), (model.w_max - 0.2 * span, -1.0)):
        at_once = array_at(model, torch.full((size,), start))
        in_turn = array_at(model, torch.full((size,), start))
        random, total = seeded(5), most // 2
        at_once.pulse(torch.full((size,), sign * total), seeded(4))
        for done in range(0, total, 8):
            in_turn.pulse(torch.full((size,), sign * min(8, total - done)), random)
        noise = 3 * float((at_once.w - in_turn.w).std()) / math.sqrt(size)
        assert abs(float((at_once.w - in_turn.w).mean())) < 0.005 * span + noise
        assert float(at_once.w.std()) == pytest.approx(float(in_turn.w.std()), rel=0.06, abs=0.002 * span)


@pytest.mark.parametrize("model", [without(m, *SPREADS, *CYCLES) for m in MANY], ids=lambda model: model.name)
def test_the_mean_response_agrees_with_a_loop_over_pulses(model: DeviceModel) -> None:
    low, high = bounds(model)
    start = torch.linspace(low, high, 9, dtype=torch.float64)
    constants = model.draw((), None)
    for raising in (True, False):
        array, w = array_at(model, start), start.clone()
        array.pulse(torch.full((9,), 400.0 if raising else -400.0), seeded())
        for _ in range(400):
            w = (w + model.step(w, constants, raising)).clamp(low, high)
        np.testing.assert_allclose(array.w.numpy(), w.numpy(), atol=0.005 * (high - low))


@pytest.mark.parametrize("name", PRESETS)
def test_bounds_hold_and_stuck_devices_never_move(name: str) -> None:
    array = DeviceArray(load_device(name, {"corrupt_devices_prob": 0.2}), (50, 40), seeded(1))
    low, high = array.constants["w_min"], array.constants["w_max"]
    stuck = low == high
    assert float(stuck.float().mean()) == pytest.approx(0.2, abs=0.04)
    array.program((low + high) / 2 + torch.zeros_like(array.w))
    before = array.w.clone()
    random = seeded(2)
    for _ in range(4):
        array.pulse(torch.randint(-40, 41, array.w.shape, generator=random).float(), random)
        assert bool(((array.w >= low) & (array.w <= high)).all())
        array.relax(1000, random)
        array.pulse(torch.randint(-2, 3, array.w.shape, generator=random).float(), random)
    assert bool((array.w != before)[~stuck].float().mean() > 0.9)
    array.program(torch.full_like(array.w, 0.3))
    assert torch.equal(array.w[stuck], before[stuck])


def test_counts_are_per_device_and_untouched_devices_keep_their_weight() -> None:
    model = device("soft_bounds", dw_min=0.01, write_noise_std=2.0)
    counts = torch.tensor([[0.0, 3.0, -2.0], [20.0, -1.0, 0.0]])
    array = array_at(model, torch.zeros(2, 3))
    seen = array.visible.clone()
    array.pulse(counts, seeded(3))
    n = counts.abs().numpy()
    expected = np.sign(counts.numpy()) * (1 - 0.99**n)
    np.testing.assert_allclose(array.w.numpy(), expected, atol=1e-5)
    assert torch.equal((array.visible == seen), counts == 0)
    with pytest.raises(ValueError, match=r"counts: shape \(3,\)"):
        array.pulse(torch.ones(3), seeded())


@pytest.mark.parametrize(("label", "A"), [(1, 1.251653), (1.75, 0.702081), (3, 0.386830), (9, 0.022810)])
def test_nonlinearity_label_and_curve(label: float, A: float) -> None:
    found = float(curve_parameter(torch.tensor(label, dtype=torch.float64)))
    assert found == pytest.approx(A, abs=1e-5)
    p = np.linspace(0, 1, 200_001)
    g = (1 - np.exp(-p / found)) / (1 - np.exp(-1 / found))
    assert (g - p).max() == pytest.approx(0.07 * math.sqrt(2) * label, abs=1e-6)
    assert largest_distance(np.array([1 / found]))[0] == pytest.approx((g - p).max(), abs=1e-6)
    assert float(curve_parameter(torch.tensor(-label, dtype=torch.float64))) == -found


@pytest.mark.parametrize("label", [-9.0, -1.75, 0.0, 1e-4, 1.75, 5.0])
def test_neurosim_pulses_move_along_the_curve(label: float) -> None:
    """n pulses from the start of the curve reach w(n), for any n, up along LTP and down along LTD; P(w(P)) = P."""
    levels = 32
    model = device("neurosim_nl", nl_ltp=label, nl_ltd=label, levels=float(levels))
    n = np.arange(levels + 1.0)
    A = float(curve_parameter(torch.tensor(label, dtype=torch.float64))) * levels
    curve = 2 * n / levels - 1 if abs(label) < 1e-3 else w_of_P(n, A, levels)
    if 1e-3 < abs(label) < 6:
        np.testing.assert_allclose(P_of_w(curve, A, levels), n, atol=1e-9)
    if label > -6:  # at the flat end of a steep convex curve float32 steps vanish
        array = array_at(model, np.full(n.shape, -1.0))
        array.pulse(torch.from_numpy(n), seeded())
        np.testing.assert_allclose(array.w.numpy(), curve, atol=1e-4)
    array = array_at(model, np.full(n.shape, 1.0))
    array.pulse(-torch.from_numpy(n), seeded())
    if abs(label) < 4:
        np.testing.assert_allclose(array.w.numpy(), curve[::-1], atol=1e-4)


def test_statistics_between_devices() -> None:
    size = 100_000
    model = device(
        "constant", dw_min=0.01, up_down=0.1, dw_min_dtod=0.1, up_down_dtod=0.02, w_max_dtod=0.1, w_min_dtod=0.05
    )
    constants = model.draw((size,), seeded())
    up, down = constants["up"], constants["down"]
    assert float(constants["w_max"].mean()) == pytest.approx(1, abs=0.002)
    assert float(constants["w_max"].std()) == pytest.approx(0.1, rel=0.02)
    assert float(constants["w_min"].std()) == pytest.approx(0.05, rel=0.02)
    assert float(up.mean()) == pytest.approx(0.01, rel=2e-3) and float(down.mean()) == pytest.approx(0.009, rel=2e-3)
    assert float(((up + down) / 2).std()) == pytest.approx(0.001, rel=0.02)  # shared by both directions
    assert float(((up - down) / 2).std()) == pytest.approx(0.0002, rel=0.02)  # opposed
    log_normal = device("constant", dw_min_dtod=0.7, dw_min_dtod_log_normal=True).draw((size,), seeded(1))["up"]
    assert float((log_normal / 0.01).log().std()) == pytest.approx(0.7, rel=0.02)
    labels = device("neurosim_nl", nl_ltp=1.75, nl_ltd=1.46, levels=32.0, d2d=0.1).draw((size,), seeded())
    bend = -torch.log1p(labels["up_slope"].double()) * 32
    distance = torch.from_numpy(largest_distance(bend.numpy())) / (0.07 * math.sqrt(2))
    assert float(distance.mean()) == pytest.approx(1.75, abs=0.002)
    assert float(distance.std()) == pytest.approx(0.1, rel=0.02)


def test_write_noise_is_in_units_of_the_step() -> None:
    array = DeviceArray(device("constant", write_noise_std=5.0), (50_000,), seeded())
    assert float((array.visible - array.w).std()) == pytest.approx(0.05, rel=0.02)
    quiet = DeviceArray(device("constant"), (3,), seeded())
    assert torch.equal(quiet.visible, quiet.w)


def test_relaxation() -> None:
    array = array_at(device("constant", lifetime=100.0, reset=0.2), torch.full((4,), 0.8))
    array.relax(50, seeded())
    np.testing.assert_allclose(array.w.numpy(), 0.2 + 0.6 * 0.99**50, rtol=1e-5)
    wanders = array_at(device("constant", diffusion=0.01), torch.zeros(50_000))
    wanders.relax(25, seeded())
    assert float(wanders.w.std()) == pytest.approx(0.05, rel=0.02)


@pytest.mark.parametrize(
    "model",
    [
        device("soft_bounds", up_down=0.3, w_max=1.2, w_min=-0.8, dw_min_dtod=0.3, up_down_dtod=0.1),
        device("soft_bounds", dw_min=0.001, up_down=0.3, subtract_symmetry_point=True, w_max_dtod=0.3, w_min_dtod=0.3),
        load_device("ReRamES", {"dw_min_std": 0.0, "write_noise_std": 0.0}),
    ],
    ids=["soft_bounds", "subtracted", "ReRamES"],
)
def test_symmetry_point_is_where_alternating_pulses_end(model: DeviceModel) -> None:
    array = DeviceArray(model, (20,), seeded(2))
    point = model.symmetry_point(array.constants)
    defined = point.isfinite()
    assert defined.sum() > 10
    array.program(point.float().nan_to_num())
    for sign in (1.0, -1.0) * 300:
        array.pulse(torch.full((20,), sign), seeded())
    assert float((array.w - point)[defined].abs().max()) < 3 * model.dw_min
    assert float(model.asymmetry(point, array.constants)[defined].abs().max()) < 1e-4
    if getattr(model, "subtract_symmetry_point", False):
        assert float(point.abs().max()) < 1e-5
    assert bool(device("constant").symmetry_point().isnan())


def test_state_round_trip_and_same_seed_same_devices() -> None:
    model = load_device("ReRamES")
    array = DeviceArray(model, (30, 20), seeded(7))
    array.pulse(torch.full((30, 20), 5.0), seeded(1))
    again = DeviceArray(model, (30, 20), seeded(7))
    again.load_state_dict(array.state_dict())
    assert torch.equal(again.visible, array.visible)
    for each in (array, again):
        each.pulse(torch.full((30, 20), -12.0), seeded(2))
    assert torch.equal(again.visible, array.visible)
    with pytest.raises(ValueError, match="does not fit"):
        DeviceArray(model, (3,), seeded()).load_state_dict(array.state_dict())


def test_every_preset_has_sources_and_the_steps_of_the_reference() -> None:
    for name in PRESETS:
        file = read_device_file(name)
        assert file.device.name == name and all(constant.source for constant in file.constants.values())
    cell = load_device("ReRamES")
    constants = cell.draw((), None)
    for w, up, down in ((0.0, 1.48e-3, -1.99e-3), (1.0, 1.36e-3, -1.31e-2)):
        at = torch.tensor(w, dtype=torch.float64)
        assert float(cell.up(at, constants)) == pytest.approx(up, rel=5e-3)
        assert float(cell.down(at, constants)) == pytest.approx(down, rel=5e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["device"].update(model="soft_bound"), 'device.model = "soft_bound": unknown model; did you mean'),
        (lambda d: d["device"].pop("source"), "device.source: key is missing"),
        (lambda d: d.pop("constants"), "constants: section is missing"),
        (lambda d: d["constants"]["dw_min"].pop("kind"), "constants.dw_min.kind: key is missing"),
        (lambda d: d["constants"]["dw_min"].update(kind="guess"), 'constants.dw_min.kind = "guess"'),
        (lambda d: d["constants"]["dw_min"].update(value="a"), "constants.dw_min.value = 'a': must be a finite number"),
        (lambda d: d["constants"]["dw_min"].update(value=-1.0), "constants.dw_min = -1.0: must be above 0"),
        (lambda d: d["constants"]["dw_min"].update(unit="1"), "constants.dw_min.unit: unknown key"),
        (lambda d: d["constants"].pop("w_max"), "constants.w_max: is missing; model soft_bounds needs it"),
        (
            lambda d: d["constants"].update(dwmin_std=d["constants"]["dw_min"]),
            "constants.dwmin_std: unknown constant of model soft_bounds; did you mean dw_min_std?",
        ),
        (lambda d: d["constants"]["w_min"].update(value=0.5), "w_min (0.5) must be below 0"),
    ],
)
def test_bad_files_are_explained(change: Any, message: str) -> None:
    document = tomllib.loads(shipped_files("hwmodels/devices")["ReRamSB"].read_text("utf-8"))
    change(document)
    with pytest.raises(HardwareModelError) as refused:
        parse_device(document, "mine.toml")
    assert str(refused.value).startswith("mine.toml: ") and message in str(refused.value)


def test_overrides_and_unknown_names() -> None:
    assert load_device("ReRamSB", {"dw_min": 0.01}).dw_min == 0.01
    with pytest.raises(HardwareModelError, match='no constant "dw_mni" in model soft_bounds; did you mean dw_min'):
        load_device("ReRamSB", {"dw_mni": 0.01})
    with pytest.raises(HardwareModelError, match="did you mean ReRamES"):
        load_device("ReRamEs")


def write_csv(path: Path, model: DeviceModel, devices: int, pulses: int = 60, cycles: int = 3) -> Path:
    """Readings in S, 2 to 12 uS, with a little noise of the reading."""
    random = seeded(1)
    array = array_at(model, torch.full((devices,), -0.999))
    rows = []
    for cycle in range(cycles):
        rows += [(0, "up", cycle, each, float(array.w[each])) for each in range(devices)]
        for direction, sign in (("up", 1.0), ("down", -1.0)):
            for pulse in range(1, pulses + 1):  # counted anew in each direction
                array.pulse(torch.full((devices,), sign), random)
                rows += [(pulse, direction, cycle, each, float(array.w[each])) for each in range(devices)]
    noise = torch.randn(len(rows), generator=random).tolist()
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["pulse", "direction", "cycle", "device", "conductance_S"])
        for row, jitter in zip(rows, noise, strict=True):
            writer.writerow([*row[:4], 7e-6 + 5e-6 * (row[4] + 0.001 * jitter)])
    return path


def test_fit_recovers_known_constants(tmp_path: Path) -> None:
    model = device("linear", dw_min=0.06, up_down=0.2, gamma_up=0.8, gamma_down=0.9, dw_min_std=0.2, dw_min_dtod=0.15)
    found = fit_device(write_csv(tmp_path / "pulses.csv", model, devices=30), "linear")
    values = {name: estimate.value for name, estimate in found.estimates.items()}
    assert found.chosen.converged and found.chosen.residual < 0.12
    assert values["dw_min"] == pytest.approx(0.06, rel=0.1)
    assert values["gamma_up"] == pytest.approx(0.8, abs=0.1)
    assert values["gamma_down"] == pytest.approx(0.9, abs=0.1)
    assert values["up_down"] == pytest.approx(0.2, abs=0.06)
    assert values["dw_min_std"] == pytest.approx(0.2, rel=0.35)
    assert values["dw_min_dtod"] == pytest.approx(0.15, rel=0.4)


@pytest.mark.parametrize(
    "model",
    [
        device("exponential", dw_min=0.06, A_up=0.3, gamma_up=1.1, A_down=0.05, gamma_down=2.8, dw_min_std=0.1),
        device("neurosim_nl", nl_ltp=2.5, nl_ltd=-1.5, levels=60.0, c2c=0.001),
    ],
    ids=lambda model: model.name,
)
def test_best_is_the_generating_model_or_as_good(model: DeviceModel, tmp_path: Path) -> None:
    found = fit_device(write_csv(tmp_path / "pulses.csv", model, devices=1))
    own = next(candidate for candidate in found.candidates if candidate.kind == model.name)
    assert len(found.candidates) == len(DEVICES.names())
    assert found.chosen.residual <= 1.05 * own.residual
    assert found.chosen.parameters <= own.parameters
    if model.name == "neurosim_nl":
        assert own.constants["nl_ltp"] == pytest.approx(2.5, abs=0.1)
        assert own.constants["nl_ltd"] == pytest.approx(-1.5, abs=0.1)
        assert own.constants["levels"] == pytest.approx(60, rel=0.02)
    else:
        assert own.residual < 0.04


def test_fit_command_writes_a_device_file_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_csv(tmp_path / "pulses.csv", device("soft_bounds", dw_min=0.05, dw_min_std=0.1), devices=1)
    out = tmp_path / "Mine.toml"
    assert main(["fit-device", str(data), "--model", "soft_bounds", "--out", str(out)]) == 0
    assert "*  soft_bounds" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {"pulses.csv", "Mine.toml", "Mine.svg", "Mine.png"}
    fitted, file = load_device(str(out)), read_device_file(str(out))
    assert fitted.dw_min == pytest.approx(0.05, rel=0.1)
    assert file.constants["dw_min_dtod"].value == 0 and file.constants["dw_min_dtod"].kind == "assumed"
    assert file.conductance is not None and file.conductance.maximum_S.value == pytest.approx(12e-6, rel=0.05)
    before = out.read_bytes()
    assert main(["fit-device", str(data), "--out", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err and out.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pulse,direction\n1,up\n", "columns pulse, direction"),
        ("pulse,direction,weight,colour\n1,up,0,red\n", 'unknown column "colour"'),
        ("pulse,direction,weight\n1,left,0\n", 'line 2: direction = "left": must be up or down'),
        ("pulse,direction,weight\n1.5,up,0\n", 'line 2: pulse = "1.5": must be a whole number'),
        ("pulse,direction,conductance_S\n1,up,-1\n", 'line 2: conductance_S = "-1": must be finite and not negative'),
        ("pulse,direction,weight\n1,up,nan\n", 'line 2: weight = "nan": must be finite'),
        ("pulse,direction,weight\n1,up,0\n2,up,0.1\n2,up,0.2\n3,down,0\n", 'line 4: pulse = "2": must be above'),
        ("pulse,direction,weight\n1,up,0\n2,up,2\n3,up,3\n4,down,0\n", "divide by 3"),
        (
            "pulse,direction,weight\n1,up,0\n2,up,0.1\n3,up,0.2\n4,up,0.3\n",
            'fewer than 2 readings with direction "down"',
        ),
    ],
)
def test_bad_measurements_are_explained(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "pulses.csv"
    path.write_text(text)
    with pytest.raises(DataError) as refused:
        fit_device(path, "constant")
    assert message in str(refused.value)
    with pytest.raises(UsageError, match="must be best or one of constant"):
        fit_device(path, "cubic")
