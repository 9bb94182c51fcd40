"""What it saves to fill places again: `python tests/benchmarks/testing.py RUN_DIR` prints one JSON object.

The test images of RUN_DIR relax on its trained network batch by batch and as one queue, in turn. ``seconds`` are
medians of the pairs, ``captured`` what a CUDA device is asked for: ticks it launches, and rows it computes in them.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import torch
from relaxation import timed
from subject import Subject, add_device, device_name, load_subject

from neurosim_ep.scheduler.engine import Engine
from neurosim_ep.scheduler.graphs import Host
from neurosim_ep.scheduler.presentation import free_phase, free_phases
from neurosim_ep.scheduler.schedule import Schedule
from neurosim_ep.train.trainer import TEST_BATCH


class Counted:
    """Stands for captured graphs: runs every block and counts its work."""

    failure = ""

    def __init__(self) -> None:
        self.steps = self.rows = 0

    def run(self, key: Hashable, block: Callable[[], None], host: Host) -> None:
        _, _, active, steps = key  # type: ignore[misc]
        self.steps, self.rows = self.steps + steps, self.rows + steps * active
        block()


def by_batch(engine: Engine, subject: Subject, ticks: int) -> list[int]:
    """Ticks of every image, a batch at a time."""
    ends = (free_phase(engine.network, x, ticks, engine=engine) for x in subject.x.split(TEST_BATCH))
    return [tick for end in ends for tick in end.ticks.tolist()]


def by_queue(engine: Engine, subject: Subject, ticks: int) -> list[int]:
    """Ticks of every image, each beginning where another has ended."""
    batches = ((x, None) for x in subject.x.split(TEST_BATCH))
    return [
        tick for _, end in free_phases(engine.network, batches, ticks, engine=engine) for tick in end.ticks.tolist()
    ]


def captured(way: Callable[..., Any], subject: Subject, schedule: Schedule, ticks: int) -> dict[str, int]:
    """What captured blocks are asked for."""
    engine, blocks = Engine(subject.model.network, schedule), Counted()
    engine.graphs = blocks  # type: ignore[assignment]
    way(engine, subject, ticks)
    return {"ticks": blocks.steps * engine.policy.ticks, "row_ticks": blocks.rows * engine.policy.ticks}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--free", type=int, default=400, help="T")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    parser.add_argument("--policy", default="alternating")
    parser.add_argument("--pairs", type=int, default=3)
    add_device(parser)
    options = parser.parse_args()
    subject = load_subject(options.run_dir, options.images, options.device)
    schedule = Schedule(options.policy, options.tolerance)
    engine = Engine(subject.model.network, schedule)
    ways: dict[str, Callable[..., Any]] = {"by_batch": by_batch, "by_queue": by_queue}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, list[int]] = {}
    for _ in range(options.pairs):
        for name, way in ways.items():
            took, found[name] = timed(options.device, lambda way=way: way(engine, subject, options.free))
            seconds[name].append(took)
    print(
        json.dumps(
            {
                "data": subject.source, "images": len(subject.y), "T": options.free, "policy": options.policy,
                "device": device_name(options.device), "threads": torch.get_num_threads(), "torch": torch.__version__,
                "mean_ticks": {name: statistics.mean(ticks) for name, ticks in found.items()},
                "seconds": {name: round(statistics.median(took), 2) for name, took in seconds.items()},
                "ratios": [round(one / other, 3) for one, other in zip(*seconds.values(), strict=True)],
                "captured": {name: captured(way, subject, schedule, options.free) for name, way in ways.items()},
            },
            indent=1,
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
