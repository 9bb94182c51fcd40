"""VGG-8 on a chip with the constants of a run of DNN+NeuroSim V2.1, for docs/validation.md: RRAM of 100 kohm and
1 Mohm, one cell per weight, 16 converters of 8 bits per array.
"""

from __future__ import annotations

from functools import cache

from hardware_models import load_hardware_model

from neurosim_ep.hardware.bill.backprop import backprop_counts
from neurosim_ep.hardware.bill.cost import bill
from neurosim_ep.hardware.bill.latency import latencies_s
from neurosim_ep.hardware.bill.reads import read_time_s
from neurosim_ep.hardware.chip.area import area_table
from neurosim_ep.hardware.chip.counts import TICK_TABLES
from neurosim_ep.hardware.chip.phases import READ_PHASES
from neurosim_ep.hardware.chip.recording import Recording
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.sections import HardwareModel
from neurosim_ep.tiles.mapping import ArrayGeometry, ConnectionGeometry, TilePlan, plan_tiles
from neurosim_ep.train.estimate import given_counts

MEASURED = {
    "ADC area": ("mm2", 16.7), "chip area": ("mm2", 61.9), "chip area without accumulators": ("mm2", 61.9),
    "read of an array": ("ns", 127), "forward pass": ("ms", 1.02), "cells": ("uJ", 5.46),
    "ADC per conversion": ("pJ", 0.161), "interconnect": ("uJ", 11.1), "accumulation": ("uJ", 0.62),
    "buffers": ("uJ", 1.96), "static power": ("mW", 0.13),
}  # fmt: skip
"""Unit and figure of NeuroSim's run: of the chip, or of the forward pass of one image with half of the lines active."""
MISSES = {"chip area": 8, "cells": 9, "ADC per conversion": 10, "static power": 11}
"""Explanations in docs/validation.md of those that differ by more than a factor of two."""


def vgg8_plan(array: ArrayGeometry) -> TilePlan:
    """Tiles of VGG-8 at full width on images of 3 x 32 x 32."""
    geometries, shape = [], (3, 32, 32)
    for index, channels in enumerate((128, 128, 256, 256, 512, 512)):
        side, pooled = shape[1], index % 2 == 1
        out = (channels, *(2 * [side // 2 if pooled else side]))
        pool = "max" if pooled else None
        geometries.append(
            ConnectionGeometry(f"conv{index + 1}", "conv", shape, (channels, side, side), out, (3, 3), 1, pool)
        )
        shape = out
    for index, neurons in enumerate((1024, 10)):
        geometries.append(ConnectionGeometry(f"fc{index + 1}", "linear", shape, (neurons,), (neurons,)))
        shape = (neurons,)
    return plan_tiles(geometries, array)


def matched_model() -> HardwareModel:
    """rram_32nm with NeuroSim's arrays."""
    model = load_hardware_model("rram_32nm")
    cells = model.array.cells_per_weight.model_copy(update={"value": 1})
    array = model.array.model_copy(update={"cells_per_weight": cells})
    adc = model.adc.model_copy(update={"per_tile": model.adc.bits.model_copy(update={"value": 16})})
    return model.model_copy(update={"array": array, "adc": adc})


@cache
def forward_pass() -> Recording:
    """One image through the layers once, forward, with half of all lines active."""
    model = matched_model()
    plan = vgg8_plan(model.array_geometry())
    counts = backprop_counts(given_counts(plan, {"free": 1}, 0.5, 0.1, 1), plan)
    counts.traffic[1:] = 0
    for name in TICK_TABLES:
        getattr(counts, name).pop(READ_PHASES[1], None)
    return Recording.of(counts, plan, model)


def modelled() -> dict[str, float]:
    """The figures of :data:`MEASURED` by the cost model."""
    recording = forward_pass()
    chip, model = recording.chip, recording.chip.model
    areas = 1e6 * area_table(chip).groupby("component").area_m2.sum()
    accumulators = sum(item.bits for item in chip.memory if item.item == "update accumulators")
    pieces = len(chip.plan.tiles)
    kept_mm2 = 1e6 * pieces * model.buffer_area_m2(accumulators / pieces)
    energy = 1e6 * bill(recording, [Style.CLOCKED]).query("phase == 'free'").groupby("component").energy_J.sum()

    def spent(*components: str) -> float:
        return float(energy[list(components)].sum())

    return {
        "ADC area": float(areas["adc"]),
        "chip area": float(areas.sum()),
        "chip area without accumulators": float(areas.sum()) - kept_mm2 - float(areas["multiply_add"]),
        "read of an array": 1e9 * float(read_time_s(chip, "forward").max()),
        "forward pass": 1e3 * latencies_s(recording, Style.CLOCKED)["free"],
        "cells": spent("cell_read"),
        "ADC per conversion": 1e12 * model.adc_cost().energy_J,
        "interconnect": spent("message", "partial_sum", "core_transfer"),
        "accumulation": spent("add", "drive_register"),
        "buffers": spent("input_buffer", "line_register", "register"),
        "static power": 1e3 * chip.static_power().chip_W(len(chip.plan.tiles)),
    }
