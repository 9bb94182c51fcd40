"""One look for every picture, with colours that colour-blind readers tell apart."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator, NullLocator
from PIL import Image

from neurosim_ep.analysis.files import File, write

# Okabe & Ito, "Color Universal Design" (2008), without black and yellow.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5F5F5F")
INK = "#222222"
GREY = "#6A6A6A"
FAINT = "#9A9A9A"
HATCHES = ("", "////", "....", "xxxx")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
SEQUENTIAL = "viridis"
PHASES = {"free": "free", "nudge_plus": "nudge +β", "nudge_minus": "nudge −β", "update": "update"}
CLEAR = [withStroke(linewidth=2.5, foreground="white")]
"""What keeps figures beside bars clear of the lines behind them."""
REST: dict[str, Any] = {"color": "#CFCFCF"}
"""The fill of the part of a stack that holds all small parts."""

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.edgecolor": "#777777",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.title_fontsize": 9,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "hatch.linewidth": 0.6,
    "figure.dpi": 160,
    "savefig.facecolor": "white",
    "svg.hashsalt": "neurosim-ep",
    "pdf.fonttype": 42,
}
PAPER: dict[Any, Any] = {
    "figure.dpi": 300, "axes.linewidth": 0.5, "grid.linewidth": 0.4, "hatch.linewidth": 0.4,
    "axes.titleweight": "normal", "legend.fontsize": 6.2, "legend.title_fontsize": 6.2,
}  # fmt: skip
"""What is else on paper."""


@dataclass(frozen=True)
class Output:
    """What pictures are saved as.

    Args:
        formats: "svg", "png" or "pdf".
        paper: for a two-column page: as wide as a column, or as both where panels stand side by side; no title, which
            ``NAME.txt`` beside it has for the caption; letters of 6 to 7 points, which files carry with them.
    """

    formats: tuple[str, ...] = ("svg", "png")
    paper: bool = False

    @classmethod
    def of(cls, formats: tuple[str, ...], *, paper: bool) -> Output:
        """In ``formats``, or where there are none in those that the screen or paper is for."""
        return cls(formats or (("pdf",) if paper else cls.formats), paper)


SCREEN = Output()
_OUTPUT: ContextVar[Output] = ContextVar("output", default=SCREEN)
COLUMN, PAGE = 3.4, 7.0  # inches of a column and of both
WIDE = 9.8  # inches on screen from which a picture takes both columns
SHRUNK, SMALLEST = 0.68, 6.0  # letters on paper over those on screen, and points they have at least
LETTER = 0.62  # width of a letter over its height


class Picture(Figure):
    """A figure that notebooks show by itself, whether pyplot is loaded or not, and what its caption says."""

    caption = ""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        raster = io.BytesIO()
        with matplotlib.rc_context(STYLE):
            self.savefig(raster, format="png")
        width, height = (round(SCREEN_DPI * inches) for inches in self.get_size_inches())
        return raster.getvalue(), {"width": width, "height": height}


SCREEN_DPI = 80
"""Pixels of a page per inch of a picture, which is drawn finer."""


def canvas(title: str, run: str, explanation: str, width: float = 9.0, height: float = 5.0) -> Figure:
    """An empty figure (inches) with a headline, the run it shows and one line that explains the picture.

    On paper they are its caption, and it has the room of a column or of a page.
    """
    if _OUTPUT.get().paper:
        room = COLUMN if width < WIDE else PAGE
        high = (height - 0.85) * (0.62 if room == COLUMN else 0.72)
        figure = Picture(figsize=(room, high), layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02))
        figure.caption = " ".join(text if text[-1:] in ".?" else f"{text}." for text in (title, explanation, run))
        return figure
    layout = ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - 0.85 / height), w_pad=0.1, h_pad=0.08)
    figure = Picture(figsize=(width, height), layout=layout)
    left = 0.12 / width
    figure.text(left, 1 - 0.11 / height, title, fontsize=13, fontweight="bold", va="top")
    figure.text(left, 1 - 0.38 / height, explanation, fontsize=9.5, va="top")
    figure.text(left, 1 - 0.61 / height, run, fontsize=9, color=GREY, va="top", parse_math=False)
    return figure


def on_paper() -> bool:
    """Whether pictures are drawn for a two-column page."""
    return _OUTPUT.get().paper


def legend_columns(figure: Figure, most: int) -> int:
    """Columns of a legend of ``figure``, ``most`` where there is room: in a column of a page two stand side by side."""
    return min(most, 2) if figure.get_figwidth() <= COLUMN else most


def layer_axis(axes: Axes, names: list[str]) -> None:
    """One tick per layer on the x axis, in order of depth; the names are turned where they have no room."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    points = max(SMALLEST, SHRUNK * STYLE["font.size"]) if on_paper() else STYLE["font.size"]
    room = 72 * figure.get_figwidth() * axes.get_position().width / len(names)
    turned = len(names) > 8 or LETTER * points * max(map(len, names)) > room
    axes.set_xticks(
        range(len(names)),
        names,
        rotation=40 if turned else 0,
        ha="right" if turned else "center",
        rotation_mode="anchor",
    )
    axes.set_xlim(-0.6, len(names) - 0.4)


