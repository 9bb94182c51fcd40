"""How much faster than the plain method: `python tests/benchmarks/relaxation.py RUN_DIR` prints one JSON object.

RUN_DIR is what ``subject.py`` trained. Baseline and product run in one process, in turn, on the same threads, weights
and inputs; a ratio is the median over the pairs of baseline seconds / product seconds. The free phase starts from zeros
and a step is the free phase, both nudge phases and the weight update.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from reference import Reference
from subject import Subject, add_device, device_name, load_subject

from neurosim_ep.scheduler.engine import Engine, Relaxation
from neurosim_ep.scheduler.presentation import EPGradients, free_phase
from neurosim_ep.scheduler.quiescence import Motion
from neurosim_ep.scheduler.schedule import Schedule
from neurosim_ep.telemetry.counters import TileCounter
from neurosim_ep.train.step import Step

Seconds = dict[str, list[float]]


def variants(tolerance: float, nudge_tolerance: float) -> dict[str, Schedule]:
    """The schedules that are compared with the baseline."""
    both = {"tolerance": tolerance, "nudge_tolerance": nudge_tolerance}
    return {
        "synchronous, all ticks": Schedule(),
        "synchronous": Schedule(**both),
        "alternating": Schedule("alternating", **both),
        "synchronous, bfloat16": Schedule(precision="bfloat16", **both),
        "alternating, bfloat16": Schedule("alternating", precision="bfloat16", **both),
    }


def timed(device: torch.device, work: Callable[[], object]) -> tuple[float, object]:
    """Seconds of ``work`` with the device's queue empty before and after, and its result."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    result = work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began, result


class Baseline:
    """The reference with plain SGD, timed phase by phase."""

    def __init__(self, subject: Subject, free_steps: int, nudge_steps: int) -> None:
        self.subject, self.free_steps, self.nudge_steps = subject, free_steps, nudge_steps
        self.method = Reference(subject.model.network, subject.model.signals)
        self.sgd = torch.optim.SGD(self.method.parameters, lr=1e-6, momentum=0.9)

    def free(self) -> object:
        return self.method.free_phase(self.subject.x, self.subject.y, self.free_steps)

    def step(self) -> object:
        beta = self.subject.scenario.relaxation.beta
        grads = self.method.ep_gradients(
            self.subject.x, self.subject.y, self.free_steps, self.nudge_steps, beta, alpha=1.0
        )
        for parameter, grad in zip(self.method.parameters, grads, strict=True):
            parameter.grad = grad
        self.sgd.step()
        return None


class Product:
    """One schedule of the product."""

    def __init__(self, subject: Subject, schedule: Schedule, free_steps: int, nudge_steps: int) -> None:
        self.subject, self.free_steps = subject, free_steps
        self.engine = Engine(subject.model.network, schedule)
        phases = {"free_steps": free_steps, "nudge_steps": nudge_steps}
        relaxation = subject.scenario.relaxation.model_copy(update=phases)
        self.steps = Step(subject.scenario.model_copy(update={"relaxation": relaxation}), subject.model, self.engine)
        self.optimiser = subject.optimiser()
        self.optimiser.base_rates = dict.fromkeys(self.optimiser.base_rates, 1e-6)

    def free(self) -> Relaxation:
        self.engine.refresh()
        return free_phase(self.subject.model.network, self.subject.x, self.free_steps, engine=self.engine)

    def present(self, counter: TileCounter | None = None) -> EPGradients:
        self.engine.refresh()
        result = self.steps.present(self.subject.batch, counter=counter)
        assert isinstance(result, EPGradients)
        return result

    def step(self) -> EPGradients:
        result = self.present()
        self.steps.apply_update(self.optimiser, self.subject.batch, result)
        return result


def settled(end: Relaxation) -> dict[str, float]:
    """How the samples of a phase came to rest."""
    motion = end.motion.amax(1)
    kinds = {kind.name.lower(): float((motion == kind).float().mean()) for kind in Motion if kind}
    return {"mean_ticks": float(end.ticks.float().mean()), **kinds}


def phase_options(description: str | None) -> argparse.ArgumentParser:
    """The options of everything that presents the subject's images for the paper's phases."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--free", type=int, default=400, help="T")
    parser.add_argument("--nudge", type=int, default=40, help="K")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    parser.add_argument("--nudge-tolerance", type=float, default=1e-2)
    add_device(parser)
    return parser


def main() -> None:
    parser = phase_options(__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[], help="names of the variants to run")
    parser.add_argument("--work", nargs="*", default=["free", "step"], help="what to time: free, step")
    options = parser.parse_args()
    device = options.device
    subject = load_subject(options.run_dir, options.batch, device)
    chosen = {
        name: schedule
        for name, schedule in variants(options.tolerance, options.nudge_tolerance).items()
        if not options.only or name in options.only
    }
    baseline = Baseline(subject, options.free, options.nudge)
    products = {name: Product(subject, schedule, options.free, options.nudge) for name, schedule in chosen.items()}
    warm = {"free_steps": 2, "nudge_steps": 2}
    for candidate in (
        Baseline(subject, *warm.values()),
        *(Product(subject, s, *warm.values()) for s in chosen.values()),
    ):
        candidate.step()

    seconds: dict[str, Seconds] = {work: {} for work in options.work}
    notes: dict[str, object] = {}
    for _ in range(options.pairs):
        for work, took in seconds.items():
            elapsed, _ = timed(device, getattr(baseline, work))
            took.setdefault("reference", []).append(elapsed)
            for name, product in products.items():
                elapsed, end = timed(device, getattr(product, work))
                took.setdefault(name, []).append(elapsed)
                if isinstance(end, Relaxation):
                    notes[name] = settled(end)
    print(
        json.dumps(
            {
                "data": subject.source, "batch": options.batch, "T": options.free, "K": options.nudge,
                "tolerance": options.tolerance, "nudge_tolerance": options.nudge_tolerance, "pairs": options.pairs,
                "device": device_name(device),
                "threads": torch.get_num_threads(), "torch": torch.__version__,
                "speedup": {work: _ratios(took) for work, took in seconds.items()},
                "seconds": {
                    work: {name: round(statistics.median(values), 3) for name, values in took.items()}
                    for work, took in seconds.items()
                },
                "free_phase": notes,
            },
            indent=1,
        )
    )  # fmt: skip


def _ratios(took: Seconds) -> dict[str, float]:
    base = took["reference"]
    return {
        name: round(statistics.median(b / v for b, v in zip(base, values, strict=True)), 2)
        for name, values in took.items()
        if name != "reference"
    }


if __name__ == "__main__":
    main()
