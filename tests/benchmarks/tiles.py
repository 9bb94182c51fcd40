"""Time and memory of a relaxation on real tiles against ideal ones: ``python tests/benchmarks/tiles.py``.

VGG-11 with local errors, random images: a free phase and both nudge phases of one batch. Each setting runs in a process
of its own, so that its peak memory is its own; settings take turns, and the least time of each counts.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

from relaxation import Product, timed
from subject import add_device, device_name, random_subject

from neurosim_ep.experiment.device import peak_memory
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.scheduler.schedule import Schedule

SETTINGS = {
    "ideal": [],
    "8-bit converters": ["hardware.converters.preset=eight_bit"],
    "8-bit converters, range of each sample": [
        "hardware.converters.preset=eight_bit",
        "hardware.converters.adc_range=absmax",
    ],
    "8-bit converters, read noise": ["hardware.converters.preset=eight_bit", "hardware.cells.read_noise=0.01"],
    "8-bit inputs bit by bit": ["hardware.converters.preset=eight_bit", "hardware.converters.dac_coding=bit_serial"],
}


def measure(overrides: list[str], given: argparse.Namespace) -> dict[str, float]:
    """Seconds of one presentation and peak memory of this process, or of its memory on a GPU."""
    sets = ["signals.kind=le", f"network.width={given.width}", *overrides]
    subject = random_subject(load_scenario("vgg11_plain", sets), 10, given.batch, given.device)
    scenario = subject.scenario
    product = Product(subject, Schedule.of(scenario.scheduler, scenario.relaxation), 20, 10)
    seconds = [timed(given.device, product.present)[0] for _ in range(3)]
    peak = peak_memory(given.device)
    assert peak is not None
    return {"seconds": min(seconds), "MiB": int(peak["bytes"]) / 2**20}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--turns", type=int, default=2)
    add_device(parser)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one is not None:
        print(json.dumps(measure(SETTINGS[given.one], given)))
        return
    found: dict[str, list[dict[str, float]]] = {name: [] for name in SETTINGS}
    for _ in range(given.turns):
        for name in SETTINGS:
            command = [sys.executable, *sys.argv, "--one", name]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
    least = {name: {key: min(one[key] for one in runs) for key in ("seconds", "MiB")} for name, runs in found.items()}
    print(f"VGG-11, width {given.width}, batch {given.batch}, T = 20, K = 10, {device_name(given.device)}\n")
    print("| tiles | seconds | of ideal | peak memory | of ideal |\n| --- | --- | --- | --- | --- |")
    for name, one in least.items():
        ratios = {key: one[key] / least["ideal"][key] for key in one}
        time_cells = f"{one['seconds']:.2f} s | {ratios['seconds']:.2f}"
        print(f"| {name} | {time_cells} | {one['MiB']:.0f} MiB | {ratios['MiB']:.2f} |")


if __name__ == "__main__":
    main()
