"""Curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from neurosim_ep.report.figure import COLOURS, WIDTH, Figure, mark, shape, swatch, text, x_axis, y_axis
from neurosim_ep.report.markup import Html, show, tag
from neurosim_ep.report.scale import Labelled, Names, Scale

LEFT, RIGHT, TOP = 62.0, WIDTH - 12.0, 34.0
CROWDED = 40
"""Points of a curve from which on they have no visible marks."""
LONG = 44
"""Letters of the names on an axis from which on they are turned."""


@dataclass(frozen=True)
class Curve:
    """Points (x, y) with a ``name``; ``band``: (x, smallest, largest); ``joined``: by a line, dashed as ``dash`` says.

    ``look``: number of its colour and marker; ``stepped``: level up to the next point; ``told``: what each says.
    """

    name: str
    points: Sequence[tuple[float, float]]
    look: int = 0
    dash: str = ""
    band: Sequence[tuple[float, float, float]] = ()
    joined: bool = True
    stepped: bool = False
    told: Sequence[str] = ()


@dataclass(frozen=True)
class Lines:
    """Curves on two axes; ``rules``: values of y with a line and a name; ``names``: what stands side by side on the x
    axis instead of numbers; ``labels``: ticks of its own, with their values.
    """

    figure: Figure
    curves: Sequence[Curve]
    x_label: str
    y_label: str
    y_unit: str = ""
    x_unit: str = ""
    log: bool = False
    log_x: bool = False
    zero: bool = False
    whole: bool = False
    rules: Sequence[tuple[float, str]] = ()
    names: Sequence[str] | None = None
    labels: Sequence[tuple[float, str]] = ()

    def draw(self) -> Html:
        turned = sum(map(len, self.names or ())) > LONG
        bottom = 250.0
        height = bottom + (78 if turned else 42)
        x, y = self._x(), self._y(bottom)
        drawn = [
            y_axis(y, LEFT, RIGHT, self.y_label),
            x_axis(x, bottom, self.x_label, turned=turned, y=height - 6),
            [_rule(value, name, y) for value, name in self.rules],
            [self._curve(curve, x, y) for curve in self.curves],
        ]
        legend = []
        for curve in self.curves:
            legend.append([swatch(curve.look, curve.dash, line=curve.joined), curve.name])
        return self.figure.frame(height, drawn, legend=legend if len(legend) > 1 else ())

    def _x(self) -> Scale | Names | Labelled:
        if self.names is not None:
            return Names(self.names, LEFT, RIGHT)
        values = [x for curve in self.curves for x, _ in curve.points]
        scale = Scale.over(values, LEFT + 10, RIGHT - 10, unit=self.x_unit, whole=self.whole, log=self.log_x)
        return Labelled(scale, self.labels) if self.labels else scale

    def _y(self, bottom: float) -> Scale:
        values = [y for curve in self.curves for _, y in curve.points]
        values += [end for curve in self.curves for _, *ends in curve.band for end in ends]
        values += [value for value, _ in self.rules]
        return Scale.over(values, bottom, TOP, unit=self.y_unit, log=self.log, zero=self.zero).widened()

    def _curve(self, curve: Curve, x: Scale | Names | Labelled, y: Scale) -> Html:
        spots = [(x(at), y(value)) for at, value in curve.points]
        parts = []
        if len(curve.band) > 1 and curve.joined:
            upper = [f"{x(at):.1f} {y(high):.1f}" for at, _, high in curve.band]
            lower = [f"{x(at):.1f} {y(low):.1f}" for at, low, _ in reversed(curve.band)]
            parts.append(tag("path", d=f"M{'L'.join(upper + lower)}z", class_="band"))
        parts += [
            tag(
                "path",
                d=f"M{x(at):.1f} {y(low):.1f}V{y(high):.1f}m-4 0h8M{x(at) - 4:.1f} {y(low):.1f}h8",
                class_="whisker",
            )
            for at, low, high in curve.band
            if low < high
        ]
        if curve.joined and len(spots) > 1:
            way = "L".join(f"{a:.1f} {b:.1f}" for a, b in spots)
            if curve.stepped:
                way = f"{spots[0][0]:.1f} {spots[0][1]:.1f}" + "".join(f"H{a:.1f}V{b:.1f}" for a, b in spots[1:])
            parts.append(tag("path", d=f"M{way}", class_=f"line {curve.dash}".rstrip()))
        seen = "dot" if len(spots) <= CROWDED else "hidden"
        for number, (spot, point) in enumerate(zip(spots, curve.points, strict=True)):
            said = curve.told[number] if curve.told else self._said(curve, *point)
            parts.append(mark("path", said, seen, d=shape(curve.look, *spot)))
        return tag("g", parts, class_=f"s{curve.look % COLOURS}")

    def _said(self, curve: Curve, x: float, y: float) -> str:
        known = dict(self.labels)
        where = self.names[int(x)] if self.names is not None else f"{self.x_label} {known.get(x, show(x, self.x_unit))}"
        return f"{curve.name}, {where}: {show(y, self.y_unit) if math.isfinite(y) else 'none'}"


def _rule(value: float, name: str, y: Scale) -> Html:
    at = y(value)
    return tag(
        "g", tag("path", d=f"M{LEFT:g} {at:.1f}H{RIGHT:g}", class_="rule"), text(RIGHT, at - 5, name, "end small")
    )
