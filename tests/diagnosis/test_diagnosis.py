"""The figures of a diagnosis against autograd, dense eigenvalues, full presentations and what is plain by hand."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields
from pathlib import Path

import pandas as pd
import pytest
import torch
from nets import batch, conv, custom, double_network, double_signals, linear, random_states
from torch import Tensor

from neurosim_ep.analysis.diagnosis import draw_saturation
from neurosim_ep.cli import main
from neurosim_ep.diagnosis import report
from neurosim_ep.diagnosis.findings import findings
from neurosim_ep.diagnosis.lipschitz import Bounds, Linearisation, bounds, power_iteration
from neurosim_ep.diagnosis.nudging import Ends, biases, go_on, nudge_both, responses
from neurosim_ep.diagnosis.rest import observe_free_phase, quantiles
from neurosim_ep.diagnosis.saturation import saturation
from neurosim_ep.diagnosis.tiles import TileFigures
from neurosim_ep.ep.losses import one_hot
from neurosim_ep.ep.network import Network
from neurosim_ep.ep.primitive import primitive
from neurosim_ep.ep.signals import Errors, Objective
from neurosim_ep.errors import UsageError
from neurosim_ep.experiment.opening import Experiment
from neurosim_ep.record.whole_folder import replaced_folder
from neurosim_ep.registry import ACTIVATIONS
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.scheduler.engine import Engine
from neurosim_ep.scheduler.presentation import Phases, ep_gradients
from neurosim_ep.scheduler.schedule import Schedule
from neurosim_ep.train.run import run

IMAGE = (2, 6, 7)
SECTIONS = {
    "max-pool": custom(conv(3, pool="max"), conv(4, pool="max"), linear(5), activation="hard_sigmoid_half"),
    "avg-pool": custom(conv(3, pool="avg"), conv(4, kernel=2, pool="avg"), linear(5), activation="sigmoid"),
    "no pool": custom(conv(2, kernel=2), conv(2), linear(4), activation="relu_conv"),
    "linear": custom(linear(8), linear(7), linear(5), loss="squared_error", activation="hard_sigmoid_shifted"),
    "one layer": custom(linear(4)),
}


def flat(vector: list[Tensor]) -> Tensor:
    """(B, D) of per-layer (B, *shape)."""
    return torch.cat([part.flatten(1) for part in vector], 1)


def unflat(network: Network, vector: Tensor) -> list[Tensor]:
    sizes = [torch.Size(shape).numel() for shape in network.state_shapes]
    parts = vector.split(sizes, 1)
    return [part.reshape(-1, *shape) for part, shape in zip(parts, network.state_shapes, strict=True)]


def map_once(network: Network, x: Tensor, states: list[Tensor]) -> list[Tensor]:
    """One synchronous tick, by autograd of Φ."""
    states = [state if state.requires_grad else state.requires_grad_(True) for state in states]
    drives = torch.autograd.grad(primitive(network.edges, x, states).sum(), states, create_graph=True)
    return [activation.sigma_(drive * 1.0) for activation, drive in zip(network.activations, drives, strict=True)]


def dense(network: Network, x: Tensor, states: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Hessian of Φ and Jacobian of the free map for one sample, by autograd, each (D, D)."""

    def phi(vector: Tensor) -> Tensor:
        return primitive(network.edges, x, unflat(network, vector[None])).sum()

    def step(vector: Tensor) -> Tensor:
        return flat(map_once(network, x, unflat(network, vector[None])))[0]

    start = flat(states)[0]
    hessian = torch.autograd.functional.hessian(phi, start)
    return hessian, torch.autograd.functional.jacobian(step, start)  # type: ignore[return-value]


@pytest.fixture(params=SECTIONS)
def case(request: pytest.FixtureRequest) -> tuple[Network, Tensor, list[Tensor]]:
    """A network, three images and states."""
    network = double_network(SECTIONS[request.param], image=IMAGE, seed=3)
    return network, batch(network, 3)[0], random_states(network, 3)


