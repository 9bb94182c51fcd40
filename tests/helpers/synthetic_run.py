"""A made-up but lifelike run directory: VGG-11, U-shaped gradients, settling states, decaying events."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from new_run import new_run

from neurosim_ep.hardware.bill.comparison import compare
from neurosim_ep.hardware.bill.cost import bill
from neurosim_ep.hardware.bill.sensitivity import Swing, sensitivities
from neurosim_ep.hardware.chip.counts import TileCounts, tile_table
from neurosim_ep.hardware.chip.memory import memory_table
from neurosim_ep.hardware.chip.messages import link_table, message_table, place_table
from neurosim_ep.hardware.chip.phases import READ_PHASES
from neurosim_ep.hardware.chip.projections import Projection
from neurosim_ep.hardware.chip.recording import Chip, Recording
from neurosim_ep.hardware.model.file import ModelFile, parse_hardware_model, read_model
from neurosim_ep.record import logs
from neurosim_ep.record.rundir import RunDirectory
from neurosim_ep.record.traffic import TrafficWriter
from neurosim_ep.tiles.mapping import ConnectionGeometry, TilePlan, plan_tiles

CHANNELS = (16, 32, 64, 64, 128, 128, 128, 128)
POOLED = (0, 1, 3, 5, 7)
HIDDEN = (128, 128)
SIGNALS = [Projection(1, 32 * 256, 10), Projection(3, 64 * 64, 10), Projection(7, 128, 10)]
READOUT = Projection(len(CHANNELS) + len(HIDDEN) - 1, HIDDEN[-1], 10, learned=True)


def flat_model() -> ModelFile:
    """rram_32nm with a router for every tile, so that small networks have a mesh."""
    file = read_model("rram_32nm")
    document = {section: table for section, table in file.document.items() if section != "core"}
    return replace(file, document=document, model=parse_hardware_model(document, "rram_32nm without cores"))


MODEL = flat_model()
HARDWARE = MODEL.model
TICKS = {"free": 60, "nudge_plus": 15, "nudge_minus": 15}
SCENARIO = """
[scenario]
seed = {seed}

[data]
kind = "{data}"
classes = 10

[network]
loss = "cross_entropy"

[signals]
kind = "{signals}"
alpha_schedule = "cosine"

[relaxation]
free_steps = 60
nudge_steps = 15
tolerance = 1e-3

[telemetry]
traffic_every = {traffic_every}

[scheduler]
policy = "synchronous"
threshold = 1e-3
"""
SWINGS = [
    Swing("clocked", "leakage.density", "W/m^2", 2.6, 1.3e4, 1.1e5, 2e-5, 3e-5, 9e-5, 2.6, 2.8, 3.4)._asdict(),
    Swing("clocked", "buffer.energy_scale", "1", 0.33, 1.0, 2.7, 2.5e-5, 3e-5, 5e-5, 3.1, 2.8, 2.4)._asdict(),
]
REAL_TILES = """
[hardware.converters]
adc_bits = 8
adc_range = "calibrated"
calibration_quantile = 0.999

