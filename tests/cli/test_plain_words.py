"""Labels and sentences that follow what is computed, and that a stranger understands."""

from __future__ import annotations

import pytest

from neurosim_ep.cli import main
from neurosim_ep.cli.answers import print_pairs
from neurosim_ep.display import table
from neurosim_ep.hardware.model.tables import diff_rows
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.train.inspect import missing


def test_sentences_that_begin_with_a_digit_stand_to_the_left_and_numbers_to_the_right() -> None:
    said = table([{"n": "1.5 µJ", "what": "8-bit drivers"}, {"n": "120 nJ - 2 µJ", "what": "128 x 128 cells, one ADC"}])
    assert said.splitlines()[1:] == ["         1.5 µJ  8-bit drivers", "  120 nJ - 2 µJ  128 x 128 cells, one ADC"]
    chips = table([{"what": "16 x 16 arrays of cells"}, {"what": "96 arrays of 2-bit cells on a bus"}])
    assert chips.splitlines()[1] == "  16 x 16 arrays of cells"


def test_the_override_that_mends_a_key_of_a_shipped_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "smoke", "--set", "signals.kind=kd"]) == 2
    said = capsys.readouterr().err
    assert (
        "signals.learned = true: belongs to signals of kind le; add --set signals.learned=false to what is set" in said
    )
    load_scenario("smoke", ["signals.kind=kd", "signals.learned=false"])


def test_an_estimate_says_what_it_is_of(capsys: pytest.CaptureFixture[str]) -> None:
    four = ["--set", "hardware.converters.adc_bits=4"]
    assert main(["estimate", "smoke", "--activity", "0.3", "--events", "0.1", *four]) == 0
    said = capsys.readouterr().out
    assert "changed by the tiles of the scenario: adc.bits = 4" in said
    assert "one sample as given, nothing is simulated" in said and "recorded batch" not in said


def test_what_this_machine_lacks_is_said(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NEUROSIM_EP_DATA", raising=False)
    assert missing(load_scenario("smoke")) == []
    images, teacher = missing(load_scenario("cifar10/vgg7_kd"))
    assert images.startswith("images: data.root is empty and NEUROSIM_EP_DATA is not set")
    assert teacher == "teacher: teachers/vgg7_kd/targets.h5 does not exist; `neurosim-ep teach` makes it"
    (away,) = missing(load_scenario("paper/vgg11_le", ["data.root=nowhere"]))
    assert away.startswith("images: nowhere does not exist")


def test_a_difference_of_chips_has_units_and_meanings() -> None:
    rows = {row["key"]: row for row in diff_rows("rram_32nm", "pcm_90nm")}
    assert rows["array.levels"]["rram_32nm"] == "128" and "pulses" in rows["array.levels"]["what it is"]
    assert rows["cell.on_conductance"]["rram_32nm"] == "10 µS"
    assert rows["adc.table.9.energy"]["rram_32nm"] == "1.97 pJ (0.191 to 4.7)"
    assert rows["adc.table.9.area"]["rram_32nm"] == "1828 µm^2 (1828 to 8070)"
    assert all(row["what it is"] for row in rows.values())


def test_long_values_go_on_below_where_they_began_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = [("verdict", "healthy " * 18), ("run directory", "x" * 70)]
    print_pairs(pairs)
    assert len(capsys.readouterr().out.splitlines()) == 2
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "64")
    print_pairs(pairs)
    lines = capsys.readouterr().out.splitlines()
    assert [line[:15].rstrip() for line in lines] == ["verdict", "", "", "run directory"]
    assert max(map(len, lines[:3])) <= 64 and lines[3] == f"run directory  {'x' * 70}"
    assert " ".join(line[15:] for line in lines[:3]).split() == ["healthy"] * 18
