"""What ``neurosim-ep check`` shows: network, tiles and memory of a scenario, without running it."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import pandas as pd

from neurosim_ep import resources
from neurosim_ep.data.dataset import load_data
from neurosim_ep.data.sources.base import ROOT_VARIABLE
from neurosim_ep.ep.edges import Connection
from neurosim_ep.experiment.model import Model, build_model
from neurosim_ep.registry import SOURCES
from neurosim_ep.scenario.schema import DataSection, Scenario
from neurosim_ep.scenario.topology import per_layer
from neurosim_ep.teacher.targets import STORE, WEIGHTS, teacher_folder
from neurosim_ep.units import format_bits

Rows = list[dict[str, str]]


@dataclass(frozen=True)
class Inspection:
    """Tables of formatted strings, one dictionary per row; ``missing``: see :func:`missing`."""

    network: Rows
    tiles: Rows
    memory: Rows
    notes: Rows
    missing: list[str]


def inspect_scenario(scenario: Scenario) -> Inspection:
    """Build everything ``scenario`` names, train nothing, and describe it.

    Raises what a run would raise for a scenario or hardware model that does not fit. Image files are read only
    where their size and classes are not fixed by the format.
    """
    num_classes, image_shape = classes_and_shape(scenario.data, scenario.scenario.seed)
    model = build_model(scenario, num_classes, image_shape)
    rates = per_layer(scenario.training.learning_rate, model.network.layers, "training.learning_rate", "rate")
    return Inspection(
        _network_rows(model, rates),
        _tile_rows(model),
        _memory_rows(scenario, model),
        _notes(model, image_shape),
        missing(scenario),
    )


def classes_and_shape(section: DataSection, seed: int) -> tuple[int, tuple[int, ...]]:
    """Number of classes and (C, H, W) of the images; files are read only where the format does not fix them."""
    source = SOURCES[section.kind](section)
    if source.fixed:
        return source.usual.classes, source.usual.shape
    data = load_data(section, seed)
    return data.num_classes, data.image_shape


def missing(scenario: Scenario) -> list[str]:
    """What a run of ``scenario`` needs and this machine does not have, a line each with where to get it."""
    found = []
    data = scenario.data
    if "root" in SOURCES[data.kind].takes:
        given = data.root or os.environ.get(ROOT_VARIABLE, "")
        if not given:
            found.append(
                f"images: data.root is empty and {ROOT_VARIABLE} is not set; set one to the place of {data.kind}"
            )
        elif not resources.at_home(given).exists():
            found.append(
                f"images: {given} does not exist; it must hold the {data.kind} files (data.root or {ROOT_VARIABLE})"
            )
    if scenario.signals.taught():
        folder = teacher_folder(scenario)
        wanted = WEIGHTS if scenario.signals.live else STORE
        if not (folder / wanted).is_file():
            found.append(f"teacher: {folder / wanted} does not exist; `neurosim-ep teach` makes it")
    return found


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _network_rows(model: Model, rates: list[float]) -> Rows:
    network = model.network
    signal_layers = model.signals.layers if model.signals is not None else []
    rows = []
    for edge in network.edges:
        weights = [edge.weight, edge.bias] if isinstance(edge, Connection) else []
        rows.append(
            {
                "layer": str(edge.target),
                "name": edge.name,
                "weights": _shape(tuple(weights[0].shape)) if weights else edge.kind,
                "pool": edge.pool or "-",
                "state": _shape(edge.out_shape),
                "neurons": f"{math.prod(edge.out_shape):,}",
                "parameters": f"{sum(value.numel() for value in weights):,}",
                "activation": network.activations[edge.target].name,
                "rate": f"{rates[edge.target]:g}" if weights else "-",
                "signal": "yes" if edge.target in signal_layers else "-",
            }
        )
    if network.readout is not None:
        readout = network.readout
        rows.append(
            {
                **dict.fromkeys(rows[0], "-"),
                "layer": str(network.layers),
                "name": "readout",
                "weights": _shape(tuple(readout.weight.shape)),
                "parameters": f"{readout.weight.numel() + readout.bias.numel():,}",
                "activation": "softmax",
            }
        )
    return rows


def _tile_rows(model: Model) -> Rows:
    tiles = model.plan.to_frame()
    rows = []
    for number, geometry in enumerate(model.plan.geometries):
        mine = tiles[model.plan.tile_range(number)]
        row_blocks, col_blocks = model.plan.grid(number)
        rows.append(
            {
                "layer": str(mine["layer"].iloc[0]),
                "name": geometry.name,
                "tiles": str(len(mine)),
                "grid": f"{row_blocks}x{col_blocks}",
                "utilisation": f"{mine['utilisation'].mean():.1%}",
                "reuse": f"{mine['reuse'].iloc[0]}",
            }
        )
    total = {"layer": "-", "name": "all", "tiles": str(len(tiles)), "grid": "-", "reuse": "-"}
    return [*rows, {**total, "utilisation": f"{tiles['utilisation'].mean():.1%}"}]


def _memory_rows(scenario: Scenario, model: Model) -> Rows:
    table = model.memory(scenario.relaxation)
    bits = pd.pivot_table(table, index="item", columns="method", values="bits", aggfunc="sum", sort=False)
    bits.loc["total"] = bits.sum()
    titles = {
        "ep": "EP",
        "bptt_K": f"BPTT over K = {scenario.relaxation.nudge_steps}",
        "bptt_T": f"BPTT over T = {scenario.relaxation.free_steps}",
        "off_chip": "off chip",
    }
    return [
        {
            "item": str(item),
            **{
                title: "-" if pd.isna(row[key]) else format_bits(row[key])
                for key, title in titles.items()
                if key in bits
            },
        }
        for item, row in bits.iterrows()
    ]


def _notes(model: Model, image_shape: tuple[int, ...]) -> Rows:
    array = model.plan.array
    return [
        {"what": "images", "value": f"{_shape(image_shape)}, {model.network.num_classes} classes"},
        {"what": "hardware", "value": f"{model.hardware.model.name}: {model.hardware.model.description}"},
        {
            "what": "array",
            "value": f"{array.rows}x{array.columns} cells, {array.cells_per_weight} per weight, {array.slices} slices",
        },
        {"what": "reuse", "value": "output positions that read a tile per sample, tick and direction"},
        {"what": "memory", "value": "for one sample at a time; off chip: what is fetched for it"},
    ]
