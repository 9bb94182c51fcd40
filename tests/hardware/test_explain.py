"""A bill taken apart adds up to the bill; what it says of each number is what the model says; which numbers decide."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from chips import GEOMETRIES, READOUT, SIGNALS, random_counts
from hardware_example import RECORDING

from neurosim_ep.analysis.load import NothingToDraw
from neurosim_ep.analysis.tornado import draw_frame
from neurosim_ep.cli import main
from neurosim_ep.hardware.bill.action import Action, Work
from neurosim_ep.hardware.bill.anew import Anew, uncertain
from neurosim_ep.hardware.bill.backprop import backprop_bill, for_backprop
from neurosim_ep.hardware.bill.comparison import compare
from neurosim_ep.hardware.bill.cost import bill, total_J
from neurosim_ep.hardware.bill.explain import Explanation, explain
from neurosim_ep.hardware.bill.explain_words import Told
from neurosim_ep.hardware.bill.latency import latencies_s
from neurosim_ep.hardware.bill.sensitivity import sensitivities
from neurosim_ep.hardware.bill.verdict import most_frugal, verdict
from neurosim_ep.hardware.chip.components import Part
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.file import read_model
from neurosim_ep.hardware.model.terms import Origin, Term, counted, lift, total
from neurosim_ep.registry import ACTIONS
from neurosim_ep.tiles.mapping import plan_tiles

CHIPS = ("rram_32nm", "rram_130nm", "pcm_90nm", "sram_22nm", "isaac", "sram_digital_65nm", "ecram")


def recording(name: str) -> Recording:
    """A small net with every kind of connection on a shipped chip."""
    model = read_model(name).model
    plan = plan_tiles(GEOMETRIES, model.array_geometry())
    return Recording.of(random_counts(plan), plan, model, SIGNALS, READOUT)


def told(found: Explanation, name: str = "rram_32nm") -> Told:
    return Told(found, read_model(name), "recorded")


@pytest.mark.parametrize("name", CHIPS)
def test_parts_add_up_to_the_bill(name: str) -> None:
    one = recording(name)
    table = bill(one)
    for style in Style:
        found, lines = explain(one, style), table[table["style"] == style]
        samples = one.counts.samples
        columns = ("energy_J", "energy_low_J", "energy_high_J")
        assert found.energies_J == pytest.approx([lines[column].sum() / samples for column in columns], rel=1e-12)
        assert found.total_J == pytest.approx(lines["energy_J"].sum() / samples, rel=1e-12)
        assert found.total_J == pytest.approx(total_J(one, style, ACTIONS.values()) / samples, rel=1e-12)
        leaks = explain(one, style, component="leakage").energies_J[0]
        assert leaks == pytest.approx(lines[lines["component"] == "leakage"]["energy_J"].sum() / samples, rel=1e-12)
        for part in found.parts:
            assert part.count * part.units[0] == pytest.approx(part.energies_J[0], rel=1e-12)
    theirs = for_backprop(one)
    billed = backprop_bill(theirs)["energy_J"].sum() / one.counts.samples
    assert explain(theirs, Style.CLOCKED).energies_J[0] == pytest.approx(billed, rel=1e-12)


@pytest.mark.parametrize("name", ["rram_32nm", "isaac"])
def test_layers_and_phases_share_the_bill(name: str) -> None:
    one = recording(name)
    whole = explain(one, Style.EVENT)
    layers = [explain(one, Style.EVENT, layer=layer).parts for layer in range(len(one.chip.plan.layers) + 1)]
    phases = [explain(one, Style.EVENT, phase=phase).parts for phase in (*one.counts.presentations, "update")]
    for pieces in (layers, phases):
        energies = [part.energies_J[0] for parts in pieces for part in parts]
        assert sum(energies) == pytest.approx(whole.total_J, rel=1e-12)
    assert explain(one, Style.EVENT, layer=1).total_J == whole.total_J, "the share is of the whole bill"


@pytest.mark.parametrize("name", ["rram_32nm", "isaac"])
def test_stages_make_the_time(name: str) -> None:
    one = recording(name)
    for style in Style:
        document = told(explain(one, style), name).document()
        seconds = sum(latencies_s(one, style).values()) / one.counts.samples
        assert document["time_s"] == pytest.approx(seconds, rel=1e-12)
        assert document["stages_joined_by"] == ("max" if name == "isaac" else "sum")
        stages = [stage["time_s"] for stage in document["stages"]]
        assert sum(stages) == pytest.approx(seconds) if name == "rram_32nm" else sum(stages) >= seconds
        assert (
            told(explain(one, style), name)
            .time_rows()[-1]["is"]
            .startswith("the longest" if name == "isaac" else "all of them")
        )


def test_every_formula_computes_its_number() -> None:
    """The formula of each term, with its numbers put in, gives the value that is billed."""
    for name in CHIPS:
        one = recording(name)
        for style in Style:
            for part in explain(one, style).parts:
                for side in (part.action.count, part.action.unit):
                    assert np.allclose(_computed(lift(side)), lift(side).value, rtol=1e-12), (name, part.action)


def _computed(term: Term) -> np.ndarray:
    parts = [_computed(part) for part in term.parts]
    match term.sign:
        case "":
            return np.asarray(term.value, dtype=float)
        case "+":
            return sum(parts[1:], parts[0])
        case "x":
            return np.prod(np.stack(np.broadcast_arrays(*parts)), axis=0)
        case "-":
            return parts[0] - parts[1]
        case "/":
            return parts[0] / parts[1]
    return parts[0] ** parts[1]


def test_formulas_have_the_brackets_they_need() -> None:
    a, b, c = (counted(name, np.array([value])) for name, value in (("a", 5), ("b", 3), ("c", 2)))
    assert ((a + b) * c).words == "(a + b) x c"
    assert (a + b * c + c).words == "a + b x c + c"
    assert (a - (b - c)).words == "a - (b - c)" and (a - b - c).words == "a - b - c"
    assert ((a * b) ** 2).words == "(a x b) ^ 2" and (2 * a).words == "2 x a"
    assert (a / (b * c)).words == "a / (b x c)"
    assert total([a * 0, b, c]).words == "b + c" and total([a * 0]).value == 0
    assert ((a + b).named("both") * c).words == "both x c"
    assert [atom.name for atom in ((a + b).named("both") * c).atoms()] == ["both", "a", "b", "c"]


def test_the_example_of_the_docs_is_explained() -> None:
    (part,) = explain(RECORDING, Style.CLOCKED, component="cell_read", layer=1, phase="free").parts
    assert part.count == 23_520 and part.units[0] == pytest.approx(6.875e-15)
    numbers = {one.term.words: one for side in (part.action.count, part.action.unit) for one in part.ingredients(side)}
    assert numbers["active rows"].low == 3 * 25 and numbers["columns of a tile"].low == 20
    assert numbers["mean conductance"].low == pytest.approx(5.5e-6)
    assert numbers["mean conductance"].term.formula == "(cell.on_conductance + cell.off_conductance) x 0.5"
    assert {one.term.origin for one in numbers.values()} == {Origin.COUNTED, Origin.CHIP, Origin.MODEL, Origin.FORMULA}
    (block,) = told(explain(RECORDING, Style.CLOCKED, component="cell_read", layer=1, phase="free")).blocks()
    assert "each: 6.875 fJ" in block and "cell.input_duty x cell.read_voltage ^ 2 x mean conductance" in block
    line = next(line for line in block.splitlines() if line.strip().startswith("cell.read_time"))
    assert "10.00 ns" in line and "(2.000 ns to 10.00 ns)" in line and "rram_32nm: model" in line and "CiMLoop" in line
    neuron = next(told(explain(RECORDING, Style.CLOCKED, component="neuron", layer=1)).blocks())
    assert "digital.neuron_energy = 547.4 fJ" in neuron and "at 40 nm; common: " in neuron


def test_numbers_without_a_formula_are_explained_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """An action of another package gives plain arrays."""

    def plain(recording: Recording, phase: str, style: Style) -> list[Action]:
        return [Action(phase, Part.POOL, np.full(len(recording.chip.plan.tiles), 3), 2e-12, per_tile=True)]

    works = [Work("plain", "plain numbers", plain)]
    monkeypatch.setattr(type(ACTIONS), "values", lambda self: works)
    found = explain(RECORDING, Style.CLOCKED)
    assert found.total_J == pytest.approx(3 * 2 * 3 * 2e-12)
    assert "count: 6 = amount" in next(told(found).blocks())


def test_swings_are_bills_with_another_number() -> None:
    one = recording("rram_32nm")
    found = sensitivities(one)[Style.CLOCKED]
    keys = [swing.key for swing in found.swings]
    assert "leakage.density" in keys and "adc.table.8.energy" in keys and "adc.table.4.energy" not in keys
    assert set(keys) <= {key for key, _ in uncertain(one.chip.model)}
    swing = next(swing for swing in found.swings if swing.key == "adc.table.8.energy")
    number = one.chip.model.term("adc.table.8.energy")
    assert swing.value == number.value and swing.low < swing.value < swing.high
    dear = one.chip.model.replacing(swing.key, one.chip.model.adc.table.__pydantic_extra__["8"].energy.fixed("high"))
    again = Recording.of(one.counts, one.chip.plan, dear, SIGNALS, READOUT)
    (clocked, *_) = compare(again, bill(again))
    assert swing.energy_at_high_J == pytest.approx(clocked.energy_J, rel=1e-9)
    assert swing.ratio_at_high == pytest.approx(clocked.ratio, rel=1e-9)
    assert [s.ratio_swing for s in found.swings] == sorted((s.ratio_swing for s in found.swings), reverse=True)
    ends = [end for s in found.swings for end in (s.ratio_at_low, s.ratio_at_high)]
    assert found.ratio_low <= min(ends) and max(ends) <= found.ratio_high


@pytest.mark.parametrize("name", ["rram_32nm", "isaac", "sram_digital_65nm"])
def test_a_bill_anew_is_the_bill_with_another_number(name: str) -> None:
    """Whatever the number, at either end, and all of them together."""
    one = recording(name)
    everything = one.chip.model
    for style in (Style.EVENT, Style.SETTLING):
        fast = Anew(one, style)
        assert fast.total_J == pytest.approx(total_J(one, style, ACTIONS.values()), rel=1e-12)
        for place, (key, number) in enumerate(uncertain(one.chip.model)):
            end = number.model_copy(update={"value": number.at("high" if place % 2 else "low")})
            other, everything = one.chip.model.replacing(key, end), everything.replacing(key, end)
            whole = total_J(one.priced(one.chip.priced(other)), style, ACTIONS.values())
            assert fast.with_numbers(one.chip.priced(other), {key}) == pytest.approx(whole, rel=1e-12), key
        fresh = Recording.of(one.counts, one.chip.plan, everything, SIGNALS, READOUT)
        found = fast.with_numbers(one.chip.priced(everything), {key for key, _ in uncertain(one.chip.model)})
        assert found == pytest.approx(total_J(fresh, style, ACTIONS.values()), rel=1e-12)


def test_the_verdict_names_winner_uncertainty_and_three_numbers() -> None:
    one = recording("rram_32nm")
    moved = sensitivities(one)
    comparisons = compare(one, bill(one), moved)
    best = most_frugal(comparisons, one.chip.model)
    assert best.energy_J == min(each.energy_J for each in comparisons)
    found = moved[Style(best.style)]
    who, (ratio, energy) = verdict(comparisons, best), found.sentences
    assert f"in its most frugal style, {best.style}, on" in who
    between = f"in the intervals of all numbers {best.ratio_low:.3g} to {best.ratio_high:.3g}"
    assert f"EP / backpropagation {best.ratio:.3g}, {between}" in who
    for swing in found.swings[:3]:
        assert f"{swing.key} ({swing.ratio_at_low:.3g} to {swing.ratio_at_high:.3g})" in ratio
    assert energy.count("J to ") == 3
    assert f"on {1e6 * best.area_m2:.3g} mm^2" in who and f"on {1e6 * best.backprop_area_m2:.3g} mm^2" in who
    settling = next(each for each in comparisons if each.style == "settling")
    assert f"settling {settling.energy_J / best.energy_J:.3g} times as much on {1e6 * settling.area_m2:.3g} mm^2" in who
    assert best.ratio_low <= found.ratio_low and found.ratio_high <= best.ratio_high
    sure = best._replace(energy_J=3.0, backprop_J=1.0, ratio_low=2.0, ratio_high=4.0)
    assert "backpropagation wins by a factor of 3, and throughout" in verdict([sure], sure)
    cheap = best._replace(energy_J=0.5, backprop_J=1.0, ratio_low=0.2, ratio_high=0.9)
    assert "EP wins by a factor of 2" in verdict([cheap], cheap)
    open_end = sure._replace(ratio_low=0.5)
    assert "undecided, backpropagation ahead by a factor of 3" in verdict([open_end], open_end)
    free = sure._replace(energy_J=0.0, backprop_J=0.0)
    assert "cannot be compared" in verdict([free], free)


def test_bits_in_sram_do_not_settle() -> None:
    one = recording("sram_22nm")
    (clocked, event, settling) = compare(one, bill(one))
    cheap = settling._replace(energy_J=0.0)
    assert "tiles for every position" in verdict([clocked, event, settling], settling)
    assert most_frugal([clocked, event, cheap], one.chip.model) in (clocked, event)


def test_tornado_shows_the_widest_bars_on_top() -> None:
    found = sensitivities(recording("rram_32nm"))[Style.CLOCKED]
    frame = pd.DataFrame([swing._asdict() for swing in found.swings])
    figure = draw_frame(frame, "a chip")
    left, right = figure.axes
    labels = [label.get_text() for label in left.get_yticklabels()]
    assert labels[-1].startswith(found.swings[0].key) and len(labels) == 10
    widest = max(found.swings, key=lambda swing: swing.energy_swing)
    assert right.get_yticklabels()[-1].get_text().startswith(widest.key)
    with pytest.raises(NothingToDraw, match="no number"):
        draw_frame(frame[:0], "a chip")


def test_command_explains_a_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--set", "data.train_samples=20", "--set", "data.test_samples=10", "--set", "relaxation.free_steps=3"]
    assert main(["explain", "smoke", "--component", "adc", "--layer", "1", "--phase", "free", "--json", *small]) == 0
    document = json.loads(capsys.readouterr().out)
    (part,) = document["parts"]
    assert part["component"] == "adc" and part["count"] * part["each"] == pytest.approx(document["energy_J"])
    price = next(one for one in part["numbers"] if one["name"] == "adc.table.8.energy")
    assert price["model"]["file"] == "common" and price["from"] == "model"
    assert main(["explain", "smoke", "--component", "time", *small]) == 0
    assert "in every tick the slowest tile" in capsys.readouterr().out
    assert main(["explain", "smoke", "--component", "adcs", *small]) == 2
    assert "did you mean adc" in capsys.readouterr().err
    assert main(["explain", "smoke", "--layer", "9", *small]) == 2
    assert "--layer 9: the network has layers 0 to" in capsys.readouterr().err


def test_ends_of_intervals_keep_what_a_chip_consists_of() -> None:
    one = recording("rram_32nm")
    other = one.chip.priced(one.chip.model.at("high"))
    assert other.routes is one.chip.routes and other.memory is one.chip.memory
    fresh = replace(one.chip, model=one.chip.model.at("high"))
    assert np.array_equal(other.input_buffer_bits, fresh.input_buffer_bits)
    assert np.array_equal(other.accumulator_bits, fresh.accumulator_bits)
