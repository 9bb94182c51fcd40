"""Pulse trains against the outer products they stand for, and weight changes written into devices."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from crossbars import connection, dense, fully_connected, relative, seeded, states
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from neurosim_ep.scenario.schema import DeviceSection
from neurosim_ep.scenario.topology import LayerPlan
from neurosim_ep.tiles import pulsed_update
from neurosim_ep.tiles.devices.array import DeviceArray
from neurosim_ep.tiles.devices.models import ConstantStep, SoftBounds
from neurosim_ep.tiles.lines import Lines, lines_of
from neurosim_ep.tiles.mapping import ConnectionGeometry
from neurosim_ep.tiles.pulsed_update import Devices, Term
from neurosim_ep.tiles.pulses import coincidences, make_trains

DW = 1e-3
STEP = ConstantStep(preset="exact", dw_min=DW, w_max=10.0, w_min=-10.0)


def section(**options: Any) -> DeviceSection:
    return DeviceSection(preset="Idealized", **{"update": "two_pass", **options})


def devices_of(made: Any, model: Any = STEP, start: Tensor | None = None, seed: int = 0, **options: Any) -> Devices:
    geometry = ConnectionGeometry.from_connection(made)
    begin = torch.zeros(geometry.fan_in, geometry.channels) if start is None else start
    return Devices(model, section(**options), lines_of(geometry), begin, seeded(seed))


def factors(rows: int = 6, columns: int = 4, samples: int = 1) -> tuple[Tensor, Tensor]:
    x = torch.rand(samples, rows, generator=seeded(1))
    return x, torch.rand(samples, columns, generator=seeded(2)) * 2 - 1


def close_to(expected: Tensor, x: Tensor, d: Tensor, rate: float, draws: int = 3000, **options: Any) -> bool:
    """Whether the mean net pulses of ``draws`` equal trains are the ``expected`` ones, within five deviations."""
    chosen = section(**options)
    trains = make_trains(x.expand(draws, -1), d.expand(draws, -1), rate, DW, chosen)
    up, down = coincidences(trains, chosen, seeded(3))
    for pulses in (up, down):
        assert (pulses >= 0).all() and torch.equal(pulses, pulses.round())
    both = (trains.rows[0, :, None] * trains.columns[0]).abs()
    deviation = (trains.slots[0] * both * (1 - both) / draws).sqrt()
    return bool((((up - down) / draws - expected).abs() <= 5 * deviation + 1e-4).all())


# -- trains


@pytest.mark.parametrize("management", [True, False])
@pytest.mark.parametrize("rate", [2e-4, 5e-3, 2e-2])
def test_expected_pulses_are_the_outer_product(rate: float, management: bool) -> None:
    x, d = factors()
    assert close_to(rate / DW * x.T @ d, x, d, rate, update_management=management)


def test_signs_of_both_factors() -> None:
    x = torch.tensor([[1.0, -1.0, 0.0]])
    up, down = coincidences(make_trains(x, torch.tensor([[1.0, -1.0]]), 5e-3, DW, section()), section(), seeded(0))
    assert up.tolist() == [[5, 0], [0, 5], [0, 0]]  # of probability 1 in each of 5 slots
    assert down.tolist() == [[0, 5], [5, 0], [0, 0]]


def test_cells_of_a_line_see_the_same_trains() -> None:
    """Two cells of a row share its pulses, so that counts are correlated; cells that share no line are not."""
    chosen = section(update_management=False, desired_bl=6)
    x, d = torch.full((1, 2), 0.3), torch.full((1, 2), 0.9)
    random, trains, found = seeded(0), make_trains(x, d, 5e-3, DW, chosen), []
    p, q = (float(value[0, 0]) for value in (trains.rows, trains.columns))
    for _ in range(1500):
        found.append(coincidences(trains, chosen, random)[0].flatten())
    covariance = torch.cov(torch.stack(found).T)
    one = 6 * p * q * (1 - p * q)  # binomial
    assert float(covariance[0, 0]) == pytest.approx(one, rel=0.15)
    assert float(covariance[0, 1]) == pytest.approx(6 * p * q**2 * (1 - p), abs=0.12 * one)  # the same row
    assert float(covariance[0, 2]) == pytest.approx(6 * q * p**2 * (1 - q), abs=0.12 * one)  # the same column
    assert float(covariance[0, 3]) == pytest.approx(0, abs=0.12 * one)


def test_trains_are_as_short_as_the_largest_factors_allow() -> None:
    """K = rate max|x| max|d| / dw_min: ⌈K⌉ slots, largest probabilities √(K / slots) on both sides."""
    x = torch.tensor([[0.5, 0.1], [1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    d = torch.tensor([[-0.2, 0.1, 0.0], [0.4, 0.8, -0.1], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    trains = make_trains(x, d, 1e-2, DW, section())
    assert trains.slots.tolist() == [1, 8, 0, 0]  # K = 1, 8
    assert trains.rows[0].tolist() == pytest.approx([1, 0.2])
    assert trains.columns[0].tolist() == pytest.approx([-1, 0.5, 0])
    half = make_trains(x[:1], d[:1], 2.5e-2, DW, section())
    assert half.slots.tolist() == [3]
    for side in (half.rows, half.columns):
        assert float(side.abs().max()) == pytest.approx((2.5 / 3) ** 0.5)
    assert bool(torch.cat([trains.rows[2:].flatten(), trains.columns[2:].flatten()]).eq(0).all())
    fixed = make_trains(x[:1], d[:1], 2.5e-2, DW, section(update_management=False))
    assert fixed.slots.tolist() == [31]
    assert torch.allclose(fixed.rows, x[:1] * (25 / 31) ** 0.5)
    assert torch.allclose(fixed.columns, d[:1] * (25 / 31) ** 0.5)


def test_products_beyond_the_longest_train_are_clipped() -> None:
    """Where K exceeds desired_bl, x keeps its proportions and the largest d are cut off, as in aihwkit."""
    x, d = torch.tensor([[1.0, 0.5]]), torch.tensor([[1.0, 0.25, -0.1]])
    trains = make_trains(x, d, 0.1, DW, section(desired_bl=50))  # K = 100
    assert trains.slots.tolist() == [50]
    assert trains.rows.tolist() == [pytest.approx([1, 0.5])]
    assert trains.columns.tolist() == [pytest.approx([1, 0.5, -0.2])]
    expected = torch.tensor([[50, 25, -10], [25, 12.5, -5.0]])
    assert close_to(expected, x, d, 0.1, draws=1000, desired_bl=50)


def test_deterministic_counts_are_rounded_products() -> None:
    x, d = factors(samples=9)
    chosen = section(pulse_trains="deterministic")
    up, down = coincidences(make_trains(x, d, 2e-2, DW, chosen), chosen, seeded(0))
    expected_up, expected_down = torch.zeros(6, 4), torch.zeros(6, 4)
    for n in range(9):
        for i in range(6):
            for j in range(4):
                pulses = round(2e-2 / DW * float(x[n, i]) * float(d[n, j]))
                (expected_up if pulses > 0 else expected_down)[i, j] += abs(pulses)
    assert torch.equal(up, expected_up) and torch.equal(down, expected_down)


def test_no_outer_products() -> None:
    x, d = torch.zeros(0, 3), torch.zeros(0, 2)
    for kind in ("stochastic", "deterministic"):
        up, down = coincidences(make_trains(x, d, 1.0, DW, section()), section(pulse_trains=kind), seeded(0))
        assert up.shape == down.shape == (3, 2) and not bool(up.any() or down.any())


@pytest.mark.parametrize(
    ("plan", "in_shape"),
    [
        (LayerPlan("linear", 5), (2, 3, 2)),
        (LayerPlan("conv", 3, 3, 1, "max"), (2, 5, 4)),
        (LayerPlan("conv", 3, 5, 0, None), (2, 6, 7)),
        (LayerPlan("conv", 4, 1, 1, "avg"), (3, 3, 4)),
    ],
)  # fmt: skip
def test_products_on_the_lines_are_the_weight_derivative(plan: LayerPlan, in_shape: tuple[int, ...]) -> None:
    made = connection(plan, in_shape)
    lines = lines_of(ConnectionGeometry.from_connection(made))
    pre, routed = states(made, 3), states(made, 3, side="post") - 0.3
    found = lines.weight(lines.on_rows(pre).T @ lines.on_columns(routed))
    assert relative(found, made.update(pre, routed)[0]) < 1e-12
    assert torch.equal(lines.weight(lines.matrix(made.weight)), made.weight)
    assert relative(lines.matrix(made.weight / made.weight.abs().max()), dense(made)) == 0


# -- the difference of the terms


def lines(rows: int, columns: int) -> Lines:
    return lines_of(ConnectionGeometry("fc", "linear", (rows,), (columns,), (columns,)))


def test_what_is_less_than_a_pulse_waits() -> None:
    """With exact steps, what was written and what waits are all changes so far, whatever their size."""
    made = devices_of(fully_connected(8, 5), update="difference")
    random, total = seeded(0), torch.zeros(8, 5)
    for batch in range(40):
        change = torch.randn(8, 5, generator=random) * DW * (5 if batch % 7 == 0 else 0.3)
        made.write_difference(change, random)
        total += change
        assert torch.allclose(made.weights + made.waiting * DW, total, atol=1e-6)
        assert bool((made.waiting.abs() < 1).all())
        counts = made.counts
        assert bool((counts.up * counts.down == 0).all())
    assert float((made.weights / DW - (made.weights / DW).round()).abs().max()) < 1e-2


def test_an_accumulator_in_each_synapse_is_right_in_the_mean() -> None:
    change = torch.linspace(-2.2, 2.2, 12).view(3, 4) * DW
    found = []
    for seed in range(600):
        made = devices_of(fully_connected(3, 4), update="difference", accumulator="synapse")
        made.write_difference(change, seeded(seed))
        assert not bool(made.waiting.any())
        found.append(made.weights.clone())
    assert float((torch.stack(found).mean(0) - change).abs().max()) < 5 * DW * 0.5 / 600**0.5
    assert float((torch.stack(found) - change).abs().max()) < 1.001 * DW


def test_pulse_totals() -> None:
    made = devices_of(fully_connected(2, 2), update="difference")
    made.write_difference(torch.tensor([[3.2, -2.1], [0.4, 1.0001]]) * DW, seeded(0))
    assert made.counts.up.tolist() == [[3, 0], [0, 1]]
    assert made.counts.down.tolist() == [[0, 2], [0, 0]]
    assert made.counts.totals().tolist() == [4, 2, 6]
    made.write_difference(torch.zeros(2, 2), seeded(0))
    assert made.counts.totals().tolist() == [0, 0, 0]


# -- the terms one after the other


def terms_of(made: Any, samples: int = 4) -> list[Term]:
    """Two terms that nearly cancel."""
    pre, routed = states(made, samples).float(), states(made, samples, side="post").float()
    near = (pre + 0.05 * torch.randn(pre.shape, generator=seeded(5))).clamp(0, 1)
    beside = (routed + 0.05 * torch.randn(routed.shape, generator=seeded(6))).clamp(0, 1)
    return [Term(1, pre, routed), Term(-1, near, beside)]


@pytest.mark.parametrize("plan", [LayerPlan("linear", 5), LayerPlan("conv", 3, 3, 1, None)])
def test_small_exact_steps_write_the_difference_of_the_terms(plan: LayerPlan) -> None:
    made = connection(plan, (7,) if plan.kind == "linear" else (2, 3, 4))
    rate, terms = 0.01, terms_of(made)
    exact = sum(rate * term.sign * made.update(term.pre.double(), term.routed.double())[0] for term in terms)
    model = ConstantStep(preset="fine", dw_min=rate / 1000, w_max=10.0, w_min=-10.0)
    devices = devices_of(made, model, pulse_trains="deterministic", desired_bl=1024)
    devices.write_terms(terms, torch.tensor(rate), seeded(0))
    assert relative(devices.lines.weight(devices.weights).double(), exact) < 0.02
    model = ConstantStep(preset="coarse", dw_min=rate / 8, w_max=10.0, w_min=-10.0)
    found = []
    for seed in range(40):
        devices = devices_of(made, model)
        devices.write_terms(terms, torch.tensor(rate), seeded(seed))
        found.append(devices.lines.weight(devices.weights))
        net = devices.counts.up - devices.counts.down
        assert torch.allclose(devices.weights, net * model.dw_min, atol=1e-5)
    values = torch.stack(found).double()
    assert bool(((values.mean(0) - exact).abs() < 5 * values.std(0) / 40**0.5).all())


def test_terms_of_opposite_sign_raise_and_lower() -> None:
    made = fully_connected(6, 4)
    devices = devices_of(made)
    devices.write_terms(terms_of(made), torch.tensor(5e-3), seeded(0))
    up, down, net = devices.counts.totals().tolist()
    assert up > 0 and down > 0 and net < 0.7 * (up + down)  # much of it cancels
    only = devices_of(made)
    only.write_terms(terms_of(made)[:1], torch.tensor(5e-3), seeded(0))
    assert int(only.counts.down.sum()) == 0 and (only.weights >= 0).all()


def test_pulses_come_sample_after_sample() -> None:
    """A device that saturates remembers the order: the last sample's terms are what is written on top."""
    model = ConstantStep(preset="narrow", dw_min=DW, w_max=3 * DW, w_min=-3 * DW)
    x, d = torch.ones(2, 1), torch.tensor([[1.0], [-1.0]])
    made = fully_connected(1, 1)
    devices = devices_of(made, model, pulse_trains="deterministic")
    devices.write_terms([Term(1, x, d)], torch.tensor(5 * DW), seeded(0))
    assert float(devices.weights) == pytest.approx(-2 * DW, abs=1e-6)  # 0 + 3 (of 5), - 5
    assert devices.counts.totals().tolist() == [5, 5, 0]


