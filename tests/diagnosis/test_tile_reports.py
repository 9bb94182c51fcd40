"""What is told of real tiles: pulses.csv, the pictures, the diagnosis and its findings."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from synthetic_run import REAL_TILES, synthetic_run

from neurosim_ep.analysis import pulses, resolution, sweep
from neurosim_ep.analysis.load import DoesNotConcern, NothingToDraw, Run, open_run
from neurosim_ep.analysis.plot import plot_runs
from neurosim_ep.cli import main
from neurosim_ep.diagnosis import tiles as tile_reports
from neurosim_ep.diagnosis.findings import findings
from neurosim_ep.diagnosis.lipschitz import Linearisation, power_iteration
from neurosim_ep.diagnosis.samples import choose_samples
from neurosim_ep.diagnosis.tiles import TileFigures
from neurosim_ep.experiment.opening import Experiment
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.tiles.converters import Conversions
from neurosim_ep.train.run import run

TINY = (
    "data.train_samples=10", "data.test_samples=10", "training.epochs=1", "training.batch_size=5",
    "telemetry.traffic_every=1", "telemetry.plots=false",
    "telemetry.report=false", "relaxation.free_steps=6", "relaxation.nudge_steps=3",
    "network.width=0.5",
    "hardware.converters.preset=eight_bit", "hardware.device.preset=ReRamES", "hardware.device.update=two_pass",
)  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run on tiles with 8-bit converters and asymmetric devices."""
    return run(load_scenario("smoke", TINY), tmp_path_factory.mktemp("runs") / "run", device="cpu").out


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return open_run(synthetic_run(tmp_path_factory.mktemp("made") / "real", epochs=2, real_tiles=True).path)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text)]


def test_pulses_of_a_tile_are_those_of_its_devices(trained: Path) -> None:
    table, layers = pd.read_csv(trained / "pulses.csv"), pd.read_csv(trained / "layers.csv").dropna(subset="pulses_up")
    assert list(table) == ["tile", "layer", "name", "pulses_up", "pulses_down", "pulses_net"]
    with h5py.File(trained / "traffic.h5") as file:
        recorded = len(file["batches/batch"])
        assert file["meta"].attrs["pulses_applied"]
        for name in ("pulses_up", "pulses_down", "pulses_net"):
            assert table[name].tolist() == file[f"phases/update/{name}"][:].sum(0).tolist()
    network = Experiment.open(trained, device="cpu").model.network
    weights = [connection.weight.numel() for connection in network.connections]
    assert recorded == 2  # all batches, as in layers.csv
    for name in ("pulses_up", "pulses_down", "pulses_net"):
        per_weight = table.groupby("layer")[name].sum().to_numpy() / np.array(weights) / recorded
        np.testing.assert_allclose(per_weight, layers[name], rtol=1e-6)
    assert (table["pulses_net"] < table["pulses_up"] + table["pulses_down"]).all()


