"""The parts of a session, most telling first, and the time each may take. Imports nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FULL_SESSION_S = 540.0
GRACE = 1.5
"""A part that has said nothing of stopping after this many times its seconds is ended from outside."""


@dataclass(frozen=True)
class Part:
    """``function`` of module ``gpu.<module>`` takes the session. ``seconds``: what it may take of a session of
    ``FULL_SESSION_S``, 0 for all that is left. ``cuda``: whether it asks what only CUDA can answer.
    """

    module: str
    function: str
    seconds: float
    cuda: bool = False


PARTS = {
    "machine": Part("machine", "machine", 25),
    "replay": Part("correct", "replay", 75, cuda=True),
    "twice": Part("correct", "twice", 25),
    "exact": Part("correct", "exact", 30),
    "waits": Part("correct", "waits", 15, cuda=True),
    "smoke": Part("training", "smoke", 40),
    "steps": Part("speed", "steps", 100),
    "ticks": Part("speed", "ticks", 70),
    "reads": Part("candidates", "reads", 30),
    "passes": Part("candidates", "passes", 20, cuda=True),
    "profile": Part("profiling", "profile", 25),
    "train": Part("training", "train", 0),
}


def allowance_s(name: str, minutes: float) -> float:
    """Seconds that part ``name`` may take in a session of ``minutes``; all of them where it has no share of its own."""
    return (PARTS[name].seconds or FULL_SESSION_S) * 60 * minutes / FULL_SESSION_S


def options(arguments: Sequence[str] | None = None, description: str | None = None) -> argparse.Namespace:
    """The command line of a session."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "runs", nargs="*", metavar="RUN",
        help="what to train with the time that is left: a scenario, or a run directory, which is copied and resumed "
        "and whose network is also what steps are timed on (default: paper/vgg7_le)",
    )  # fmt: skip
    parser.add_argument("--minutes", type=float, default=9.0, help="of the whole session")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--tiny", action="store_true", help="a small network and few turns, as a rehearsal")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, default=Path("gpu_session"), help="folder for everything that is longer")
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE", help="override of the scenarios"
    )
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--began", type=float, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)
