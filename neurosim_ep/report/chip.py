"""Tiles of the chip and the links between them, where they lie, with their energy and traffic."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurosim_ep.analysis.load import NothingToDraw, Run, read_once
from neurosim_ep.record.traffic import open_traffic
from neurosim_ep.report.figure import Figure
from neurosim_ep.report.grids import links, mesh
from neurosim_ep.report.markup import Html, join, show
from neurosim_ep.units import format_si

LINKS = 3000
"""Links that are drawn at most, those with the most bits."""


@dataclass(frozen=True)
class Mesh:
    """Tiles and links as they were recorded: per training sample, in event style."""

    tiles: pd.DataFrame
    links: pd.DataFrame


def read_mesh(run: Run) -> Mesh:
    """Places, energies and traffic of the tiles, and bits over the links."""
    return _read(run.existing("traffic.h5"))


@read_once
def _read(path: Path) -> Mesh:
    """See :func:`read_mesh`; from the file at ``path``."""
    with open_traffic(path) as file:
        samples = int(file["batches/samples"][:].sum())
        if not samples:
            raise NothingToDraw("no batch has been recorded yet")
        tiles = pd.DataFrame(
            {key: file[f"tiles/{key}"][:] for key in ("tile", "layer", "rows", "columns", "utilisation")}
        )
        tiles.insert(2, "name", file["tiles/name"].asstr()[:])
        tiles[["x", "y"]] = np.stack([file["places/x"][:], file["places/y"][:]], 1)
        cost = pd.DataFrame({key: file[f"cost/{key}"][:] for key in ("tile", "energy_J")})
        mine = cost[(file["cost/style"].asstr()[:] == "event") & (cost["tile"] >= 0)]
        tiles["energy_J"] = np.bincount(mine["tile"], mine["energy_J"], len(tiles)) / samples
        for end, column in (("src", "sent_bits"), ("dst", "received_bits")):
            whole = pd.DataFrame({key: file[f"noc/{key}"][:] for key in (end, "bits")})
            whole = whole[whole[end] >= 0]
            tiles[column] = np.bincount(whole[end], whole["bits"], len(tiles)) / samples
        table = pd.DataFrame({key: file[f"links/{key}"][:] for key in ("x", "y", "bits")})
        table.insert(0, "side", file["links/side"].asstr()[:])
    summed = table.groupby(["side", "x", "y"], as_index=False)[["bits"]].sum()
    summed["bits"] = summed["bits"] / samples
    return Mesh(tiles, summed.sort_values("bits", ascending=False, ignore_index=True))


def tile_map(found: Mesh) -> Html:
    """Energy of every tile, where it lies."""
    tiles = found.tiles
    told = [
        f"tile {row.tile} at column {row.x}, row {row.y}: {row.name_} (layer {row.layer}), {row.rows} x {row.columns} "
        "cells used; "
        f"{show(row.energy_J, 'J')} per image, sends {_bits(row.sent_bits)}, gets {_bits(row.received_bits)}"
        for row in tiles.rename(columns={"name": "name_"}).itertuples()
    ]
    hottest = tiles.iloc[int(tiles["energy_J"].to_numpy().argmax())]
    figure = Figure(
        "tiles",
        "Energy of every tile",
        "The chip from above, event style; numbers are layers, the port to the outside is at the upper left.",
        f"{len(tiles)} tiles; the hottest is tile {hottest['tile']} of {hottest['name']} with "
        f"{show(float(hottest['energy_J']), 'J')} per image.",
    )
    x, y = tiles["x"].to_numpy(), tiles["y"].to_numpy()
    layers = [str(layer) for layer in tiles["layer"]]
    return mesh(figure, x, y, tiles["energy_J"].to_numpy(), told, layers, unit="J", what="per training image")


def link_map(found: Mesh) -> Html:
    """Bits over every link of the mesh."""
    frame, tiles = found.links.head(LINKS), found.tiles
    if frame.empty:
        raise NothingToDraw("no message crossed a link: every tile reaches what it drives inside its own core")
    told = [
        f"link from column {row.x}, row {row.y} to the {row.side}: {_bits(row.bits)} per image"
        for row in frame.itertuples()
    ]
    busiest = frame.iloc[0]
    cut = f" The {LINKS:,} busiest of {len(found.links):,} links." if len(found.links) > LINKS else ""
    figure = Figure(
        "links",
        "Traffic on the mesh",
        "Bits over each link per training image, event style; the thicker, the more; the busiest in another "
        f"colour.{cut}",
        f"The busiest link leaves column {busiest['x']}, row {busiest['y']} to the {busiest['side']} with "
        f"{_bits(busiest['bits'])} per image.",
    )
    places = tiles["x"].to_numpy(), tiles["y"].to_numpy()
    starts = frame["x"].to_numpy(), frame["y"].to_numpy()
    return links(figure, places, list(frame["side"]), starts, frame["bits"].to_numpy(), told)


def _bits(bits: Any) -> str:
    return format_si(float(bits), "bit")


def mesh_figures(run: Run) -> Html:
    """Tile map and links."""
    found = read_mesh(run)
    return join(tile_map(found), link_map(found))
