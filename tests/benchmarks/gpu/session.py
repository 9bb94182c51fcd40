"""What a part sees of a session: its device and sizes, the time that is left, and where facts go."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from gpu.plan import FULL_SESSION_S, PARTS, allowance_s
from neurosim_ep.experiment.device import select_device

POLICIES = ("synchronous", "alternating", "event")
PRECISIONS = ("float32", "tf32", "bfloat16", "float16")
TRACEBACK_LINES = 12
DEVICE_LOST = 70  # exit status of a worker whose device does not answer any more


class OutOfTime(Exception):
    """The part has used its share."""


class Session:
    """Facts of one part after another, each a JSON line on standard output, written as soon as it is known.

    ``tiny`` sessions have the same parts on small networks. ``runs``: what is to be trained.
    """

    def __init__(self, given: argparse.Namespace) -> None:
        self.device = select_device(given.device)
        self.tiny, self.out, self.overrides = given.tiny, given.out, given.overrides
        self.runs: list[str] = given.runs or ["paper/vgg7_le"]
        self.width, self.batch = (0.05, 8) if self.tiny else (1.0, 128)
        self.free_steps, self.nudge_steps = (36, 6) if self.tiny else (72, 16)
        self.networks = ("vgg7_le",) if self.tiny else ("vgg11_le", "vgg7_le")
        self.turns = 1 if self.tiny else 3
        self._minutes, self._began = given.minutes, given.began or time.time()
        self._part, self._until = "", float("inf")

    @property
    def cuda(self) -> bool:
        return self.device.type == "cuda"

    @property
    def seconds_left(self) -> float:
        """Of the part that runs."""
        return self._until - self._elapsed

    @property
    def share(self) -> float:
        """Length of this session in units of a full one."""
        return 60 * self._minutes / FULL_SESSION_S

    def tell(self, text: str, **values: object) -> None:
        """Say something, with its figures for machines."""
        self._say("fact", text, values)

    def fact(self, text: str, **values: object) -> None:
        """:meth:`tell`, and raise :class:`OutOfTime` when the part should end with it."""
        self.tell(text, **values)
        if self.seconds_left < 0:
            raise OutOfTime

    def work(self, names: list[str]) -> int:
        """Do the parts ``names``; the exit status of the process."""
        for name in names:
            self._part = name
            self._say("begin", "")
            self._until = min(self._elapsed + allowance_s(name, self._minutes), 60 * self._minutes)
            if self._failed(name) and not self._answers():
                return DEVICE_LOST
            self.tidy()
        return 0

    def tidy(self) -> None:
        """Let go of the device's memory that nobody uses."""
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    def _failed(self, name: str) -> bool:
        part = PARTS[name]
        if part.cuda and not self.cuda:
            self._say("skipped", f"asks what only CUDA can answer, and this is {self.device}")
            return False
        try:
            self._function(name)(self)
        except OutOfTime:
            self._say("cut", "its time is used up; what it had left to say is left out")
        except Exception as problem:
            end = "".join(traceback.format_exception(problem)).rstrip().splitlines()[-TRACEBACK_LINES:]
            self._say("failed", f"{type(problem).__name__}: {problem}".splitlines()[0], {"traceback": end})
            return True
        return False

    @staticmethod
    def _function(name: str) -> Callable[[Session], None]:
        return getattr(importlib.import_module(f"gpu.{PARTS[name].module}"), PARTS[name].function)

    @property
    def _elapsed(self) -> float:
        return time.time() - self._began

    def _say(self, event: str, text: str, values: dict[str, object] | None = None) -> None:
        line = {"elapsed_s": round(self._elapsed, 2), "part": self._part, "event": event, "text": text}
        print(json.dumps({**line, "values": values or {}}), flush=True)

    def _answers(self) -> bool:
        """Whether the device still works: after some faults every later call fails."""
        try:
            return float(torch.ones(2, device=self.device).sum()) == 2
        except RuntimeError:
            return False

    def file(self, name: str) -> Path:
        """A place in the session's folder where nothing is yet."""
        self.out.mkdir(parents=True, exist_ok=True)
        path, again = self.out / name, 2
        while path.exists():
            path, again = self.out / f"{Path(name).stem}_{again}{Path(name).suffix}", again + 1
        return path


def work(given: argparse.Namespace) -> int:
    """Do the parts of a session in this process."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    return Session(given).work(given.only)
