"""Peak memory of one training step: `python tests/benchmarks/memory.py RUN_DIR` prints one JSON object.

EP with every schedule, against BPTT over the last ticks of the same free phase on the same weights and images. Each
method runs in a process of its own, whose C allocator gives back at once what is freed; the peak is that of its
resident memory (of its allocated device memory on CUDA) over what it held before the network was loaded, libraries
being warm.
The bound is 1.3 x (parameters + optimiser + 6 copies of the states).
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from reference import Reference
from relaxation import Product, variants
from subject import Subject, add_device, load_subject

from neurosim_ep.experiment.model import build_model
from neurosim_ep.record.checkpoint import load_checkpoint
from neurosim_ep.scenario.load import load_scenario

COPIES, FACTOR = 6, 1.3
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}  # of glibc


def resident_bytes(field: str) -> int:
    """``VmRSS`` or ``VmHWM`` of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {field}; peak memory is measured on Linux only")


def load_lean(run_dir: Path, images: Path, device: torch.device) -> Subject:
    """The subject without its data set."""
    x, y = torch.load(images, weights_only=True)
    scenario = load_scenario(run_dir / "scenario.toml")
    model = build_model(scenario, 10, tuple(x.shape[1:]))
    model.load_state_dict(load_checkpoint(run_dir / "checkpoints", torch.device("cpu"))["trainer"])
    return Subject(scenario, model.to(device), x.to(device), y.to(device), str(images))


def settle(device: torch.device) -> None:
    """Give back what was freed, and let the peak start from here."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    else:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")


def held_bytes(device: torch.device) -> int:
    """Memory in use: resident memory of the process, or what is allocated on a GPU."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else resident_bytes("VmRSS")


def peak_bytes(device: torch.device) -> int:
    """The largest :func:`held_bytes` since :func:`settle`."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else resident_bytes("VmHWM")


def run(options: argparse.Namespace, device: torch.device) -> Subject:
    """Load the network and make the step whose peak is wanted."""
    subject = load_lean(options.run_dir, options.images, device)
    settle(device)
    if options.method == "bptt":
        method = Reference(subject.model.network, subject.model.signals)
        method.bptt_gradients(subject.x, subject.y, options.bptt + 1, options.bptt)
        return subject
    product = Product(subject, variants(1e-4, 1e-2)[options.method], options.free, options.nudge)
    product.step()
    settle(device)  # from here on there is momentum, and nothing of the loading
    product.step()
    return subject


def measure(options: argparse.Namespace) -> dict[str, int]:
    """Run one method in this process."""
    device = options.device
    run(options, device)  # libraries load, and keep workspaces and compiled code that belong to no method
    settle(device)
    before = held_bytes(device)
    subject = run(options, device)
    peak = peak_bytes(device)
    network = subject.model.network
    trained = [*network.parameters()]
    if subject.model.signals is not None and subject.model.signals.learned:
        trained += subject.model.signals.parameters()
    parameters = sum(4 * value.numel() for value in trained)
    states = 4 * len(subject.x) * sum(math.prod(shape) for shape in network.state_shapes)
    return {"peak_bytes": peak - before, "parameter_bytes": parameters, "state_bytes": states}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--free", type=int, default=40, help="T of EP; its memory does not depend on it")
    parser.add_argument("--nudge", type=int, default=20, help="K of EP; its memory does not depend on it")
    parser.add_argument("--bptt", type=int, default=50, help="ticks of BPTT")
    add_device(parser)
    parser.add_argument("--method", help=argparse.SUPPRESS)
    parser.add_argument("--images", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.method:
        print(json.dumps(measure(options)))
        return
    subject = load_subject(options.run_dir, options.batch, torch.device("cpu"))
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images.pt"
        torch.save((subject.x, subject.y), images)
        found = {}
        for method in ("bptt", *variants(0, 0)):
            command = [sys.executable, *sys.argv, "--method", method, "--images", str(images)]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=os.environ | ALLOCATOR)
            found[method] = json.loads(done.stdout)
    bptt = found.pop("bptt")["peak_bytes"]
    report = {"batch": options.batch, "bptt_ticks": options.bptt, "bptt_MB": round(bptt / 1e6), "ep": {}}
    for method, sizes in found.items():
        base = 2 * sizes["parameter_bytes"] + COPIES * sizes["state_bytes"]
        report["ep"][method] = {
            "MB": round(sizes["peak_bytes"] / 1e6),
            "bptt / ep": round(bptt / sizes["peak_bytes"], 1),
            "of (parameters + optimiser + 6 states)": round(sizes["peak_bytes"] / base, 2),
            "bound": FACTOR,
        }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
