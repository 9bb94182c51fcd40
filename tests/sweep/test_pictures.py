"""Pictures of sweeps show the numbers of points.csv."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.path import Path as Outline

from neurosim_ep.analysis import heatmap, pareto, sweep, tradeoff
from neurosim_ep.analysis.load import NothingToDraw
from neurosim_ep.analysis.plot import plot_sweep
from neurosim_ep.analysis.points import QUANTITIES, Points, points_of_sweep
from neurosim_ep.cli import main
from neurosim_ep.errors import UsageError

BITS, MODEL, BETA, TICKS = "hardware.converters.adc_bits", "hardware.model", "relaxation.beta", "relaxation.free_steps"


def made_up(path: Path, rows: list[dict[str, Any]], keys: list[str]) -> Points:
    """A sweep directory with these rows; costs follow from ``energy`` (J)."""
    path.mkdir()
    table = []
    for number, row in enumerate(rows):
        energy = row.pop("energy", None)
        cost = {
            column.format(style=style): factor * energy * share
            for column, factor in zip(QUANTITIES, (1.0, 1e3, 1e6), strict=True)
            for style, share in (("clocked", 1.0), ("event", 0.5), ("settling", 0.25))
            if energy
        }  # fmt: skip
        settings = {key: row.pop(key, None) for key in keys}
        table.append({"point": f"p{number}", **settings, "status": "done", "test_accuracy": None, **row, **cost})
    pd.DataFrame(table).to_csv(path / "points.csv", index=False)
    (path / "sweep.json").write_text(json.dumps({"schema_version": 1}))
    return points_of_sweep(path)


@pytest.fixture
def seeded(tmp_path: Path) -> Points:
    rows = [
        {BITS: bits, "scenario.seed": seed, "test_accuracy": accuracy + seed / 10, "energy": 1e-6 * (bits or 10)}
        for bits, accuracy in ((4, 0.2), (8, 0.7), (0, 0.8))
        for seed in (0, 1)
    ]
    return made_up(tmp_path / "bits", rows, [BITS, "scenario.seed"])


def drawn(figure: Figure, axes: int = 0) -> dict[str, list[list[float]]]:
    """Points of every curve by its label."""
    containers = figure.axes[axes].containers
    return {container.get_label(): container.lines[0].get_xydata().tolist() for container in containers}


def test_seeds_are_a_mean_in_a_band(seeded: Points) -> None:
    assert seeded.keys == [BITS]
    figure = sweep.draw_points(seeded, BITS)
    np.testing.assert_allclose(drawn(figure)["mean of the seeds"], [[4, 0.25], [8, 0.75], [10, 0.85]])
    band = figure.axes[0].collections[-1].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(0.2) and band[:, 1].max() == pytest.approx(0.9)
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["4", "8", "ideal"]


def test_cost_of_every_style_against_a_key(seeded: Points) -> None:
    figure = tradeoff.draw_points(seeded, BITS)
    assert [axes.get_title() for axes in figure.axes] == [
        "energy per image", "latency per image", "energy of EP / backprop", "test accuracy (%)",
    ]  # fmt: skip
    np.testing.assert_allclose(drawn(figure)["event"], [[4, 2e-6], [8, 4e-6], [10, 5e-6]])
    np.testing.assert_allclose(drawn(figure, 2)["clocked"], [[4, 4], [8, 8], [10, 10]])


def test_another_key_is_a_curve_each_and_names_stand_side_by_side(tmp_path: Path) -> None:
    rows = [
        {MODEL: model, TICKS: ticks, "energy": energy * ticks}
        for model, energy in (("rram_32nm", 1e-6), ("/my/chip.toml", 3e-6))
        for ticks in (2, 40)
    ]
    points = made_up(tmp_path / "chips", rows, [MODEL, TICKS])
    figure = tradeoff.draw_points(points, TICKS)
    assert len(figure.axes) == 9 and figure.axes[0].get_xscale() == "log"
    assert list(drawn(figure)) == ["model = rram_32nm", "model = chip"]
    np.testing.assert_allclose(drawn(figure, 3)["model = chip"], [[2, 3e-6], [40, 6e-5]])  # event
    names = [tick.get_text() for tick in tradeoff.draw_points(points, MODEL).axes[-1].get_xticklabels()]
    assert names == ["rram_32nm", "chip"]
    with pytest.raises(NothingToDraw, match="no point has a test accuracy; estimates have none"):
        sweep.draw_points(points, TICKS)
    with pytest.raises(NothingToDraw, match="Pareto"):
        pareto.draw(points)

    texts = [text.get_text() for text in heatmap.draw(points).axes[0].texts]
    assert texts == ["2.00 µJ", "6.00 µJ", "40.0 µJ", "120 µJ"]  # rows: 2 and 40 ticks


def test_keys_that_go_together_and_draws(tmp_path: Path, seeded: Points) -> None:
    zipped = [{TICKS: ticks, BETA: ticks / 10, "test_accuracy": 0.5, "energy": 1e-6} for ticks in (2, 4)]
    points = made_up(tmp_path / "zip", zipped, [TICKS, BETA])
    assert points.others(TICKS) == [] and list(drawn(sweep.draw_points(points, TICKS))) == ["runs"]
    for unfit in (points, seeded):
        with pytest.raises(NothingToDraw, match="two keys vary"):
            heatmap.draw(unfit)
    random = [{TICKS: n, BETA: 1 / (n + 1), "test_accuracy": n / 30, "energy": 1e-6} for n in [*range(1, 20), 1]]
    random[-1][BETA] = 0.9
    figure = sweep.draw_points(made_up(tmp_path / "random", random, [TICKS, BETA]), TICKS)
    assert not figure.axes[0].containers and len(figure.axes[0].lines[0].get_xdata()) == 20  # dots


def test_the_front_is_what_nothing_beats(tmp_path: Path) -> None:
    rows = [
        {BETA: beta, "test_accuracy": accuracy, "energy": energy}
        for beta, accuracy, energy in ((1, 0.5, 1e-6), (2, 0.4, 2e-6), (3, 0.9, 3e-6), (4, 0.9, 4e-6), (5, 0.95, 9e-6))
    ]
    points = made_up(tmp_path / "front", rows, [BETA])
    assert pareto.front(points.means(), "energy_event_J")[BETA].tolist() == [1, 3, 5]
    axes = pareto.draw(points).axes[0]
    assert [text.get_text() for text in axes.texts] == ["β = 5", "β = 3", "β = 1"]


def test_names_on_the_front_stand_clear_of_its_line(tmp_path: Path) -> None:
    rows = [{BETA: n, "test_accuracy": 0.3 + 0.06 * n, "energy": (1 + n) * 1e-6} for n in range(1, 11)]
    figure = pareto.draw(made_up(tmp_path / "stairs", rows, [BETA]))
    figure.canvas.draw()
    for axes in figure.axes:
        (line,) = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
        x, y = axes.transData.transform(line.get_xydata()).T
        stairs = Outline(np.column_stack([np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]]))
        assert len(axes.texts) >= 5
        boxes = [text.get_window_extent() for text in axes.texts]
        assert not any(stairs.intersects_bbox(box, filled=False) for box in boxes)
        assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


@pytest.mark.parametrize(("values", "span"), [((4.04, 4.08), 1.1), ((1.0, 3.0), 3.0)])
def test_colours_of_a_heat_map_do_not_magnify_what_is_nearly_the_same(
    tmp_path: Path, values: tuple[float, float], span: float
) -> None:
    rows = [
        {TICKS: ticks, BETA: beta, "energy": values[ticks == 4] * 1e-6, "test_accuracy": 0.9}
        for ticks in (2, 4)
        for beta in (0.1, 0.2)
    ]
    figure = heatmap.draw(made_up(tmp_path / "flat", rows, [TICKS, BETA]))
    panels = {axes.get_title(): axes.images[0] for axes in figure.axes if axes.images}
    assert panels["test accuracy"].get_clim() == pytest.approx((0.855, 0.945))
    low, high = np.power(10, panels["energy per image, clocked"].get_clim())
    assert high / low == pytest.approx(span) and low * high == pytest.approx(values[0] * values[1] * 1e-12)


def test_all_pictures_of_a_sweep(tmp_path: Path, seeded: Points, capsys: pytest.CaptureFixture[str]) -> None:
    path, said = tmp_path / "bits", list[str]()
    files = plot_sweep(path, say=said.append)
    stems = ["accuracy_against_adc_bits", "cost_against_adc_bits", "pareto"]
    assert files == [path / "plots" / f"{stem}{suffix}" for stem in stems for suffix in (".svg", ".png")]
    assert said == ["no picture heatmap: heat maps are drawn of sweeps in which two keys vary"]
    with pytest.raises(
        UsageError, match=r"--x beta: must be a key that varies here; known: hardware\.converters\.adc_bits"
    ):
        plot_sweep(path, x="beta")
    (tmp_path / "run").mkdir()
    assert main(["plot", str(path), str(tmp_path / "run")]) == 2 and "plot it alone" in capsys.readouterr().err
    assert main(["plot", str(tmp_path / "run"), "--x", "beta"]) == 2
    assert "is for the directory of a sweep" in capsys.readouterr().err
    pd.read_csv(path / "points.csv").drop(columns="test_accuracy").iloc[:, :4].to_csv(path / "points.csv", index=False)
    with pytest.raises(UsageError, match="has no result yet"):
        plot_sweep(path)
