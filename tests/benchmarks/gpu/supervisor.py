"""Runs the parts of a session in a process of their own, and goes on in a new one where that dies or hangs."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import IO

from gpu.plan import GRACE, allowance_s

Line = dict[str, object]


class Supervisor:
    """One session with the command line ``given``; every line also goes to ``facts.jsonl`` in its folder."""

    def __init__(self, given: argparse.Namespace, script: str) -> None:
        self.given, self.script = given, script
        self.began = time.time()
        self.failures = 0

    def run(self) -> int:
        """All parts; the number of those that failed."""
        self.given.out.mkdir(parents=True, exist_ok=True)
        with (self.given.out / "facts.jsonl").open("a", encoding="utf-8") as kept:
            names = list(self.given.only)
            while names and self._left_s > 0:
                names = self._some(names, kept)
        if names:
            print(f"{self._elapsed} out of time before {', '.join(names)}", flush=True)
        print(f"{self._elapsed} {self.failures} parts failed; all facts are in {self.given.out}", flush=True)
        return self.failures

    def _some(self, names: Sequence[str], kept: IO[str]) -> list[str]:
        """As many parts as one process does; those that are left."""
        begun = -1
        with subprocess.Popen(self._command(names), stdout=subprocess.PIPE, text=True, encoding="utf-8") as process:
            watch = _Watch(process)
            for line in _json_lines(process):
                if line["event"] == "begin":
                    begun += 1
                    watch.start(min(GRACE * allowance_s(names[begun], self.given.minutes), self._left_s + 30))
                else:
                    self._tell(line, kept)
            watch.stop()
        status = process.returncode
        if begun < 0:
            self._tell(self._died(names[0], f"no part could begin, exit status {status}"), kept)
            return []
        if status != 0:
            what = "was ended, as it went on past its time" if watch.ended else f"ended its process, status {status}"
            self._tell(self._died(names[begun], f"{what}; the rest runs in a new one"), kept)
        return list(names[begun + 1 :])

    def _tell(self, line: Line, kept: IO[str]) -> None:
        kept.write(json.dumps(line) + "\n")
        kept.flush()
        event = "" if line["event"] == "fact" else f"{str(line['event']).upper()}: "
        print(f"[{line['elapsed_s']:6.1f} s] {line['part']}: {event}{line['text']}", flush=True)
        if line["event"] in ("failed", "died"):
            self.failures += 1
            print(*(f"    {row}" for row in line["values"].get("traceback", [])), sep="\n", flush=True)  # type: ignore[attr-defined]

    def _died(self, part: str, text: str) -> Line:
        return {"elapsed_s": time.time() - self.began, "part": part, "event": "died", "text": text, "values": {}}

    def _command(self, names: Sequence[str]) -> list[str]:
        given = self.given
        flags = ["--minutes", str(given.minutes), "--device", given.device, "--out", str(given.out)]
        flags += ["--tiny"] * given.tiny + [word for value in given.overrides for word in ("--set", value)]
        worker = ["--worker", "--began", str(self.began), "--only", *names]
        return [sys.executable, self.script, *given.runs, *flags, *worker]

    @property
    def _left_s(self) -> float:
        return self.began + 60 * self.given.minutes - time.time()

    @property
    def _elapsed(self) -> str:
        return f"[{time.time() - self.began:6.1f} s]"


class _Watch:
    """Kills ``process`` unless it is started again in time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process, self.ended = process, False
        self._timer: threading.Timer | None = None

    def start(self, seconds: float) -> None:
        self.stop()
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._timer.start()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _end(self) -> None:
        self.ended = True
        self.process.kill()


def _json_lines(process: subprocess.Popen[str]) -> Iterator[Line]:
    """The facts on the process's standard output; what libraries print there is passed on."""
    assert process.stdout is not None
    for row in process.stdout:
        try:
            line = json.loads(row)
        except ValueError:
            line = None
        if isinstance(line, dict) and "event" in line:
            yield line
        else:
            print(row, end="", flush=True)
