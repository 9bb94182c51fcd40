"""Printing SI quantities. Values are stored in base units; prefixes exist only on screens."""

from __future__ import annotations

import math

_PREFIXES = {
    -18: "a", -15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P",
}  # fmt: skip


def format_si(value: float, unit: str, digits: int = 3) -> str:
    """``format_si(2.5e-9, "J")`` is ``"2.50 nJ"``: three significant digits and an SI prefix."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}"
    scale, name = si_prefix(value, unit)
    scaled = value / scale
    decimals = max(digits - 1 - math.floor(math.log10(abs(scaled))), 0) if scaled else 0
    return f"{scaled:.{decimals}f} {name}"


def si_prefix(value: float, unit: str) -> tuple[float, str]:
    """What ``value`` is best said in: ``si_prefix(2.5e-9, "J")`` is ``(1e-9, "nJ")``."""
    if value == 0 or not math.isfinite(value):
        return 1.0, unit
    exponent = 3 * math.floor(math.log10(abs(value)) / 3)
    exponent = min(max(exponent, min(_PREFIXES)), max(_PREFIXES))
    return 10.0**exponent, _PREFIXES[exponent] + unit


def format_time(seconds: float) -> str:
    """Two units of a duration: ``format_time(130)`` is ``"2 min 10 s"``; two digits below ten seconds."""
    if seconds < 9.5:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def format_bits(bits: float) -> str:
    """A memory size in bytes with a binary prefix: ``format_bits(8 * 2048)`` is ``"2.00 KiB"``."""
    size = bits / 8
    for prefix in ("", "Ki", "Mi", "Gi"):
        if size < 1024:
            return f"{size:.2f} {prefix}B"
        size /= 1024
    return f"{size:.2f} TiB"