def test_the_diagnosis_of_real_tiles(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("neurosim_ep.diagnosis.report.draw_diagnosis", lambda folder, output: [])
    out = tmp_path / "diagnosis"
    assert main(["diagnose", str(trained), "--samples", "6", "--out", str(out), "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    found, logged = pd.read_csv(out / "layers.csv"), pd.read_csv(trained / "layers.csv")
    missing = [column.name for column in fields(TileFigures) if found[column.name].isna().any()]
    assert missing == ["adc_step_transposed", "clipped_transposed"]  # of the last layer, which nothing reads back
    steps = found[["adc_step_forward", "adc_step_transposed"]].max(axis=1)
    np.testing.assert_allclose(found["adc_step_nudge"], steps)
    np.testing.assert_allclose(found["nudge_per_step"], found["mean_abs_nudge_difference"] / steps)
    gross = (logged["pulses_up"] + logged["pulses_down"]).dropna()
    np.testing.assert_allclose(found["pulses_gross"], gross)
    np.testing.assert_allclose(found["cancellation"], gross / logged["pulses_net"].dropna())
    np.testing.assert_allclose(found["drift_per_net"], found["cancellation"] * found["device_abs_asymmetry"])
    assert found["devices_at_lower"].between(0, 1).all() and (found["device_abs_asymmetry"] > 0.01).all()
    assert "gross/net" in said and "the drift that it gives is so many times the net change: conv1" in said


def test_contraction_is_that_of_the_weights_the_tiles_hold(trained: Path) -> None:
    opened = Experiment.open(trained, device="cpu")
    network, chosen = opened.model.network, choose_samples(opened, 3)
    drive = network.input_drive(chosen.x)[0]
    held = Linearisation(network, drive, chosen.start)
    for connection in network.connections:
        assert connection.tiles is not None
        connection.weight.copy_(connection.tiles.weight())
        connection.tiles = None
    exact = Linearisation(network, drive, chosen.start)
    for one, other in zip(held.slopes, exact.slopes, strict=True):
        torch.testing.assert_close(one, other)
    values = [power_iteration(around.hessian, chosen.start).value for around in (held, exact)]
    torch.testing.assert_close(values[0], values[1], rtol=1e-4, atol=0)


def test_resolution_by_hand() -> None:
    own = {("nudge", "forward"): Conversions(done=200, clipped=torch.tensor(4), step=0.6, reads=3)}
    above = {
        ("nudge", "forward"): Conversions(done=10, clipped=10, step=9.0, reads=1),
        ("nudge", "transposed"): Conversions(done=100, clipped=5, step=torch.tensor(0.1), reads=1),
    }
    steps = {"adc_step_forward": 0.2, "clipped_forward": 0.02, "clipped_transposed": 0.05}
    assert tile_reports.resolution(0.05, [(own, 1.0)], [(above, 1.0)], True) == pytest.approx(
        {**steps, "adc_step_transposed": 0.1, "adc_step_nudge": 0.2, "nudge_per_step": 0.25}
    )
    assert tile_reports.resolution(0.05, [(own, 1.0)], [(above, 0.1)], False) == pytest.approx(
        {**steps, "adc_step_transposed": 0.01, "adc_step_nudge": 0.01, "nudge_per_step": 5.0}
    )  # a sweep down with a gain of the feedback
    assert tile_reports.resolution(0.05, [({}, 1.0)], [({}, 1.0)], True) == {}


def test_devices_and_cancellation_by_hand(trained: Path) -> None:
    tiles = Experiment.open(trained, device="cpu").model.tiles
    assert tiles is not None
    devices = tiles.devices[0]
    array, count = devices.slow, devices.slow.w.numel()
    array.w.copy_(array.constants["w_min"])
    found = tile_reports.devices_now(devices)
    assert (found["devices_at_lower"], found["devices_at_upper"]) == (1, 0)
    array.w.copy_(devices.model.symmetry_point(array.constants))
    found = tile_reports.devices_now(devices)
    has_one = int(array.w.isfinite().sum())
    assert found["devices_at_symmetry"] == pytest.approx(has_one / count) and has_one > count / 2
    assert found["device_abs_asymmetry"] == pytest.approx(0, abs=1e-4)
    array.constants["w_max"], array.constants["w_min"] = torch.zeros(()), torch.zeros(())
    array.w.zero_()
    assert tile_reports.devices_now(devices)["devices_at_upper"] == 0  # stuck devices are at no bound
    columns = {"pulses_gross": 80.0, "pulses_net": 2.0, "cancellation": 40.0, "drift_per_net": 4.0}
    assert tile_reports.cancellation(80.0, 2.0, 0.1) == pytest.approx(columns)
    assert tile_reports.cancellation(80.0, 0.0, 0.1)["cancellation"] is None


def said(**columns: float) -> str:
    layer = {
        "name": "conv1", "dead": 0.0, "linear": 0.5, "std_across_samples": 0.1, "displacement_plus": 1.0, "drift": 0.0,
        "net_plus": 1.0, "net_minus": 1.0, "net_asymmetry": 0.0, "twice_beta": 1.0, "one_sided_distance": 0.1,
    } | {column.name: None for column in fields(TileFigures)}  # fmt: skip
    sample = {"kind": "at rest", "L_phi": 0.8, "spectral_radius": 0.7, "margin": 0.1}
    power = {"unconverged": 0, "iterations": 30, "largest_change": 1e-6}
    scalars = {"free_phase": {"ticks": 20, "tolerance": 1e-4}, "theorem": {"c": 1.0}}
    scalars |= {"feedback": {"note": "", "loss_cosines": {}}}
    return "\n".join(
        findings(
            [sample], [layer | columns], scalars | {"L_phi": power, "L_phi_nudge": power, "spectral_radius": power}
        )[3:]
    )


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"nudge_per_step": 0.2}, "too coarse for the nudge, by |s⁺ − s⁻| in conversion steps: conv1 0.2"),
        ({"nudge_per_step": 0.6}, ""),
        ({"clipped_forward": 0.2}, "clipped, by share of the forward read in the nudge phases: conv1"),
        ({"clipped_transposed": 0.02}, "of the transposed read in the nudge phases: conv1 2.0%"),
        ({"clipped_forward": 0.005, "clipped_transposed": 0.005}, ""),
        ({"devices_at_lower": 0.04, "devices_at_upper": 0.08}, "bounds of their weight, by share below and above"),
        ({"devices_at_lower": 0.04, "devices_at_upper": 0.04}, ""),
        (
            {"cancellation": 40.0, "device_abs_asymmetry": 0.1, "drift_per_net": 4.0},
            "so many times the net change: conv1 4.0 (1 of 40 pulses stays, asymmetry 10.0%)",
        ),
        ({"cancellation": 40.0, "device_abs_asymmetry": 0.001, "drift_per_net": 0.04}, ""),
        ({"counting_noise": 2.0, "cancellation": 900.0}, "mostly counting noise"),
        ({"counting_noise": 2.0, "cancellation": 3.0}, ""),
        ({"devices_at_symmetry": 0.6}, "weights lie at the symmetry point of their devices"),
    ],
)  # fmt: skip
def test_findings_say_why_learning_on_real_tiles_fails(columns: dict[str, float], expected: str) -> None:
    text = said(**columns)
    assert expected in text if expected else text == ""