def tick_axis(axes: Axes) -> None:
    """An x axis that counts the ticks of a phase: whole numbers only."""
    axes.set_xlabel("tick of the phase")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))


def log_floor(values: np.ndarray) -> float:
    """The power of ten below the smallest positive of ``values`` and below 1: where a log axis shows zero."""
    smallest = values[values > 0].min(initial=1.0)
    return 10.0 ** (math.ceil(math.log10(smallest) - 1e-9) - 1)


def look(line: int) -> tuple[str, str]:
    """Colour and marker of the line with this number; the first 49 all differ."""
    turn, place = divmod(line, len(PALETTE))
    return PALETTE[place], MARKERS[(place + turn) % len(MARKERS)]


def covered(look: dict[str, Any]) -> dict[str, Any]:
    """``look`` of a line that another may cover: broad and pale, so that both are seen."""
    width, size = (look.get(key, STYLE[f"lines.{key}"]) for key in ("linewidth", "markersize"))
    return look | {"linewidth": 3 * width, "markersize": size + 4, "alpha": 0.4}


def epoch_axis(axes: Axes, most: int = 16) -> None:
    """An x axis that counts epochs with at most ``most`` whole numbers."""
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(most, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))


def fill(part: int) -> dict[str, Any]:
    """Colour and hatch of the part with this number in a stack; the first 28 all differ."""
    return {"color": PALETTE[part % len(PALETTE)], "hatch": HATCHES[part // len(PALETTE)]}


def save(draw: Callable[[], Figure], stem: Path, output: Output = SCREEN) -> list[Path]:
    """Draw in this style and write ``stem.svg``, ``stem.png`` or ``stem.pdf``, whichever ``output`` asks for; the same
    input gives the same bytes of SVG and PDF.

    Raises :class:`UsageError` when they cannot be written.
    """
    return write(render(draw, stem, output))


def render(draw: Callable[[], Figure], stem: Path, output: Output = SCREEN) -> list[File]:
    """The files of :func:`save` and their contents, on paper with the words of the caption; nothing is written."""
    paths = [stem.with_name(f"{stem.name}.{form}") for form in output.formats]
    with matplotlib.rc_context(STYLE | (PAPER if output.paper else {})):
        before = _OUTPUT.set(output)
        try:
            figure = draw()
        finally:
            _OUTPUT.reset(before)
        canvas = FigureCanvasAgg(figure)
        if output.paper:
            _shrink(figure)
        _lay_out(figure)
        drawn = [_rendered(figure, canvas, form) for form in output.formats]
    if isinstance(figure, Picture) and figure.caption:
        paths.append(stem.with_name(f"{stem.name}.txt"))
        drawn.append(f"{figure.caption}\n".encode())
    return list(zip(paths, drawn, strict=True))


def _rendered(figure: Figure, canvas: FigureCanvasAgg, form: str) -> bytes:
    """The bytes of a file of this format."""
    file = io.BytesIO()
    if form == "png":
        canvas.draw()
        pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")  # every picture is opaque
        pixels.save(file, "PNG", dpi=(figure.dpi,) * 2, compress_level=3)
    else:
        figure.savefig(file, format=form, metadata={"Date": None} if form == "svg" else {"CreationDate": None})
    return file.getvalue()


def _shrink(figure: Figure) -> None:
    """Letters, lines and marks of a picture for the screen, for paper."""
    in_legends = {text for legend in figure.findobj(Legend) for text in legend.findobj(Text)}
    for text in figure.findobj(Text):
        if isinstance(text, Text) and text not in in_legends:
            text.set_fontsize(max(SMALLEST, SHRUNK * float(text.get_fontsize())))
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_tick_params(which="both", labelsize=max(SMALLEST, SHRUNK * STYLE["font.size"]))
    for line in figure.findobj(Line2D):
        if isinstance(line, Line2D):
            line.set_linewidth(SHRUNK * line.get_linewidth())
            line.set_markersize(SHRUNK * line.get_markersize())


def _lay_out(figure: Figure) -> None:
    """Place everything once and for all, at the resolution of the PNG: each ``savefig`` would do so again.

    Ticks without labels need no room of their own; log axes have them by the dozen, and layout would measure each.
    """
    plain = {
        axis: axis.get_minor_locator()
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        if not any(label.get_text() for label in axis.get_ticklabels(minor=True))
    }
    for axis in plain:
        axis.set_minor_locator(NullLocator())
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.execute(figure)
    figure.set_layout_engine(None)
    for axis, locator in plain.items():
        axis.set_minor_locator(locator)
