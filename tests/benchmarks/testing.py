"""What it saves to fill places again: `python tests/benchmarks/testing.py RUN_DIR` prints one JSON object.

The test images of RUN_DIR relax on its trained network batch by batch and as one queue, in turn. ``seconds`` are
medians of the pairs, on a CPU those of the processor; ``captured`` is what a CUDA device would be asked for: the ticks
it launches, and the rows computed in them. ``tick_ms`` is what a tick of so many samples takes.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Hashable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from subject import Subject, add_device, device_name, load_subject

from neurosim_ep.scheduler.engine import Engine
from neurosim_ep.scheduler.graphs import Host
from neurosim_ep.scheduler.presentation import free_phase, free_phases
from neurosim_ep.scheduler.schedule import Schedule
from neurosim_ep.train.trainer import TEST_BATCH

ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 250)


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


def tick_ms(subject: Subject, schedule: Schedule, rows: int, clock: Callable[[], float]) -> float:
    """Milliseconds per tick of so many samples that all move."""
    engine, network = Engine(subject.model.network, replace(schedule, tolerance=0.0)), subject.model.network
    few = 2 + 2 * math.ceil(64 / rows)
    ends = []
    for ticks in (2, 2, 2 + few):  # the first prepares
        began = clock()
        free_phase(network, subject.x[:rows], ticks, engine=engine)
        ends.append(clock() - began)
    return 1e3 * (ends[2] - ends[1]) / few


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
    clock = time.process_time if options.device.type == "cpu" else time.perf_counter
    for _ in range(options.pairs):
        for name, way in ways.items():
            began = clock()
            found[name] = way(engine, subject, options.free)
            seconds[name].append(clock() - began)
    print(
        json.dumps(
            {
                "data": subject.source, "images": len(subject.y), "T": options.free, "policy": options.policy,
                "device": device_name(options.device), "threads": torch.get_num_threads(), "torch": torch.__version__,
                "mean_ticks": {name: statistics.mean(ticks) for name, ticks in found.items()},
                "seconds": {name: round(statistics.median(took), 2) for name, took in seconds.items()},
                "ratios": [round(one / other, 3) for one, other in zip(*seconds.values(), strict=True)],
                "tick_ms": {
                    rows: round(statistics.median(tick_ms(subject, schedule, rows, clock) for _ in range(5)), 2)
                    for rows in ROWS
                },
                "captured": {name: captured(way, subject, schedule, options.free) for name, way in ways.items()},
            },
            indent=1,
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