def test_resolution_shows_nudge_steps_and_the_band_below_half_a_step(drawn: Run) -> None:
    frame = pd.read_csv(drawn.path / "layers.csv").query("epoch == 2 and name != 'readout'")
    steps, clipped = resolution.draw(drawn).axes
    nudge, forward, transposed = (line.get_ydata() for line in steps.lines[:3])
    np.testing.assert_array_equal(nudge, frame["mean_abs_nudge_difference"])
    np.testing.assert_array_equal(forward, frame["adc_step_forward"])
    np.testing.assert_array_equal(transposed, frame["adc_step_transposed"])
    tops = [bar.get_y() + bar.get_height() for bar in steps.patches]
    np.testing.assert_allclose(tops, 0.5 * frame[["adc_step_forward", "adc_step_transposed"]].max(axis=1))
    low = clipped.get_ylim()[0]
    heights = np.array([bar.get_height() for bar in clipped.patches[: len(frame)]])
    np.testing.assert_allclose(heights, np.clip(frame["clipped_forward"] - low, 0, None))
    assert clipped.lines[0].get_ydata()[0] == pytest.approx(1e-3)  # beyond the calibration quantile
    assert steps.get_yscale() == clipped.get_yscale() == "log"


def test_pulses_show_up_down_net_and_their_ratio(drawn: Run) -> None:
    frame = pd.read_csv(drawn.path / "layers.csv").query("epoch == 2 and name != 'readout'")
    above, ratio = pulses.draw(drawn).axes
    for line, column in zip(above.lines, ("pulses_up", "pulses_down", "pulses_net"), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), frame[column])
    tops = [bar.get_y() + bar.get_height() for bar in ratio.patches]
    np.testing.assert_allclose(tops, (frame["pulses_up"] + frame["pulses_down"]) / frame["pulses_net"])


