"""Table 2 of arXiv 2508.15989 with this simulator: `python tests/benchmarks/paper_memory.py` prints JSON and Markdown.

Peak memory of one training step with EP and local errors (LE), knowledge distillation (KD, and KDW of VGG-7), no
signals (plain EP), and with BPTT through the last K free ticks, in a process of its own each (``memory.py`` says how it
is taken); and the estimated on-chip memory for one image. "BPTT" is autograd through all ticks at once, as in published
EP code; "BPTT, states kept" is this product's ``plasticity.rule = "bptt"``, which computes each tick anew on the way
back. Weights, images and the teacher's states are random: memory does not depend on their values. What EP holds does
not depend on its ticks either, so its phases are short here (``--ep-ticks``). The paper's figures are of full width,
batch 64 to 256, on a GPU; its middle and right column are of VGG-10 and VGG-12 for KD.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys

import torch
from memory import ALLOCATOR, held_bytes, peak_bytes, settle
from reference import Reference
from subject import Subject, add_device, device_name, random_subject

from neurosim_ep.resources import shipped_files
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.scheduler.engine import Engine
from neurosim_ep.scheduler.schedule import Schedule
from neurosim_ep.train.step import Batch, Step
from neurosim_ep.units import format_bits

CLASSES = {"vgg7": 10, "vgg11": 100, "vgg13": 100}
LAYERS_OF_VGG13 = 12
"""Ticks that the error needs to reach every layer."""
SIGNAL_LAYERS = {
    "le": {"vgg7": [2, 4], "vgg11": [1, 3, 5, 7], "vgg13": [1, 3, 5, 7]},
    "kd": {"vgg7": [2, 4], "vgg11": [0, 1, 3, 5, 7], "vgg13": [1, 3, 5, 7, 9]},
    "kdw": {"vgg7": [2, 4]},
}  # Tables 5 and 6 of the paper
STATES_KEPT = "BPTT, states kept"
BY_BPTT = (STATES_KEPT, "BPTT")
METHODS = {"LE": "le", "KD": "kd", "KDW": "kdw", "plain EP": "none", STATES_KEPT: "none", "BPTT": "none"}
"""Method and its ``signals.kind``."""
PAPER_MB = {
    "LE": {"vgg7": 791, "vgg11": 895, "vgg13": 1351},
    "KD": {"vgg7": 855, "vgg11": 983, "vgg13": 1431},
    "KDW": {"vgg7": 1176},
    "plain EP": {"vgg7": 711, "vgg11": 869, "vgg13": 1285},
    STATES_KEPT: {},
    "BPTT": {"vgg7": 8324, "vgg11": 13726, "vgg13": 25954},
}
COLUMNS = (
    "network",
    "method",
    "peak MB",
    "BPTT / it",
    "paper MB",
    "paper BPTT / it",
    "on-chip, estimated",
    "BPTT / it",
)


def untrained(network: str, method: str, options: argparse.Namespace) -> Subject:
    """The untrained network of a method with random images and labels."""
    kind = METHODS[method]
    ticks = options.bptt if method in BY_BPTT else options.ep_ticks
    overrides = [
        f"network.preset={network}", f"network.width={options.width}", f"data.classes={CLASSES[network]}",
        f"relaxation.free_steps={ticks}", f"relaxation.nudge_steps={ticks}",
        "scheduler.policy=synchronous", "signals.learned=false", f"signals.kind={kind}",
        f"plasticity.rule={'bptt' if method == STATES_KEPT else 'contrastive'}",
        f"signals.layers={SIGNAL_LAYERS.get(kind, {}).get(network, [])}",
    ]  # fmt: skip
    scenario = load_scenario(shipped_files("scenarios")["vgg11_plain"], overrides)
    return random_subject(scenario, CLASSES[network], options.batch, options.device)


def train(subject: Subject, method: str, updates: int) -> None:
    """``updates`` steps; from the second on there is momentum. The peak starts anew with each."""
    relaxation, device = subject.scenario.relaxation, subject.x.device
    steps = relaxation.free_steps, relaxation.nudge_steps
    if method == "BPTT":
        reference = Reference(subject.model.network)
        sgd = torch.optim.SGD(reference.parameters, lr=1e-6, momentum=0.9)
        for _ in range(updates):
            settle(device)
            grads = reference.bptt_gradients(subject.x, subject.y, *steps)
            for parameter, grad in zip(reference.parameters, grads, strict=True):
                parameter.grad = grad
            del grads
            sgd.step()
            sgd.zero_grad()
        return
    teacher = {}
    if method in ("KD", "KDW"):
        shapes = subject.model.network.state_shapes
        teacher = {
            layer: torch.rand(len(subject.x), *shapes[layer], device=device)
            for layer in subject.scenario.signals.layers
        }
    optimiser, batch = subject.optimiser(), Batch(subject.x, subject.y, teacher)
    engine = Engine(subject.model.network, Schedule.of(subject.scenario.scheduler, relaxation))
    step = Step(subject.scenario, subject.model, engine)
    for _ in range(updates):
        settle(device)
        result = step.present(batch)
        step.apply_update(optimiser, batch, result)


def measure(network: str, method: str, options: argparse.Namespace) -> dict[str, int]:
    """Peak bytes of a step in this process over what it held before, and the estimated bits on the chip."""
    device = options.device
    short = argparse.Namespace(**vars(options) | {"bptt": LAYERS_OF_VGG13})
    train(untrained(network, method, short), method, 1)  # libraries load, and keep what belongs to no method
    settle(device)
    before = held_bytes(device)
    subject = untrained(network, method, options)
    train(subject, method, 2)
    peak = peak_bytes(device)
    bits = subject.model.memory(subject.scenario.relaxation).groupby("method")["bits"].sum()
    return {
        "peak_bytes": peak - before,
        "on_chip_bits": int(bits["bptt_K" if method in BY_BPTT else "ep"]),
    }


def measured_apart(network: str, method: str) -> dict[str, int]:
    """:func:`measure` in a process of its own, with the options of this one."""
    command = [sys.executable, *sys.argv, "--one", network, method]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=os.environ | ALLOCATOR)
    print(f"{network}, {method}: {done.stdout.strip()}", file=sys.stderr)
    return json.loads(done.stdout)


def row(network: str, method: str, found: dict[str, dict[str, int]]) -> dict[str, object]:
    """A line of the table: ``found`` holds the methods of ``network``."""
    own, bptt = found[method], found["BPTT"]
    paper = PAPER_MB[method].get(network)
    return {
        "network": network,
        "method": method,
        "peak_MB": round(own["peak_bytes"] / 1e6, 1),
        "bptt_over_it": round(bptt["peak_bytes"] / own["peak_bytes"], 2),
        "paper_MB": paper,
        "paper_bptt_over_it": paper and round(PAPER_MB["BPTT"][network] / paper, 2),
        "on_chip_bits": own["on_chip_bits"],
        "on_chip_bptt_over_it": round(bptt["on_chip_bits"] / own["on_chip_bits"], 2),
    }


def markdown(rows: list[dict[str, object]]) -> str:
    """The rows as a table."""
    lines = [COLUMNS, ["---"] * len(COLUMNS)]
    lines += [
        ["" if value is None else format_bits(value) if key == "on_chip_bits" else value for key, value in row.items()]
        for row in rows
    ]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=float, default=1.0, help="of the published channels")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--bptt", type=int, default=50, help="K, the free ticks that BPTT goes back through")
    parser.add_argument("--ep-ticks", type=int, default=LAYERS_OF_VGG13, help="ticks of every phase of EP")
    add_device(parser)
    parser.add_argument("--networks", nargs="+", choices=CLASSES, default=list(CLASSES))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), help="beside BPTT")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bptt < LAYERS_OF_VGG13:
        parser.error(f"--bptt must be at least {LAYERS_OF_VGG13}, the layers that BPTT must reach in VGG-13")
    if options.one:
        print(json.dumps(measure(*options.one, options)))
        return
    found = {
        network: {
            method: measured_apart(network, method)
            for method, kind in METHODS.items()
            if method in (*options.methods, "BPTT") and (kind == "none" or network in SIGNAL_LAYERS[kind])
        }
        for network in options.networks
    }
    rows = [row(network, method, methods) for network, methods in found.items() for method in methods]
    report = {
        "note": "random weights, images and teacher states; on-chip figures are estimates for one image",
        "width": options.width, "batch": options.batch, "K": options.bptt, "ep_ticks": options.ep_ticks,
        "device": device_name(options.device),
        "rows": rows,
    }  # fmt: skip
    print(json.dumps(report, indent=1))
    print(f"\nRandom weights and images, width {options.width:g}, batch {options.batch}, K = {options.bptt}; ", end="")
    print(f"peak of one step on {report['device']}; paper: width 1 on a GPU.\n\n{markdown(rows)}")


if __name__ == "__main__":
    main()