def test_hessian_jacobian_and_largest_eigenvalues_are_those_of_autograd(
    case: tuple[Network, Tensor, list[Tensor]],
) -> None:
    network, x, states = case
    around = Linearisation(network, network.input_drive(x)[0], states)
    vector = [torch.randn(state.shape, dtype=torch.float64, generator=torch.manual_seed(1)) for state in states]
    product = flat(around.hessian(vector))
    options = {"tolerance": 1e-14, "limit": 5000}
    L_phi = power_iteration(around.hessian, states, **options)  # type: ignore[arg-type]
    radius = power_iteration(around.map_hessian, states, **options)  # type: ignore[arg-type]
    assert L_phi.converged.all() and radius.converged.all()
    for sample in range(3):
        one = [state[sample : sample + 1] for state in states]
        hessian, jacobian = dense(network, x[sample : sample + 1], one)
        torch.testing.assert_close(product[sample], hessian @ flat(vector)[sample], rtol=1e-10, atol=1e-12)
        eigenvalues = torch.linalg.eigvalsh(hessian)
        torch.testing.assert_close(eigenvalues, -eigenvalues.flip(0), rtol=0, atol=1e-10)  # ±λ
        torch.testing.assert_close(L_phi.value[sample], eigenvalues[-1], rtol=1e-6, atol=1e-12)
        torch.testing.assert_close(flat(around.slopes)[sample][:, None] * hessian, jacobian, rtol=1e-10, atol=1e-12)
        magnitudes = torch.linalg.eigvals(jacobian).abs()
        torch.testing.assert_close(radius.value[sample], magnitudes.max(), rtol=1e-6, atol=1e-7)


def test_an_estimate_cut_short_is_too_small_and_says_so() -> None:
    network = double_network(SECTIONS["max-pool"], image=IMAGE)
    states = random_states(network, 2)
    around = Linearisation(network, network.input_drive(batch(network, 2)[0])[0], states)
    values = [power_iteration(around.hessian, states, limit=limit) for limit in (1, 2, 5, 500)]
    assert not values[0].converged.any() and values[-1].converged.all()
    assert [found.iterations for found in values[:3]] == [1, 2, 5]
    rising = torch.stack([found.value for found in values])
    assert (rising.diff(dim=0) >= 0).all()


def test_the_spectral_radius_is_the_rate_at_which_residuals_shrink() -> None:
    section = custom(conv(3, pool="avg"), linear(8), linear(6), activation="hard_sigmoid_shifted", weight_scale=1.2)
    network = double_network(section, image=(1, 8, 8), seed=1)
    x, _ = batch(network, 5)
    free = observe_free_phase(Engine(network, Schedule()), x, network.initial_states(5, "zeros"), 80, 1e-6)
    assert set(free.kinds) == {"at rest"}
    around = Linearisation(network, free.input_drive, free.end.states)
    radius = power_iteration(around.map_hessian, free.end.states, tolerance=1e-12).value
    residual = free.residuals.amax(2)
    rate = (residual[39] / residual[29]) ** (1 / 10)
    assert (radius < 1).all()
    torch.testing.assert_close(rate, radius, rtol=0.02, atol=0)


def test_margin_by_hand() -> None:
    network = double_network(custom(conv(2, pool="max"), linear(4), activation="hard_sigmoid_half"), image=IMAGE)
    signals = double_signals(network, [0, 1])
    assert signals is not None and network.readout is not None
    norms = [float(torch.linalg.svdvals(signals.matrices[layer])[0]) for layer in (0, 1)]
    found = bounds(network, signals)
    assert found.c == 0.5
    assert pytest.approx(0.5 * float(torch.linalg.svdvals(network.readout.weight)[0]) ** 2) == found.L_1
    assert pytest.approx(0.5 * signals.temperature ** (signals.exponent - 2) * max(norms) ** 2) == found.L_2
    assert Bounds(0.5, 2.0, 3.0).margin(torch.tensor(1.5), beta=0.1, alpha=0.4) == pytest.approx(1 - 0.5 * 1.82)
    inside = double_network(SECTIONS["linear"], image=IMAGE)
    assert bounds(inside, None) == Bounds(0.5, 1.0, 0.0)


def test_the_bounds_are_not_below_the_hessians_of_the_losses() -> None:
    network = double_network(custom(linear(6), linear(5)), image=IMAGE)
    signals = double_signals(network, [0])
    assert signals is not None and network.readout is not None
    found, readout = bounds(network, signals), network.readout
    onehot = torch.eye(3, dtype=torch.float64)[:1]
    states = [torch.rand(6, dtype=torch.float64), torch.rand(5, dtype=torch.float64)]
    local = torch.autograd.functional.hessian(lambda state: signals.loss([state[None]], onehot).sum(), states[0])
    last = torch.autograd.functional.hessian(lambda state: -readout(state[None]).log_softmax(1)[0, 0], states[1])
    assert 0 < torch.linalg.eigvalsh(local)[-1] <= found.L_2  # type: ignore[arg-type]
    assert 0 < torch.linalg.eigvalsh(last)[-1] <= found.L_1  # type: ignore[arg-type]


