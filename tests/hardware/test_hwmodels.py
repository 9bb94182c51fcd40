"""Hardware model files: provenance, layers, intervals, technology nodes, converters."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
from hardware_models import load_hardware_model
from hypothesis import given
from hypothesis import strategies as st

from neurosim_ep.errors import HardwareModelError
from neurosim_ep.hardware.chip.components import Part
from neurosim_ep.hardware.model.adc import AdcFit, AdcPoint, signal_to_noise_dB
from neurosim_ep.hardware.model.curves import Curve
from neurosim_ep.hardware.model.file import merged, numbers, parse_hardware_model, read_model
from neurosim_ep.hardware.model.quantities import Key
from neurosim_ep.hardware.model.sections import RULES, HardwareModel
from neurosim_ep.registry import CONVERTERS
from neurosim_ep.resources import shipped_files

MODELS = sorted(
    name for name, path in shipped_files("hwmodels").items() if "abstract = true" not in path.read_text("utf-8")
)


@pytest.fixture(scope="module")
def rram() -> HardwareModel:
    return load_hardware_model("rram_32nm")


@pytest.fixture
def document() -> dict[str, Any]:
    return copy.deepcopy(merged(shipped_files("hwmodels")["rram_32nm"])[0])


@pytest.mark.parametrize("name", MODELS)
def test_shipped_models_state_where_every_number_comes_from(name: str) -> None:
    file = read_model(name)
    assert file.model.model.name == Path(name).name
    found = dict(numbers(file.model))
    assert len(found) > 60
    for key, number in found.items():
        assert len(number.source) > 5, key
        assert key in file.origins or number.source.startswith("default: "), key
        if RULES.get(".".join(part for part in key.split(".") if not part.isdigit())) and hasattr(number, "node_nm"):
            assert number.node_nm == file.model.model.node_nm, key


@pytest.mark.parametrize("name", MODELS)
def test_a_model_written_out_whole_is_the_same_model(name: str, tmp_path: Path) -> None:
    file = read_model(name)
    copied = tmp_path / "whole.toml"
    copied.write_text(file.to_toml(), encoding="utf-8")
    assert read_model(str(copied)).model == file.model
    assert "base" not in file.document


def test_an_abstract_model_is_not_a_chip() -> None:
    with pytest.raises(HardwareModelError, match=r"common.toml: is there for other models to build on"):
        load_hardware_model("common")


def test_layers_replace_numbers_as_a_whole(tmp_path: Path, rram: HardwareModel) -> None:
    other = 'value = 5e-13, unit = "J", source = "measured here", kind = "measured", node_nm = 32'
    (tmp_path / "mine.toml").write_text(
        'base = "rram_32nm"\n[model]\nname = "mine"\ndescription = "faster converters"\nnode_nm = 32\n'
        f'[adc.table.8]\nenergy = {{ {other} }}\n', encoding="utf-8",
    )  # fmt: skip
    (tmp_path / "theirs.toml").write_text(
        'base = "mine"\n[model]\nname = "theirs"\ndescription = "the same"\nnode_nm = 32\n', encoding="utf-8"
    )
    file = read_model(str(tmp_path / "theirs.toml"))
    assert file.model.adc_cost() == (5e-13, rram.adc_cost().area_m2)
    assert file.model.at("high").adc_cost().energy_J == 5e-13  # the interval went with the number
    assert file.origins["adc.table.8.energy"] == "mine" and file.origins["adc.table.8.area"] == "common"
    assert file.origins["cell.read_time"] == "rram_32nm"
    assert file.model.cell == rram.cell


def test_models_that_build_on_themselves_or_nothing_are_refused(tmp_path: Path) -> None:
    head = '[model]\nname = "x"\ndescription = "x"\nnode_nm = 32\n'
    for name, base in (("a", '"b"'), ("b", '"a"'), ("c", "3"), ("d", '"rram_32"')):
        (tmp_path / f"{name}.toml").write_text(f"base = {base}\n{head}", encoding="utf-8")
    for name, said in (("a", "in a circle"), ("c", "must be the name of a model"), ("d", "did you mean rram_32nm")):
        with pytest.raises(HardwareModelError, match=said):
            load_hardware_model(str(tmp_path / f"{name}.toml"))


def test_every_problem_of_a_model_file_is_named_at_once(document: dict[str, Any]) -> None:
    document["cell"]["read_time"]["value"] = -1.0
    document["adc"]["table"]["8"]["energy"]["unit"] = "pJ"
    document["dac"]["pulse_enrgy"] = document["dac"].pop("pulse_energy")
    document["noc"]["link_energy"]["kind"] = "guess"
    document["array"]["rows"]["value"] = 128.5
    document["registers"]["access_energy"]["origin"] = "?"
    document["cell"]["input_duty"]["high"] = 0.1
    document["adc"]["table"]["8"]["size"] = 1
    document["buffer"]["area"]["x"] = [4, 2]
    del document["leakage"]["density"]["source"]
    del document["digital"]
    with pytest.raises(HardwareModelError) as caught:
        parse_hardware_model(document, "mine.toml")
    message = str(caught.value)
    assert message.startswith("mine.toml: 12 problems")
    for part in (
        "cell.read_time.value = -1.0: ",
        'adc.table.8.energy.unit = "pJ": must be "J"',
        "adc.table.8.size: unknown key; known: energy, area",
        "dac.pulse_enrgy: unknown key; did you mean pulse_energy?",
        "dac.pulse_energy: key is missing",
        'noc.link_energy.kind = "guess": ',
        "array.rows.value = 128.5: ",
        "registers.access_energy.origin: unknown key; known: value, unit, source, kind, node_nm",
        "cell.input_duty: value (0.5) must lie between low (0.25) and high (0.1)",
        "buffer.area: x has 2 points",
        "leakage.density.source: key is missing",
        "digital: section is missing",
    ):
        assert part in message


def test_rules_between_numbers(document: dict[str, Any]) -> None:
    for change, said in (
        (lambda d: d["cell"]["off_conductance"].update(value=1.0), r"cell: off_conductance \(1 S\) must not exceed"),
        (lambda d: d["cell"]["on_conductance"].update(low=0.0, high=1.0), "greater than 0 S, at the low end of its"),
        (
            lambda d: d["cell"]["off_conductance"].update(low=0.0, high=1.0),
            "nor the high end of its interval the low end there",
        ),
        (lambda d: d["array"]["levels"].update(value=1), r"array: levels \(1\) must be at least 2"),
        (
            lambda d: d["array"].update(rows_per_read=d["array"]["rows"] | {"value": 1000}),
            r"rows_per_read \(1000\) must not exceed the longer side of an array \(128\)",
        ),
        (
            lambda d: d["adc"].update(kind="bits"),
            'adc.kind = "bits": must be one of table, walden, schreier, fit, serial',
        ),
        (lambda d: d["adc"]["bits"].update(value=3), 'adc: kind = "table" has no converter of 3 bits .it has 4, 5, 6'),
        (lambda d: (d["adc"].update(kind="fit"), d["adc"].pop("fit")), 'adc: kind = "fit" needs the table adc.fit'),
        (lambda d: d["model"].update(node_nm=5), "scaling.logic_energy knows 7 to 130 nm, not 5 nm"),
    ):
        broken = copy.deepcopy(document)
        change(broken)
        with pytest.raises(HardwareModelError, match=said):
            parse_hardware_model(broken, "mine.toml")


def test_unreadable_model_files_are_one_clear_message(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xff")
    with pytest.raises(HardwareModelError, match="not UTF-8"):
        load_hardware_model(str(path))
    path.write_text("[array\n", encoding="utf-8")
    with pytest.raises(HardwareModelError, match="not valid TOML"):
        load_hardware_model(str(path))
    with pytest.raises(HardwareModelError, match="did you mean rram_32nm"):
        load_hardware_model("rram_32")
    with pytest.raises(HardwareModelError, match="directory"):
        load_hardware_model(str(tmp_path))


def test_cell_energies_follow_from_the_primaries(rram: HardwareModel) -> None:
    # 1.6 V, 50 ns, 100 kohm: the 1.28 pJ upper bound of the TaOx/HfOx device
    assert rram.cell_write_energy().value == pytest.approx(1.28e-12)
    assert rram.cell_read_energy().value == pytest.approx(0.5 * 0.25 * 5.5e-6 * 10e-9)
    assert rram.weight_bits() == 7
    ideal = load_hardware_model("ideal")
    assert ideal.cell_read_energy().value == ideal.cell_write_energy().value == pytest.approx(1e-15)


def test_logic_follows_the_node_and_cells_do_not(document: dict[str, Any]) -> None:
    at_32 = parse_hardware_model(document, "x")
    document["model"]["node_nm"] = 14
    at_14 = parse_hardware_model(document, "x")
    assert at_14.cell == at_32.cell
    assert at_14.digital.add_energy.value == pytest.approx(at_32.digital.add_energy.value * 0.14 / 0.66)
    assert at_14.digital.add_area.value == pytest.approx(at_32.digital.add_area.value * 0.027 / 0.072)
    assert at_14.noc.link_energy.value == pytest.approx(at_32.noc.link_energy.value * (0.8 / 0.9) ** 2)
    assert at_14.adc_cost().energy_J == pytest.approx(at_32.adc_cost().energy_J * (14 / 32) ** 1.88)
    assert at_14.dram == at_32.dram
    # Horowitz's 0.3 pJ at 45 nm, carried to 32 nm
    assert at_32.digital.multiply_add_energy.value == pytest.approx(0.66 * 3e-13)
    assert at_32.digital.multiply_add_energy.node_nm == 32


def test_every_key_says_what_it_means_and_where_it_enters() -> None:
    """Each key of each section carries its meaning, and lines of the bill that there are."""
    beside = {"time", "area", "memory", "wear"}
    sections = {name: HardwareModel.part(name) for name in HardwareModel.model_fields}
    kinds = {f"adc.{name}": CONVERTERS[name] for name in CONVERTERS.own if name != "table"}
    for section, part in {**sections, **kinds, "adc.table.8": AdcPoint}.items():
        for name, field in part.model_fields.items():
            said = [one for one in field.metadata if isinstance(one, Key)]
            assert len(said) == 1 and len(said[0].meaning) > 5, f"{section}.{name}"
            assert set(said[0].lines) <= {*Part, *beside}, f"{section}.{name}"
            without_lines = section in ("model", "scaling") or name in ("segment_resistance", "lowest", "highest")
            assert bool(said[0].lines) != without_lines or section in ("core", "cluster"), f"{section}.{name}"


def volts(value: float) -> dict[str, Any]:
    return {"value": value, "unit": "V", "source": "an example", "kind": "assumed", "node_nm": 32}


def test_the_supply_voltage_has_a_law_for_every_component(document: dict[str, Any]) -> None:
    """Energies go with V^2, static power with V and a decade and a tenth per volt, delays with V / (V - 0.3 V)^1.3."""
    plain = parse_hardware_model(document, "x")
    ends = {"nominal": volts(0.9), "lowest": volts(0.6), "highest": volts(1.0), "threshold": volts(0.3)}
    document["voltage"] = {"supply": volts(0.6), **ends}
    low = parse_hardware_model(document, "x")
    for cost in (
        lambda m: m.adc_cost().energy_J, lambda m: m.digital.add_energy.value, lambda m: m.noc.link_energy.value,
        lambda m: m.buffer_energy(1e5).value, lambda m: m.driver_energy().value,
    ):  # fmt: skip
        assert cost(low) == pytest.approx(cost(plain) * (0.6 / 0.9) ** 2)
    leaks = low.leakage.density.value / plain.leakage.density.value
    assert leaks == pytest.approx(0.6 / 0.9 * 10 ** (-1.1 * 0.3))
    slower = (0.6 / 0.3**1.3) / (0.9 / 0.6**1.3)
    for time_s in (lambda m: m.adc.time_s, lambda m: m.noc.hop_time.value, lambda m: m.digital.neuron_time.value):
        assert time_s(low) == pytest.approx(slower * time_s(plain)) and slower > 1
    assert low.cell == plain.cell and low.dram == plain.dram and low.adc_cost().area_m2 == plain.adc_cost().area_m2
    document["cell"]["scaling"] = "logic"  # SRAM
    for time_s in (lambda m: m.cell.read_time.value, lambda m: m.cell.write_time.value):
        assert time_s(parse_hardware_model(document, "x")) == pytest.approx(slower * time_s(plain))
    for supply, said in ((0.5, r"voltage: supply \(0.5 V\) lies outside of lowest"), (1.1, "lies outside of")):
        document["voltage"]["supply"] = volts(supply)
        with pytest.raises(HardwareModelError, match=said):
            parse_hardware_model(document, "x")


def test_exponents_beyond_any_number_are_refused(document: dict[str, Any]) -> None:
    document["scaling"]["adc_energy_exponent"]["value"] = 1e6
    document["adc"]["table"]["8"]["energy"]["node_nm"] = 16
    with pytest.raises(HardwareModelError, match=r"adc\.table\.8\.energy: .*too large"):
        parse_hardware_model(document, "x")
    document["scaling"]["adc_energy_exponent"]["value"] = 1.88
    ends = {"supply": volts(0.6), "nominal": volts(0.9), "lowest": volts(0.6), "highest": volts(1.0)}
    exponent = {**volts(1e6), "unit": "1"}
    document["voltage"] = {**ends, "threshold": volts(0.3), "delay_exponent": exponent}
    with pytest.raises(HardwareModelError, match="too large, look at the exponents of scaling and voltage"):
        parse_hardware_model(document, "x")


def test_memory_outside_the_chip_gives_something(document: dict[str, Any]) -> None:
    document["dram"]["bandwidth"]["low"] = 0.0
    with pytest.raises(HardwareModelError, match="bandwidth must be above 0 bit/s, at its low end too"):
        parse_hardware_model(document, "x")


def test_an_array_holds_a_weight(document: dict[str, Any]) -> None:
    document["array"]["columns"]["value"] = 1
    with pytest.raises(HardwareModelError, match=r"cells_per_weight \(2\) must not exceed columns \(1\)"):
        parse_hardware_model(document, "x")


def test_cells_of_sram_follow_the_node() -> None:
    """Energies of 28 nm cells as logic, their area as cells of SRAM: 600 F^2 at 7 nm."""
    document = copy.deepcopy(merged(shipped_files("hwmodels")["sram_22nm"])[0])
    document["model"]["node_nm"] = 7
    at_7 = parse_hardware_model(document, "x")
    logic = at_7.scaling.logic_energy
    assert at_7.cell.read_energy is not None
    assert at_7.cell.read_energy.value == pytest.approx(1.12e-15 * 0.094 / logic.at(28))
    assert at_7.cell.area.value == pytest.approx(600 * 7e-9**2)
    document["cell"]["scaling"] = "device"
    assert parse_hardware_model(document, "x").cell.area.value == pytest.approx(160 * 22e-9**2)


@given(st.floats(1, 1e9))
def test_curves_pass_through_their_points_and_never_leave_their_range(x: float) -> None:
    curve = Curve(x=(10.0, 1e3, 1e6), y=(1.0, 5.0, 2.0), x_unit="bit", unit="J/bit", source="made up", kind="assumed")
    assert 1 <= curve.at(x) <= 5 + 1e-12
    for point, value in zip(curve.x, curve.y, strict=True):
        assert curve.at(point) == pytest.approx(value)
    assert curve.at(100.0) == pytest.approx(math.sqrt(5))


def test_converter_costs_are_the_published_ones(rram: HardwareModel) -> None:
    """Regression of the Accelergy plug-in, 32 nm and 1 GS/s: pJ and um2 of 4, 6, 7 and 8 bits as published with it."""
    fit = rram.adc.fit
    assert isinstance(fit, AdcFit)
    for bits, energy_pJ in ((4, 0.92), (6, 1.06), (7, 1.31), (8, 1.71)):
        assert fit.cost(bits, 1e9, 32).energy_J * 1e12 == pytest.approx(energy_pJ, rel=0.01)
    assert fit.cost(8, 1e9, 65).energy_J * 1e12 == pytest.approx(6.5, rel=0.01)
    assert fit.cost(8, 1e9, 32).area_m2 * 1e12 == pytest.approx(5969, rel=0.02)
    walden, schreier = (rram.adc.model_copy(update={"kind": kind}).cost(32) for kind in ("walden", "schreier"))
    assert walden.energy_J == pytest.approx(6.1e-15 * 256)
    assert schreier.energy_J == pytest.approx(0.5 * 10 ** ((signal_to_noise_dB(8) - 165) / 10))
    assert rram.adc_cost() == pytest.approx((2e-3 / 1.28e9, 1.2e-9))


@pytest.mark.parametrize("name", MODELS)
def test_intervals_hold_the_value(name: str) -> None:
    model = load_hardware_model(name)
    low, high = model.at("low"), model.at("high")
    assert low.model == model.model
    for cost in (
        lambda m: m.cell_read_energy().value, lambda m: m.cell_write_energy().value, lambda m: m.adc_cost().energy_J,
        lambda m: m.adc_cost().area_m2, lambda m: m.buffer_energy(1e6).value, lambda m: m.noc.link_energy.value,
    ):  # fmt: skip
        assert cost(low) <= cost(model) <= cost(high)
    assert model.at("value") is model
