"""The figures of the paper from several run directories: what they show, and what is refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import matplotlib.style
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from synthetic_run import synthetic_run

from neurosim_ep.analysis import gradients, learning, memory, states
from neurosim_ep.analysis.groups import Group, alone, grouped
from neurosim_ep.analysis.load import NothingToDraw, Run, open_run
from neurosim_ep.analysis.reproduction import reproduce_runs
from neurosim_ep.analysis.style import STYLE, look
from neurosim_ep.cli import main
from neurosim_ep.errors import CheckpointError
from neurosim_ep.record.rundir import RunDirectory

FIGURES = ("accuracy_and_loss", "states_mean", "states_deviation", "gradients_compared", "alpha", "memory_compared")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Two seeds with LE, one with KD and one without signals; the second LE run was stopped after three epochs."""
    folder = tmp_path_factory.mktemp("runs")
    return [
        open_run(synthetic_run(folder / name, scenario, epochs=epochs, seed=seed, signals=kind, traffic=False).path)
        for name, scenario, kind, seed, epochs in (
            ("le1", "vgg11_le", "le", 1, 4),
            ("le0", "vgg11_le", "le", 0, 3),
            ("kd", "vgg11_kd", "kd", 0, 4),
            ("plain", "vgg11_plain", "none", 0, 4),
        )
    ]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text)]


def column(run: Run, name: str) -> np.ndarray:
    return pd.read_csv(run.path / "epochs.csv")[name].to_numpy()


def test_every_figure_is_written_as_svg_and_png(runs: list[Run], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["reproduce", *(str(run.path) for run in runs), "--out", str(tmp_path / "figures")]) == 0
    printed = capsys.readouterr()
    assert printed.out.split() == [f"{tmp_path}/figures/{name}{end}" for name in FIGURES for end in (".svg", ".png")]
    assert printed.err == ""
    assert all(Path(path).stat().st_size > 5000 for path in printed.out.split())


@pytest.mark.parametrize("count", [1, 9])
def test_everything_lies_inside_the_figures(runs: list[Run], tmp_path: Path, count: int) -> None:
    chosen = [*runs, *runs, *runs][:count]
    if count > len(runs):
        chosen = [open_run(shutil.copytree(run.path, tmp_path / str(n))) for n, run in enumerate(chosen)]
    groups = [Group(f"{run.name}_{n}", [run]) for n, run in enumerate(chosen)]
    with matplotlib.style.context(STYLE):
        for figure in (
            learning.draw(groups),
            learning.draw_alpha(groups),
            memory.compare(groups),
            states.compare(groups, "mean_abs_state"),
        ):
            FigureCanvasAgg(figure).draw()
            drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
            assert drawn.x0 >= 0 and drawn.y0 >= 0 and drawn.x1 <= width and drawn.y1 <= height


def test_runs_that_differ_only_in_seed_are_one_group_in_order_of_seed(runs: list[Run]) -> None:
    groups = grouped(runs)
    assert [[run.path.name for run in group.runs] for group in groups] == [["le0", "le1"], ["kd"], ["plain"]]
    assert [group.label for group in groups] == [
        "vgg11_le (LE): mean of seeds 0, 1", "vgg11_kd (KD)", "vgg11_plain (plain EP)"
    ]  # fmt: skip
    alike = grouped([replace(run, name="VGG-11") for run in runs])
    assert [group.name for group in alike] == ["VGG-11"] * 3  # the methods tell them apart


def test_gains_of_the_feedback_are_told(runs: list[Run]) -> None:
    like = next(run for run in runs if run.setting("signals", "kind") == "none")
    for gain, rule, method in ((0.1, "contrastive", "plain EP with gains"), (0.1, "bptt", "BPTT with gains"),
                               (0.1, "backprop", "backpropagation"), (1.0, "contrastive", "plain EP")):  # fmt: skip
        changed = {"plasticity": {"rule": rule}, "relaxation": {"feedback": gain, "nudge_feedback": 1.0}}
        assert grouped([replace(like, scenario=like.scenario | changed)])[0].method == method


