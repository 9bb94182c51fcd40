"""Random signals at random moments to all commands, and commands that meet: nothing is lost, nothing is half. Every
other run saves after each batch.

    python tests/campaigns/kills.py [--kills 300] [--meetings 100] [--seed 0]

Prints a line per kind and ends with 1 where anything went wrong; docs/reliability.md has the last figures.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from processes import SMALL, TAUGHT, done, ended, load_everything, sets, start

from neurosim_ep.train import within

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
RUN = ["run", "smoke", "--quiet", *sets(SMALL)]
TEACH = ["teach", "smoke", "--quiet", *sets(TAUGHT)]
CSV = "pulse,direction,conductance_S\n" + "".join(
    f"{pulse},{'up' if pulse < 9 else 'down'},{1e-5 * min(1 + pulse, 18 - pulse)}\n" for pulse in range(18)
)
MORE = ["--quiet", "--set", "training.epochs=3"]


class Campaign:
    """What all tries share: a whole run, a half one and a whole teacher to compare with, and what was counted."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.random = folder, random.Random(seed)
        self.told, self.counts, self.wrong = folder / "told", Counter[str](), list[str]()
        (folder / "pulses.csv").write_text(CSV)
        done([*RUN, "--out", str(folder / "whole")], self.told)
        done([*TEACH, "--out", str(folder / "teacher")], self.told)
        done([*RUN, "--out", str(folder / "half"), "--set", "training.epochs=1"], self.told)
        self.whole, self.taught = self.outcome(folder / "whole"), self.teacher(folder / "teacher")
        self.commands: dict[str, tuple[Callable[[Path], list[str]], Callable[[Path], None]]] = {
            "run": (lambda out: [*RUN, "--out", str(out)], self.check_run),
            "resume": (self.half, self.check_run),
            "teach": (lambda out: [*TEACH, "--out", str(out)], self.check_teacher),
            "plot": (lambda out: ["plot", str(folder / "whole"), "--out", str(out)], self.check_pictures),
            "diagnose": (lambda out: self.about("diagnose", out, "--samples", "4"), self.check_folder),
            "recost": (lambda out: self.about("recost", out, "--hw", "pcm_90nm"), self.check_folder),
            "export": (lambda out: self.about("export", out, "--format", "booksim"), self.check_folder),
            "gdu": (lambda out: self.about("gdu", out, "--samples", "2"), self.check_folder),
            "fit-device": (
                lambda out: ["fit-device", str(folder / "pulses.csv"), "--out", f"{out}.toml"],
                self.check_file,
            ),
            "estimate": (lambda out: ["estimate", "smoke", "--samples", "2", *sets(SMALL)], self.check_nothing),
            "bench": (lambda out: ["bench", "smoke", *sets(SMALL)], self.check_nothing),
            "check": (lambda out: ["check", "smoke"], self.check_nothing),
        }
        self.usual = {name: self.seconds(name) for name in self.commands}
        self.files = {name: self.names(folder / f"usual_{name}") for name in self.commands}

    def about(self, command: str, out: Path, *words: str) -> list[str]:
        return [command, str(self.folder / "whole"), "--out", str(out), *words]

    def half(self, out: Path) -> list[str]:
        """A copy of the half run, to be resumed."""
        shutil.copytree(self.folder / "half", out)
        return ["resume", str(out), *MORE]

    def seconds(self, name: str) -> float:
        """How long a command takes that is left alone."""
        out = self.folder / f"usual_{name}"
        words, began = self.commands[name][0](out), time.monotonic()
        done(words, self.told)
        return time.monotonic() - began

    @staticmethod
    def names(out: Path) -> set[str]:
        return {path.relative_to(out).as_posix() for path in out.rglob("*")} if out.is_dir() else set()

    @staticmethod
    def outcome(out: Path) -> dict[str, object]:
        from tiny_run import outcome

        return outcome(out)

    @staticmethod
    def teacher(out: Path) -> list[bytes]:
        import json

        return [
            json.loads((out / "teacher.json").read_text())["teacher_digest"].encode(),
            (out / "targets.h5").read_bytes(),
        ]

    def kill(self, number: int) -> None:
        """One try: a command, a signal, a moment."""
        name, sent = self.random.choice(list(self.commands)), self.random.choice(SIGNALS)
        twice, out = self.random.random() < 0.3, self.folder / f"try{number}"
        moment = self.random.random() * 1.05 * self.usual[name]
        within.EVERY_S = self.random.choice([0.0, 300.0])
        pid = start(self.commands[name][0](out), self.told)
        time.sleep(moment)
        for _ in range(1 + twice):
            os.kill(pid, sent)
        code, told = ended(pid), self.told.read_text(errors="replace")
        right = (0, -signal.SIGKILL) if sent is signal.SIGKILL else (0, 130)
        where = f"try {number}: {name} {sent.name} after {moment:.3f} s"
        if code not in right or "Traceback" in told:
            self.wrong.append(f"{where}: exit code {code}\n{told}")
        ending = "done before" if code == 0 else sent.name
        self.counts[f"{name}: {ending}"] += 1
        self.checked(where, lambda: self.commands[name][1](out))
        for path in self.folder.glob(f"*try{number}*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def checked(self, where: str, check: Callable[[], None]) -> None:
        try:
            check()
        except (AssertionError, SystemExit, OSError, ValueError, KeyError) as problem:
            self.wrong.append(f"{where}: {problem!r}")

    def check_run(self, out: Path) -> None:
        """What was finished is there, and the rest gives the whole run."""
        if (out / "run.json").exists():
            finished, log = self.epochs(out), out / "run.log"
            before = log.read_text().count("start at epoch") if log.exists() else 0
            whole = "epochs = 3\n" in (out / "scenario.toml").read_text()
            if not whole or ended(start(["resume", str(out), "--quiet"], self.told)) == 2:  # killed while changing it
                done(["resume", str(out), *MORE], self.told)
            starts = [line.split("start at epoch ")[1] for line in log.read_text().splitlines() if "start at" in line]
            if starts[before:]:
                assert int(starts[before].split()[0]) >= finished, "an epoch was lost"
        else:
            done([*RUN, "--out", str(out)], self.told)
        assert self.outcome(out) == self.whole, "another outcome"

    @staticmethod
    def epochs(out: Path) -> int:
        path = out / "epochs.csv"
        return path.read_text().count("\n") - 1 if path.exists() else 0

    def check_teacher(self, out: Path) -> None:
        done([*TEACH, "--out", str(out)], self.told)
        assert self.teacher(out) == self.taught, "another teacher"

    def check_pictures(self, out: Path) -> None:
        from PIL import Image

        for path in out.glob("[!.]*") if out.exists() else ():
            if path.suffix == ".png":
                with Image.open(path) as image:
                    image.load()
            else:
                assert path.read_text().rstrip().endswith("</svg>"), f"half a picture: {path.name}"

    def check_folder(self, out: Path) -> None:
        """All of it or nothing; and the next command clears what lies beside it."""
        names = self.names(out)
        assert not out.exists() or names in self.files.values(), f"half a folder: {names}"

    def check_file(self, out: Path) -> None:
        from neurosim_ep.tiles.devices.file import load_device

        if (path := out.with_name(f"{out.name}.toml")).exists():
            load_device(str(path))

    def check_nothing(self, out: Path) -> None:
        assert not out.exists()

    def meet(self, number: int) -> None:
        """Two commands at once in one place: one of them is refused in one sentence, or none needs to be."""
        out = self.folder / f"try{number}"
        kind = self.random.choice(["run run", "resume resume", "resume run", "teach teach", "plot plot"])
        if "resume" in kind:
            self.half(out)
        command = {
            "run": [*RUN, "--out", str(out)],
            "resume": ["resume", str(out), *MORE],
            "teach": [*TEACH, "--out", str(out)],
            "plot": ["plot", str(self.folder / "whole"), "--out", str(out)],
        }
        both = [command[name] for name in kind.split()]
        texts = [self.folder / f"told{place}" for place in range(2)]
        pids = []
        for words, told in zip(both, texts, strict=True):
            pids.append(start(words, told))
            time.sleep(self.random.random() * 0.5 * self.usual[kind.split()[0]] * self.random.choice([0, 1]))
        codes = [ended(pid) for pid in pids]
        where = f"meeting {number}: {kind}"
        for code, told in zip(codes, texts, strict=True):
            text = told.read_text(errors="replace")
            refused = code == 2 and text.startswith("error: ") and "Traceback" not in text
            if code != 0 and not refused:
                self.wrong.append(f"{where}: exit code {code}\n{text}")
        if 0 not in codes:
            self.wrong.append(f"{where}: both were refused")
        self.counts[f"{kind}: {' and '.join('done' if code == 0 else 'refused' for code in sorted(codes))}"] += 1
        check = {"teach": self.check_teacher, "plot": self.check_pictures}.get(kind.split()[0], self.check_run)
        self.checked(where, lambda: check(out))
        shutil.rmtree(out, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--meetings", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    load_everything()
    within.PAUSE = 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(Path(folder), chosen.seed)
        told = 0
        for number in range(chosen.kills):
            campaign.kill(number)
            for line in campaign.wrong[told:]:
                print(f"WRONG {line}", flush=True)
            told = len(campaign.wrong)
            if number % 25 == 24:
                print(f"{number + 1} kills, {len(campaign.wrong)} wrong, {time.monotonic() - began:.0f} s", flush=True)
        for number in range(chosen.kills, chosen.kills + chosen.meetings):
            campaign.meet(number)
    for kind, count in sorted(campaign.counts.items()):
        print(f"{kind:<40} {count}")
    for wrong in campaign.wrong[told:]:
        print(f"WRONG {wrong}")
    seconds = time.monotonic() - began
    print(f"{chosen.kills} kills, {chosen.meetings} meetings, {len(campaign.wrong)} wrong, {seconds:.0f} s")
    return bool(campaign.wrong)


if __name__ == "__main__":
    sys.exit(main())
