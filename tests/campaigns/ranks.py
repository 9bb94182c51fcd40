"""Runs that several processes share are refused, told to stop and killed: one message, and an epoch lost at most.

    python tests/campaigns/ranks.py [--kills 10] [--stops 3] [--seed 0]

A kill takes a random process of a job of two or three at a random moment; as many or another number of them resume the
run, half of the time from a checkpoint within the epoch. All compute in float64, so that the outcome is that of one
process that was left alone. Ends with 1 where anything went
wrong; docs/reliability.md has the last figures.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from processes import SMALL, ended, load_everything, sets, start

from neurosim_ep.train import within

RUN = ["run", "smoke", "--quiet", *sets((*SMALL, "training.epochs=4", "training.batch_size=2"))]
REFUSED = ["--set", "hardware.device.preset=EcRam", "--set", "hardware.device.update=two_pass"]
CLOSE = 1e-10


class Job:
    """``count`` processes of one command, as torchrun would start them."""

    def __init__(self, count: int, words: Sequence[str], folder: Path) -> None:
        from shared_runs import places

        self.told = [folder / f"told{number}" for number in range(count)]
        for path in self.told:
            path.write_text("")
        self.pids = [start(list(words), path, place) for path, place in zip(self.told, places(count), strict=True)]

    def codes(self) -> list[int]:
        """Exit codes, negative for signals."""
        return [ended(pid) for pid in self.pids]

    def errors(self) -> list[str]:
        """What all have said that is no warning."""
        lines = [line for path in self.told for line in path.read_text(errors="replace").splitlines()]
        return [line for line in lines if not line.startswith(("warning:", "[W"))]


class Campaign:
    """A whole run to compare with, and what went wrong."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.random, self.wrong = folder, random.Random(seed), list[str]()
        began = time.monotonic()
        assert Job(1, [*RUN, "--out", str(folder / "whole")], folder).codes() == [0]
        self.usual = time.monotonic() - began

    def refuse(self) -> None:
        """Pulses that depend on each other: refused by one sentence, with nothing written."""
        job = Job(2, [*RUN, *REFUSED, "--out", str(self.folder / "refused")], self.folder)
        codes, errors = job.codes(), job.errors()
        self.require(codes == [2, 2], f"refusal: exit codes {codes}")
        self.require(len(errors) == 1 and errors[0].startswith("error: hardware.device.update = two_pass"), str(errors))
        self.require(not (self.folder / "refused").exists(), "refusal: something was written")

    def stop(self, number: int, sent: signal.Signals) -> None:
        """One signal to one process: all stop together, and the run goes on."""
        count, out = self.random.choice([2, 3]), self.folder / f"stop{number}"
        job = Job(count, [*RUN, "--out", str(out)], self.folder)
        self.wait_for(out / "epochs.csv")
        os.kill(job.pids[self.random.randrange(count)], sent)
        codes, errors, where = job.codes(), job.errors(), f"stop {number}: {sent.name} to one of {count}"
        if codes != [0] * count:
            self.require(codes == [130] * count, f"{where}: exit codes {codes}")
            self.require(len(errors) == 1 and "interrupted; finished epochs" in errors[0], f"{where}: {errors}")
            status = json.loads((out / "run.json").read_text())["status"]
            self.require(status == "interrupted", f"{where}: status {status}")
        self.resumed(out, where, self.random.choice([1, 2, 3]))

    def kill(self, number: int) -> None:
        """One try: a job, one of its processes, a moment."""
        count, out = self.random.choice([2, 3]), self.folder / f"kill{number}"
        victim, moment = self.random.randrange(count), self.random.random() * 0.6 * self.usual  # joining is part of it
        within.EVERY_S = self.random.choice([0.0, 300.0])
        job = Job(count, [*RUN, "--out", str(out)], self.folder)
        self.wait_for(out)  # they have met
        time.sleep(moment)
        os.kill(job.pids[victim], signal.SIGKILL)
        codes, errors = job.codes(), job.errors()
        where = f"kill {number}: process {victim} of {count} after {moment:.2f} s"
        if any(codes) and (out / "run.json").exists():
            expected = [-signal.SIGKILL if place == victim else 2 for place in range(count)]
            self.require(codes == expected, f"{where}: exit codes {codes}")
            self.require(len(errors) == 1 and "processes of this run has ended" in errors[0], f"{where}: {errors}")
            status = json.loads((out / "run.json").read_text())["status"]
            self.require(status == "failed", f"{where}: status {status}")
        self.resumed(out, where, self.random.choice([1, 2, 3, count]))
        print(f"{where}, exit codes {codes}", flush=True)

    def resumed(self, out: Path, where: str, count: int) -> None:
        """Go on with ``count`` processes to the outcome of the whole run; finished epochs stay."""
        begun, finished = (out / "run.json").exists(), 0
        words = ["resume", str(out), "--quiet"] if begun else [*RUN, "--out", str(out)]
        if (table := out / "epochs.csv").exists():
            finished = table.read_text().count("\n") - 1
        job = Job(count, words, self.folder)
        codes = job.codes()
        self.require(codes == [0] * count, f"{where}: going on with {count}: exit codes {codes}, {job.errors()}")
        starts = [line for line in (out / "run.log").read_text().splitlines() if "start at epoch" in line]
        if begun and len(starts) > 1:
            at = int(starts[-1].split("start at epoch ")[1].split()[0])
            self.require(at >= finished, f"{where}: went on at epoch {at} of which {finished} were finished")
        self.require(self.same(out), f"{where}: another outcome with {count} processes")

    def same(self, out: Path) -> bool:
        """Whether ``out`` is the whole run: weights, and tables of whole numbers."""
        import torch

        mine, theirs = (
            torch.load(path / "checkpoints/last.pt", weights_only=True)["trainer"]["network"]
            for path in (self.folder / "whole", out)
        )
        tables = ((self.folder / "whole" / name, out / name) for name in ("tiles.csv", "pulses.csv"))
        return all(torch.allclose(mine[name], theirs[name], rtol=0, atol=CLOSE) for name in mine) and all(
            one.read_bytes() == other.read_bytes() for one, other in tables
        )

    @staticmethod
    def wait_for(path: Path, seconds: float = 60.0) -> None:
        until = time.monotonic() + seconds
        while not path.exists() and time.monotonic() < until:
            time.sleep(0.005)

    def require(self, true: bool, what: str) -> None:
        if not true:
            self.wrong.append(what)
            print(f"WRONG {what}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--stops", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    load_everything()
    within.PAUSE = 0
    from shared_runs import in_float64

    in_float64()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(Path(folder), chosen.seed)
        campaign.refuse()
        for number in range(chosen.stops):
            campaign.stop(number, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)[number % 3])
        for number in range(chosen.kills):
            campaign.kill(number)
    seconds = time.monotonic() - began
    print(f"{chosen.kills} kills, {chosen.stops} stops, {len(campaign.wrong)} wrong, {seconds:.0f} s")
    return bool(campaign.wrong)


if __name__ == "__main__":
    sys.exit(main())