def flip_flop() -> Network:
    """Two neurons that silence each other in step: without input (0, 0), (1, 1), (0, 0) and so on."""
    network = double_network(custom(linear(1), linear(1)), image=(1, 2, 2))
    for connection in network.connections:
        connection.weight.fill_(-2.0)
        connection.bias.fill_(1.0)
    return network


def test_an_oscillation_is_told_from_rest() -> None:
    network = flip_flop()
    x = torch.stack([torch.zeros(1, 2, 2), torch.ones(1, 2, 2)]).double()  # the second holds neuron 0 at 0
    start = network.initial_states(2, "zeros")
    free = observe_free_phase(Engine(network, Schedule()), x, start, 30, 1e-4)
    assert free.kinds == ["period-2", "at rest"]
    assert free.ticks == list(range(1, 31))
    assert free.residuals[-1].tolist() == [[1, 1], [0, 0]]
    alternating = observe_free_phase(Engine(network, Schedule("alternating")), x, start, 29, 1e-4)
    assert alternating.kinds == ["at rest", "at rest"]
    assert alternating.ticks == list(range(2, 31, 2))


def test_quantiles_of_residuals() -> None:
    residuals = torch.arange(11.0).view(1, 11, 1)
    assert quantiles(residuals).tolist() == [[[5.0], [9.0], [10.0]]]


@pytest.mark.parametrize("policy", ["synchronous", "alternating", "event"])
def test_nudges_and_gradients_are_those_of_whole_presentations(policy: str) -> None:
    network = double_network(SECTIONS["max-pool"], image=(2, 8, 8))
    signals = double_signals(network, [0])
    x, y = batch(network, 4)
    schedule = Schedule(policy, thresholds=1e-3)
    engine = Engine(network, schedule)
    free = observe_free_phase(engine, x, network.initial_states(4, "zeros"), 12, 1e-4)
    objective = Objective(one_hot(y, network.num_classes, x), Errors(signals, alpha=0.7))
    ends = nudge_both(engine, free, objective, 6, 0.3)
    found = biases(engine, x, free, ends, 0.3)
    whole = {
        nudging: ep_gradients(
            network, x, y, Phases(free_steps=12, nudge_steps=6, beta=0.3, nudging=nudging, schedule=schedule),
            Errors(signals, alpha=0.7),
        )
        for nudging in ("three_phase", "one_sided_plus", "one_sided_minus")
    }  # fmt: skip
    both = whole["three_phase"]
    assert both.plus is not None and both.minus is not None
    for mine, theirs in ((free.end.states, both.free), (ends.plus, both.plus), (ends.minus, both.minus)):
        for state, other in zip(mine, theirs, strict=True):
            assert torch.equal(state, other)
    for n, bias in enumerate(found):
        name = f"connections.{n}.weight"
        middle, high, low = (whole[nudging].grads[name].flatten() for nudging in whole)
        assert bias["gradient_norm"] == pytest.approx(float(middle.norm()))
        for one in (high, low):
            assert bias["one_sided_distance"] == pytest.approx(float((one - middle).norm() / middle.norm()))
        assert bias["cosine_plus"] == pytest.approx(float(high @ middle / high.norm() / middle.norm()))
        assert bias["cosine_minus"] == pytest.approx(float(low @ middle / low.norm() / middle.norm()))
        assert bias["cosine_sides"] == pytest.approx(float(low @ high / low.norm() / high.norm()))


def test_without_a_nudge_the_free_phase_goes_on() -> None:
    network = double_network(SECTIONS["avg-pool"], image=IMAGE)
    x, y = batch(network, 2)
    engine, start = Engine(network, Schedule()), network.initial_states(2, "zeros")
    free, longer = (observe_free_phase(engine, x, start, steps, 1e-4) for steps in (5, 9))
    alone = go_on(engine, free, Objective(one_hot(y, network.num_classes, x)), 4)
    for state, after in zip(alone, longer.end.states, strict=True):
        torch.testing.assert_close(state, after)


