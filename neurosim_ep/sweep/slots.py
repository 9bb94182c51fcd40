"""Which cores and GPUs the commands of a sweep compute on."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass

from neurosim_ep.threads import CORES, free_cores

VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Slot:
    """A place for one command at a time: so many ``cores``, and the name of a ``gpu`` where there is one."""

    cores: int
    gpu: str | None = None

    def environment(self) -> dict[str, str]:
        """The environment of its command."""
        return {**os.environ, CORES: str(self.cores), **({VISIBLE: self.gpu} if self.gpu is not None else {})}


def make_slots(jobs: int | None, device: str) -> list[Slot]:
    """``jobs`` slots that share the free cores and the GPUs evenly; None: as many as there are GPUs, or else cores.

    ``device``: with "cpu", and "cuda:N" that names one, no GPU is assigned.
    """
    gpus, cores = visible_gpus() if device in ("auto", "cuda") else [], free_cores()
    count = jobs or len(gpus) or cores
    shares = [max(1, cores // count + (number < cores % count)) for number in range(count)]
    return [Slot(share, gpus[number % len(gpus)] if gpus else None) for number, share in enumerate(shares)]


def visible_gpus() -> list[str]:
    """How CUDA calls the GPUs that this process may use; asks the driver's own tool, as PyTorch takes long to load."""
    if (named := os.environ.get(VISIBLE)) is not None:
        return [name for name in map(str.strip, named.split(",")) if name and name != "-1"]
    if (tool := shutil.which("nvidia-smi")) is None:
        return []
    command = [tool, "--query-gpu=index", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.split() if done.returncode == 0 else []
