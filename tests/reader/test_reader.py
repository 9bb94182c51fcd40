"""Runs opened from Python: tables, traffic, the trained network and its states, pictures, and how they show."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from paths import ROOT
from tiny_run import tiny_run

import neurosim_ep as ns
from neurosim_ep.errors import CheckpointError, DataError, UsageError
from neurosim_ep.record.frames import TABLES
from neurosim_ep.record.traffic import read_traffic as counted

SMALL = (
    "data.train_samples=40", "data.test_samples=20", "relaxation.free_steps=4", "relaxation.nudge_steps=2",
    "network.width=0.25", "training.batch_size=10",
)  # fmt: skip


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(tmp_path_factory.mktemp("reader") / "run", *SMALL)


@pytest.fixture(scope="module")
def opened(run_dir: Path) -> ns.RunReader:
    return ns.open_run(run_dir, device="cpu")


def test_tables(opened: ns.RunReader) -> None:
    for name in TABLES:
        frame = getattr(opened, name)
        assert len(frame) and list(frame.attrs["units"]) == list(frame.columns), name
        assert name in dir(opened)
    assert opened.epochs["epoch"].tolist() == [1]
    assert opened.epochs["test_accuracy"].iloc[-1] == opened.metrics["test_accuracy"]
    layers = opened.layers
    assert layers["name"].tolist() == ["conv1", "conv2", "fc1", "readout"]
    assert str(layers["updates"].dtype) == "Int64" and layers["updates"].isna().tolist() == [False] * 3 + [True]
    units = opened.cost.attrs["units"]
    assert (units["energy_J"], units["component"], units["count"], units["samples"]) == ("J", "", "1", "sample")
    assert opened.area.attrs["units"]["area_m2"] == "m²"
    with pytest.raises(AttributeError, match="a run has no 'epoch'; tables: epochs, layers"):
        _ = opened.epoch  # type: ignore[attr-defined]


def test_a_table_that_is_not_there_says_why(run_dir: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(run_dir, tmp_path / "copy"))
    (path / "epochs.csv").unlink()
    with pytest.raises(CheckpointError, match="it is written at the end of an epoch"):
        _ = ns.open_run(path).epochs
    (path / "traffic.h5").unlink()
    with pytest.raises(CheckpointError, match=r"telemetry\.traffic_every above 0"):
        ns.read_traffic(path)
    with pytest.raises(CheckpointError, match="no such run directory"):
        ns.open_run(tmp_path / "nothing")


def test_traffic(opened: ns.RunReader, run_dir: Path) -> None:
    traffic, known = opened.traffic(), counted(run_dir / "traffic.h5").counts
    assert dict(ns.read_traffic(run_dir / "traffic.h5")).keys() == set(traffic)
    for name, frame in traffic.items():
        assert list(frame.attrs["units"]) == list(frame.columns), name
    reads = traffic["reads"].groupby(["phase", "accounting", "direction", "tile"], sort=False)["adc_conversions"].sum()
    for key, value in reads.items():
        phase, accounting, direction, tile = key  # type: ignore[misc]
        assert value == known.of(phase, accounting, direction, "adc_conversions")[tile]
    assert traffic["updates"]["pulses_up"].sum() == known.updates("pulses_up").sum()
    ticks = traffic["ticks"]
    assert ticks["events"].sum() == sum(table.sum() for table in known.events.values())
    assert traffic["sends"]["sends"].sum() == sum(table.sum() for table in known.sends.values())
    assert ticks["tick"].min() == 0 and set(ticks["phase"]) == {"free", "nudge_plus", "nudge_minus"}
    assert traffic["layers"]["name"].tolist() == ["conv1", "conv2", "fc1"]
    units = {name: unit for frame in traffic.values() for name, unit in frame.attrs["units"].items()}
    assert (units["events"], units["samples"], units["bits"], units["layer"]) == ("event", "sample", "bit", "")
    assert "reads" in repr(traffic)
    with pytest.raises(KeyError, match="no such table of traffic"):
        _ = traffic["noc"]


def test_states_are_those_of_the_test(opened: ns.RunReader) -> None:
    data, network = opened.data, opened.network
    states = opened.states(data.test_images)
    shapes = {name: tuple(state.shape) for name, state in states.items()}
    assert shapes == {name: (20, *shape) for name, shape in zip(network.layer_names, network.state_shapes, strict=True)}
    right = network.logits(list(states.values())).argmax(1) == data.test_labels
    assert float(right.double().mean()) == opened.metrics["test_accuracy"]

    scaled = data.test_images.float() / 255
    x = (scaled - data.mean[:, None, None]) / data.std[:, None, None]
    assert torch.equal(network(x), network.logits(list(states.values())))
    floats = opened.states(scaled.numpy().astype(np.float64))
    assert all(torch.allclose(floats[name], state, atol=1e-5) for name, state in states.items())


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (torch.zeros(3, 16, 16, dtype=torch.uint8), r"have the shape \(3, 16, 16\); .* takes \(B, 3, 32, 32\)"),
        (torch.zeros(0, 3, 32, 32), r"have the shape \(0,"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.int64), "are torch.int64; give uint8, or floats from 0 to 1"),
        (torch.full((1, 3, 32, 32), -1.5), "floats from -1.5 to -1.5; must lie between 0 and 1"),
        (torch.full((1, 3, 32, 32), torch.nan), "floats from nan to nan"),
    ],
)
def test_images_that_do_not_fit(opened: ns.RunReader, images: torch.Tensor, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        opened.states(images)


def test_the_network_needs_no_images(run_dir: Path, opened: ns.RunReader, tmp_path: Path) -> None:
    """A run of files that are gone; and one of an earlier version, which noted less of its images, needs them."""
    path = Path(shutil.copytree(run_dir, tmp_path / "copy"))
    info = json.loads((path / "run.json").read_text())
    info["data"]["digest"] = "of images that are gone"
    (path / "run.json").write_text(json.dumps(info))
    network = ns.load_network(path, device="cpu")
    x = torch.linspace(-1, 1, 2 * 3 * 32 * 32).view(2, 3, 32, 32)
    assert torch.equal(network(x), opened.network(x))
    with pytest.raises(DataError, match="not the images this run started with"):
        _ = ns.open_run(path).data

    del info["data"]["mean"]
    (path / "run.json").write_text(json.dumps(info))
    with pytest.raises(DataError, match="not the images this run started with"):
        ns.load_network(path)


def test_a_copy_rests_on_its_own_weights(opened: ns.RunReader) -> None:
    changed = copy.deepcopy(opened.network)
    for parameter in changed.parameters():
        parameter.zero_()
    x = torch.ones(1, 3, 32, 32)
    assert not changed(x).any() and opened.network(x).any()


def test_a_network_without_dynamics_names_what_to_call() -> None:
    network = ns.build_network(ns.load_scenario("smoke").network, num_classes=10, image_shape=(3, 16, 16), seed=0)
    with pytest.raises(UsageError, match=r"neurosim_ep\.free_phase\(network, x, steps\).*load_network"):
        network(torch.zeros(1, 3, 16, 16))
    assert network.logits(ns.free_phase(network, torch.zeros(1, 3, 16, 16), 3).states).shape == (1, 10)


def test_a_feed_forward_pass_has_states_too(tmp_path: Path) -> None:
    opened = ns.open_run(
        tiny_run(tmp_path / "run", *SMALL, "plasticity.rule=backprop", "signals.kind=none"), device="cpu"
    )
    states = opened.states(opened.data.test_images)
    right = opened.network.logits(list(states.values())).argmax(1) == opened.data.test_labels
    assert float(right.double().mean()) == opened.metrics["test_accuracy"]
    with pytest.raises(CheckpointError, match="the chip does not compute"):
        _ = opened.cost


def test_figures(opened: ns.RunReader) -> None:
    figure = opened.figure("gradients")
    assert isinstance(figure, Figure) and figure.axes
    with pytest.raises(UsageError, match='no picture "gradient"; did you mean gradients'):
        opened.figure("gradient")
    with pytest.raises(UsageError, match="no picture pulses: "):
        opened.figure("pulses")


def test_how_they_show(opened: ns.RunReader, run_dir: Path) -> None:
    text = repr(opened)
    for word in ("run smoke", "done", "test accuracy", str(run_dir)):
        assert word in text and word in opened._repr_html_()
    assert opened.learning is None or opened.learning["verdict"] in text
    assert (opened.name, opened.status) == ("smoke", "done")
    assert opened.scenario.network.width == 0.25
    assert opened.verdict == opened.info["verdict"]
    assert "<Network: 3 layers of" in repr(opened.network) and "conv2" in repr(opened.network)
    assert "<td" in opened.network._repr_html_()
    assert repr(opened.data).startswith("<images 3x32x32 of 10 classes: 40 for training, 20 for tests; textures")
    phases: dict[str, Any] = {"free_steps": 2, "nudge_steps": 1, "beta": 0.2}
    found = ns.ep_gradients(opened.network, torch.zeros(2, 3, 32, 32), torch.arange(2), ns.Phases(**phases))
    assert repr(found).startswith("<EPGradients of 2 samples: loss 2.") and "8 gradients, 3 layers" in repr(found)


def test_a_run_that_has_just_begun(run_dir: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(run_dir, tmp_path / "copy"))
    info = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(
        json.dumps({**info, "status": "running", "metrics": {}, "verdict": None, "learning": None})
    )
    opened = ns.open_run(path)
    assert (opened.status, opened.metrics, opened.verdict, opened.learning) == ("running", {}, [], None)
    assert "test accuracy" not in repr(opened)
    (path / "run.json").write_text(json.dumps({**info, "learning": {"verdict": "healthy", "healthy": True}}))
    assert opened.learning == {"verdict": "healthy", "healthy": True} and "healthy" in repr(opened)


def test_results_show_what_came_out(run_dir: Path) -> None:
    result = ns.resume(run_dir, device="cpu")
    assert f"open it with neurosim_ep.open_run('{run_dir}')" in repr(result) and "test accuracy" in repr(result)
    assert "test accuracy" in result._repr_html_()


def test_tables_are_read_without_pytorch(run_dir: Path) -> None:
    code = f"import sys, neurosim_ep as ns; ns.open_run({str(run_dir)!r}).epochs; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_public_names_complete() -> None:
    assert {"open_run", "read_traffic", "load_network", "run", "__version__"} <= set(dir(ns))
    assert set(dir(ns)) == {*ns.__all__, "__version__"}
