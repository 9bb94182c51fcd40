"""The schema of hardware models in words, files written from it, and what `hw check` says of them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT
from tiny_run import tiny_run

from neurosim_ep.cli import main
from neurosim_ep.errors import HardwareModelError
from neurosim_ep.hardware.bill.modelcheck import check_rows, doubts
from neurosim_ep.hardware.model.describe import new_model, section_words, sections
from neurosim_ep.hardware.model.file import numbers, read_model
from neurosim_ep.record.recost import recost


def test_every_key_is_described() -> None:
    for section, part in sections().items():
        about, keys = section_words(section)
        assert about and len({one.key for one in keys}) == len(keys)
        assert {one.key for one in keys if "." not in one.key} == set(part.model_fields) - {"base"}
        for one in keys:
            assert one.meaning and one.rule and (one.default.startswith(("(", "= "))), (section, one.key)
    shown = {f"{section}.{one.key}".replace("BITS", "8") for section in sections() for one in section_words(section)[1]}
    known = {key for key, _ in numbers(read_model("isaac").model) if not re.match(r"adc\.table\.(?!8\.)", key)}
    assert known <= shown


def test_a_new_file_is_what_it_repeats(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(new_model("mine"), "utf-8")
    mine, like = read_model(str(path)).model, read_model("rram_32nm").model
    assert mine.model_copy(update={"model": like.model}) == like and mine.model.name == "mine"


@pytest.mark.parametrize("name", ["", " ", "a\nb", "a\rb", "a\0b", "a\x1bb", "a\ud800"])
def test_a_new_file_has_a_name_that_can_be_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is written can be read again, or is not written."""
    monkeypatch.chdir(tmp_path)
    assert main(["hw", "new", name]) == 2
    assert f"{name!r}: must be a line of text" in capsys.readouterr().err and not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ['a"b', "a\\b", "\u00e9", "a'''b", "a]b"])
