"""On-chip memory, item by item."""

from __future__ import annotations

import pytest
from chips import CONV, GEOMETRIES, LINEAR, READOUT, SIGNALS
from hardware_models import load_hardware_model

from neurosim_ep.hardware.chip.memory import memory_table
from neurosim_ep.hardware.chip.projections import Projection
from neurosim_ep.hardware.chip.recording import Chip
from neurosim_ep.hardware.model.sections import HardwareModel
from neurosim_ep.tiles.mapping import ConnectionGeometry, TilePlan, plan_tiles


@pytest.fixture(scope="module")
def rram() -> HardwareModel:
    return load_hardware_model("rram_32nm")


@pytest.fixture(scope="module")
def plan(rram: HardwareModel) -> TilePlan:
    return plan_tiles(GEOMETRIES, rram.array_geometry())


def test_memory_items(rram: HardwareModel, plan: TilePlan) -> None:
    learned = Projection(0, 1120, 5, learned=True)
    table = memory_table(Chip(plan, rram, (*SIGNALS, learned), READOUT), free_steps=30, nudge_steps=10)
    assert list(table.columns) == ["method", "layer", "name", "item", "bits"]
    bits = table.set_index(["method", "layer", "item"]).bits
    neurons = 70 * 16
    for method in ("ep", "bptt_T", "bptt_K"):
        assert bits[method, 0, "synapse cells"] == 27 * 70 * 7
        assert bits[method, 0, "biases"] == 70 * 32
        assert bits[method, 0, "state registers"] == neurons * 8
        assert bits[method, 0, "drive registers"] == bits[method, 0, "input drive"] == neurons * 16
        assert bits[method, 0, "input registers"] == 3 * 64 * 8
        assert bits[method, 0, "update accumulators"] == (27 * 70 + 70) * 32
        assert bits[method, 3, "readout"] == 2 * 50 * 32
        assert bits[method, 3, "targets"] == 5 * 8
        assert bits[method, 0, "line registers"] == plan.starts[1] * (128 + 64) * 8
        assert bits[method, 0, "result registers"] == plan.starts[1] * 128 * 16
    assert bits["ep", 0, "saved free state"] == neurons * 8
    assert bits["ep", 0, "routing"] == 2 * neurons
    assert bits["ep", 1, "projections"] == 400 * 8
    assert bits["ep", 0, "projections"] == 2 * 5600 * 32
    assert bits["ep", 1, "targets"] == 5 * 8
    assert bits["bptt_T", 0, "stored states"] == 30 * neurons * 8
    assert bits["bptt_K", 0, "stored states"] == 10 * neurons * 8
    assert bits["bptt_T", 0, "stored routing"] == 2 * neurons  # static drive: one argmax for all ticks
    assert bits["bptt_T", 0, "error states"] == neurons * 16
    assert set(table[(table.item == "routing")].layer) == {0}  # only the max-pooled layer routes


def test_backpropagation_through_time_stores_every_tick(rram: HardwareModel) -> None:
    pooled = ConnectionGeometry("conv2", "conv", (70, 4, 4), (20, 4, 4), (20, 2, 2), (3, 3), 1, "max")
    plan = plan_tiles([CONV, pooled, LINEAR], rram.array_geometry())
    table = memory_table(Chip(plan, rram, readout=READOUT), free_steps=30, nudge_steps=10)
    bits = table.set_index(["method", "layer", "item"]).bits
    assert bits["bptt_T", 1, "stored routing"] == 30 * 2 * 80
    assert bits["bptt_K", 1, "stored routing"] == 10 * 2 * 80
    totals = table.groupby("method").bits.sum()
    assert totals["ep"] < totals["bptt_K"] < totals["bptt_T"]
