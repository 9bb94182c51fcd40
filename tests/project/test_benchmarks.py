"""The benchmark scripts keep up with the product."""

from __future__ import annotations

import pytest
import torch
from paths import BENCHMARKS

from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.scheduler.schedule import Schedule

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_thresholds_bill_the_events_of_a_batch() -> None:
    from subject import random_subject
    from thresholds import recorded

    subject = random_subject(load_scenario("smoke"), 10, 4, CPU)
    result, events, energy_J = recorded(subject, Schedule("event", thresholds=1e-3))
    assert events > 0 and 0 < energy_J < 1e-3
    assert len(result.logits) == 4


@pytest.mark.parametrize("rule", ["contrastive", "backprop"])
def test_many_bits_leave_an_update_as_it_is(rule: str) -> None:
    from converter_bits import cosines, on_tiles, presented, signals_in_steps
    from subject import random_subject

    sets = (f"plasticity.rule={rule}", "signals.kind=none", "scheduler.policy=sweep", "network.activation=hard_tanh")
    gains = ("relaxation.feedback=0.1", "relaxation.nudge_feedback=1", "relaxation.nudge_steps=1")
    subject = random_subject(load_scenario("smoke", (*sets, *gains)), 10, 4, CPU)
    exact, real = presented(subject), on_tiles(subject, 10)
    found = presented(real)
    few, many = (cosines(one, exact) for one in (presented(on_tiles(subject, 4)), found))
    assert 0 < min(few) < min(many) and min(many) > 0.98 and cosines(exact, exact) == pytest.approx([1, 1, 1])
    steps = signals_in_steps(real, found)
    assert len(steps) == 2 and all(step > 0 for step in steps)


def test_physics_compares_where_no_sample_settles() -> None:
    from physics import compare
    from relaxation import Product
    from subject import random_subject

    subject = random_subject(load_scenario("smoke"), 10, 4, CPU)
    ours, full = (Product(subject, Schedule(policy), 4, 3).present() for policy in ("alternating", "synchronous"))
    found = compare(ours, full, tolerance=1e-9)
    assert found["settled samples"] == 0 and found["samples moving at T"] == 4
    assert found["largest distance of settled samples / tolerance"] == 0


def test_real_tiles_follow_the_model_to_its_device() -> None:
    from neurosim_ep.experiment.model import build_model

    model = build_model(load_scenario("smoke", ["hardware.converters.preset=eight_bit"]), 10, (3, 32, 32))
    asked = []
    assert model.tiles is not None
    model.tiles.to = asked.append  # type: ignore[method-assign]
    assert model.to(CPU) is model
    assert asked == [CPU]


@pytest.mark.parametrize("name", ["cpu", "cuda:9"])
def test_devices_are_selected_as_in_the_product(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    import argparse

    from subject import add_device

    parser = argparse.ArgumentParser()
    add_device(parser)
    if name == "cpu":
        assert parser.parse_args(["--device", name]).device == CPU
        return
    with pytest.raises(SystemExit):
        parser.parse_args(["--device", name])
    assert "CUDA devices" in capsys.readouterr().err


def test_testing_counts_what_captured_blocks_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import testing
    from subject import random_subject

    monkeypatch.setattr(testing, "TEST_BATCH", 4)
    subject = random_subject(load_scenario("smoke"), 10, 8, CPU)
    for way in (testing.by_batch, testing.by_queue):
        assert testing.captured(way, subject, Schedule("alternating"), 6) == {"ticks": 12, "row_ticks": 48}