def test_whatever_is_printed_can_be_a_name(name: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(new_model(name), "utf-8")
    assert read_model(str(tmp_path / "mine.toml")).model.model.name == name


def test_comments_of_a_new_file_are_lines_that_work(tmp_path: Path) -> None:
    """Uncommented, every line that has a value says what held without it."""
    lines, there = [], True
    for line in new_model("mine").splitlines():
        if re.fullmatch(r"(# )?\[\w+\]", line):
            there = line.startswith("[")
        value = re.fullmatch(r"# (\S+ = .*)", line)
        lines.append(value[1] if value and there and "..." not in line else line)
    assert sum(" = {" in line and not line.startswith("#") for line in lines) > 80
    (tmp_path / "mine.toml").write_text("\n".join(lines), "utf-8")
    mine, like = read_model(str(tmp_path / "mine.toml")).model, read_model("rram_32nm").model
    assert mine.model_copy(update={"model": like.model}) == like


def put(text: str, dotted: str, value: str) -> str:
    """The line of a key, in force or in a comment, with another value; the comment above it has said what it is."""
    section, key = dotted.split(".", 1)
    head, mine = text.split(f"[{section}]\n")
    changed, number = re.subn(rf"^(# )?{re.escape(key)} = .*$", f"{key} = {value}", mine, count=1, flags=re.M)
    assert number == 1, key
    return f"{head}[{section}]\n{changed}"


def number(value: float, unit: str, kind: str = "assumed") -> str:
    return f'{{ value = {value}, unit = "{unit}", source = "data sheet", kind = "{kind}", node_nm = 28 }}'


def designers_file(path: Path) -> Path:
    """256 x 64 arrays of 4-bit cells, a 6-bit flash converter per 8 columns, 28 nm: `hw new`, lines changed."""
    assert main(["hw", "new", "flash28", "--out", str(path)]) == 0
    text = path.read_text("utf-8")
    text = text.replace("node_nm = 32\n", "node_nm = 28\n", 1)
    for key, value in {
        "array.rows": number(256, "1"),
        "array.columns": number(64, "1"),
        "array.cells_per_weight": number(2, "1"),
        "array.levels": number(16, "1"),
        "adc.bits": number(6, "1"),
        "adc.columns_each": number(8, "1"),
        "adc.conversion_time": number(1e-9, "s", "measured"),
        "adc.kind": '"walden"',
        "adc.walden.energy_per_step": number(4e-14, "J", "measured"),
        "adc.walden.area": number(3e-9, "m^2", "measured"),
    }.items():
        text = put(text, key, value)
    path.write_text(text, "utf-8")
    return path


def test_a_designers_chip_runs_and_is_costed_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = designers_file(tmp_path / "flash28.toml")
    model = read_model(str(path)).model
    assert (model.model.node_nm, model.array.rows.value, model.array.columns.value) == (28, 256, 64)
    assert model.array.levels.value == 16 and model.converters_per_tile() == 8
    assert model.adc_cost().energy_J == pytest.approx(4e-14 * 2**6) and model.adc_cost().area_m2 == 3e-9
    assert main(["hw", "check", str(path)]) == 0
    said = capsys.readouterr().out
    assert "256 x 64 x 1 cells, 8 converters of 6 bits" in said and "TOPS/W" in said and "adc.bits = 6" in said
    sizes = ("data.train_samples=24", "data.test_samples=10", "relaxation.free_steps=4")
    run_dir = tiny_run(tmp_path / "run", f"hardware.model={path}", *sizes)
    own, _ = recost(run_dir, str(path))
    assert own.comparisons[0].energy_J > 0
    dearer = path.with_name("dearer.toml")
    dearer.write_text(put(path.read_text("utf-8"), "adc.walden.energy_per_step", number(8e-14, "J")), "utf-8")
    twice, _ = recost(run_dir, str(dearer))
    conversions = [one.bill[one.bill["component"] == "adc"]["energy_J"].sum() for one in (own, twice)]
    assert conversions[1] == pytest.approx(2 * conversions[0])
    assert main(["explain", str(run_dir), "--component", "adc", "--layer", "1"]) == 0
    assert "adc.walden.energy_per_step = 40.00 fJ; hardware: measured, data sheet" in capsys.readouterr().out


def test_check_says_what_silicon_has_not_shown() -> None:
    said = "\n".join(doubts(read_model("ideal")))
    assert "W/mm^2: chips are cooled up to about 1" in said and "measured chips reach 400" in said
    assert not doubts(read_model("sram_digital_65nm"))
    for model in ("rram_130nm", "isaac"):  # counts of pulses, bits one by one
        assert not [doubt for doubt in doubts(read_model(model)) if "input_pulses" in doubt]


def test_check_counts_the_bits_that_drivers_carry() -> None:
    """128 rows of weights of 128 levels: with pulses of one bit, one of them carries one bit of eight, and results have
    14 bits (128 x 127 x 1 + 1 of them); two of four bits carry eight, and results have 22 (128 x 127 x 255 + 1).
    """
    file = read_model("rram_32nm")
    one, wide = (
        "\n".join(doubts(file.changed({"array.input_pulses": pulses, "dac.bits": bits}, "a test")))
        for pulses, bits in ((1, 1), (2, 4))
    )
    assert "carry 1 of the 8 bits of a state" in one and "a read of 128 rows has 14 bits" in one
    assert "of a state" not in wide and "a read of 128 rows has 22 bits" in wide
    assert dict(check_rows(read_model("isaac")))["array"] == "128 x 16 x 8 cells, 1 converters of 8 bits"


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hw", "schema", "leakage"]) == 0
    said = capsys.readouterr().out
    assert "[leakage]" in said and "density = 0 (static power is given per tile) [W/m^2]" in said
    assert (
        "enters: leakage" in said
        and "follows the node by scaling.leakage_density" in said
        and "May be left out" in said
    )
    assert main(["hw", "schema", "leak"]) == 2
    assert "did you mean leakage" in capsys.readouterr().err
    out = tmp_path / "mine.toml"
    assert main(["hw", "new", "mine", "--out", str(out)]) == 0
    assert main(["hw", "new", "mine", "--out", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err
    out.write_text(put(out.read_text("utf-8"), "array.rows", '{ value = 0, unit = "1" }'), "utf-8")
    assert main(["hw", "check", str(out)]) == 2
    with pytest.raises(HardwareModelError, match=r"array\.rows"):
        read_model(str(out))


def test_schema_loads_no_torch() -> None:
    code = "import sys; from neurosim_ep.cli import main; main(['hw', 'schema']); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
