"""What a chip costs without training on it, EP beside backpropagation, and hardware models on the command line."""

from __future__ import annotations

import re

import numpy as np
import pytest
from chips import GEOMETRIES, READOUT, SIGNALS, random_counts
from hardware_models import load_hardware_model
from hypothesis import example, given, settings
from hypothesis import strategies as st

from neurosim_ep.cli import main
from neurosim_ep.experiment.model import chip_model
from neurosim_ep.experiment.opening import Experiment
from neurosim_ep.hardware.bill.backprop import BACKWARD, FORWARD, backprop_bill, backprop_counts, for_backprop
from neurosim_ep.hardware.bill.comparison import compare
from neurosim_ep.hardware.bill.cost import bill, energy_by
from neurosim_ep.hardware.bill.summary import Summary
from neurosim_ep.hardware.chip.counts import ACCOUNTINGS, DIRECTIONS, TICK_TABLES
from neurosim_ep.hardware.chip.phases import READ_PHASES
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.tiles.mapping import ConnectionGeometry, plan_tiles
from neurosim_ep.train.estimate import estimate_given, estimate_measured, given_counts
from neurosim_ep.train.trainer import Trainer
from neurosim_ep.units import format_bits

RRAM = load_hardware_model("rram_32nm")
PLAN = plan_tiles(GEOMETRIES, RRAM.array_geometry())
SMALL = ("data.train_samples=40", "relaxation.free_steps=6", "relaxation.nudge_steps=4", "relaxation.tolerance=0")


