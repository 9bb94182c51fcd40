"""Training on real tiles: against ideal ones, what they count, how a run goes on, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_files import idx_files
from tiny_run import IDX_SCENARIO, InterruptingReporter, contents, outcome
from torch import Tensor

from neurosim_ep.cli import main
from neurosim_ep.ep.network import build_network
from neurosim_ep.errors import RunInterrupted, ScenarioError
from neurosim_ep.experiment.model import chip_model
from neurosim_ep.experiment.opening import Experiment
from neurosim_ep.hardware.chip.counts import DIRECTIONS
from neurosim_ep.hardware.chip.phases import READ_PHASES
from neurosim_ep.record.recost import recost
from neurosim_ep.scenario.load import dump_scenario, load_scenario, parse_scenario
from neurosim_ep.scenario.schema import HardwareSection, Scenario
from neurosim_ep.scheduler.engine import Engine
from neurosim_ep.scheduler.presentation import Phases, ep_gradients
from neurosim_ep.scheduler.schedule import Schedule
from neurosim_ep.telemetry.counters import TileCounter
from neurosim_ep.telemetry.traffic import TrafficObserver
from neurosim_ep.tiles.crossbar import Circuit, TileArray
from neurosim_ep.tiles.mapping import ArrayGeometry, ConnectionGeometry, TilePlan, plan_tiles
from neurosim_ep.tiles.network_tiles import make_tiles
from neurosim_ep.train.resume import resume
from neurosim_ep.train.run import run
from neurosim_ep.train.trainer import Trainer

LAYERS = (
    '[{{ kind = "conv", size = 4, pool = "{}", kernel = 5, padding = 0 }}, '
    '{{ kind = "conv", size = 5, pool = "{}" }}, {{ kind = "linear", size = 6 }}]'
)
CONVERTERS = ("hardware.converters.dac_bits=8", "hardware.converters.adc_bits=8")
NOISY = (*CONVERTERS, "hardware.cells.read_noise=0.01", "hardware.cells.variation=0.05")
EXACT_STEPS = "dw_min_dtod = 0, dw_min_std = 0, w_max_dtod = 0, w_min_dtod = 0, w_max = 10, w_min = -10"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scenario file with small images."""
    folder = tmp_path_factory.mktemp("tiny")
    idx_files(folder / "data")
    text = IDX_SCENARIO.replace("[data]", f"[data]\nroot = '{folder / 'data'}'")
    text = re.sub(r"layers = \[\{.*", "layers = " + LAYERS.format("max", "none"), text)
    (folder / "tiny.toml").write_text(text)
    return folder / "tiny.toml"


@pytest.fixture(autouse=True)
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neurosim_ep.diagnosis.report.draw_diagnosis", lambda folder, output: None)


def trainer_of(scenario: Scenario) -> Trainer:
    return Trainer(Experiment.open(scenario, device="cpu"))


def trained(scenario: Scenario, epochs: int = 1) -> Trainer:
    made = trainer_of(scenario)
    for epoch in range(epochs):
        made.train_epoch(epoch, lambda batch: None)
    return made


def weights(made: Trainer) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in made.model.network.named_parameters()}


# -- against ideal tiles


def test_the_construction_of_ideal_tiles_changes_nothing(tiny: Path) -> None:
    first, second = (weights(trained(load_scenario(tiny, (f"hardware.construction_seed={seed}",)))) for seed in (0, 7))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert trainer_of(load_scenario(tiny)).model.tiles is None


