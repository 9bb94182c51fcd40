"""A bill as plain values for programs, and several bills side by side for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neurosim_ep.hardware.bill.summary import Summary
from neurosim_ep.hardware.chip.styles import Style
from neurosim_ep.hardware.model.quantities import BOUNDS
from neurosim_ep.units import format_si


def bill_document(found: Summary) -> dict[str, Any]:
    """All of a bill, per training sample: ``hardware``, the chip, wear per 1e6 samples, ``styles``, ``notes``.

    Each of ``styles`` has the columns of comparison.csv, the energy of every phase, area, power and break-even points.
    """
    recording = found.recording
    chip, place, model = recording.chip, recording.mesh.placement, recording.chip.model.model
    return {
        "hardware": {"name": model.name, "description": model.description, "node_nm": model.node_nm},
        "samples": recording.counts.samples,
        "batches": recording.counts.batches,
        "tiles": len(chip.plan.tiles),
        "mesh": {"width": place.width, "height": place.height},
        "on_chip_bits": found.on_chip_bits,
        "wear_per_1e6_samples": found.wear,
        "styles": _styles(found),
        "notes": found.notes(),
    }


def _styles(found: Summary) -> list[dict[str, Any]]:
    rows = []
    for one in found.comparisons:
        style = Style(one.style)
        areas = [found.area_m2(style, bound) for bound in BOUNDS]
        rows.append(
            {
                **one._asdict(),
                "phases_J": found.phases_J(one.style),
                "ratio": one.ratio,
                "break_even_ticks": one.break_even_ticks,
                "break_even_events": one.break_even_events,
                "area_m2": areas[0],
                "area_low_m2": min(areas),
                "area_high_m2": max(areas),
                "power_W": found.sanity(style).power_W,
            }
        )
    return rows


def side_by_side(bills: Mapping[str, Summary]) -> list[dict[str, str]]:
    """A row per style and chip of ``bills``, those of one style below each other: what a sample costs there."""
    return [
        {
            "style": style.value,
            "hardware": name,
            "energy": format_si(found.energy_J, "J"),
            "energy interval": f"{format_si(found.energy_low_J, 'J')} - {format_si(found.energy_high_J, 'J')}",
            "time": format_si(found.latency_s, "s"),
            "area": f"{1e6 * bill.area_m2(style):.3g} mm^2",
            "EP / backprop": f"{found.ratio:.3g} ({found.ratio_low:.3g} - {found.ratio_high:.3g})",
        }
        for style in Style
        for name, bill in bills.items()
        for found in bill.comparisons
        if found.style == style
    ]