def test_backpropagation_reads_every_position_once_each_way() -> None:
    counts = random_counts(PLAN)
    found = backprop_counts(counts, PLAN)
    reuse = np.array([tile.reuse for tile in PLAN.tiles])
    assert found.of(FORWARD, "clocked", "forward", "reads").tolist() == (4 * reuse).tolist()
    above = PLAN.layer_of_tile > 0
    assert found.of(BACKWARD, "clocked", "transposed", "reads").tolist() == (4 * reuse * above).tolist()
    assert found.of(FORWARD, "clocked", "transposed", "reads").sum() == 0
    for phase, way in ((FORWARD, "forward"), (BACKWARD, "transposed")):
        for quantity in ("active_lines", "dac_conversions", "adc_conversions"):
            share = counts.of(phase, "clocked", way, quantity) / counts.of(phase, "clocked", way, "reads")
            expected = share * found.of(phase, "clocked", way, "reads")
            assert np.abs(found.of(phase, "clocked", way, quantity) - expected).max() <= 0.5
    assert found.updates("accumulate_adds").tolist() == (counts.updates("accumulate_adds") // 2).tolist()
    assert found.updates("pulses_up").tolist() == counts.updates("pulses_up").tolist()
    states = backprop_bill(for_backprop(Recording.of(counts, PLAN, RRAM))).query("component == 'stored_state'")
    assert states["count"].tolist() == [2 * 4 * 8 * geometry.neurons for geometry in GEOMETRIES]


def test_break_even_is_a_draw() -> None:
    """With the parts that scale put to the number of the draw, EP costs what backpropagation costs."""
    recording = Recording.of(random_counts(PLAN), PLAN, RRAM, SIGNALS, READOUT)
    clocked, event, settling = compare(recording, bill(recording))
    for found in (clocked, event):
        assert found.break_even_ticks is not None
        once_J = found.energy_J - found.ticking_J
        assert once_J + found.ticking_J * found.break_even_ticks / found.ticks == pytest.approx(found.backprop_J)
    assert found.ticks == 13
    assert settling.ticking_J == 0 and settling.break_even_ticks is None
    assert clocked.sending_J == 0 and 0 < event.sending_J < event.ticking_J
    if event.break_even_events is not None:
        rest_J = event.energy_J - event.sending_J
        assert rest_J + event.sending_J * event.break_even_events == pytest.approx(event.backprop_J)
    for found in (clocked, event, settling):
        assert found.energy_low_J <= found.energy_J <= found.energy_high_J
        assert found.backprop_low_J <= found.backprop_J <= found.backprop_high_J
        assert 0 < found.latency_low_s <= found.latency_s <= found.latency_high_s


@pytest.mark.parametrize(
    ("updates", "least"), [(np.ones((4, 3)), 1), ([[1, 0, 1], [0, 1, 0]] * 2, 2), ([*np.eye(3)] * 2, 3)]
)
def test_there_is_no_draw_where_a_layer_would_not_be_updated(updates: object, least: int) -> None:
    """Synchronous, alternating, and a sweep, whose tick updates one layer."""
    counts = random_counts(PLAN)
    counts.presentations.update(dict.fromkeys(counts.presentations, np.array(updates, dtype=np.int64)))
    recording = Recording.of(counts, PLAN, RRAM, SIGNALS, READOUT)
    found = compare(recording, bill(recording))[0]
    assert found.least_ticks == 3 * least
    draws = (0.9 * found.least_ticks, 1.1 * found.least_ticks)
    costs_J = [found.energy_J - found.ticking_J * (1 - ticks / found.ticks) for ticks in draws]
    few, enough = (found._replace(backprop_J=cost_J).break_even_ticks for cost_J in costs_J)
    assert few is None and enough == pytest.approx(draws[1])


@pytest.mark.parametrize("activity", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("step", [1, 2])
def test_given_activity_gives_these_counts(activity: float, step: int) -> None:
    ticks = {"free": 6, "nudge_plus": 4, "nudge_minus": 4}
    counts = given_counts(PLAN, ticks, activity, activity / 2, step)
    tile = PLAN.tiles[PLAN.tile_range(1).start]
    reads = 6 // step * tile.reuse
    assert counts.of("free", "clocked", "forward", "reads")[tile.index] == reads
    assert counts.of("free", "clocked", "forward", "active_lines")[tile.index] == round(reads * tile.rows * activity)
    assert counts.of("free", "clocked", "forward", "reads")[0] == PLAN.tiles[0].reuse  # the static input
    assert counts.of("nudge_plus", "clocked", "forward", "reads")[0] == 0
    sent = counts.of("free", "event", "transposed", "reads")[tile.index]
    assert sent == round(reads * (1 - (1 - activity / 2) ** tile.columns))
    assert counts.presentations["free"].sum(0).tolist() == [6 // step] * 3
    batch = given_counts(PLAN, ticks, activity, activity / 2, step, samples=5)
    assert (batch.traffic[0, 0] == 5 * counts.traffic[0, 0]).all() or activity == 0.4  # rounded apart
    assert batch.updates("pulses_up").tolist() == counts.updates("pulses_up").tolist()  # once per batch
    assert bool(counts.update.any()) == bool(counts.needed["free"].any()) == (activity > 0)
    fan = {sender.layer: 0 for sender in PLAN.senders}
    for number, sender in enumerate(PLAN.senders):
        fan[sender.layer] += int(counts.sends["free"][0, number])
    assert list(fan.values()) == pytest.approx([g.neurons * activity / 2 for g in GEOMETRIES], abs=3)


def test_writes_are_given_or_none() -> None:
    """Nothing is written unless it is said: then half of the pulses go each way, and every row takes one each way."""
    ticks = {"free": 6, "nudge_plus": 4, "nudge_minus": 4}
    silent, written = (given_counts(PLAN, ticks, 0.4, 0.2, 1, writes=share) for share in (0.0, 0.1))
    assert silent.updates("accumulate_adds").sum() > 0 and not silent.update[1:].any()
    weights = PLAN.rows * PLAN.outputs
    assert written.updates("pulses_up").tolist() == written.updates("pulses_down").tolist()
    assert written.updates("pulses_up").tolist() == np.rint(weights / 20).tolist()
    assert written.updates("write_steps").tolist() == (2 * PLAN.rows).tolist()


def test_drivers_are_as_wide_as_the_scenario_says() -> None:
    """One pulse of all bits, or one of each."""
    for coding, bits, pulses in (("multi_level", 8, 1), ("bit_serial", 1, 8)):
        sets = ("hardware.converters.dac_bits=8", f"hardware.converters.dac_coding={coding}")
        model = chip_model(load_scenario("smoke_tiles", list(sets)).hardware).model
        assert (model.dac.bits.value, model.array.input_pulses.value) == (bits, pulses)


def energies(
    geometries: list[ConnectionGeometry], ticks: int, activity: float, events: float, *, leakage: bool = True
) -> np.ndarray:
    """Energy of one sample in every style, of ``ticks`` ticks in every phase, with or without ``leakage``."""
    plan = plan_tiles(geometries, RRAM.array_geometry())
    counts = given_counts(plan, dict.fromkeys(READ_PHASES, ticks), activity, events, 1)
    lines = bill(Recording.of(counts, plan, RRAM), bounds=["value"])
    if not leakage:
        lines = lines[lines["component"] != "leakage"]
    return energy_by(lines).set_index("style")["energy_J"].reindex(list(Style)).to_numpy()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.05, 0.9), st.floats(0.01, 0.9))
@example(
    27, 2, 0.5, 0.5
)  # 12 tiles are placed otherwise than 11: their busiest link carries less, so they leak less long
def test_more_ticks_rows_or_events_cost_no_less(less: int, more: int, activity: float, events: float) -> None:
    def chain(rows: int) -> list[ConnectionGeometry]:
        shapes = [(rows,), (16 * rows,), (10,)]
        return [ConnectionGeometry(f"fc{n}", "linear", shapes[n], shapes[n + 1], shapes[n + 1]) for n in range(2)]

    base = energies(chain(less), less, activity, events)
    assert (energies(chain(less), less + more, activity, events)[:2] > base[:2]).all()
    smaller, larger = (energies(chain(rows), less, activity, events, leakage=False) for rows in (less, less + more))
    assert (larger > smaller).all()
    busier = energies(chain(less), less, activity, min(1.0, events * 1.1))
    assert (busier >= base * (1 - 1e-12)).all()


def test_an_estimate_records_what_a_run_would() -> None:
    """The counts of one untrained batch, as a run that records its first batch has them."""
    scenario = load_scenario("smoke", [*SMALL, "training.batch_size=40", "telemetry.traffic_every=1"])
    found = estimate_measured(scenario, 40, "cpu").recording
    assert found.counts.samples == 40
    assert found.counts.presentations["free"].sum(0).tolist() == [6 * 40] * len(found.chip.plan.geometries)
    clocked = found.counts.traffic[READ_PHASES.index("free"), ACCOUNTINGS.index("clocked")]
    reuse = np.array([tile.reuse for tile in found.chip.plan.tiles])
    above = found.chip.plan.layer_of_tile > 0
    assert (clocked[DIRECTIONS.index("transposed"), 0] == 6 * 40 * reuse * above).all()
    assert found.counts.updates("accumulate_adds").sum() > 0
    eighth = estimate_measured(scenario, 5, "cpu").recording.counts
    assert eighth.updates("pulses_up").sum() < found.counts.updates("pulses_up").sum()


UPDATES = {
    "ideal": ("hardware.converters.preset=none", "hardware.device.preset=none"),
    "program": ("hardware.device.preset=none",),
    **{scheme: (f"hardware.device.update={scheme}",) for scheme in ("difference", "two_pass", "transfer")},
}


@pytest.mark.parametrize("sets", UPDATES.values(), ids=UPDATES)
def test_an_estimate_of_a_batch_is_the_first_that_a_run_records(sets: tuple[str, ...]) -> None:
    scenario = load_scenario("smoke_tiles", ["data.train_samples=32", "data.test_samples=4", *sets])
    found = estimate_measured(scenario, 16, "cpu").recording.counts
    number, counts = Trainer(Experiment.open(scenario, device="cpu")).train_epoch(0, lambda batch: None).traffic[0]
    assert number == 0 and found.samples == counts.samples == 16
    assert (found.traffic == counts.traffic).all() and (found.update == counts.update).all()
    assert found.updates("pulses_up").sum() > 0 and found.applied == counts.applied
    for table in TICK_TABLES:
        ours, theirs = getattr(found, table), getattr(counts, table)
        assert list(ours) == list(theirs) and all((ours[phase] == theirs[phase]).all() for phase in ours)


def test_an_estimate_of_distillation_needs_no_teacher() -> None:
    kd = load_scenario("smoke", [*SMALL, "signals.kind=kd", "signals.layers=[1]", "signals.learned=false"])
    found = estimate_measured(kd, 4, "cpu")
    features = found.recording.chip.plan.geometries[1].neurons
    assert f", {format_bits(16 * features)} of stored targets per sample" in found.chip_rows()[-1][1]


def test_the_summary_adds_up() -> None:
    found = estimate_given(load_scenario("smoke"), 0.3, 0.05, 10, (3, 32, 32))
    table = found.bill
    for one in found.comparisons:
        samples = found.recording.counts.samples
        assert one.energy_J == pytest.approx(table[table["style"] == one.style]["energy_J"].sum() / samples)
    assert isinstance(found, Summary) and found.on_chip_bits > 0
    assert len(found.style_rows()) == 3 and len({row["energy"] for row in found.style_rows()}) == 3


def test_the_commands_say_what_a_designer_asks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "smoke", "--samples", "4", "--device", "cpu", "--set", "data.train_samples=20"]) == 0
    out = capsys.readouterr().out
    for word in (
        "tiles",
        "mm^2",
        "clocked",
        "event",
        "settling",
        "interval",
        "EP / backprop",
        "on chip",
        "KiB",
        "nudge +",
    ):
        assert word in out
    assert main(["estimate", "smoke", "--activity", "0.3", "--events", "0.1"]) == 0
    out = capsys.readouterr().out
    assert "given activity" in out and "no programming pulses, so no wear: --writes gives them" in out
    assert main(["estimate", "smoke", "--activity", "0.3", "--events", "0.1", "--writes", "0.01"]) == 0
    out = capsys.readouterr().out
    assert "given writes" in out and "pulses per cell in the hottest tile" in out and "TOPS/W" in out
    assert main(["hw", "list"]) == 0
    assert re.search(r"rram_32nm +32 nm +common", capsys.readouterr().out)
    assert main(["hw", "show", "rram_32nm", "adc"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"adc.table.8.energy +1.563e-12 +1.61e-13 +1.71e-12 +J", out) and "adc.kind" in out
    assert main(["hw", "show", "rram_32nm", "digital"]) == 0
    assert "3e-13 at 45 nm" in capsys.readouterr().out
    assert main(["hw", "diff", "rram_32nm", "ideal"]) == 0
    assert re.search(r"adc.kind +table +walden", capsys.readouterr().out)
    assert main(["hw", "diff", "rram_32nm", "rram_32nm"]) == 0
    assert capsys.readouterr().out == "no difference\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("estimate", "smoke", "--activity", "0.3"), "--activity and --events: give both"),
        (("estimate", "smoke", "--writes", "0.3"), "--writes: goes with --activity and --events"),
        (("estimate", "smoke", "--samples", "9999"), "--samples 9999: there are only"),
        (("estimate", "smoke", "--set", "plasticity.rule=bptt"), 'plasticity.rule = "bptt": only phases'),
        (("hw", "show", "rram_32nm", "adk"), 'no section "adk" in rram_32nm; it has array,'),
        (("hw", "show", "rram_32"), "did you mean rram_32nm"),
        (("hw", "shew"), 'no such command "shew"'),
    ],
)
def test_bad_questions_are_one_clear_error(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words]) == 2
    assert said in capsys.readouterr().err
