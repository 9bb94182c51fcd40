"""The scenarios of the paper's settings: they say what its tables say, and each of them runs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from data_files import CIFAR
from paths import DOCS

from neurosim_ep import resources
from neurosim_ep.errors import ScenarioError
from neurosim_ep.progress import QuietReporter
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.scenario.schema import Scenario
from neurosim_ep.train.run import run
from neurosim_ep.train.teach import teach

# arXiv 2508.15989, Tables 5 and 6: data, beta, T, K, alpha, batch, layers, initial states, weight scale, alpha schedule
TABLES = {
    "vgg7_le": ("cifar10", 0.25, 250, 50, 0.65, 128, (2, 4), "zeros", 1.0, "cosine"),
    "vgg7_kd": ("cifar10", 0.15, 250, 60, 0.65, 64, (2, 4), "uniform", 1.0, "cosine"),
    "vgg7_kdw": ("cifar10", 0.5, 100, 50, 0.15, 128, (2, 4), "uniform", 1.0, "cosine"),
    "vgg11_le": ("cifar100", 1.0, 400, 40, 0.85, 128, (1, 3, 5, 7), "zeros", 0.5, "cosine"),
    "vgg13_le": ("cifar100", 1.0, 140, 50, 0.85, 128, (1, 3, 5, 7), "zeros", 0.5, "cosine"),
    "vgg10_kd": ("cifar100", 0.5, 130, 50, 0.85, 128, (0, 1, 3, 5, 7), "uniform", 1.0, "cosine"),
    "vgg12_kd": ("cifar100", 1.0, 100, 15, 0.65, 256, (1, 3, 5, 7, 9), "uniform", 0.5, "linear"),
}
COUNTERPARTS = [f"vgg{depth}_{method}" for depth in (7, 10, 11, 12, 13) for method in ("plain", "bptt")]
SMALL = (
    "network.width=0.03", "relaxation.free_steps=16", "relaxation.nudge_steps=14", "relaxation.tolerance=0",
    "training.batch_size=16", "training.epochs=1", "data.test_samples=10", "telemetry.stats_every=1",
    "telemetry.plots=false", "telemetry.report=false",
)  # fmt: skip


def paper_scenario(name: str, *overrides: str) -> Scenario:
    return load_scenario(resources.resolve(f"paper/{name}", "scenarios", ScenarioError)[0], overrides)


def test_the_page_on_them_has_their_values() -> None:
    page = (DOCS / "paper-settings.md").read_text(encoding="utf-8")
    rows = {row.split("`")[-2].split("/")[1]: row for row in page.splitlines() if row.startswith("| VGG-")}
    assert rows.keys() == TABLES.keys()
    for name, (kind, beta, free, nudge, alpha, batch, layers, start, scale, course) in TABLES.items():
        values = (
            {"cifar10": "C10", "cifar100": "C100"}[kind], f"{beta:g}", f"{free} / {nudge}", f"{alpha:g}", str(batch),
            ", ".join(map(str, layers)), {"zeros": "0", "uniform": "U(0, 1)"}[start], f"{scale:g}", course,
        )  # fmt: skip
        assert [cell.strip() for cell in rows[name].split("|")[3:-1]] == list(values)


def test_every_setting_is_shipped_and_nothing_else() -> None:
    shipped = {name for name in resources.shipped_files("scenarios") if name.startswith("paper/")}
    assert shipped == {f"paper/{name}" for name in (*TABLES, *COUNTERPARTS)}


@pytest.mark.parametrize("name", TABLES)
def test_settings_are_those_of_the_tables(name: str) -> None:
    s = paper_scenario(name)
    found = (
        s.data.kind, s.relaxation.beta, s.relaxation.free_steps, s.relaxation.nudge_steps, s.signals.alpha,
        s.training.batch_size, s.signals.layers, s.relaxation.state_init, s.network.weight_scale,
        s.signals.alpha_schedule,
    )  # fmt: skip
    assert found == TABLES[name]
    preset, kind = name.split("_")
    assert (s.network.preset, s.signals.kind, s.signals.temperature) == (preset, kind, 4.0)
    assert (s.training.epochs, s.training.momentum, s.training.weight_decay) == (250, 0.9, 3e-4)
    assert s.network.activation == ("relu_conv" if name == "vgg12_kd" else "hard_sigmoid")
    assert s.network.width == 1.0 and s.data.augment == "crop_flip"


@pytest.mark.parametrize("name", COUNTERPARTS)
def test_counterparts_have_the_network_and_the_phases_of_a_column(name: str) -> None:
    preset, method = name.split("_")
    column = next(column for column in TABLES if column.startswith(f"{preset}_"))
    ours, theirs = paper_scenario(name), paper_scenario(column)
    assert ours.signals.kind == "none" and ours.plasticity.rule == ("bptt" if method == "bptt" else "contrastive")
    assert ours.network == theirs.network and ours.relaxation == theirs.relaxation
    assert ours.data.kind == theirs.data.kind and ours.training.batch_size == theirs.training.batch_size


@pytest.mark.parametrize("name", [*TABLES, *COUNTERPARTS])
def test_each_runs_on_files_of_the_official_format(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few batches, the network narrowed and the phases shortened; layers, signals and data as shipped."""
    kind = paper_scenario(name).data.kind
    CIFAR[f"{kind}-python"][1](tmp_path / "data")
    options = [*SMALL, f"data.root={tmp_path / 'data'}", f"data.train_samples={50 if kind == 'cifar10' else 100}"]
    if name.split("_")[1] in ("kd", "kdw"):
        options += [f"signals.teacher={tmp_path / 'teacher'}", "teacher.epochs=1"]
        teach(paper_scenario(name, *options), None, "cpu", QuietReporter())
    result = run(paper_scenario(name, *options), tmp_path / "run", device="cpu")
    layers = pd.read_csv(result.out / "layers.csv")
    assert result.status == "done" and layers.norm_dW.notna().all()
    assert len(layers) == 1 + len(paper_scenario(name).network.layer_plans(10))