def test_asymmetry_and_bias_are_of_the_order_of_beta_where_the_dynamics_are_smooth() -> None:
    network = double_network(custom(conv(3, pool="avg"), linear(6), activation="sigmoid"), image=IMAGE, seed=1)
    x, y = batch(network, 4)
    engine, objective = Engine(network, Schedule()), Objective(one_hot(y, network.num_classes, x))
    free = observe_free_phase(engine, x, network.initial_states(4, "zeros"), 200, 1e-6)
    alone = go_on(engine, free, objective, 100)
    found = []
    for beta in (1e-2, 1e-3):
        ends, half, twice = (nudge_both(engine, free, objective, 100, factor * beta) for factor in (1, 0.5, 2))
        last = responses(free.end.states, ends, half, twice, alone)[-1]
        bias = biases(engine, x, free, ends, beta)[-1]
        assert last["asymmetry"] is not None and bias["one_sided_distance"] is not None
        assert last["twice_beta"] == pytest.approx(1, abs=0.1)
        assert last["drift"] < 1e-9
        found.append((last["asymmetry"], bias["one_sided_distance"]))
    for coarse, fine in zip(*found, strict=True):
        assert coarse > 1e-4
        assert fine == pytest.approx(coarse / 10, rel=0.05)


def test_responses_tell_odd_and_proportional_from_even_and_bent() -> None:
    rest = [torch.rand(3, 4, dtype=torch.float64) for _ in range(3)]
    away = torch.randn(3, 4, dtype=torch.float64)

    def ends(beta: float) -> Ends:
        plus = [rest[0] + beta * away, rest[1] + beta**2 * away, rest[2]]
        minus = [rest[0] - beta * away, rest[1] + beta**2 * away, rest[2]]
        return Ends(plus, minus, plus, minus)

    alone = [rest[0], rest[1] + away, rest[2]]
    odd, even, still = responses(rest, ends(1.0), ends(0.5), ends(2.0), alone)
    assert odd["displacement_plus"] == pytest.approx(float(away.norm(dim=1).mean()))
    assert odd["mean_abs_displacement"] == pytest.approx(float(away.abs().mean()))
    assert (odd["asymmetry"], odd["half_beta"], odd["twice_beta"]) == pytest.approx((0, 1, 1))
    assert (even["asymmetry"], even["half_beta"], even["twice_beta"]) == pytest.approx((1, 0.5, 2))
    assert (still["displacement_minus"], still["asymmetry"], still["twice_beta"]) == (0, None, None)
    assert (odd["drift"], even["drift"]) == pytest.approx((0, odd["displacement_plus"]))
    assert (odd["net_minus"], odd["net_asymmetry"]) == (odd["displacement_minus"], odd["asymmetry"])
    assert (even["net_plus"], even["net_minus"]) == pytest.approx((0, 0))


def test_saturation_by_hand() -> None:
    state = torch.tensor([[0.0, 0.0, 1.0, 0.5], [0.0, 0.2, 1.0, 0.5]])
    (found,) = saturation([ACTIVATIONS["hard_sigmoid"]], [state], [torch.tensor([[0.0, 0, 0, 1], [0, 1, 0, 1]])])
    assert (found["at_lower"], found["at_upper"], found["dead"], found["linear"]) == pytest.approx(
        (3 / 8, 1 / 4, 1 / 4, 3 / 8)
    )
    assert found["std_across_samples"] == pytest.approx(0.1 / 4)
    (unbounded,) = saturation([ACTIVATIONS["relu"]], [state], [state])
    assert unbounded["at_upper"] == 0


LAYER = {
    "name": "conv1", "dead": 0.0, "linear": 0.5, "std_across_samples": 0.1, "displacement_plus": 1.0, "drift": 0.0,
    "net_plus": 1.0, "net_minus": 1.0, "net_asymmetry": 0.0, "twice_beta": 1.0, "one_sided_distance": 0.1,
    **{column.name: None for column in fields(TileFigures)},
}  # fmt: skip
SAMPLE = {"kind": "at rest", "L_phi": 0.8, "spectral_radius": 0.7, "margin": 0.1}
SCALARS = {
    "free_phase": {"ticks": 20, "tolerance": 1e-4},
    "theorem": {"c": 1.0},
    "feedback": {"note": "", "loss_cosines": {}},
    "L_phi": {"unconverged": 0, "iterations": 30, "largest_change": 1e-6},
    "L_phi_nudge": {"unconverged": 0, "iterations": 30, "largest_change": 1e-6},
    "spectral_radius": {"unconverged": 0, "iterations": 30, "largest_change": 1e-6},
}


