"""What pictures have in common: caption, frame, legend, colours, and marks that say what they show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from neurosim_ep.analysis.load import NothingToDraw
from neurosim_ep.report.markup import Html, join, tag
from neurosim_ep.report.scale import Labelled, Names, Scale

WIDTH = 460
COLOURS = 7
VIRIDIS = (
    (68, 1, 84),
    (71, 44, 122),
    (59, 81, 139),
    (44, 113, 142),
    (33, 144, 141),
    (39, 173, 129),
    (92, 200, 99),
    (170, 220, 50),
    (253, 231, 37),
)
"""Colours from nothing to the most, evenly spaced in lightness."""


@dataclass(frozen=True)
class Figure:
    """A picture with its ``title``, a sentence that ``explains`` it and ``alt``, what it shows, in words."""

    name: str
    title: str
    explains: str
    alt: str

    def frame(self, height: float, *drawn: object, legend: Sequence[object] = ()) -> Html:
        """The picture with what was ``drawn`` in it and the items of its ``legend``."""
        label = f"{self.title}. {self.alt} Arrow keys step through the values."
        drawing = tag(
            "svg",
            *drawn,
            viewBox=f"0 0 {WIDTH:g} {height:g}",
            role="img",
            aria_label=label,
            tabindex=0,
        )
        caption = tag("figcaption", tag("h3", self.title), tag("p", self.explains))
        keys = tag("ul", [tag("li", item) for item in legend], class_="legend") if legend else None
        return tag("figure", caption, tag("div", drawing, class_="canvas"), keys, id=f"figure-{self.name}")


def missing(title: str, reason: object) -> Html:
    """What stands in the place of a picture or table that cannot be made."""
    return tag("p", tag("b", f"{title}: "), reason, class_="missing")


def or_missing(title: str, make: Callable[[], Html | None]) -> Html:
    """What ``make`` makes, nothing where it concerns nobody, or why there is nothing to make it of."""
    try:
        return make() or Html()
    except NothingToDraw as reason:
        return missing(title, reason)


def mark(name: str, said: str, class_: str = "", **attributes: object) -> Html:
    """An element that says what it shows when it is pointed at."""
    return tag(name, tag("title", said), class_=f"m {class_}".rstrip(), **attributes)


def text(x: float, y: float, words: object, class_: str = "", **attributes: object) -> Html:
    return tag("text", words, x=float(x), y=float(y), class_=class_ or None, **attributes)


def _mixed(share: float) -> list[int]:
    """Red, green and blue of a value from 0 to 1."""
    at = min(max(share, 0.0), 1.0) * (len(VIRIDIS) - 1)
    lower = min(int(at), len(VIRIDIS) - 2)
    parts = zip(VIRIDIS[lower], VIRIDIS[lower + 1], strict=True)
    return [round(low + (at - lower) * (high - low)) for low, high in parts]


def colour(share: float) -> str:
    """The colour of a value from 0 to 1."""
    return "#" + "".join(f"{part:02x}" for part in _mixed(share))


def on_colour(share: float) -> str:
    """Class of the text on that colour that is told from it best, by the luminance that WCAG 2 defines."""
    parts = [part / 255 for part in _mixed(share)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "dark" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "light"


def colour_bar(low: str, high: str, meaning: str) -> Html:
    """The legend of colours from ``low`` to ``high``."""
    steps = [tag("rect", x=4 * step, y=0, width=4, height=10, fill=colour(step / 23)) for step in range(24)]
    bar = tag("svg", steps, viewBox="0 0 96 10", class_="bar", aria_hidden="true")
    return join(low, bar, high, f" {meaning}")


def x_axis(
    scale: Scale | Names | Labelled, bottom: float, label: str, *, turned: bool = False, y: float | None = None
) -> Html:
    """Ticks below a picture and what they count."""
    parts = []
    for at, words in scale.ticks():
        parts.append(tag("path", d=f"M{at:.1f} {bottom:g}v4", class_="axis"))
        if turned:
            parts.append(text(at, bottom + 14, words, "end", transform=f"rotate(-35 {at:.1f} {bottom + 14:g})"))
        else:
            parts.append(text(at, bottom + 17, words, "middle"))
    middle = (scale.start + scale.end) / 2
    parts.append(text(middle, y or bottom + 35, label, "middle label"))
    return join(parts)


def y_axis(scale: Scale, left: float, right: float, label: str) -> Html:
    """Lines across a picture with their values, and above them what they are."""
    parts = [text(left - 52, min(scale.start, scale.end) - 12, label, "label")]
    for at, words in scale.ticks():
        parts.append(tag("path", d=f"M{left:g} {at:.1f}H{right:g}", class_="grid"))
        parts.append(text(left - 6, at + 4, words, "end"))
    return join(parts)


SHAPES = (
    "M{x} {y}m-3.6 0a3.6 3.6 0 1 0 7.2 0a3.6 3.6 0 1 0 -7.2 0z",
    "M{x} {y}m-3.2 -3.2h6.4v6.4h-6.4z",
    "M{x} {y}m0 -4.4l4.2 7.4h-8.4z",
    "M{x} {y}m0 -4.6l4.6 4.6l-4.6 4.6l-4.6 -4.6z",
    "M{x} {y}m0 4.4l4.2 -7.4h-8.4z",
    "M{x} {y}m-1.6 -4.4h3.2v2.8h2.8v3.2h-2.8v2.8h-3.2v-2.8h-2.8v-3.2h2.8z",
    "M{x} {y}m-4 -4l4 2.4l4 -2.4l-2.4 4l2.4 4l-4 -2.4l-4 2.4l2.4 -4z",
)


def shape(number: int, x: float, y: float) -> str:
    """The path of the marker with this number at a place."""
    return SHAPES[number % len(SHAPES)].format(x=f"{x:.1f}", y=f"{y:.1f}")


def swatch(number: int, dash: str = "", *, line: bool = True) -> Html:
    """The look of a line in a legend."""
    parts = [
        tag("path", d="M0 6H26", class_=f"line {dash}".rstrip()) if line else None,
        tag("path", d=shape(number, 13, 6), class_="dot"),
    ]
    return tag("svg", parts, viewBox="0 0 26 12", class_=f"swatch s{number % COLOURS}", aria_hidden="true")


def span_words(values: Iterable[float], show: Callable[[float], str]) -> str:
    """From the smallest to the largest, as ``show`` puts them."""
    known = list(values)
    return f"{show(min(known))} to {show(max(known))}" if min(known) < max(known) else show(known[0])
