"""Tile counts as a checkpoint holds them: tensors and plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from neurosim_ep.hardware.chip.counts import TICK_TABLES, TileCounts


def counts_state(counts: TileCounts) -> dict[str, Any]:
    """``counts`` for a checkpoint."""
    return {
        "traffic": torch.from_numpy(counts.traffic),
        "update": torch.from_numpy(counts.update),
        **{
            name: {phase: torch.from_numpy(table) for phase, table in getattr(counts, name).items()}
            for name in TICK_TABLES
        },
        "samples": counts.samples,
        "batches": counts.batches,
        "applied": counts.applied,
    }


def counts_in(state: Mapping[str, Any]) -> TileCounts:
    """The counts of a :func:`counts_state`."""
    tables: dict[str, Any] = {
        name: {phase: table.cpu().numpy() for phase, table in state[name].items()} for name in TICK_TABLES
    }
    return TileCounts(
        state["traffic"].cpu().numpy(), state["update"].cpu().numpy(), **tables,
        samples=state["samples"], batches=state["batches"],
        applied=state.get("applied", False),  # not of earlier versions
    )  # fmt: skip