@pytest.mark.parametrize(
    ("rule", "kind", "method"),
    [("bptt", "none", "BPTT"), ("bptt", "le", "BPTT, LE"), ("backprop", "none", "backpropagation")],
)
def test_runs_of_other_rules_are_called_that(runs: list[Run], rule: str, kind: str, method: str) -> None:
    like = next(run for run in runs if run.setting("signals", "kind") == kind)
    (group,) = grouped([replace(like, scenario=like.scenario | {"plasticity": {"rule": rule}})])
    assert group.label == f"{like.name} ({method})"
    assert f"{like.name}\n({method})" in texts(memory.compare([group]))
    assert not any("EP" in text for text in texts(learning.draw([group])))


def test_several_seeds_are_their_mean_in_a_band_over_the_epochs_all_have(runs: list[Run]) -> None:
    figure = learning.draw(grouped(runs))
    accuracy, loss = figure.axes
    assert "vgg11_le (LE): mean of seeds 0, 1 (to epoch 3, which all have)" in texts(figure)
    seeds = np.stack([column(run, "test_accuracy")[:3] for run in runs[:2]])
    train, test = accuracy.lines[:2]
    assert (train.get_linestyle(), test.get_linestyle()) == ("--", "-")
    np.testing.assert_allclose(test.get_ydata(), seeds.mean(0))
    (band,) = accuracy.collections
    edges = band.get_paths()[0].vertices
    for epoch in (1, 2, 3):
        found = edges[edges[:, 0] == epoch, 1]
        assert (found.min(), found.max()) == pytest.approx((seeds[:, epoch - 1].min(), seeds[:, epoch - 1].max()))
    np.testing.assert_array_equal(accuracy.lines[3].get_ydata(), column(runs[2], "test_accuracy"))
    np.testing.assert_array_equal(loss.lines[2].get_ydata(), column(runs[3], "loss"))
    assert "cross-entropy" in loss.get_ylabel()


def test_chance_is_drawn_for_every_number_of_classes_and_its_absence_is_said(runs: list[Run], tmp_path: Path) -> None:
    def level(kind: str, **info: object) -> tuple[list[float], list[str]]:
        directory = synthetic_run(tmp_path / (kind + str(len(info))), epochs=2, data=kind, traffic=False)
        directory.update_run_json(**info)
        figure = learning.draw(grouped([runs[0], open_run(directory.path)]))
        return [line.get_ydata()[0] for line in figure.axes[0].lines[4:]], texts(figure)

    assert level("cifar100")[0] == [0.1, 0.01]
    assert level("folder", data={"classes": 5})[0] == [0.2, 0.1]
    levels, said = level("folder")
    assert levels == [0.1]
    assert "chance is not drawn where run.json lacks the classes" in said


def test_panels_of_states_share_one_colour_scale(runs: list[Run]) -> None:
    for measure in ("mean_abs_state", "std_across_samples"):
        frames = [pd.read_csv(run.path / "layers.csv") for run in runs]
        images = [axes.images[0] for axes in states.compare(alone(runs), measure).axes if axes.images]
        for frame, image in zip(frames, images, strict=True):
            np.testing.assert_array_equal(image.get_array().T.ravel(), frame[measure].dropna())
        assert {image.get_clim() for image in images} == {(0, max(frame[measure].max() for frame in frames))}


def test_alpha_is_drawn_for_runs_with_signals(runs: list[Run]) -> None:
    figure = learning.draw_alpha(grouped(runs))
    le, kd = figure.axes[0].lines
    np.testing.assert_array_equal(kd.get_ydata(), column(runs[2], "alpha"))
    assert le.get_linewidth() > kd.get_linewidth()  # equal schedules both show
    assert "Without signals, and not drawn: vgg11_plain." in texts(figure)
    with pytest.raises(NothingToDraw, match=r"signals\.kind is none in all of them"):
        learning.draw_alpha(grouped(runs[3:]))


def test_memory_bars_are_the_sums_of_the_table(runs: list[Run], tmp_path: Path) -> None:
    bits = pd.read_csv(runs[0].path / "memory.csv").groupby("method")["bits"].sum()
    figure = memory.compare(grouped(runs))
    (axes,) = figure.axes
    widths = [bar.get_width() * 8 * 2**20 for bar in axes.patches[:3]]
    assert widths == pytest.approx(bits[["ep", "bptt_K", "bptt_T"]].tolist())
    assert f"= {bits['bptt_T'] / bits['ep']:.2f} × EP (T = 60)" in " ".join(texts(figure))
    assert "No run noted the memory it took." in " ".join(texts(figure))
    shutil.copytree(runs[0].path, tmp_path / "run")
    RunDirectory(tmp_path / "run").update_run_json(peak_memory={"bytes": 791_000_000, "where": "GPU"})
    estimate, measured = memory.compare(grouped([runs[1], open_run(tmp_path / "run"), runs[3]])).axes
    assert [bar.get_width() for bar in measured.patches] == [791.0]
    assert [text.get_text() for text in measured.texts] == ["791 MB (GPU)", "not recorded"]
    assert len(estimate.patches) == 6


