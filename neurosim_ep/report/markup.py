"""HTML and SVG made of elements, so that what comes from files is always escaped, and numbers with their units."""

from __future__ import annotations

import math
from html import escape
from typing import Any

from neurosim_ep.units import format_bits, format_si, format_time

VOID = {"br", "meta", "wbr", "line", "rect", "path", "circle", "use"}
"""Elements that are left empty where they have no children."""
PREFIXED = {"J", "s", "W", "V", "S", "F", "J/bit", "J/bit/m", "W/bit", "m"}
"""Units that are shown with a prefix."""
SHOWN = {*PREFIXED, "fraction", "bit", "m²"}
"""Units that :func:`show` shows."""


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def tag(name: str, *children: object, **attributes: object) -> Html:
    """An element; children that are no :class:`Html` are escaped, lists flattened, None left out.

    ``class_`` is the attribute ``class``, and ``aria_label`` is ``aria-label``; True is an attribute without a value,
    None and False leave it out, and floats are rounded to a hundredth, as coordinates are.
    """
    words = [
        name,
        *(_attribute(key, value) for key, value in attributes.items() if value is not None and value is not False),
    ]
    inner = join(*children)
    if not inner and name in VOID:
        return Html(f"<{' '.join(words)}/>")
    return Html(f"<{' '.join(words)}>{inner}</{name}>")


def join(*children: object) -> Html:
    """``children`` one after the other; see :func:`tag`."""
    parts: list[str] = []
    for child in children:
        if isinstance(child, list | tuple):
            parts.append(join(*child))
        elif child is not None:
            parts.append(child if isinstance(child, Html) else escape(plain(child), quote=False))
    return Html("".join(parts))


def _attribute(key: str, value: object) -> str:
    name = key.rstrip("_").replace("_", "-") if key != "viewBox" else key
    if value is True:
        return name
    text = place(value) if isinstance(value, float) else plain(value)
    return f'{name}="{escape(text)}"'


def plain(value: object) -> str:
    """``value`` as text that can be written: names of files need not be any."""
    return str(value).encode(errors="backslashreplace").decode()


def place(value: float) -> str:
    """A coordinate."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def show(value: Any, unit: str = "") -> str:
    """A cell or figure for people: with the prefix of its ``unit``, a share in per cent, a count with its thousands."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return plain(value)
    if unit == "fraction":
        return f"{value:.1%}" if not 0 < value < 1e-3 else f"{100 * value:.2g}%"
    if unit in PREFIXED and math.isfinite(value):
        return format_si(value, unit)
    if unit == "bit":
        return format_bits(value)
    if unit == "m²":
        return f"{value * 1e6:.4g} mm²"
    return _number(value)


def _number(value: float) -> str:
    if value == round(value) and abs(value) < 1e15:
        return f"{value:,.0f}"
    if 1e4 <= abs(value) < 1e12:
        return f"{value:,.0f}"
    return f"{value:.4g}" if 1e-3 <= abs(value) < 1e4 else f"{value:.3e}"


def duration(seconds: object) -> str:
    """Seconds from a file in words, or nothing."""
    return format_time(float(seconds)) if isinstance(seconds, int | float) else ""


def defined(text: object, meaning: str) -> Html:
    """``text`` with what it means, shown when it is pointed at or reached by the keyboard."""
    return tag("span", text, class_="def", tabindex=0, title=meaning) if meaning else join(text)
