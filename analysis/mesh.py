"""Where on the chip is the energy spent, and which links are the busiest?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from neurosim_ep.analysis.load import NothingToDraw, Run
from neurosim_ep.analysis.style import INK, SEQUENTIAL, canvas
from neurosim_ep.record.traffic import open_traffic
from neurosim_ep.units import format_si

STEPS = {"east": (1, 0), "west": (-1, 0), "south": (0, 1), "north": (0, -1)}
ASIDE = 0.12  # how far the two directions of a link are drawn apart


def draw(run: Run) -> Figure:
    """The mesh twice, in event style: energy of every tile per image, and bits over every link per image."""
    places, links, energy_J, samples = _read(run)
    if not energy_J.any():
        raise NothingToDraw("every energy is zero in the run's hardware model; rram_32nm is one with costs")
    figure = canvas(
        "Tiles and links of the chip",
        run.label,
        "Event style, mean of the recorded batches. Numbers are layers; the port to the outside is at the upper left.",
        width=11.5,
        height=5.6,
    )
    left, right = figure.subplots(1, 2)
    _draw_tiles(figure, left, places, energy_J / samples)
    _draw_links(figure, right, places, links, samples)
    for axes in (left, right):
        axes.set_aspect("equal")
        axes.set_xlim(-0.6, places["x"].max() + 0.6)
        axes.set_ylim(places["y"].max() + 0.6, -0.6)
        axes.set_xlabel("column of the mesh")
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(10, integer=True))
    left.set_ylabel("row of the mesh")
    return figure


def _read(run: Run) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray, int]:
    """Places with the layer of each tile, links summed over phases, J of each tile, and recorded samples."""
    path = run.existing("traffic.h5")
    with open_traffic(path) as file:
        places = pd.DataFrame({key: file[f"places/{key}"][:] for key in ("x", "y")})
        places["layer"] = file["tiles/layer"][:]
        links = pd.DataFrame({key: file[f"links/{key}"][:] for key in ("x", "y", "bits")})
        links["side"] = file["links/side"].asstr()[:]
        cost = pd.DataFrame({key: file[f"cost/{key}"][:] for key in ("tile", "energy_J")})
        cost["style"] = file["cost/style"].asstr()[:]
        samples = int(file["batches/samples"][:].sum())
    mine = cost[(cost["style"] == "event") & (cost["tile"] >= 0)]
    energy_J = np.bincount(mine["tile"], weights=mine["energy_J"], minlength=len(places))
    return places, links.groupby(["side", "x", "y"], as_index=False)[["bits"]].sum(), energy_J, samples


def _draw_tiles(figure: Figure, axes: Axes, places: pd.DataFrame, energy_J: np.ndarray) -> None:
    grid = np.full((places["y"].max() + 1, places["x"].max() + 1), np.nan)
    grid[places["y"], places["x"]] = energy_J
    image = axes.imshow(grid, cmap=SEQUENTIAL, vmin=0)
    bright = energy_J > 0.6 * energy_J.max()
    if len(places) <= 150:
        for (x, y, layer), light in zip(places[["x", "y", "layer"]].to_numpy(), bright, strict=True):
            axes.text(x, y, str(layer), ha="center", va="center", fontsize=7, color=INK if light else "white")
    figure.colorbar(image, ax=axes, format=EngFormatter(unit="J"), shrink=0.8)
    axes.set_title(f"energy of each tile per image (hottest: {format_si(float(energy_J.max()), 'J')})")


def _draw_links(figure: Figure, axes: Axes, places: pd.DataFrame, links: pd.DataFrame, samples: int) -> None:
    axes.plot(places["x"], places["y"], linestyle="", marker="s", color="#D8D8D8", markersize=4, zorder=1)
    if links.empty:
        axes.set_title("no message crossed a link")
        return
    step = np.array([STEPS[side] for side in links["side"]])
    start = links[["x", "y"]].to_numpy() + ASIDE * step[:, ::-1] * [-1, 1]
    bits = links["bits"].to_numpy() / samples
    lines = LineCollection(np.stack([start, start + step], 1).tolist(), array=bits, cmap=SEQUENTIAL, linewidths=3)
    lines.set_clim(0, bits.max())
    axes.add_collection(lines)
    hottest = int(bits.argmax())
    x, y = (start + step / 2)[hottest]
    axes.plot([x], [y], marker="o", markersize=12, markerfacecolor="none", markeredgecolor="#D55E00", zorder=3)
    figure.colorbar(lines, ax=axes, format=EngFormatter(unit="bit"), shrink=0.8)
    axes.set_title(f"bits over each link per image (ringed: {format_si(float(bits[hottest]), 'bit')})")
