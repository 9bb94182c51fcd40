"""Where on the chip is the energy spent, and which links are the busiest?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, NullFormatter

from neurosim_ep.analysis.load import NothingToDraw, Run
from neurosim_ep.analysis.scales import RoundNumbers
from neurosim_ep.analysis.style import INK, PALETTE, SEQUENTIAL, canvas
from neurosim_ep.record.traffic import open_traffic
from neurosim_ep.units import format_si

STEPS = {"east": (1, 0), "west": (-1, 0), "south": (0, 1), "north": (0, -1)}
ASIDE = 0.12  # how far the two directions of a link are drawn apart
DECADES = 1e4  # range of the colours of links at most: what carries less has the darkest
SCALE = (1.03, 0.0, 0.03, 1.0)  # place of a scale of colours, in parts of its panel, which is as high
NAMED = 40  # routers up to which each has the names of its layers


def draw(run: Run) -> Figure:
    """The mesh twice, in event style: energy of the tiles at every router per image, and bits over every link."""
    places, links, energy_J, total_J, samples = _read(run)
    if not energy_J.any():
        raise NothingToDraw("every energy is zero in the run's hardware model; rram_32nm is one with costs")
    figure = canvas(
        "Tiles and links of the chip",
        run.label,
        "Event style, per image, mean of the recorded batches. A square is a router with its tiles; the rest of the "
        "energy is of no tile.",
        width=12.5,
        height=min(5.8, 1.75 + 4.7 * (places["y"].max() + 1.2) / (places["x"].max() + 1.55)),
    )
    left, right = figure.subplots(1, 2)
    _draw_tiles(figure, left, places, energy_J / samples)
    of_tiles, in_all = (format_si(float(one) / samples, "J") for one in (energy_J.sum(), total_J))
    left.set_title(f"energy of the tiles: {of_tiles} of {in_all}")
    _draw_links(figure, right, places, links, samples)
    for axes in (left, right):
        axes.set_aspect("equal")
        axes.set_xlim(-0.95, places["x"].max() + 0.6)
        axes.set_ylim(places["y"].max() + 0.6, -0.6)
        axes.set_xlabel("column of the mesh")
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
        axes.yaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
        axes.annotate(
            "port", (-0.5, 0), (-0.93, 0), va="center", fontsize=8, color=PALETTE[1], rotation=90,
            arrowprops={"arrowstyle": "<->", "color": PALETTE[1]},
        )  # fmt: skip
    left.set_ylabel("row of the mesh")
    return figure


def _read(run: Run) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray, float, int]:
    """Places with the name of the layer of each tile, links summed over phases, J of each tile and of the whole bill,
    recorded samples.
    """
    path = run.existing("traffic.h5")
    with open_traffic(path) as file:
        places = pd.DataFrame({key: file[f"places/{key}"][:] for key in ("x", "y")})
        places["name"] = file["layers/name"].asstr()[:][file["tiles/layer"][:]]
        links = pd.DataFrame({key: file[f"links/{key}"][:] for key in ("x", "y", "bits")})
        links["side"] = file["links/side"].asstr()[:]
        cost = pd.DataFrame({key: file[f"cost/{key}"][:] for key in ("tile", "energy_J")})
        cost["style"] = file["cost/style"].asstr()[:]
        samples = int(file["batches/samples"][:].sum())
    cost = cost[cost["style"] == "event"]
    mine = cost[cost["tile"] >= 0]
    energy_J = np.bincount(mine["tile"], weights=mine["energy_J"], minlength=len(places))
    links = links.groupby(["side", "x", "y"], as_index=False)[["bits"]].sum()
    return places, links, energy_J, float(cost["energy_J"].sum()), samples


def _draw_tiles(figure: Figure, axes: Axes, places: pd.DataFrame, energy_J: np.ndarray) -> None:
    """The energy of the tiles of every router, with the layers that lie there."""
    x, y = places["x"].to_numpy(), places["y"].to_numpy()
    grid = np.full((y.max() + 1, x.max() + 1), np.nan)
    grid[y, x] = 0.0
    np.add.at(grid, (y, x), energy_J)
    image = axes.imshow(grid, cmap=SEQUENTIAL, vmin=0)
    layers: dict[tuple[int, int], dict[str, None]] = {}
    for column, row, name in zip(x.tolist(), y.tolist(), places["name"], strict=True):
        layers.setdefault((column, row), {})[name] = None
    if len(layers) <= NAMED:
        size = 8.5 if len(layers) <= 9 else 6.5
        for (column, row), names in layers.items():
            ink = INK if grid[row, column] > 0.6 * np.nanmax(grid) else "white"
            axes.text(column, row, "\n".join(names), ha="center", va="center", fontsize=size, color=ink)
    figure.colorbar(image, cax=axes.inset_axes(SCALE), format=EngFormatter(unit="J"))


def _draw_links(figure: Figure, axes: Axes, places: pd.DataFrame, links: pd.DataFrame, samples: int) -> None:
    """An arrow for each direction of each link, coloured by what it carries, on a logarithmic scale."""
    links = links[links["bits"] > 0]
    routers = pd.concat([places[["x", "y"]], links[["x", "y"]]]).drop_duplicates()  # some have links and no tiles
    axes.plot(routers["x"], routers["y"], linestyle="", marker="s", color="#D8D8D8", markersize=4, zorder=1)
    if links.empty:
        axes.set_title("no message crossed a link")
        return
    step = np.array([STEPS[side] for side in links["side"]])
    start = links[["x", "y"]].to_numpy() + 0.12 * step + ASIDE * step[:, ::-1] * [-1, 1]
    end = start + 0.72 * step
    bits = links["bits"].to_numpy() / samples
    wide = bits.max() > 10 * bits.min()
    norm = LogNorm(max(bits.min(), bits.max() / DECADES), bits.max()) if wide else Normalize(0, bits.max())
    lines = LineCollection(np.stack([start, end], 1).tolist(), array=bits, cmap=SEQUENTIAL, linewidths=2.5, norm=norm)
    axes.add_collection(lines)
    for (x, y), (right, down), colour in zip(end, step, lines.to_rgba(bits), strict=True):
        axes.plot(x, y, marker=(3, 0, {(1, 0): -90, (-1, 0): 90, (0, 1): 180, (0, -1): 0}[right, down]), color=colour)
    hottest = int(bits.argmax())
    x, y = ((start + end) / 2)[hottest]
    axes.plot([x], [y], marker="o", markersize=12, markerfacecolor="none", markeredgecolor=PALETTE[1], zorder=3)
    scale = figure.colorbar(lines, cax=axes.inset_axes(SCALE), format=EngFormatter(unit="bit"))
    if wide:
        scale.ax.yaxis.set_major_locator(RoundNumbers())
        scale.ax.yaxis.set_minor_formatter(NullFormatter())
    axes.set_title(f"bits over each link (ringed: {format_si(float(bits[hottest]), 'bit')})")