def test_layers_without_pulses_and_without_nudge_are_still_drawn(tmp_path: Path) -> None:
    path = synthetic_run(tmp_path / "still", epochs=1, real_tiles=True, traffic=False).path
    frame = pd.read_csv(path / "layers.csv")
    frame.loc[2, ["pulses_up", "pulses_down", "pulses_net", "mean_abs_nudge_difference"]] = 0.0
    frame.loc[3, "pulses_net"] = 0.0
    frame.to_csv(path / "layers.csv", index=False)
    for draw in (resolution.draw, pulses.draw):
        figure = draw(open_run(path))
        FigureCanvasAgg(figure).draw()
    assert texts(figure).count("no net pulse") == 2
    frame.drop(columns="pulses_net").assign(pulses_net=np.nan).to_csv(path / "layers.csv", index=False)
    with pytest.raises(NothingToDraw, match="no values of pulses_net"):
        pulses.draw(open_run(path))


def test_ideal_tiles_have_no_such_pictures_and_nobody_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = synthetic_run(tmp_path / "ideal", epochs=1, traffic=False).path
    monkeypatch.setattr("neurosim_ep.analysis.plot.PICTURES", {"resolution": resolution.draw, "pulses": pulses.draw})
    told: list[str] = []
    assert plot_runs([path], say=told.append) == [] and told == []
    for draw in (resolution.draw, pulses.draw):
        with pytest.raises(DoesNotConcern, match="hardware"):
            draw(open_run(path))


def swept(folder: Path, accuracy: float, seed: int = 0, status: str = "done", **settings: str) -> Run:
    """A run of the sweep: ``settings`` of REAL_TILES replaced; none at all is a run on ideal tiles."""
    directory = synthetic_run(folder, epochs=1, traffic=False, seed=seed)
    directory.update_run_json(status=status, metrics={"test_accuracy": accuracy})
    text = REAL_TILES if settings else ""
    for key, value in settings.items():
        text, found = re.subn(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.M)
        text += "" if found else f"{key} = {value}\n"  # ends in hardware.device
    path = directory.path / "scenario.toml"
    path.write_text(path.read_text() + text)
    return open_run(directory.path)


def test_accuracy_against_bits_with_a_curve_per_update_and_ideal_tiles_at_the_end(tmp_path: Path) -> None:
    runs = [
        swept(tmp_path / "a", 0.3, adc_bits="4", update='"two_pass"'),
        swept(tmp_path / "b", 0.5, adc_bits="8", update='"two_pass"'),
        swept(tmp_path / "c", 0.7, adc_bits="8", update='"two_pass"', seed=1),
        swept(tmp_path / "d", 0.8, adc_bits="0", update='"two_pass"', status="diverged"),
        swept(tmp_path / "e", 0.4, adc_bits="4", update='"difference"'),
        swept(tmp_path / "f", 0.9, adc_bits="8", update='"difference"'),
        swept(tmp_path / "g", 0.95),
    ]
    assert sweep.varied(runs) == sweep.Sweep("hardware.converters.adc_bits", "hardware.device.update")
    axes = sweep.draw(runs).axes[0]
    bars = {container.get_label(): container.lines[0] for container in axes.containers}
    np.testing.assert_allclose(bars["update = two_pass"].get_xydata(), [[4, 0.3], [8, 0.6], [10, 0.8]])
    np.testing.assert_allclose(bars["update = difference"].get_xydata(), [[4, 0.4], [8, 0.9]])
    np.testing.assert_allclose(bars["ideal tiles"].get_xydata(), [[10, 0.95]])
    spread = axes.containers[0].lines[2][0].get_segments()[1][:, 1]
    np.testing.assert_allclose(spread, [0.5, 0.7])  # smallest and largest of the seeds
    assert [label.get_text() for label in axes.get_xticklabels()] == ["4", "8", "ideal"]
    (cross,) = [line for line in axes.lines if line.get_marker() == "x"]
    assert (cross.get_xdata()[0], cross.get_ydata()[0]) == (10, 0.8)


