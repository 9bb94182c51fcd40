"""What ``neurosim-ep check`` shows: network, tiles and memory of a scenario, without running it."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

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
Records = list[dict[str, Any]]


@dataclass(frozen=True)
class Inspection:
    """Tables of formatted strings, one dictionary per row, and their values as a ``document``: ``images``,
    ``hardware``, ``array``, and records of ``layers`` (edges), ``tiles`` (connections) and ``memory``;
    ``missing``: see :func:`missing`.
    """

    network: Rows
    tiles: Rows
    memory: Rows
    notes: Rows
    document: dict[str, Any]
    missing: list[str]


def inspect_scenario(scenario: Scenario) -> Inspection:
    """Build everything ``scenario`` names, train nothing, and describe it.

    Raises what a run would raise for a scenario or hardware model that does not fit. Image files are read only
    where their size and classes are not fixed by the format.
    """
    num_classes, image_shape = classes_and_shape(scenario.data, scenario.scenario.seed)
    model = build_model(scenario, num_classes, image_shape)
    rates = per_layer(scenario.training.learning_rate, model.network.layers, "training.learning_rate", "rate")
    layers, tiles, memory = _layers(model, rates), _tiles(model), model.memory(scenario.relaxation)
    hardware = model.hardware.model
    return Inspection(
        [*map(_layer_row, layers)],
        _tile_rows(tiles, model.plan.to_frame()["utilisation"].mean()),
        _memory_rows(scenario, memory),
        _notes(model, image_shape),
        {
            "images": {"shape": list(image_shape), "classes": num_classes},
            "hardware": {"name": hardware.name, "description": hardware.description},
            "array": asdict(model.plan.array),
            "layers": layers,
            "tiles": tiles,
            "memory": memory.to_dict("records"),
        },
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


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _layers(model: Model, rates: list[float]) -> Records:
    """A record per edge, and one of the readout where there is one; None where it has no such thing."""
    network = model.network
    signal_layers = model.signals.layers if model.signals is not None else []
    records = []
    for edge in network.edges:
        connection = edge if isinstance(edge, Connection) else None
        records.append(
            {
                "layer": edge.target,
                "name": edge.name,
                "kind": edge.kind,
                "weights": list(connection.weight.shape) if connection else None,
                "pool": edge.pool,
                "state": list(edge.out_shape),
                "neurons": math.prod(edge.out_shape),
                "parameters": connection.weight.numel() + connection.bias.numel() if connection else 0,
                "activation": network.activations[edge.target].name,
                "learning_rate": rates[edge.target] if connection else None,
                "signal": edge.target in signal_layers,
            }
        )
    if (readout := network.readout) is not None:
        records.append(
            {
                **dict.fromkeys(records[0]),
                "layer": network.layers,
                "name": "readout",
                "kind": "readout",
                "weights": list(readout.weight.shape),
                "parameters": readout.weight.numel() + readout.bias.numel(),
                "activation": "softmax",
            }
        )
    return records


def _layer_row(record: dict[str, Any]) -> dict[str, str]:
    """A record of :func:`_layers` for people."""
    rate, neurons = record["learning_rate"], record["neurons"]
    return {
        "layer": str(record["layer"]),
        "name": record["name"],
        "weights": _shape(record["weights"]) if record["weights"] else record["kind"],
        "pool": record["pool"] or "-",
        "state": _shape(record["state"]) if record["state"] else "-",
        "neurons": "-" if neurons is None else f"{neurons:,}",
        "parameters": f"{record['parameters']:,}",
        "activation": record["activation"],
        "rate": "-" if rate is None else f"{rate:g}",
        "signal": "yes" if record["signal"] else "-",
    }


def _tiles(model: Model) -> Records:
    """A record per connection; ``utilisation``: mean share of the cells used; ``reuse``: see the notes."""
    tiles = model.plan.to_frame()
    records = []
    for number, geometry in enumerate(model.plan.geometries):
        mine = tiles[model.plan.tile_range(number)]
        records.append(
            {
                "layer": int(mine["layer"].iloc[0]),
                "name": geometry.name,
                "tiles": len(mine),
                "grid": list(model.plan.grid(number)),
                "utilisation": float(mine["utilisation"].mean()),
                "reuse": int(mine["reuse"].iloc[0]),
            }
        )
    return records


def _tile_rows(records: Records, utilisation: float) -> Rows:
    """:func:`_tiles` for people, with a row of all, whose ``utilisation`` is the mean of all tiles."""
    rows = [
        {
            "layer": str(record["layer"]),
            "name": record["name"],
            "tiles": str(record["tiles"]),
            "grid": _shape(record["grid"]),
            "utilisation": f"{record['utilisation']:.1%}",
            "reuse": str(record["reuse"]),
        }
        for record in records
    ]
    total = str(sum(record["tiles"] for record in records))
    return [
        *rows,
        {"layer": "-", "name": "all", "tiles": total, "grid": "-", "utilisation": f"{utilisation:.1%}", "reuse": "-"},
    ]


def _memory_rows(scenario: Scenario, table: pd.DataFrame) -> Rows:
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
