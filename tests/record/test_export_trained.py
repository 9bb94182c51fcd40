"""Exports of trained networks: weights and inputs for DNN+NeuroSim, netlists of a tile for SPICE."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from exporting import export
from tiny_run import tiny_run
from trace_parsers import (
    read_booksim,
    read_neurosim,
    read_noxim,
    solve_netlist,
)

from neurosim_ep.cli import main
from neurosim_ep.diagnosis.at_rest import AtRest
from neurosim_ep.diagnosis.samples import choose_samples
from neurosim_ep.diagnosis.spice_tile import tile_reads
from neurosim_ep.experiment.opening import Experiment
from neurosim_ep.hardware.model.file import read_model
from neurosim_ep.record.export.neurosim import bit_columns
from neurosim_ep.record.export.spice import write_netlist
from neurosim_ep.registry import EXPORTERS
from neurosim_ep.scheduler.presentation import free_phase
from neurosim_ep.scheduler.schedule import Schedule
from neurosim_ep.tiles.wires import ir_drop_iterative


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run of the smoke scenario."""
    sizes = ("data.train_samples=60", "data.test_samples=40", "relaxation.tolerance=1e-2")
    return tiny_run(tmp_path_factory.mktemp("runs") / "run", *sizes)


def test_neurosim_reads_the_weights_and_the_states_at_rest(trained: Path, tmp_path: Path) -> None:
    document = export(trained, "neurosim", tmp_path / "out")
    bits = document["bits"]
    assert bits == read_model(str(trained / "hardware.toml")).model.digital.state_bits.value == 8
    names = [layer["name"] for layer in document["connections"]]
    assert names == ["conv1", "conv2", "fc1"]
    conv1, conv2, fc1 = read_neurosim(tmp_path / "out")
    state = torch.load(trained / "checkpoints" / "last.pt", weights_only=True)["trainer"]["network"]
    for place, found in enumerate((conv1, conv2, fc1)):
        weight, unit = state[f"connections.{place}.weight"], document["connections"][place]["weight_unit"]
        np.testing.assert_allclose(found.old * unit, weight.reshape(len(weight), -1).T, atol=5.1e-6 * unit)
        assert max(np.abs(found.old).max(), np.abs(found.weights).max()) == 1  # all of the conductances
        change = np.linalg.norm(found.weights - found.old) / np.linalg.norm(found.old)
        assert 0 < change < 0.16  # training.update_limit of the scenario
    assert [layer["signed"] for layer in document["connections"]] == [True, False, False]
    assert [layer["full_scale"] for layer in document["connections"][1:]] == [1.0, 1.0]
    assert conv1.row[2:] == (3, 3, 3, 8, 1, 1) and conv2.row[2:] == (8, 3, 3, 16, 1, 1)
    assert conv1.row[:2] == (34, 34) and conv2.row[:2] == (18, 18)  # with the padding
    flat = 8 * 8 * conv2.row[5]
    assert fc1.row == (1, 1, flat, 1, 1, 32, 0, 1)

    # the windows are those of a convolution: reading them gives what PyTorch gives
    scale = document["connections"][0]["full_scale"] / 127
    signed = np.where(conv1.codes >= 128, conv1.codes - 256, conv1.codes) * scale
    height, width = 32, 32
    image = signed.reshape(3, 3, 3, height, width)[:, 1, 1]  # the middle of every window
    weight = torch.from_numpy(conv1.weights.T.reshape(8, 3, 3, 3))
    expected = F.conv2d(torch.from_numpy(image[None].copy()), weight, padding=1)
    np.testing.assert_allclose((conv1.weights.T @ signed).reshape(8, height, width), expected[0], atol=1e-9)

    # what the upper connections read are the states at rest
    opened = Experiment.open(trained, device="cpu")
    image, relaxation = choose_samples(opened, 1), opened.scenario.relaxation
    schedule = Schedule.of(opened.scenario.scheduler, relaxation)
    free = free_phase(opened.model.network, image.x, relaxation.free_steps, image.start, schedule=schedule)
    assert document["image"] == {"test_image": int(image.places[0]), "label": int(image.labels[0])}
    middle = conv2.codes.reshape(8, 3, 3, 16, 16)[:, 1, 1]
    for codes, state in ((middle, free.states[0][0]), (fc1.codes, free.states[1][0])):
        np.testing.assert_allclose(codes.ravel() / 255, state.flatten(), atol=0.5001 / 255)
        assert codes.max() > 0
    rest = document["free_phase"]
    assert (rest["ticks"], rest["residual"]) == (int(free.ticks[0]), float(free.residual[0]))
    assert rest["at_rest"] is (rest["residual"] <= rest["tolerance"])


