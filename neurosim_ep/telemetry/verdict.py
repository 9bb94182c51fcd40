"""One sentence on whether a run learned, and why not where it did not: for people, run.json and `diagnose`."""

from __future__ import annotations

from dataclasses import dataclass

from neurosim_ep.telemetry.causes import CAUSES
from neurosim_ep.telemetry.evidence import Evidence

HALF = 0.5
"""Part of the way from chance to all images right from which on a network learned whatever its layers look like."""


@dataclass(frozen=True)
class Learning:
    """Whether a network learned, as ``run.json`` has it, key ``learning``.

    Args:
        verdict: one sentence, "healthy: ...", "learning in part: ...", "not learning because ..." or, where nothing in
            the tables is a cause, "no learning seen: ...".
        healthy: whether it is the first.
        findings: what is wrong with the run, each with its number and a remedy, the most decisive first; of a healthy
            run, what is worth a look.
    """

    verdict: str
    healthy: bool
    findings: list[str]


def judge(found: Evidence) -> Learning:
    """The verdict on the run that ``found`` is the evidence of."""
    causes = [finding for cause in CAUSES if (finding := cause(found))]
    said = [str(finding) for finding in causes]
    if found.learns:
        stopping = [finding for finding in causes if finding.stops]
        top = found.data.chance + HALF * (1 - found.data.chance)
        if stopping and found.accuracy < top:
            return Learning(f"learning in part: {_accuracy(found)}, but {stopping[0]}", False, said)
        return Learning(f"healthy: {_accuracy(found)}", True, said)
    if not found.epochs and not found.diverged:
        return Learning("no verdict: no epoch is finished", False, [])
    if not said:
        return Learning(
            f"no learning seen: {_accuracy(found)}; train longer or test on more images, and look at the network with "
            "`neurosim-ep diagnose`, at its gradients with `neurosim-ep gdu`", False, [],
        )  # fmt: skip
    shown = f". {_accuracy(found)}" if found.epochs else ""
    return Learning(f"not learning because {said[0]}{shown}", False, said)


def _accuracy(found: Evidence) -> str:
    """The accuracy beside chance, with what it has lost."""
    data, best = found.data, max(found.known("test_accuracy"))
    lost = f", after {best:.1%} at best" if best > data.above_chance > found.accuracy else ""
    luck = f", and up to {data.above_chance:.1%} could be luck" if found.accuracy <= 2 * data.above_chance else ""
    return f"{found.accuracy:.1%} of {data.test_images} test images right{lost}; chance is {data.chance:.1%}{luck}"
