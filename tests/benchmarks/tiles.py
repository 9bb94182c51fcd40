"""Time and memory of a relaxation on real tiles against ideal ones: ``python tests/benchmarks/tiles.py``.

VGG-11 with local errors, random images: a free phase and both nudge phases of one batch. Each setting runs in a process
of its own, so that its peak memory is its own; settings take turns, and the least time of each counts.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

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


def measure(overrides: list[str], width: float, batch: int) -> dict[str, float]:
    """Seconds of one presentation and peak memory of this process."""
    import torch

    from neurosim_ep.ep.network import channels_last
    from neurosim_ep.scenario.load import load_scenario
    from neurosim_ep.scheduler.engine import Engine
    from neurosim_ep.scheduler.presentation import ep_gradients
    from neurosim_ep.scheduler.schedule import Schedule
    from neurosim_ep.train.model import build_model

    sets = [f"network.width={width}", "data.kind=textures", *overrides]
    scenario = load_scenario("vgg11_le", sets)
    model = build_model(scenario, 10, (3, 32, 32))
    random = torch.Generator().manual_seed(0)
    x, y = channels_last(torch.randn(batch, 3, 32, 32, generator=random)), torch.arange(batch) % 10
    engine = Engine(model.network, Schedule.of(scenario.scheduler, scenario.relaxation))
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        ep_gradients(
            model.network, x, y, free_steps=20, nudge_steps=10, beta=0.5, signals=model.signals, engine=engine
        )  # fmt: skip
        seconds.append(time.perf_counter() - start)
    return {"seconds": min(seconds), "MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one is not None:
        print(json.dumps(measure(SETTINGS[given.one], given.width, given.batch)))
        return
    found: dict[str, list[dict[str, float]]] = {name: [] for name in SETTINGS}
    for _ in range(given.turns):
        for name in SETTINGS:
            command = [
                sys.executable,
                __file__,
                "--one",
                name,
                "--width",
                str(given.width),
                "--batch",
                str(given.batch),
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
    least = {name: {key: min(one[key] for one in runs) for key in ("seconds", "MiB")} for name, runs in found.items()}
    print(f"VGG-11, width {given.width}, batch {given.batch}, T = 20, K = 10\n")
    print("| tiles | seconds | of ideal | peak memory | of ideal |\n| --- | --- | --- | --- | --- |")
    for name, one in least.items():
        ratios = {key: one[key] / least["ideal"][key] for key in one}
        time_cells = f"{one['seconds']:.2f} s | {ratios['seconds']:.2f}"
        print(f"| {name} | {time_cells} | {one['MiB']:.0f} MiB | {ratios['MiB']:.2f} |")


if __name__ == "__main__":
    main()