def said(samples: list[dict[str, object]], scalars: dict[str, object] | None = None, **layer: object) -> str:
    return "\n".join(findings(samples, [LAYER | layer], scalars or SCALARS))


def test_a_healthy_network_gives_no_alarm() -> None:
    lines = findings([SAMPLE, SAMPLE], [LAYER], SCALARS)
    assert len(lines) == 3
    assert lines[0].startswith("2 of 2 samples are at rest after 20 ticks")
    assert "spectral radius < 1 at the end of all 2 samples, at most 0.7" in lines[1]
    assert "holds at the end of 2 of 2 samples, without the nudge (c·L_Φ < 1) of 2" in lines[2]


def test_findings_follow_their_rules() -> None:
    text = said([SAMPLE, SAMPLE | {"kind": "period-2", "spectral_radius": 1.25, "L_phi": 1.3, "margin": -1}])
    assert "1 of 2 samples oscillate with period 2" in text
    assert "spectral radius > 1 at the end of 1 of 2 samples (1 period-2), at most 1.25" in text
    assert "holds at the end of 1 of 2 samples, without the nudge (c·L_Φ < 1) of 1" in text
    for layer, expected in (
        ({"dead": 0.5}, "mostly dead, neurons at 0, or signed ones at a bound, in all samples: conv1 50%"),
        ({"linear": 0.04}, "hardly any neuron can pass an error on, by share of drives where σ' is not 0: conv1 4.0%"),
        (
            {"std_across_samples": 5e-4},
            "states hardly depend on the input, by standard deviation across samples",
        ),
        (
            {"drift": 0.6},
            "displaced less than 2 times as far as without any nudge, as the free phase is not over",
        ),
        ({"net_plus": 0.0, "net_minus": 0.0, "net_asymmetry": None}, "not moved by the nudge at all: conv1"),
        ({"net_asymmetry": 0.7}, "+β and −β do not push in opposite directions, by net asymmetry: conv1 0.70"),
        (
            {"twice_beta": 0.6},
            "twice β does not displace twice as far, by displacement over twice that at β: conv1",
        ),
        ({"one_sided_distance": 0.9}, "one-sided gradients differ much from the three-phase one"),
    ):
        assert expected in said([SAMPLE], **layer)
    cut = SCALARS | {"L_phi": {"unconverged": 3, "iterations": 500, "largest_change": 2e-3}}
    assert "L_Φ of 3 samples had not converged after 500 power iterations (last relative change up to 2.0e-03)" in said(
        [SAMPLE], cut
    )
    assert "L_Φ of the displacement of 3 samples had not converged" in said(
        [SAMPLE], SCALARS | {"L_phi_nudge": cut["L_phi"]}
    )
    once = said([SAMPLE], cut | {"L_phi_nudge": cut["L_phi"]})
    assert once.count("had not converged") == 1, "the displacement has no gain of its own"


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "diagnosis"
    with replaced_folder(folder) as staging:
        (staging / "diagnosis.json").write_text("1")
        (staging / "old.csv").write_text("")
    with pytest.raises(KeyError), replaced_folder(folder) as staging:
        (staging / "diagnosis.json").write_text("2")
        raise KeyError
    assert (folder / "diagnosis.json").read_text() == "1"
    with replaced_folder(folder) as staging:
        (staging / "diagnosis.json").write_text("3")
    assert [path.name for path in tmp_path.rglob("*")] == ["diagnosis", "diagnosis.json"]
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"), replaced_folder(tmp_path / "file" / "diagnosis"):
        pass


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run of the smoke scenario."""
    overrides = (
        "data.train_samples=60", "data.test_samples=40", "training.epochs=2", "relaxation.free_steps=9",
        "relaxation.nudge_steps=4", "telemetry.traffic_every=0", "signals.alpha_schedule=linear",
        "telemetry.plots=false", "telemetry.report=false",
    )  # fmt: skip
    return run(load_scenario("smoke", overrides), tmp_path_factory.mktemp("runs") / "run", device="cpu").out


def test_the_command_leaves_all_files_and_says_what_it_found(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", str(trained), "--samples", "12", "--device", "cpu"]) == 0
    captured = capsys.readouterr()
    folder = trained / "diagnosis"
    document = json.loads((folder / "diagnosis.json").read_text())
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    stems = ("residual", "saturation", "nudge", "spectral_radius")
    pictures = {f"plots/{stem}.{kind}" for stem in stems for kind in ("png", "svg")}
    assert names == {"diagnosis.json", "layers.csv", "residual.csv", "samples.csv"} | pictures
    layers, samples, residual = (pd.read_csv(folder / f"{name}.csv") for name in ("layers", "samples", "residual"))
    assert layers["name"].tolist() == ["conv1", "conv2", "fc1"]
    assert (layers["mean_abs_nudge_difference"] > 0).all()
    assert layers[[column.name for column in fields(TileFigures)][1:]].isna().all(axis=None)  # the tiles are ideal
    assert "gross/net" not in captured.out
    assert samples["label"].value_counts().between(1, 2).all() and len(samples) == 12
    assert samples["sample"].is_monotonic_increasing
    assert residual.groupby("name")["tick"].max().to_dict() == dict.fromkeys(["all states", "conv1", "conv2", "fc1"], 9)
    rows = (folder / "residual.csv").read_text().splitlines()
    assert [row.split(",")[:3] for row in rows[1:3]] == [["1", "", "all states"], ["1", "0", "conv1"]]
    assert (samples["margin"] < 1 - samples["L_phi"] * document["theorem"]["c"]).all()
    assert document["theorem"]["alpha"] == pytest.approx(0.5)  # linear from 1 to 0, second of two epochs
    assert sum(document["free_phase"]["kinds"].values()) == 12
    assert document["free_phase"]["residual"]["max"] == pytest.approx(samples["residual"].max())
    for finding in document["findings"]:
        assert f"- {finding}\n" in captured.out
    assert "the first of each class in equal numbers" in captured.out


def test_a_diagnosis_repeats_and_takes_the_place_of_the_last(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neurosim_ep.diagnosis.report.draw_diagnosis", lambda folder, output: [])
    out = tmp_path / "new" / "place"
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    found = report.diagnose(Experiment.open(trained, device="cpu"), 6, out)
    (out / "layers.csv").unlink()
    again = report.diagnose(Experiment.open(trained, device="cpu"), 6, out)
    assert (found.layers, found.samples, found.document) == (again.layers, again.samples, again.document)
    assert (out / "layers.csv").is_file()
    assert before == {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    assert not [path for path in tmp_path.rglob(".*")]


def test_the_picture_of_saturation_stands_in_the_order_of_its_legend() -> None:
    frame = pd.DataFrame({"name": ["conv1", "fc1"], "at_lower": [0.5, 0.2], "at_upper": [0.1, 0.3],
                          "dead": [0.0, 0.25], "linear": [0.4, 0.5]})  # fmt: skip
    upper, lower = draw_saturation(frame, "run").axes
    stack = {bars.get_label(): bars.patches for bars in upper.containers}
    assert list(stack) == ["upper bound", "between", "lower bound"]
    assert [bars[0].get_y() for bars in stack.values()] == pytest.approx([0.9, 0.5, 0.0])
    assert sum(bars[1].get_height() for bars in stack.values()) == pytest.approx(1)
    assert [[bar.get_height() for bar in bars] for bars in lower.containers] == [[0.4, 0.5], [0.0, 0.25]]


def test_the_pictures_can_be_made_for_paper(trained: Path, tmp_path: Path) -> None:
    """As wide as a column, in letters that the file has with it."""
    command = ["diagnose", str(trained), "--samples", "2", "--out", str(tmp_path / "out"), "--device", "cpu", "--paper"]
    assert main(command) == 0
    stems = ("residual", "saturation", "nudge", "spectral_radius")
    pages = {path.name: path.read_bytes() for path in (tmp_path / "out" / "plots").glob("*.pdf")}
    assert pages.keys() == {f"{name}.pdf" for name in stems}
    captions = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "out" / "plots").glob("*.txt")}
    assert captions.keys() == {f"{name}.txt" for name in stems}
    assert all("2 test images." in caption for caption in captions.values())
    assert all(b"/MediaBox [ 0 0 244.8 " in page and b"/FontFile2" in page for page in pages.values())


def test_states_that_are_no_numbers_are_not_diagnosed(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns("diagnosis")))
    checkpoint = copy / "checkpoints" / "last.pt"
    state = torch.load(checkpoint, weights_only=True)
    state["trainer"]["network"]["connections.0.weight"].fill_(torch.nan)
    torch.save(state, checkpoint)
    assert main(["diagnose", str(copy), "--samples", "4", "--device", "cpu"]) == 3
    assert "states of the free phase are not finite" in capsys.readouterr().err
    assert not (copy / "diagnosis").exists()