[hardware.device]
preset = "ReRamES"
update = "two_pass"
"""


def vgg11_plan() -> TilePlan:
    """Tiles of eight convolutions and two hidden linear layers on 32x32 RGB images."""
    geometries, shape = [], (3, 32, 32)
    for index, channels in enumerate(CHANNELS):
        side = shape[1]
        out = (channels, *(2 * [side // 2 if index in POOLED else side]))
        pool = "max" if index in POOLED else None
        geometries.append(
            ConnectionGeometry(
                f"conv{index + 1}", "conv", shape, (channels, side, side), out, (3, 3), padding=1, pool=pool
            )
        )
        shape = out
    features = shape
    for index, neurons in enumerate(HIDDEN):
        geometries.append(ConnectionGeometry(f"fc{index + 1}", "linear", features, (neurons,), (neurons,)))
        features = (neurons,)
    return plan_tiles(geometries, HARDWARE.array_geometry())


def synthetic_run(
    path: Path,
    name: str = "vgg11_le",
    *,
    epochs: int = 12,
    valley: float = 0.3,
    traffic: bool = True,
    seed: int = 0,
    signals: str = "le",
    data: str = "textures",
    real_tiles: bool = False,
) -> RunDirectory:
    """Write a complete run directory; ``valley``: depth of the U-curve in decades per layer.

    With ``real_tiles`` they have converters, which cannot resolve the nudge of the lower layers, and devices.
    Without ``traffic`` no batch is recorded: neither traffic.h5 nor cost.csv exists.
    """
    rng = np.random.default_rng(0)
    plan = vgg11_plan()
    run = new_run(path, name)
    (run.path / "scenario.toml").write_text(
        SCENARIO.format(traffic_every=100 if traffic else 0, seed=seed, signals=signals, data=data)
        + REAL_TILES * real_tiles
    )
    (run.path / "hardware.toml").write_text(MODEL.to_toml())
    names = [geometry.name for geometry in plan.geometries]
    logs.CsvTable(run.path / "epochs.csv").add(_epoch_rows(seed, epochs, signals))
    layers = logs.CsvTable(run.path / "layers.csv")
    residual = logs.CsvTable(run.path / "residual.csv")
    digital = {"signals": SIGNALS, "readout": READOUT}
    meta = {"scenario_name": name, "seed": 0, "event_threshold": 1e-3}
    writer = TrafficWriter(run.path / "traffic.h5", plan, **meta, **digital)
    counts = TileCounts.zeros(len(plan.tiles))
    for epoch in range(1, epochs + 1):
        rows = _layer_rows(rng, names, epoch, epochs, valley)
        layers.add([row | tile_columns(layer, len(names)) for layer, row in enumerate(rows)] if real_tiles else rows)
        residual.add(_residual_rows(rng, epoch))
        if traffic:
            batches = [(number, _counts(rng, plan)) for number in (0, 100)]
            counts += batches[0][1] + batches[1][1]
            recording = Recording.of(counts, plan, HARDWARE, **digital)
            writer.append(epoch, batches, tables_of(recording))
    if traffic:
        cost = bill(recording)
        logs.write_table(run.path / "cost.csv", cost)
        comparison = [one._asdict() for one in compare(recording, cost, sensitivities(recording))]
        logs.write_table(run.path / "comparison.csv", comparison)
        logs.write_table(run.path / "sensitivity.csv", SWINGS)
    logs.write_table(run.path / "tiles.csv", tile_table(plan.to_frame(), counts))
    memory = memory_table(Chip(plan, HARDWARE, tuple(SIGNALS), READOUT), free_steps=60, nudge_steps=15)
    logs.write_table(run.path / "memory.csv", memory)
    run.update_run_json(status="done", metrics={"test_accuracy": 0.62})
    return run


def _epoch_rows(seed: int, epochs: int, signals: str) -> list[dict[str, object]]:
    """Curves that rise from chance with signals, higher for a larger seed, and stay there without."""
    rows: list[dict[str, object]] = []
    for epoch in range(1, epochs + 1):
        learned = (1 - np.exp(-3 * epoch / epochs)) * (signals != "none") * (0.6 + 0.05 * seed)
        rows.append(
            {
                "epoch": epoch,
                "loss": 2.3 - 2 * learned,
                "train_accuracy": 0.1 + 0.9 * learned,
                "test_accuracy": 0.1 + 0.8 * learned,
                "alpha": 0.5 + 0.5 * np.cos(np.pi * (epoch - 1) / epochs),
            }
        )
    return rows


def _layer_rows(
    rng: np.random.Generator, names: list[str], epoch: int, epochs: int, valley: float
) -> list[dict[str, object]]:
    depth = len(names)
    rows: list[dict[str, object]] = []
    for layer, name in enumerate([*names, "readout"]):
        distance = min(layer * 0.6, depth - layer)
        gradient = 10 ** (-1.5 - valley * distance - 0.4 * epoch / epochs + 0.08 * rng.standard_normal())
        row: dict[str, object] = {"epoch": epoch, "layer": layer, "name": name, "mean_abs_dW": gradient}
        if layer < depth:
            row["mean_abs_state"] = 0.12 + 0.3 * epoch / epochs * layer / depth + 0.01 * rng.random()
            row["std_across_samples"] = 0.7 * row["mean_abs_state"]
        rows.append(row)
    return rows


def tile_columns(layer: int, depth: int) -> dict[str, object]:
    """What layers.csv has of a layer on real tiles: a nudge that falls towards the input, equal steps, many pulses."""
    if layer == depth:
        return {}
    columns: dict[str, object] = {
        "mean_abs_nudge_difference": 0.02 * 0.5 ** (depth - 1 - layer),
        "adc_step_forward": 4e-3,
        "clipped_forward": 2e-3 * (layer != 1),
        "pulses_up": 300.0 * 0.6**layer,
        "pulses_down": 290.0 * 0.6**layer,
        "pulses_net": 12.0 * 0.7**layer,
    }
    if layer < depth - 1:
        columns |= {"adc_step_transposed": 3e-3 * 1.2**layer, "clipped_transposed": 5e-4}
    steps = (columns.get(f"adc_step_{direction}", 0.0) for direction in ("forward", "transposed"))
    return {**columns, "adc_step_nudge": max(map(float, steps))}


def _residual_rows(rng: np.random.Generator, epoch: int) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for phase, ticks in TICKS.items():
        start = 0.9 if phase == "free" else 0.08
        for tick in range(1, ticks + 1):
            mean = start * np.exp(-0.14 * tick) * (1 + 0.05 * rng.standard_normal()) + 2e-5
            worst = mean * (2 + 0.1 * tick)
            rows.append(
                {
                    "epoch": epoch,
                    "phase": phase,
                    "tick": tick,
                    "mean_residual": mean,
                    "max_residual": worst,
                    "active": 1.0,
                }
            )
    return rows


def tables_of(recording: Recording) -> dict[str, pd.DataFrame]:
    """The tables that a traffic file holds beside its counts."""
    return {
        "noc": message_table(recording), "cost": bill(recording), "places": place_table(recording),
        "links": link_table(recording),
    }  # fmt: skip


def sends_of(plan: TilePlan, events: np.ndarray) -> np.ndarray:
    """``events`` [ticks, layers] spread over the senders of each layer, in whole numbers."""
    sends = np.zeros((len(events), len(plan.senders)), np.int64)
    for layer, (_, shape) in enumerate(plan.layers):
        mine = [number for number, sender in enumerate(plan.senders) if sender.layer == layer]
        for number in mine:
            sends[:, number] = events[:, layer] * plan.senders[number].neurons // math.prod(shape)
        sends[:, mine[0]] += events[:, layer] - sends[:, mine].sum(1)
    return sends


def _counts(rng: np.random.Generator, plan: TilePlan, samples: int = 32) -> TileCounts:
    """Activity that starts at the input side and dies out; a third of the states are not zero."""
    counts = TileCounts.zeros(len(plan.tiles))
    counts.samples, counts.batches = samples, 1
    counts.update += rng.integers(0, 10_000, counts.update.shape)
    neurons = np.array([geometry.neurons for geometry in plan.geometries])
    layers = np.arange(len(neurons))
    layer = plan.layer_of_tile
    positions = np.array([tile.reuse for tile in plan.tiles])
    for index, phase in enumerate(READ_PHASES):
        tick = np.arange(TICKS[phase])[:, None]
        start = 0.5 if phase == "free" else 0.1
        rate = start * np.exp(-(0.07 + 0.01 * layers) * tick) * np.clip(tick - layers + 1, 0, 1)
        counts.events[phase] = rng.binomial(samples * neurons, rate)
        counts.messages[phase] = 2 * counts.events[phase]
        counts.presentations[phase] = np.full(rate.shape, samples)
        counts.needed[phase] = np.minimum(samples, counts.events[phase])
        counts.sends[phase] = sends_of(plan, counts.events[phase])

        once = samples if phase == "free" else 0
        every_tick = samples * TICKS[phase]
        lines = (plan.rows, plan.columns)
        for direction, presentations in enumerate((np.where(layer, every_tick, once), np.where(layer, every_tick, 0))):
            reads = presentations * positions
            sent = rate.mean(axis=0)[layer]
            for accounting, share in enumerate((np.ones(len(layer)), np.minimum(1, 6 * sent))):
                used = (reads * share).astype(np.int64)
                active = used * lines[direction] // 3
                quantities = (used, active, used * lines[1 - direction], 8 * active)
                counts.traffic[index, accounting, direction] = quantities
    return counts
