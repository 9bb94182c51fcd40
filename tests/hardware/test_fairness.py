"""EP and backpropagation are billed alike, and the interval of their ratio holds what sources disagree on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hardware_models import load_hardware_model
from leveled import BASE, COUNTS, PLAN, model_with, recording
from neurosim_chip import vgg8_plan

from neurosim_ep.hardware.bill.backprop import backprop_bill, for_backprop
from neurosim_ep.hardware.bill.comparison import compare, ratio_ends
from neurosim_ep.hardware.bill.cost import bill
from neurosim_ep.hardware.bill.reads import busy_s
from neurosim_ep.hardware.bill.sensitivity import sensitivities
from neurosim_ep.hardware.bill.settling import tile_copies
from neurosim_ep.hardware.chip.phases import READ_PHASES
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.adc import AdcPoint
from neurosim_ep.hardware.model.sections import HardwareModel
from neurosim_ep.train.estimate import given_counts


def test_backpropagation_is_billed_as_ep_is() -> None:
    """Errors need both passes where values of either sign do; what is sent goes up in one pass and down in the other,
    in time as in energy; memories are its own; settling writes every copy of a weight.
    """
    signed = model_with(core__tiles=2, array__signed_inputs="two_passes")
    found = for_backprop(recording(signed))
    backward = READ_PHASES[1]
    one, two = (busy_s(for_backprop(recording(m)), backward, Style.CLOCKED)[1] for m in (BASE, signed))
    assert two == pytest.approx(2 * one)
    states = [
        int(found.routes.messages(found.counts, phase, Style.CLOCKED)[: len(found.routes._states)].sum())
        for phase in READ_PHASES[:2]
    ]
    plain = recording(signed).routes
    ups = sum(
        sender.neurons
        for sender in PLAN.senders
        if any(PLAN.tiles[t].layer > sender.layer for t in sender.destinations)
    )
    assert states[0] == COUNTS.samples * ups and states[1] > 0
    assert sum(states) <= 2 * COUNTS.samples * plain._state_shares.sum()
    assert {item.item for item in found.chip.memory} >= {"stored states", "error states"}
    assert "saved free state" not in {item.item for item in found.chip.memory}
    lines = bill(recording(BASE)).query("component == 'cell_write'").groupby("style")["count"].sum()
    pulses = COUNTS.updates("pulses_up") + COUNTS.updates("pulses_down")
    assert lines["clocked"] == pulses.sum()
    assert lines["settling"] == (pulses * tile_copies(recording(BASE).chip)).sum()


def test_what_backpropagation_has_computed_it_does_not_compute_again() -> None:
    """Four samples, readout of 10 x 5: logits forwards and errors backwards, each once; nothing is pooled backwards."""
    theirs = backprop_bill(for_backprop(recording(BASE))).groupby(["phase", "component"])["count"].sum()
    assert [theirs[phase, "readout"] for phase in READ_PHASES[:2]] == [4 * 50, 4 * 50]
    assert theirs["free", "pool"] == 4 * (70 * 8 * 8 + 20 * 4 * 4)
    assert (READ_PHASES[1], "pool") not in theirs.index


def test_the_interval_of_the_ratio_holds_every_corner() -> None:
    """Of all ends that components can take, the same in both bills, none gives a ratio outside."""
    ours, theirs = bill(recording(BASE), [Style.CLOCKED]), backprop_bill(for_backprop(recording(BASE)))
    low, high = ratio_ends(ours, theirs)
    columns = ["energy_J", "energy_low_J", "energy_high_J"]
    parts = [table.groupby("component")[columns].sum() for table in (ours, theirs)]
    names = parts[0].index.union(parts[1].index)
    mine, its = (part.reindex(names, fill_value=0.0).to_numpy() for part in parts)
    rng, every = np.random.default_rng(0), np.arange(len(names))
    for _ in range(500):
        pick = rng.integers(0, 3, len(names))
        assert low <= mine[every, pick].sum() / its[every, pick].sum() <= high
    for one in compare(recording(BASE), bill(recording(BASE)), sensitivities(recording(BASE))):
        assert one.ratio_low <= one.ratio <= one.ratio_high


def test_the_interval_of_the_ratio_holds_other_sources() -> None:
    """VGG-8, T = 20 and K = 8: the ratio without leakage, and that with the constants of NeuroSim's chip, lie in the
    printed interval.
    """
    model = load_hardware_model("rram_32nm")
    plan = vgg8_plan(model.array_geometry())
    ticks = {"free": 20, "nudge_plus": 8, "nudge_minus": 8}
    counts = given_counts(plan, ticks, 0.5, 0.1, 1, 32, writes=0.01)
    whole = Recording.of(counts, plan, model)
    clocked = compare(whole, bill(whole), sensitivities(whole))[0]
    bills = bill(whole, [Style.CLOCKED]), backprop_bill(for_backprop(whole))
    bare = [table[table.component != "leakage"].energy_J.sum() for table in bills]
    low_power = {"density": 2.1, "tile": 0.0}
    theirs = model.model_copy(
        update={
            "adc": with_values(model, "adc", conversion_time=9e-9).model_copy(
                update={"table": model.adc.priced.model_copy(update={"8": sar(model)})}
            ),
            "leakage": with_values(model, "leakage", **low_power),
            "noc": with_values(model, "noc", router_energy=0.0, router_leakage=8e-8),
            "registers": with_values(model, "registers", leakage=1.2e-11),
            "buffer": with_values(model, "buffer", leakage=1.2e-12),
        }
    )
    neurosim = Recording.of(counts, plan, theirs)
    energies = [bill(neurosim, [Style.CLOCKED]), backprop_bill(for_backprop(neurosim))]
    other = energies[0].energy_J.sum() / energies[1].energy_J.sum()
    assert clocked.ratio_low < bare[0] / bare[1] < clocked.ratio_high
    assert clocked.ratio_low < other < clocked.ratio_high and other < 0.8 * clocked.ratio


def with_values(model: HardwareModel, section: str, **values: float) -> Any:
    """A section with other numbers, without intervals."""
    old = getattr(model, section)
    changes = {
        name: getattr(old, name).model_copy(update={"value": value, "low": None, "high": None})
        for name, value in values.items()
    }
    return old.model_copy(update=changes)


def sar(model: HardwareModel) -> AdcPoint:
    """NeuroSim's converter of 8 bits."""
    point = model.adc.priced.model_extra["8"]
    return point.model_copy(update={"energy": point.energy.model_copy(update={"value": 1.61e-13, "low": None})})