def test_many_lines_differ() -> None:
    assert len({look(line) for line in range(49)}) == 49


def test_what_cannot_be_drawn_is_refused_in_one_line(
    runs: list[Run], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    def refuse(*words: str | Path) -> str:
        assert main(["reproduce", *map(str, words)]) == 2
        return capsys.readouterr().err

    shutil.copytree(runs[0].path, tmp_path / "copy")
    out = tmp_path / "out"
    message = refuse(runs[0].path, tmp_path / "copy", "--out", out)
    assert "the same scenario with the same seed (1); give only one of them" in message
    assert message.count("\n") == 1
    assert "no such run directory" in refuse(runs[0].path, tmp_path / "nowhere", "--out", out)
    (tmp_path / "copy/scenario.toml").write_text("[data]\n")
    assert "scenario.toml: lacks scenario.seed; was it edited?" in refuse(tmp_path / "copy", "--out", out)
    assert "Missing option '--out'" in refuse(runs[0].path)
    assert not out.exists()
    out.write_text("a file")
    assert "pictures cannot be written there" in refuse(runs[0].path, "--out", out)


def test_a_missing_table_leaves_out_its_figure_and_a_broken_one_is_refused(tmp_path: Path) -> None:
    run = synthetic_run(tmp_path / "run", epochs=2, traffic=False).path
    (run / "epochs.csv").unlink()
    said: list[str] = []
    files = reproduce_runs([run, run], tmp_path / "out", say=said.append)
    assert {file.stem for file in files} == set(FIGURES) - {"accuracy_and_loss", "alpha"}
    assert [line.split(":")[0] for line in said] == ["no picture accuracy_and_loss", "no picture alpha"]
    (run / "epochs.csv").write_text("epoch,loss\n1,2\n")
    with pytest.raises(CheckpointError, match="lacks the columns"):
        reproduce_runs([run], tmp_path / "out")


@pytest.mark.parametrize("file", ["epochs.csv", "layers.csv", "memory.csv"])
def test_rows_that_are_double_or_gone_are_refused(tmp_path: Path, file: str) -> None:
    run = synthetic_run(tmp_path / "run", epochs=2, traffic=False).path
    rows = (run / file).read_text().splitlines()
    rows = [row for row in rows if not row.startswith("bptt_T")] if file == "memory.csv" else [*rows, rows[-2]]
    (run / file).write_text("\n".join(rows) + "\n")
    groups = grouped([open_run(run)])
    draw = {
        "epochs.csv": lambda: learning.draw(groups),
        "layers.csv": lambda: states.compare(groups, "mean_abs_state"),
        "memory.csv": lambda: memory.compare(groups),
    }[file]
    with pytest.raises(CheckpointError, match=r"(holds a row twice for one epoch|lacks the rows of bptt_T).*edited"):
        draw()


def test_signals_of_several_kinds_are_named_once_each(runs: list[Run]) -> None:
    mixed = Run(runs[0].path, "mixed", runs[0].scenario | {"signals": {"kind": ["le", "kd", "le"]}}, {})
    assert grouped([mixed])[0].method == "LE + KD"


def test_gradients_and_states_of_seeds_are_their_mean_too(runs: list[Run]) -> None:
    groups = grouped(runs)
    figure = gradients.draw(groups)
    frames = [pd.read_csv(run.path / "layers.csv").set_index(["epoch", "layer"])["mean_abs_dW"] for run in runs[:2]]
    mean = sum(frame.loc[3] for frame in frames) / 2
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), mean)
    assert len(figure.axes[0].collections) == 1, "a band around the curve of two seeds"
    assert any(text.startswith("vgg11_le (LE): mean of seeds 0, 1, epoch 3") for text in texts(figure))
    panels = [axes for axes in states.compare(groups, "mean_abs_state").axes if axes.images and axes.get_title()]
    headings = ["vgg11_le\n(LE)", "vgg11_kd\n(KD)", "vgg11_plain\n(plain EP)"]
    assert [axes.get_title() for axes in panels] == headings
