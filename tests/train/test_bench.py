"""`neurosim-ep bench`: figures that agree with one another and with a count by hand, for every kind of scenario."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from neurosim_ep.cli import main
from neurosim_ep.data.dataset import sizes, stand_in
from neurosim_ep.ep.edges import Connection
from neurosim_ep.experiment.opening import Experiment
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.scenario.schema import Scenario
from neurosim_ep.scheduler import relaxation_state
from neurosim_ep.scheduler.kernels import Kernel
from neurosim_ep.scheduler.stillness import Stillness
from neurosim_ep.train import bench as module
from neurosim_ep.train.bench import Bench, PhaseSpeed, bench, product_rate, reads_per_tick
from neurosim_ep.train.timing import StepTimer
from neurosim_ep.units import format_time

TINY = ("data.train_samples=40", "data.test_samples=20", "telemetry.traffic_every=3", "training.batch_size=8")


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Few steps, small products, and a working directory that stays empty."""
    monkeypatch.setattr(module, "MOST_STEPS", 1)
    monkeypatch.setitem(module.PRODUCT_SIDES, "cpu", 32)
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    assert not list(tmp_path.iterdir())


def tiny(*overrides: str, name: str = "smoke") -> Scenario:
    return load_scenario(name, (*TINY, *overrides))


def check(found: Bench, scenario: Scenario) -> None:
    """All figures are positive, and sums and products hold."""
    phases = [found.free, *([found.nudge] if found.nudge else [])]
    for phase in phases:
        assert phase.ms == pytest.approx(phase.ticks * phase.ms_per_tick)
        assert 0 < phase.mean_ticks <= phase.ticks
        assert phase.at_rest is None or 0 <= phase.at_rest <= 1
    assert found.step_ms == pytest.approx(sum(phase.ms for phase in phases) + found.update_ms)
    assert found.samples_per_second == pytest.approx(1e3 * found.batch / found.step_ms)
    batches = math.ceil(found.train_samples / found.batch)
    recorded = math.ceil(batches / 3) if found.recorded_step_ms else 0
    extra = ((found.recorded_step_ms or 0) - found.step_ms) * recorded
    assert found.train_epoch_s == pytest.approx((batches * found.step_ms + extra) / 1e3)
    assert found.run_s == pytest.approx(found.epochs * (found.train_epoch_s + found.test_epoch_s))
    assert found.epochs == scenario.training.epochs
    for value in (found.update_ms, found.test_epoch_s, found.reads_GFLOP_per_s, found.product_GFLOP_per_s):
        assert value > 0
    assert found.threads == torch.get_num_threads()
    assert found.extrapolated


def test_figures_agree() -> None:
    scenario = tiny()
    found = bench(scenario, device="cpu", threads=2)
    check(found, scenario)
    assert (found.batch, found.train_samples, found.test_samples, found.threads) == (8, 40, 20, 2)
    assert (found.device, found.precision, found.torch) == ("cpu", "float32", torch.__version__)
    assert found.recorded_step_ms is not None
    assert (found.free.ticks, found.nudge.ticks if found.nudge else 0) == (8, 4)


@pytest.mark.parametrize(
    "overrides",
    [
        ("scheduler.policy=event", "scheduler.threshold=0.01"),
        (
            "scheduler.policy=alternating",
            "relaxation.free_steps=16",
            "relaxation.tolerance=0.1",
            "relaxation.nudge_tolerance=0.5",
        ),
        ("plasticity.rule=stdp", "relaxation.nudging=one_sided_plus"),
        ("relaxation.warm_start=memory", "telemetry.traffic_every=0"),
        ("signals.kind=kd", "signals.learned=false"),
        ("hardware.converters.preset=eight_bit", "hardware.device.preset=EcRam", "hardware.device.update=two_pass"),
    ],
)
def test_every_kind_of_scenario(overrides: tuple[str, ...]) -> None:
    scenario = tiny(*overrides)
    found = bench(scenario, device="cpu")
    check(found, scenario)
    assert any("teacher" in note for note in found.notes) == ("signals.kind=kd" in overrides)


def test_bptt_has_no_nudge() -> None:
    scenario = tiny("plasticity.rule=bptt", "telemetry.traffic_every=0")
    found = bench(scenario, device="cpu")
    check(found, scenario)
    assert found.nudge is None
    assert found.recorded_step_ms is None
    assert found.free.ticks == 8


def test_long_phases_are_cut_and_taken_to_be_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.0)
    scenario = tiny("relaxation.free_steps=300", "relaxation.nudge_steps=100", "plasticity.rule=bptt")
    for rule in ("bptt", "contrastive"):
        case = scenario.model_copy(update={"plasticity": scenario.plasticity.model_copy(update={"rule": rule})})
        found = bench(case, device="cpu")
        check(found, case)
        assert (found.free.ticks, found.free.at_rest) == (300, None)
        assert any("cut to 4 of 300 and 4 of 100 ticks" in line for line in found.extrapolated)


def test_the_share_at_rest_is_that_of_the_phase() -> None:
    all_rest = bench(tiny("relaxation.tolerance=0.5", "relaxation.free_steps=60"), device="cpu")
    assert all_rest.free.at_rest == 1
    assert all_rest.free.mean_ticks <= all_rest.free.ticks < 60
    assert bench(tiny("relaxation.tolerance=0"), device="cpu").free.at_rest is None


