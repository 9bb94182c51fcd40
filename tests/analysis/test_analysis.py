"""Every picture shows the numbers of the run directory and repeats byte for byte."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import h5py
import matplotlib.style
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Text
from PIL import Image
from synthetic_run import TICKS, synthetic_run

from neurosim_ep.analysis import (
    breakeven,
    energy,
    events,
    gradients,
    memory,
    mesh,
    plot,
    residual,
    states,
    tradeoff,
    utilisation,
)
from neurosim_ep.analysis.groups import alone
from neurosim_ep.analysis.load import NothingToDraw, Run, open_run, read_once
from neurosim_ep.analysis.plot import PICTURES, plot_runs
from neurosim_ep.analysis.scales import RoundNumbers, log_axis
from neurosim_ep.analysis.style import PALETTE, REST, STYLE, Output, canvas, fill, log_floor, render, save
from neurosim_ep.errors import CheckpointError, UsageError
from neurosim_ep.record.atomic import write_atomic


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return open_run(synthetic_run(tmp_path_factory.mktemp("runs") / "first_vgg11_le", epochs=5, real_tiles=True).path)


@pytest.fixture
def own_run(tmp_path: Path) -> Run:
    """A run that the test may damage."""
    return open_run(synthetic_run(tmp_path / "own", "vgg11_plain", epochs=2).path)


@pytest.fixture
def one_sided_run(own_run: Run) -> Run:
    """A run without the phase nudge −β."""
    for file in ("residual.csv", "cost.csv"):
        frame = pd.read_csv(own_run.path / file)
        frame[frame["phase"] != "nudge_minus"].to_csv(own_run.path / file, index=False)
    with h5py.File(own_run.path / "traffic.h5", "a") as traffic:
        del traffic["phases/nudge_minus"]
    return own_run


def change(run: Run, file: str, column: str, value: object, **where: object) -> None:
    """Overwrite the cells of ``column`` in the rows that match ``where``."""
    frame = pd.read_csv(run.path / file)
    rows = np.logical_and.reduce([frame[key] == wanted for key, wanted in where.items()])
    frame.loc[rows, column] = value
    frame.to_csv(run.path / file, index=False)


def ratios(figure: Figure) -> list[str]:
    """The rows "run, epoch: ratio" of the gradient picture."""
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text)]


def test_a_run_leaves_every_picture_as_svg_and_png(run: Run) -> None:
    said: list[str] = []
    files = plot_runs([run.path], say=said.append)
    assert [file.name for file in files] == [f"{name}{end}" for name in PICTURES for end in (".svg", ".png")]
    assert all(file.parent == run.path / "plots" and file.stat().st_size > 5000 for file in files)
    assert said == []


def test_the_same_run_gives_the_same_svg_bytes(run: Run, tmp_path: Path) -> None:
    first, _ = save(lambda: memory.draw(run), tmp_path / "first")
    second, _ = save(lambda: memory.draw(run), tmp_path / "second")
    assert first.read_bytes() == second.read_bytes()


def test_a_picture_is_laid_out_once_and_keeps_its_minor_ticks(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, layouts, execute = [], [], ConstrainedLayoutEngine.execute
    monkeypatch.setattr(ConstrainedLayoutEngine, "execute", lambda *given: layouts.append(given) or execute(*given))

    def draw() -> Figure:
        drawn.append(residual.draw(run))
        return drawn[0]

    _, png = save(draw, tmp_path / "residual")
    assert len(layouts) == 1
    assert all(len(axes.yaxis.get_minorticklocs()) for axes in drawn[0].axes[:2])
    with Image.open(png) as image:
        assert image.mode == "RGB" and image.size == (1440, 896)
        assert image.info["dpi"] == pytest.approx((160, 160), abs=0.1)


@pytest.mark.parametrize("name", PICTURES)
def test_everything_lies_inside_the_picture(run: Run, name: str) -> None:
    with matplotlib.style.context(STYLE):
        figure = PICTURES[name](run)
        FigureCanvasAgg(figure).draw()
        drawn = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert drawn.x0 >= 0 and drawn.y0 >= 0 and drawn.x1 <= width and drawn.y1 <= height
    assert "first_vgg11_le" in texts(figure)


def test_states_shows_every_layer_and_epoch(run: Run) -> None:
    frame = pd.read_csv(run.path / "layers.csv").dropna(subset=["mean_abs_state"])
    image = states.draw(run).axes[0].images[0].get_array()
    assert image is not None and image.shape == (10, 5)
    np.testing.assert_array_equal(image.T.ravel(), frame["mean_abs_state"])


def test_gradients_shows_first_middle_and_last_epoch(run: Run) -> None:
    frame = pd.read_csv(run.path / "layers.csv").set_index("epoch")
    figure = gradients.draw(alone([run]))
    axes = figure.axes[0]
    assert axes.get_yscale() == "log"
    for line, epoch in zip(axes.lines, (5, 3, 1), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), frame.loc[epoch, "mean_abs_dW"])
    assert {"first epoch (1)", "middle epoch (3)", "last epoch (5)"} <= set(texts(figure))
    assert len({line.get_linestyle() for line in axes.lines}) == 3


def test_gradients_of_several_runs_differ_in_colour_marker_and_name(run: Run, own_run: Run) -> None:
    figure = gradients.draw(alone([run, own_run]))
    lines = figure.axes[0].lines
    assert len(lines) == 3 + 2
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 2
    frame = pd.read_csv(run.path / "layers.csv").query("epoch == 5 and name != 'readout'")["mean_abs_dW"]
    le, plain = ratios(figure)
    assert le == f"vgg11_le (LE), epoch 5: {frame.min() / frame.max():.1e}"
    assert plain.startswith("vgg11_plain (LE), epoch 2: ")
    assert {"first epoch (1)", "middle epoch (3 / –)", "last epoch (5 / 2)"} <= set(texts(figure))
    assert "Weight gradient of every layer: 2 runs compared" in texts(figure)


def test_gradients_of_runs_of_one_scenario_are_told_apart_by_directory(run: Run, tmp_path: Path) -> None:
    twin = open_run(synthetic_run(tmp_path / "second_vgg11_le", epochs=1, traffic=False).path)
    labels = [row.split(",")[0] for row in ratios(gradients.draw(alone([run, twin])))]
    assert labels == ["first_vgg11_le (LE)", "second_vgg11_le (LE)"]


def test_a_gradient_of_zero_is_a_cross_on_the_lower_edge(own_run: Run) -> None:
    change(own_run, "layers.csv", "mean_abs_dW", 0.0, layer=4)
    figure = gradients.draw(alone([own_run]))
    crosses = [line.get_xdata() for line in figure.axes[0].lines if line.get_marker() == "x"]
    assert crosses == [[4], [4]]
    assert "exactly zero (lower edge)" in texts(figure)
    assert ratios(figure) == ["vgg11_plain (LE), epoch 2: 0.0e+00"]


def test_a_network_that_died_or_diverged_is_still_drawn(own_run: Run) -> None:
    change(own_run, "layers.csv", "mean_abs_state", 0.0, epoch=2)
    change(own_run, "layers.csv", "mean_abs_dW", 0.0, epoch=2)
    change(own_run, "layers.csv", "mean_abs_state", 0.0, epoch=1)
    change(own_run, "layers.csv", "mean_abs_dW", 0.0, epoch=1)
    for draw in (states.draw, PICTURES["gradients"]):
        FigureCanvasAgg(draw(own_run)).draw()
    change(own_run, "layers.csv", "mean_abs_dW", math.inf, epoch=2)
    assert "last epoch (1)" in texts(gradients.draw(alone([own_run])))
    change(own_run, "layers.csv", "mean_abs_dW", math.nan, epoch=1)
    with pytest.raises(NothingToDraw, match="no values of mean_abs_dW"):
        gradients.draw(alone([own_run]))


def test_residual_shows_the_tolerance_and_both_nudges(run: Run) -> None:
    figure = residual.draw(run)
    free, nudges, *work = figure.axes
    frame = pd.read_csv(run.path / "residual.csv").query("phase == 'free' and epoch == 5")
    np.testing.assert_array_equal(free.lines[1].get_ydata(), frame["mean_residual"])
    np.testing.assert_array_equal(free.lines[2].get_ydata(), frame["max_residual"])
    assert len(nudges.lines) == 2 * 3  # the tolerance is that of the free phase
    for below, above in zip(nudges.lines[:3], nudges.lines[3:], strict=True):  # +β is seen below −β
        assert below.get_linewidth() > 2 * above.get_linewidth() and below.get_alpha() < 0.5
    assert not any(line.get_marker() == "o" for line in figure.legends[0].get_lines())
    assert [len(axes.collections) for axes in work] == [1, 1]
    assert {"free", "nudge +β", "nudge −β", "at rest: below 0.001"} <= set(texts(figure))


def test_a_one_sided_run_shows_only_its_phases(one_sided_run: Run) -> None:
    assert "nudge −β" not in texts(residual.draw(one_sided_run))
    assert [axes.get_title() for axes in events.draw(one_sided_run).axes] == ["free phase", "nudge +β"]
    explanation = "All phases of one presentation: free, nudge +β and update. Mean of the recorded batches."
    assert explanation in texts(energy.draw(one_sided_run))


def test_a_residual_of_zero_lies_on_the_lower_edge(own_run: Run) -> None:
    change(own_run, "residual.csv", "mean_residual", 0.0, epoch=2, phase="free", tick=60)
    axes = residual.draw(own_run).axes[0]
    assert axes.lines[1].get_ydata()[-1] == axes.get_ylim()[0]


@pytest.mark.parametrize(("smallest", "floor"), [(0.17, 0.1), (0.1, 0.01), (0.0012, 1e-3), (40.0, 0.1)])
def test_zero_stands_at_the_power_of_ten_below_the_smallest_value(smallest: float, floor: float) -> None:
    assert log_floor(np.array([0.0, smallest, 50.0])) == pytest.approx(floor)


def test_events_are_shares_of_the_neurons(run: Run) -> None:
    rates, names, epoch = run.events()
    assert {phase: rate.shape for phase, rate in rates.items()} == {
        phase: (ticks, 10) for phase, ticks in TICKS.items()
    }
    assert (names[0], names[-1], epoch) == ("conv1", "fc2", 5)
    np.testing.assert_allclose(rates["free"][0], [0.5, *[np.nan] * 9], rtol=0.02)  # nothing can be sent before
    figure = events.draw(run)
    (line, silent), lower_edge = figure.axes[0].lines[6:8], figure.axes[0].get_ylim()[0]
    np.testing.assert_array_equal(silent.get_ydata(), [lower_edge] * 2)
    np.testing.assert_array_equal(silent.get_xdata(), [2, 3])
    np.testing.assert_array_equal(line.get_ydata()[2:], rates["free"][3:, 3])
    assert np.isnan(line.get_ydata()[:2]).all(), "no line leads to the lower edge"


@pytest.mark.parametrize("busy_ticks", [0, 1])
def test_events_of_one_layer_that_is_hardly_ever_busy_are_visible(
    run: Run, monkeypatch: pytest.MonkeyPatch, busy_ticks: int
) -> None:
    rates = {"free": np.zeros((15, 1)), "nudge_plus": np.zeros((1, 1))}
    rates["free"][3 : 3 + busy_ticks] = 0.25
    monkeypatch.setattr(Run, "events", lambda _: (rates, ["fc1"], 1))
    figure = events.draw(run)
    FigureCanvasAgg(figure).draw()
    free, nudge = figure.axes
    assert {line.get_marker() for axes in figure.axes for line in axes.lines} == {"o", "."}
    assert set(free.lines[1].get_ydata()) == {0.1}
    assert sorted(value for value in free.lines[0].get_ydata() if value > 0) == [0.25][:busy_ticks]
    shown = [label.get_text() for label in free.get_yticklabels() if 0.1 <= label.get_position()[1] <= 1]
    assert shown == ["0", "20%", "50%", "100%"]
    assert all(float(tick).is_integer() for axes in (free, nudge) for tick in axes.get_xticks())


def test_a_layer_has_points_where_it_could_send(own_run: Run) -> None:
    """Of a sweep every layer is updated in a tick of its own; one that is never updated leaves room for the titles."""
    with h5py.File(own_run.path / "traffic.h5", "r+") as file:
        for phase in filter(lambda phase: "events" in phase, file["phases"].values()):
            ticks, layers = phase["events"].shape[1:]
            own = np.arange(ticks)[:, None] % layers == np.arange(layers)
            own[:, 0] = False
            phase["presentations"][...] = np.broadcast_to(own, phase["presentations"].shape)
            phase["events"][...] = 0
    rates, *_ = own_run.events()
    assert np.flatnonzero(~np.isnan(rates["free"][:, 3])).tolist() == list(range(4, TICKS["free"], 10))
    figure = events.draw(own_run)
    FigureCanvasAgg(figure).draw()
    assert len(figure.axes[0].lines[0].get_xdata()) == 0
    assert figure.axes[0].get_position().y1 < 0.85


def test_the_residual_of_a_phase_of_one_tick_is_seen(own_run: Run) -> None:
    frame = pd.read_csv(own_run.path / "residual.csv")
    frame[(frame["phase"] == "free") | (frame["tick"] == 1)].to_csv(own_run.path / "residual.csv", index=False)
    figure = residual.draw(own_run)
    free, nudges, *work = figure.axes
    named = {line.get_label(): line.get_marker() for line in figure.legends[0].get_lines()}
    assert named["mean of samples"] == named["largest of all samples"] == "o"
    assert {line.get_marker() for line in nudges.lines} == {"o"} and "o" not in {
        line.get_marker() for line in free.lines
    }
    assert [len(axes.collections[0].get_paths()) for axes in work] == [1, 1]


@pytest.mark.parametrize("style", ["clocked", "event", "settling"])
def test_energy_bars_sum_to_the_bill(run: Run, style: str) -> None:
    frame = pd.read_csv(run.path / "cost.csv").query(f"style == '{style}'")
    figure = energy.draw(run)
    axes = figure.axes[("clocked", "event", "settling").index(style)]
    bars = sum(bar.get_height() for bar in axes.patches)
    assert bars == pytest.approx((frame["energy_J"] / frame["samples"]).sum())


def test_energy_too_small_to_be_seen_is_written_above_its_place(own_run: Run) -> None:
    frame = pd.read_csv(own_run.path / "cost.csv")
    frame.loc[frame["name"] == "readout", "energy_J"] = 0.0
    frame.to_csv(own_run.path / "cost.csv", index=False)
    panels = energy.draw(own_run).axes[:3]
    assert all("0 J" in [text.get_text() for text in axes.texts] for axes in panels)


def test_energy_without_costs_is_not_drawn(own_run: Run) -> None:
    change(own_run, "cost.csv", "energy_J", 0.0, samples=128)
    with pytest.raises(NothingToDraw, match="every energy is zero"):
        energy.draw(own_run)


def test_memory_bars_sum_to_the_table(run: Run) -> None:
    bits = pd.read_csv(run.path / "memory.csv").groupby("method")["bits"].sum()
    figure = memory.draw(run)
    totals, items = figure.axes
    assert sum(bar.get_width() for bar in totals.patches) * 8 * 2**20 == pytest.approx(bits.sum())
    dashes = [sum(start[0] for start, _ in lines.get_segments()) for lines in items.collections]
    assert dashes == bits[["ep", "bptt_K", "bptt_T", "backprop"]].to_list()
    assert f"= {bits['bptt_T'] / bits['ep']:.2f} × EP" in " ".join(texts(figure))
    assert totals.get_xlabel() == "total memory (MiB)"
    assert sum("MiB" in text.get_text() for text in totals.texts) == 4
    colours = [to_hex(bars.patches[0].get_facecolor()).upper() for bars in totals.containers]
    assert colours == [*PALETTE[: len(colours) - 1], REST["color"]]


def test_the_parts_of_a_stack_differ() -> None:
    assert len({tuple(fill(part).values()) for part in range(28)}) == 28


def test_several_runs_also_give_one_picture_of_all_gradients(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plot, "PICTURES", {"events": events.draw, "energy": energy.draw})
    silent = synthetic_run(tmp_path / "silent", "vgg11_plain", epochs=1, traffic=False).path
    said: list[str] = []
    files = plot_runs([run.path, silent], tmp_path / "out", say=said.append)
    assert [str(file.relative_to(tmp_path / "out")) for file in files] == [
        "first_vgg11_le/events.svg",
        "first_vgg11_le/events.png",
        "first_vgg11_le/energy.svg",
        "first_vgg11_le/energy.png",
        "gradients_compared.svg",
        "gradients_compared.png",
    ]
    reason = "does not exist; telemetry.traffic_every is 0, 1 or more records traffic"
    assert said == [
        f"no picture events: {silent / 'traffic.h5'} {reason}",
        f"no picture energy: {silent / 'cost.csv'} {reason}",
    ]


def test_cost_is_drawn_against_the_number_in_which_runs_differ(tmp_path: Path) -> None:
    runs = []
    for ticks in (60, 20, 120):
        path = synthetic_run(tmp_path / f"T{ticks}", epochs=1).path
        text = (path / "scenario.toml").read_text()
        (path / "scenario.toml").write_text(re.sub(r"free_steps = \d+", f"free_steps = {ticks}", text))
        runs.append(open_run(path))
    frame = pd.read_csv(runs[0].path / "comparison.csv").set_index("style")
    figure = tradeoff.draw(runs)
    for axes, column in zip(figure.axes, ("energy_J", "latency_s"), strict=False):
        curves = [container.lines[0] for container in axes.containers]
        for line, style in zip(curves, frame.index, strict=True):
            assert line.get_xdata().tolist() == [20, 60, 120]
            assert line.get_ydata()[1] == pytest.approx(frame[column][style])
    ratio = frame["energy_J"]["clocked"] / frame["backprop_J"]["clocked"]
    assert figure.axes[2].containers[0].lines[0].get_ydata().tolist() == pytest.approx([ratio] * 3)
    assert figure.axes[3].lines[0].get_ydata().tolist() == pytest.approx([62, 62, 62])
    assert tradeoff.varied(runs[:1]) is None and tradeoff.varied([runs[0], runs[0]]) is None
    other = open_run(synthetic_run(tmp_path / "plain", "vgg11_plain", epochs=1, signals="none").path)
    assert tradeoff.varied([runs[1], other]) is None, "signals differ, too: accuracy is not due to T"
    assert [group.name for group in alone(runs)] == [f"vgg11_le, free_steps = {ticks}" for ticks in (60, 20, 120)]


def test_break_even_is_where_the_lines_cross(run: Run) -> None:
    frame = pd.read_csv(run.path / "comparison.csv").set_index("style")
    axes = breakeven.draw(run).axes[0]
    backprop, *curves = [line for line in axes.lines if len(line.get_xdata()) == 200]
    crosses = [line for line in axes.lines if line.get_marker() == "X"]
    assert backprop.get_ydata()[0] == pytest.approx(frame["backprop_J"].iloc[0])
    for curve, (style, row) in zip(curves, frame.iterrows(), strict=True):
        assert np.interp(row["ticks"], curve.get_xdata(), curve.get_ydata()) == pytest.approx(
            row["energy_J"], rel=1e-2
        ), style
    ticking = frame[frame["ticking_J"] > 0]  # settling does not depend on the ticks
    missing_J = ticking["backprop_J"] - ticking["energy_J"] + ticking["ticking_J"]
    even_at = ticking["ticks"] * missing_J / ticking["ticking_J"]
    drawn = even_at[even_at >= 3]  # a tick of every phase
    assert 0 < len(drawn) < len(even_at) == 2
    assert [cross.get_xdata()[0] for cross in crosses] == pytest.approx(drawn.tolist())
    assert any("Crosses: even" in text for text in texts(axes.figure))
    for cross, style in zip(crosses, drawn.index, strict=True):
        x, y = cross.get_xdata()[0], cross.get_ydata()[0]
        curve = curves[list(frame.index).index(style)]
        assert np.interp(x, curve.get_xdata(), curve.get_ydata()) == pytest.approx(y, rel=2e-2)


def test_crosses_are_explained_where_there_are_any(own_run: Run) -> None:
    for style in ("clocked", "event"):
        change(own_run, "comparison.csv", "backprop_J", 1e-12, style=style)
    figure = breakeven.draw(own_run)
    assert not any(line.get_marker() == "X" for line in figure.axes[0].lines)
    assert not any("Crosses" in text for text in texts(figure))


def test_the_mesh_shows_the_energy_of_every_tile_and_the_bits_of_every_link(run: Run) -> None:
    cost = pd.read_csv(run.path / "cost.csv").query("style == 'event' and tile >= 0")
    figure = mesh.draw(run)
    tiles, links = figure.axes[:2]
    shown = tiles.images[0].get_array()
    samples = cost["samples"].iloc[0]
    assert np.nansum(shown) == pytest.approx(cost["energy_J"].sum() / samples)
    with h5py.File(run.path / "traffic.h5") as file:
        assert links.collections[0].get_array().sum() == pytest.approx(file["links/bits"][:].sum() / samples)


def test_runs_with_the_same_directory_name_get_folders_and_names_of_their_own(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plot, "PICTURES", {"memory": memory.draw})
    twins = [synthetic_run(tmp_path / parent / "r", epochs=1, traffic=False).path for parent in "AB"]
    files = plot_runs([*twins, twins[0]], tmp_path / "out")
    assert {file.parent.relative_to(tmp_path / "out") for file in files} == {Path("A/r"), Path("B/r"), Path()}
    labels = [row.split(",")[0] for row in ratios(gradients.draw(alone([open_run(path) for path in twins])))]
    assert labels == ["vgg11_le (A/r) (LE)", "vgg11_le (B/r) (LE)"]


@pytest.mark.parametrize("file", ["layers.csv", "residual.csv", "cost.csv", "memory.csv"])
def test_a_missing_or_empty_table_is_skipped_and_a_broken_one_refused(own_run: Run, file: str) -> None:
    users = {"layers.csv": states, "residual.csv": residual, "cost.csv": energy, "memory.csv": memory}
    path = own_run.path / file
    header = path.read_text().splitlines()[0]
    path.write_text(header + "\n")
    with pytest.raises(NothingToDraw, match="has no values of"):
        users[file].draw(own_run)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(CheckpointError, match="lacks the columns"):
        users[file].draw(own_run)
    path.write_text("")
    with pytest.raises(CheckpointError, match="cannot be read as a CSV table"):
        users[file].draw(own_run)
    path.unlink()
    with pytest.raises(NothingToDraw, match="does not exist"):
        users[file].draw(own_run)


@pytest.mark.parametrize("damaged", [1, 2])
def test_a_row_with_too_many_cells_is_refused(own_run: Run, damaged: int) -> None:
    path = own_run.path / "layers.csv"
    rows = path.read_text().splitlines()
    rows[damaged] += ",7"
    path.write_text("\n".join(rows))
    with pytest.raises(CheckpointError, match=r"layers.csv: (has a row with more cells|cannot be read as a CSV)"):
        plot_runs([own_run.path])


def test_a_file_is_read_again_once_it_has_changed(tmp_path: Path) -> None:
    path, read = tmp_path / "table.csv", []

    @read_once
    def content(file: Path) -> str:
        read.append(file)
        return file.read_text()

    with pytest.raises(FileNotFoundError):
        content(path)
    for rows, times in (("1", 2), ("2", 3)):
        write_atomic(path, rows.encode())
        assert [content(path), content(path)] == [rows, rows]
        assert len(read) == times


def test_a_table_in_which_one_column_has_gaps_keeps_its_rows_for_others(own_run: Run) -> None:
    path = own_run.path / "epochs.csv"
    frame = pd.read_csv(path)
    frame.loc[0, "loss"] = np.inf
    frame.to_csv(path, index=False)
    rows = [len(own_run.table("epochs.csv", (column,))) for column in ("loss", "test_accuracy", "loss")]
    assert rows == [len(frame) - 1, len(frame), len(frame) - 1]


def test_broken_traffic_is_refused(own_run: Run) -> None:
    (own_run.path / "traffic.h5").write_bytes(b"not HDF5")
    with pytest.raises(CheckpointError, match="cannot be read as recorded traffic"):
        events.draw(own_run)


def test_what_is_no_run_directory_is_refused(own_run: Run, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such run directory"):
        plot_runs([tmp_path / "nowhere"])
    run_json = own_run.path / "run.json"
    document = json.loads(run_json.read_text())
    run_json.write_text(json.dumps({**document, "schema_version": 2}))
    with pytest.raises(CheckpointError, match="schema_version = 2: this version reads 1 only"):
        plot_runs([own_run.path])
    run_json.write_text('{"schema_version": 1}')
    with pytest.raises(CheckpointError, match="lacks the name of the run"):
        plot_runs([own_run.path])
    run_json.write_text("[]")
    with pytest.raises(CheckpointError, match="must be a JSON object"):
        plot_runs([own_run.path])


def test_pictures_can_be_chosen_and_made_for_paper(run: Run, tmp_path: Path) -> None:
    """As wide as a column, in letters of 6 points and more that the file has with it; the title is in a text beside."""
    pdf, caption = plot_runs([run.path], tmp_path / "out", only=["gradients"], output=Output(("pdf",), paper=True))
    content = pdf.read_bytes()
    assert caption.name == "gradients.txt" and pdf.name == "gradients.pdf"
    said = caption.read_text(encoding="utf-8")
    assert said.startswith("Weight gradient of every layer. A level curve") and said.endswith(f"{run.label}.\n")
    assert b"/MediaBox [ 0 0 244.8 " in content and b"/FontFile2" in content
    drawn: list[Figure] = []

    def draw() -> Figure:
        drawn.append(gradients.draw(alone([run])))
        return drawn[0]

    save(draw, tmp_path / "picture", Output(("png",), paper=True))
    sizes = [text.get_fontsize() for text in drawn[0].findobj(Text) if text.get_text()]
    assert min(sizes) >= 6 and max(sizes) <= 7.5
    assert "Weight gradient of every layer" not in texts(drawn[0])
    with pytest.raises(UsageError, match="--only gradient: no such picture here; did you mean gradients"):
        plot_runs([run.path], tmp_path / "out", only=["gradient"])


def test_utilisation_shows_every_tile_and_the_share_of_active_lines(run: Run) -> None:
    frame = pd.read_csv(run.path / "tiles.csv")
    upper, lower = utilisation.draw(run).axes
    tiles = frame.drop_duplicates("tile")
    np.testing.assert_array_equal(upper.lines[0].get_ydata(), tiles["utilisation"])
    means = tiles.groupby("layer")["utilisation"].mean()
    np.testing.assert_allclose([bar.get_height() for bar in upper.patches], means)
    assert len(lower.patches) == 2 * len(means)


def test_the_learning_curve_of_a_run(run: Run) -> None:
    frame = pd.read_csv(run.path / "epochs.csv")
    accuracy, loss = PICTURES["learning"](run).axes
    np.testing.assert_array_equal(accuracy.lines[1].get_ydata(), frame["test_accuracy"])
    np.testing.assert_array_equal(loss.lines[0].get_ydata(), frame["loss"])


def test_small_values_of_a_heat_map_are_not_shown_as_zero() -> None:
    assert [states.told(value) for value in (0.0, 6e-7, 0.004, 0.256)] == ["0.00", "6e-7", "4e-3", "0.26"]


@pytest.mark.parametrize(
    ("ends", "labels"),
    [
        ((5.5, 9.2), ["6", "7", "8", "9"]),
        ((6.0, 40.0), ["10", "20"]),
        ((2e-5, 9e-5), ["2×10⁻⁵", "5×10⁻⁵"]),
        ((0.97, 1.04), ["0.98", "1", "1.02", "1.04"]),
        ((0.5, 300.0), ["10⁰", "10¹", "10²"]),
    ],
)
def test_a_log_axis_has_labels_whatever_it_spans(ends: tuple[float, float], labels: list[str]) -> None:
    assert log_labels(*ends) == labels


@pytest.mark.parametrize(
    ("ends", "across", "up"),
    [
        ((2.03, 2.9), [2.2, 2.4, 2.6, 2.8], [2.2, 2.4, 2.6, 2.8]),
        ((1.5, 11.0), [2, 5, 10], [2, 5, 10]),
        ((0.8, 150.0), [1, 3, 10, 30, 100], [1, 2, 5, 10, 20, 50, 100]),
        ((0.5, 12000.0), [1, 10, 100, 1000, 10000], [1, 3, 10, 30, 100, 300, 1000, 3000, 10000]),
    ],
)
def test_a_log_axis_of_round_numbers_has_as_many_as_there_is_room_for(
    ends: tuple[float, float], across: list[float], up: list[float]
) -> None:
    axes = Figure().add_subplot()
    for axis, expected in ((axes.xaxis, across), (axes.yaxis, up)):
        log_axis(axis)
        axis.set_major_locator(RoundNumbers())
        axis.set_view_interval(*ends, ignore=True)
        inside = [tick for tick in axis.get_majorticklocs() if ends[0] <= tick <= ends[1]]
        np.testing.assert_allclose(inside, expected)


def log_labels(low: float, high: float) -> list[str]:
    axes = Figure().add_subplot()
    log_axis(axes.yaxis)
    axes.set_ylim(low, high)
    shown = [text for minor in (False, True) for text in axes.yaxis.get_ticklabels(minor=minor)]
    seen = {text.get_text(): text.get_position()[1] for text in shown if low <= text.get_position()[1] <= high}
    return sorted(filter(None, seen), key=seen.__getitem__)


def test_exponents_on_paper_are_those_of_formulas() -> None:
    seen: list[str] = []

    def draw() -> Figure:
        seen.extend(log_labels(2e-5, 9e-5))
        figure = canvas("title", "run", "explanation")
        figure.add_subplot()
        return figure

    render(draw, Path("picture"), Output(("png",), paper=True))
    assert seen == [r"$\mathdefault{2\times10^{-5}}$", r"$\mathdefault{5\times10^{-5}}$"]