def test_accuracy_against_bits_with_a_curve_per_method_that_ends_on_ideal_tiles(tmp_path: Path) -> None:
    runs = []
    gains = "feedback = 0.1\nnudge_feedback = 1.0"
    methods = ("relaxation", ""), ("plasticity", 'rule = "backprop"'), ("relaxation", gains)
    for number, (section, keys) in enumerate(methods):
        for bits, accuracy in (("4", 0.3), ("8", 0.6), ("0", 0.7)):
            run = swept(tmp_path / f"{number}{bits}", accuracy + number / 100, adc_bits=bits, preset='"none"')
            path, head = run.path / "scenario.toml", f"[{section}]\n"
            own = path.read_text() + ("" if head in path.read_text() else head)
            path.write_text(own.replace(head, head + keys + "\n"))
            runs.append(open_run(run.path))
    assert sweep.varied(runs) == sweep.Sweep("hardware.converters.adc_bits", method=True)
    axes = sweep.draw(runs).axes[0]
    found = {container.get_label(): container.lines[0].get_ydata().tolist() for container in axes.containers}
    labels = ["LE, γ = 1, κ = 1", "backpropagation, LE", "LE with gains, γ = 0.1, κ = 1"]
    assert list(found) == labels
    np.testing.assert_allclose(list(found.values()), np.add.outer([0, 0.01, 0.02], [0.3, 0.6, 0.7]))
    assert axes.containers[0].lines[0].get_xdata().tolist() == [4, 8, 10]


def test_accuracy_against_the_asymmetry_of_devices(tmp_path: Path) -> None:
    runs = [
        swept(tmp_path / f"r{index}", accuracy, constants=f"{{up_down = {value}}}")
        for index, (value, accuracy) in enumerate([(0.2, 0.3), (0.0, 0.8)])
    ]
    assert sweep.varied(runs) == sweep.Sweep("hardware.device.constants.up_down", None)
    ideal = swept(tmp_path / "ideal", 0.85)
    axes = sweep.draw([*runs, ideal]).axes[0]
    np.testing.assert_allclose(axes.containers[0].lines[0].get_xydata(), [[0.0, 0.8], [0.2, 0.3]])
    (line,) = [line for line in axes.lines if line.get_label() == "ideal tiles"]
    assert line.get_ydata()[0] == 0.85
    with pytest.raises(NothingToDraw, match=r"does not say hardware.device.constants.up_down"):
        sweep.draw([*runs, swept(tmp_path / "own", 0.4, update='"two_pass"')])


def test_what_cannot_be_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    four, eight = (swept(tmp_path / bits, 0.5, adc_bits=bits) for bits in ("4", "8"))
    ideal = swept(tmp_path / "ideal", 0.6)
    assert sweep.varied([four]) is sweep.varied([four, ideal]) is sweep.varied([ideal, ideal]) is None
    other = swept(tmp_path / "other", 0.6, adc_bits="6", preset='"PCM"', update='"difference"')
    assert sweep.varied([four, other]) is None  # three keys differ
    with pytest.raises(NothingToDraw, match="differ in it"):
        sweep.draw([four, ideal])
    fresh = open_run(four.path)
    fresh.info["metrics"].clear()
    with pytest.raises(NothingToDraw, match="no test accuracy yet"):
        sweep.draw([fresh, eight])
    monkeypatch.setattr("neurosim_ep.analysis.plot.PICTURES", {})
    names = [path.name for path in plot_runs([four.path, eight.path], tmp_path / "out")]
    assert names[-2:] == ["accuracy_swept.svg", "accuracy_swept.png"]
