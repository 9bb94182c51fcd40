"""What exact tile counters cost: `python tests/benchmarks/counters.py RUN_DIR` prints one JSON object.

A training step whose batch is recorded against the same step without, in turn, in one process: the median over the
pairs of recorded seconds / plain seconds. Counts are read out and the weight updates counted as in a run.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

from relaxation import Product, timed, variants
from subject import Subject, add_device, load_subject

from neurosim_ep.scheduler.schedule import Schedule
from neurosim_ep.telemetry.counters import TileCounter


def recorded_step(subject: Subject, product: Product) -> int:
    """One step of a recorded batch; returns the events sent."""
    counter = TileCounter(subject.model.plan, subject.x.device)
    result = product.present(counter)
    counts = product.steps.apply_update(product.optimiser, subject.batch, result, counter)
    assert counts is not None
    return sum(int(table.sum()) for table in counts.events.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--free", type=int, default=60, help="T")
    parser.add_argument("--nudge", type=int, default=20, help="K")
    parser.add_argument("--pairs", type=int, default=5)
    add_device(parser)
    options = parser.parse_args()
    device = options.device
    subject = load_subject(options.run_dir, options.batch, device)
    report: dict[str, object] = {"batch": options.batch, "T": options.free, "K": options.nudge}
    for name in ("synchronous", "alternating"):
        settings = variants(1e-4, 1e-2)[name]
        product = Product(subject, Schedule(settings.policy, thresholds=1e-3), options.free, options.nudge)
        ratios = []
        for _ in range(options.pairs + 1):
            plain, _ = timed(device, product.step)
            recorded, events = timed(device, lambda product=product: recorded_step(subject, product))
            ratios.append(recorded / plain)
        report[name] = {"recorded / plain": round(statistics.median(ratios[1:]), 3), "events": events}
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
