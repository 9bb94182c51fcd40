"""The cost model against published chips, figure by figure, and docs/validation.md against the figures."""

from __future__ import annotations

import re

import pytest
from hardware_models import load_hardware_model
from paths import DOCS
from published_chips import FIGURES, HEADER, Figure

from neurosim_ep.hardware.bill.cost import bill
from neurosim_ep.hardware.bill.latency import stages
from neurosim_ep.hardware.bill.oneread import one_read, one_read_recording
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.resources import shipped_files

PAGE = (DOCS / "validation.md").read_text(encoding="utf-8")
MODELS = sorted(name for name, path in shipped_files("hwmodels").items() if "abstract = true" not in path.read_text())


def title(figure: Figure) -> str:
    return f"{figure.chip}: {figure.what}"


@pytest.mark.parametrize("figure", [figure for figure in FIGURES if figure.miss is None], ids=title)
def test_published_figures_are_met(figure: Figure) -> None:
    assert figure.met


@pytest.mark.parametrize("figure", [figure for figure in FIGURES if figure.miss is not None], ids=title)
def test_missed_figures_are_missed_and_explained(figure: Figure) -> None:
    assert figure.kind in ("composed", "uncalibrated", "twofold")
    assert not figure.met, "met by now: drop its explanation"
    assert f"\n{figure.miss}. " in PAGE


def test_the_page_shows_the_figures_of_today() -> None:
    assert "\n".join([HEADER, *(figure.row for figure in FIGURES)]) in PAGE


def test_the_page_counts_what_is_met_and_missed() -> None:
    missed = sum(figure.miss is not None for figure in FIGURES)
    assert f"{len(FIGURES)} figures, {missed} beyond the limits" in PAGE
    explanations = re.findall(r"^(\d+)\. ", PAGE, re.MULTILINE)
    assert sorted({figure.miss for figure in FIGURES if figure.miss}) == [int(number) for number in explanations]


def test_titles_are_unique() -> None:
    assert len({title(figure) for figure in FIGURES}) == len(FIGURES)


@pytest.mark.parametrize("name", MODELS)
def test_one_read_is_what_the_bill_says(name: str) -> None:
    model = load_hardware_model(name)
    read, table = one_read(model), bill(one_read_recording(model))
    lines = table.query("style == 'clocked' and phase == 'free' and tile == 0")
    lines = lines[~lines.component.isin(["leakage", "input_buffer"])]  # what stands around the array
    assert {key: joule for key, joule in read.energy_J.items() if joule} == {
        key: pytest.approx(joule) for key, joule in lines.set_index("component").energy_J.items() if joule
    }
    array = model.array_geometry()
    assert read.multiply_adds == array.rows * (array.columns // array.cells_per_weight)
    assert read.total_J == pytest.approx(lines.energy_J.sum())
    assert read.time_s == pytest.approx(stages(one_read_recording(model), "free", Style.CLOCKED).read_s)