@pytest.mark.parametrize("policy", ["synchronous", "alternating", "event"])
@pytest.mark.parametrize("pool", ["max", "avg"])
def test_neutral_tiles_train_as_ideal_ones(tiny: Path, pool: str, policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sets = (
        f"network.layers={LAYERS.format(pool, 'none')}", f"scheduler.policy={policy}", "relaxation.free_steps=8",
        "relaxation.nudge_steps=4", "training.batch_size=4",
    )  # fmt: skip
    ideal = weights(trained(load_scenario(tiny, sets)))
    monkeypatch.setattr(HardwareSection, "ideal", property(lambda section: False))
    monkeypatch.setattr(TileArray, "exact", property(lambda array: False))
    monkeypatch.setattr("neurosim_ep.experiment.model.chip_model", with_arrays(24, 6))
    made = trained(load_scenario(tiny, sets))
    assert all(connection.tiles is not None for connection in made.model.network.connections)
    assert made.model.plan.grid(1) == (2, 2)
    start = weights(trainer_of(load_scenario(tiny, sets)))
    for name, value in weights(made).items():
        assert float((value - ideal[name]).abs().max()) < 1e-5
        assert name == "x" or float((value - start[name]).abs().max()) > 1e-4


def with_arrays(rows: int, columns: int) -> Callable[[HardwareSection], Any]:
    """The usual hardware models with arrays of another size."""
    return lambda section: chip_model(section).changed({"array.rows": rows, "array.columns": columns}, "test")


@pytest.mark.parametrize(
    "sets",
    [
        (), ("training.update_limit=0.01",), ("relaxation.nudging=one_sided_minus",),
        ("plasticity.rule=backprop", "signals.kind=none", "training.learning_rate=0.3"),
    ],
    ids=str,
)  # fmt: skip
def test_fine_exact_pulses_make_the_step_of_sgd(tiny: Path, sets: tuple[str, ...]) -> None:
    """The terms of a rule, written by pulses, are the step -lr g of the ideal network from the same states."""
    plain = (
        'network.layers=[{kind = "linear", size = 6}, {kind = "linear", size = 5}]', "training.update_limit=0",
        "training.momentum=0", "training.weight_decay=0", "training.batch_size=12", "training.schedule=constant",
        "training.learning_rate=[1e-3, 0.3]", *sets,
    )  # fmt: skip
    device = (
        "hardware.device.preset=Idealized", f"hardware.device.constants={{ dw_min = 1e-4, {EXACT_STEPS} }}",
        "hardware.device.update=two_pass", "hardware.device.pulse_trains=deterministic",
        "hardware.device.desired_bl=1024", "hardware.device.weight_scaling_omega=0.6",
    )  # fmt: skip
    before = weights(trainer_of(load_scenario(tiny, plain)))
    ideal, real = weights(trained(load_scenario(tiny, plain))), weights(trained(load_scenario(tiny, (*plain, *device))))
    for name, value in real.items():
        step, wanted = value - before[name], ideal[name] - before[name]
        if "connections" in name and "weight" in name:
            assert float((step - wanted).norm() / wanted.norm()) < 0.05, name
        else:
            assert torch.allclose(value, ideal[name], atol=1e-5), name


def test_fine_exact_pulses_of_the_difference_make_the_step_of_sgd_with_momentum(tiny: Path) -> None:
    device = (
        "hardware.device.preset=Idealized", f"hardware.device.constants={{ dw_min = 1e-6, {EXACT_STEPS} }}",
    )  # fmt: skip
    before = weights(trainer_of(load_scenario(tiny)))
    ideal, real = weights(trained(load_scenario(tiny), 2)), weights(trained(load_scenario(tiny, device), 2))
    for name, value in real.items():
        wanted = ideal[name] - before[name]
        assert float((value - before[name] - wanted).norm() / wanted.norm()) < 0.01, name


RUNS: dict[str, tuple[str, ...]] = {
    "samples leave": (
        *NOISY, "relaxation.tolerance=0.05", "relaxation.nudge_tolerance=0.5", "relaxation.free_steps=30",
    ),
    "absmax": (*CONVERTERS, "hardware.converters.adc_range=absmax", "hardware.converters.noise_management=absmax"),
    "event": (*NOISY, "scheduler.policy=event", "scheduler.threshold=0.01"),
    "alternating": (*NOISY, "scheduler.policy=alternating", "relaxation.free_steps=4"),
    "PresetIO": ("hardware.converters.preset=PresetIO", "network.activation=relu"),
    "isaac": ("hardware.converters.preset=isaac",),
    "slices": ("hardware.model=sram_22nm", *CONVERTERS),
    "pcm": ("hardware.cells.statistics=pcm", "hardware.cells.time_s=100"),
    "wires": ("hardware.cells.ir_drop=estimated", "hardware.cells.stuck_on=0.01"),
    "one cell": ("hardware.model=single.toml", "hardware.cells.levels=16", "hardware.cells.ir_drop=closed_form"),
    "one noisy cell in wires": (
        "hardware.model=single.toml", "hardware.device.preset=ReRamES", "hardware.cells.ir_drop=estimated",
    ),
    "one sided": (*NOISY, "relaxation.nudging=one_sided_plus", "network.loss=squared_error", 'signals.kind=none'),
    "warm": (*NOISY, "relaxation.warm_start=memory", "relaxation.tolerance=0.05"),
    "backprop": (*NOISY, "plasticity.rule=backprop", "signals.kind=none", "network.activation=hard_tanh"),
    "sweep with gains": (
        *CONVERTERS, "scheduler.policy=sweep", "relaxation.feedback=0.1", "relaxation.nudge_feedback=1",
        "signals.kind=none", "network.activation=hard_tanh", "relaxation.nudge_steps=1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", RUNS)
def test_epochs_on_real_tiles(tiny: Path, tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They train, test and count, whatever the tiles are made of."""
    monkeypatch.chdir(tmp_path)
    single = {"array.cells_per_weight": 1, "array.columns": 6}
    Path("single.toml").write_text(chip_model(HardwareSection()).changed(single, "test").to_toml())
    scenario = load_scenario(tiny, ("telemetry.stats_every=1", *RUNS[case]))
    made = trainer_of(scenario)
    made.keep_warm_states(tmp_path)
    before = weights(made)
    for epoch in range(2):
        record, test = made.train_epoch(epoch, lambda batch: None), made.evaluate()
        assert np.isfinite(record.loss) and 0 <= test.accuracy <= 1
        for layer, row in enumerate(list(record.layers.values())[:3]):
            assert 0 <= (row["mean_abs_state"] or 0) < 10 and (row["norm_dW"] or 0) > 0
            if scenario.hardware.converters.adc_bits:
                assert (row["adc_step_forward"] or 0) > 0 and 0 <= (row["clipped_forward"] or 0) < 1
                assert (row["adc_step_transposed"] is None) == (layer + 1 == len(made.model.tiles.arrays))
    assert all(not torch.equal(before[name], value) for name, value in weights(made).items())


# -- what is counted


def counted_network(
    pools: tuple[str, str], array: ArrayGeometry, section: HardwareSection
) -> tuple[Any, TilePlan, Any]:
    activation = ["hard_tanh", "hard_sigmoid", "hard_tanh", "relu6"] if array.sign_passes == 2 else "hard_sigmoid"
    asked = {"preset": "custom", "layers": layer_tables(pools), "activation": activation}
    scenario = parse_scenario({"network": asked}, "test")
    network = build_network(scenario.network, 4, (2, 7, 6), 0)
    plan = plan_tiles([ConnectionGeometry.from_connection(one) for one in network.connections], array)
    tiles = make_tiles(network, plan, section, Circuit(1e-5, 1.0), 0.1, 0)
    assert tiles is not None
    return network, plan, tiles


def layer_tables(pools: tuple[str, str]) -> list[dict[str, Any]]:
    first, second = pools
    return [
        {"kind": "conv", "size": 3, "pool": first},
        {"kind": "conv", "size": 5, "kernel": 2, "padding": 0, "pool": second},
        {"kind": "linear", "size": 7}, {"kind": "linear", "size": 3},
    ]  # fmt: skip


@pytest.mark.parametrize("nudging", ["three_phase", "one_sided_plus"])
@pytest.mark.parametrize("tolerance", [0.0, 0.1])
@pytest.mark.parametrize("policy", ["synchronous", "alternating", "event"])
@pytest.mark.parametrize(
    ("pools", "array", "converters"),
    [
        (("avg", "none"), ArrayGeometry(7, 4, 2, columns_per_conversion=2), {"adc_bits": 8}),
        (("none", "avg"), ArrayGeometry(8, 5, 1), {"adc_bits": 8, "adc_range": "absmax"}),
        (("max", "none"), ArrayGeometry(9, 6, 2, slices=2, levels=15, columns_per_conversion=2), {"adc_bits": 8}),
        (
            ("none", "none"), ArrayGeometry(6, 2, 2, input_pulses=4, columns_per_conversion=2),
            {"adc_bits": 8, "dac_bits": 4, "dac_coding": "bit_serial"},
        ),
        (("avg", "none"), ArrayGeometry(7, 6, 2, columns_per_conversion=2, sign_passes=2), {"adc_bits": 8}),
    ],
)  # fmt: skip
def test_counted_conversions_are_those_that_were_made(
    pools: tuple[str, str],
    array: ArrayGeometry,
    converters: dict[str, Any],
    policy: str,
    tolerance: float,
    nudging: str,
) -> None:
    section = HardwareSection.model_validate({"converters": converters})
    network, plan, tiles = counted_network(pools, array, section)
    x = torch.randn(5, 2, 7, 6, generator=torch.Generator().manual_seed(0))
    counter = TileCounter(plan, "cpu")
    schedule = Schedule(policy=policy, tolerance=tolerance, nudge_tolerance=min(tolerance * 3, 0.9), check_every=1)
    with tiles.calibrating(), tiles.counting():
        ep_gradients(
            network,
            x,
            torch.tensor([0, 1, 2, 3, 0]),
            Phases(free_steps=12, nudge_steps=6, beta=0.5, nudging=nudging),
            engine=Engine(network, schedule),
            observers=[TrafficObserver(network, counter, x)],
        )
    counts = counter.result(5)
    serial = array.input_pulses if "dac_coding" in converters else 1
    for layer, tile in enumerate(tiles.arrays):
        pulses = serial - 1 if serial > 1 and layer == 0 else serial  # a sign and one bit less
        for direction in DIRECTIONS:
            for phase in ("free", "nudge"):
                phases = [name for name in READ_PHASES if name.startswith(phase)]
                expected = sum(
                    int(counts.of(name, "clocked", direction, "adc_conversions")[plan.tile_range(layer)].sum())
                    for name in phases
                )
                made = tile.conversions.get((phase, direction))
                done = 0 if made is None else made.done
                if pools[0] == "max" and layer == 0 and (phase, direction) == ("free", "forward"):
                    done -= 2 * expected  # the routing of both terms is read once more
                assert done == expected * pulses, (layer, phase, direction)
    assert tiles.arrays[1].conversions["nudge", "transposed"].done > 0


PULSED = {
    "difference": ("hardware.device.update=difference",),
    "two_pass": ("hardware.device.update=two_pass",),
    "transfer": ("hardware.device.update=transfer", "hardware.device.transfer_every=1"),
}


@pytest.mark.parametrize("update", PULSED)
def test_counted_pulses_are_those_that_devices_got(tiny: Path, update: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tile by tile, for the last batch of an epoch."""
    monkeypatch.setattr("neurosim_ep.experiment.model.chip_model", with_arrays(24, 6))
    sets = ("hardware.device.preset=EcRam", "telemetry.traffic_every=1", "training.batch_size=6", *PULSED[update])
    made = trainer_of(load_scenario(tiny, sets))
    record, tiles, plan = made.train_epoch(0, lambda batch: None), made.model.tiles, made.model.plan
    counts = record.traffic[-1][1]
    assert tiles is not None and counts.applied
    for layer, devices in enumerate(tiles.devices):
        up, down = devices.counts.up.double(), devices.counts.down.double()
        assert float((up + down).sum()) > 0
        for tile in (one for one in plan.tiles if one.layer == layer):
            rows = slice(24 * tile.row_block, 24 * tile.row_block + tile.rows)
            columns = slice(3 * tile.col_block, 3 * tile.col_block + tile.columns // 2)  # pairs of 6 columns
            here = [part[rows, columns] for part in (up, down)]
            expected = {
                "pulses_up": here[0].sum(), "pulses_down": here[1].sum(), "pulses_net": (here[0] - here[1]).abs().sum(),
                "write_steps": sum(part.amax(1).sum() for part in here),
            }  # fmt: skip
            for quantity, value in expected.items():
                assert counts.updates(quantity)[tile.index] == int(value), (quantity, tile)
    row = record.layers[made.model.network.layer_names[1]]
    size = tiles.devices[1].weights.numel()
    total = sum(one.updates("pulses_up")[plan.tile_range(1)].sum() for _, one in record.traffic)
    assert row["pulses_up"] == pytest.approx(total / len(record.traffic) / size)


@pytest.mark.parametrize(
    "sets",
    [NOISY, ("hardware.converters.preset=isaac",), ("hardware.device.preset=EcRam", "hardware.device.update=two_pass")],
)
def test_its_own_model_gives_its_own_bill(tiny: Path, tmp_path: Path, sets: tuple[str, ...]) -> None:
    found = run(load_scenario(tiny, ("training.epochs=1", *sets)), tmp_path / "run", device="cpu").out
    recost(found, str(found / "hardware.toml"), tmp_path / "again")
    assert (tmp_path / "again" / "cost.csv").read_bytes() == (found / "cost.csv").read_bytes()


# -- going on


RESUMED: dict[str, tuple[str, ...]] = {
    "noise": NOISY,
    "levels": (*CONVERTERS, "hardware.cells.levels=8", "hardware.cells.programming_noise=0.02"),
    "pcm": (*NOISY[:2], "hardware.cells.statistics=pcm", "hardware.cells.time_s=1000"),
    "difference": (*CONVERTERS, "hardware.device.preset=ReRamSB"),
    "synapse": ("hardware.device.preset=EcRam", "hardware.device.accumulator=synapse"),
    "two_pass": (
        *NOISY, "hardware.device.preset=ReRamES", "hardware.device.update=two_pass", "hardware.device.desired_bl=4",
    ),
    "transfer": (
        "hardware.device.preset=ReRamArrayOM", "hardware.device.update=transfer", "hardware.device.transfer_every=2",
        "hardware.device.desired_bl=4",
    ),
}  # fmt: skip


def flat(state: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of nested dictionaries and lists."""
    if isinstance(state, dict | list | tuple):
        for key, value in state.items() if isinstance(state, dict) else enumerate(state):
            yield from flat(value, f"{name}/{key}")
    else:
        yield name, state.tolist() if isinstance(state, Tensor) else state


@pytest.mark.parametrize("case", RESUMED)
def test_an_interrupted_run_goes_on_bit_for_bit(tiny: Path, tmp_path: Path, case: str) -> None:
    """Weights, tables, conductances, hidden states of devices, what waits, and ranges."""
    traffic = f"telemetry.traffic_every={2 * (case == 'levels')}"
    scenario = load_scenario(tiny, ("training.batch_size=4", "telemetry.stats_every=1", traffic, *RESUMED[case]))
    whole, stopped = run(scenario, tmp_path / "whole", device="cpu").out, tmp_path / "stopped"
    with pytest.raises(RunInterrupted):
        run(scenario, stopped, device="cpu", reporter=InterruptingReporter())
    resume(stopped, device="cpu")
    assert (stopped / "layers.csv").read_bytes() == (whole / "layers.csv").read_bytes()
    if case == "levels":
        assert outcome(stopped) == outcome(whole)
    first, second = (
        dict(flat(torch.load(path / "checkpoints/last.pt", weights_only=True)["trainer"])) for path in (whole, stopped)
    )
    assert first.keys() == second.keys() and any(name.startswith("/tiles") for name in first)
    differing = [name for name in first if first[name] != second[name]]
    assert not differing
    if case == "difference":
        assert main(["diagnose", str(stopped), "--samples", "4", "--device", "cpu"]) == 0


def test_a_run_names_its_files_from_anywhere(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from neurosim_ep.resources import shipped_files

    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_bytes(shipped_files("hwmodels/devices")["EcRam"].read_bytes())
    Path("adc.toml").write_text("[converters]\nadc_bits = 7\n")
    sets = ("hardware.device.preset=mine.toml", "hardware.converters.preset=adc.toml", "training.epochs=1")
    found = run(load_scenario(tiny, sets), tmp_path / "run", device="cpu").out
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = load_scenario(found / "scenario.toml")
    assert again.hardware.converters.adc_bits == 7
    trainer_of(again)


def test_estimates_of_real_tiles(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges are calibrated on the way, so that coarse converters leave the network as active as fine ones do."""
    from neurosim_ep.train.estimate import estimate_measured

    sets = ("relaxation.free_steps=10",)
    reads = []
    for bits in (0, 10):
        scenario = load_scenario(tiny, (*sets, f"hardware.converters.adc_bits={bits}"))
        counts = estimate_measured(scenario, 6, "cpu").recording.counts
        reads.append(sum(int(counts.of(phase, "event", "forward", "active_lines").sum()) for phase in READ_PHASES))
    assert reads[1] == pytest.approx(reads[0], rel=0.15)


# -- presets and what is refused


def test_devices_for_weights_of_one_sign_are_named(tiny: Path) -> None:
    notes = {
        name: trainer_of(load_scenario(tiny, (f"hardware.device.preset={name}",))).notes for name in ("PCM", "EcRam")
    }
    assert any("device PCM holds weights from 0 to 2 alone" in note for note in notes["PCM"])
    assert not notes["EcRam"]


def test_presets_are_defaults(tiny: Path) -> None:
    found = load_scenario(tiny, ("hardware.converters.preset=PresetIO", "hardware.converters.adc_bits=6")).hardware
    assert (found.converters.adc_bits, found.converters.dac_bits, found.converters.adc_bound) == (6, 7, 20.0)
    scenario = load_scenario(tiny, ("hardware.converters.adc_bits=8",))
    assert scenario.hardware.converters.adc_bits == 8 and not scenario.hardware.ideal
    assert load_scenario(tiny).hardware.ideal


def test_dumped_scenarios_are_read_back(tiny: Path) -> None:
    import tomllib

    sets = (
        "hardware.converters.preset=isaac",
        "hardware.device.preset=EcRam",
        "hardware.device.constants={dw_min = 1e-3}",
    )
    scenario = load_scenario(tiny, sets)
    assert parse_scenario(tomllib.loads(dump_scenario(scenario)), "again") == scenario
    hash(scenario)


REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "unknown key": (
        ("converters.adc_bit=8",), "adc_bit (--set) = 8: unknown key; did you mean hardware.converters.adc_bits?",
    ),
    "unknown table": (("converter.adc_bits=8",), "did you mean hardware.converters?"),
    "converters, near": (
        ("converters.preset=PresetI",),
        'hardware.converters.preset (--set) = "PresetI": no such file and no shipped name',
    ),
    "converters, far": (("converters.preset=zzz",), "shipped names: PresetIO, StandardIO"),
    "converters, no file": (("converters.preset=broken.toml",), "broken.toml has no [converters] table"),
    "device, near": (("device.preset=EcRan",), "hardware.device.preset = EcRan: no such file and no shipped name"),
    "cells, near": (("cells.statistics=pmc",), "hardware.cells.statistics = pmc: no such file"),
    "bit-serial without bits": (("converters.dac_coding=bit_serial",), "needs the number of bits; set dac_bits"),
    "range without bits": (
        ("converters.adc_range=fixed",), 'adc_range (--set) = "fixed": belongs to converters with adc_bits',
    ),
    "quantile without bits": (("converters.calibration_quantile=0.9",), "set adc_bits"),
    "quantile of a fixed range": (
        ("converters.adc_bits=8", "converters.adc_range=fixed", "converters.calibration_quantile=0.9"),
        'calibration_quantile (--set) = 0.9: is for adc_range = "calibrated"; remove it',
    ),
    "management of a calibrated range": (
        ("converters.adc_bits=8", "converters.bound_management=iterative"), 'is for adc_range = "fixed"',
    ),
    "bound of a calibrated range": (
        ("converters.adc_bits=8", "converters.adc_bound=2"), 'of adc_range = "fixed"; remove it',
    ),
    "too many bits": (("converters.adc_bits=17",), "adc_bits (--set) = 17: must be an integer >= 0 and <= 16"),
    "update without a device": (("device.update=two_pass",), 'update (--set) = "two_pass": belongs to a device'),
    "constants without a device": (
        ("device.constants={dw_min = 0.1}",), "belongs to a device; remove it, or set preset",
    ),
    "unknown constant": (
        ("device.preset=EcRam", "device.constants={dw_mi = 0.1}"),
        'no constant "dw_mi" in model linear; did you mean dw_min?',
    ),
    "bad constant": (("device.preset=EcRam", "device.constants={dw_min = -1}"), "constants.dw_min = -1"),
    "text for a constant": (
        ("device.preset=EcRam", "device.constants={dw_min = 'a'}"), 'dw_min (--set) = "a": must be a number',
    ),
    "trains of a difference": (
        ("device.preset=EcRam", "device.desired_bl=7"), 'belongs to update = "two_pass" and "transfer"',
    ),
    "transfer of a difference": (("device.preset=EcRam", "device.transfer_rate=0.2"), 'belongs to update = "transfer"'),
    "accumulator of two passes": (
        ("device.preset=EcRam", "device.update=two_pass", "device.accumulator=synapse"),
        'belongs to update = "difference"',
    ),
    "levels of a device": (("device.preset=EcRam", "cells.levels=8"), "a device has its own; remove it"),
    "slices of a device": (
        ("model=sram_22nm", "device.preset=EcRam"),
        "sram_22nm has 8 bit slices; choose a model with one, or preset = none",
    ),
    "one level": (("cells.levels=1",), "cells.levels (--set) = 1: must be 0 or at least 2"),
    "stuck": (("cells.stuck_off=0.6", "cells.stuck_on=0.6"), "must not exceed 1 together with stuck_off (0.6)"),
    "time without statistics": (("cells.time_s=5",), "is for cells with statistics; remove it, or set statistics"),
    "noise beside statistics": (("cells.statistics=pcm", "cells.read_noise=0.1"), "says what programming and reads do"),
    "time it does not know": (("cells.statistics=rram_wan", "cells.time_s=5"), "hardware.cells.time_s = 5.0: "),
    "no time it knows": (("cells.statistics=rram_wan",), "rram_wan is published only at 1, 86400, 172800 s"),
    "relu": (
        ("converters.dac_bits=8", "network.activation=relu"),
        'noise_management = "none": must be "absmax" with network.activation = relu, whose states have no bound',
    ),
    "stdp": (
        ("converters.dac_bits=8", "plasticity.rule=stdp"),
        'must be "contrastive" or "backprop" on tiles that are not ideal',
    ),
    "bptt": (
        ("cells.read_noise=0.1", "plasticity.rule=bptt"),
        'must be "contrastive" or "backprop" on tiles that are not ideal',
    ),
    "precision": (
        ("device.preset=EcRam", "scheduler.precision=bfloat16"), 'must be "float32" or "auto" on tiles that are not',
    ),
    "cells without a range": (
        ("model=ideal", "cells.levels=8"), "conduct as much as those that are on, and hold no weight",
    ),
    "torn pairs": (("model=odd.toml", "converters.adc_bits=8"), "columns, which would part the cells of a pair"),
}  # fmt: skip


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize(("sets", "said"), REFUSED.values(), ids=REFUSED)
def test_refused_tiles(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    command: str, sets: tuple[str, ...], said: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("broken.toml").write_text("[converter]\n")
    Path("odd.toml").write_text(chip_model(HardwareSection()).changed({"array.columns": 127}, "test").to_toml())
    before = contents(tmp_path)
    names = (
        override if override.startswith(("network", "plasticity", "scheduler")) else f"hardware.{override}"
        for override in sets
    )
    assert main([command, str(tiny), *(word for name in names for word in ("--set", name))]) == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err and captured.out == ""
    assert said in captured.err
    assert contents(tmp_path) == before


def test_more_than_a_pair_of_cells_is_refused(tiny: Path) -> None:
    with pytest.raises(ScenarioError, match="has 4 cells per weight"):
        counted_network(
            ("none", "none"), ArrayGeometry(8, 8, 4), HardwareSection.model_validate({"converters": {"adc_bits": 4}})
        )