# -- transfer


def test_transfer_moves_the_slow_array() -> None:
    """Every other batch the slow array gets rate (fast - rest) / dw_min pulses; reads see the slow one."""
    made = fully_connected(6, 4)
    start = torch.full((6, 4), 0.25)
    model = SoftBounds(preset="soft", dw_min=DW, up_down=0.3, w_max=1.0, w_min=-1.0)
    devices = devices_of(made, model, start, update="transfer", transfer_every=2, transfer_rate=0.5)
    rest = float(model.symmetry_point())
    assert devices.fast is not None and devices.rest is not None
    assert rest != pytest.approx(0, abs=0.1)
    assert torch.allclose(devices.fast.w, torch.full((6, 4), rest), atol=1e-6)
    random = seeded(0)
    terms = [Term(1, torch.ones(1, 6), torch.ones(1, 4))]
    devices.write_terms(terms, torch.tensor(0.03), random)
    assert torch.equal(devices.weights, start)
    devices.write_terms(terms, torch.tensor(0.03), random)
    moved = devices.fast.visible - devices.rest
    assert bool((moved > 0.01).all())
    step = float(model.up(torch.tensor(0.25), model.draw((), None)))
    written = (devices.weights - start) / step
    assert torch.allclose(written, 0.5 * moved / DW, atol=1.1)
    assert int(devices.counts.up.sum()) >= 24 * 30  # both arrays count


