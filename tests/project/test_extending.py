"""The examples of docs/extending.md for rules, signals, data, exports and hardware, each added by another package."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from examples import example, installed
from hardware_example import MODEL, RECORDING
from hardware_models import load_hardware_model
from nets import conv, custom, linear
from synthetic_run import synthetic_run
from tiny_run import tiny_run

from neurosim_ep import Phases, ep_gradients
from neurosim_ep.analysis.groups import grouped
from neurosim_ep.analysis.load import open_runs
from neurosim_ep.cli import main
from neurosim_ep.ep.network import build_network
from neurosim_ep.errors import HardwareModelError, ScenarioError, UsageError
from neurosim_ep.hardware.bill.comparison import compare
from neurosim_ep.hardware.bill.cost import bill
from neurosim_ep.registry import ACTIONS
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.tiles.devices.file import load_device


def flags(sets: tuple[str, ...]) -> list[str]:
    return [word for one in sets for word in ("--set", one)]


FEW = ("data.train_samples=32", "data.test_samples=10")


def test_a_learning_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with installed("A learning rule", "rules", "signs = signs_rule:Signs", tmp_path):
        assert main(["list"]) == 0 and "the sign of the contrast" in capsys.readouterr().out
        assert main(["schema", "plasticity"]) == 0 and "signs: the sign of the contrast" in capsys.readouterr().out
        with pytest.raises(ScenarioError, match='must be "contrastive" or "backprop" on tiles that are not ideal'):
            load_scenario("smoke", ("plasticity.rule=signs", "hardware.converters.dac_bits=8"))
        section = custom(conv(4), linear(5))
        network = build_network(section, 3, (2, 6, 6), seed=0)
        x, y = torch.rand(4, 2, 6, 6, generator=torch.Generator().manual_seed(0)), torch.arange(4) % 3
        phases = {"free_steps": 4, "nudge_steps": 2, "beta": 0.5}
        ours, plain = (
            ep_gradients(network, x, y, Phases(rule=rule, **phases)).grads for rule in ("signs", "contrastive")
        )
        out = tiny_run(tmp_path / "run", *FEW, "plasticity.rule=signs")
    for name, grad in plain.items():
        expected = grad.sign() * grad.abs().mean() if name.startswith("connections") else grad
        torch.testing.assert_close(ours[name], expected)
    assert pd.read_csv(out / "layers.csv")["norm_dW"].gt(0).all() and (out / "traffic.h5").exists()
    with pytest.raises(UsageError, match="rule = 'signs': must be 'contrastive' or 'stdp'"):
        ep_gradients(network, x, y, Phases(rule="signs", **phases))
    with pytest.raises(ScenarioError, match='"signs": must be one of "contrastive", "stdp", "bptt", "backprop"'):
        load_scenario("smoke", ("plasticity.rule=signs",))


def test_a_signal_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sets = (*FEW, "signals.kind=le_binary", "signals.learned=false")
    with installed("A signal kind", "signals", "le_binary = binary_signals:BINARY", tmp_path):
        assert main(["list"]) == 0 and "local errors through random signs" in capsys.readouterr().out
        with pytest.raises(ScenarioError, match=r"learned = true: belongs to .* add --set signals\.learned=false"):
            load_scenario("smoke", ("signals.kind=le_binary",))
        out = tiny_run(tmp_path / "run", *sets)
        (group,) = grouped(open_runs([out]))
        assert group.method == "binary LE"
    state = torch.load(out / "checkpoints" / "last.pt", weights_only=True)["trainer"]["signals"]
    assert set(state) == {"R0", "R1"}
    for entries in state.values():
        assert torch.allclose(entries.abs(), torch.full_like(entries, entries.shape[1] ** -0.5))
    shown = pd.read_csv(out / "layers.csv")["readout_accuracy"]
    assert shown[:2].notna().all() and shown[2:].isna().all()


def test_a_data_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sets = (
        "data.kind=bars", "data.image_size=16", "data.augment=none", "data.train_samples=64", "data.test_samples=20",
    )  # fmt: skip
    with installed("A data source", "sources", "bars = bars_images:Bars", tmp_path):
        assert main(["schema", "data"]) == 0 and "bars: a bright column or a bright row" in capsys.readouterr().out
        with pytest.raises(ScenarioError, match=r'= "x": is not for kind = "bars", which takes image_size; remove it'):
            load_scenario("smoke", (*sets, "data.root=x"))
        assert main(["check", "smoke", *flags(sets)]) == 0 and "1x16x16" in capsys.readouterr().out
        out = tiny_run(tmp_path / "run", *sets)
    said = json.loads((out / "run.json").read_text())["data"]
    assert (said["source"], said["classes"]) == ("bars", 2)
    assert 'root = ""' in (out / "scenario.toml").read_text()  # nothing to find again
    with pytest.raises(ScenarioError, match='= "bars": must be one of'):
        load_scenario("smoke", sets)


def test_a_device_law(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "windowed.toml"
    file.write_text(example("A device law", "toml", 1))
    with pytest.raises(HardwareModelError, match=r'device.model = "window": unknown model; known: constant, linear'):
        load_device(str(file))
    with installed("A device law", "devices", "window = window_law:Window", tmp_path):
        assert main(["list"]) == 0 and "by the window of Biolek" in capsys.readouterr().out
        with pytest.raises(HardwareModelError, match='no constant "q" in model window'):
            load_device(str(file), {"q": 1.0})
        law = load_device(str(file))
        w = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
        constants = law.draw((), None)
        shares = torch.tensor([1.0, 1 - 0.5**6, 0.0], dtype=torch.float64)
        torch.testing.assert_close(law.up(w, constants), 0.002 * shares)
        torch.testing.assert_close(law.down(w, constants), -0.002 * shares.flip(0))
        sets = (f"hardware.device.preset={file}", "data.train_samples=32", "data.test_samples=10")
        out = tiny_run(tmp_path / "run", *sets)
    assert pd.read_csv(out / "cost.csv").query("component == 'cell_write'")["count"].sum() > 0


def test_a_converter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rram_sar.toml"
    file.write_text(example("A converter", "toml", 1))
    with pytest.raises(HardwareModelError, match=r'adc.kind = "sar": must be one of table, .*\n  adc.sar: unknown key'):
        load_hardware_model(str(file))
    with installed("A converter", "converters", "sar = sar_converters:Sar", tmp_path):
        assert main(["list"]) == 0 and "bits E_logic + 4^bits E_noise" in capsys.readouterr().out
        model = load_hardware_model(str(file))
        assert main(["hw", "show", str(file), "adc"]) == 0 and "adc.sar.logic_energy" in capsys.readouterr().out
        assert main(["hw", "diff", str(file), "rram_32nm"]) == 0 and "adc.sar.bit_area" in capsys.readouterr().out
        wrong = file.read_text().replace("noise_energy", "nois_energy").replace('"J", source', '"pJ", source', 1)
        (tmp_path / "wrong.toml").write_text(wrong)
        with pytest.raises(HardwareModelError) as caught:
            load_hardware_model(str(tmp_path / "wrong.toml"))
    for said in ("adc.sar.nois_energy: unknown key; did you mean noise", "adc.sar.noise_energy: key is missing"):
        assert said in str(caught.value)
    assert 'adc.sar.logic_energy.unit = "pJ"' in str(caught.value)
    bits, shrunk = model.adc.bits.value, (32 / 65) ** model.scaling.adc_energy_exponent.value
    energy_J = bits * 1e-13 * shrunk + 4**bits * 2e-18
    assert model.adc_cost() == pytest.approx((energy_J, bits * 1e-10))
    assert model.at("low").adc_cost().energy_J == pytest.approx(energy_J - bits * 5e-14 * shrunk)


def test_an_exporter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir = synthetic_run(tmp_path / "run").path
    with installed("An exporter", "exporters", "matrix = packet_matrix:Matrix", tmp_path):
        assert main(["list"]) == 0 and "packets from each router (row)" in capsys.readouterr().out
        assert main(["export", "--help"]) == 0 and "spice|matrix]" in capsys.readouterr().out
        assert main(["export", str(run_dir), "--format", "matrix", "--out", str(tmp_path / "out")]) == 0
    document = json.loads((tmp_path / "out" / "export.json").read_text())
    packets = np.loadtxt(tmp_path / "out" / "packets.txt")
    assert (document["format"], document["files"]) == ("matrix", ["packets.txt"])
    assert packets.sum() == document["packets"]["exported"] > 0 and not packets.diagonal().any()


def test_a_hardware_action(tmp_path: Path) -> None:
    before = bill(RECORDING)
    ticking_J = [compare(RECORDING, before)[0].ticking_J]
    with installed("A hardware action", "actions", "clock = clock_tree:CLOCK", tmp_path):
        assert ACTIONS.names()[-1] == "clock"
        after = bill(RECORDING)
        ticking_J.append(compare(RECORDING, after)[0].ticking_J)
    added = after[after.component == "clock_tree"]
    pd.testing.assert_frame_equal(after.drop(added.index).reset_index(drop=True), before)
    assert set(added["style"]) == {"clocked", "event"} and (added.tile >= 0).all()
    ticks = {phase: table.max(1).sum() for phase, table in RECORDING.counts.presentations.items()}
    assert (added["count"] == added.phase.map(ticks)).all()
    unit_J = 40 * MODEL.registers.access_energy.value
    assert added.energy_J.to_numpy() == pytest.approx((added["count"] * unit_J).to_numpy())
    clocked_J = added[added["style"] == "clocked"].energy_J.sum() / RECORDING.counts.samples
    assert ticking_J[1] - ticking_J[0] == pytest.approx(clocked_J)