@pytest.mark.parametrize("device", ["ideal", "EcRam"])
def test_all_steps_are_those_of_the_untrained_network(device: str) -> None:
    scenario = tiny("training.learning_rate=0.5", *([] if device == "ideal" else [f"hardware.device.preset={device}"]))
    data = stand_in(scenario.data, 8, 4, 0)
    experiment = replace(Experiment.open(scenario, device="cpu"), given=data)
    model = experiment.model
    before = [connection.weight.clone() for connection in model.network.connections]
    timer = StepTimer(experiment)
    for _ in range(3):
        timer.step()
    same = [
        torch.equal(old, connection.weight) for old, connection in zip(before, model.network.connections, strict=True)
    ]
    assert all(same) if device == "ideal" else not any(same)  # pulses that are not given would cost nothing


def test_a_test_is_no_part_of_the_step_before_it() -> None:
    scenario = tiny()
    data = stand_in(scenario.data, 8, 8, seed=0)
    timer = StepTimer(replace(Experiment.open(scenario, device="cpu"), given=data))
    step = timer.step()
    seconds, ticks = step.free.seconds, step.free.sample_ticks
    timer.test()
    assert (step.free.seconds, step.free.sample_ticks) == (seconds, ticks)


@pytest.mark.parametrize(("kind", "shape"), [("cifar100", (3, 32, 32)), ("idx", (1, 28, 28)), ("folder", (3, 32, 32))])
def test_random_images_stand_in(kind: str, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEUROSIM_EP_DATA", raising=False)
    scenario = load_scenario("smoke", [f"data.kind={kind}", "data.train_samples=0", "data.test_samples=50"])
    found = bench(scenario, device="cpu")
    assert found.images == "random images"
    assert any("random images stand in" in note and "NEUROSIM_EP_DATA" in note for note in found.notes)
    assert (found.train_samples, found.test_samples) == (sizes(scenario.data)[0], 50)
    data = stand_in(scenario.data, 12, 5, 0)
    assert (data.image_shape, len(data.train_labels), len(data.test_labels)) == (shape, 12, 5)
    assert data.train_images.dtype == torch.uint8


def brute_force(connection: Connection) -> int:
    """Multiplications and additions of one read, one by one."""
    operations = 0
    for _ in range(math.prod(connection.pre_pool_shape[1:])):
        for row in connection.weight.flatten(1).tolist():
            operations += sum(2 for _ in row)
    return operations


@pytest.mark.parametrize("policy", ["synchronous", "alternating"])
def test_operations_are_those_of_the_reads(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = tiny(
        f"scheduler.policy={policy}", "relaxation.free_steps=10", "relaxation.nudge_steps=4",
        "network.layers=[{kind='conv', size=3, pool='avg'}, {kind='conv', size=2}, {kind='linear', size=5}]",
    )  # fmt: skip
    counted: dict[str, Any] = {"operations": 0}
    for way in ("forward", "feedback"):
        original = getattr(Kernel, way)

        def read(self: Kernel, value: Tensor, *rest: Any, original: Any = original) -> Tensor:
            counted["operations"] += len(value) * brute_force(self.edge)
            return original(self, value, *rest)

        monkeypatch.setattr(Kernel, way, read)
    monkeypatch.setattr("neurosim_ep.scheduler.kernels.PackedKernel.available", lambda: False)
    monkeypatch.setattr(relaxation_state, "Stillness", lambda states, copies, replayed: Stillness(states, copies, True))
    data = stand_in(scenario.data, 8, 8, 0)
    timer = StepTimer(replace(Experiment.open(scenario, device="cpu"), given=data))
    step = timer.step()
    per_tick = reads_per_tick(timer.trainer.model.network, timer.engine.policy.ticks)
    assert counted["operations"] == per_tick * (step.free.sample_ticks + step.nudge.sample_ticks)
    assert step.free.sample_ticks == 8 * 10
    assert step.nudge.sample_ticks == 2 * 8 * 4


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "tf32"])
def test_products_take_the_precision(precision: str) -> None:
    assert product_rate(torch.device("cpu"), precision) > 0


KEYS = {
    "scenario": str, "device": str, "threads": int, "precision": str, "policy": str, "torch": str, "images": str,
    "batch": int, "epochs": int, "train_samples": int, "test_samples": int, "free": dict, "nudge": dict,
    "update_ms": float, "step_ms": float, "recorded_step_ms": float, "samples_per_second": float,
    "GFLOP_per_tick": float, "reads_GFLOP_per_s": float, "product_GFLOP_per_s": float, "peak_memory": dict,
    "train_epoch_s": float, "test_epoch_s": float, "run_s": float, "extrapolated": list, "notes": list,
}  # fmt: skip


def test_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [word for override in TINY for word in ("--set", override)]
    assert main(["bench", "smoke", "--json", "--device", "cpu", "--threads", "1", *arguments]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {key: type(value) for key, value in document.items()} == {"schema_version": int, "command": str, **KEYS}
    assert set(document["free"]) == set(PhaseSpeed.__dataclass_fields__)
    assert document["threads"] == 1


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [word for override in TINY for word in ("--set", override)]
    assert main(["bench", "smoke", "--device", "cpu", *arguments]) == 0
    text = capsys.readouterr().out
    for words in ("ms per tick", "free", "nudge", "update", "samples per second", "GFLOP/s", "epoch", "(extrapolated)"):
        assert words in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere"),
        (["smoke", "--set", "network.width=-1"], "width"),
        (["smoke", "--threads", "0"], "--threads"),
        (["smoke", "--device", "tpu"], "tpu"),
    ],
)
def test_errors(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *arguments]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.123, "0.12 s"), (9.6, "10 s"), (59.4, "59 s"), (130, "2 min 10 s"), (7260, "2 h 1 min"), (190_000, "2 d 4 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert format_time(seconds) == text


@pytest.mark.parametrize(("ms", "text"), [(0.2468, "0.247"), (314.15, "314"), (264_300.0, "264,300")])
def test_milliseconds_are_never_powers_of_ten(ms: float, text: str) -> None:
    assert module._ms(ms, 3) == text