def test_hidden_state_is_kept_and_found_again() -> None:
    made = fully_connected(6, 4)
    model = SoftBounds(
        preset="soft", dw_min=DW, dw_min_dtod=0.3, dw_min_std=0.5, write_noise_std=2.0, w_max=1.0, w_min=-1.0
    )
    for update in ("difference", "two_pass", "transfer"):
        first, second = (devices_of(made, model, update=update) for _ in range(2))
        write(first, made, 0)
        second.load_state_dict(first.state_dict())
        second.waiting = second.waiting.clone()
        for devices in (first, second):
            write(devices, made, 1)
        assert torch.equal(first.weights, second.weights) and torch.equal(first.waiting, second.waiting)
        assert torch.equal(first.slow.w, second.slow.w) and first.batches == second.batches


def write(devices: Devices, made: Any, seed: int) -> None:
    if devices.by_difference:
        devices.write_difference(torch.randn(6, 4, generator=seeded(seed)) * DW, seeded(seed))
    else:
        devices.write_terms(terms_of(made), torch.tensor(5e-3), seeded(seed))


def test_a_batch_is_written_without_asking_the_device_for_every_term(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for what pulses themselves ask: one question for all samples and terms."""
    asked: list[str] = []

    class Questions(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is torch.ops.aten._local_scalar_dense.default:
                asked.append(str(func))
            return func(*args, **(kwargs or {}))

    def count(array: DeviceArray, counts: torch.Tensor, random: torch.Generator) -> None:
        asked.append("pulse")

    monkeypatch.setattr(DeviceArray, "pulse", count)
    made = fully_connected(6, 4)
    devices = devices_of(made)
    with Questions():
        devices.write_terms(terms_of(made, 12), torch.tensor(5e-3), seeded(0))
    assert asked.count("pulse") >= 24 and set(asked) == {"pulse"}
    monkeypatch.undo()
    together, apart = devices_of(made), devices_of(made)
    together.write_terms(terms_of(made), torch.tensor(5e-3), seeded(0))
    monkeypatch.setattr(pulsed_update, "TRAINS_AT_ONCE", 1)
    apart.write_terms(terms_of(made), torch.tensor(5e-3), seeded(0))
    assert torch.equal(together.weights, apart.weights)