@pytest.fixture(scope="module")
def small_maps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose last maps are of 2 x 2, with a strided weighted skip and an identity, on tiles with wires."""
    layers = (
        'network.layers=[{kind="conv",size=4,stride=2,pool="max"},{kind="conv",size=4,stride=2,pool="max"},'
        '{kind="conv",size=6,from=[{layer=1},{layer=0,kind="conv",kernel=1,stride=2,pool="max"}]},'
        '{kind="conv",size=6,from=[{layer=2},{layer=2,kind="identity"}]},{kind="linear",size=8}]'
    )
    sizes = ("data.train_samples=48", "data.test_samples=40", "signals.layers=[0]", "hardware.cells.ir_drop=exact")
    return tiny_run(tmp_path_factory.mktemp("runs") / "run", layers, *sizes)


def test_every_format_takes_small_maps_and_skips(small_maps: Path, tmp_path: Path) -> None:
    for form in set(EXPORTERS.names()) - {"parquet"}:  # which is of tables, and needs another package
        assert export(small_maps, form, tmp_path / form)["format"] == form
    read_booksim(tmp_path / "booksim")
    read_noxim(tmp_path / "noxim")
    connections = read_neurosim(tmp_path / "neurosim")
    assert len(connections) == 6 and [found.row[7] for found in connections] == [2, 2, 1, 2, 1, 1]
    assert (4, 4) in [found.row[:2] for found in connections]  # 2 x 2 with the padding
    assert all(found.windows >= 1 for found in connections)


@pytest.mark.parametrize("tile", [0, 3])
def test_netlists_give_the_currents_of_the_simulator(small_maps: Path, tile: int, tmp_path: Path) -> None:
    """Solved by nodal analysis, they are those of the simulator's circuit, and of what its tiles multiply with."""
    out = tmp_path / "out"
    assert main(["export", str(small_maps), "--format", "spice", "--out", str(out), "--tile", str(tile)]) == 0
    document, currents = json.loads((out / "export.json").read_text()), pd.read_csv(out / "currents.csv")
    rest = AtRest.of(small_maps)
    model = rest.run.model
    placed = model.plan.tiles[tile]
    r_ohm = model.hardware.wire.segment_resistance.value
    reads = list(tile_reads(rest, placed))
    assert [read.transposed for read in reads] == ([False] if tile == 0 else [False, True])
    assert [f"{read.name}.cir" for read in reads] == document["files"][:-1]
    assert r_ohm > 0 and document["command"] == f"ngspice -b {reads[0].name}.cir"
    for read in reads:
        solved = solve_netlist(out / f"{read.name}.cir")
        side = "X" if read.transposed else "Y"
        lines = read.G_S.shape[0 if read.transposed else 1]
        found = np.array([solved[f"V{side}{line}"] for line in range(lines)])
        exact = ir_drop_iterative(
            read.G_S, read.driven_V, r_ohm, transposed=read.transposed, tolerance=1e-10
        ).currents_A.numpy()
        written = currents[currents["netlist"] == read.name]
        assert np.abs(found).max() > 0 and (np.abs(found) > 1e-9 * np.abs(found).max()).any()
        for expected in (exact, written["current_A"].to_numpy()):
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9 * np.abs(found).max())
        assert written["source"].tolist() == [f"V{side}{line}" for line in range(lines)]
        ideal = (read.G_S @ read.driven_V if read.transposed else read.driven_V @ read.G_S).numpy()
        assert np.abs(found - ideal).max() > 1e-6 * np.abs(found).max()  # wires take something
    assert model.tiles is not None
    array, forward = model.tiles.arrays[placed.connection], reads[0]
    pair = np.array([solve_netlist(out / f"{forward.name}.cir")[f"VY{line}"] for line in range(forward.G_S.shape[1])])
    seen = array.matrix[0, : placed.rows, : placed.columns // 2].double().numpy()
    per_unit = array.circuit.on_S * array.cells.encoding.unit
    expected = forward.driven_V.numpy() @ seen * per_unit
    np.testing.assert_allclose(pair[::2] - pair[1::2], expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_wires_without_resistance_are_left_out(tmp_path: Path) -> None:
    G_S, x = np.array([[1e-6, 0.0], [2e-6, 3e-6]]), np.array([0.2, 0.0])
    write_netlist(tmp_path / "a.cir", "two by two", G_S, x, 0.0, False)
    assert solve_netlist(tmp_path / "a.cir") == pytest.approx(
        {"VX0": -2e-7, "VX1": 0.0, "VY0": 2e-7, "VY1": 0.0}, abs=1e-18
    )
    write_netlist(tmp_path / "b.cir", "two by two", G_S, x, 0.0, True)
    assert solve_netlist(tmp_path / "b.cir")["VX1"] == pytest.approx(4e-7)


def test_neurosim_needs_the_checkpoint(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = Path(shutil.copytree(trained, tmp_path / "run"))
    (broken / "checkpoints" / "last.pt").unlink()
    assert main(["export", str(broken), "--format", "neurosim", "--out", str(tmp_path / "out")]) == 2
    assert "checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_keys_of_the_run_are_overridden(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    what = ["export", str(trained), "--format", "spice", "--out", str(tmp_path / "out"), "--set"]
    assert main([*what, "hardware.model=isaac"]) == 2
    assert "a run keeps copies of the files of its hardware" in capsys.readouterr().err
    assert main([*what, "relaxation.free_steps=2"]) == 0
    assert json.loads((tmp_path / "out" / "export.json").read_text())["free_phase"]["ticks"] == 2
    assert main(["export", str(trained), "--format", "sonata", "--out", str(tmp_path / "x"), "--set", "a.b=1"]) == 2
    assert "--set: the format sonata has no such choice" in capsys.readouterr().err


def test_a_trained_run_exports_its_traffic(trained: Path, tmp_path: Path) -> None:
    document = export(trained, "noxim", tmp_path / "out")
    _, rates = read_noxim(tmp_path / "out")
    flits = sum(rate.packets for rate in rates) * document["packet_flits"]
    assert flits == pytest.approx(sum(document["flits"].values()), rel=1e-9)
    assert document["packets"]["total"] == document["packets"]["exported"] + document["packets"]["local"] > 0


def test_bits_are_twos_complement_most_significant_first() -> None:
    values = np.array([[0.0, 1.0, -1.0, 0.5]])
    assert bit_columns(values[:, :2], 4, 1.0, signed=False).tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]]
    assert bit_columns(values[:, 1:3], 4, 1.0, signed=True).tolist() == [[0, 1, 1, 1, 1, 0, 0, 1]]
    assert bit_columns(values[:, 3:], 8, 1.0, signed=False).tolist() == [[1, 0, 0, 0, 0, 0, 0, 0]]
