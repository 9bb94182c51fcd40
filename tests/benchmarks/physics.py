"""Is it the same physics? `python tests/benchmarks/physics.py RUN_DIR` prints one JSON object.

Every schedule against the synchronous dynamics that compute all samples in all ticks in float32: the free states of the
samples that settle (those that still move at T are counted and left out), the predictions, and the cosine of the EP
gradient of every connection's weights.
"""

from __future__ import annotations

import json

import torch
from relaxation import Product, phase_options, variants
from subject import load_subject

from neurosim_ep.scheduler.presentation import EPGradients
from neurosim_ep.scheduler.schedule import Schedule


def compare(ours: EPGradients, full: EPGradients, tolerance: float) -> dict[str, object]:
    """Differences of one schedule from the full run."""
    resting = (full.residual <= tolerance) & (ours.residual <= tolerance)
    away = torch.stack([(a - b).abs().flatten(1).amax(1) for a, b in zip(ours.free, full.free, strict=True)]).amax(0)
    cosines = {
        name.split(".")[1]: round(
            float(torch.cosine_similarity(*(g.double().flatten() for g in (grad, full.grads[name])), 0)), 6
        )
        for name, grad in ours.grads.items()
        if name.startswith("connections") and name.endswith("weight")
    }
    return {
        "samples moving at T": int((ours.residual > tolerance).sum()),
        "settled samples": int(resting.sum()),
        "largest distance of settled samples / tolerance": round(float((away * resting).max()) / tolerance, 3),
        "settled samples beyond 10 x tolerance": int((away[resting] > 10 * tolerance).sum()),
        "same prediction": float((ours.logits.argmax(1) == full.logits.argmax(1)).float().mean()),
        "lowest cosine": min(cosines.values()),
        "cosine": cosines,
    }


def main() -> None:
    options = phase_options(__doc__).parse_args()
    subject = load_subject(options.run_dir, options.batch, options.device)

    def step(schedule: Schedule) -> EPGradients:
        return Product(subject, schedule, options.free, options.nudge).present()

    full = step(Schedule())
    report = {"data": subject.source, "batch": options.batch, "T": options.free, "K": options.nudge,
              "samples moving at T": int((full.residual > options.tolerance).sum()), "schedules": {}}  # fmt: skip
    for name, schedule in variants(options.tolerance, options.nudge_tolerance).items():
        if schedule != Schedule():
            report["schedules"][name] = compare(step(schedule), full, options.tolerance)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
